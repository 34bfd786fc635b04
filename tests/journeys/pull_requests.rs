//! What a pull request shows.
use insta::{allow_duplicates, assert_snapshot};
use serde_json::json;

use crate::forks::is_here;
use crate::world::World;
use crate::world::fleet::Host;
use crate::world::github::{From, Options};
use crate::world::nix::TestNix;

#[tokio::test]
async fn a_pull_request_of_the_same_repository_becomes_checks() {
    for nix in TestNix::all() {
        let mut world = World::with(nix, Options::default()).await;
        world.start().await;
        world.commit("main", &[Host::good("orion", "1")], &[]);
        let sha = world.commit("topic", &[Host::good("orion", "2"), Host::broken("viper")], &[]);
        world.pull_request("opened", 7, &sha, From::SameRepository).await;
        world.settled(&sha, &["fleet", "fleet / orion", "fleet / viper"]).await;
        allow_duplicates! { assert_snapshot!(world.checks(&sha), @r"
        fleet: failure: 1 of 2 hosts build; viper: builder failed with exit code 3
        fleet / orion: success: built in a moment
        fleet / viper: failure: viper failed to build: builder failed with exit code 3
        ") };
    }
}

#[tokio::test]
async fn a_draft_is_tested_like_any_pull_request() {
    let mut world = World::new().await;
    let sha = world.commit("topic", &[Host::good("orion", "1")], &[]);
    // Made before anybody listens, to be changed into a draft's.
    world.github.open_pull_request(&world.repo, 7, &sha, From::SameRepository).await;
    let opened = world.last_delivery("pull_request").body;
    let mut body: serde_json::Value = serde_json::from_str(&opened).unwrap();
    body["pull_request"]["draft"] = json!(true);
    world.start().await;
    assert_eq!(world.github.deliver("pull_request", &body).await, Some(202));
    world.settled(&sha, &["fleet", "fleet / orion"]).await;
}

#[tokio::test]
async fn a_newer_head_supersedes_the_older_one() {
    let mut world = World::new().await;
    let mut hold = world.hold("orion");
    world.start().await;
    let hosts = [Host::held_by("orion", &hold.script()), Host::good("viper", "1")];
    let older = world.commit("topic", &hosts, &[]);
    world.pull_request("opened", 7, &older, From::SameRepository).await;
    hold.runs().await;
    world.concluded(&older, "fleet / viper", "success").await;
    let newer = world.commit("topic", &[Host::good("orion", "2")], &[]);
    world.pull_request("synchronize", 7, &newer, From::SameRepository).await;
    hold.is_over().await;
    world.settled(&older, &["fleet", "fleet / orion", "fleet / viper"]).await;
    world.settled(&newer, &["fleet", "fleet / orion"]).await;
    let short = &newer[..7];
    assert_snapshot!(world.checks(&older).replace(short, "NEWER"), @r"
    fleet: cancelled: superseded by NEWER
    fleet / orion: cancelled: superseded by NEWER
    fleet / viper: success: built in a moment
    ");
    assert!(world.check(&older, "fleet").summary.contains(&newer));
    assert_eq!(world.check(&newer, "fleet").conclusion.as_deref(), Some("success"));
}

#[tokio::test]
async fn nothing_of_a_fork_is_fetched_or_evaluated() {
    for from in [From::Fork, From::DeletedFork] {
        let mut world = World::new().await;
        world.start().await;
        let touched = world.directory().join("touched");
        let host = Host::counted("orion", &touched);
        let sha = world.commit("topic", &[host], &[]);
        world.pull_request("opened", 7, &sha, from).await;
        world.settled(&sha, &["fleet"]).await;
        world.wait("the status is set", |_| !world.status(&sha).is_empty()).await;
        // Another run, to its end: what was going to happen to the fork's has happened.
        let other = world.push(&[Host::good("viper", "1")], &[]).await;
        world.settled(&other, &["fleet", "fleet / viper"]).await;
        assert!(!is_here(&world, &sha), "only the default branch was looked for");
        assert!(!touched.exists());
        let title = "waits for approval: this commit comes from a fork";
        assert_eq!(world.checks(&sha), format!("fleet: action_required: {title}\n"));
        assert_eq!(world.status(&sha), format!("fleetcheck: pending: {title}"));
        assert!(world.check(&sha, "fleet").summary.contains("a person with write access"));
    }
}

#[tokio::test]
async fn a_changed_base_is_a_reason_to_look_and_a_changed_title_is_none() {
    let mut world = World::new().await;
    world.start().await;
    world.commit("main", &[Host::good("orion", "1")], &[]);
    let sha = world.commit("topic", &[Host::good("orion", "2")], &[]);
    let edited = |changes: serde_json::Value| {
        let delivered = world.last_delivery("pull_request");
        let mut body: serde_json::Value = serde_json::from_str(&delivered.body).unwrap();
        body["action"] = json!("edited");
        body["changes"] = changes;
        body
    };
    world.pull_request("closed", 7, &sha, From::SameRepository).await;
    let title = edited(json!({ "title": { "from": "x" } }));
    assert_eq!(world.github.deliver("pull_request", &title).await, Some(202));
    world.caught_up().await;
    assert_eq!(world.checks(&sha), "");
    world.pull_request("closed", 7, &sha, From::SameRepository).await;
    let base = edited(json!({ "base": { "ref": { "from": "old" }, "sha": { "from": "0" } } }));
    assert_eq!(world.github.deliver("pull_request", &base).await, Some(202));
    world.settled(&sha, &["fleet", "fleet / orion"]).await;
}

#[tokio::test]
async fn a_pull_request_and_a_push_do_not_supersede_each_other() {
    let mut world = World::new().await;
    let mut hold = world.hold("orion");
    world.start().await;
    let pushed = world.push(&[Host::held_by("orion", &hold.script())], &[]).await;
    hold.runs().await;
    let pulled = world.commit("topic", &[Host::good("orion", "2")], &[]);
    world.pull_request("opened", 7, &pulled, From::SameRepository).await;
    world.settled(&pulled, &["fleet", "fleet / orion"]).await;
    hold.let_go();
    world.settled(&pushed, &["fleet", "fleet / orion"]).await;
    assert_eq!(world.check(&pushed, "fleet").conclusion.as_deref(), Some("success"));
}
