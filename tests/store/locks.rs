//! Whose lock file has not moved for long.
use fleetcheck::domain::Timestamp;
use fleetcheck::domain::incoming::InstallationStanding;
use fleetcheck::domain::lock::stale::LastMove;
use fleetcheck::store::decide::Decided;
use fleetcheck::store::runs::Subject;

use crate::world::{NOW, World, repository, run};

const DAY: i64 = 86_400_000;

/// Of this many days ago, told after two weeks.
fn days_ago(days: i64) -> LastMove {
    let at = NOW.plus(-days * DAY);
    LastMove { at, stale_at: Some(at.plus(14 * DAY)) }
}

/// The next run is evaluated and has this lock file.
async fn evaluated(world: &World, lock: Option<LastMove>) {
    let claim = world.claim().await;
    let subject = Subject { lock, ..Subject::default() };
    world.store.set_subject(&claim, &subject, NOW).await.unwrap();
    assert_eq!(world.run(claim.run()).await.run.lock, lock);
}

async fn stale(world: &World, now: Timestamp) -> Vec<LastMove> {
    let known = world.store.update_facts().await.unwrap();
    assert!(known.iter().all(|(it, _)| *it == repository()));
    let locks = known.into_iter().filter_map(|(_, facts)| facts.lock);
    locks.filter(|it| it.remark(now).is_some()).collect()
}

contract! {
    async fn a_repository_s_lock_file_is_stale_from_its_day_on(world) {
        world.push("a1", &[]).await;
        assert_eq!(stale(&world, NOW).await, [], "not evaluated yet");
        evaluated(&world, Some(days_ago(13))).await;
        assert_eq!(stale(&world, NOW).await, []);
        assert_eq!(stale(&world, NOW.plus(DAY)).await, [days_ago(13)]);
        for lock in [Some(LastMove { stale_at: None, ..days_ago(400) }), None] {
            let commit = if lock.is_some() { "b2" } else { "c3" };
            world.push(commit, &[]).await;
            evaluated(&world, lock).await;
            assert_eq!(stale(&world, NOW.plus(DAY)).await, [], "{lock:?}");
        }
    }

    async fn the_newest_push_to_the_default_branch_tells_of_the_repository(world) {
        world.push("a1", &[]).await;
        let start = |run| Decided::Start { repository: repository(), run, supersede: vec![] };
        let mut old = run("b2", "main");
        old.occurred_at = NOW.plus(-DAY);
        let _ = world.decide(start(run("c3", "topic"))).await;
        evaluated(&world, Some(days_ago(20))).await;
        evaluated(&world, None).await;
        assert_eq!(stale(&world, NOW).await, [days_ago(20)], "of the topic");
        let _ = world.decide(start(old)).await;
        evaluated(&world, Some(days_ago(30))).await;
        assert_eq!(stale(&world, NOW).await, [days_ago(20)], "of a push before");
    }

    async fn a_repository_out_of_reach_is_nobody_s_to_update(world) {
        world.push("a1", &[]).await;
        evaluated(&world, Some(days_ago(20))).await;
        world.installation(InstallationStanding::Suspended).await;
        assert_eq!(stale(&world, NOW).await, []);
        world.installation(InstallationStanding::Active).await;
        assert_eq!(stale(&world, NOW).await, [days_ago(20)]);
    }
}
