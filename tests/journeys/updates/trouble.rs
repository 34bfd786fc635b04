//! Whatever happens on the way, there is one pull request in the end.
use std::time::Duration;

use super::fleet::Fleet;
use crate::world::github::{FakeGitHub, Fault, Operation};

async fn fleet() -> Fleet {
    let fleet = Fleet::new(&["a"], &[("raider", "[ ${a.v} != bad ]")], "").await;
    fleet.inputs().commit("a", "v = \"2\";");
    fleet
}

/// Everything that is written to GitHub on the way to a pull request.
const WRITES: [Operation; 6] = [
    Operation::CreateRef,
    Operation::CreateCommit,
    Operation::UpdateRefs,
    Operation::DeleteRef,
    Operation::CreatePull,
    Operation::AddLabels,
];

#[tokio::test]
async fn a_service_that_is_killed_in_any_step_goes_on_to_one_pull_request() {
    // Git is asked for the default branch's tip when the newest revisions are looked up.
    for operation in [Operation::Git].into_iter().chain(WRITES) {
        let mut fleet = fleet().await;
        let before = fleet.world.github.count(operation);
        fleet.world.github.fail_next(operation, Fault::Delay(Duration::from_secs(20)), 1);
        fleet.ask();
        fleet.world.wait("the call is on its way", |github| github.count(operation) > before).await;
        fleet.world.kill().await;
        fleet.world.github.mend();
        fleet.world.start().await;
        let end = fleet.ended(1).await;
        assert_eq!(end, ["pull request 1 waits for a person"], "{operation:?}");
        assert_eq!(fleet.newest(&fleet.pull().head), ["a"], "{operation:?}");
        assert_eq!(fleet.branches(), ["fleetcheck/update", "main"], "{operation:?}");
    }
}

#[tokio::test]
async fn answers_that_are_lost_are_asked_for_again() {
    for operation in WRITES {
        let fleet = fleet().await;
        fleet.world.github.fail_next(operation, Fault::AnswerLost, 1);
        assert_eq!(fleet.update().await, "pull request 1 waits for a person", "{operation:?}");
        assert_eq!(fleet.newest(&fleet.pull().head), ["a"], "{operation:?}");
        assert_eq!(fleet.branches(), ["fleetcheck/update", "main"], "{operation:?}");
    }
}

#[tokio::test]
async fn a_service_that_is_killed_while_it_tries_lock_files_goes_on_where_it_was() {
    let mut fleet = fleet().await;
    let mut hold = fleet.world.hold("raider");
    fleet.set_host("raider", &format!("echo ${{a.v}}; {}", hold.script()));
    fleet.ask();
    assert_eq!(fleet.ended(1).await, ["pull request 1 waits for a person"]);
    hold.let_go();
    fleet.push().await;
    hold.runs().await;
    hold.is_over().await;
    fleet.inputs().commit("a", "v = \"3\";");
    fleet.ask();
    hold.runs().await;
    fleet.world.kill().await;
    // Else the build that ends with its service might take the word that is for the next.
    hold.is_over().await;
    fleet.world.start().await;
    hold.runs().await;
    hold.let_go();
    assert_eq!(fleet.ended(2).await[1], "pull request 1 waits for a person");
    assert_eq!(fleet.newest(&fleet.pull().head), ["a"]);
}

#[tokio::test]
async fn an_update_of_an_instance_that_dies_goes_on_at_another() {
    let world = crate::postgres::world("updates").await;
    let mut fleet = Fleet::of(world, (&["a"], &[("raider", "echo ${a.v}")]), "").await;
    let mut hold = fleet.world.hold("raider");
    fleet.set_host("raider", &format!("echo ${{a.v}}; {}", hold.script()));
    hold.let_go();
    fleet.push().await;
    hold.runs().await;
    hold.is_over().await;
    fleet.inputs().commit("a", "v = \"2\";");
    fleet.ask();
    hold.runs().await;
    let mut other = fleet.world.beside();
    other.start().await;
    fleet.world.kill().await;
    hold.is_over().await;
    // What was evaluated is in the other's Nix store no sooner than it is missed.
    other.logged_within("wait with an instance that is gone", Duration::from_mins(3)).await;
    hold.runs().await;
    hold.let_go();
    // It waits in vain to hear what changes: the other's Nix store was on another disk.
    let is_open = |_: &FakeGitHub| !fleet.pulls().is_empty();
    let patience = Duration::from_mins(3);
    other.github.wait_within(patience, "the pull request is opened", is_open).await;
    assert_eq!(fleet.newest(&fleet.pull().head), ["a"]);
}

#[tokio::test]
async fn inputs_that_cannot_be_looked_up_for_a_moment_are_waited_for() {
    let fleet = fleet().await;
    let folder = fleet.inputs().repository("a");
    let away = folder.with_extension("away");
    std::fs::rename(&folder, &away).unwrap();
    fleet.ask();
    fleet.world.logged("no input can be looked up").await;
    std::fs::rename(&away, &folder).unwrap();
    assert_eq!(fleet.ended(1).await, ["pull request 1 waits for a person"]);
}
