//! What a merge queue's groups show.
use insta::assert_snapshot;

use crate::world::World;
use crate::world::fleet::Host;
use crate::world::github::From;

const GROUP: &str = "gh-readonly-queue/main/pr-7-0123456789abcdef0123456789abcdef01234567";

async fn group(world: &World, action: &str, branch: &str, head: &str) {
    let status = world.github.merge_group(&world.repo, action, branch, head).await;
    assert_eq!(status, Some(202), "{}", world.log());
}

/// A branch that is green, and a main that is: hosts that do not build together.
#[tokio::test]
async fn a_branch_and_main_that_are_green_apart_and_red_together_do_not_get_through_the_queue() {
    let mut world = World::new().await;
    world.start().await;
    let main = world.push(&[Host::good("orion", "1")], &[]).await;
    world.settled(&main, &["fleet", "fleet / orion"]).await;
    let head = world.commit_onto(Some(&main), "topic", &[Host::good("orion", "2")]);
    world.pull_request("opened", 7, &head, From::SameRepository).await;
    world.settled(&head, &["fleet", "fleet / orion"]).await;
    let together = world.commit_onto(Some(&main), GROUP, &[Host::broken("orion")]);
    // GitHub sends both, in any order.
    world.announce(GROUP, &together).await;
    group(&world, "checks_requested", GROUP, &together).await;
    world.settled(&together, &["fleet", "fleet / orion"]).await;
    assert_eq!(world.check(&head, "fleet").conclusion.as_deref(), Some("success"));
    assert_snapshot!(world.checks(&together), @r"
    fleet: failure: 0 of 1 host builds; orion (newly broken): builder failed with exit code 3
    fleet / orion: failure: orion failed to build: builder failed with exit code 3
    ");
    world.caught_up().await;
    world.assert_nothing_doubled(&together);
    assert_eq!(world.history(&together).len(), 2, "the push to the queue's branch made no run");
}

#[tokio::test]
async fn groups_are_tested_beside_each_other_and_a_dissolved_one_is_cancelled() {
    let mut world = World::new().await;
    let mut hold = world.hold("orion");
    world.start().await;
    let main = world.push(&[Host::good("orion", "1")], &[]).await;
    world.settled(&main, &["fleet", "fleet / orion"]).await;
    let other = GROUP.replace("pr-7", "pr-8");
    let first = world.commit_onto(Some(&main), GROUP, &[Host::held_by("orion", &hold.script())]);
    group(&world, "checks_requested", GROUP, &first).await;
    hold.runs().await;
    let second = world.commit_onto(Some(&first), &other, &[Host::good("orion", "3")]);
    group(&world, "checks_requested", &other, &second).await;
    world.settled(&second, &["fleet", "fleet / orion"]).await;
    assert_eq!(world.check(&first, "fleet").conclusion, None);
    group(&world, "destroyed", GROUP, &first).await;
    hold.is_over().await;
    world.settled(&first, &["fleet", "fleet / orion"]).await;
    assert_snapshot!(world.checks(&first), @r"
    fleet: cancelled: cancelled by the merge queue: the group was invalidated
    fleet / orion: cancelled: cancelled by the merge queue: the group was invalidated
    ");
    assert_eq!(world.check(&second, "fleet").conclusion.as_deref(), Some("success"));
}

#[tokio::test]
async fn a_group_that_is_gone_before_its_checks_are_requested_is_not_tested() {
    let mut world = World::new().await;
    world.start().await;
    let main = world.push(&[Host::good("orion", "1")], &[]).await;
    let head = world.commit_onto(Some(&main), GROUP, &[Host::good("orion", "2")]);
    group(&world, "destroyed", GROUP, &head).await;
    group(&world, "checks_requested", GROUP, &head).await;
    // Another group of the same place in the queue is.
    let next = world.commit_onto(Some(&main), GROUP, &[Host::good("orion", "3")]);
    world.github.later(1);
    group(&world, "checks_requested", GROUP, &next).await;
    world.settled(&next, &["fleet", "fleet / orion"]).await;
    assert_eq!(world.checks(&head), "");
}
