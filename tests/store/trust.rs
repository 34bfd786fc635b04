//! What the store remembers of whose commit a run tests, and what it does not let it touch.
use fleetcheck::domain::Timestamp;
use fleetcheck::domain::build::{Ending, Waiting};
use fleetcheck::domain::decide::{Gone, Rebase};
use fleetcheck::domain::run::{Approval, Merge, Reason, Run, RunState, Skip, Trust};
use fleetcheck::domain::verdict::Verdict;
use fleetcheck::store::decide::Decided;
use fleetcheck::store::runs::{Outcome, Subject};
use fleetcheck::store::{Event, StoreError};

use crate::world::{NOW, World, built, derivation, repository, run, sha};

/// A fork's commit that somebody approved.
fn fork(commit: &str) -> Run {
    Run {
        reason: Reason::PullRequest(7),
        base: Some(sha("a1")),
        trust: Trust::Untrusted,
        approval: Approval::Given { by: "adama".parse().unwrap() },
        base_branch: Some("main".parse().unwrap()),
        ..run(commit, "main")
    }
}

async fn start(world: &World, run: &Run) {
    let start = Decided::Start { repository: repository(), run: run.clone(), supersede: vec![] };
    let _ = world.decide(start).await;
}

contract! {
    async fn a_fork_s_run_reads_back_as_it_was_written(world) {
        let run = fork("d4");
        start(&world, &run).await;
        assert_eq!(world.run(&run.id).await.run, run);
    }

    async fn what_is_tested_instead_of_the_commit_is_kept_with_the_run(world) {
        let run = fork("d4");
        start(&world, &run).await;
        let claim = world.claim().await;
        let merge =
            Merge { commit: sha("e5"), branch: "main".parse().unwrap(), base: sha("b2") };
        let merged = Subject { merge: Some(&merge), ..Subject::default() };
        world.store.set_subject(&claim, &merged, NOW).await.unwrap();
        assert_eq!(world.run(&run.id).await.run.merge.as_ref(), Some(&merge));
        let itself = Subject::default();
        world.store.set_subject(&claim, &itself, NOW).await.unwrap();
        assert_eq!(world.run(&run.id).await.run.merge, None);
        let late =
            world.store.set_subject(&claim, &itself, NOW.plus(10 * crate::world::LEASE)).await;
        assert!(matches!(late, Err(StoreError::ClaimLost(_))), "{late:?}");
    }

    async fn a_run_is_judged_against_what_its_hosts_are_compared_with(world) {
        world.push("b2", &[]).await;
        let claim = world.claim().await;
        world.list(&claim, &["raider"]).await;
        start(&world, &fork("d4")).await;
        let claim = world.claim().await;
        let base = |facts: fleetcheck::store::facts::RunFacts| facts.against.base.unwrap();
        let pushed = base(world.store.run_facts(&claim).await.unwrap());
        assert_eq!((pushed.sha, pushed.hosts.len()), (sha("a1"), 0));
        let found = sha("b2");
        let subject = Subject { compared_with: Some(&found), ..Subject::default() };
        world.store.set_subject(&claim, &subject, NOW).await.unwrap();
        let compared = base(world.store.run_facts(&claim).await.unwrap());
        assert_eq!((compared.sha, compared.hosts.len()), (sha("b2"), 1));
        let derivations = world.store.base_derivations(claim.run()).await.unwrap();
        assert_eq!(derivations.map(|it| it.len()), Some(1));
        // Another base is another commit to compare with, which is not found yet.
        let rebase = Rebase { base: sha("c3"), branch: None };
        let run = claim.run().clone();
        let _ = world.decide(Decided::Rejudge { run, rebase, occurred_at: NOW }).await;
        let claim = world.claim().await;
        let named = base(world.store.run_facts(&claim).await.unwrap());
        assert_eq!(named.sha, sha("c3"));
    }

    async fn a_head_that_is_back_has_the_base_of_now(world) {
        let run = Run { reason: Reason::PullRequest(7), ..run("d4", "main") };
        start(&world, &run).await;
        let (claim, _) = world.waiting(&["raider"]).await;
        let _ = world.store.finish_evaluation(&claim, NOW).await.unwrap();
        let branch = Some("release".parse().unwrap());
        let rebase = Some(Rebase { base: sha("c3"), branch: branch.clone() });
        let id = run.id.clone();
        let back =
            Decided::Return { run: id, occurred_at: NOW.plus(9), rebase, supersede: vec![] };
        assert!(world.decide(back).await.has(Event::RunRequested), "it is judged anew");
        let found = world.run(&run.id).await.run;
        assert_eq!((found.base, found.base_branch), (Some(sha("c3")), branch));
        assert_eq!((found.state, found.occurred_at), (RunState::Requested, NOW.plus(9)));
    }

    async fn a_stranger_s_host_teaches_nothing_and_is_held_under_another_name(world) {
        start(&world, &fork("d4")).await;
        let (_, builds) = world.waiting(&["raider"]).await;
        let name = |it: &fleetcheck::store::sweep::Root| it.name.clone();
        let roots: Vec<String> = world.store.roots().await.unwrap().iter().map(name).collect();
        assert_eq!(roots, ["untrusted-783yqpnsx5xvpayk2bnrb6cmk0a7blys-raider.drv"]);
        let attempt = world.start("raider").await.unwrap();
        let _ = world.finish(&attempt, built()).await;
        assert!(world.build(&builds[0].id).await.state.ending().unwrap().is_good());
        world.push("f6", &[]).await;
        let claim = world.claim().await;
        assert!(world.store.run_facts(&claim).await.unwrap().known.is_empty());
        assert_eq!(world.store.roots().await.unwrap(), []);
    }

    async fn what_a_trusted_run_wants_too_is_held_as_its_own(world) {
        start(&world, &fork("d4")).await;
        world.waiting(&["raider"]).await;
        world.push("f6", &[]).await;
        world.waiting(&["raider"]).await;
        let roots = world.store.roots().await.unwrap();
        assert_eq!(roots.len(), 1);
        assert!(roots[0].name.starts_with("building-"), "{}", roots[0].name);
    }

    async fn a_cancelled_run_ends_with_what_it_had_open(world) {
        let run = Run {
            reason: Reason::MergeGroup("gh-readonly-queue/main/pr-7-a".parse().unwrap()),
            ..run("d4", "main")
        };
        start(&world, &run).await;
        let (claim, builds) = world.waiting(&["raider", "viper"]).await;
        let done = world.start("viper").await.unwrap();
        let _ = world.finish(&done, built()).await;
        world.start("raider").await.unwrap();
        let by = "the merge queue: the group was invalidated".to_owned();
        let gone = Gone {
            repository: run.repository,
            reason: run.reason.clone(),
            head: run.sha.clone(),
            occurred_at: NOW,
        };
        let end = |gone: &Gone, note: &str| {
            let cancel = vec![run.id.clone()];
            Decided::Gone { gone: gone.clone(), cancel, note: note.to_owned() }
        };
        let moved = world.decide(end(&gone, &by)).await;
        assert!(moved.has(Event::AttemptUnwanted) && moved.has(Event::RunEnded));
        let verdict = Verdict::Cancelled { by: by.clone() };
        assert_eq!(world.run(&run.id).await.run.state, RunState::Ended { verdict, at: NOW });
        let ending = world.build(&builds[0].id).await;
        assert_eq!(ending.state.ending(), Some(&Ending::Cancelled { by }));
        assert!(world.build(&builds[1].id).await.state.ending().unwrap().is_good());
        let late = world.store.finish_evaluation(&claim, NOW).await;
        assert!(matches!(late, Err(StoreError::ClaimLost(_))), "{late:?}");
        // The newest end is remembered, whichever was told last, for as long as deliveries are.
        let earlier = Gone { occurred_at: Timestamp(NOW.0 - 1), head: sha("e5"), ..gone.clone() };
        let _ = world.decide(end(&earlier, "again")).await;
        let standing = || world.store.standing(run.repository, &run.reason, &run.sha);
        assert_eq!(standing().await.unwrap().gone, Some(gone));
        let _ = world.store.delete_old(NOW.plus(1)).await.unwrap();
        assert_eq!(standing().await.unwrap().gone, None);
    }

    async fn a_skipped_run_ends_with_its_listed_hosts(world) {
        let id = world.push("a1", &[]).await;
        let claim = world.claim().await;
        let builds = world.list(&claim, &["raider"]).await;
        let by = "[skip ci]".to_owned();
        let (verdict, left) =
            (Verdict::Skipped { by: by.clone() }, Ending::Skipped { by: by.clone() });
        let _ = world.store.end_run(&claim, verdict.clone(), left.clone(), NOW).await.unwrap();
        let view = world.run(&id).await;
        assert_eq!(view.run.state, RunState::Ended { verdict, at: NOW });
        assert_eq!(view.run.skip, Skip::Heeded);
        assert_eq!(world.build(&builds[0].id).await.state.ending(), Some(&left));
        // Nothing of it may wait for a builder.
        let outcome = Outcome::Wait(derivation("raider"), Waiting::Slot);
        let outcome = fleetcheck::store::runs::EvaluationOutcome {
            build: builds[0].id.clone(), outcome, took: None, warnings: vec![],
        };
        let late = world.store.evaluated(&claim, vec![outcome], NOW).await;
        assert!(matches!(late, Err(StoreError::ClaimLost(_))), "{late:?}");
    }
}
