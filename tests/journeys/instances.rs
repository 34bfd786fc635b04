//! Several instances of the service on one `PostgreSQL`.
use std::time::Duration;

use crate::postgres::world;
use crate::world::World;
use crate::world::fleet::Host;
use crate::world::machine::Machine;

#[tokio::test]
async fn an_instance_that_takes_deliveries_in_needs_no_builder_and_builders_no_webhook() {
    let mut front = world("roles").await.roles("intake");
    let mut back = front.beside().roles("evaluate,build,report,recover");
    front.start().await;
    let early = front.push(&[Host::good("orion", "1")], &[]).await;
    front.run_is(&early, "requested").await;
    back.start().await;
    back.settled(&early, &["fleet", "fleet / orion"]).await;
    let late = front.push(&[Host::good("orion", "2")], &[]).await;
    back.concluded(&late, "fleet", "success").await;

    assert_eq!(back.get(&back.url("/webhook")).await.0, 404, "nothing is taken in there");
    for (instance, silent) in [(&front, "evaluate"), (&back, "intake")] {
        let (status, text) = instance.get(&instance.url("/readyz")).await;
        assert_eq!((status, text.as_str()), (200, "ready\n"), "whatever becomes of {silent}");
    }
    let stages = front.get(&front.url("/metrics")).await.1;
    assert!(!stages.contains("fleetcheck_evaluation_seconds_count"), "{stages}");
    assert!(front.stop().await.success());
    assert!(back.stop().await.success());
}

#[tokio::test]
async fn roles_that_are_none_or_not_enough_are_refused_with_those_that_there_are() {
    let world = world("no_roles").await;
    let alone = World::new().await;
    let dance = "`dance` is no role; write some of intake,evaluate,build,report,recover";
    let lent = "`evaluate` without `build` needs `nix.instance_store`, from which the instances";
    let shared =
        "`evaluate` without `build` needs another instance that builds, and none can share";
    for (world, roles, said) in [
        (&world, "intake,dance", dance),
        (&world, "evaluate", lent),
        (&alone, "intake,evaluate,report", shared),
    ] {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_fleetcheck"))
            .args(["serve", "--roles", roles, "--config"])
            .arg(world.write_settings())
            .output()
            .unwrap();
        let words = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert_eq!(output.status.code(), Some(2), "{words}");
        assert!(words.contains(said), "{words}");
    }
}

#[tokio::test]
async fn what_a_dead_instance_was_building_is_built_by_another() {
    let mut one = world("dead").await;
    let mut other = one.beside().roles("intake,evaluate,build,report,recover");
    let mut hold = one.hold("orion");
    one.start().await;
    let sha =
        one.push(&[Host::held_by("orion", &hold.script()), Host::good("viper", "1")], &[]).await;
    hold.runs().await;
    other.start().await;
    one.kill().await;
    hold.is_over().await;
    other.logged_within("wait with an instance that is gone", Duration::from_mins(3)).await;
    hold.runs().await;
    hold.let_go();
    let names = ["fleet", "fleet / orion", "fleet / viper"];
    other.settled(&sha, &names).await;
    for name in names {
        assert_eq!(other.check(&sha, name).conclusion.as_deref(), Some("success"), "{name}");
    }
    other.assert_nothing_doubled(&sha);
    assert!(other.stop().await.success());
}

#[tokio::test]
async fn a_host_goes_to_the_instance_that_has_a_builder_for_it() {
    let mut one = world("able").await;
    let machine = Machine::start(&one.nix, "basestar", &["aarch64-linux"]);
    one = one.builder(&machine, 1);
    let mut other = world_beside_without_builders(&one).roles("intake,evaluate,build");
    other.start().await;
    let pegasus = Host::new("pegasus", r#"at "aarch64-linux" "pegasus" "echo > $out""#);
    one.github.set_webhook(&other.url("/webhook"));
    let sha = one.push(&[pegasus], &[]).await;
    other.run_is(&sha, "building").await;
    one.start().await;
    one.concluded(&sha, "fleet", "success").await;
    let title = one.check(&sha, "fleet / pegasus").title;
    assert!(title.starts_with("built in "), "{title}");
}

#[tokio::test]
async fn a_log_is_read_from_every_instance_while_it_grows_and_when_it_is_whole() {
    let mut one = world("logs").await.reachable();
    let mut front = one.beside().roles("report");
    let mut hold = one.hold("orion");
    one.start().await;
    front.start().await;
    let script = format!("echo the beginning; {}; echo the end; echo 1 > $out", hold.script());
    let sha = one.push(&[Host::script("orion", &script)], &[]).await;
    hold.runs().await;
    one.wait("the host is shown", |it| it.check_run(one.repo.id, &sha, "fleet / orion").is_some())
        .await;
    let url = one.check(&sha, "fleet / orion").details_url;
    let (_, id) = url.rsplit_once("/builds/").unwrap();
    let at = |path: &str| front.url(&format!("/builds/{id}{path}"));

    let mut log = String::new();
    while !log.contains("the beginning") {
        let answer;
        (answer, log) = front.get(&at("/log")).await;
        assert_eq!(answer, 200, "{log}");
    }
    let (_, page) = front.get(&at("")).await;
    assert!(page.contains("the beginning") && page.contains("data-next="), "{page}");
    hold.let_go();
    one.concluded(&sha, "fleet / orion", "success").await;
    let (status, log) = front.get(&at("/log")).await;
    assert_eq!(status, 200, "{log}");
    assert!(log.contains("the beginning") && log.contains("the end"), "{log}");

    // Nobody else is given a log by the way that is for instances.
    let attempt = attempt_of(&one);
    for key in ["", "&key=00000000000000000000000000000000"] {
        let url = one.url(&format!("/logs/{attempt}?from=0{key}"));
        assert_eq!(one.get(&url).await.0, 404, "{url}");
    }
    one.kill().await;
    let (status, said) = front.get(&at("/log")).await;
    assert_eq!((status, said.as_str()), (503, "this log cannot be reached now; try again\n"));
    let (status, page) = front.get(&at("")).await;
    assert!(status == 200 && page.contains("It cannot be reached now"), "{page}");
    front.logged("does not give the log of attempt").await;
    let log = front.log();
    let told: Vec<&str> = log.lines().filter(|it| it.contains("does not give")).collect();
    assert!(told.iter().all(|it| !it.contains("key=")), "{told:?}");
}

/// The one attempt that an instance made, by the file of its log.
fn attempt_of(world: &World) -> String {
    let logs = world.directory().join("state/logs");
    let mut folders = std::fs::read_dir(logs).unwrap();
    let folder = folders.next().unwrap().unwrap().path();
    let file = std::fs::read_dir(folder).unwrap().next().unwrap().unwrap().path();
    file.file_stem().unwrap().to_str().unwrap().to_owned()
}

/// Another instance, on a machine that reaches no other one.
fn world_beside_without_builders(one: &World) -> World {
    let mut other = one.beside();
    other.builders.clear();
    other
}
