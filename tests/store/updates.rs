//! Updates of lock files: one at a time of a repository, and one process at a time on each.
use fleetcheck::domain::id::CommitSha;
use fleetcheck::domain::incoming::InstallationStanding;
use fleetcheck::domain::lock::Lock;
use fleetcheck::domain::run::{Approval, Reason, Run, RunState};
use fleetcheck::domain::update::bisect::Probe;
use fleetcheck::domain::update::life::{Cause, Made, Outcome, Plan, Update, UpdateState};
use fleetcheck::domain::verdict::Verdict;
use fleetcheck::store::trials::{NewTrial, TrialFacts};
use fleetcheck::store::updates::{Asked, Left, UpdateClaim};
use fleetcheck::store::{Event, StoreError};

use crate::world::{LEASE, NOW, World, id, repository, run, sha};

fn wish() -> Update {
    Update::new(id(), repository().id, Cause::Command, NOW)
}

fn plan(base: &CommitSha) -> Plan {
    Plan {
        group: "all".into(),
        branch: "fleetcheck/update".parse().unwrap(),
        base: base.clone(),
        path: "flake.lock".into(),
        old: Lock::none(),
        new: Lock::none(),
        moving: [].into(),
        required: [].into(),
        not_found: vec![],
        left: vec![],
        histories: vec![],
    }
}

fn left(update: &Update) -> Left<'_> {
    Left { update, siblings: &[], trial: None, report: None, not_before: NOW }
}

/// A repository with a wish for an update.
async fn wished(world: &World) -> Update {
    world.push("a1", &[]).await;
    let update = wish();
    let (asked, moved) = world.store.ask_for_update(&update, NOW).await.unwrap();
    assert_eq!(asked, Asked::Begun(update.id.clone()));
    assert!(moved.has(Event::UpdateWanted));
    update
}

async fn claim(world: &World) -> Option<(UpdateClaim, Update)> {
    let claimed = world.store.claim_update("me", NOW, LEASE).await.unwrap();
    claimed.map(|(claim, update, of)| {
        assert_eq!(of, repository());
        (claim, update)
    })
}

/// A run of a lock file that an update tries.
fn trial(update: &Update, nth: u32) -> (Run, NewTrial, TrialFacts) {
    let reason = Reason::Update { update: update.id.clone(), nth };
    let run = Run { reason, approval: Approval::NotNeeded, ..run("b2", "main") };
    let input = serde_json::from_str(r#"["disko","nixpkgs"]"#).unwrap();
    let probe = Some(Probe { input, commit: sha("d4") });
    let trial = NewTrial { nth, round: 1, moved: [].into(), probe };
    let facts =
        TrialFacts { base: sha("a1"), path: "flake.lock".into(), lock: "{}\n".into(), hosts: None };
    (run, trial, facts)
}

contract! {
    async fn one_update_at_a_time_is_on_its_way_in_a_repository(world) {
        let first = wished(&world).await;
        let (asked, _) = world.store.ask_for_update(&wish(), NOW).await.unwrap();
        assert_eq!(asked, Asked::Already(first.id.clone()));
        let (claim, update) = claim(&world).await.unwrap();
        let ended = update.end(Outcome::UpToDate, NOW).unwrap();
        let _ = world.store.leave_update(claim, left(&ended), NOW).await.unwrap();
        let (found, of) = world.store.update(&first.id).await.unwrap().unwrap();
        assert_eq!((found, of), (ended, repository()));
        let next = wish();
        let (asked, _) = world.store.ask_for_update(&next, NOW).await.unwrap();
        assert_eq!(asked, Asked::Begun(next.id));
    }

    async fn an_update_is_claimed_by_one_until_its_lease_ends(world) {
        let wished = wished(&world).await;
        let (claim, update) = claim(&world).await.unwrap();
        assert_eq!(update, wished);
        assert!(world.store.claim_update("you", NOW, LEASE).await.unwrap().is_none());
        world.store.renew_update(&claim, NOW.plus(LEASE - 1)).await.unwrap();
        assert!(world.store.claim_update("you", NOW.plus(LEASE), LEASE).await.unwrap().is_none());
        let later = NOW.plus(3 * LEASE);
        let (again, _, _) = world.store.claim_update("you", later, LEASE).await.unwrap().unwrap();
        assert_eq!(again.update(), claim.update());
        let made = Made { commit: sha("c3"), base: sha("a1"), lock_hash: "x".into() };
        for lost in [
            world.store.renew_update(&claim, later).await,
            world.store.note_made(&claim, &made, later).await,
            world.store.leave_update(claim, left(&update), later).await.map(drop),
        ] {
            assert!(matches!(lost, Err(StoreError::ClaimLost(_))), "{lost:?}");
        }
        // Whoever starts anew takes back what it had.
        let _ = world.store.forget_claims_of("you", later).await.unwrap();
        assert!(world.store.claim_update("me", later, LEASE).await.unwrap().is_some());
    }

    async fn what_github_made_is_known_after_a_crash(world) {
        wished(&world).await;
        let (claim, update) = claim(&world).await.unwrap();
        let made = Made { commit: sha("c3"), base: sha("a1"), lock_hash: "x".into() };
        world.store.note_made(&claim, &made, NOW).await.unwrap();
        let later = NOW.plus(LEASE);
        let (claim, found, _) =
            world.store.claim_update("me", later, LEASE).await.unwrap().unwrap();
        assert_eq!(found.made.as_ref(), Some(&made));
        // A step that did not get so far does not forget it.
        let _ = world.store.leave_update(claim, left(&update), later).await.unwrap();
        assert_eq!(world.store.update(&found.id).await.unwrap().unwrap().0.made, Some(made));
    }

    async fn an_update_waits_for_the_run_by_which_it_tries_something(world) {
        wished(&world).await;
        let (claimed, update) = claim(&world).await.unwrap();
        let update = update.search(plan(&sha("a1"))).unwrap();
        let (run, new, facts) = trial(&update, 1);
        let begun = Left { trial: Some((&run, &new, &facts)), ..left(&update) };
        let moved = world.store.leave_update(claimed, begun, NOW).await.unwrap();
        assert!(moved.has(Event::RunRequested));
        assert!(claim(&world).await.is_none(), "its run has not ended");
        assert!(world.store.group_pull(repository().id, "all").await.unwrap().is_none());

        world.claim().await;
        let claimed = world.claim().await;
        assert_eq!(claimed.run(), &run.id);
        let found = world.store.run_facts(&claimed).await.unwrap();
        assert_eq!(found.trial, Some(facts.clone()));
        let ending = fleetcheck::domain::build::Ending::Transient { what: "x".into() };
        let _ = world.store.end_run(&claimed, Verdict::Passed, ending, NOW).await.unwrap();
        let (_, found) = claim(&world).await.unwrap();
        assert_eq!(found, update);
        let tried = world.store.trials(&update.id).await.unwrap();
        assert_eq!(tried.len(), 1);
        assert_eq!((&tried[0].trial, &tried[0].hosts), (&new, &None));
        assert!(matches!(tried[0].run.state, RunState::Ended { .. }));
    }

    async fn an_update_of_each_group_begins_where_the_first_does(world) {
        wished(&world).await;
        let (claimed, update) = claim(&world).await.unwrap();
        let update = update.search(plan(&sha("a1"))).unwrap();
        let other = Plan { group: "nixpkgs".into(), ..plan(&sha("a1")) };
        let sibling = wish().search(other).unwrap();
        let siblings = [sibling.clone()];
        let both = Left { siblings: &siblings, ..left(&update) };
        let _ = world.store.leave_update(claimed, both, NOW).await.unwrap();
        let mut found = vec![claim(&world).await.unwrap().1, claim(&world).await.unwrap().1];
        found.sort_by_key(|it| it.plan.as_ref().map(|it| it.group.clone()));
        assert_eq!(found, [update, sibling]);
        assert!(claim(&world).await.is_none());
        let all = world.store.updates(10).await.unwrap();
        assert!(all.iter().all(|(it, _)| it.state == UpdateState::Searching), "{all:?}");
    }

    async fn nothing_is_done_where_the_app_cannot_act(world) {
        wished(&world).await;
        world.installation(InstallationStanding::Suspended).await;
        assert!(claim(&world).await.is_none());
        let (owner, name) = (&repository().owner, &repository().name);
        assert!(world.store.repository_named(owner, name).await.unwrap().is_none());
        world.installation(InstallationStanding::Active).await;
        assert!(claim(&world).await.is_some());
        let shouted = owner.as_str().to_uppercase().parse().unwrap();
        let found = world.store.repository_named(&shouted, name).await.unwrap();
        assert_eq!(found, Some(repository()), "GitHub's names are the same in any case");
    }
}
