//! Deliveries at the front door.
use std::time::Duration;

use fleetcheck::store::deliveries::DeliveryState;

use crate::world::{World, signature};

const GUID: &str = "72d3162e-cc78-11e3-81ab-4c9367dc0958";

fn push() -> Vec<u8> {
    br#"{"ref":"refs/heads/main","after":"0123456789abcdef0123456789abcdef01234567",
        "repository":{"id":1,"name":"fleet","owner":{"login":"acme"}},
        "installation":{"id":7}}"#
        .to_vec()
}

async fn state(world: &World, guid: &str) -> Option<(DeliveryState, Option<String>)> {
    let record = world.store.delivery(&guid.parse().unwrap()).await.unwrap()?;
    Some((record.state, record.note))
}

#[tokio::test]
async fn a_signed_delivery_is_kept_before_it_is_acknowledged_and_somebody_is_told() {
    let world = World::new().await;
    let told = world.arrived.notified();
    let response = world.deliver("push", GUID, &push()).await;
    assert_eq!(response.status(), 202);
    assert_eq!(state(&world, GUID).await, Some((DeliveryState::Received, None)));
    tokio::time::timeout(Duration::from_secs(5), told).await.unwrap();
}

#[tokio::test]
async fn the_same_delivery_is_acknowledged_again_and_kept_once_also_at_the_same_time() {
    let world = World::new().await;
    let body = push();
    let both = tokio::join!(world.deliver("push", GUID, &body), world.deliver("push", GUID, &body));
    assert_eq!((both.0.status().as_u16(), both.1.status().as_u16()), (202, 202));
    let texts = [both.0.text().await.unwrap(), both.1.text().await.unwrap()];
    assert_eq!(texts.iter().filter(|it| it.starts_with("accepted")).count(), 1, "{texts:?}");
    assert_eq!(world.store.undecided(9).await.unwrap().len(), 1);
}

#[tokio::test]
async fn every_wrong_signature_has_the_same_answer() {
    let world = World::new().await;
    let body = push();
    let good = signature(&body);
    let mut answers = vec![];
    for wrong in [None, Some(""), Some("sha256="), Some("sha1=00"), Some(&good[..70])] {
        let request = world.unsigned("push", GUID, &body);
        let request = match wrong {
            Some(wrong) => request.header("x-hub-signature-256", wrong),
            None => request,
        };
        let response = request.send().await.unwrap();
        answers.push((response.status().as_u16(), response.text().await.unwrap()));
    }
    assert!(answers.iter().all(|it| *it == answers[0] && it.0 == 401), "{answers:?}");
    assert_eq!(state(&world, GUID).await, None);
}

#[tokio::test]
async fn strangers_are_limited_and_github_at_the_same_address_is_not() {
    let world = World::new().await;
    let mut limited = 0;
    for _ in 0..130 {
        let response = world.unsigned("push", GUID, b"{}").send().await.unwrap();
        limited += usize::from(response.status() == 429);
    }
    assert!(limited > 0);
    assert_eq!(world.deliver("push", GUID, &push()).await.status(), 202);
}

#[tokio::test]
async fn what_is_not_acted_on_is_remembered_with_its_reason() {
    let world = World::new().await;
    let body = br#"{"action":"created","repository":{"id":1,"owner":{"login":"acme"}}}"#;
    let response = world.deliver("issue_comment", GUID, body).await;
    assert_eq!(response.status(), 202);
    let (state, note) = state(&world, GUID).await.unwrap();
    assert_eq!(state, DeliveryState::Ignored);
    assert!(note.unwrap().contains("issue_comment"));
}

#[tokio::test]
async fn pings_and_echoes_leave_no_trace() {
    let world = World::new().await;
    assert_eq!(world.deliver("ping", GUID, br#"{"zen":"x","hook_id":1}"#).await.status(), 200);
    let echo = br#"{"action":"created","check_run":{"id":1,"app":{"id":12345}},
        "repository":{"id":1,"owner":{"login":"acme"}},"installation":{"id":7}}"#;
    assert_eq!(world.deliver("check_run", GUID, echo).await.status(), 202);
    assert_eq!(state(&world, GUID).await, None);
}

#[tokio::test]
async fn what_is_not_json_is_refused_and_remembered() {
    let world = World::new().await;
    assert_eq!(world.deliver("push", GUID, b"payload=\xff%7B").await.status(), 400);
    assert_eq!(state(&world, GUID).await.unwrap().0, DeliveryState::Unreadable);
}

#[tokio::test]
async fn a_signed_body_without_its_names_is_refused_in_words() {
    let world = World::new().await;
    let response = world.deliver("push", "a guid with spaces", &push()).await;
    assert_eq!(response.status(), 400);
    assert!(response.text().await.unwrap().contains("X-GitHub-Delivery"));
}

#[tokio::test]
async fn a_body_over_githubs_limit_is_refused() {
    let world = World::new().await;
    let body = vec![b' '; (25 << 20) + 1];
    let response = world.unsigned("push", GUID, &body).send().await;
    // The connection may be closed before the client has sent everything.
    assert!(response.map_or(true, |it| it.status() == 413));
}

#[tokio::test]
async fn github_is_told_to_come_again_while_nothing_can_be_kept() {
    let mut world = World::new().await;
    world.lose_the_store().await;
    let response = world.deliver("push", GUID, &push()).await;
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()["retry-after"], "5");
    assert_eq!(state(&world, GUID).await, None);
}
