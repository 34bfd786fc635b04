//! Checks worth reading: one cause, what is new, what was red before, lines, and honest waiting.
use insta::assert_snapshot;

use crate::world::World;
use crate::world::fleet::{Host, flake};
use crate::world::github::{From, Options};
use crate::world::nix::TestNix;

/// A fleet whose hosts `a` and `b` need one derivation that does not build.
fn with_broken_dependency(system: &str) -> String {
    let needs =
        |name: &str| Host::new(name, &format!(r#"mk "{name}" "echo ${{dependency}} > $out""#));
    let text = flake(system, &[needs("a"), needs("b"), Host::good("c", "1")]);
    let dependency = "    dependency = mk \"python3.13-foo\" \"echo one test failed; exit 1\";\n";
    text.replacen("    host = ", &format!("{dependency}    host = "), 1)
}

#[tokio::test]
async fn two_hosts_that_need_one_failing_derivation_are_one_headline() {
    let mut world = World::new().await;
    world.start().await;
    let text = with_broken_dependency(world.system());
    let sha = world.repo.commit("main", "x", &[("flake.nix", &text)]);
    world.announce("main", &sha).await;
    world.settled(&sha, &["fleet", "fleet / a", "fleet / b", "fleet / c"]).await;
    let gate = world.check(&sha, "fleet");
    assert_snapshot!(gate.title, @"1 of 3 hosts build; python3.13-foo failed and stops 2 hosts");
    assert_eq!(gate.text.matches("one test failed").count(), 1, "{}", gate.text);
    assert_eq!(gate.summary.matches("needs python3.13-foo").count(), 2, "{}", gate.summary);
    let (_, log) = gate.text.split_once("[The whole log](").unwrap();
    let (status, log) = world.get(log.split(')').next().unwrap()).await;
    assert_eq!(status, 200);
    assert!(log.contains("one test failed"), "{log}");
    let (_, page) = world.get(&gate.details_url).await;
    assert!(page.contains("python3.13-foo failed and stops 2 hosts"), "{page}");
}

#[tokio::test]
async fn a_host_that_was_red_before_is_told_apart_from_one_that_broke_now() {
    let mut world = World::new().await;
    world.start().await;
    let hosts = [Host::good("orion", "1"), Host::broken("viper"), Host::good("gone", "1")];
    let names = ["fleet", "fleet / orion", "fleet / viper"];
    let policy = |text: &'static str| [("fleetcheck.toml", text)];
    let lax = "[build]\nexclude = [\"nixosConfigurations.gone\"]\n\
               [gate]\nexisting_failures = \"ignore\"\n";
    let base = world.push(&hosts, &policy("[gate]\nexisting_failures = \"ignore\"\n")).await;
    world.settled(&base, &["fleet", "fleet / orion", "fleet / viper", "fleet / gone"]).await;
    // Without a base of its own nothing excuses it.
    assert_eq!(world.check(&base, "fleet").conclusion.as_deref(), Some("failure"));
    let again = [Host::good("orion", "2"), Host::broken("viper"), Host::good("late", "1")];
    let with_late = ["fleet", "fleet / orion", "fleet / viper", "fleet / late"];
    let head = world.commit("topic", &again, &policy(lax));
    world.pull_request("opened", 7, &head, From::SameRepository).await;
    world.settled(&head, &with_late).await;
    let gate = world.check(&head, "fleet");
    assert_eq!(gate.conclusion.as_deref(), Some("success"), "{gate:#?}");
    assert_snapshot!(gate.title, @r###"
2 of 3 hosts build; viper (red before this change, does not block): builder failed with exit code 3
"###);
    let (_, compared) = gate.summary.split_once("Against the base commit ").unwrap();
    assert_snapshot!(compared.replace(&base[..7], "BASE"), @r###"
BASE:

- red before this change (does not block: gate.existing\_failures is "ignore"): viper
- appeared: late
- vanished: gone
"###);
    assert_eq!(world.check(&head, "fleet / viper").conclusion.as_deref(), Some("failure"));
    // As a rule it blocks, and is told apart all the same.
    let strict = "[build]\nexclude = [\"nixosConfigurations.gone\"]\n";
    let broken = [Host::broken("orion"), Host::broken("viper")];
    let head = world.commit("topic", &broken, &policy(strict));
    world.pull_request("synchronize", 7, &head, From::SameRepository).await;
    world.settled(&head, &names).await;
    let gate = world.check(&head, "fleet");
    assert_eq!(gate.conclusion.as_deref(), Some("failure"));
    assert_snapshot!(gate.title, @r###"
0 of 2 hosts build; orion (newly broken): builder failed with exit code 3; 1 more fails
"###);
    let run = world.url(&format!("/api/v1/runs?repo=acme/fleet&sha={head}"));
    let runs: serde_json::Value = serde_json::from_str(&world.get(&run).await.1).unwrap();
    let run = world.url(&format!("/api/v1/runs/{}", runs["runs"][0]["id"].as_str().unwrap()));
    let run: serde_json::Value = serde_json::from_str(&world.get(&run).await.1).unwrap();
    assert_eq!(run["base"], serde_json::json!({ "sha": base, "tested": "whole" }));
    let compared: Vec<_> = run["builds"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (it["name"].as_str().unwrap(), it["against_base"].as_str().unwrap()))
        .collect();
    assert_eq!(compared, [("orion", "newly_broken"), ("viper", "red_before")]);
}

#[tokio::test]
async fn a_gate_waits_for_a_base_commit_that_may_excuse_it() {
    let mut world = World::new().await;
    let mut hold = world.hold("viper");
    world.start().await;
    let lax = [("fleetcheck.toml", "[gate]\nexisting_failures = \"ignore\"\n")];
    let slow = Host::script("viper", &format!("{}; exit 3", hold.script()));
    let base = world.push(&[Host::good("orion", "1"), slow], &lax).await;
    hold.runs().await;
    let head = world.commit("topic", &[Host::good("orion", "1"), Host::broken("viper")], &lax);
    world.pull_request("opened", 7, &head, From::SameRepository).await;
    world.concluded(&head, "fleet / viper", "failure").await;
    let waits = format!("waits for the base commit {}, which is being tested", &base[..7]);
    world
        .wait("the gate says what it waits for", |github| {
            let gate = github.check_run(world.repo.id, &head, "fleet");
            gate.is_some_and(|it| it.status == "in_progress" && it.title.starts_with(&waits))
        })
        .await;
    hold.let_go();
    world.concluded(&base, "fleet", "failure").await;
    world.concluded(&head, "fleet", "success").await;
    world.assert_nothing_doubled(&head);
}

#[tokio::test]
async fn a_base_commit_that_was_not_tested_is_not_guessed_at() {
    let mut world = World::new().await;
    world.start().await;
    let policy = [("fleetcheck.toml", "[gate]\nexisting_failures = \"ignore\"\n")];
    let base = world.commit("main", &[Host::broken("viper")], &[]);
    let head = world.commit("topic", &[Host::broken("viper")], &policy);
    world.pull_request("opened", 7, &head, From::SameRepository).await;
    world.settled(&head, &["fleet", "fleet / viper"]).await;
    let gate = world.check(&head, "fleet");
    assert_eq!(gate.conclusion.as_deref(), Some("failure"), "{gate:#?}");
    let said = format!("The base commit {} was not tested here.", &base[..7]);
    assert!(gate.summary.contains(&said), "{}", gate.summary);
}

#[tokio::test]
async fn a_warning_of_several_hosts_is_one_annotation_on_its_line() {
    let mut world = World::new().await;
    world.start().await;
    // As `lib.warn` and the module system write it.
    let warns = |name: &str| {
        let text = "evaluation warning: `services.foo' in ${toString ./common.nix}:3: was renamed";
        Host::new(name, &format!(r#"builtins.trace "{text}" (mk "{name}" "echo > $out")"#))
    };
    let throws = |name: &str| Host::new(name, "import ./common.nix");
    let hosts = [warns("a"), warns("b"), warns("c"), throws("x"), throws("y")];
    for (dir, path) in [("", "common.nix"), ("nix/fleet/", "nix/fleet/common.nix")] {
        let text = flake(world.system(), &hosts);
        let policy = match dir {
            "" => String::new(),
            dir => format!("[build]\nflake = \"{dir}\"\n"),
        };
        let files = [
            (format!("{dir}flake.nix"), text),
            (format!("{dir}common.nix"), "\n\n\nthrow \"gone\"\n".to_owned()),
            ("fleetcheck.toml".to_owned(), policy),
        ];
        let files: Vec<(&str, &str)> =
            files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
        let sha = world.repo.commit("main", "x", &files);
        world.announce("main", &sha).await;
        let names = ["fleet", "fleet / a", "fleet / b", "fleet / c", "fleet / x", "fleet / y"];
        world.settled(&sha, &names).await;
        let gate = world.check(&sha, "fleet");
        let title = "3 of 5 hosts build; 2 hosts do not evaluate: gone";
        assert!(gate.title.starts_with(title), "{}", gate.title);
        let warning = format!("{path}:3: evaluation warning (3 hosts)");
        assert!(gate.annotations.contains(&warning), "{gate:#?}");
        let error = format!("{path}:4: 2 hosts do not evaluate");
        assert!(gate.annotations.contains(&error), "{gate:#?}");
        assert_eq!(gate.annotations.len(), 2, "{gate:#?}");
        let host = world.check(&sha, "fleet / a");
        assert!(host.text.contains("was renamed") && host.annotations.is_empty(), "{host:#?}");
    }
}

#[tokio::test]
async fn a_warning_that_names_no_file_stands_where_its_text_does() {
    let mut world = World::new().await;
    world.start().await;
    let common = "{ name }:\n\nbuiltins.warn \"the old way of naming hosts goes away\" name\n";
    let warns = |name: &str| {
        let value = format!(r#"import ./common.nix {{ name = "{name}"; }}"#);
        Host::new(name, &format!(r#"mk ({value}) "echo > $out""#))
    };
    let sha = world.push(&[warns("a"), warns("b")], &[("common.nix", common)]).await;
    world.settled(&sha, &["fleet", "fleet / a", "fleet / b"]).await;
    let gate = world.check(&sha, "fleet");
    assert_eq!(gate.annotations, ["common.nix:3: evaluation warning (2 hosts)"], "{gate:#?}");
}

#[tokio::test]
async fn a_host_that_warns_before_it_fails_shows_both() {
    for nix in TestNix::all() {
        let mut world = World::with(nix, Options::default()).await;
        world.start().await;
        let text = "evaluation warning: `services.foo' in ${toString ./common.nix}:3: was renamed";
        let fails = format!(r#"builtins.trace "{text}" (throw "gone for good")"#);
        let hosts = [Host::new("a", &fails), Host::good("b", "1")];
        let sha = world.push(&hosts, &[("common.nix", "\n\n\n")]).await;
        world.settled(&sha, &["fleet", "fleet / a", "fleet / b"]).await;
        let gate = world.check(&sha, "fleet");
        assert!(gate.title.contains("gone for good"), "{}", gate.title);
        let warning = "common.nix:3: evaluation warning".to_owned();
        assert!(gate.annotations.iter().any(|it| it.starts_with(&warning)), "{gate:#?}");
        let host = world.check(&sha, "fleet / a");
        assert!(host.text.contains("was renamed"), "{host:#?}");
        let build = host.details_url.replace("/builds/", "/api/v1/builds/");
        let json: serde_json::Value = serde_json::from_str(&world.get(&build).await.1).unwrap();
        assert_eq!(json["warnings"].as_array().map(Vec::len), Some(1), "{json}");
    }
}

#[tokio::test]
async fn a_queued_host_says_its_place() {
    let mut world = World::new().await;
    let mut hold = world.hold("all");
    world.start().await;
    // Two of them take the slots, whichever are evaluated first; the others wait.
    let names = ["a", "b", "c", "d"];
    let sha = world.push(&names.map(|it| Host::held_by(it, &hold.script())), &[]).await;
    let place = format!("waits for a builder: place 2 of 2 for {}", world.system());
    world
        .wait("the last in the queue says so", |github| {
            names.iter().any(|it| {
                let check = github.check_run(world.repo.id, &sha, &format!("fleet / {it}"));
                check.is_some_and(|it| it.status == "queued" && it.title == place)
            })
        })
        .await;
    world
        .wait("the gate says the same", |github| {
            let gate = github.check_run(world.repo.id, &sha, "fleet").unwrap();
            gate.summary.contains("place 2 of 2 for")
        })
        .await;
    for _ in names {
        hold.let_go();
    }
    world.concluded(&sha, "fleet", "success").await;
}
