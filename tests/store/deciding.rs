//! What a delivery changes.
use fleetcheck::domain::build::{Ending, Waiting};
use fleetcheck::domain::id::RepositoryId;
use fleetcheck::domain::incoming::Repository;
use fleetcheck::domain::run::{Reason, RunState};
use fleetcheck::domain::verdict::Verdict;
use fleetcheck::store::Event;
use fleetcheck::store::decide::Decided;
use fleetcheck::store::runs::Outcome;

use crate::world::{NOW, built, derivation, repository, run, sha};

fn main_branch() -> Reason {
    Reason::Push("main".parse().unwrap())
}

contract! {
    async fn a_push_makes_a_run_and_its_gate(world) {
        let run = run("a1", "main");
        let id = run.id.clone();
        let start = Decided::Start { repository: repository(), run: run.clone(), supersede: vec![] };
        let moved = world.decide(start).await;
        assert!(moved.has(Event::RunRequested) && moved.has(Event::ReportBehind));
        let view = world.run(&id).await;
        assert_eq!((view.run, view.repository), (run.clone(), repository()));
        let standing =
            world.store.standing(RepositoryId(42), &main_branch(), &sha("a1")).await.unwrap();
        assert_eq!(standing.same, Some(run.clone()));
        assert_eq!(standing.open, std::slice::from_ref(&run));
        assert_eq!(standing.newest, Some(run));
        let other =
            world.store.standing(RepositoryId(42), &Reason::PullRequest(3), &sha("a1")).await;
        assert_eq!(other.unwrap().newest, None);
    }

    async fn one_commit_is_tested_once_for_one_reason(world) {
        let first = world.push("a1", &[]).await;
        let second = world.push("a1", &[]).await;
        assert!(world.store.run_view(&second).await.unwrap().is_none());
        assert_eq!(world.run(&first).await.run.state, RunState::Requested);
    }

    async fn a_newer_commit_supersedes_and_its_builds_say_by_which(world) {
        let older = world.push("a1", &[]).await;
        let (claim, builds) = world.waiting(&["raider", "viper", "scout"]).await;
        let _ = world.store.finish_evaluation(&claim, NOW).await.unwrap();
        let attempt = world.start("raider").await.unwrap();
        let done = world.start("viper").await.unwrap();
        let _ = world.finish(&done, built()).await;

        let newer = run("b2", "main");
        let start = Decided::Start {
            repository: repository(), run: newer.clone(), supersede: vec![older.clone()],
        };
        let moved = world.decide(start).await;
        assert!(moved.has(Event::AttemptUnwanted) && moved.has(Event::RunEnded));
        let view = world.run(&older).await;
        let by = sha("b2");
        assert_eq!(view.run.state, RunState::Ended {
            verdict: Verdict::Superseded { by: by.clone() }, at: NOW,
        });
        let superseded = Ending::Superseded { by };
        let endings: Vec<_> =
            view.builds.iter().map(|it| it.build.state.ending().cloned().unwrap()).collect();
        assert_eq!(endings, [superseded.clone(), Ending::Built { seconds: 3, without: vec![] }, superseded]);
        let unwanted = world.store.unwanted(&[attempt.attempt().clone()]).await.unwrap();
        assert_eq!(unwanted, [attempt.attempt().clone()]);
        assert!(world.store.list_builds(&claim, vec![], NOW).await.is_err());
        assert_eq!(world.build(&builds[0].id).await.attempts, 1);
    }

    async fn a_verdict_that_has_fallen_is_not_superseded(world) {
        let older = world.push("a1", &[]).await;
        let claim = world.claim().await;
        let builds = world.list(&claim, &["raider"]).await;
        world.evaluated(&claim, &builds[0], Outcome::Reuse(derivation("raider"))).await;
        let _ = world.store.finish_evaluation(&claim, NOW).await.unwrap();
        world.push("b2", &[&older]).await;
        assert_eq!(world.run(&older).await.run.state, RunState::Ended {
            verdict: Verdict::Passed, at: NOW,
        });
    }

    async fn a_revived_run_lists_its_superseded_builds_anew(world) {
        let first = world.push("a1", &[]).await;
        let claim = world.claim().await;
        let builds = world.list(&claim, &["raider", "viper"]).await;
        world.evaluated(&claim, &builds[0], Outcome::Reuse(derivation("raider"))).await;
        let wait = Outcome::Wait(derivation("viper"), Waiting::Slot);
        world.evaluated(&claim, &builds[1], wait.clone()).await;
        let second = world.push("b2", &[&first]).await;

        let revive = Decided::Revive {
            repository: repository(),
            run: first.clone(),
            occurred_at: NOW.plus(9),
            rebase: None,
            supersede: vec![second.clone()],
        };
        assert!(world.decide(revive).await.has(Event::RunRequested));
        let view = world.run(&second).await;
        assert_eq!(view.run.state, RunState::Ended {
            verdict: Verdict::Superseded { by: sha("a1") }, at: NOW,
        });
        let view = world.run(&first).await;
        assert_eq!((view.run.state, view.run.occurred_at), (RunState::Requested, NOW.plus(9)));
        let claim = world.claim().await;
        assert_eq!(claim.run(), &first);
        let names: Vec<_> = world
            .list(&claim, &["raider", "viper"])
            .await
            .iter()
            .map(|it| it.state.name())
            .collect();
        assert_eq!(names, ["ended", "listed"]);
        world.evaluated(&claim, &builds[1], wait).await;
        let _ = world.store.finish_evaluation(&claim, NOW).await.unwrap();
        let attempt = world.start("viper").await.unwrap();
        let _ = world.finish(&attempt, built()).await;
        assert_eq!(world.run(&first).await.run.state, RunState::Ended {
            verdict: Verdict::Passed, at: NOW,
        });
    }

    async fn an_older_delivery_does_not_rename_a_repository_back(world) {
        let mut young = run("a1", "main");
        young.occurred_at = NOW.plus(100);
        let id = young.id.clone();
        let renamed = Repository { name: "new-name".parse().unwrap(), ..repository() };
        let _ = world
            .decide(Decided::Start { repository: renamed.clone(), run: young, supersede: vec![] })
            .await;
        world.push("b2", &[]).await;
        assert_eq!(world.run(&id).await.repository, renamed);
    }

    async fn a_run_without_verdict_whose_reason_is_new_stands_alone(world) {
        let pushed = world.push("a1", &[]).await;
        let mut pull = run("a1", "main");
        pull.reason = Reason::PullRequest(3);
        let id = pull.id.clone();
        let _ = world
            .decide(Decided::Start { repository: repository(), run: pull, supersede: vec![] })
            .await;
        for run in [pushed, id] {
            assert_eq!(world.run(&run).await.run.state, RunState::Requested);
        }
    }
}
