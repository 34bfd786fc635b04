//! When a repository's lock file is updated next.
use fleetcheck::domain::Timestamp;
use fleetcheck::domain::id::RepositoryId;
use fleetcheck::domain::incoming::InstallationStanding;
use fleetcheck::domain::update::life::{Cause, Update};
use fleetcheck::store::decide::Decided;
use fleetcheck::store::runs::Subject;
use fleetcheck::store::schedules::NextUpdate;
use fleetcheck::store::updates::Asked;

use crate::world::{NOW, World, id, repository, run};

const DAY: i64 = 86_400_000;

fn next(schedule: &str, due_at: Timestamp) -> NextUpdate {
    NextUpdate { schedule: schedule.to_owned(), due_at }
}

/// The next run is evaluated, and its policy has this schedule.
async fn evaluated(world: &World, next: Option<&NextUpdate>) {
    let claim = world.claim().await;
    let subject = Subject { next_update: next, ..Subject::default() };
    world.store.set_subject(&claim, &subject, NOW).await.unwrap();
}

async fn known(world: &World) -> Option<NextUpdate> {
    world.store.next_update(RepositoryId(42)).await.unwrap()
}

fn update() -> Update {
    Update::new(id(), RepositoryId(42), Cause::Schedule, NOW)
}

contract! {
    async fn an_update_is_due_from_its_moment_on(world) {
        world.push("a1", &[]).await;
        assert_eq!(known(&world).await, None);
        let weekly = next("UTC 0 4 * * 0", NOW.plus(DAY));
        evaluated(&world, Some(&weekly)).await;
        assert_eq!(known(&world).await, Some(weekly.clone()));
        let due = async |now| world.store.due_updates(now).await.unwrap();
        assert_eq!(due(NOW.plus(DAY - 1)).await, []);
        assert_eq!(due(NOW.plus(DAY)).await, [(repository(), weekly)]);
        world.installation(InstallationStanding::Suspended).await;
        assert_eq!(due(NOW.plus(DAY)).await, [], "out of reach");
    }

    async fn a_schedule_that_stays_as_it_was_stays_due_when_it_was(world) {
        world.push("a1", &[]).await;
        let weekly = next("UTC 0 4 * * 0", NOW);
        evaluated(&world, Some(&weekly)).await;
        world.push("b2", &[]).await;
        evaluated(&world, Some(&next("UTC 0 4 * * 0", NOW.plus(7 * DAY)))).await;
        assert_eq!(known(&world).await, Some(weekly), "a push does not put it off");
        world.push("c3", &[]).await;
        let daily = next("UTC 0 4 * * *", NOW.plus(DAY));
        evaluated(&world, Some(&daily)).await;
        assert_eq!(known(&world).await, Some(daily));
        world.push("d4", &[]).await;
        evaluated(&world, None).await;
        assert_eq!(known(&world).await, None);
    }

    async fn the_newest_push_to_the_default_branch_tells_the_schedule(world) {
        world.push("a1", &[]).await;
        let start = |run| Decided::Start { repository: repository(), run, supersede: vec![] };
        let mut old = run("b2", "main");
        old.occurred_at = NOW.plus(-DAY);
        let _ = world.decide(start(run("c3", "topic"))).await;
        let weekly = next("UTC 0 4 * * 0", NOW);
        evaluated(&world, Some(&weekly)).await;
        evaluated(&world, Some(&next("UTC 0 0 * * *", NOW))).await;
        assert_eq!(known(&world).await, Some(weekly.clone()), "of the topic");
        let _ = world.decide(start(old)).await;
        evaluated(&world, Some(&next("UTC 0 1 * * *", NOW))).await;
        assert_eq!(known(&world).await, Some(weekly), "of a push before");
    }

    async fn a_schedule_that_two_see_fires_once(world) {
        world.push("a1", &[]).await;
        let weekly = next("UTC 0 4 * * 0", NOW);
        evaluated(&world, Some(&weekly)).await;
        let (first, second) = (update(), update());
        let then = Some(NOW.plus(7 * DAY));
        let (asked, _) = world.store.fire_update(&first, &weekly, then, NOW).await.unwrap();
        assert_eq!(asked, Some(Asked::Begun(first.id.clone())));
        let (asked, _) = world.store.fire_update(&second, &weekly, then, NOW).await.unwrap();
        assert_eq!(asked, None);
        assert_eq!(known(&world).await, Some(next("UTC 0 4 * * 0", NOW.plus(7 * DAY))));
        assert_eq!(world.store.due_updates(NOW).await.unwrap(), []);
        // The next week, and that one is still on its way.
        let fired = next("UTC 0 4 * * 0", NOW.plus(7 * DAY));
        let (asked, _) = world.store.fire_update(&second, &fired, None, NOW).await.unwrap();
        assert_eq!(asked, Some(Asked::Already(first.id)));
        assert_eq!(known(&world).await, None, "it is never due again");
    }
}
