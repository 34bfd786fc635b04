//! A lock file that does not move: updates that never land are told, and fail nothing.
use crate::world::World;
use crate::world::fleet::{Host, flake};

const LOCK: &str = r#"{"nodes":{"root":{}},"root":"root","version":7}"#;

/// Repositories whose lock file does not move.
const STALE: &str = "fleetcheck_stale_locks";

#[tokio::test]
async fn a_lock_file_that_has_not_moved_for_long_is_told_until_it_moves() {
    let mut world = World::new().await;
    world.start().await;
    let text = flake(world.system(), &[Host::good("orion", "1")]);
    world.repo.commit_ago(20, "main", &[("flake.nix", &text), ("flake.lock", LOCK)]);
    let names = ["fleet", "fleet / orion"];

    let still = world.push(&[Host::good("orion", "2")], &[]).await;
    world.settled(&still, &names).await;
    let gate = world.check(&still, "fleet");
    let told = "`flake.lock` has not moved for 20 days: its newest change is of ";
    assert!(gate.summary.contains(told), "{}", gate.summary);
    assert_eq!((gate.conclusion.as_deref(), &*gate.title), (Some("success"), "1 host builds"));
    assert!(world.get(&gate.details_url).await.1.contains("has not moved for 20 days"));
    world.counts(STALE, 1).await;
    let (_, home) = world.get(&world.url("/")).await;
    assert!(home.contains("acme/fleet: <code>flake.lock</code> has not moved"), "{home}");

    let topic = world.commit("topic", &[Host::good("orion", "3")], &[("flake.lock", LOCK)]);
    world.pull_request("opened", 7, &topic, crate::world::github::From::SameRepository).await;
    world.settled(&topic, &names).await;
    assert!(!world.check(&topic, "fleet").summary.contains("flake.lock"), "not landed yet");

    let moved = format!("{LOCK}\n");
    let moved = world.push(&[Host::good("orion", "4")], &[("flake.lock", &moved)]).await;
    world.settled(&moved, &names).await;
    assert!(!world.check(&moved, "fleet").summary.contains("flake.lock"));
    world.counts(STALE, 0).await;
    let (_, home) = world.get(&world.url("/")).await;
    assert!(!home.contains("has not moved"), "{home}");
}

#[tokio::test]
async fn a_lock_file_in_a_folder_is_told_by_the_branch_s_own_patience() {
    let mut world = World::new().await;
    world.start().await;
    let text = flake(world.system(), &[Host::good("orion", "1")]);
    let policy = |stale_after: &str| {
        format!("[build]\nflake = \"nix\"\n[update]\nstale_after = \"{stale_after}\"\n")
    };
    let files = [("nix/flake.nix", text.as_str()), ("nix/flake.lock", LOCK)];
    world.repo.commit_ago(3, "main", &files);
    for (stale_after, told) in [("2d", true), ("never", false)] {
        let more = [("fleetcheck.toml", policy(stale_after)), ("flake.lock", stale_after.into())];
        let more = more.each_ref().map(|(name, text)| (*name, text.as_str()));
        let sha = world.push(&[], &more).await;
        world.settled(&sha, &["fleet", "fleet / orion"]).await;
        let summary = world.check(&sha, "fleet").summary;
        assert_eq!(summary.contains("has not moved for 3 days"), told, "{summary}");
    }
}
