//! Buttons of our own, comments, and who may.
use insta::assert_snapshot;
use serde_json::json;

use crate::world::World;
use crate::world::fleet::Host;
use crate::world::github::{Fault, From, Operation};

const COMMENTS: (&str, &str) = ("fleetcheck.toml", "[trust]\ncomments = true\n");

/// A world whose default branch allows comments, and in which starbuck may write.
async fn with_comments() -> World {
    let mut world = World::new().await;
    world.github.set_permission(&world.repo, "starbuck", "write");
    world.commit("main", &[Host::good("orion", "1")], &[COMMENTS]);
    world.start().await;
    world
}

#[tokio::test]
async fn approve_and_build_works_for_people_with_write_access_alone() {
    let mut world = World::new().await;
    world.github.set_permission(&world.repo, "starbuck", "write");
    world.commit("main", &[Host::good("orion", "1")], &[]);
    world.start().await;
    let touched = world.directory().join("touched");
    let sha = world.commit("topic", &[Host::counted("orion", &touched)], &[]);
    world.parked(&sha).await;
    assert_eq!(world.check(&sha, "fleet").buttons, ["Approve and build"]);
    world.press(&sha, "fleet", "approve", "baltar").await;
    world.says(&sha, "fleet", "@&#8203;baltar may not approve: write access is needed").await;
    assert!(!touched.exists());
    world.press(&sha, "fleet", "approve", "starbuck").await;
    world.concluded(&sha, "fleet", "success").await;
    world.settled(&sha, &["fleet", "fleet / orion"]).await;
    let gate = world.check(&sha, "fleet");
    assert!(gate.summary.starts_with("Approved by @&#8203;starbuck."), "{}", gate.summary);
    assert!(touched.exists() && gate.buttons.is_empty());
    // For that commit only.
    let next = world.commit("topic", &[Host::counted("orion", &touched)], &[("x", "y")]);
    world.pull_request("synchronize", 7, &next, From::Fork).await;
    world.concluded(&next, "fleet", "action_required").await;
}

#[tokio::test]
async fn a_stranger_s_comment_builds_nothing_and_a_writer_s_does() {
    let world = with_comments().await;
    let touched = world.directory().join("touched");
    let sha = world.commit("topic", &[Host::counted("orion", &touched)], &[]);
    world.parked(&sha).await;
    let order = format!("/fleetcheck approve {}", &sha[..10]);
    let stranger = world.github.comment(&world.repo, 7, "baltar", &order).await;
    world.answered(stranger, &["-1"]).await;
    for text in ["/fleetcheck rerun", "/fleetcheck approve 0123456789"] {
        let comment = world.github.comment(&world.repo, 7, "starbuck", text).await;
        world.answered(comment, &["confused"]).await;
    }
    world.caught_up().await;
    assert_eq!(world.check(&sha, "fleet").conclusion.as_deref(), Some("action_required"));
    assert!(!touched.exists());
    let writer = world.github.comment(&world.repo, 7, "starbuck", &order).await;
    world.answered(writer, &["+1"]).await;
    world.concluded(&sha, "fleet", "success").await;
    assert!(touched.exists());
}

#[tokio::test]
async fn comments_are_off_unless_the_default_branch_says_otherwise() {
    let mut world = World::new().await;
    world.github.set_permission(&world.repo, "starbuck", "write");
    world.commit("main", &[Host::good("orion", "1")], &[]);
    world.start().await;
    // What a pull request says of itself grants nothing.
    let sha = world.commit("topic", &[Host::good("orion", "2")], &[COMMENTS]);
    world.parked(&sha).await;
    let order = format!("/fleetcheck approve {sha}");
    let comment = world.github.comment(&world.repo, 7, "starbuck", &order).await;
    world.wait("it was asked", |github| github.count(Operation::Permission) == 1).await;
    world.caught_up().await;
    assert!(world.github.reactions(comment).is_empty());
    assert_eq!(world.check(&sha, "fleet").conclusion.as_deref(), Some("action_required"));
}

#[tokio::test]
async fn cancel_by_comment_ends_the_processes_and_rerun_begins_again() {
    let world = with_comments().await;
    let mut hold = world.hold("orion");
    let hosts = [Host::held_by("orion", &hold.script()), Host::good("viper", "1")];
    let sha = world.commit("topic", &hosts, &[]);
    world.pull_request("opened", 7, &sha, From::SameRepository).await;
    hold.runs().await;
    world.concluded(&sha, "fleet / viper", "success").await;
    let cancel = world.github.comment(&world.repo, 7, "starbuck", "/fleetcheck cancel").await;
    hold.is_over().await;
    world.answered(cancel, &["+1"]).await;
    let names = ["fleet", "fleet / orion", "fleet / viper"];
    world.settled(&sha, &names).await;
    assert_snapshot!(world.checks(&sha), @r"
    fleet: cancelled: cancelled by starbuck
    fleet / orion: cancelled: cancelled by starbuck
    fleet / viper: success: built in a moment
    ");
    let nothing = world.github.comment(&world.repo, 7, "starbuck", "/fleetcheck cancel").await;
    world.answered(nothing, &["confused"]).await;
    let rerun = world.github.comment(&world.repo, 7, "starbuck", "/fleetcheck rerun orion").await;
    hold.runs().await;
    hold.let_go();
    world.answered(rerun, &["+1"]).await;
    world.concluded(&sha, "fleet", "success").await;
    assert_eq!(world.conclusions(&sha, "fleet / viper"), ["success"]);
}

#[tokio::test]
async fn a_failed_host_has_buttons_to_cancel_the_run_and_to_rebuild() {
    let mut world = World::new().await;
    world.github.set_permission(&world.repo, "starbuck", "admin");
    let mut hold = world.hold("orion");
    world.start().await;
    let mended = world.directory().join("mended");
    let script = format!("test -e {} || exit 3; echo > $out", mended.display());
    let hosts = [Host::held_by("orion", &hold.script()), Host::script("viper", &script)];
    let sha = world.push(&hosts, &[]).await;
    hold.runs().await;
    world.concluded(&sha, "fleet / viper", "failure").await;
    let buttons = ["Rebuild from scratch", "Cancel run"];
    assert_eq!(world.check(&sha, "fleet / viper").buttons, buttons);
    world.press(&sha, "fleet / viper", "cancel", "octo-fleet").await;
    let refused = "@&#8203;octo-fleet may not cancel: write access is needed";
    world.says(&sha, "fleet / viper", refused).await;
    world.press(&sha, "fleet / viper", "cancel", "starbuck").await;
    hold.is_over().await;
    world.concluded(&sha, "fleet / orion", "cancelled").await;
    world.concluded(&sha, "fleet", "cancelled").await;
    // Nothing runs any more that could be cancelled.
    world
        .wait("the button is gone", |github| {
            let check = github.check_run(world.repo.id, &sha, "fleet / viper").unwrap();
            check.buttons == ["Rebuild from scratch"]
        })
        .await;
    std::fs::write(&mended, "").unwrap();
    world.press(&sha, "fleet / viper", "rebuild", "starbuck").await;
    world.concluded(&sha, "fleet / viper", "success").await;
    world.wait("it is judged", |_| world.conclusions(&sha, "fleet").len() == 2).await;
    world.concluded(&sha, "fleet", "cancelled").await;
    assert_eq!(world.check(&sha, "fleet").title, "cancelled by starbuck");
}

/// A check that failed is offered to be rebuilt, also where another run has built the same since:
/// then what is built is compared with what is there.
#[tokio::test]
async fn a_rebuild_of_what_is_valid_by_now_tells_whether_it_is_reproducible() {
    // What failed for the first push is to be built for the second.
    let mut world = World::new().await.setting("failure_memory = \"0s\"");
    world.github.set_permission(&world.repo, "starbuck", "write");
    world.start().await;
    let source = world.directory().join("source");
    let script = format!("read word < {} || exit 3; echo $word > $out", source.display());
    let hosts = [Host::script("viper", &script)];
    let names = ["fleet", "fleet / viper"];
    let sha = world.push(&hosts, &[]).await;
    world.settled(&sha, &names).await;
    assert_eq!(world.conclusions(&sha, "fleet / viper"), ["failure"]);
    std::fs::write(&source, "one\n").unwrap();
    let other = world.push(&hosts, &[("README", "words")]).await;
    world.settled(&other, &names).await;
    assert_eq!(world.conclusions(&other, "fleet / viper"), ["success"]);
    std::fs::write(&source, "two\n").unwrap();
    world.press(&sha, "fleet / viper", "rebuild", "starbuck").await;
    world.wait("it is built again", |_| world.conclusions(&sha, "fleet / viper").len() == 2).await;
    world.settled(&sha, &names).await;
    let title = world.check(&sha, "fleet / viper").title;
    let said = "attempt 2: viper failed to build: derivation 'viper' may not be deterministic";
    assert!(title.starts_with(said), "{title}");
    std::fs::write(&source, "one\n").unwrap();
    world.press(&sha, "fleet / viper", "rebuild", "starbuck").await;
    world.concluded(&sha, "fleet", "success").await;
    assert_eq!(world.conclusions(&sha, "fleet / viper"), ["failure", "failure", "success"]);
    assert_eq!(world.conclusions(&other, "fleet / viper"), ["success"], "it is as it was");
}

#[tokio::test]
async fn a_reaction_outlasts_github_s_trouble_and_a_crash() {
    let mut world = with_comments().await;
    let sha = world.commit("topic", &[Host::good("orion", "2")], &[]);
    world.pull_request("opened", 7, &sha, From::SameRepository).await;
    world.settled(&sha, &["fleet", "fleet / orion"]).await;
    world.github.fail_next(Operation::React, Fault::Status(502), 2);
    let comment = world.github.comment(&world.repo, 7, "starbuck", "/fleetcheck rerun").await;
    world.wait("it was tried", |github| github.count(Operation::React) == 1).await;
    world.kill().await;
    world.start().await;
    world.answered(comment, &["+1"]).await;
}

#[tokio::test]
async fn what_is_no_command_asks_nobody_anything() {
    let world = with_comments().await;
    for text in ["looks good", "/fleetcheck launch", "please\n/fleetcheck cancel"] {
        world.github.comment(&world.repo, 7, "starbuck", text).await;
    }
    world.caught_up().await;
    assert_eq!(world.github.count(Operation::Permission), 0);
}

#[tokio::test]
async fn another_base_is_another_judgement_of_the_same_builds() {
    let mut world = World::new().await;
    world.start().await;
    let viper = world.directory().join("orion");
    let with = world.push(&[Host::good("viper", "1"), Host::counted("orion", &viper)], &[]).await;
    world.settled(&with, &["fleet", "fleet / orion", "fleet / viper"]).await;
    let without = world.commit_onto(Some(&with), "main", &[Host::counted("orion", &viper)]);
    world.announce("main", &without).await;
    world.settled(&without, &["fleet", "fleet / orion"]).await;
    let sha = world.commit_onto(Some(&without), "topic", &[Host::counted("orion", &viper)]);
    world.pull_request("opened", 7, &sha, From::SameRepository).await;
    world.settled(&sha, &["fleet", "fleet / orion"]).await;
    world.concluded(&sha, "fleet", "success").await;
    let mut body: serde_json::Value =
        serde_json::from_str(&world.last_delivery("pull_request").body).unwrap();
    body["action"] = json!("edited");
    body["changes"] = json!({ "base": { "ref": { "from": "main" }, "sha": { "from": without } } });
    body["pull_request"]["base"]["sha"] = json!(with);
    assert_eq!(world.github.deliver("pull_request", &body).await, Some(202));
    world.concluded(&sha, "fleet", "failure").await;
    assert_eq!(world.check(&sha, "fleet").title, "required hosts that vanished: viper");
    assert_eq!(world.conclusions(&sha, "fleet"), ["success", "failure"]);
    // And back, against the base that it was made for.
    body["pull_request"]["base"]["sha"] = json!(without);
    assert_eq!(world.github.deliver("pull_request", &body).await, Some(202));
    world.concluded(&sha, "fleet", "success").await;
    assert_eq!(world.conclusions(&sha, "fleet / orion"), ["success"], "its build is kept");
    assert_eq!(std::fs::read_to_string(viper).unwrap().lines().count(), 1);
}

#[tokio::test]
async fn a_command_that_there_is_nothing_for_is_acknowledged() {
    let world = with_comments().await;
    // Nothing was ever tested here.
    let comment = world.github.comment(&world.repo, 8, "starbuck", "/fleetcheck rerun").await;
    world.answered(comment, &["confused"]).await;
    let sha = world.commit("topic", &[Host::good("orion", "2")], &[]);
    world.pull_request("opened", 7, &sha, From::SameRepository).await;
    world.settled(&sha, &["fleet", "fleet / orion"]).await;
    for (number, text) in [(7, "/fleetcheck rerun viper"), (8, "/fleetcheck cancel")] {
        let comment = world.github.comment(&world.repo, number, "starbuck", text).await;
        world.answered(comment, &["confused"]).await;
    }
    assert_eq!(world.history(&sha).len(), 2);
}
