//! GitHub's Re-run does what it says.
use std::path::{Path, PathBuf};

use insta::assert_snapshot;

use crate::world::World;
use crate::world::fleet::Host;
use crate::world::github::{Delivered, From};

const NAMES: [&str; 3] = ["fleet", "fleet / orion", "fleet / viper"];

/// Fails until the file is there, and notes each try in another.
fn flaky(name: &str, mended: &Path) -> Host {
    let tries = tries(mended);
    let script = format!(
        "echo x >> {}; test -e {} || exit 3; echo > $out",
        tries.display(),
        mended.display()
    );
    Host::script(name, &script)
}

fn tries(mended: &Path) -> PathBuf {
    mended.with_extension("tries")
}

fn count(file: &Path) -> usize {
    std::fs::read_to_string(file).unwrap_or_default().lines().count()
}

/// A push of a host that fails until the file is there and one that is good.
async fn half_broken() -> (World, String, PathBuf) {
    let mut world = World::new().await;
    world.start().await;
    let mended = world.directory().join("mended");
    let viper = Host::counted("viper", &world.directory().join("viper"));
    let sha = world.push(&[flaky("orion", &mended), viper], &[]).await;
    world.settled(&sha, &NAMES).await;
    world.concluded(&sha, "fleet", "failure").await;
    (world, sha, mended)
}

#[tokio::test]
async fn re_run_of_one_host_builds_that_host_again_and_mends_the_gate() {
    let (world, sha, mended) = half_broken().await;
    std::fs::write(&mended, "").unwrap();
    world.rerun(&sha, "fleet / orion").await;
    world.concluded(&sha, "fleet", "success").await;
    world.concluded(&sha, "fleet / orion", "success").await;
    assert_snapshot!(world.checks(&sha), @r"
    fleet: success: 2 hosts build
    fleet / orion: success: attempt 2: built in a moment
    fleet / viper: success: built in a moment
    ");
    assert_eq!(world.conclusions(&sha, "fleet / orion"), ["failure", "success"]);
    assert_eq!(world.conclusions(&sha, "fleet"), ["failure", "success"]);
    assert_eq!(world.conclusions(&sha, "fleet / viper"), ["success"], "it was left alone");
    assert_eq!(count(&world.directory().join("viper")), 1);
    assert_eq!(count(&tries(&mended)), 2, "a failure that is known is not believed");
    world.assert_nothing_doubled(&sha);
}

#[tokio::test]
async fn re_run_of_all_builds_what_failed_and_confirms_what_is_good() {
    let (world, sha, mended) = half_broken().await;
    std::fs::write(&mended, "").unwrap();
    world.rerun_all(&sha, 1_800_000_000).await;
    world.concluded(&sha, "fleet", "success").await;
    world.settled(&sha, &NAMES).await;
    world
        .wait("viper is shown again", |github| {
            github.check_run(world.repo.id, &sha, "fleet / viper").unwrap().title.contains("reused")
        })
        .await;
    assert_eq!(world.conclusions(&sha, "fleet / viper"), ["success", "success"]);
    assert_eq!(world.conclusions(&sha, "fleet / orion"), ["failure", "success"]);
    assert_eq!(count(&world.directory().join("viper")), 1, "it was there already");
    // The same press, told twice, and an older one that comes late.
    for at in [1_800_000_000, 1_799_999_999] {
        world.rerun_all(&sha, at).await;
    }
    world.caught_up().await;
    assert_eq!(world.history(&sha).len(), 6, "{:#?}", world.history(&sha));
    world.assert_nothing_doubled(&sha);
}

#[tokio::test]
async fn re_run_of_the_gate_means_all_and_what_is_gone_is_built_again() {
    let (mut world, sha, mended) = half_broken().await;
    std::fs::write(&mended, "").unwrap();
    // The garbage collector has been here; a service that runs would have kept it away.
    let viper = world.build_of(&sha, "viper").await;
    let out = viper["outputs"]["out"].as_str().unwrap().to_owned();
    world.stop().await;
    world.nix.output("nix-store", ["--delete", "--ignore-liveness", out.as_str()]);
    world.start().await;
    world.rerun(&sha, "fleet").await;
    world.concluded(&sha, "fleet", "success").await;
    world
        .wait("viper is shown again", |_| world.conclusions(&sha, "fleet / viper").len() == 2)
        .await;
    world.settled(&sha, &NAMES).await;
    assert_eq!(count(&world.directory().join("viper")), 2, "built again");
}

#[tokio::test]
async fn a_double_click_and_duplicate_events_make_one_attempt() {
    let (world, sha, mended) = half_broken().await;
    let failed = world.check(&sha, "fleet / orion");
    let body = world.github.rerun(&world.repo, &failed);
    let gate = world.github.rerun(&world.repo, &world.check(&sha, "fleet"));
    for _ in 0..3 {
        assert_eq!(world.github.deliver("check_run", &body).await, Some(202));
    }
    let again =
        Delivered { guid: uuid::Uuid::now_v7().to_string(), ..world.last_delivery("check_run") };
    world.github.redeliver(&again).await;
    // "Re-run failed checks" tells of the gate as well.
    assert_eq!(world.github.deliver("check_run", &gate).await, Some(202));
    world.wait("it was tried again", |_| world.conclusions(&sha, "fleet / orion").len() == 2).await;
    world.settled(&sha, &NAMES).await;
    world.github.deliver("check_run", &body).await;
    world.caught_up().await;
    assert_eq!(count(&tries(&mended)), 2);
    assert_eq!(world.conclusions(&sha, "fleet / orion"), ["failure", "failure"]);
    assert_eq!(world.conclusions(&sha, "fleet"), ["failure", "failure"]);
}

#[tokio::test]
async fn a_host_that_did_not_evaluate_is_evaluated_again() {
    let mut world = World::new().await;
    world.start().await;
    let mended = world.directory().join("mended");
    // Evaluating it needs a build, which fails until the file is there.
    let input = format!("test -e {} || exit 3; echo > $out", mended.display());
    let toplevel = format!(
        r#"builtins.seq (builtins.readFile (mk "input" "{input}")) (mk "orion" "echo > $out")"#
    );
    let viper = Host::counted("viper", &world.directory().join("viper"));
    let sha = world.push(&[Host::new("orion", &toplevel), viper], &[]).await;
    world.settled(&sha, &NAMES).await;
    let failed = world.build_of(&sha, "orion").await;
    assert_eq!(failed["ending"]["ending"], "evaluation_failed", "{failed}");
    std::fs::write(&mended, "").unwrap();
    world.rerun(&sha, "fleet / orion").await;
    world.concluded(&sha, "fleet / orion", "success").await;
    world.concluded(&sha, "fleet", "success").await;
    assert_eq!(count(&world.directory().join("viper")), 1);
}

#[tokio::test]
async fn a_run_that_was_broken_as_a_whole_is_looked_at_again() {
    let mut world = World::new().await;
    world.start().await;
    let sha = world.push(&[], &[]).await;
    world.concluded(&sha, "fleet", "failure").await;
    world.rerun(&sha, "fleet").await;
    world.wait("it was looked at again", |_| world.conclusions(&sha, "fleet").len() == 2).await;
    world.concluded(&sha, "fleet", "failure").await;
    assert_eq!(world.conclusions(&sha, "fleet"), ["failure", "failure"]);
}

#[tokio::test]
async fn a_superseded_commit_is_tested_again_and_supersedes_nothing() {
    let mut world = World::new().await;
    let (mut hold, mut other) = (world.hold("older"), world.hold("newer"));
    world.start().await;
    let older = world.push(&[Host::held_by("orion", &hold.script())], &[]).await;
    hold.runs().await;
    let newer = world.push(&[Host::held_by("orion", &other.script())], &[]).await;
    hold.is_over().await;
    world.settled(&older, &["fleet", "fleet / orion"]).await;
    other.runs().await;
    world.rerun(&older, "fleet / orion").await;
    hold.runs().await;
    hold.let_go();
    world.concluded(&older, "fleet / orion", "success").await;
    world.concluded(&older, "fleet", "success").await;
    world.run_is(&newer, "building").await;
    other.let_go();
    world.concluded(&newer, "fleet", "success").await;
}

#[tokio::test]
async fn re_run_does_not_build_a_fork_that_nobody_approved() {
    let mut world = World::new().await;
    world.start().await;
    let touched = world.directory().join("touched");
    let sha = world.commit("topic", &[Host::counted("orion", &touched)], &[]);
    world.parked(&sha).await;
    world.rerun(&sha, "fleet").await;
    world.wait("it is shown again", |_| world.conclusions(&sha, "fleet").len() == 2).await;
    world.rerun_all(&sha, 1_800_000_000).await;
    world.wait("it is shown again", |_| world.conclusions(&sha, "fleet").len() == 3).await;
    world.concluded(&sha, "fleet", "action_required").await;
    world.caught_up().await;
    assert!(!touched.exists());
    // Nor when its commit becomes the head again.
    let next = world.commit("topic", &[Host::good("orion", "2")], &[]);
    world.pull_request("synchronize", 7, &next, From::Fork).await;
    world.concluded(&sha, "fleet", "cancelled").await;
    world.pull_request("synchronize", 7, &sha, From::Fork).await;
    world.concluded(&sha, "fleet", "action_required").await;
    world.caught_up().await;
    assert!(!touched.exists());
}

#[tokio::test]
async fn checks_of_a_host_that_is_gone_are_completed_and_block_nothing() {
    let mut world = World::new().await;
    let mut hold = world.hold("viper");
    world.start().await;
    let hosts = [Host::good("orion", "1"), Host::held_by("viper", &hold.script())];
    let older = world.commit("topic", &hosts, &[]);
    world.pull_request("opened", 7, &older, From::SameRepository).await;
    hold.runs().await;
    // Renamed.
    let hosts = [Host::good("orion", "1"), Host::good("adder", "1")];
    let newer = world.commit("topic", &hosts, &[]);
    world.pull_request("synchronize", 7, &newer, From::SameRepository).await;
    hold.is_over().await;
    world.settled(&older, &NAMES).await;
    world.settled(&newer, &["fleet", "fleet / adder", "fleet / orion"]).await;
    world.concluded(&newer, "fleet", "success").await;
}
