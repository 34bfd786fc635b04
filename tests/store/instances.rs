//! Several instances on one store.
use fleetcheck::domain::Timestamp;
use fleetcheck::domain::build::{BuildState, Waiting};
use fleetcheck::domain::builder::{Condition, Speed};
use fleetcheck::domain::id::{AttemptId, RunId};
use fleetcheck::domain::plan::Capability;
use fleetcheck::store::builders::{Known, Whose};
use fleetcheck::store::leases::{Lease, SILENCE_MS};
use fleetcheck::store::runs::Outcome;

use crate::world::{self, LEASE, NOW, World, built, derivation, drv, id, weather};

const LATER: Timestamp = Timestamp(NOW.0 + SILENCE_MS);

fn able() -> Capability {
    world::able("x86_64-linux", &[], &[])
}

fn known(name: &str, slots: u32, machine: Whose) -> Known {
    let (name, speed) = (name.to_owned(), Speed::default());
    Known { name, capability: able(), slots, speed, machine }
}

impl World {
    /// Another instance on the same store, whose Nix store the others reach.
    async fn lending(&self, owner: &str) -> Self {
        let mut it = self.instance(owner).await;
        it.store = it.store.lending(&format!("ssh-ng://{owner}"));
        it.store.beat(NOW).await.unwrap();
        it
    }

    /// A run that this instance has evaluated, whose hosts wait for this.
    async fn evaluated_here(&self, commit: &str, hosts: &[&str], for_what: Waiting) -> RunId {
        let run = self.push(commit, &[]).await;
        let claim = self.claim().await;
        let builds = self.list(&claim, hosts).await;
        for (build, host) in builds.iter().zip(hosts) {
            let outcome = Outcome::Wait(derivation(host), for_what.clone());
            self.evaluated(&claim, build, outcome).await;
        }
        let _ = self.store.finish_evaluation(&claim, NOW).await.unwrap();
        run
    }

    async fn waits_here(&self) -> usize {
        self.store.candidates(&able(), NOW, 9).await.unwrap().len()
    }

    async fn starts(&self, host: &str, builder: &str) -> bool {
        let wanted = [(drv(host), id::<AttemptId>())];
        let claimed = self.store.claim_attempts(&wanted, builder, "me", NOW, LEASE).await;
        !claimed.unwrap().0.is_empty()
    }
}

contract! {
    async fn a_derivation_is_built_from_where_it_was_evaluated(world) {
        let (one, other) = (world.instance("one").await, world.instance("other").await);
        one.evaluated_here("a1", &["raider"], Waiting::Slot).await;
        assert_eq!((one.waits_here().await, other.waits_here().await), (1, 0));
        let nothing = other.store.take_over(&[able()], NOW).await.unwrap();
        assert_eq!(nothing.runs, [], "its instance is there, and has a builder");
    }

    async fn what_an_instance_lends_another_takes_and_knows_from_where(world) {
        let (one, other) = (world.lending("one").await, world.instance("other").await);
        one.evaluated_here("a1", &["raider", "viper"], Waiting::Slot).await;
        let offered = other.store.candidates(&able(), NOW, 9).await.unwrap();
        assert_eq!(offered.len(), 2);
        assert!(offered.iter().all(|it| it.home.as_deref() == Some("one")), "{offered:?}");
        let own = one.store.candidates(&able(), NOW, 9).await.unwrap();
        assert!(own.iter().all(|it| it.home.is_none()), "{own:?}");
        let claim = other.start("raider").await.unwrap();
        assert_eq!(claim.lent(), Some("ssh-ng://one"));
        assert_eq!(one.start("viper").await.unwrap().lent(), None);
    }

    async fn what_is_lent_stays_with_its_instance_until_it_is_built(world) {
        let (one, other) = (world.lending("one").await, world.instance("other").await);
        let run = one.evaluated_here("a1", &["raider"], Waiting::Slot).await;
        let claim = other.start("raider").await.unwrap();
        let _ = other.finish(&claim, weather()).await;
        let root = "building-783yqpnsx5xvpayk2bnrb6cmk0a7blys-raider.drv";
        let is_held = async |it: &World| {
            it.store.roots().await.unwrap().iter().any(|it| it.name == root)
        };
        assert!(is_held(&one).await && !is_held(&other).await);
        let claim = other.start("raider").await.unwrap();
        assert_eq!(claim.lent(), Some("ssh-ng://one"), "again");
        let _ = other.finish(&claim, built()).await;
        let build = &world.run(&run).await.builds[0].build;
        assert!(matches!(build.state, BuildState::Ended { .. }), "{build:?}");
    }

    async fn nobody_takes_what_is_lent_by_an_instance_that_is_gone(world) {
        let (one, other) = (world.lending("one").await, world.instance("other").await);
        one.evaluated_here("a1", &["raider"], Waiting::Slot).await;
        assert_eq!(other.store.candidates(&able(), LATER, 9).await.unwrap(), []);
        let wanted = [(drv("raider"), id::<AttemptId>())];
        let claimed = other.store.claim_attempts(&wanted, "local", "me", LATER, LEASE).await;
        assert_eq!(claimed.unwrap().0, []);
    }

    async fn what_is_lent_is_not_evaluated_again_for_the_lack_of_a_builder(world) {
        let (one, other) = (world.lending("one").await, world.instance("other").await);
        let nobody = Waiting::NoBuilder { system: "x86_64-linux".to_owned() };
        one.evaluated_here("a1", &["raider"], nobody).await;
        assert_eq!(other.store.take_over(&[able()], NOW).await.unwrap().runs, []);
    }

    async fn whoever_lends_what_it_evaluates_counts_on_everybodys_builders(world) {
        let (one, other) = (world.lending("one").await, world.instance("other").await);
        let third = world.instance("third").await;
        other.store.know_builders(&[known("local", 1, Whose::Own)], NOW).await.unwrap();
        for (instance, builders) in [(&one, 1), (&other, 1), (&third, 0)] {
            assert_eq!(instance.store.capabilities().await.unwrap().len(), builders);
        }
        one.evaluated_here("a1", &["raider"], Waiting::Slot).await;
        let away = Condition::Unreachable { why: "refused".to_owned() };
        other.store.builder_looked("local", &away, None, NOW).await.unwrap();
        let day = NOW.plus(86_400_000);
        assert_eq!(one.store.give_up(day.plus(-1)).await.unwrap().0, []);
        let (given_up, _) = one.store.give_up(day).await.unwrap();
        assert!(given_up[0].1.contains("is reachable since"), "{given_up:?}");
    }

    async fn what_waits_with_an_instance_that_is_gone_is_evaluated_again(world) {
        let (one, other) = (world.instance("one").await, world.instance("other").await);
        let run = one.evaluated_here("a1", &["raider"], Waiting::Slot).await;
        other.store.beat(LATER).await.unwrap();
        let taken = other.store.take_over(&[], LATER).await.unwrap();
        assert_eq!(taken.runs, std::slice::from_ref(&run));
        let again = other.store.take_over(&[], LATER).await.unwrap();
        assert_eq!(again.runs, [], "once");
        assert_eq!(one.waits_here().await, 0);
        let build = world.run(&run).await.builds.swap_remove(0).build;
        let BuildState::Listed { known: Some(known) } = build.state else { panic!("{build:?}") };
        assert_eq!(known, derivation("raider"), "it may be there all the same");
        let (claim, _) = other.store.claim_run("other", LATER, LEASE).await.unwrap().unwrap();
        assert_eq!(claim.run(), &run);
    }

    async fn a_run_under_evaluation_is_taken_over_when_that_is_over(world) {
        let (one, other) = (world.instance("one").await, world.instance("other").await);
        let run = world.push("a1", &[]).await;
        let claim = one.claim().await;
        let builds = one.list(&claim, &["raider", "viper"]).await;
        one.evaluated(&claim, &builds[0], Outcome::Wait(derivation("raider"), Waiting::Slot)).await;
        other.store.beat(LATER).await.unwrap();
        assert_eq!(other.store.take_over(&[], LATER).await.unwrap().runs, []);
        let expired = other.store.expire(NOW.plus(LEASE)).await.unwrap();
        assert_eq!(expired.runs, std::slice::from_ref(&run));
        assert_eq!(other.store.take_over(&[], LATER).await.unwrap().runs, [run]);
    }

    async fn what_one_has_no_builder_for_another_takes_that_has_one(world) {
        let (one, other) = (world.instance("one").await, world.instance("other").await);
        let nobody = Waiting::NoBuilder { system: "x86_64-linux".to_owned() };
        let run = one.evaluated_here("a1", &["raider"], nobody).await;
        assert_eq!(other.store.take_over(&[], NOW).await.unwrap().runs, [], "nor has this one");
        assert_eq!(other.store.take_over(&[able()], NOW).await.unwrap().runs, [run]);
        assert!(one.store.claim_run("one", NOW, LEASE).await.unwrap().is_none(), "not there again");
        assert!(other.store.claim_run("other", NOW, LEASE).await.unwrap().is_some());
    }

    async fn a_run_that_only_one_may_evaluate_is_anyone_s_when_that_is_gone(world) {
        let (one, other) = (world.instance("one").await, world.instance("other").await);
        let nobody = Waiting::NoBuilder { system: "x86_64-linux".to_owned() };
        one.evaluated_here("a1", &["raider"], nobody).await;
        let _ = other.store.take_over(&[able()], NOW).await.unwrap();
        one.store.beat(LATER).await.unwrap();
        let _ = one.store.take_over(&[], LATER).await.unwrap();
        assert!(one.store.claim_run("one", LATER, LEASE).await.unwrap().is_some());
    }

    async fn instances_share_the_slots_of_a_machine_and_not_each_their_own(world) {
        let (one, other) = (world.instance("one").await, world.instance("other").await);
        let settings = [known("basestar", 1, Whose::Shared), known("local", 1, Whose::Own)];
        let names = one.store.know_builders(&settings, NOW).await.unwrap();
        assert_eq!(names, ["basestar", "local"]);
        let names = other.store.know_builders(&settings, NOW).await.unwrap();
        assert_eq!(names, ["basestar", "local@other"], "the name is another machine's");
        one.evaluated_here("a1", &["raider", "viper"], Waiting::Slot).await;
        other.evaluated_here("b2", &["orion", "pegasus"], Waiting::Slot).await;
        assert!(one.starts("raider", "basestar").await);
        assert!(!other.starts("orion", "basestar").await, "its one slot is taken");
        assert!(other.starts("orion", "local@other").await);
        assert!(one.starts("viper", "local").await);
    }

    async fn a_slot_that_is_free_again_is_anyone_s(world) {
        let (one, other) = (world.instance("one").await, world.instance("other").await);
        for it in [&one, &other] {
            let settings = [known("local", 1, Whose::Shared)];
            it.store.know_builders(&settings, NOW).await.unwrap();
        }
        one.evaluated_here("a1", &["raider"], Waiting::Slot).await;
        other.evaluated_here("b2", &["orion"], Waiting::Slot).await;
        let claim = one.start("raider").await.unwrap();
        assert!(other.start("orion").await.is_none());
        let _ = one.finish(&claim, built()).await;
        assert!(other.start("orion").await.is_some());
    }

    async fn a_machine_that_one_instance_reaches_is_ready_and_the_other_sees_it_away(world) {
        let (one, other) = (world.instance("one").await, world.instance("other").await);
        for it in [&one, &other] {
            let settings = [known("basestar", 1, Whose::Shared)];
            it.store.know_builders(&settings, NOW).await.unwrap();
        }
        let away = Condition::Unreachable { why: "refused".to_owned() };
        one.store.builder_looked("basestar", &Condition::Ready, None, NOW).await.unwrap();
        other.store.builder_looked("basestar", &away, None, NOW).await.unwrap();
        assert_eq!(world.store.builders().await.unwrap()[0].condition, Condition::Ready);
        assert_eq!(other.store.own_builders().await.unwrap()[0].condition, away);
        assert!(one.store.own_builders().await.unwrap()[0].takes_work());
        // The one that reached it is gone.
        other.store.beat(LATER).await.unwrap();
        other.store.builder_looked("basestar", &away, None, LATER).await.unwrap();
        assert_eq!(world.store.builders().await.unwrap()[0].condition, away);
        other.store.know_builders(&[], LATER).await.unwrap();
        other.store.miss_builders(LATER).await.unwrap();
        let left = world.store.builders().await.unwrap().remove(0);
        assert!(left.sentence().contains("no fleetcheck that has it"), "{}", left.sentence());
        other.store.forget_instances(LATER.plus(2 * 86_400_000)).await.unwrap();
        assert_eq!(world.store.builders().await.unwrap(), []);
    }
}

#[tokio::test]
async fn a_lease_is_one_instance_s_until_it_ends_or_is_given_up() {
    let world = World::postgres().await;
    let (one, other) = (world.instance("one").await.store, world.instance("other").await.store);
    assert_eq!(one.lease("intake", NOW, LEASE).await.unwrap(), Lease::Held);
    assert_eq!(other.lease("intake", NOW, LEASE).await.unwrap(), Lease::Elsewhere);
    assert_eq!(other.lease("recover", NOW, LEASE).await.unwrap(), Lease::Held, "another one");
    let renewed = NOW.plus(LEASE - 1);
    assert_eq!(one.lease("intake", renewed, LEASE).await.unwrap(), Lease::Held);
    assert_eq!(other.lease("intake", NOW.plus(LEASE), LEASE).await.unwrap(), Lease::Elsewhere);
    let over = renewed.plus(LEASE);
    assert_eq!(other.lease("intake", over, LEASE).await.unwrap(), Lease::TakenOver);
    assert_eq!(one.lease("intake", over, LEASE).await.unwrap(), Lease::Elsewhere);
    other.release_leases().await.unwrap();
    assert_eq!(one.lease("intake", over, LEASE).await.unwrap(), Lease::TakenOver);
}
