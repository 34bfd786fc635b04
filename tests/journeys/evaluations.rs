//! Evaluations beside each other, and beside the builds that they lead to.
use serde_json::Value;

use crate::world::World;
use crate::world::fleet::Host;
use crate::world::github::{From, Options};
use crate::world::nix::TestNix;

/// The hosts of a fleet of twenty, and the names of their checks.
fn names() -> (Vec<String>, Vec<String>) {
    let hosts: Vec<String> = (0..20).map(|n| format!("host-{n:02}")).collect();
    let checks = hosts.iter().map(|it| format!("fleet / {it}")).chain(["fleet".to_owned()]);
    (hosts.clone(), checks.collect())
}

#[tokio::test]
async fn builds_start_while_other_hosts_are_still_evaluated() {
    for nix in TestNix::all() {
        let mut world = World::with(nix, Options::default()).await;
        let (mut building, mut evaluating) = (world.hold("build"), world.hold("evaluation"));
        world.start().await;
        let (names, checks) = names();
        let held = |name: &String| Host::evaluated_when(name, &evaluating.script());
        let mut hosts: Vec<Host> = names.iter().map(held).collect();
        hosts[0] = Host::held_by("host-00", &building.script());
        let sha = world.push(&hosts, &[]).await;
        evaluating.runs().await;
        building.runs().await;
        world
            .wait("host-00 is shown as being built", |github| {
                let check = github.check_run(world.repo.id, &sha, "fleet / host-00");
                check.is_some_and(|it| it.status == "in_progress")
            })
            .await;
        for name in &checks[1..20] {
            assert_eq!(world.check(&sha, name).status, "queued", "{name}");
        }
        building.let_go();
        hosts[1..].iter().for_each(|_| evaluating.let_go());
        let checks: Vec<&str> = checks.iter().map(String::as_str).collect();
        world.settled(&sha, &checks).await;
        assert_eq!(world.check(&sha, "fleet").title, "20 hosts build");
    }
}

#[tokio::test]
async fn a_host_that_outgrows_its_share_is_tried_with_the_whole_budget_and_then_known() {
    for nix in TestNix::all() {
        let mut world = World::with(nix, Options::default())
            .await
            .setting("evaluations = 4")
            .setting("memory = \"1 GiB\"");
        world.start().await;
        let names = ["fleet", "fleet / heavy", "fleet / orion"];
        let tried_again = "it is tried again with all of nix.memory (1.0 GiB)";
        for content in ["1", "2"] {
            let hosts = [Host::heavy("heavy", content), Host::good("orion", content)];
            let sha = world.push(&hosts, &[]).await;
            world.settled(&sha, &names).await;
            assert_eq!(world.check(&sha, "fleet").title, "2 hosts build");
            // A quarter of the budget is not enough for it; the second time it is known.
            assert_eq!(world.log().matches(tried_again).count(), 1, "push {content}");
        }
    }
}

#[tokio::test]
async fn what_is_known_to_be_too_large_together_is_evaluated_apart_and_a_small_one_beside_it() {
    for nix in TestNix::all() {
        // Either large one and the small one fit, both large ones do not.
        let mut world = World::with(nix, Options::default()).await.setting("memory = \"640 MiB\"");
        let (mut a, mut b) = (world.hold("a"), world.hold("b"));
        world.start().await;
        let names = ["fleet", "fleet / heavy-a", "fleet / heavy-b", "fleet / small"];
        let fleet = |a: &str, b: &str, content: &str| {
            [Host::heavy("heavy-a", a), Host::heavy("heavy-b", b), Host::good("small", content)]
        };
        let first = world.push(&fleet("1", "1", "1"), &[]).await;
        world.settled(&first, &names).await;
        let held = (Host::gate("a", &a.script()), Host::gate("b", &b.script()));
        let second = world.push(&fleet(&held.0, &held.1, "2"), &[]).await;
        let (running, waiting) = tokio::select! {
            () = a.runs() => (&mut a, &mut b),
            () = b.runs() => (&mut b, &mut a),
        };
        world.concluded(&second, "fleet / small", "success").await;
        assert!(!waiting.has_started(), "both large ones were evaluated at once");
        running.let_go();
        waiting.runs().await;
        waiting.let_go();
        world.settled(&second, &names).await;
        assert_eq!(world.check(&second, "fleet").title, "3 hosts build");
    }
}

/// Of each run of a commit its derivations, and how many hosts were evaluated for it.
async fn evaluated(world: &World, sha: &str) -> Vec<(usize, Vec<String>)> {
    let get = async |path: &str| -> Value {
        serde_json::from_str(&world.get(&world.url(path)).await.1).unwrap()
    };
    let runs = get(&format!("/api/v1/runs?repo=acme/fleet&sha={sha}")).await;
    let mut found = Vec::new();
    for run in runs["runs"].as_array().unwrap() {
        let run = get(&format!("/api/v1/runs/{}", run["id"].as_str().unwrap())).await;
        let builds = run["builds"].as_array().unwrap();
        let derivation = |it: &Value| it["derivation"].as_str().unwrap().to_owned();
        let count = builds.iter().filter(|it| !it["evaluation"].is_null()).count();
        found.push((count, builds.iter().map(derivation).collect()));
    }
    found.sort();
    found
}

#[tokio::test]
async fn a_commit_that_was_evaluated_is_not_evaluated_for_another_run_and_its_tree_alone_is() {
    for nix in TestNix::all() {
        let mut world = World::with(nix, Options::default()).await;
        world.start().await;
        let warns =
            r#"builtins.trace "warning: orion is old" (mk "orion" "echo ${self.rev} > $out")"#;
        let hosts = [Host::new("orion", warns), Host::good("viper", "1")];
        let names = ["fleet", "fleet / orion", "fleet / viper"];
        let first = world.push(&hosts, &[]).await;
        world.settled(&first, &names).await;
        // As after a merge queue, or when a branch becomes a pull request.
        world.pull_request("opened", 7, &first, From::SameRepository).await;
        world.caught_up().await;
        world.settled(&first, &names).await;
        let runs = evaluated(&world, &first).await;
        let [(0, again), (2, built)] = &runs[..] else { panic!("{runs:?}") };
        assert_eq!(again, built);
        let check = world.check(&first, "fleet / orion");
        assert!(check.text.contains("orion is old"), "{}", check.text);

        // The same tree, and another `self.rev`.
        let second = world.push(&hosts, &[]).await;
        world.settled(&second, &names).await;
        let runs = evaluated(&world, &second).await;
        let [(2, other)] = &runs[..] else { panic!("{runs:?}") };
        assert!(other[0] != built[0] && other[1] == built[1], "{other:?} {built:?}");
        let attr = format!(
            "git+file://{}?ref=main&rev={second}#nixosConfigurations.orion.config.system.build.toplevel.drvPath",
            world.repo.directory().display()
        );
        assert_eq!(world.nix.output("nix", ["eval", "--raw", &attr]), other[0]);
    }
}
