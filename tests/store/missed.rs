//! What GitHub could not deliver is noted, asked for with patience, and settled.
use fleetcheck::domain::Timestamp;
use fleetcheck::domain::recover::{Answer, ListedDelivery};
use fleetcheck::store::intake::NewDelivery;
use fleetcheck::store::looks::{Look, LookKind};
use fleetcheck::store::recover::{Mark, MissedState};

use crate::world::{NOW, delivery};

fn listed(kept: NewDelivery) -> ListedDelivery {
    ListedDelivery {
        id: 12,
        guid: kept.guid,
        delivered_at: NOW,
        answer: Answer::Bad,
        event: kept.event,
        action: None,
        repository: kept.repository,
        installation: kept.installation,
    }
}

contract! {
    async fn marks_survive_and_move_together(world) {
        assert_eq!(world.store.mark(Mark::Deliveries).await.unwrap(), None);
        let marks = [(Mark::Deliveries, NOW), (Mark::Begun, Timestamp(1))];
        world.store.set_marks(&marks).await.unwrap();
        world.store.set_marks(&[(Mark::Deliveries, NOW.plus(5))]).await.unwrap();
        assert_eq!(world.store.mark(Mark::Deliveries).await.unwrap(), Some(NOW.plus(5)));
        assert_eq!(world.store.mark(Mark::Begun).await.unwrap(), Some(Timestamp(1)));
    }

    async fn a_missed_delivery_is_asked_for_with_patience_until_it_is_here(world) {
        let kept = delivery();
        let missed = listed(kept.clone());
        assert_eq!(world.store.note_missed(std::slice::from_ref(&missed), NOW).await.unwrap(), 1);
        let due = world.store.to_ask_for(NOW, 9).await.unwrap();
        assert_eq!((due[0].github_id, due[0].asked), (12, 0));
        world.store.asked_for(&missed.guid, NOW.plus(60_000), NOW).await.unwrap();
        // Seen once more in GitHub's list, it keeps its patience.
        assert_eq!(world.store.note_missed(std::slice::from_ref(&missed), NOW).await.unwrap(), 0);
        assert_eq!(world.store.to_ask_for(NOW.plus(59_999), 9).await.unwrap(), []);
        assert_eq!(world.store.to_ask_for(NOW.plus(60_000), 9).await.unwrap()[0].asked, 1);

        assert_eq!(world.store.note_arrived(NOW).await.unwrap(), 0);
        world.store.accept(vec![kept]).await.unwrap();
        let guids = [missed.guid.clone()];
        assert!(world.store.known_deliveries(&guids).await.unwrap().contains(&missed.guid));
        assert_eq!(world.store.note_arrived(NOW).await.unwrap(), 1);
        assert_eq!(world.store.to_ask_for(NOW.plus(120_000), 9).await.unwrap(), []);
    }

    async fn what_is_given_up_says_why_and_looks_are_listed(world) {
        let missed = listed(delivery());
        world.store.note_missed(std::slice::from_ref(&missed), NOW).await.unwrap();
        world.store.give_up_delivery(&missed.guid, "asked for 10 times", NOW).await.unwrap();
        let look = Look {
            id: "01890a5d-ac96-774b-bcce-b302099a8057".into(),
            kind: LookKind::Deliveries,
            at: NOW,
            looked: 3,
            missed: 1,
            asked: 1,
            given_up: 1,
            note: None,
        };
        world.store.looked(&look, &[(Mark::Deliveries, NOW)]).await.unwrap();
        world.push("a1", &[]).await;
        let overview = world.store.overview(9).await.unwrap();
        assert_eq!(overview.looks, [look]);
        assert_eq!(overview.missed[0].missed.state, MissedState::GivenUp);
        assert_eq!(overview.missed[0].missed.note.as_deref(), Some("asked for 10 times"));
        assert!(!overview.deliveries.is_empty());
        let known = world.store.known_repositories().await.unwrap();
        assert_eq!(world.store.newest_runs(known[0].repository.id).await.unwrap().len(), 1);
        world.store.heads_compared(known[0].repository.id, NOW).await.unwrap();
        assert_eq!(world.store.known_repositories().await.unwrap()[0].heads_at, NOW);
        world.store.delete_old_looks(NOW.plus(1)).await.unwrap();
        assert_eq!(world.store.overview(9).await.unwrap().missed, []);
    }
}
