//! Derivations are realised once, for everybody who waits for them.
use fleetcheck::domain::build::{Attempted, BuildFailure, BuildState, Ending, Patience, Waiting};
use fleetcheck::domain::id::AttemptId;
use fleetcheck::domain::plan::Capability;
use fleetcheck::domain::run::RunState;
use fleetcheck::domain::verdict::Verdict;
use fleetcheck::store::Event;
use fleetcheck::store::attempts::AttemptOutcome;
use fleetcheck::store::builders::{Known, Whose};
use fleetcheck::store::runs::Outcome;

use crate::world::{LEASE, NOW, World, able, built, derivation, drv, id, weather};

fn linux() -> Capability {
    able("x86_64-linux", &[], &[])
}

async fn candidates(world: &World) -> Vec<String> {
    let found = world.store.candidates(&linux(), NOW, 9).await.unwrap();
    found.iter().map(|it| it.drv.name().to_owned()).collect()
}

fn failed() -> Attempted {
    Attempted::Answered(Ending::BuildFailed(BuildFailure {
        derivation: drv("gtk"),
        headline: "builder failed with exit code 1".into(),
        log_tail: vec!["\u{1b}[31mno\0".into()],
        before: None,
    }))
}

contract! {
    async fn a_run_ends_when_its_last_build_ends(world) {
        let run = world.push("a1", &[]).await;
        let (claim, _) = world.waiting(&["raider", "viper"]).await;
        let moved = world.store.finish_evaluation(&claim, NOW).await.unwrap();
        assert!(!moved.has(Event::RunEnded));
        let raider = world.start("raider").await.unwrap();
        let viper = world.start("viper").await.unwrap();
        assert!(!world.finish(&raider, built()).await.moved.has(Event::RunEnded));
        assert!(world.run(&run).await.run.state.is_open());
        let finished = world.finish(&viper, failed()).await;
        assert!(finished.moved.has(Event::RunEnded) && finished.moved.has(Event::ReportBehind));
        let view = world.run(&run).await;
        assert_eq!(view.run.state, RunState::Ended { verdict: Verdict::Failed, at: NOW });
        assert_eq!(view.builds[1].started_at, Some(NOW));
        assert_eq!(view.builds[1].attempt.as_ref(), Some(viper.attempt()));
        let attempt = world.store.attempt(viper.attempt()).await.unwrap().unwrap();
        assert_eq!((attempt.log_bytes, attempt.builder.as_str()), (10, "local"));
        let Attempted::Answered(ending) = failed() else { unreachable!() };
        assert_eq!(attempt.outcome, Some(AttemptOutcome::Answered(ending)));
    }

    async fn one_derivation_wanted_by_two_runs_is_built_once(world) {
        let first = world.push("a1", &[]).await;
        let (claim, _) = world.waiting(&["raider"]).await;
        let _ = world.store.finish_evaluation(&claim, NOW).await.unwrap();
        let second = world.push("b2", &[]).await;
        let (claim, _) = world.waiting(&["raider"]).await;
        let _ = world.store.finish_evaluation(&claim, NOW).await.unwrap();
        assert_eq!(candidates(&world).await, ["raider", "raider"]);

        let attempt = world.start("raider").await.unwrap();
        assert!(world.start("raider").await.is_none(), "it is being built");
        assert_eq!(candidates(&world).await.len(), 0);
        // The third comes while it is being built, and joins.
        let third = world.push("c3", &[]).await;
        let (claim, builds) = world.waiting(&["raider"]).await;
        let _ = world.store.finish_evaluation(&claim, NOW).await.unwrap();
        let state = world.build(&builds[0].id).await.state;
        assert!(matches!(state, BuildState::Building { attempt: a, .. } if a == *attempt.attempt()));
        let finished = world.finish(&attempt, built()).await;
        assert_eq!(finished.lost, []);
        for run in [first, second, third] {
            let passed = RunState::Ended { verdict: Verdict::Passed, at: NOW };
            assert_eq!(world.run(&run).await.run.state, passed);
        }
    }

    async fn an_attempt_is_wanted_while_one_run_wants_it(world) {
        let first = world.push("a1", &[]).await;
        world.waiting(&["raider"]).await;
        let second = world.push("b2", &[]).await;
        world.waiting(&["raider"]).await;
        let attempt = world.start("raider").await.unwrap();
        let running = [attempt.attempt().clone()];
        let third = world.push("c3", &[&first]).await;
        assert_eq!(world.store.unwanted(&running).await.unwrap(), []);
        world.push("d4", &[&second, &third]).await;
        assert_eq!(world.store.unwanted(&running).await.unwrap(), running);
        let _ = world.finish(&attempt, weather()).await;
        assert!(world.start("raider").await.is_none(), "nobody waits for it");
    }

    async fn weather_is_tried_again_with_patience_and_an_end(world) {
        let run = world.push("a1", &[]).await;
        let (claim, builds) = world.waiting(&["raider"]).await;
        let _ = world.store.finish_evaluation(&claim, NOW).await.unwrap();
        let patience = Patience::default();
        for tries in 1..=patience.retries {
            let attempt = world.start("raider").await.unwrap();
            assert!(world.finish(&attempt, weather()).await.moved.has(Event::BuildWaiting));
            let build = world.build(&builds[0].id).await;
            assert_eq!(build.attempts, tries);
            let not_before = NOW.plus(patience.delay_ms(tries, &build.id).unwrap());
            let after = "the connection was lost".to_owned();
            let BuildState::Waiting { for_what, .. } = build.state else { panic!("{build:?}") };
            assert_eq!(for_what, Waiting::Retry { after, not_before });
            assert_eq!(world.store.candidates(&linux(), NOW, 9).await.unwrap(), []);
            let then = world.store.candidates(&linux(), not_before, 9).await.unwrap();
            assert_eq!(then.len(), 1);
        }
        let attempt = world.start("raider").await.unwrap();
        let _ = world.finish(&attempt, weather()).await;
        let ending = world.build(&builds[0].id).await.state.ending().cloned();
        assert_eq!(ending, Some(Ending::Transient { what: "the connection was lost".into() }));
        let failed = RunState::Ended { verdict: Verdict::Failed, at: NOW };
        assert_eq!(world.run(&run).await.run.state, failed);
    }

    async fn a_lost_attempt_is_tried_again_and_cannot_write(world) {
        world.push("a1", &[]).await;
        let (_, builds) = world.waiting(&["raider"]).await;
        let attempt = world.start("raider").await.unwrap();
        assert_eq!(world.store.renew_attempts(&[(&attempt, None)], NOW.plus(1)).await.unwrap(), []);
        let later = NOW.plus(LEASE + 1);
        let lost = [attempt.attempt().clone()];
        assert_eq!(world.store.renew_attempts(&[(&attempt, None)], later).await.unwrap(), lost);
        let expired = world.store.expire(later).await.unwrap();
        assert_eq!(expired.attempts, lost);
        assert!(expired.moved.has(Event::BuildWaiting));
        let again = world.start("raider").await.unwrap();
        assert_eq!(world.finish(&attempt, built()).await.lost, lost);
        assert_eq!(world.build(&builds[0].id).await.state.name(), "building");
        assert_eq!(world.build(&builds[0].id).await.attempts, 2);
        let _ = world.finish(&again, built()).await;
        let view = world.store.build_detail(&builds[0].id).await.unwrap().unwrap();
        assert_eq!(view.view.builds[0].build.state.ending(), Some(&Ending::Built { seconds: 3, without: vec![] }));
        let outcomes: Vec<_> = view.attempts.iter().map(|it| it.outcome.clone().unwrap()).collect();
        assert!(outcomes.contains(&AttemptOutcome::Lost));
        assert_eq!(outcomes.len(), 2);
    }

    async fn a_builder_is_as_busy_as_operations_run_there_and_a_host_knows_who_built_it_last(world) {
        let known = ["a", "b"].map(|name| Known {
            name: name.into(),
            capability: linux(),
            slots: 2,
            speed: "1.5".parse().unwrap(),
            machine: Whose::Shared,
        });
        world.store.know_builders(&known, NOW).await.unwrap();
        world.push("a1", &[]).await;
        world.waiting(&["one", "two", "three"]).await;
        let begin = async |names: &[&str], builder: &str| {
            let wanted: Vec<_> = names.iter().map(|it| (drv(it), id())).collect();
            let begun = world.store.claim_attempts(&wanted, builder, "me", NOW, LEASE).await;
            begun.unwrap().0
        };
        let busy = async || -> Vec<u32> {
            world.store.builders().await.unwrap().iter().map(|it| it.busy).collect()
        };
        assert_eq!(busy().await, [0, 0]);
        let together = begin(&["one", "two"], "a").await;
        assert_eq!(busy().await, [1, 0], "two derivations of one operation");
        let alone = begin(&["three"], "a").await;
        assert_eq!(busy().await, [2, 0]);
        for claim in together.iter().chain(&alone) {
            let _ = world.finish(claim, built()).await;
        }
        assert_eq!(busy().await, [0, 0]);
        assert_eq!(world.store.builders().await.unwrap()[0].speed.to_string(), "1.5");
        world.push("b2", &[]).await;
        world.waiting(&["one", "new"]).await;
        let found = world.store.candidates(&linux(), NOW, 9).await.unwrap();
        let warm: Vec<_> = found.iter().map(|it| (it.drv.name(), it.built_on.as_deref())).collect();
        assert_eq!(warm, [("new", None), ("one", Some("a"))]);
    }

    async fn a_builder_is_offered_what_it_can_take_however_much_waits_for_others(world) {
        world.push("a1", &[]).await;
        let claim = world.claim().await;
        let hosts = ["raider", "viper", "vm", "bench"];
        let builds = world.list(&claim, &hosts).await;
        for (build, host) in builds.iter().zip(hosts) {
            let mut wanted = derivation(host);
            let features: &[&str] = match host {
                "vm" => &["nixos-test", "kvm"],
                "bench" => &["benchmark"],
                _ => &[],
            };
            wanted.features = features.iter().map(|&it| it.to_owned()).collect();
            world.evaluated(&claim, build, Outcome::Wait(wanted, Waiting::Slot)).await;
        }
        let offered = async |able: Capability| -> Vec<String> {
            // One of each kind.
            let found = world.store.candidates(&able, NOW, 1).await.unwrap();
            found.iter().map(|it| it.drv.name().to_owned()).collect()
        };
        assert_eq!(offered(linux()).await, ["raider"]);
        let x86 = "x86_64-linux";
        assert_eq!(offered(able(x86, &["kvm", "nixos-test"], &[])).await, ["raider", "vm"]);
        assert_eq!(offered(able(x86, &["kvm"], &["benchmark"])).await, ["bench"]);
        assert_eq!(offered(able("aarch64-linux", &["kvm"], &[])).await, [""; 0]);
    }

    async fn of_a_runs_hosts_those_that_took_longest_go_first_and_are_shown_as_listed(world) {
        world.push("a1", &[]).await;
        let hosts = ["quick", "slow", "other"];
        let (claim, _) = world.waiting(&hosts).await;
        let _ = world.store.finish_evaluation(&claim, NOW).await.unwrap();
        assert_eq!(candidates(&world).await, hosts, "nobody knows how long they take");
        for (host, took) in [("quick", 100), ("slow", 5_000), ("other", 2_000)] {
            let attempt = world.start(host).await.unwrap();
            let ended = vec![(&attempt, built(), 10)];
            let _ = world.store.finish_attempts(ended, NOW.plus(took)).await.unwrap();
        }
        world.push("b2", &[]).await;
        let (_, builds) = world.waiting(&["quick", "slow", "new", "other"]).await;
        assert_eq!(candidates(&world).await, ["new", "slow", "other", "quick"]);
        let listed: Vec<String> = builds.iter().map(|it| it.attr.to_string()).collect();
        assert!(listed[0].ends_with("quick") && listed[3].ends_with("other"), "{listed:?}");
    }

    async fn what_was_built_is_there_for_those_who_wait_for_something_else(world) {
        world.push("a1", &[]).await;
        let claim = world.claim().await;
        let builds = world.list(&claim, &["raider", "viper"]).await;
        let wait = Outcome::Wait(derivation("same"), Waiting::Slot);
        world.evaluated(&claim, &builds[0], wait).await;
        let attempt = world.start("same").await.unwrap();
        let _ = world.finish(&attempt, weather()).await;
        let held = Waiting::NoBuilder { system: "x86_64-linux".into() };
        world.evaluated(&claim, &builds[1], Outcome::Wait(derivation("same"), held)).await;
        let attempt = world.start("same").await.unwrap();
        let _ = world.finish(&attempt, Attempted::Answered(Ending::Reused)).await;
        for build in &builds {
            assert_eq!(world.build(&build.id).await.state.ending(), Some(&Ending::Reused));
        }
    }

    async fn the_first_of_each_run_goes_before_the_second_of_any(world) {
        world.push("a1", &[]).await;
        world.waiting(&["a", "b", "c"]).await;
        world.push("b2", &[]).await;
        world.waiting(&["d", "e"]).await;
        assert_eq!(candidates(&world).await, ["a", "d", "b", "e", "c"]);
        let two = world.store.candidates(&linux(), NOW, 2).await.unwrap();
        assert!((two[1].rank - two[0].rank).abs() < 1_000, "the first of each: {two:?}");
    }

    async fn a_build_without_a_builder_is_no_candidate_until_there_is_one(world) {
        world.push("a1", &[]).await;
        let claim = world.claim().await;
        let builds = world.list(&claim, &["raider"]).await;
        let wait = Waiting::NoFeatures { system: "x86_64-linux".into(), features: vec!["kvm".into()] };
        world.evaluated(&claim, &builds[0], Outcome::Wait(derivation("raider"), wait)).await;
        assert_eq!(candidates(&world).await.len(), 0);
        let waiting = world.store.waiting().await.unwrap();
        assert_eq!((&waiting[0].build, waiting.len()), (&builds[0].id, 1));
        let slot = vec![(builds[0].id.clone(), Waiting::Slot)];
        assert!(world.store.rewait(slot, NOW).await.unwrap().has(Event::BuildWaiting));
        assert_eq!(candidates(&world).await, ["raider"]);
        assert_eq!(world.store.waiting().await.unwrap()[0].for_what, Waiting::Slot);
    }

    async fn how_long_a_host_builds_is_remembered(world) {
        world.push("a1", &[]).await;
        world.waiting(&["raider"]).await;
        let attempt = world.start("raider").await.unwrap();
        let ended = vec![(&attempt, built(), 0)];
        let _ = world.store.finish_attempts(ended, NOW.plus(7_000)).await.unwrap();
        world.push("b2", &[]).await;
        let claim = world.claim().await;
        let builds = world.list(&claim, &["raider"]).await;
        let wait = Outcome::Wait(derivation("raider-2"), Waiting::Slot);
        world.evaluated(&claim, &builds[0], wait).await;
        let candidates = world.store.candidates(&linux(), NOW, 9).await.unwrap();
        assert_eq!(candidates[0].expected_ms, Some(7_000));
    }

    async fn the_last_good_and_what_is_in_flight_is_held_and_the_rest_released(world) {
        let paths = async || {
            let roots = world.store.roots().await.unwrap();
            let mut all: Vec<_> = roots
                .iter()
                .map(|it| format!("{} {}", it.name.split('-').next().unwrap(), &it.path[44..]))
                .collect();
            all.sort();
            all
        };
        world.push("a1", &[]).await;
        let (claim, _) = world.waiting(&["raider", "viper"]).await;
        let _ = world.store.finish_evaluation(&claim, NOW).await.unwrap();
        assert_eq!(paths().await, ["building raider.drv", "building viper.drv"]);
        for name in ["raider", "viper"] {
            let attempt = world.start(name).await.unwrap();
            let _ = world.finish(&attempt, built()).await;
        }
        assert_eq!(paths().await, ["good raider", "good viper"]);
        world.push("b2", &[]).await;
        let claim = world.claim().await;
        let builds = world.list(&claim, &["raider"]).await;
        world.evaluated(&claim, &builds[0], Outcome::Reuse(derivation("raider-2"))).await;
        assert_eq!(paths().await, ["good raider-2", "good viper"]);
        let _ = world.store.finish_evaluation(&claim, NOW).await.unwrap();
        assert_eq!(paths().await, ["good raider-2"], "viper is gone from the branch");
    }

    async fn ten_thousand_waiting_builds_are_claimed_quickly(world) {
        world.push("a1", &[]).await;
        let claim = world.claim().await;
        let names: Vec<String> = (0..100).map(|it| format!("h{it}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let builds = world.list(&claim, &names).await;
        let outcomes = builds.iter().zip(&names).map(|(build, name)| {
            let outcome = Outcome::Wait(derivation(name), Waiting::Slot);
            fleetcheck::store::runs::EvaluationOutcome { build: build.id.clone(), outcome, took: None, warnings: vec![] }
        });
        let _ = world.store.evaluated(&claim, outcomes.collect(), NOW).await.unwrap();
        // Copies of the run and its builds, each under another beginning of their ids.
        let run_columns = "id, repository_id, sha, reason, base, occurred_at, created_at, state, \
                           state_at, verdict, problem, waits, not_before, claim, claimed_by, \
                           claimed_until";
        let build_columns = "id, run_id, attr_key, attr, label, required, rank, state, since, \
                             system, drv, derivation, waiting, held, not_before, attempts, \
                             weathers, attempt_id, ending, ended_at, evaluation_ms, \
                             evaluation_peak";
        let copy = |it: i32| {
            format!(
                "INSERT INTO run ({run_columns}) SELECT '{it:x}' || substr(id, 3), repository_id, sha, \
                 reason || '{it}', base, occurred_at, created_at, state, state_at, verdict, \
                 problem, waits, not_before, claim, claimed_by, claimed_until FROM run \
                 WHERE reason = 'push:main'; \
                 INSERT INTO build ({build_columns}) SELECT '{it:x}' || substr(id, 3), \
                 '{it:x}' || substr(run_id, 3), attr_key, attr, label, required, rank, state, \
                 since, system, '/nix/store/{it:x}' || substr(drv, 14), derivation, waiting, held, \
                 not_before, attempts, weathers, attempt_id, ending, ended_at, evaluation_ms, \
                 evaluation_peak FROM build WHERE substr(id, 1, 2) = '01';"
            )
        };
        let more: String = (0x10..0x73).map(copy).collect();
        let database = world.database().await;
        sqlx::raw_sql(sqlx::AssertSqlSafe(more)).execute(&database).await.unwrap();
        let counts = world.store.counts().await.unwrap();
        assert_eq!(counts.builds["waiting"], 10_000);
        let found = world.store.candidates(&linux(), NOW, 10).await.unwrap();
        assert!(found.iter().all(|it| it.rank == found[0].rank));
        assert_eq!(found.len(), 10);
        let attempt: AttemptId = id();
        let wanted = [(drv("h7"), attempt)];
        let (claims, _) =
            world.store.claim_attempts(&wanted, "local", "me", NOW, LEASE).await.unwrap();
        assert_eq!(claims.len(), 1);
    }
}
