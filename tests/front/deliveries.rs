//! Who is shown what of the deliveries.
use fleetcheck::domain::Timestamp;
use fleetcheck::domain::id::RepositoryId;
use fleetcheck::domain::incoming::Visibility;
use fleetcheck::domain::recover::{Answer, ListedDelivery};
use fleetcheck::store::decide::Decided;
use fleetcheck::store::looks::{Look, LookKind};
use insta::assert_snapshot;
use serde_json::Value;

use crate::world::{NOW, World, delivery, id, words};

const HOSTILE: &str = "<script>alert(1)</script>";

/// A public and a private repository with a delivery each that was ignored for a reason, one
/// that missed us, and a look.
async fn eventful() -> World {
    let world = World::new().await;
    for visibility in [Visibility::Public, Visibility::Private] {
        world.run(visibility).await;
        let repository = RepositoryId(if visibility == Visibility::Public { 1 } else { 2 });
        let mut ignored = delivery("pull_request", repository);
        ignored.action = Some("labeled".into());
        ignored.received_at = NOW.plus(-60_000);
        let guid = ignored.guid.clone();
        world.store.accept(vec![ignored]).await.unwrap();
        let note = format!("nothing follows from {HOSTILE} in {visibility:?}");
        let _ = world.store.decide(&guid, Decided::Ignore { note }, NOW).await.unwrap();
        miss(&world, repository).await;
    }
    let look = Look {
        id: id::<fleetcheck::domain::id::RunId>().to_string(),
        kind: LookKind::Deliveries,
        at: NOW,
        looked: 120,
        missed: 2,
        asked: 1,
        given_up: 2,
        note: Some(format!("GitHub said {HOSTILE} of acme/secret")),
    };
    world.store.looked(&look, &[]).await.unwrap();
    world
}

async fn miss(world: &World, repository: RepositoryId) {
    let missed = ListedDelivery {
        id: repository.0,
        guid: id::<fleetcheck::domain::id::RunId>().to_string().parse().unwrap(),
        delivered_at: NOW.plus(-3_600_000),
        answer: Answer::Bad,
        event: HOSTILE.into(),
        action: None,
        repository: Some(repository),
        installation: None,
    };
    world.store.note_missed(std::slice::from_ref(&missed), NOW).await.unwrap();
    world.store.asked_for(&missed.guid, NOW, NOW).await.unwrap();
    let why = format!("GitHub: {HOSTILE} of repository {}", repository.0);
    world.store.give_up_delivery(&missed.guid, &why, NOW).await.unwrap();
}

/// A page's or document's address with its key.
fn operator(world: &World, path: &str) -> String {
    world.links.path(path, Visibility::Private)
}

/// Without the ids, which differ from run to run.
fn settled(text: &str) -> String {
    let mut parts = text.split("01890a5d-ac96-774b-bcce-");
    let mut settled = parts.next().unwrap().to_owned();
    for part in parts {
        settled += "GUID";
        settled += &part[12..];
    }
    settled
}

async fn document(world: &World, path: &str) -> String {
    let found: Value = world.get(path).await.json().await.unwrap();
    settled(&serde_json::to_string_pretty(&found).unwrap())
}

#[tokio::test]
async fn a_service_that_was_told_nothing_says_so() {
    let world = World::new().await;
    assert_snapshot!(words(&world.text("/deliveries").await), @r"
    Deliveries
    None was kept yet.
    Only public repositories are named here. The address with its key stands in the service's log, at its start.
    Looks at GitHub
    None yet.
    Did not reach us
    Nothing in the last eight days.
    Newest
    None that may be shown here.
    ");
    assert_snapshot!(document(&world, "/api/v1/deliveries").await, @r#"
    {
      "counts": {},
      "deliveries": [],
      "looks": [],
      "missed": []
    }
    "#);
}

#[tokio::test]
async fn strangers_see_how_many_there_are_and_what_is_public() {
    let world = eventful().await;
    let page = world.text("/deliveries").await;
    assert!(!page.contains("secret") && !page.contains("Private"), "{page}");
    assert_snapshot!(settled(&words(&page)), @r"
    Deliveries
    Kept for eight days: 2 decided, 2 ignored.
    Only public repositories are named here. The address with its key stands in the service's log, at its start.
    Looks at GitHub
    120 deliveries looked at, 2 missing, 1 asked for again, 2 given up
    2026-11-18 11:06 UTC
    Did not reach us
    &lt;script&gt;alert(1)&lt;/script&gt;
    acme/fleet ·
    GUID
    ·
    2026-11-18 10:06 UTC
    , 1 h ago
    asked for once, and given up
    &lt;script&gt;alert(1)&lt;/script&gt;
    GUID
    ·
    2026-11-18 10:06 UTC
    , 1 h ago
    asked for once, and given up
    Newest
    push
    acme/fleet ·
    GUID
    ·
    2026-11-18 11:06 UTC
    , 0.0 s ago
    decided
    pull_request.labeled
    acme/fleet ·
    GUID
    ·
    2026-11-18 11:05 UTC
    , 1 min ago
    ignored: nothing follows from &lt;script&gt;alert(1)&lt;/script&gt; in Public
    ");
    // Another page's key opens nothing here.
    let (_, key) = operator(&world, "/api/v1/deliveries")
        .split_once("?key=")
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .unwrap();
    for key in ["", "zz", key.as_str()] {
        let other = world.text(&format!("/deliveries?key={key}")).await;
        assert_eq!(words(&other), words(&page), "{key}");
    }
}

#[tokio::test]
async fn operators_see_everything() {
    let world = eventful().await;
    let page = world.text(&operator(&world, "/deliveries")).await;
    assert_snapshot!(settled(&words(&page)), @r"
    Deliveries
    Kept for eight days: 2 decided, 2 ignored.
    Looks at GitHub
    120 deliveries looked at, 2 missing, 1 asked for again, 2 given up
    2026-11-18 11:06 UTC
    GitHub said &lt;script&gt;alert(1)&lt;/script&gt; of acme/secret
    Did not reach us
    &lt;script&gt;alert(1)&lt;/script&gt;
    acme/fleet ·
    GUID
    ·
    2026-11-18 10:06 UTC
    , 1 h ago
    asked for once, and given up: GitHub: &lt;script&gt;alert(1)&lt;/script&gt; of repository 1
    &lt;script&gt;alert(1)&lt;/script&gt;
    acme/secret ·
    GUID
    ·
    2026-11-18 10:06 UTC
    , 1 h ago
    asked for once, and given up: GitHub: &lt;script&gt;alert(1)&lt;/script&gt; of repository 2
    Newest
    push
    acme/secret ·
    GUID
    ·
    2026-11-18 11:06 UTC
    , 0.0 s ago
    decided
    push
    acme/fleet ·
    GUID
    ·
    2026-11-18 11:06 UTC
    , 0.0 s ago
    decided
    pull_request.labeled
    acme/secret ·
    GUID
    ·
    2026-11-18 11:05 UTC
    , 1 min ago
    ignored: nothing follows from &lt;script&gt;alert(1)&lt;/script&gt; in Private
    pull_request.labeled
    acme/fleet ·
    GUID
    ·
    2026-11-18 11:05 UTC
    , 1 min ago
    ignored: nothing follows from &lt;script&gt;alert(1)&lt;/script&gt; in Public
    ");
}

#[tokio::test]
async fn what_others_say_in_a_delivery_is_shown_as_text() {
    let world = eventful().await;
    for path in ["/deliveries".to_owned(), operator(&world, "/deliveries")] {
        let page = world.text(&path).await;
        assert!(!page.contains(HOSTILE) && page.contains("&lt;script&gt;alert(1)"), "{path}");
    }
}

#[tokio::test]
async fn the_document_has_the_same_for_strangers() {
    let world = eventful().await;
    let shown = document(&world, "/api/v1/deliveries").await;
    assert!(!shown.contains("secret") && !shown.contains("Private"));
    assert_snapshot!(shown, @r#"
    {
      "counts": {
        "decided": 2,
        "ignored": 2
      },
      "deliveries": [
        {
          "action": null,
          "event": "push",
          "guid": "GUID",
          "note": null,
          "received_at": "2026-11-18T11:06:40Z",
          "repository": "acme/fleet",
          "state": "decided"
        },
        {
          "action": "labeled",
          "event": "pull_request",
          "guid": "GUID",
          "note": "nothing follows from <script>alert(1)</script> in Public",
          "received_at": "2026-11-18T11:05:40Z",
          "repository": "acme/fleet",
          "state": "ignored"
        }
      ],
      "looks": [
        {
          "asked": 1,
          "at": "2026-11-18T11:06:40Z",
          "given_up": 2,
          "kind": "deliveries",
          "looked": 120,
          "missed": 2
        }
      ],
      "missed": [
        {
          "action": null,
          "asked": 1,
          "delivered_at": "2026-11-18T10:06:40Z",
          "event": "<script>alert(1)</script>",
          "guid": "GUID",
          "repository": "acme/fleet",
          "state": "given_up"
        },
        {
          "action": null,
          "asked": 1,
          "delivered_at": "2026-11-18T10:06:40Z",
          "event": "<script>alert(1)</script>",
          "guid": "GUID",
          "repository": null,
          "state": "given_up"
        }
      ]
    }
    "#);
}

#[tokio::test]
async fn the_document_has_the_same_for_operators() {
    let world = eventful().await;
    let shown = document(&world, &operator(&world, "/api/v1/deliveries")).await;
    assert_snapshot!(shown, @r#"
    {
      "counts": {
        "decided": 2,
        "ignored": 2
      },
      "deliveries": [
        {
          "action": null,
          "event": "push",
          "guid": "GUID",
          "note": null,
          "received_at": "2026-11-18T11:06:40Z",
          "repository": "acme/secret",
          "state": "decided"
        },
        {
          "action": null,
          "event": "push",
          "guid": "GUID",
          "note": null,
          "received_at": "2026-11-18T11:06:40Z",
          "repository": "acme/fleet",
          "state": "decided"
        },
        {
          "action": "labeled",
          "event": "pull_request",
          "guid": "GUID",
          "note": "nothing follows from <script>alert(1)</script> in Private",
          "received_at": "2026-11-18T11:05:40Z",
          "repository": "acme/secret",
          "state": "ignored"
        },
        {
          "action": "labeled",
          "event": "pull_request",
          "guid": "GUID",
          "note": "nothing follows from <script>alert(1)</script> in Public",
          "received_at": "2026-11-18T11:05:40Z",
          "repository": "acme/fleet",
          "state": "ignored"
        }
      ],
      "looks": [
        {
          "asked": 1,
          "at": "2026-11-18T11:06:40Z",
          "given_up": 2,
          "kind": "deliveries",
          "looked": 120,
          "missed": 2,
          "note": "GitHub said <script>alert(1)</script> of acme/secret"
        }
      ],
      "missed": [
        {
          "action": null,
          "asked": 1,
          "delivered_at": "2026-11-18T10:06:40Z",
          "event": "<script>alert(1)</script>",
          "guid": "GUID",
          "note": "GitHub: <script>alert(1)</script> of repository 1",
          "repository": "acme/fleet",
          "state": "given_up"
        },
        {
          "action": null,
          "asked": 1,
          "delivered_at": "2026-11-18T10:06:40Z",
          "event": "<script>alert(1)</script>",
          "guid": "GUID",
          "note": "GitHub: <script>alert(1)</script> of repository 2",
          "repository": "acme/secret",
          "state": "given_up"
        }
      ]
    }
    "#);
}

#[tokio::test]
async fn the_newest_fifty_of_each_kind_are_shown() {
    let world = World::new().await;
    world.run(Visibility::Public).await;
    for number in 0..60 {
        let mut one = delivery(&format!("event{number}"), RepositoryId(1));
        one.received_at = Timestamp(NOW.0 + number);
        let guid = one.guid.clone();
        world.store.accept(vec![one]).await.unwrap();
        let note = "x".to_owned();
        let at = Timestamp(NOW.0 + number);
        let _ = world.store.decide(&guid, Decided::Ignore { note }, at).await.unwrap();
        miss(&world, RepositoryId(1)).await;
    }
    let found: Value = world.get("/api/v1/deliveries").await.json().await.unwrap();
    let (shown, missed) = (&found["deliveries"], &found["missed"]);
    assert_eq!((shown.as_array().unwrap().len(), missed.as_array().unwrap().len()), (50, 50));
    assert_eq!((&shown[0]["event"], &shown[49]["event"]), (&"event59".into(), &"event10".into()));
    assert_eq!(found["counts"]["ignored"], 60, "all are counted");
    let page = world.text("/deliveries").await;
    assert!(page.contains("event59") && page.contains("event10") && !page.contains("event9<"));
}
