//! Runs against their base commits, turns in queues, and when checks are looked at again.
use fleetcheck::domain::base::{Answer, ExistingFailures, Tested};
use fleetcheck::domain::build::{Attempted, BuildFailure, Ending, SourcePlace, Waiting, Warning};
use fleetcheck::domain::id::{AttrPath, BuildId, InstallationId, RepositoryId, RunId};
use fleetcheck::domain::incoming::{InstallationStanding, Repository};
use fleetcheck::domain::page::Turn;
use fleetcheck::domain::run::RunState;
use fleetcheck::domain::verdict::Verdict;
use fleetcheck::store::decide::Decided;
use fleetcheck::store::reports::{ReportId, Shown};
use fleetcheck::store::runs::{EvaluationOutcome, Outcome, Subject};
use fleetcheck::store::{Event, RunClaim};

use crate::world::{NOW, World, built, derivation, drv, repository, run, sha};

fn broken(name: &str) -> Attempted {
    Attempted::Answered(Ending::BuildFailed(BuildFailure {
        derivation: drv(name),
        headline: "builder failed with exit code 1".into(),
        log_tail: vec![],
        before: None,
    }))
}

/// A run of another branch on this base, claimed.
async fn on_base(world: &World, commit: &str, base: &str) -> (RunId, RunClaim) {
    let mut next = run(commit, "topic");
    next.base = Some(sha(base));
    let id = next.id.clone();
    let start = Decided::Start { repository: repository(), run: next, supersede: vec![] };
    let _ = world.decide(start).await;
    (id, world.claim().await)
}

/// A run of this host, whose build is under way.
async fn under_way(
    world: &World,
    commit: &str,
    host: &str,
) -> (RunId, fleetcheck::store::AttemptClaim) {
    let id = world.push(commit, &[]).await;
    let (claim, _) = world.waiting(&[host]).await;
    let _ = world.store.finish_evaluation(&claim, NOW).await.unwrap();
    (id, world.start(host).await.unwrap())
}

/// Fails the host's build in a run whose policy excuses what was red before.
async fn fails_and_excuses(world: &World, claim: &RunClaim, name: &str) {
    let subject = Subject { existing: ExistingFailures::Ignore, ..Subject::default() };
    world.store.set_subject(claim, &subject, NOW).await.unwrap();
    let builds = world.list(claim, &["raider"]).await;
    world.evaluated(claim, &builds[0], Outcome::Wait(derivation(name), Waiting::Slot)).await;
    let _ = world.store.finish_evaluation(claim, NOW).await.unwrap();
    let attempt = world.start(name).await.unwrap();
    let _ = world.finish(&attempt, broken(name)).await;
}

async fn state(world: &World, id: &RunId) -> RunState {
    world.run(id).await.run.state
}

fn is_ended(state: &RunState, verdict: &Verdict) -> bool {
    matches!(state, RunState::Ended { verdict: it, .. } if it == verdict)
}

contract! {
    async fn a_base_that_never_listed_its_hosts_is_passed_over_for_its_own(world) {
        let (first, _) = under_way(&world, "a1", "raider").await;
        let mut superseded = run("b2", "main");
        superseded.base = Some(sha("a1"));
        let base = superseded.id.clone();
        let start = |run, supersede| Decided::Start { repository: repository(), run, supersede };
        let _ = world.decide(start(superseded, vec![first])).await;
        let mut next = run("c3", "main");
        next.base = Some(sha("b2"));
        let id = next.id.clone();
        let _ = world.decide(start(next, vec![base])).await;
        let found = world.run(&id).await.against.base.unwrap();
        assert_eq!((&found.sha, found.tested), (&sha("a1"), Tested::Partly));
        assert_eq!(found.hosts.keys().collect::<Vec<_>>(), [&AttrPath::host("raider")]);
        // Where none of them ever listed anything, nothing is known of the nearest.
        let mut alone = run("d4", "topic");
        alone.base = Some(sha("e5"));
        let id = alone.id.clone();
        let _ = world.decide(start(alone, vec![])).await;
        let found = world.run(&id).await.against.base.unwrap();
        assert_eq!((found.sha, found.tested), (sha("e5"), Tested::Not));
    }
}

contract! {
    async fn a_run_is_judged_when_the_base_commit_s_answer_arrives(world) {
        let (_, attempt) = under_way(&world, "a1", "raider").await;
        let (head, claim) = on_base(&world, "b2", "a1").await;
        fails_and_excuses(&world, &claim, "raider-2").await;
        assert!(matches!(state(&world, &head).await, RunState::Building { .. }), "not known yet");
        let base = world.run(&head).await.against.base.unwrap();
        assert_eq!(base.tested, Tested::Running);
        assert_eq!(base.answer(&AttrPath::host("raider")), Some(Answer::Open));
        let finished = world.finish(&attempt, broken("raider")).await;
        assert!(finished.moved.has(Event::ReportBehind));
        assert!(is_ended(&state(&world, &head).await, &Verdict::Passed), "red before, red again");
        let against = world.run(&head).await.against;
        assert_eq!(against.existing, ExistingFailures::Ignore);
        assert_eq!(against.base.unwrap().answer(&AttrPath::host("raider")), Some(Answer::Red));
    }

    async fn a_base_commit_that_builds_makes_the_failure_a_new_one(world) {
        let (_, attempt) = under_way(&world, "a1", "raider").await;
        let (head, claim) = on_base(&world, "b2", "a1").await;
        fails_and_excuses(&world, &claim, "raider-2").await;
        let _ = world.finish(&attempt, built()).await;
        assert!(is_ended(&state(&world, &head).await, &Verdict::Failed));
    }

    async fn a_base_commit_that_is_superseded_excuses_nothing(world) {
        let (base, _attempt) = under_way(&world, "a1", "raider").await;
        let (head, claim) = on_base(&world, "b2", "a1").await;
        fails_and_excuses(&world, &claim, "raider-2").await;
        world.push("c3", &[&base]).await;
        assert!(is_ended(&state(&world, &head).await, &Verdict::Failed));
        assert_eq!(world.run(&head).await.against.base.unwrap().tested, Tested::Partly);
    }

    async fn a_base_commit_that_was_never_tested_excuses_nothing(world) {
        let (head, claim) = on_base(&world, "b2", "a1").await;
        fails_and_excuses(&world, &claim, "raider-2").await;
        assert!(is_ended(&state(&world, &head).await, &Verdict::Failed));
        let base = world.run(&head).await.against.base.unwrap();
        assert_eq!((base.tested, base.hosts.len()), (Tested::Not, 0));
    }

    async fn a_queued_build_knows_its_turn_and_a_run_too(world) {
        let first = world.push("a1", &[]).await;
        let (_, builds) = world.waiting(&["raider", "viper", "zephyr"]).await;
        let turn = |place, of| Some(Turn { place, of });
        let view = world.run(&first).await;
        let turns: Vec<_> = view.builds.iter().map(|it| it.outlook.turn).collect();
        assert_eq!(turns, [turn(1, 3), turn(2, 3), turn(3, 3)]);
        let of_build = world.store.build_view(&builds[2].id).await.unwrap().unwrap();
        assert_eq!(of_build.builds[0].outlook.turn, turn(3, 3));
        assert_eq!(view.builds[0].outlook.evaluation_ms, Some(120));
        let attempt = world.start("raider").await.unwrap();
        let view = world.run(&first).await;
        let turns: Vec<_> = view.builds.iter().map(|it| it.outlook.turn).collect();
        assert_eq!(turns, [None, turn(1, 2), turn(2, 2)]);
        let _ = world.finish(&attempt, built()).await;
        let second = world.push("b2", &[]).await;
        let third = world.push("c3", &[]).await;
        assert_eq!(world.run(&second).await.turn, turn(1, 2));
        assert_eq!(world.run(&third).await.turn, turn(2, 2));
        assert_eq!(world.run(&first).await.turn, None);
    }

    async fn what_a_suspended_installation_has_waiting_takes_nobody_s_turn(world) {
        let first = world.push("a1", &[]).await;
        let (_, builds) = world.waiting(&["raider", "viper"]).await;
        let waits = world.push("b2", &[]).await;
        // Of another account.
        let start = async |commit: &str| {
            let mut other = run(commit, "main");
            other.repository = RepositoryId(43);
            let id = other.id.clone();
            let installation = InstallationId(8);
            let theirs = Repository { id: RepositoryId(43), installation, ..repository() };
            let start = Decided::Start { repository: theirs, run: other, supersede: vec![] };
            let _ = world.decide(start).await;
            id
        };
        let turn = |place, of| Some(Turn { place, of });
        let evaluated = start("c3").await;
        // The oldest is claimed first: that which waits makes room by having ended.
        let left = Ending::Transient { what: "x".into() };
        let claim = world.claim().await;
        assert_eq!(claim.run(), &waits);
        let _ = world.store.end_run(&claim, Verdict::Failed, left, NOW).await.unwrap();
        let (_, theirs) = world.waiting(&["zephyr"]).await;
        let again = world.push("d4", &[]).await;
        let other = start("e5").await;
        let of = async |build: &BuildId| {
            let view = world.store.build_view(build).await.unwrap().unwrap();
            view.builds[0].outlook.turn
        };
        assert_eq!(of(&theirs[0].id).await, turn(2, 3), "the first of each run are peers");
        assert_eq!(world.run(&other).await.turn, turn(2, 2));
        world.installation(InstallationStanding::Suspended).await;
        assert_eq!(of(&theirs[0].id).await, turn(1, 1));
        assert_eq!(of(&builds[0].id).await, None, "nobody takes it now");
        assert_eq!(world.run(&evaluated).await.builds[0].outlook.turn, turn(1, 1));
        let turns = world.run(&first).await.builds;
        assert!(turns.iter().all(|it| it.outlook.turn.is_none()));
        assert_eq!((world.run(&other).await.turn, world.run(&again).await.turn), (turn(1, 1), None));
        world.installation(InstallationStanding::Active).await;
        assert_eq!(of(&theirs[0].id).await, turn(2, 3));
    }

    async fn warnings_are_kept_with_the_build(world) {
        world.push("a1", &[]).await;
        let claim = world.claim().await;
        let build = world.list(&claim, &["raider"]).await.remove(0);
        let place = SourcePlace { path: "hosts/raider.nix".into(), line: 3 };
        let warnings = vec![Warning { message: "renamed\0".into(), place: Some(place) }];
        let outcome = EvaluationOutcome {
            build: build.id.clone(),
            outcome: Outcome::Reuse(derivation("raider")),
            took: None,
            warnings: warnings.clone(),
        };
        let _ = world.store.evaluated(&claim, vec![outcome], NOW).await.unwrap();
        let view = world.store.build_view(&build.id).await.unwrap().unwrap();
        assert_eq!(view.builds[0].warnings, warnings);
    }

    async fn checks_of_what_is_not_done_are_looked_at_again_and_ever_more_rarely(world) {
        let id = world.push("a1", &[]).await;
        let (claim, builds) = world.waiting(&["raider"]).await;
        let _ = world.store.finish_evaluation(&claim, NOW).await.unwrap();
        let host = ReportId::host(&builds[0].id);
        let is_due = async |now| {
            let behind = world.store.behind(now, 9).await.unwrap();
            behind.into_iter().find(|it| it.report == host).map(|it| it.revision)
        };
        let show = async |revision, now| {
            let (status, digest) = ("queued".to_owned(), "d".to_owned());
            let shown = Shown {
                revision,
                serial: 0,
                github_id: Some(7),
                node_id: None,
                annotations: 0,
                status,
                digest,
            };
            world.store.shown(&host, shown, now).await.unwrap();
        };
        let mut now = NOW.plus(60_000);
        // Never before it was shown at all: that has its own pace.
        assert!(is_due(NOW).await.is_none());
        show(is_due(now).await.unwrap(), now).await;
        let mut pauses = Vec::new();
        for _ in 0..5 {
            let since = now;
            loop {
                let moved = world.store.refresh(now, 9).await.unwrap();
                if let Some(revision) = is_due(now).await {
                    assert!(moved.has(Event::ReportBehind));
                    show(revision, now).await;
                    break;
                }
                now = now.plus(5_000);
            }
            pauses.push(now.since(since) / 1000);
        }
        assert_eq!(pauses, [15, 15, 30, 30, 60]);
        // What is over is left alone.
        let attempt = world.start("raider").await.unwrap();
        let _ = world.finish(&attempt, built()).await;
        show(is_due(now).await.unwrap(), now).await;
        let later = now.plus(3_600_000);
        let _ = world.store.refresh(later, 9).await.unwrap();
        assert_eq!(is_due(later).await, None);
        assert!(!state(&world, &id).await.is_open());
    }
}
