//! What failed is remembered, and what fails now and then is counted.
use fleetcheck::domain::build::{Attempted, BuildFailure, Ending, Patience, Waiting};
use fleetcheck::domain::id::{BuildId, CommitSha};
use fleetcheck::domain::page::BuildView;
use fleetcheck::store::failures::FailedNeed;
use fleetcheck::store::runs::Outcome;

use crate::world::{NOW, World, built, derivation, drv, sha, weather};

fn failed() -> Attempted {
    Attempted::Answered(Ending::BuildFailed(BuildFailure {
        derivation: drv("gtk"),
        headline: "builder failed with exit code 1".into(),
        log_tail: vec!["no".into()],
        before: None,
    }))
}

/// Pushes a commit whose one host wants the derivation of its name.
async fn wanted(world: &World, commit: &str) -> BuildId {
    world.push(commit, &[]).await;
    let (claim, builds) = world.waiting(&["raider"]).await;
    let _ = world.store.finish_evaluation(&claim, NOW).await.unwrap();
    builds[0].id.clone()
}

async fn view(world: &World, build: &BuildId) -> BuildView {
    world.store.build_view(build).await.unwrap().unwrap().builds.swap_remove(0)
}

/// The commit for which a build's failure is remembered; `None` of one that is not.
async fn remembered(world: &World, build: &BuildId) -> Option<CommitSha> {
    let state = view(world, build).await.build.state;
    let Some(Ending::BuildFailed(failure)) = state.ending() else { return None };
    failure.before.clone()?.commit
}

contract! {
    async fn what_failed_is_not_built_again_for_another_run(world) {
        let first = wanted(&world, "a1").await;
        let attempt = world.start("raider").await.unwrap();
        let _ = world.finish(&attempt, failed()).await;
        assert_eq!(remembered(&world, &first).await, None, "it was tried");
        let second = wanted(&world, "b2").await;
        assert_eq!(remembered(&world, &second).await, Some(sha("a1")));
        let shown = view(&world, &second).await;
        assert_eq!(shown.attempt.as_ref(), Some(attempt.attempt()), "its log is there to read");
        assert_eq!(shown.build.attempts, 0);
        // The third is told of the first too: that is when it was tried.
        assert_eq!(remembered(&world, &wanted(&world, "c3").await).await, Some(sha("a1")));
    }

    async fn only_a_failure_of_its_own_is_remembered_and_only_for_its_time(world) {
        wanted(&world, "a1").await;
        let attempt = world.start("raider").await.unwrap();
        let _ = world.finish(&attempt, weather()).await;
        let second = wanted(&world, "b2").await;
        assert!(view(&world, &second).await.build.state.ending().is_none(), "the weather passes");

        let mut brief = world;
        brief.store = brief.store.with_patience(Patience { failure_memory_ms: 0, ..Patience::default() });
        let attempt = brief.store.claim_attempts(
            &[(derivation("raider").path, crate::world::id())], "local", "me", NOW.plus(10_000), 1000,
        ).await.unwrap().0.pop().unwrap();
        let _ = brief.finish(&attempt, failed()).await;
        let third = wanted(&brief, "c3").await;
        assert!(view(&brief, &third).await.build.state.ending().is_none(), "it is forgotten");
    }

    async fn what_a_host_needs_and_failed_is_told_for_its_time_and_with_what_was_built_since(world) {
        wanted(&world, "a1").await;
        let attempt = world.start("raider").await.unwrap();
        let _ = world.finish(&attempt, failed()).await;
        let needs = world.store.failed_needs(NOW.plus(1)).await.unwrap();
        let expected = FailedNeed {
            derivation: drv("gtk"), attempt: attempt.attempt().clone(), built_since: vec![],
        };
        assert_eq!(needs, [expected]);
        let hour = Patience::default().failure_memory_ms;
        assert_eq!(world.store.failed_needs(NOW.plus(hour)).await.unwrap(), []);

        // Another host that needs it fails without a try, unless somebody asks for it.
        world.push("b2", &[]).await;
        let claim = world.claim().await;
        let builds = world.list(&claim, &["viper"]).await;
        let doomed = || Outcome::NeedsFailed(
            derivation("viper"), Waiting::Slot, attempt.attempt().clone(),
        );
        world.evaluated(&claim, &builds[0], doomed()).await;
        assert_eq!(remembered(&world, &builds[0].id).await, Some(sha("a1")));
        let _ = world.store.finish_evaluation(&claim, NOW).await.unwrap();

        // One that was built in the meantime may prove that it builds.
        world.push("c3", &[]).await;
        let (claim, _) = world.waiting(&["starbuck"]).await;
        let _ = world.store.finish_evaluation(&claim, NOW).await.unwrap();
        let later = world.start("starbuck").await.unwrap();
        let ended = vec![(&later, built(), 10)];
        let _ = world.store.finish_attempts(ended, NOW.plus(5)).await.unwrap();
        let needs = world.store.failed_needs(NOW.plus(6)).await.unwrap();
        assert_eq!(needs[0].built_since, [drv("starbuck")]);
    }

    async fn a_host_that_passes_where_it_had_failed_is_flaky(world) {
        let first = wanted(&world, "a1").await;
        let attempt = world.start("raider").await.unwrap();
        let _ = world.finish(&attempt, failed()).await;
        assert_eq!(view(&world, &first).await.history.flaky, 0);
        let mut again = world;
        again.store = again.store.with_patience(Patience { failure_memory_ms: 0, ..Patience::default() });
        let second = wanted(&again, "b2").await;
        let attempt = again.start("raider").await.unwrap();
        assert_eq!(again.finish(&attempt, built()).await.flaky, 1);
        let history = view(&again, &second).await.history;
        assert_eq!((history.flaky, history.flaky_at), (1, Some(NOW)));
        // A success after a success, or after the weather, tells nothing.
        again.push("c3", &[]).await;
        let claim = again.claim().await;
        let builds = again.list(&claim, &["raider"]).await;
        again.evaluated(&claim, &builds[0], Outcome::Reuse(derivation("raider"))).await;
        assert_eq!(view(&again, &builds[0].id).await.history.flaky, 1);
    }

    async fn the_attempt_before_says_where_it_was_and_what_happened(world) {
        let build = wanted(&world, "a1").await;
        let attempt = world.start("raider").await.unwrap();
        let _ = world.finish(&attempt, weather()).await;
        let earlier = view(&world, &build).await.history.earlier.unwrap();
        assert_eq!((earlier.builder.as_str(), earlier.what.as_str()), ("local", "the connection was lost"));
    }
}
