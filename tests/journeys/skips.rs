//! Commits that ask not to be built.
use insta::assert_snapshot;

use crate::world::World;
use crate::world::fleet::{self, Host};
use crate::world::github::From;

/// Commits hosts with this message.
fn commit(world: &World, branch: &str, message: &str, hosts: &[Host], policy: &str) -> String {
    let flake = fleet::flake(world.system(), hosts);
    world.repo.commit(branch, message, &[("flake.nix", &flake), ("fleetcheck.toml", policy)])
}

#[tokio::test]
async fn a_pull_request_that_asks_to_be_skipped_is_skipped_under_every_required_name() {
    let mut world = World::new().await;
    world.start().await;
    let touched = world.directory().join("touched");
    let hosts = [Host::counted("orion", &touched), Host::good("viper", "1")];
    let policy = "[gate]\nrequired = [\"orion\"]\n";
    let sha = commit(&world, "topic", "docs: a word [skip ci]", &hosts, policy);
    world.pull_request("opened", 7, &sha, From::SameRepository).await;
    world.settled(&sha, &["fleet", "fleet / orion"]).await;
    assert_snapshot!(world.checks(&sha), @r"
    fleet: skipped: skipped by [skip ci] in the commit's message
    fleet / orion: skipped: skipped by [skip ci]
    ");
    world.wait("the status is set", |_| world.status(&sha).contains("success")).await;
    assert_snapshot!(world.status(&sha), @"fleetcheck: success: skipped by [skip ci] in the commit's message");
    assert!(!touched.exists());
}

#[tokio::test]
async fn the_default_branch_and_the_merge_queue_are_built_whatever_a_message_says() {
    let mut world = World::new().await;
    world.start().await;
    let sha = commit(&world, "main", "docs [skip ci]", &[Host::good("orion", "1")], "");
    world.announce("main", &sha).await;
    world.settled(&sha, &["fleet", "fleet / orion"]).await;
    let group = "gh-readonly-queue/main/pr-7-0123456789abcdef0123456789abcdef01234567";
    let queued =
        commit(&world, group, "docs\n\nskip-checks: true", &[Host::good("orion", "2")], "");
    let status = world.github.merge_group(&world.repo, "checks_requested", group, &queued).await;
    assert_eq!(status, Some(202));
    world.settled(&queued, &["fleet", "fleet / orion"]).await;
    for sha in [sha, queued] {
        assert_eq!(world.check(&sha, "fleet").conclusion.as_deref(), Some("success"));
    }
}

#[tokio::test]
async fn a_re_run_of_what_was_skipped_builds_it_after_all() {
    let mut world = World::new().await;
    world.start().await;
    let sha = commit(&world, "topic", "docs [skip ci]", &[Host::good("orion", "1")], "");
    world.pull_request("opened", 7, &sha, From::SameRepository).await;
    world.settled(&sha, &["fleet", "fleet / orion"]).await;
    let gate = world.check(&sha, "fleet");
    assert_eq!(gate.conclusion.as_deref(), Some("skipped"));
    assert_eq!(world.github.press_rerun(&world.repo, &gate).await, Some(202));
    world.concluded(&sha, "fleet", "success").await;
    world.concluded(&sha, "fleet / orion", "success").await;
}
