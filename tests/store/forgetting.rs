//! What goes when a run is old, and what must be kept for those that stay.
use std::collections::HashSet;

use fleetcheck::domain::id::{CommitSha, RepositoryId};
use fleetcheck::domain::run::Merge;
use fleetcheck::domain::verdict::Verdict;
use fleetcheck::store::decide::Decided;
use fleetcheck::store::insights::Origin;
use fleetcheck::store::runs::Subject;

use crate::world::{NOW, repository, run, sha};

fn commits(of: &[&str]) -> HashSet<CommitSha> {
    of.iter().map(|it| sha(it)).collect()
}

contract! {
    async fn every_commit_that_a_run_is_about_is_named(world) {
        let mut next = run("c3", "topic");
        next.base = Some(sha("b2"));
        next.base_branch = Some("main".parse().unwrap());
        let start = Decided::Start { repository: repository(), run: next, supersede: vec![] };
        let _ = world.decide(start).await;
        let of = async || world.store.commits_of_runs(RepositoryId(42)).await.unwrap();
        assert_eq!(of().await, commits(&["c3", "b2"]));
        let claim = world.claim().await;
        let branch = "main".parse().unwrap();
        let merge = Merge { commit: sha("d4"), branch, base: sha("e5") };
        let judged_by = sha("f6");
        let subject = Subject {
            merge: Some(&merge),
            compared_with: Some(&judged_by),
            ..Subject::default()
        };
        world.store.set_subject(&claim, &subject, NOW).await.unwrap();
        let origin = Origin { compared_with: Some(sha("a7")), ..Origin::default() };
        world.store.set_origin(&claim, &origin, NOW).await.unwrap();
        assert_eq!(of().await, commits(&["c3", "b2", "d4", "e5", "f6", "a7"]));
        let other = world.store.commits_of_runs(RepositoryId(43)).await.unwrap();
        assert_eq!(other, commits(&[]), "of a repository that is not known");
    }

    async fn the_commits_of_a_run_go_with_it_but_those_that_others_need(world) {
        let mut older = run("b2", "main");
        older.base = Some(sha("a1"));
        let mut newer = run("c3", "main");
        newer.base = Some(sha("b2"));
        for it in [older, newer] {
            let start = Decided::Start { repository: repository(), run: it, supersede: vec![] };
            let _ = world.decide(start).await;
        }
        let end = async |at| {
            let claim = world.claim().await;
            let left = fleetcheck::domain::build::Ending::Transient { what: "x".into() };
            let _ = world.store.end_run(&claim, Verdict::Failed, left, at).await.unwrap();
        };
        end(NOW).await;
        end(NOW.plus(10)).await;
        let _ = world.store.forget_runs(NOW.plus(5)).await.unwrap();
        let kept = world.store.commits_of_runs(RepositoryId(42)).await.unwrap();
        assert_eq!(kept, commits(&["c3", "b2"]));
        let _ = world.store.forget_runs(NOW.plus(15)).await.unwrap();
        let kept = world.store.commits_of_runs(RepositoryId(42)).await.unwrap();
        assert_eq!(kept, commits(&[]));
    }
}
