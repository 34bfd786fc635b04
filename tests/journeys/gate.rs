//! The gate: required hosts count, and what is not known to be good does not pass.
use std::fmt::Write as _;

use insta::assert_snapshot;

use crate::world::World;
use crate::world::fleet::{Host, flake};
use crate::world::github::{Fault, From, Operation};

async fn pushed(hosts: &[Host], policy: &str, names: &[&str]) -> (World, String) {
    let mut world = World::new().await;
    world.start().await;
    let sha = world.push(hosts, &[("fleetcheck.toml", policy)]).await;
    world.settled(&sha, names).await;
    (world, sha)
}

#[tokio::test]
async fn an_optional_host_s_failure_does_not_fail_the_gate() {
    let hosts = [Host::good("orion", "1"), Host::broken("viper"), Host::throws("raider", "no")];
    let names = ["fleet", "fleet / orion", "fleet / raider", "fleet / viper"];
    let (world, sha) = pushed(&hosts, "[gate]\nrequired = [\"orion\"]\n", &names).await;
    // The gate does not wait for the others, and shows what became of them when it is due again.
    world
        .wait("the gate tells of both", |github| {
            let gate = github.check_run(world.repo.id, &sha, "fleet");
            gate.is_some_and(|it| it.title.contains("1 more fails"))
        })
        .await;
    assert_snapshot!(world.checks(&sha), @r"
    fleet: success: 1 required host builds; raider (not required): no; 1 more fails
    fleet / orion: success: built in a moment
    fleet / raider: failure: no
    fleet / viper: failure: viper failed to build: builder failed with exit code 3
    ");
    world.wait("the status is set", |_| world.status(&sha).contains("success")).await;
}

#[tokio::test]
async fn a_required_host_that_does_not_exist_fails_the_gate() {
    let policy = "[gate]\nrequired = [\"orion\", \"pegasus\"]\n";
    let (world, sha) =
        pushed(&[Host::good("orion", "1")], policy, &["fleet", "fleet / orion"]).await;
    assert_snapshot!(world.checks(&sha), @r"
    fleet: failure: required but not in the flake: pegasus
    fleet / orion: success: built in a moment
    ");
}

#[tokio::test]
async fn the_required_hosts_can_come_from_the_flake_itself() {
    let mut world = World::new().await;
    world.start().await;
    let hosts = [Host::good("orion", "1"), Host::broken("viper")];
    let with_tiers = |tiers: &str| {
        let text = flake(world.system(), &hosts);
        text.replacen("  in {\n", &format!("  in {{\n    tiers.tier1 = {tiers};\n"), 1)
    };
    let policy = ("fleetcheck.toml", "[gate]\nrequired_from = \"tiers.tier1\"\n");
    let names = ["fleet", "fleet / orion", "fleet / viper"];
    for (tiers, gate) in [
        (r#"[ "orion" ]"#, "success: 1 required host builds"),
        (r#"[ "viper" ]"#, "failure: 0 of 1 required host builds"),
        (r#"[ "orion" "pegasus" ]"#, "failure: required but not in the flake: pegasus"),
        ("[ ]", "failure: no required host found"),
    ] {
        let text = with_tiers(tiers);
        let sha = world.repo.commit("main", "x", &[("flake.nix", &text), policy]);
        world.announce("main", &sha).await;
        world.settled(&sha, &names).await;
        let check = world.check(&sha, "fleet");
        let shown = format!("{}: {}", check.conclusion.unwrap(), check.title);
        assert_eq!(shown.split(';').next(), Some(gate), "{tiers}");
    }
    // Without that output, nothing can be judged.
    let sha = world.commit("main", &hosts, &[policy]);
    world.announce("main", &sha).await;
    world.settled(&sha, &["fleet"]).await;
    let check = world.check(&sha, "fleet");
    assert_eq!(check.conclusion.as_deref(), Some("failure"));
    assert_snapshot!(check.title, @"the flake does not evaluate: gate.required_from: the flake has no output `tiers.tier1`");
}

#[tokio::test]
async fn a_host_that_a_superseded_push_took_away_is_missed_by_the_next() {
    let mut world = World::new().await;
    world.start().await;
    let base = world.push(&[Host::good("orion", "1"), Host::good("viper", "1")], &[]).await;
    world.settled(&base, &["fleet", "fleet / orion", "fleet / viper"]).await;
    // Its hosts are never listed: it is superseded while it waits to be fetched again.
    world.github.fail_next(Operation::Git, Fault::Status(503), 1);
    let took_away = world.push(&[Host::good("orion", "2")], &[]).await;
    world
        .wait("it could not be fetched", |github| {
            github.calls().iter().any(|it| it.operation == Operation::Git && it.status == 503)
        })
        .await;
    let next = world.push(&[Host::good("orion", "3")], &[]).await;
    world.settled(&next, &["fleet", "fleet / orion"]).await;
    assert_eq!(world.check(&took_away, "fleet").conclusion.as_deref(), Some("cancelled"));
    assert_eq!(world.check(&next, "fleet").title, "required hosts that vanished: viper");
    assert_eq!(world.check(&next, "fleet").conclusion.as_deref(), Some("failure"));
}

#[tokio::test]
async fn a_required_host_that_vanished_fails_the_gate() {
    let mut world = World::new().await;
    world.start().await;
    let base = world.push(&[Host::good("orion", "1"), Host::good("viper", "1")], &[]).await;
    world.settled(&base, &["fleet", "fleet / orion", "fleet / viper"]).await;
    let names = ["fleet", "fleet / orion"];
    let sha = world.commit("topic", &[Host::good("orion", "1")], &[]);
    world.pull_request("opened", 7, &sha, From::SameRepository).await;
    world.settled(&sha, &names).await;
    assert_eq!(world.check(&sha, "fleet").title, "required hosts that vanished: viper");
    assert_eq!(world.check(&sha, "fleet").conclusion.as_deref(), Some("failure"));
    // On purpose, it says so in the same change.
    let policy = ("fleetcheck.toml", "[build]\nexclude = [\"nixosConfigurations.viper\"]\n");
    let on_purpose = world.commit("topic", &[Host::good("orion", "1")], &[policy]);
    world.pull_request("synchronize", 7, &on_purpose, From::SameRepository).await;
    world.settled(&on_purpose, &names).await;
    assert_eq!(world.check(&on_purpose, "fleet").conclusion.as_deref(), Some("success"));
}

#[tokio::test]
async fn a_flake_without_hosts_fails_the_gate() {
    let (world, sha) = pushed(&[], "", &["fleet"]).await;
    assert_snapshot!(world.checks(&sha), @"fleet: failure: no host found: nothing was built");
    world.wait("the status is set", |_| world.status(&sha).contains("failure")).await;
}

#[tokio::test]
async fn a_repository_without_a_flake_fails_the_gate() {
    let mut world = World::new().await;
    world.start().await;
    let sha = world.repo.commit("main", "x", &[("README", "nothing here")]);
    world.announce("main", &sha).await;
    world.settled(&sha, &["fleet"]).await;
    let check = world.check(&sha, "fleet");
    assert_eq!(check.conclusion.as_deref(), Some("failure"));
    assert_snapshot!(check.title, @"the flake does not evaluate: path 'flake.nix' does not exist");
}

#[tokio::test]
async fn a_flake_that_does_not_parse_fails_the_gate_with_its_line() {
    let mut world = World::new().await;
    world.start().await;
    let sha = world.repo.commit("main", "x", &[("flake.nix", "{\n  outputs = { self }: {\n")]);
    world.announce("main", &sha).await;
    world.settled(&sha, &["fleet"]).await;
    let check = world.check(&sha, "fleet");
    assert_eq!(check.conclusion.as_deref(), Some("failure"));
    assert_snapshot!(format!("{}\n{:?}", check.title, check.annotations), @r#"
    the flake does not evaluate: syntax error, unexpected end of file, expecting 'inherit'
    ["flake.nix:3: nothing could be built"]
    "#);
}

#[tokio::test]
async fn a_policy_that_is_not_understood_fails_the_gate_with_file_and_line() {
    let mut world = World::new().await;
    world.start().await;
    let mut seen = String::new();
    for (file, policy) in [
        ("fleetcheck.toml", "[gate]\nrequird = [\"orion\"]\n"),
        ("fleetcheck.toml", "[gate]\n\nrequired = 7\n"),
        ("fleetcheck.toml", "[build]\noutputs = [\n"),
    ] {
        let sha = world.push(&[Host::good("orion", "1")], &[(file, policy)]).await;
        world.settled(&sha, &["fleet"]).await;
        let check = world.check(&sha, "fleet");
        assert_eq!(check.conclusion.as_deref(), Some("failure"));
        writeln!(seen, "{}\n  {}", check.title, check.annotations.join(", ")).unwrap();
    }
    assert_snapshot!(seen, @r"
    fleetcheck.toml line 2: unknown key `requird`; did you mean `required`? (in [gate]: required, required_from, existing_failures)
      fleetcheck.toml:2: nothing could be built
    fleetcheck.toml line 3: `gate.required` must be a list of texts; found a number
      fleetcheck.toml:3: nothing could be built
    fleetcheck.toml line 2: is not valid TOML: unclosed array, expected `]`
      fleetcheck.toml:2: nothing could be built
    ");
}

#[tokio::test]
async fn the_policy_is_that_of_the_commit() {
    let mut world = World::new().await;
    world.start().await;
    let hosts = [Host::good("orion", "1"), Host::broken("viper")];
    let names = ["fleet", "fleet / orion", "fleet / viper"];
    let strict = world.push(&hosts, &[]).await;
    world.settled(&strict, &names).await;
    assert_eq!(world.check(&strict, "fleet").conclusion.as_deref(), Some("failure"));
    let policy = (".github/fleetcheck.toml", "[gate]\nrequired = [\"orion\"]\n");
    let mild = world.commit("topic", &hosts, &[policy]);
    world.pull_request("opened", 7, &mild, From::SameRepository).await;
    world.settled(&mild, &names).await;
    assert_eq!(world.check(&mild, "fleet").conclusion.as_deref(), Some("success"));
}

#[tokio::test]
async fn other_outputs_than_hosts_are_built_too() {
    let mut world = World::new().await;
    world.start().await;
    let text = flake(world.system(), &[Host::good("orion", "1")]);
    let system = world.system().to_owned();
    let more = format!(
        "  in {{\n    checks.{system}.lint = mk \"lint\" \"echo > $out\";\n    \
         hydraJobs.a.b = mk \"deep\" \"echo > $out\";\n"
    );
    let text = text.replacen("  in {\n", &more, 1);
    let policy = format!(
        "[build]\noutputs = [\"nixosConfigurations.*\", \"checks.{system}.*\", \"hydraJobs.**\"]\n"
    );
    let sha = world.repo.commit("main", "x", &[("flake.nix", &text), ("fleetcheck.toml", &policy)]);
    world.announce("main", &sha).await;
    let lint = format!("fleet / checks.{system}.lint");
    world.settled(&sha, &["fleet", "fleet / orion", "fleet / hydraJobs.a.b", &lint]).await;
    assert_eq!(world.check(&sha, "fleet").title, "3 outputs build");
}

#[tokio::test]
async fn the_flake_can_lie_in_a_folder() {
    let mut world = World::new().await;
    world.start().await;
    let text = flake(world.system(), &[Host::good("orion", "1")]);
    let policy = ("fleetcheck.toml", "[build]\nflake = \"nix/fleet\"\n");
    let sha = world.repo.commit("main", "x", &[("nix/fleet/flake.nix", &text), policy]);
    world.announce("main", &sha).await;
    world.settled(&sha, &["fleet", "fleet / orion"]).await;
    assert_eq!(world.check(&sha, "fleet").conclusion.as_deref(), Some("success"));
}

/// What the base branch did since is not the pull request's doing, whichever way it went.
#[tokio::test]
async fn a_pull_request_is_judged_by_the_commit_at_which_it_left_its_base() {
    let mut world = World::new().await;
    world.start().await;
    let fork = world.push(&[Host::good("orion", "1"), Host::good("viper", "1")], &[]).await;
    world.settled(&fork, &["fleet", "fleet / orion", "fleet / viper"]).await;
    let hosts = [Host::throws("orion", "gtk-engine-murrine was removed"), Host::good("viper", "1")];
    let head = world.commit_onto(Some(&fork), "topic", &hosts);
    // Later the base branch is red, has lost a host, and has a new one.
    let hosts = [Host::throws("orion", "another reason"), Host::good("raider", "1")];
    let main = world.push(&hosts, &[]).await;
    world.settled(&main, &["fleet", "fleet / orion", "fleet / raider"]).await;
    world.pull_request("opened", 7, &head, From::SameRepository).await;
    world.settled(&head, &["fleet", "fleet / orion", "fleet / viper"]).await;
    let gate = world.check(&head, "fleet");
    let compared = format!("Against the base commit {}:\n\n- newly broken: orion\n", &fork[..7]);
    assert!(format!("{}\n", gate.summary).contains(&compared), "{}", gate.summary);
    for word in ["red before", "appeared", "vanished", "raider"] {
        assert!(!gate.summary.contains(word), "{word}: {}", gate.summary);
    }
}
