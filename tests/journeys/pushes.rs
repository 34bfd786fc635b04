//! What a push shows.
use insta::{allow_duplicates, assert_snapshot};

use crate::world::World;
use crate::world::fleet::Host;
use crate::world::github::{Between, Options};
use crate::world::nix::TestNix;

#[tokio::test]
async fn a_push_becomes_one_check_per_host() {
    for nix in TestNix::all() {
        let mut world = World::with(nix, Options::default()).await;
        world.start().await;
        let hosts = [
            Host::good("orion", "1"),
            Host::broken("viper"),
            Host::throws("raider", "gtk-engine-murrine was removed"),
        ];
        let sha = world.push(&hosts, &[]).await;
        let names = ["fleet", "fleet / orion", "fleet / raider", "fleet / viper"];
        world.settled(&sha, &names).await;
        allow_duplicates! { assert_snapshot!(world.checks(&sha), @r"
        fleet: failure: 1 of 3 hosts build; raider: gtk-engine-murrine was removed; 1 more fails
        fleet / orion: success: built in a moment
        fleet / raider: failure: gtk-engine-murrine was removed
        fleet / viper: failure: viper failed to build: builder failed with exit code 3
        ") };
        world.assert_nothing_doubled(&sha);
    }
}

#[tokio::test]
async fn a_push_that_changes_nothing_shows_every_host_as_reused() {
    for nix in TestNix::all() {
        let mut world = World::with(nix, Options::default()).await;
        world.start().await;
        let hosts = [Host::good("orion", "1"), Host::good("viper", "1")];
        let names = ["fleet", "fleet / orion", "fleet / viper"];
        let first = world.push(&hosts, &[]).await;
        world.settled(&first, &names).await;
        let second = world.push(&hosts, &[("README", "words")]).await;
        world.settled(&second, &names).await;
        allow_duplicates! { assert_snapshot!(world.checks(&second), @r"
        fleet: success: 2 hosts build
        fleet / orion: success: reused: already built
        fleet / viper: success: reused: already built
        ") };
    }
}

#[tokio::test]
async fn the_derivation_is_exactly_what_nix_build_gives_at_that_commit() {
    for nix in TestNix::all() {
        let mut world = World::with(nix, Options::default()).await;
        world.start().await;
        // What makes every commit's derivation another: the commit itself, its time and its files.
        let script =
            r#"mk "orion" "echo ${self.rev} ${toString self.lastModified} ${self} > $out""#;
        let sha = world.push(&[Host::new("orion", script)], &[]).await;
        world.settled(&sha, &["fleet", "fleet / orion"]).await;
        let attribute = "nixosConfigurations.orion.config.system.build.toplevel.drvPath";
        let flake =
            format!("git+file://{}?ref=main&rev={sha}#{attribute}", world.repo.git.display());
        let wanted = world.nix.output("nix", ["eval", "--raw", &flake]);
        let check = world.check(&sha, "fleet / orion");
        assert_eq!(check.conclusion.as_deref(), Some("success"), "{check:#?}");
        assert!(check.summary.contains(&wanted), "{wanted} is not in\n{}", check.summary);
    }
}

#[tokio::test]
async fn a_derivation_that_two_runs_want_is_built_once() {
    let mut world = World::new().await;
    let mut hold = world.hold("orion");
    let count = world.directory().join("count");
    world.start().await;
    let script = format!("{}; echo built >> {}; echo > $out", hold.script(), count.display());
    let host = [Host::script("orion", &script)];
    let pushed = world.push(&host, &[]).await;
    hold.runs().await;
    let pulled = world.commit("topic", &host, &[("README", "words")]);
    world.pull_request("opened", 1, &pulled, crate::world::github::From::SameRepository).await;
    // It is evaluated by the time that its check is there.
    world
        .wait("the pull request's host is shown", |github| {
            github.check_run(world.repo.id, &pulled, "fleet / orion").is_some()
        })
        .await;
    hold.let_go();
    for sha in [&pushed, &pulled] {
        world.settled(sha, &["fleet", "fleet / orion"]).await;
        assert_eq!(world.check(sha, "fleet").conclusion.as_deref(), Some("success"));
    }
    assert_eq!(std::fs::read_to_string(count).unwrap(), "built\n");
}

#[tokio::test]
async fn pushes_are_built_on_the_default_branch_and_those_that_the_policy_names() {
    let mut world = World::new().await;
    world.start().await;
    let policy = ("fleetcheck.toml", "[build]\nbranches = [\"release/*\"]\n");
    let hosts = [Host::good("orion", "1")];
    let topic = world.commit("topic", &hosts, &[policy]);
    world.announce("topic", &topic).await;
    let release = world.commit("release/1", &hosts, &[policy, ("README", "words")]);
    world.announce("release/1", &release).await;
    world.settled(&release, &["fleet", "fleet / orion"]).await;
    // Policies are asked for in the order of the pushes: the first is decided.
    assert_eq!(world.checks(&topic), "");
}

#[tokio::test]
async fn deleted_branches_and_tags_make_no_run() {
    let mut world = World::new().await;
    world.start().await;
    let hosts = [Host::good("orion", "1")];
    let sha = world.push(&hosts, &[]).await;
    world.settled(&sha, &["fleet", "fleet / orion"]).await;
    let other = world.commit("main", &hosts, &[("README", "words")]);
    assert_eq!(world.github.push_tag(&world.repo, "v1", &other).await, Some(202));
    assert_eq!(world.github.delete_branch(&world.repo, "main").await, Some(202));
    world.caught_up().await;
    assert_eq!(world.checks(&other), "");
    assert_eq!(world.history(&sha).len(), 2);
}

#[tokio::test]
async fn a_push_that_comes_after_its_branch_was_deleted_is_not_tested() {
    let mut world = World::new().await;
    world.start().await;
    let policy = ("fleetcheck.toml", "[build]\nbranches = [\"topic\"]\n");
    let hosts = [Host::good("orion", "1")];
    world.github.put_between(Between::Outage);
    let sha = world.commit("topic", &hosts, &[policy]);
    world.github.push(&world.repo, "topic", &sha).await;
    world.github.delete_branch(&world.repo, "topic").await;
    world.github.put_between(Between::Nothing);
    let all = world.github.deliveries();
    for delivered in all.iter().rev() {
        assert_eq!(world.github.redeliver(delivered).await, Some(202), "{}", world.log());
    }
    // It is made again, and that is tested.
    world.github.later(2);
    let again = world.commit("topic", &hosts, &[policy, ("README", "words")]);
    world.announce("topic", &again).await;
    world.settled(&again, &["fleet", "fleet / orion"]).await;
    assert_eq!(world.checks(&sha), "");
}

#[tokio::test]
async fn a_run_of_n_hosts_takes_at_most_2n_plus_10_calls() {
    for count in [1, 8, 20] {
        let mut world = World::new().await;
        world.start().await;
        let hosts: Vec<Host> =
            (0..count).map(|it| Host::good(&format!("host-{it}"), "1")).collect();
        let sha = world.push(&hosts, &[]).await;
        let mut names = vec!["fleet".to_owned()];
        names.extend((0..count).map(|it| format!("fleet / host-{it}")));
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        world.settled(&sha, &names).await;
        world.wait("the status is set", |_| world.status(&sha).contains("success")).await;
        let calls = world.github.calls();
        let api = calls.iter().filter(|it| it.operation != crate::world::github::Operation::Git);
        assert!(
            api.clone().count() <= 2 * count + 10,
            "{:#?}",
            api.map(|it| (&it.method, &it.path)).collect::<Vec<_>>()
        );
    }
}

#[tokio::test]
async fn a_host_of_another_system_waits_with_its_reason() {
    let mut world = World::new().await;
    world.start().await;
    let hosts = [Host::good("orion", "1"), Host::elsewhere("pegasus")];
    let sha = world.push(&hosts, &[]).await;
    world
        .wait("pegasus waits, and the gate says so", |github| {
            let title = |name: &str| {
                github.check_run(world.repo.id, &sha, name).map_or_else(String::new, |it| it.title)
            };
            title("fleet / pegasus").contains("riscv64-linux")
                && title("fleet").contains("riscv64-linux")
        })
        .await;
    assert_snapshot!(world.checks(&sha), @r"
    fleet: in_progress: 1 of 2 hosts done; waiting: no builder for riscv64-linux (pegasus)
    fleet / orion: success: built in a moment
    fleet / pegasus: queued: waits for a builder: no builder for riscv64-linux in the settings
    ");
}

#[tokio::test]
async fn the_gate_does_not_wait_for_an_optional_host_of_another_system() {
    let mut world = World::new().await;
    world.start().await;
    let hosts = [Host::good("orion", "1"), Host::elsewhere("pegasus")];
    let policy = ("fleetcheck.toml", "[gate]\nrequired = [\"orion\"]\n");
    let sha = world.push(&hosts, &[policy]).await;
    world.concluded(&sha, "fleet", "success").await;
    world.concluded(&sha, "fleet / orion", "success").await;
    world
        .wait("pegasus is shown", |github| {
            github.check_run(world.repo.id, &sha, "fleet / pegasus").is_some()
        })
        .await;
    assert_snapshot!(world.checks(&sha), @r"
    fleet: success: 1 required host builds
    fleet / orion: success: built in a moment
    fleet / pegasus: queued: waits for a builder: no builder for riscv64-linux in the settings
    ");
}
