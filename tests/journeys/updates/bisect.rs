//! The history of an input that breaks a host is looked through for its first bad commit.
use sqlx::AnyPool;

use super::fleet::Fleet;

const RAIDER: [(&str, &str); 1] = [("raider", "[ ${a.v} != bad ]; echo ${b.v}")];

async fn pool(fleet: &Fleet) -> AnyPool {
    sqlx::any::install_default_drivers();
    let file = fleet.world.directory().join("fleetcheck.db");
    AnyPool::connect(&format!("sqlite:{}", file.display())).await.unwrap()
}

/// The commits that were tried, as the first twelve digits of each.
async fn probes(fleet: &Fleet) -> Vec<String> {
    let text = "SELECT probe FROM lock_trial WHERE probe IS NOT NULL ORDER BY nth";
    let found: Vec<String> = sqlx::query_scalar(text).fetch_all(&pool(fleet).await).await.unwrap();
    let commit = |it: &String| {
        let probe: serde_json::Value = serde_json::from_str(it).unwrap();
        probe["commit"].as_str().unwrap()[..12].to_owned()
    };
    found.iter().map(commit).collect()
}

/// A fleet of `a` and `b`, of which `b` has something new that breaks nothing.
async fn fleet(policy: &str) -> Fleet {
    let fleet = Fleet::new(&["a", "b"], &RAIDER, policy).await;
    fleet.inputs().commit("b", "v = \"2\";");
    fleet
}

/// Commits of an input with these values of `v`; gives the first twelve digits of each.
fn history(fleet: &Fleet, input: &str, values: &[&str]) -> Vec<String> {
    let commit = |(at, value): (usize, &&str)| {
        fleet.inputs().commit(input, &format!("n = {at}; v = {value};"));
        fleet.inputs().tip(input)[..12].to_owned()
    };
    values.iter().enumerate().map(commit).collect()
}

const BREAKS_EVALUATION: [&str; 8] = [
    "\"2\"",
    "\"3\"",
    "\"4\"",
    "\"5\"",
    "throw \"no\"",
    "throw \"no\"",
    "throw \"no\"",
    "throw \"no\"",
];
const BREAKS_BUILD: [&str; 8] =
    ["\"2\"", "\"3\"", "\"4\"", "\"5\"", "\"bad\"", "\"bad\"", "\"bad\"", "\"bad\""];

/// Updates to the one pull request without `a`; gives what it says of it.
async fn held_back(fleet: &Fleet) -> String {
    assert_eq!(fleet.update().await, "pull request 1 waits for a person");
    told(fleet)
}

fn told(fleet: &Fleet) -> String {
    let pull = fleet.pull();
    assert_eq!(fleet.newest(&pull.head), ["b"], "{}", pull.body);
    let text = pull.body.split_once("### Held back").unwrap().1;
    let text = text.split_once("is not moved to").unwrap().1.split_once(" Moved, ").unwrap().0;
    text.split_once(". ").map_or("", |(_, text)| text).to_owned()
}

/// Without the days.
fn undated(text: &str) -> String {
    let is_day = |it: &&str| it.starts_with('2') && it.matches('-').count() == 2;
    let words: Vec<&str> = text.split(' ').collect();
    let day = |at: usize| words.get(at).is_some_and(|it| is_day(&it.trim_end_matches('.')));
    let is_dropped = |at: usize| day(at) || (words[at] == "of" && day(at + 1));
    let left: Vec<&str> =
        (0..words.len()).filter(|it| !is_dropped(*it)).map(|it| words[it]).collect();
    left.join(" ").trim_end_matches('.').to_owned()
}

#[tokio::test]
async fn the_commit_that_breaks_a_host_s_evaluation_is_named() {
    let fleet = fleet("bisect = true\n").await;
    let commits = history(&fleet, "a", &BREAKS_EVALUATION);
    let told = undated(&held_back(&fleet).await);
    assert_eq!(told, format!("The first bad commit is `{}`", commits[4]));
    assert_eq!(probes(&fleet).await, [&*commits[3], &*commits[5], &*commits[4]]);
}

#[tokio::test]
async fn the_commit_that_breaks_a_host_s_build_is_named() {
    let fleet = fleet("bisect = true\n").await;
    let commits = history(&fleet, "a", &BREAKS_BUILD);
    let told = undated(&held_back(&fleet).await);
    assert_eq!(told, format!("The first bad commit is `{}`", commits[4]));
    assert_eq!(probes(&fleet).await.len(), 3);
}

#[tokio::test]
async fn a_budget_that_is_used_up_leaves_so_many_commits() {
    let fleet = fleet("bisect = true\nbisect_builds = 1\n").await;
    let commits = history(&fleet, "a", &BREAKS_BUILD);
    let told = undated(&held_back(&fleet).await);
    let (after, last) = (&commits[3], &commits[7]);
    assert_eq!(
        told,
        format!("The first bad commit is one of the 4 after `{after}` up to `{last}`")
    );
    assert_eq!(probes(&fleet).await, [&**after]);
}

#[tokio::test]
async fn a_commit_that_nix_cannot_lock_is_gone_around() {
    let fleet = fleet("bisect = true\n").await;
    let mut values = BREAKS_EVALUATION;
    values[3] = "; this is no Nix";
    let commits = history(&fleet, "a", &values);
    let told = undated(&held_back(&fleet).await);
    let (after, last) = (&commits[2], &commits[4]);
    assert_eq!(
        told,
        format!("The first bad commit is one of the 2 after `{after}` up to `{last}`")
    );
    assert!(!probes(&fleet).await.contains(&commits[3]));
}

#[tokio::test]
async fn nothing_is_looked_through_where_the_policy_does_not_say_so() {
    let fleet = fleet("").await;
    history(&fleet, "a", &BREAKS_EVALUATION);
    assert_eq!(held_back(&fleet).await, "");
    assert_eq!(probes(&fleet).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_history_that_was_written_anew_is_told() {
    let fleet = fleet("bisect = true\n").await;
    let repository = fleet.inputs().repository("a");
    let git = ["-C", repository.to_str().unwrap(), "update-ref", "-d", "HEAD"];
    fleet.world.nix.output("git", git);
    history(&fleet, "a", &BREAKS_EVALUATION[4..]);
    let told = held_back(&fleet).await;
    assert!(told.contains("its history could not be read: there is no straight way"), "{told}");
    assert_eq!(probes(&fleet).await, Vec::<String>::new());
}

#[tokio::test]
async fn an_input_of_an_input_is_looked_through_alone() {
    let policy = "bisect = true\ninputs = [\"a/lib\", \"b\"]\n";
    let mut fleet = Fleet::new(&["a", "b"], &RAIDER, policy).await;
    fleet.inputs().commit("lib", "v = \"1\";");
    let declared = format!("inputs.lib.url = \"{}\";", fleet.inputs().url("lib"));
    fleet.inputs().commit_with("a", (&declared, "{ lib, ... }"), "v = lib.v;");
    fleet.push().await;
    fleet.inputs().commit("b", "v = \"2\";");
    let commits = history(&fleet, "lib", &BREAKS_BUILD[2..]);
    assert_eq!(fleet.update().await, "pull request 1 waits for a person");
    let body = fleet.pull().body;
    let named = format!("The first bad commit is `{}`", commits[2]);
    assert!(body.contains(&named), "{named}: {body}");
}

#[tokio::test]
async fn what_breaks_a_host_together_with_others_is_tried_with_them() {
    let script = "[ ${a.v}${b.v} != badbad ]";
    let fleet = Fleet::new(&["a", "b"], &[("raider", script)], "bisect = true\n").await;
    fleet.inputs().commit("a", "v = \"bad\";");
    let commits = history(&fleet, "b", &BREAKS_BUILD[2..]);
    assert_eq!(fleet.update().await, "pull request 1 waits for a person");
    let pull = fleet.pull();
    assert_eq!(fleet.newest(&pull.head), ["a"]);
    let named = format!("The first bad commit is `{}`", commits[2]);
    assert!(pull.body.contains(&named), "{named}: {}", pull.body);
}

#[tokio::test]
async fn a_service_that_is_killed_meanwhile_tries_no_commit_twice() {
    let mut fleet = fleet("bisect = true\n").await;
    let commits = history(&fleet, "a", &BREAKS_BUILD);
    fleet.ask();
    for count in 1..=3 {
        while probes(&fleet).await.len() < count {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        fleet.world.kill().await;
        fleet.world.start().await;
    }
    assert_eq!(fleet.ended(1).await, ["pull request 1 waits for a person"]);
    assert_eq!(undated(&told(&fleet)), format!("The first bad commit is `{}`", commits[4]));
    assert_eq!(probes(&fleet).await.len(), 3);
}
