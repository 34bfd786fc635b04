//! How it stands with updates, as people and machines are shown it.
use fleetcheck::domain::incoming::Visibility;
use fleetcheck::domain::update::life::{Cause, Outcome, Update};
use fleetcheck::store::updates::Left;

use crate::world::{NOW, World, id, words};

/// An update of a repository of each kind, which has failed.
async fn world() -> World {
    let world = World::new().await;
    for visibility in [Visibility::Public, Visibility::Private] {
        let (run, _) = world.run(visibility).await;
        let repository = world.store.run_view(&run).await.unwrap().unwrap().repository;
        let cause = Cause::Comment { by: "octocat".parse().unwrap() };
        let update = Update::new(id(), repository.id, cause, NOW);
        let _ = world.store.ask_for_update(&update, NOW).await.unwrap();
        let claimed = world.store.claim_update("me", NOW, 60_000).await.unwrap();
        let (claim, update, _) = claimed.unwrap();
        let why = "flake.lock:\n<b>no</b> such input".to_owned();
        let ended = update.end(Outcome::Failed { why }, NOW).unwrap();
        let left =
            Left { update: &ended, siblings: &[], trial: None, report: None, not_before: NOW };
        let _ = world.store.leave_update(claim, left, NOW).await.unwrap();
    }
    world
}

#[tokio::test]
async fn updates_of_public_repositories_stand_on_the_front_page() {
    let world = world().await;
    let page = words(&world.text("/").await);
    assert!(!page.contains("secret"), "{page}");
    let (_, updates) = page.split_once("Updates\n").unwrap();
    insta::assert_snapshot!(updates, @r"
    acme/fleet: an update has ended
    2026-11-18 11:06 UTC
    : it failed: flake.lock: &lt;b&gt;no&lt;/b&gt; such input
    ");
}

#[tokio::test]
async fn updates_of_a_public_repository_are_listed_as_json() {
    let world = world().await;
    let listed = world.text("/api/v1/updates?repo=Acme/fleet").await;
    let mut listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    listed["updates"][0]["id"].take();
    insta::assert_snapshot!(format!("{listed:#}"), @r#"
    {
      "updates": [
        {
          "cause": {
            "by": "octocat",
            "kind": "comment"
          },
          "created_at": "2026-11-18T11:06:40Z",
          "ended_at": "2026-11-18T11:06:40Z",
          "group": null,
          "id": null,
          "note": null,
          "outcome": {
            "outcome": "failed",
            "why": "flake.lock:\n<b>no</b> such input"
          },
          "pull_request": null,
          "repository": {
            "name": "fleet",
            "owner": "acme"
          },
          "state": "ended",
          "title": "it failed: flake.lock: <b>no</b> such input",
          "tries": []
        }
      ]
    }
    "#);
    for repo in ["acme/secret", "acme/unknown"] {
        let listed = world.text(&format!("/api/v1/updates?repo={repo}")).await;
        assert_eq!(listed, r#"{"updates":[]}"#, "{repo}");
    }
    assert_eq!(world.get("/api/v1/updates").await.status(), 400);
}
