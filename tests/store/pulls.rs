//! What updates came to on GitHub: pull requests, and the issue that tells what is held back.
use fleetcheck::domain::Timestamp;
use fleetcheck::domain::id::RepositoryId;
use fleetcheck::domain::incoming::InstallationStanding;
use fleetcheck::store::pulls::{GroupPull, PullStanding, TrackingIssue};

use crate::world::{NOW, World, repository, sha};

fn pull(group: &str, number: Option<i64>) -> GroupPull {
    GroupPull {
        repository: RepositoryId(42),
        group: group.to_owned(),
        branch: "fleetcheck/update".parse().unwrap(),
        number,
        standing: PullStanding::Open,
        head: sha("a1"),
        base: sha("b2"),
        lock_hash: "ab".to_owned(),
        opened_at: NOW,
        checked_at: NOW,
        stood_back: None,
        green_since: None,
    }
}

/// Which pull request of those not asked for since then is to be asked for.
async fn to_check(world: &World, before: Timestamp) -> Option<i64> {
    let found = world.store.pull_to_check(before).await.unwrap();
    found.map(|(of, pull, number)| {
        assert_eq!((of, pull.number), (repository(), Some(number)));
        number
    })
}

contract! {
    async fn a_group_s_pull_request_is_as_it_was_noted_last(world) {
        world.push("a1", &[]).await;
        let known = async |group| world.store.group_pull(RepositoryId(42), group).await.unwrap();
        assert_eq!(known("all").await, None);
        let first = pull("all", None);
        world.store.note_pull(&first).await.unwrap();
        assert_eq!(known("all").await, Some(first));
        let next = GroupPull {
            number: Some(7),
            standing: PullStanding::Closed,
            head: sha("c3"),
            stood_back: Some(sha("d4")),
            green_since: Some(NOW),
            ..pull("all", None)
        };
        world.store.note_pull(&next).await.unwrap();
        assert_eq!(known("all").await, Some(next));
        assert_eq!(known("a").await, None);
    }

    async fn open_pull_requests_are_asked_for_the_longest_silence_first(world) {
        world.push("a1", &[]).await;
        for it in [pull("a", Some(1)), pull("b", None)] {
            world.store.note_pull(&it).await.unwrap();
        }
        let older = GroupPull { checked_at: NOW.plus(-1), ..pull("c", Some(3)) };
        world.store.note_pull(&older).await.unwrap();
        let closed = GroupPull { standing: PullStanding::Merged, ..pull("d", Some(4)) };
        world.store.note_pull(&closed).await.unwrap();
        assert_eq!(to_check(&world, NOW.plus(-1)).await, None);
        assert_eq!(to_check(&world, NOW.plus(1)).await, Some(3));
        let checked = GroupPull { checked_at: NOW.plus(1), ..older };
        world.store.check_pull(&checked).await.unwrap();
        assert_eq!(to_check(&world, NOW.plus(1)).await, Some(1), "not the one that is closed");
        world.installation(InstallationStanding::Suspended).await;
        assert_eq!(to_check(&world, NOW.plus(9)).await, None, "nobody answers");
    }

    async fn what_was_found_does_not_undo_what_was_noted_in_the_meantime(world) {
        world.push("a1", &[]).await;
        let known = async || world.store.group_pull(RepositoryId(42), "all").await.unwrap();
        let first = pull("all", Some(7));
        world.store.note_pull(&first).await.unwrap();
        let green = GroupPull { green_since: Some(NOW), checked_at: NOW.plus(5), ..first.clone() };
        world.store.check_pull(&green).await.unwrap();
        assert_eq!(known().await, Some(green));
        let moved = GroupPull { head: sha("c3"), ..first.clone() };
        world.store.note_pull(&moved).await.unwrap();
        let merged = GroupPull { standing: PullStanding::Merged, ..first };
        world.store.check_pull(&merged).await.unwrap();
        assert_eq!(known().await, Some(moved), "of a commit that is not its head any more");
    }

    async fn the_tracking_issue_is_as_it_was_noted_last(world) {
        world.push("a1", &[]).await;
        let known = async || world.store.tracking_issue(RepositoryId(42)).await.unwrap();
        assert_eq!(known().await, None);
        for (number, is_open, shown) in [(7, true, "ab"), (7, false, ""), (9, true, "cd")] {
            let repository = RepositoryId(42);
            let issue = TrackingIssue { repository, number, is_open, shown: shown.to_owned() };
            world.store.note_tracking_issue(&issue, NOW).await.unwrap();
            assert_eq!(known().await, Some(issue));
        }
    }
}
