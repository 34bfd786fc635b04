//! Deliveries are kept once, before anything is made of them.
use fleetcheck::domain::Timestamp;
use fleetcheck::domain::id::RepositoryId;
use fleetcheck::store::decide::Decided;
use fleetcheck::store::deliveries::DeliveryState;
use fleetcheck::store::intake::{Accepted, Arrival, NewDelivery};
use fleetcheck::store::{Body, Event};
use tokio_util::sync::CancellationToken;

use crate::world::{NOW, delivery};

contract! {
    async fn a_redelivery_is_not_new(world) {
        let first = delivery();
        let twice = vec![first.clone(), first.clone(), delivery()];
        let answers = world.store.accept(twice).await.unwrap();
        assert_eq!(answers, [Accepted::New, Accepted::Known, Accepted::New]);
        assert_eq!(world.store.accept(vec![first]).await.unwrap(), [Accepted::Known]);
        assert_eq!(world.store.undecided(10).await.unwrap().len(), 2);
    }

    async fn a_redelivery_at_the_same_moment_is_not_new(world) {
        let (writer, committer) = world.store.intake();
        let stop = CancellationToken::new();
        let first = delivery();
        let others: Vec<NewDelivery> = (0..300).map(|_| delivery()).collect();
        let submitted = async {
            let same = futures::future::join_all((0..300).map(|_| writer.submit(first.clone())));
            let other = futures::future::join_all(others.into_iter().map(|it| writer.submit(it)));
            let answers = futures::join!(same, other);
            stop.cancel();
            answers
        };
        let ((same, other), ()) = futures::join!(submitted, committer.run(stop.clone()));
        let new = |of: &[_]| of.iter().filter(|it| matches!(it, Ok(Accepted::New))).count();
        assert_eq!((new(&same), new(&other)), (1, 300));
    }

    async fn more_deliveries_than_can_wait_are_refused(world) {
        let (writer, committer) = world.store.intake();
        let all: Vec<_> = (0..1_100).map(|_| writer.submit(delivery())).collect();
        let submitted = futures::future::join_all(all);
        let stop = CancellationToken::new();
        let ending = stop.clone();
        let answers = async move {
            let answers = submitted.await;
            ending.cancel();
            answers
        };
        let (answers, ()) = futures::join!(answers, committer.run(stop));
        let refused = answers.iter().filter(|it| it.is_err()).count();
        assert_eq!(refused, 1_100 - 1_024);
        assert!(answers.into_iter().filter_map(Result::err).all(|it| it.is_retryable()));
    }

    async fn what_waits_when_the_service_ends_is_kept(world) {
        let (writer, committer) = world.store.intake();
        let stop = CancellationToken::new();
        stop.cancel();
        let (answer, ()) = futures::join!(writer.submit(delivery()), committer.run(stop));
        assert_eq!(answer.unwrap(), Accepted::New);
        assert!(writer.submit(delivery()).await.is_err());
    }

    async fn what_is_ignored_at_the_door_is_remembered_with_the_reason(world) {
        let ignored = NewDelivery {
            standing: Arrival::Ignored("`star` is not acted on".into()), ..delivery()
        };
        let unreadable = NewDelivery {
            standing: Arrival::Unreadable("not JSON".into()), body: Body::pack(b"\0<html>").unwrap(), ..delivery()
        };
        world.store.accept(vec![ignored.clone(), unreadable.clone()]).await.unwrap();
        assert_eq!(world.store.undecided(10).await.unwrap(), []);
        let record = world.store.delivery(&ignored.guid).await.unwrap().unwrap();
        assert_eq!(record.state, DeliveryState::Ignored);
        assert_eq!(record.note.unwrap(), "`star` is not acted on");
        let record = world.store.delivery(&unreadable.guid).await.unwrap().unwrap();
        assert_eq!(record.state, DeliveryState::Unreadable);
    }

    async fn a_body_under_a_fresh_guid_is_a_replay(world) {
        let first = delivery();
        let replay = NewDelivery {
            guid: "f2d3162e-cc78-11e3-81ab-4c9367dc0958".parse().unwrap(),
            received_at: NOW.plus(5),
            ..first.clone()
        };
        world.store.accept(vec![first, replay]).await.unwrap();
        let stored = world.store.undecided(10).await.unwrap();
        assert!(!world.store.replayed(&stored[0]).await.unwrap());
        assert!(world.store.replayed(&stored[1]).await.unwrap());
    }

    async fn the_oldest_delivery_is_decided_first_and_once(world) {
        let young = NewDelivery { received_at: NOW.plus(9), ..delivery() };
        let old = delivery();
        world.store.accept(vec![young.clone(), old.clone()]).await.unwrap();
        let waiting = world.store.undecided(1).await.unwrap();
        assert_eq!(waiting[0].guid, old.guid);
        assert_eq!(waiting[0].body, old.body.unpack().unwrap());

        let ask = Decided::Ask { note: "branch `x`".into(), not_before: NOW.plus(50) };
        let _ = world.store.decide(&old.guid, ask, NOW).await.unwrap();
        assert_eq!(world.store.undecided(9).await.unwrap().len(), 1);
        assert_eq!(world.store.asking(NOW.plus(49), 9).await.unwrap(), []);
        assert_eq!(world.store.asking(NOW.plus(50), 9).await.unwrap()[0].guid, old.guid);

        for note in ["no", "twice"] {
            let ignore = Decided::Ignore { note: note.into() };
            let _ = world.store.decide(&old.guid, ignore, NOW).await.unwrap();
        }
        let record = world.store.delivery(&old.guid).await.unwrap().unwrap();
        assert_eq!((record.state, record.note.as_deref()), (DeliveryState::Ignored, Some("no")));
    }

    async fn what_was_decided_is_decided_anew_when_another_delivery_says_more(world) {
        let (first, second) = (delivery(), NewDelivery { received_at: NOW.plus(1), ..delivery() });
        let elsewhere = NewDelivery { repository: Some(RepositoryId(9)), ..delivery() };
        let other = NewDelivery { event: "pull_request".into(), ..delivery() };
        let all = vec![first.clone(), second.clone(), elsewhere, other];
        world.store.accept(all).await.unwrap();
        let told = async |since, limit| {
            let of = first.repository.unwrap();
            let told = world.store.told_since(of, &first.event, since, limit).await.unwrap();
            told.into_iter().map(|it| it.guid).collect::<Vec<_>>()
        };
        assert_eq!(told(NOW, 9).await, [second.guid.clone(), first.guid.clone()]);
        assert_eq!(told(NOW, 1).await, std::slice::from_ref(&second.guid), "the newest");
        let ignore = Decided::Ignore { note: "older".into() };
        let _ = world.store.decide(&first.guid, ignore, NOW.plus(5)).await.unwrap();
        assert_eq!(told(NOW.plus(1), 9).await.len(), 2, "whatever was decided");
        assert_eq!(told(NOW.plus(2), 9).await, std::slice::from_ref(&first.guid));

        let note = "older than another".to_owned();
        let again = Decided::Reconsider { delivery: first.guid.clone(), note };
        let moved = world.store.decide(&second.guid, again, NOW.plus(6)).await.unwrap();
        assert!(moved.has(Event::DeliveryWaiting));
        let record = async |it: &NewDelivery| world.store.delivery(&it.guid).await.unwrap().unwrap();
        let found = record(&second).await;
        assert_eq!(found.note.as_deref(), Some("older than another"));
        assert_eq!(found.state, DeliveryState::Ignored);
        let found = record(&first).await;
        assert_eq!((found.state, found.note), (DeliveryState::Received, None));
    }

    async fn old_deliveries_are_forgotten_unless_they_wait(world) {
        let ignored: Vec<NewDelivery> = (0..450)
            .map(|_| NewDelivery { standing: Arrival::Ignored("x".into()), ..delivery() })
            .collect();
        world.store.accept(ignored).await.unwrap();
        world.store.accept(vec![delivery()]).await.unwrap();
        assert_eq!(world.store.delete_old(NOW).await.unwrap(), 0);
        assert_eq!(world.store.delete_old(Timestamp(NOW.0 + 1)).await.unwrap(), 450);
        assert_eq!(world.store.undecided(9).await.unwrap().len(), 1);
    }
}
