//! What one instance evaluates is built by another, which copies it from its Nix store.
use std::path::Path;
use std::time::Duration;

use crate::builders::{foreign, has};
use crate::postgres::world;
use crate::world::World;
use crate::world::fleet::Host;
use crate::world::machine::Machine;
use crate::world::system::System;

/// An instance that builds, and one that does everything else on a machine of its own.
async fn apart(schema: &str) -> (World, World, Machine) {
    let builds = world(schema).await;
    let machine = Machine::start(&builds.nix, "eval-1", &[builds.system()]);
    let evaluates = beside(&builds, &machine);
    (builds.roles("build"), evaluates, machine)
}

/// An instance on this machine that does everything but building, and takes deliveries in.
fn beside(builds: &World, machine: &Machine) -> World {
    let evaluates = builds.beside_on(machine).roles("intake,evaluate,report,recover");
    builds.github.set_webhook(&evaluates.url("/webhook"));
    evaluates
}

#[tokio::test]
async fn one_instance_evaluates_and_another_builds_here_and_on_its_machines() {
    let (mut builds, mut evaluates, machine) = apart("lent").await;
    let basestar = Machine::start(&builds.nix, "basestar", &["aarch64-linux"]);
    builds = builds.builder(&basestar, 1);
    evaluates.start().await;
    let orion = |version: &str| {
        let openssl = format!(r#"mk "openssl-{version}" "echo {version} > $out""#);
        Host::script("orion", &format!("echo ${{{openssl}}} > $out"))
    };
    let pegasus = foreign("pegasus", "echo > $out");
    let sha = evaluates.push(&[orion("3.5.1"), pegasus.clone()], &[]).await;
    evaluates.titled(&sha, "fleet / orion", "no builder for").await;
    builds.start().await;
    let names = ["fleet", "fleet / orion", "fleet / pegasus"];
    evaluates.settled(&sha, &names).await;
    for name in names {
        let conclusion = evaluates.check(&sha, name).conclusion;
        assert_eq!(conclusion.as_deref(), Some("success"), "{name}:\n{}", builds.log());
    }
    let here = builds.nix.directory().join("store");
    let (there, far) = (machine.path(&here), basestar.path(&here));
    for name in ["orion.drv", "openssl-3.5.1.drv", "pegasus.drv"] {
        assert!(has(&here, name) && has(&there, name), "{name} was evaluated there, copied here");
    }
    assert!(has(&here, "orion") && has(&far, "pegasus"), "they are where they were built");
    assert!(!has(&there, "orion") && !has(&there, "pegasus"), "and nowhere else");

    // What is there is found there, and compared with what was before.
    let again = evaluates.push(&[orion("3.5.2"), pegasus], &[]).await;
    evaluates.settled(&again, &names).await;
    let title = evaluates.check(&again, "fleet / pegasus").title;
    assert!(title.starts_with("reused"), "{title}");
    evaluates.titled(&again, "fleet / orion", "openssl 3.5.1 to 3.5.2").await;
    assert!(builds.stop().await.success());
    assert!(evaluates.stop().await.success());
}

#[tokio::test]
async fn what_is_lent_is_built_at_home_where_a_slot_is_free_and_else_elsewhere() {
    let builds = world("lent_busy").await;
    let machine = Machine::start(&builds.nix, "eval-1", &[builds.system()]);
    let mut home = builds.beside_on(&machine);
    builds.github.set_webhook(&home.url("/webhook"));
    let mut builds = builds.roles("build");
    builds.start().await;
    home.start().await;
    let names = ["orion", "viper", "raider"];
    let mut holds = names.map(|it| builds.hold(it));
    let hosts = [0, 1, 2].map(|it| Host::held_by(names[it], &holds[it].script()));
    let sha = home.push(&hosts, &[]).await;
    for hold in &mut holds {
        hold.runs().await;
    }
    for hold in &mut holds {
        hold.let_go();
    }
    home.concluded(&sha, "fleet", "success").await;
    let here = builds.nix.directory().join("store");
    let built = |store: &Path| names.iter().filter(|it| has(store, it)).count();
    assert_eq!((built(&machine.path(&here)), built(&here)), (2, 1), "it has two slots");
}

#[tokio::test]
async fn an_instance_that_only_builds_knows_a_change_of_nothing_but_the_revision() {
    let (mut builds, mut evaluates, _machine) = apart("lent_revision").await;
    builds.start().await;
    evaluates.start().await;
    let system = System::new("orion").revision();
    let system = system.etc("echo ${toString self.lastModified} > $out/etc/made");
    let orion = Host::new("orion", &system.expression());
    let before = evaluates.push(std::slice::from_ref(&orion), &[("README", "words")]).await;
    evaluates.concluded(&before, "fleet", "success").await;
    let after = evaluates.push(&[orion], &[("README", "other words")]).await;
    evaluates.titled(&after, "fleet / orion", "nothing but the revision changes").await;
    assert!(!builds.directory().join("state/mirrors").exists(), "it has no mirror");
}

#[tokio::test]
async fn a_re_run_of_what_was_built_elsewhere_evaluates_nothing() {
    let (mut builds, mut evaluates, _machine) = apart("lent_again").await;
    builds.start().await;
    evaluates.start().await;
    let mended = builds.directory().join("mended");
    let script = format!("test -e {} || exit 3; echo > $out", mended.display());
    let sha = evaluates.push(&[Host::script("orion", &script)], &[]).await;
    evaluates.concluded(&sha, "fleet", "failure").await;
    std::fs::write(&mended, "").unwrap();
    let before = evaluations(&evaluates).await;
    evaluates.rerun(&sha, "fleet / orion").await;
    evaluates.concluded(&sha, "fleet", "success").await;
    assert_eq!(evaluations(&evaluates).await, before);
}

/// The line that says how many hosts an instance has evaluated.
async fn evaluations(world: &World) -> String {
    let (_, metrics) = world.get(&world.url("/metrics")).await;
    let line = metrics.lines().find(|it| it.starts_with("fleetcheck_evaluation_seconds_count"));
    line.unwrap().to_owned()
}

#[tokio::test]
async fn a_derivation_that_cannot_be_copied_from_where_it_was_evaluated_is_nobodys_fault() {
    let (mut builds, mut evaluates, machine) = apart("unlent").await;
    builds.start().await;
    evaluates.start().await;
    machine.stop();
    let sha = evaluates.push(&[Host::good("orion", "1")], &[]).await;
    let words = "the derivation could not be copied from where it was evaluated: the machine \
                 could not be reached";
    evaluates.titled(&sha, "fleet / orion", words).await;
    machine.start_again();
    evaluates.concluded(&sha, "fleet", "success").await;
    let title = evaluates.check(&sha, "fleet / orion").title;
    assert!(title.starts_with("attempt "), "{title}");
}

#[tokio::test]
async fn what_waits_with_a_dead_instance_is_evaluated_again_by_one_that_evaluates() {
    let (mut builds, mut evaluates, machine) = apart("unlent_for_good").await;
    evaluates.start().await;
    let sha = evaluates.push(&[Host::good("orion", "1"), Host::good("viper", "1")], &[]).await;
    evaluates.run_is(&sha, "building").await;
    evaluates.kill().await;
    machine.stop();
    let other = Machine::start(&builds.nix, "eval-2", &[builds.system()]);
    let mut next = beside(&builds, &other);
    builds.start().await;
    next.start().await;
    next.logged_within("wait with an instance that is gone", Duration::from_mins(3)).await;
    let names = ["fleet", "fleet / orion", "fleet / viper"];
    next.settled(&sha, &names).await;
    for name in names {
        let conclusion = next.check(&sha, name).conclusion;
        assert_eq!(conclusion.as_deref(), Some("success"), "{name}:\n{}", builds.log());
    }
    next.assert_nothing_doubled(&sha);
    assert!(!builds.log().contains("wait with an instance that is gone"), "it cannot evaluate");
}
