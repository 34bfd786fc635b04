//! A failure is remembered, the weather is not, and what fails now and then is counted.
use std::path::{Path, PathBuf};

use insta::assert_snapshot;

use crate::world::World;
use crate::world::fleet::Host;

const NAMES: [&str; 3] = ["fleet", "fleet / orion", "fleet / viper"];

fn tries(mended: &Path) -> PathBuf {
    mended.with_extension("tries")
}

fn count(mended: &Path) -> usize {
    std::fs::read_to_string(tries(mended)).unwrap_or_default().lines().count()
}

/// Notes each try, and fails until the file is there.
fn broken(name: &str, mended: &Path) -> Host {
    let (tries, mended) = (tries(mended), mended.display().to_string());
    Host::script(
        name,
        &format!("echo x >> {}; test -e {mended} || exit 3; echo > $out", tries.display()),
    )
}

#[tokio::test]
async fn what_failed_for_one_run_fails_at_once_for_the_next_until_somebody_presses_re_run() {
    let mut world = World::new().await;
    world.start().await;
    let mended = world.directory().join("mended");
    let first = world.push(&[broken("orion", &mended), Host::good("viper", "1")], &[]).await;
    world.settled(&first, &NAMES).await;
    let second = world.push(&[broken("orion", &mended), Host::good("viper", "2")], &[]).await;
    world.settled(&second, &NAMES).await;
    assert_eq!(count(&mended), 1, "what is known is not built again");
    assert_snapshot!(world.checks(&second), @r"
    fleet: failure: 1 of 2 hosts build; orion (red before this change): builder failed with exit code 3
    fleet / orion: failure: orion failed to build: builder failed with exit code 3; failed before
    fleet / viper: success: built in a moment; no package changes
    ");
    let text = world.check(&second, "fleet / orion").text;
    let told = format!(" for {}, and was not built again; re-run to try again.", &first[..7]);
    assert!(text.contains("It failed before, at ") && text.contains(&told), "{text}");
    // It says no and then yes to the same question: that is flaky, and worth counting.
    std::fs::write(&mended, "").unwrap();
    world.rerun(&second, "fleet / orion").await;
    world.concluded(&second, "fleet / orion", "success").await;
    world.concluded(&second, "fleet", "success").await;
    assert_eq!(count(&mended), 2);
    let build = world.build_of(&second, "orion").await;
    assert_eq!(build["flaky"], 1, "{build:#}");
    let summary = world.check(&second, "fleet / orion").summary;
    assert!(
        summary.contains("| flaky | once failed and then passed with the same derivation"),
        "{summary}"
    );
}

#[tokio::test]
async fn a_second_attempt_says_what_became_of_the_first() {
    let mut world = World::new().await;
    world.start().await;
    let once = world.directory().join("once");
    let script =
        format!("test -e {0} && echo > $out || {{ echo > {0}; kill -9 $$; }}", once.display());
    let sha = world.push(&[Host::script("orion", &script)], &[]).await;
    world.settled(&sha, &["fleet", "fleet / orion"]).await;
    let check = world.check(&sha, "fleet / orion");
    assert_eq!(check.conclusion.as_deref(), Some("success"));
    assert!(check.title.starts_with("attempt 2: built in"), "{}", check.title);
    let told = "| attempts | 2; the one before on local: ";
    assert!(check.summary.contains(told), "{}", check.summary);
    assert!(check.summary.contains("builder failed due to signal 9"), "{}", check.summary);
    let build = world.build_of(&sha, "orion").await;
    assert_eq!(build["flaky"], 0, "the weather is not the host's");
}

#[tokio::test]
async fn retries_and_the_memory_can_be_switched_off() {
    let mut world = World::new().await.setting("retries = 0").setting("failure_memory = \"0s\"");
    world.start().await;
    let mended = world.directory().join("mended");
    let hosts = [broken("orion", &mended), Host::script("viper", "kill -9 $$")];
    let first = world.push(&hosts, &[]).await;
    world.settled(&first, &NAMES).await;
    let check = world.check(&first, "fleet / viper");
    assert!(check.title.starts_with("no answer, and nobody's fault"), "{}", check.title);
    let second = world.push(&[broken("orion", &mended), Host::good("viper", "2")], &[]).await;
    world.settled(&second, &NAMES).await;
    assert_eq!(count(&mended), 2, "nothing is remembered");
}

/// Its toplevel needs another derivation, which notes each try and fails until the file is there.
fn needs_broken(name: &str, mended: &Path) -> Host {
    let (tries, mended) = (tries(mended), mended.display().to_string());
    let script = format!("echo x >> {}; test -e {mended} || exit 3; echo > $out", tries.display());
    Host::new(
        name,
        &format!(r#"mk "{name}" "read x < ${{mk "gtk-engine" "{script}"}}; echo {name} > $out""#),
    )
}

#[tokio::test]
async fn what_several_hosts_need_is_not_built_again_either_until_somebody_presses_re_run() {
    let mut world = World::new().await;
    world.start().await;
    let mended = world.directory().join("mended");
    let first = world.push(&[needs_broken("orion", &mended)], &[]).await;
    world.settled(&first, &["fleet", "fleet / orion"]).await;
    assert_eq!(count(&mended), 1);
    // Other hosts, with derivations of their own that need the same.
    let others =
        [Host::good("orion", "2"), needs_broken("raider", &mended), needs_broken("viper", &mended)];
    let second = world.push(&others, &[]).await;
    world.settled(&second, &["fleet", "fleet / orion", "fleet / raider", "fleet / viper"]).await;
    assert_eq!(count(&mended), 1, "what is known is not built again");
    assert_snapshot!(world.checks(&second), @r"
    fleet: failure: 1 of 3 hosts build; gtk-engine failed and stops 2 hosts, newly broken
    fleet / orion: success: built in a moment
    fleet / raider: failure: gtk-engine failed to build: builder failed with exit code 3; failed before
    fleet / viper: failure: gtk-engine failed to build: builder failed with exit code 3; failed before
    ");
    let text = world.check(&second, "fleet / viper").text;
    let told = format!(" for {}, and was not built again; re-run to try again.", &first[..7]);
    assert!(text.contains("It failed before, at ") && text.contains(&told), "{text}");

    std::fs::write(&mended, "").unwrap();
    world.rerun(&second, "fleet / viper").await;
    world.concluded(&second, "fleet / viper", "success").await;
    assert_eq!(count(&mended), 2);
    // It builds by now, so nobody is told that it does not.
    let third = world.push(&[needs_broken("starbuck", &mended)], &[]).await;
    world.settled(&third, &["fleet", "fleet / starbuck"]).await;
    world.concluded(&third, "fleet / starbuck", "success").await;
}
