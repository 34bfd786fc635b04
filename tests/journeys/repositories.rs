//! Commits and repositories that go away, or get another name.
use insta::assert_snapshot;

use crate::world::World;
use crate::world::fleet::Host;
use crate::world::github::{Fault, From, Operation};

#[tokio::test]
async fn a_commit_that_is_gone_before_it_is_fetched_fails_its_gate_with_the_reason() {
    let mut world = World::new().await;
    world.start().await;
    world.commit("main", &[Host::good("orion", "1")], &[]);
    let gone = "0123456789abcdef0123456789abcdef01234567";
    world.github.believe(&world.repo, gone);
    world.announce("main", gone).await;
    world.settled(gone, &["fleet"]).await;
    assert_snapshot!(world.checks(gone), @"fleet: failure: commit 0123456 is gone");
    // The one that took its place is built.
    let sha = world.push(&[Host::good("orion", "2")], &[]).await;
    world.settled(&sha, &["fleet", "fleet / orion"]).await;
}

#[tokio::test]
async fn a_commit_that_github_does_not_know_either_harms_nobody() {
    let mut world = World::new().await;
    world.start().await;
    world.commit("main", &[Host::good("orion", "1")], &[]);
    world.announce("main", "0123456789abcdef0123456789abcdef01234567").await;
    let sha = world.push(&[Host::good("orion", "2")], &[]).await;
    world.settled(&sha, &["fleet", "fleet / orion"]).await;
    assert_eq!(world.check(&sha, "fleet").conclusion.as_deref(), Some("success"));
}

#[tokio::test]
async fn a_repository_that_vanishes_stops_nothing_else() {
    let mut world = World::new().await;
    world.start().await;
    let other = world.github.create_repository("acme", "doomed", true);
    let flake = crate::world::fleet::flake(world.system(), &[Host::good("viper", "1")]);
    let doomed = other.commit("main", "x", &[("flake.nix", &flake)]);
    world.github.delete_repository(&other);
    assert_eq!(world.github.push(&other, "main", &doomed).await, Some(202));
    world
        .wait("it is asked for in vain", |github| {
            github.calls().iter().any(|it| it.status == 404 || it.status == 422)
        })
        .await;
    let sha = world.push(&[Host::good("orion", "1")], &[]).await;
    world.settled(&sha, &["fleet", "fleet / orion"]).await;
    let (status, ready) = world.get(&world.url("/readyz")).await;
    assert_eq!((status, ready.as_str()), (200, "ready\n"));
}

#[tokio::test]
async fn a_repository_that_is_renamed_while_it_builds_shows_its_checks_all_the_same() {
    let mut world = World::new().await;
    let mut hold = world.hold("orion");
    world.start().await;
    let sha = world.push(&[Host::held_by("orion", &hold.script())], &[]).await;
    hold.runs().await;
    world
        .wait("the gate is shown", |github| {
            github.check_run(world.repo.id, &sha, "fleet").is_some()
        })
        .await;
    let mut repo = world.repo.clone();
    world.github.rename(&mut repo, "armada");
    world.repo = repo;
    hold.let_go();
    world.settled(&sha, &["fleet", "fleet / orion"]).await;
    assert_eq!(world.check(&sha, "fleet").conclusion.as_deref(), Some("success"));
    // And goes on under its new name.
    let next = world.push(&[Host::good("orion", "2")], &[]).await;
    world.settled(&next, &["fleet", "fleet / orion"]).await;
    let topic = world.commit("topic", &[Host::good("orion", "3")], &[]);
    world.pull_request("opened", 7, &topic, From::SameRepository).await;
    world.settled(&topic, &["fleet", "fleet / orion"]).await;
}

#[tokio::test]
async fn git_that_is_away_for_a_moment_is_waited_for_and_the_gate_says_so() {
    let mut world = World::new().await;
    world.start().await;
    world.github.fail_next(Operation::Git, Fault::Status(503), 2);
    let sha = world.push(&[Host::good("orion", "1")], &[]).await;
    world
        .wait("the gate says what it waits for", |github| {
            let gate = github.check_run(world.repo.id, &sha, "fleet");
            gate.is_some_and(|it| it.title.starts_with("waits: "))
        })
        .await;
    world.settled(&sha, &["fleet", "fleet / orion"]).await;
    assert_eq!(world.check(&sha, "fleet").conclusion.as_deref(), Some("success"));
}
