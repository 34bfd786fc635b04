//! The same delivery again, a stranger's, our own echo: what must have no effect.
use crate::world::World;
use crate::world::fleet::Host;
use crate::world::github::{Delivered, Operation};

#[tokio::test]
async fn the_same_delivery_many_times_at_once_makes_one_run() {
    let mut world = World::new().await;
    let count = world.directory().join("count");
    let sha = world.commit("main", &[Host::counted("orion", &count)], &[]);
    // Nobody listens yet: GitHub's record of the delivery is what is sent below.
    world.github.push(&world.repo, "main", &sha).await;
    let delivered = world.last_delivery("push");
    world.start().await;
    let all = (0..8).map(|_| world.github.redeliver(&delivered));
    for status in futures::future::join_all(all).await {
        assert_eq!(status, Some(202));
    }
    world.settled(&sha, &["fleet", "fleet / orion"]).await;
    assert_eq!(world.github.redeliver(&delivered).await, Some(202));
    world.caught_up().await;
    assert_eq!(world.history(&sha).len(), 2, "{:?}", world.history(&sha));
    assert_eq!(std::fs::read_to_string(count).unwrap(), "orion\n");
}

#[tokio::test]
async fn a_captured_body_under_a_fresh_guid_makes_no_second_run() {
    let mut world = World::new().await;
    world.start().await;
    let first = world.push(&[Host::good("orion", "1")], &[]).await;
    let captured = world.last_delivery("push");
    world.settled(&first, &["fleet", "fleet / orion"]).await;
    let second = world.push(&[Host::good("orion", "2")], &[]).await;
    world.settled(&second, &["fleet", "fleet / orion"]).await;
    let fresh = Delivered { guid: "01890a5d-ac96-774b-bcce-b302099a8057".into(), ..captured };
    assert_eq!(world.github.redeliver(&fresh).await, Some(202));
    world.caught_up().await;
    for sha in [&first, &second] {
        assert_eq!(world.history(sha), ["fleet: success", "fleet / orion: success"]);
    }
}

#[tokio::test]
async fn a_wrong_signature_is_refused_and_has_no_effect() {
    let mut world = World::new().await;
    let sha = world.commit("main", &[Host::good("orion", "1")], &[]);
    world.github.push(&world.repo, "main", &sha).await;
    let Delivered { body, .. } = world.last_delivery("push");
    world.start().await;
    let wrong = format!("sha256={}", "0".repeat(64));
    for signature in [None, Some(""), Some("sha256="), Some(wrong.as_str())] {
        let guid = "01890a5d-ac96-774b-bcce-b302099a8057";
        let status = world.github.deliver_raw("push", &body, guid, signature).await;
        assert_eq!(status, Some(401), "{signature:?}");
    }
    world.caught_up().await;
    assert_eq!(world.checks(&sha), "");
}

#[tokio::test]
async fn echoes_of_our_own_checks_are_dropped() {
    let mut world = World::new().await;
    world.start().await;
    let sha = world.push(&[Host::good("orion", "1")], &[]).await;
    world.settled(&sha, &["fleet", "fleet / orion"]).await;
    world
        .wait("every delivery is answered", |github| {
            github.deliveries().iter().all(|it| it.status.is_some())
        })
        .await;
    let echoes: Vec<_> =
        world.github.deliveries().into_iter().filter(|it| it.event == "check_run").collect();
    assert!(echoes.len() >= 2, "{echoes:#?}");
    assert!(echoes.iter().all(|it| it.status == Some(202)));
    let (_, metrics) = world.get(&world.url("/metrics")).await;
    let dropped = metrics.lines().find(|it| it.contains("deliveries") && it.contains("echo"));
    let dropped = dropped.unwrap_or_else(|| panic!("{metrics}"));
    assert!(dropped.ends_with(&format!(" {}", echoes.len())), "{dropped}");
    world.caught_up().await;
    assert_eq!(world.history(&sha).len(), 2);
}

#[tokio::test]
async fn a_delivery_that_is_about_nobody_we_know_is_ignored() {
    let mut world = World::new().await;
    let strangers = world.github.create_repository("baltar", "fleet", false);
    world.start().await;
    let flake = crate::world::fleet::flake(world.system(), &[Host::good("orion", "1")]);
    let sha = strangers.commit("main", "x", &[("flake.nix", &flake)]);
    assert_eq!(world.github.push(&strangers, "main", &sha).await, Some(202));
    for (event, body) in [
        ("star", serde_json::json!({ "action": "created" })),
        ("pull_request", serde_json::json!({ "action": "danced" })),
        ("push", serde_json::json!({})),
    ] {
        assert_eq!(world.github.deliver(event, &body).await, Some(202), "{event}");
    }
    assert_eq!(world.github.deliver("ping", &serde_json::json!({ "zen": "x" })).await, Some(200));
    world.caught_up().await;
    assert!(world.github.check_runs(strangers.id, &sha).is_empty());
    assert_eq!(world.github.count(Operation::MintToken), 2, "for the last repository alone");
}
