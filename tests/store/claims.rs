//! A run is evaluated by one process at a time.
use fleetcheck::domain::base::{Answer, BaseHost, Tested};
use fleetcheck::domain::build::{Ending, EvaluationFailure, Required, Waiting};
use fleetcheck::domain::evaluation::Known;
use fleetcheck::domain::id::AttrPath;
use fleetcheck::domain::incoming::InstallationStanding;
use fleetcheck::domain::run::{RunState, Trust};
use fleetcheck::domain::verdict::{Problem, Verdict};
use fleetcheck::store::runs::{EvaluationOutcome, NewBuild, Outcome, Subject};
use fleetcheck::store::{Event, StoreError};

use crate::world::{LEASE, NOW, able, derivation, id, new_build, run, sha};

fn failed() -> Ending {
    Ending::EvaluationFailed(EvaluationFailure {
        headline: "undefined variable 'x'".into(),
        trace: "error: …\0".into(),
        place: None,
        limit: None,
    })
}

contract! {
    async fn the_oldest_run_is_claimed_first_and_once(world) {
        let first = world.push("a1", &[]).await;
        let second = world.push("b2", &[]).await;
        assert_eq!(world.claim().await.run(), &first);
        assert_eq!(world.claim().await.run(), &second);
        assert!(world.store.claim_run("me", NOW, LEASE).await.unwrap().is_none());
        assert!(matches!(world.run(&first).await.run.state, RunState::Evaluating { .. }));
    }

    async fn a_lost_lease_is_claimed_again(world) {
        let run = world.push("a1", &[]).await;
        let claim = world.claim().await;
        assert_eq!(claim.tries(), 1);
        world.store.renew_run(&claim, NOW.plus(LEASE - 1)).await.unwrap();
        let expired = world.store.expire(NOW.plus(LEASE)).await.unwrap();
        assert_eq!(expired.runs, [], "it was renewed");
        let later = NOW.plus(2 * LEASE);
        let expired = world.store.expire(later).await.unwrap();
        assert_eq!(expired.runs, [run]);
        assert!(expired.moved.has(Event::RunRequested));
        assert_eq!(world.store.expire(later).await.unwrap().runs, [], "it is told once");
        let (again, _) = world.store.claim_run("you", later, LEASE).await.unwrap().unwrap();
        assert_eq!((again.run(), again.tries()), (claim.run(), 2));
    }

    async fn a_claim_that_was_lost_cannot_write(world) {
        world.push("a1", &[]).await;
        let claim = world.claim().await;
        let later = NOW.plus(LEASE);
        let lost = world.store.list_builds(&claim, vec![new_build("raider")], later).await;
        assert!(matches!(lost, Err(StoreError::ClaimLost(_))), "the lease has ended");
        let (again, _) = world.store.claim_run("me", later, LEASE).await.unwrap().unwrap();
        for lost in [
            world.store.list_builds(&claim, vec![new_build("raider")], NOW).await.map(|_| ()),
            world.store.evaluated(&claim, vec![], NOW).await.map(|_| ()),
            world.store.finish_evaluation(&claim, NOW).await.map(|_| ()),
            world.store.end_run(&claim, Verdict::Passed, failed(), NOW).await.map(|_| ()),
            world.store.renew_run(&claim, NOW).await,
            world.store.release_run(claim, "x", NOW, NOW).await.map(|_| ()),
        ] {
            assert!(matches!(lost, Err(StoreError::ClaimLost(_))), "{lost:?}");
        }
        world.store.renew_run(&again, later).await.unwrap();
    }

    async fn a_process_that_starts_takes_back_what_it_had(world) {
        let run = world.push("a1", &[]).await;
        let (_claim, builds) = world.waiting(&["raider"]).await;
        let attempt = world.start("raider").await.unwrap();
        let none = world.store.forget_claims_of("somebody else", NOW).await.unwrap();
        assert_eq!((none.runs, none.attempts), (vec![], vec![]));
        let expired = world.store.forget_claims_of("me", NOW).await.unwrap();
        assert_eq!(expired.runs, std::slice::from_ref(&run));
        assert_eq!(expired.attempts, [attempt.attempt().clone()]);
        assert_eq!(world.build(&builds[0].id).await.state.name(), "waiting");
        assert_eq!(world.claim().await.run(), &run);
    }

    async fn nothing_is_claimed_for_a_suspended_installation(world) {
        let run = world.push("a1", &[]).await;
        world.waiting(&["raider"]).await;
        world.push("b2", &[]).await;
        world.installation(InstallationStanding::Suspended).await;
        assert!(world.store.claim_run("me", NOW, LEASE).await.unwrap().is_none());
        let able = able("x86_64-linux", &[], &[]);
        assert_eq!(world.store.candidates(&able, NOW, 9).await.unwrap(), []);
        assert!(world.start("raider").await.is_none());
        assert_eq!(world.store.behind(NOW.plus(LEASE), 9).await.unwrap(), []);
        world.installation(InstallationStanding::Active).await;
        assert_eq!(world.run(&run).await.builds.len(), 1);
        assert!(world.start("raider").await.is_some());
        assert!(!world.store.behind(NOW.plus(LEASE), 9).await.unwrap().is_empty());
        world.claim().await;
    }

    async fn what_an_uninstalled_app_was_testing_ends(world) {
        let run = world.push("a1", &[]).await;
        world.waiting(&["raider"]).await;
        world.installation(InstallationStanding::Deleted).await;
        assert!(world.store.claim_run("me", NOW, LEASE).await.unwrap().is_none());
        assert!(world.start("raider").await.is_none());
        assert_eq!(world.store.behind(NOW.plus(LEASE), 9).await.unwrap(), []);
        let state = world.run(&run).await.run.state;
        assert!(matches!(state, RunState::Ended { verdict: Verdict::Cancelled { .. }, .. }));
    }

    async fn a_released_run_waits_and_says_why(world) {
        let run = world.push("a1", &[]).await;
        let claim = world.claim().await;
        let at = NOW.plus(5_000);
        let _ = world.store.release_run(claim, "github.com does not answer", at, NOW).await.unwrap();
        let waits = world.run(&run).await.run.waits;
        assert_eq!(waits.as_deref(), Some("github.com does not answer"));
        assert!(world.store.claim_run("me", NOW, LEASE).await.unwrap().is_none());
        assert!(world.store.claim_run("me", at, LEASE).await.unwrap().is_some());
        assert_eq!(world.run(&run).await.run.waits, None);
    }

    async fn hosts_are_listed_once_whatever_they_are_called(world) {
        world.push("a1", &[]).await;
        let claim = world.claim().await;
        let names = ["raider".to_owned(), "a b".into(), "\"${x}\"\u{202e}".into(), "x".repeat(9000)];
        let listed = |required| -> Vec<NewBuild> {
            names.iter().map(|it| NewBuild { required, ..new_build(it) }).collect()
        };
        let (first, moved) =
            world.store.list_builds(&claim, listed(Required::Required), NOW).await.unwrap();
        assert!(moved.has(Event::ReportBehind));
        let (again, _) =
            world.store.list_builds(&claim, listed(Required::Optional), NOW).await.unwrap();
        assert_eq!(first, again);
        let attrs: Vec<_> = again.iter().map(|it| it.attr.clone()).collect();
        assert_eq!(attrs, names.map(|it| AttrPath::host(&it)));
        let behind = world.store.behind(NOW.plus(LEASE), 99).await.unwrap();
        assert_eq!(behind.iter().filter(|it| it.build.is_some()).count(), 1, "one has a label");
    }

    async fn required_hosts_go_first(world) {
        world.push("a1", &[]).await;
        let claim = world.claim().await;
        let optional = NewBuild { required: Required::Optional, ..new_build("raider") };
        let all = vec![optional, new_build("viper")];
        let (builds, _) = world.store.list_builds(&claim, all, NOW).await.unwrap();
        let attrs: Vec<_> = builds.iter().map(|it| it.attr.clone()).collect();
        assert_eq!(attrs, [AttrPath::host("viper"), AttrPath::host("raider")]);
    }

    async fn a_run_whose_hosts_are_all_there_ends_with_its_evaluation(world) {
        let run = world.push("a1", &[]).await;
        let claim = world.claim().await;
        let builds = world.list(&claim, &["raider"]).await;
        world.evaluated(&claim, &builds[0], Outcome::Reuse(derivation("raider"))).await;
        assert!(world.run(&run).await.run.state.is_open(), "not before it is finished");
        let moved = world.store.finish_evaluation(&claim, NOW).await.unwrap();
        assert!(moved.has(Event::RunEnded));
        let passed = RunState::Ended { verdict: Verdict::Passed, at: NOW };
        assert_eq!(world.run(&run).await.run.state, passed);
    }

    async fn a_host_that_does_not_evaluate_says_so_and_the_others_go_on(world) {
        let run = world.push("a1", &[]).await;
        let claim = world.claim().await;
        let builds = world.list(&claim, &["raider", "viper"]).await;
        world.evaluated(&claim, &builds[0], Outcome::Fail(failed())).await;
        let _ = world.store.finish_evaluation(&claim, NOW).await.unwrap();
        let view = world.run(&run).await;
        assert_eq!(view.builds[0].build.state.ending(), Some(&failed()));
        assert_eq!(view.builds[0].evaluation.unwrap().elapsed_ms, 120);
        assert!(view.run.state.is_open());
    }

    async fn a_run_that_cannot_be_judged_ends_with_what_is_wrong(world) {
        let run = world.push("a1", &[]).await;
        let claim = world.claim().await;
        world.list(&claim, &["raider"]).await;
        let problem = Problem { headline: "no host".into(), detail: "…".into(), place: None };
        let verdict = Verdict::Broken { problem };
        let _ = world.store.end_run(&claim, verdict.clone(), failed(), NOW).await.unwrap();
        let view = world.run(&run).await;
        assert_eq!(view.run.state, RunState::Ended { verdict, at: NOW });
        assert_eq!(view.builds[0].build.state.ending(), Some(&failed()));
    }

    async fn a_host_is_known_to_need_more_memory_at_once_and_less_by_and_by(world) {
        for (commit, held, known) in [("a1", 4000, 4000), ("b2", 8000, 8000), ("c3", 4000, 7000)] {
            world.push(commit, &[]).await;
            let claim = world.claim().await;
            let build = world.list(&claim, &["raider"]).await.remove(0).id;
            let outcome = Outcome::Wait(derivation("raider"), Waiting::Slot);
            let took = Some(Known { evaluation_ms: 120, peak_memory: held });
            let outcome = EvaluationOutcome { build, outcome, took, warnings: vec![] };
            let _ = world.store.evaluated(&claim, vec![outcome], NOW).await.unwrap();
            let facts = world.store.run_facts(&claim).await.unwrap();
            assert_eq!(facts.known[&AttrPath::host("raider")].peak_memory, known, "{commit}");
        }
    }

    async fn what_the_same_evaluation_gave_before_is_known_unless_it_was_a_stranger_s(world) {
        let identity = |evaluation| Subject { evaluation, ..Subject::default() };
        world.push("a1", &[]).await;
        let (first, _) = world.waiting(&["raider"]).await;
        world.store.set_subject(&first, &identity(Some("a")), NOW).await.unwrap();
        let mut stranger = run("b2", "main");
        stranger.trust = Trust::Untrusted;
        let start = fleetcheck::store::decide::Decided::Start {
            repository: crate::world::repository(), run: stranger, supersede: vec![],
        };
        let _ = world.decide(start).await;
        let (second, _) = world.waiting(&["viper"]).await;
        world.store.set_subject(&second, &identity(Some("a")), NOW).await.unwrap();
        assert!(world.store.evaluated_before(&second).await.unwrap().is_empty());
        world.push("c3", &[]).await;
        let third = world.claim().await;
        for (evaluation, known) in [(None, false), (Some("b"), false), (Some("a"), true)] {
            world.store.set_subject(&third, &identity(evaluation), NOW).await.unwrap();
            let before = world.store.evaluated_before(&third).await.unwrap();
            let raider = known.then(|| (derivation("raider"), vec![]));
            assert_eq!(before.get(&AttrPath::host("raider")), raider.as_ref());
            assert!(!before.contains_key(&AttrPath::host("viper")), "{evaluation:?}");
        }
    }

    async fn hosts_are_remembered_from_commit_to_commit(world) {
        world.push("a1", &[]).await;
        world.waiting(&["raider", "viper"]).await;
        let mut next = run("b2", "main");
        next.base = Some(sha("a1"));
        let start = fleetcheck::store::decide::Decided::Start {
            repository: crate::world::repository(), run: next, supersede: vec![],
        };
        let _ = world.decide(start).await;
        let facts = world.store.run_facts(&world.claim().await).await.unwrap();
        let known = Known { evaluation_ms: 120, peak_memory: 4_000_000 };
        assert_eq!(facts.known.get(&AttrPath::host("raider")), Some(&known));
        assert_eq!(facts.known.len(), 2);
        let base = facts.against.base.unwrap();
        let open = BaseHost { required: Required::Required, answer: Answer::Open };
        let hosts = ["raider", "viper"].map(|it| (AttrPath::host(it), open));
        assert_eq!((base.sha, base.tested), (sha("a1"), Tested::Running));
        assert_eq!(base.hosts, hosts.into());
        let unlisted = world.store.run_view(&id()).await.unwrap();
        assert_eq!(unlisted, None);
    }
}
