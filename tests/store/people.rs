//! What people ask for: runs that are tested again, approved, cancelled.
use fleetcheck::domain::build::{Attempted, BuildState, Ending, Rebuild, Waiting};
use fleetcheck::domain::decide::{Act, Again, Age, Reaction, Rebase, Seen};
use fleetcheck::domain::id::{BuildId, RepositoryId, RunId};
use fleetcheck::domain::incoming::CheckRef;
use fleetcheck::domain::run::{Approval, Reason, RunState};
use fleetcheck::domain::verdict::Verdict;
use fleetcheck::store::Event;
use fleetcheck::store::decide::Decided;
use fleetcheck::store::reactions::NewReaction;
use fleetcheck::store::reports::{Behind, ReportId, Shown};
use fleetcheck::store::runs::Outcome;

use crate::world::{NOW, World, built, derivation, repository, run, sha};

const REPOSITORY: RepositoryId = RepositoryId(42);

fn again(run: &RunId, builds: &[&BuildId], rebuild: Rebuild) -> Decided {
    let builds = builds.iter().map(|it| (*it).clone()).collect();
    act(Act::Again(Again { run: run.clone(), builds, rebuild, suite_at: None }))
}

fn act(act: Act) -> Decided {
    Decided::Act { acts: vec![act], reaction: None }
}

fn failed() -> Attempted {
    Attempted::Answered(Ending::Transient { what: "x".into() })
}

/// A run that ended: raider failed, viper is good.
async fn ended(world: &World) -> (RunId, BuildId, BuildId) {
    let run = world.push("a1", &[]).await;
    let (claim, builds) = world.waiting(&["raider", "viper"]).await;
    let _ = world.store.finish_evaluation(&claim, NOW).await.unwrap();
    let raider = world.start("raider").await.unwrap();
    let _ = world.finish(&raider, failed()).await;
    let viper = world.start("viper").await.unwrap();
    let _ = world.finish(&viper, built()).await;
    (run, builds[0].id.clone(), builds[1].id.clone())
}

async fn show(world: &World, report: &Behind) {
    let shown = Shown {
        revision: report.revision,
        serial: report.serial,
        github_id: Some(77),
        node_id: None,
        annotations: 0,
        status: "completed:failure".into(),
        digest: "d".into(),
    };
    world.store.shown(&report.report, shown, NOW).await.unwrap();
}

async fn report(world: &World, id: &ReportId) -> Option<Behind> {
    let all = world.store.behind(NOW.plus(60_000), 99).await.unwrap();
    all.into_iter().find(|it| it.report == *id)
}

contract! {
    async fn a_host_that_is_built_again_keeps_its_derivation_and_counts_on(world) {
        let (run, raider, viper) = ended(&world).await;
        for report in world.store.behind(NOW.plus(60_000), 99).await.unwrap() {
            show(&world, &report).await;
        }
        let moved = world.decide(again(&run, &[&raider], Rebuild::IfMissing)).await;
        assert!(moved.has(Event::RunRequested) && moved.has(Event::ReportBehind));
        assert_eq!(world.run(&run).await.run.state, RunState::Requested);
        let build = world.build(&raider).await;
        assert_eq!(build.state, BuildState::Listed { known: Some(derivation("raider")) });
        assert_eq!(build.attempts, 1);
        for id in [ReportId::gate(&run), ReportId::host(&raider)] {
            let it = report(&world, &id).await.unwrap();
            assert_eq!((it.serial, it.github_id, it.shown_status), (1, None, None), "{id}");
        }
        assert_eq!(report(&world, &ReportId::host(&viper)).await, None, "it was left alone");
        // An answer of the check run before is history.
        let late = Shown {
            revision: 99, serial: 0, github_id: Some(76), node_id: None,
            annotations: 0, status: "x".into(), digest: "x".into(),
        };
        world.store.shown(&ReportId::gate(&run), late, NOW).await.unwrap();
        assert_eq!(report(&world, &ReportId::gate(&run)).await.unwrap().github_id, None);

        let claim = world.claim().await;
        world.evaluated(&claim, &build, Outcome::Wait(derivation("raider"), Waiting::Slot)).await;
        let _ = world.store.finish_evaluation(&claim, NOW).await.unwrap();
        let attempt = world.start("raider").await.unwrap();
        assert_eq!(attempt.rebuild(), Rebuild::IfMissing);
        let _ = world.finish(&attempt, built()).await;
        assert_eq!(world.build(&raider).await.attempts, 2);
        let verdict = Verdict::Passed;
        assert_eq!(world.run(&run).await.run.state, RunState::Ended { verdict, at: NOW });
    }

    async fn an_evaluation_under_way_begins_anew_when_a_host_is_asked_for_again(world) {
        let run = world.push("a1", &[]).await;
        let claim = world.claim().await;
        let builds = world.list(&claim, &["raider", "viper"]).await;
        let fail = Outcome::Fail(Ending::Transient { what: "x".into() });
        world.evaluated(&claim, &builds[0], fail).await;
        let moved = world.decide(again(&run, &[&builds[0].id], Rebuild::IfMissing)).await;
        assert!(moved.has(Event::RunEnded), "the evaluation is told");
        assert!(world.store.finish_evaluation(&claim, NOW).await.is_err());
        assert_eq!(world.claim().await.run(), &run);
    }

    async fn from_scratch_shares_no_attempt_that_began_before(world) {
        let (run, raider, _) = ended(&world).await;
        let _ = world.decide(again(&run, &[&raider], Rebuild::FromScratch)).await;
        let other = world.push("b2", &[]).await;
        // The newer run is evaluated first and its raider is being built.
        let mut claims = [world.claim().await, world.claim().await];
        claims.sort_by_key(|it| it.run() != &other);
        let builds = world.list(&claims[0], &["raider"]).await;
        let wait = || Outcome::Wait(derivation("raider"), Waiting::Slot);
        world.evaluated(&claims[0], &builds[0], wait()).await;
        let attempt = world.start("raider").await.unwrap();
        let scratch = world.build(&raider).await;
        assert_eq!(scratch.rebuild, Rebuild::FromScratch);
        world.evaluated(&claims[1], &scratch, wait()).await;
        assert_eq!(world.build(&raider).await.state.name(), "waiting");
        let _ = world.finish(&attempt, built()).await;
        assert_eq!(world.build(&raider).await.state.name(), "waiting", "that proves nothing");
        let attempt = world.start("raider").await.unwrap();
        assert_eq!(attempt.rebuild(), Rebuild::FromScratch);
        let _ = world.finish(&attempt, built()).await;
        assert_eq!(world.build(&raider).await.state.name(), "ended");
    }

    async fn a_fork_s_commit_is_built_when_it_is_approved_and_stays_so(world) {
        let mut parked = run("a1", "main");
        parked.reason = Reason::PullRequest(7);
        parked.state = RunState::AwaitingApproval;
        parked.approval = Approval::Needed;
        let id = parked.id.clone();
        let start = Decided::Start { repository: repository(), run: parked, supersede: vec![] };
        let _ = world.decide(start).await;
        let _ = world.decide(again(&id, &[], Rebuild::IfMissing)).await;
        assert_eq!(world.run(&id).await.run.state, RunState::AwaitingApproval);
        let note = Act::Note { run: id.clone(), host: None, text: "@x may not".into() };
        let _ = world.decide(act(note)).await;
        assert_eq!(world.run(&id).await.run.note.as_deref(), Some("@x may not"));
        let by = "starbuck".parse().unwrap();
        let moved = world.decide(act(Act::Approve { run: id.clone(), by })).await;
        assert!(moved.has(Event::RunRequested));
        let run = world.run(&id).await.run;
        assert_eq!((run.state, run.note), (RunState::Requested, None));
        assert_eq!(run.approval, Approval::Given { by: "starbuck".parse().unwrap() });
    }

    async fn cancel_ends_what_is_open_and_keeps_what_has_ended(world) {
        let run = world.push("a1", &[]).await;
        let (claim, builds) = world.waiting(&["raider", "viper"]).await;
        let _ = world.store.finish_evaluation(&claim, NOW).await.unwrap();
        let raider = world.start("raider").await.unwrap();
        let viper = world.start("viper").await.unwrap();
        let _ = world.finish(&viper, built()).await;
        let by = "starbuck".parse().unwrap();
        let moved = world.decide(act(Act::Cancel { run: run.clone(), by })).await;
        assert!(moved.has(Event::AttemptUnwanted));
        let unwanted = world.store.unwanted(&[raider.attempt().clone()]).await.unwrap();
        assert_eq!(unwanted.len(), 1);
        let verdict = Verdict::Cancelled { by: "starbuck".into() };
        assert_eq!(world.run(&run).await.run.state, RunState::Ended { verdict, at: NOW });
        assert!(world.build(&builds[1].id).await.state.ending().unwrap().is_good());
    }

    async fn a_click_is_found_by_our_id_or_by_the_name(world) {
        let (run, raider, _) = ended(&world).await;
        let find = async |external_id: &str, name: &str, commit: &str| {
            let check = CheckRef { external_id: external_id.into(), name: name.into() };
            world.store.clicked(REPOSITORY, &sha(commit), &check).await.unwrap()
        };
        let host = ReportId::host(&raider);
        world.store.creating(&[(&host, 1)]).await.unwrap();
        let newest = find(&format!("{host}:1"), "x", "a1").await.unwrap();
        assert_eq!((newest.of.run.id, newest.host.clone(), newest.age), (run.clone(), Some(raider.clone()), Age::Newest));
        let _ = world.decide(again(&run, &[&raider], Rebuild::IfMissing)).await;
        assert_eq!(find(&format!("{host}:1"), "x", "a1").await.unwrap().age, Age::Replaced);
        assert_eq!(find("", "fleet / raider", "a1").await.unwrap().host, Some(raider));
        assert_eq!(find("", "fleet", "a1").await.unwrap().host, None);
        assert!(find("", "fleet / pegasus", "a1").await.is_none());
        assert!(find(&format!("{host}:1"), "x", "b2").await.is_none(), "of another commit");
    }

    async fn another_base_plans_the_run_anew_and_moves_no_build(world) {
        let (run, ..) = ended(&world).await;
        let before = world.run(&run).await.builds;
        let rebase = Rebase { base: sha("b2"), branch: None };
        let rejudge = Decided::Rejudge { run: run.clone(), rebase, occurred_at: NOW.plus(1) };
        assert!(world.decide(rejudge).await.has(Event::RunRequested));
        let view = world.run(&run).await;
        assert_eq!((view.run.base, view.run.state), (Some(sha("b2")), RunState::Requested));
        assert_eq!(view.builds, before);
    }

    async fn a_comment_is_owed_one_reaction(world) {
        // Nothing of the repository was tested so far.
        let owe = |reaction| Decided::Act {
            acts: vec![],
            reaction: Some(NewReaction { repository: repository(), comment: 9, reaction }),
        };
        assert_eq!(world.store.seen_comment(9).await.unwrap(), Seen::Never);
        assert!(world.decide(owe(Reaction::Refused)).await.has(Event::ReactionOwed));
        let _ = world.decide(owe(Reaction::Done)).await;
        assert_eq!(world.store.seen_comment(9).await.unwrap(), Seen::Before);
        let owed = world.store.owed_reaction(NOW).await.unwrap().unwrap();
        assert_eq!((owed.comment, owed.reaction, owed.tries), (9, Reaction::Refused, 0));
        world.store.reaction_failed(9, NOW.plus(50)).await.unwrap();
        assert_eq!(world.store.owed_reaction(NOW.plus(49)).await.unwrap(), None);
        assert_eq!(world.store.owed_reaction(NOW.plus(50)).await.unwrap().unwrap().tries, 1);
        world.store.reaction_shown(9, NOW).await.unwrap();
        assert_eq!(world.store.owed_reaction(NOW.plus(99)).await.unwrap(), None);
    }
}
