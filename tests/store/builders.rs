//! How it stands with the builders.
use fleetcheck::domain::Timestamp;
use fleetcheck::domain::build::{Ending, Waiting};
use fleetcheck::domain::builder::{Condition, Facts, Speed};
use fleetcheck::domain::plan::Capability;
use fleetcheck::store::builders::{Known, Whose};
use fleetcheck::store::runs::Outcome;
use fleetcheck::store::{Event, Store};

use crate::world::{NOW, built, derivation, weather};

fn known(name: &str, system: &str) -> Known {
    let capability = Capability {
        systems: vec![system.into()],
        features: vec!["kvm".into()],
        mandatory: vec![],
    };
    let (machine, speed) = (Whose::Shared, Speed::default());
    Known { name: name.into(), capability, slots: 4, speed, machine }
}

fn away(why: &str) -> Condition {
    Condition::Unreachable { why: why.into() }
}

contract! {
    async fn the_settings_say_which_builders_there_are(world) {
        let store = &world.store;
        let both = [known("a", "x86_64-linux"), known("b", "aarch64-linux")];
        store.know_builders(&both, NOW).await.unwrap();
        assert!(store.drain("b", Some(NOW)).await.unwrap());
        store.builder_looked("b", &away("gone"), None, NOW.plus(5)).await.unwrap();

        let settings = [known("b", "riscv64-linux"), known("c", "x86_64-linux")];
        store.know_builders(&settings, NOW.plus(9)).await.unwrap();

        let all = store.builders().await.unwrap();
        let names: Vec<&str> = all.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["b", "c"], "one that left the settings is forgotten");
        assert_eq!(all[0].capability.systems, ["riscv64-linux"]);
        assert_eq!(all[0].condition, away("gone"), "a restart mends no machine");
        assert_eq!(all[0].drained_at, Some(NOW), "and what a person said stands");
        assert_eq!(all[1].condition, Condition::NotLookedAt);
        assert!(all[1].takes_work() && !all[0].takes_work());
    }

    async fn since_when_a_builder_is_away_does_not_move_with_every_look(world) {
        let store = &world.store;
        store.know_builders(&[known("a", "x86_64-linux")], NOW).await.unwrap();
        let facts = Facts { version: Some("2.34.8".into()), free: Some(7), ..Facts::default() };
        let looked = async |condition: &Condition, facts: Option<&Facts>, at: i64| {
            store.builder_looked("a", condition, facts, NOW.plus(at)).await.unwrap()
        };
        assert_eq!(looked(&Condition::Ready, Some(&facts), 1).await, Some(Condition::NotLookedAt));
        assert_eq!(looked(&away("refused"), None, 2).await, Some(Condition::Ready));
        assert_eq!(looked(&away("timed out"), None, 3).await, None, "away is away");

        let it = store.builders().await.unwrap().remove(0);
        assert_eq!((it.since, it.looked_at), (NOW.plus(2), NOW.plus(3)));
        assert_eq!(it.condition, away("timed out"));
        assert_eq!(it.facts, facts, "what it said last stays");

        assert_eq!(looked(&Condition::Ready, Some(&facts), 4).await, Some(away("timed out")));
        assert_eq!(store.builders().await.unwrap()[0].since, NOW.plus(4));
        assert_eq!(
            store.builder_looked("x", &Condition::Ready, None, NOW).await.unwrap(),
            None,
            "nobody knows x"
        );
    }

    async fn a_build_that_no_builder_takes_for_too_long_fails_with_that_reason(world) {
        const DAY: i64 = 86_400_000;
        let run = world.push("a1", &[]).await;
        let claim = world.claim().await;
        let builds = world.list(&claim, &["raider", "viper"]).await;
        let nobody = Waiting::NoBuilder { system: "riscv64-linux".into() };
        world.evaluated(&claim, &builds[0], Outcome::Wait(derivation("raider"), nobody)).await;
        world.evaluated(&claim, &builds[1], Outcome::Wait(derivation("viper"), Waiting::Slot)).await;
        let _ = world.store.finish_evaluation(&claim, NOW).await.unwrap();
        world.store.know_builders(&[known("a", "x86_64-linux")], NOW).await.unwrap();
        let given_up = async |at: Timestamp| {
            // Every time by a process that has just started.
            let store = Store::open(&world.url).await.unwrap();
            let (all, moved) = store.give_up(at).await.unwrap();
            let reasons: Vec<String> = all.into_iter().map(|(_, what)| what).collect();
            (reasons, moved.has(Event::RunEnded))
        };
        assert_eq!(given_up(NOW.plus(DAY - 1)).await, (vec![], false));
        let said = "no builder took it within 24 h: no builder for riscv64-linux in the settings";
        assert_eq!(given_up(NOW.plus(DAY)).await, (vec![said.to_owned()], false));
        let ending = world.build(&builds[0].id).await.state.ending().cloned();
        assert_eq!(ending, Some(Ending::Transient { what: said.into() }));

        // It waits for a slot as long as it takes, and for a builder that is away a day.
        assert_eq!(given_up(NOW.plus(9 * DAY)).await, (vec![], false));
        let gone = NOW.plus(9 * DAY);
        world.store.builder_looked("a", &away("refused"), None, gone).await.unwrap();
        assert_eq!(given_up(gone.plus(DAY - 1)).await, (vec![], false));
        let (reasons, ended) = given_up(gone.plus(DAY)).await;
        let said = "no builder took it within 24 h: no builder for x86_64-linux is reachable since ";
        assert!(reasons[0].starts_with(said), "{reasons:?}");
        assert!(ended && !world.run(&run).await.run.state.is_open());
    }

    async fn what_is_tried_again_falls_due_once(world) {
        world.push("a1", &[]).await;
        world.waiting(&["raider"]).await;
        assert!(!world.store.fell_due(Timestamp(0), NOW.plus(1)).await.unwrap());
        let attempt = world.start("raider").await.unwrap();
        let _ = world.finish(&attempt, weather()).await;
        assert!(!world.store.fell_due(NOW, NOW.plus(4_999)).await.unwrap());
        assert!(world.store.fell_due(NOW.plus(4_999), NOW.plus(10_000)).await.unwrap());
        assert!(!world.store.fell_due(NOW.plus(10_000), NOW.plus(20_000)).await.unwrap());
    }

    async fn draining_twice_keeps_the_first_time(world) {
        let store = &world.store;
        store.know_builders(&[known("a", "x86_64-linux")], NOW).await.unwrap();
        assert!(store.drain("a", Some(NOW)).await.unwrap());
        assert!(store.drain("a", Some(NOW.plus(1))).await.unwrap());
        assert_eq!(store.builders().await.unwrap()[0].drained_at, Some(NOW));
        assert!(store.drain("a", None).await.unwrap());
        assert_eq!(store.builders().await.unwrap()[0].drained_at, None);
        assert!(!store.drain("b", Some(NOW)).await.unwrap(), "there is no b");
    }

    async fn what_fails_on_a_builder_asks_for_a_look_at_it(world) {
        let store = &world.store;
        store.know_builders(&[known("local", "x86_64-linux")], NOW).await.unwrap();
        let suspect = async || store.builders().await.unwrap()[0].suspect_at;
        world.push("a1", &[]).await;
        world.waiting(&["raider"]).await;
        let attempt = world.start("raider").await.unwrap();
        assert!(world.finish(&attempt, weather()).await.moved.has(Event::BuilderSuspect));
        assert!(suspect().await.is_some());
        store.looks_at("local").await.unwrap();
        assert_eq!(suspect().await, None);

        let attempt = world.start("raider").await.unwrap();
        assert!(!world.finish(&attempt, built()).await.moved.has(Event::BuilderSuspect));
        assert_eq!(suspect().await, None, "what went well makes nobody suspect");
    }
}
