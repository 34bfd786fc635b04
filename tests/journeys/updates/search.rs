//! What is found out about inputs, before anybody sees a pull request.
use super::fleet::Fleet;
use crate::world::github::From;

#[tokio::test]
async fn an_update_of_which_nothing_moves_is_up_to_date() {
    let fleet = Fleet::new(&["a"], &[("raider", "echo ${a.v}")], "").await;
    assert_eq!(fleet.update().await, "up to date");
}

#[tokio::test]
async fn what_breaks_a_host_is_held_back() {
    let fleet = Fleet::new(&["a"], &[("raider", "[ ${a.v} != bad ]")], "").await;
    fleet.inputs().commit("a", "v = \"bad\";");
    assert_eq!(fleet.update().await, "everything is held back");
}

#[tokio::test]
async fn a_person_with_write_access_asks_for_an_update_by_a_comment() {
    let policy = "[trust]\ncomments = true\n";
    let fleet = Fleet::new(&["a"], &[("raider", "echo ${a.v}")], policy).await;
    let (github, repo) = (&fleet.world.github, &fleet.world.repo);
    github.set_permission(repo, "starbuck", "write");
    let sha = fleet.world.repo.commit("topic", "a change", &[("notes", "new")]);
    fleet.world.pull_request("opened", 7, &sha, From::SameRepository).await;
    let stranger = github.comment(repo, 7, "baltar", "/fleetcheck update").await;
    fleet.world.answered(stranger, &["-1"]).await;
    let starbuck = github.comment(repo, 7, "starbuck", "/fleetcheck update\nplease").await;
    fleet.world.answered(starbuck, &["+1"]).await;
    assert_eq!(fleet.ended(1).await, ["up to date"]);
}

#[tokio::test]
async fn two_inputs_that_break_a_host_together_do_not_move_together() {
    let script = "[ ${a.v}${b.v} != 22 ]";
    let fleet =
        Fleet::new(&["a", "b", "c"], &[("raider", script), ("viper", "echo ${c.v}")], "").await;
    for input in ["a", "b", "c"] {
        fleet.inputs().commit(input, "v = \"2\";");
    }
    assert_eq!(fleet.update().await, "pull request 1 waits for a person");
    let newest = fleet.newest(&fleet.pull().head);
    assert!(newest.contains(&"c".to_owned()) && newest.len() == 2, "{newest:?}");
}

#[tokio::test]
async fn an_input_that_cannot_be_fetched_is_in_nobody_s_way() {
    let fleet =
        Fleet::new(&["a", "b"], &[("raider", "echo ${a.v}"), ("viper", "echo ${b.v}")], "").await;
    fleet.inputs().commit("a", "v = \"2\";");
    fleet.inputs().commit("b", "v = \"2\";");
    let gone = fleet.inputs().repository("b");
    std::fs::rename(&gone, gone.with_extension("away")).unwrap();
    assert_eq!(fleet.update().await, "pull request 1 waits for a person");
    let pull = fleet.pull();
    assert!(pull.body.contains("Not to be had"), "{}", pull.body);
    std::fs::rename(gone.with_extension("away"), &gone).unwrap();
    assert_eq!(fleet.newest(&pull.head), ["a"]);
}

#[tokio::test]
async fn a_host_that_evaluates_is_enough_where_the_policy_says_so() {
    let hosts = [("raider", "[ ${a.v} != bad ]"), ("viper", "echo ${b.v}")];
    let fleet = Fleet::new(&["a", "b"], &hosts, "open = \"evaluated\"\n").await;
    fleet.inputs().commit("a", "v = \"bad\";");
    fleet.inputs().commit("b", "v = throw \"no\";");
    assert_eq!(fleet.update().await, "pull request 1 waits for a person");
    assert_eq!(fleet.newest(&fleet.pull().head), ["a"], "which evaluates, and does not build");
}

#[tokio::test]
async fn all_or_nothing_is_nothing_when_one_input_breaks_a_host() {
    let hosts = [("raider", "[ ${a.v} != bad ]"), ("viper", "echo ${b.v}")];
    let fleet = Fleet::new(&["a", "b"], &hosts, "hold_back = false\n").await;
    fleet.inputs().commit("a", "v = \"bad\";");
    fleet.inputs().commit("b", "v = \"2\";");
    assert_eq!(fleet.update().await, "everything is held back");
    assert!(fleet.pulls().is_empty());
}

#[tokio::test]
async fn a_pull_request_is_always_opened_where_the_policy_says_so() {
    let policy = "hold_back = false\nopen = \"always\"\nmerge = \"direct\"\n";
    let fleet = Fleet::new(&["a"], &[("raider", "[ ${a.v} != bad ]")], policy).await;
    fleet.inputs().commit("a", "v = \"bad\";");
    assert_eq!(fleet.update().await, "pull request 1 waits for a person");
    assert_eq!(fleet.pull().state, "open", "it is red, and nobody merges it");
}
