//! What people and machines read besides GitHub.
use serde_json::Value;

use crate::world::World;
use crate::world::fleet::{Host, flake};

/// The parts of a link: before the key, and the key.
fn key(url: &str) -> (&str, &str) {
    url.split_once("?key=").unwrap_or_else(|| panic!("no key: {url}"))
}

#[tokio::test]
async fn a_private_repository_s_pages_open_with_the_key_in_their_check_alone() {
    let mut world = World::new().await;
    world.repo = world.github.create_repository("acme", "secret", true);
    world.start().await;
    let hosts = [Host::script("orion", "echo the gods of kobol; echo > $out")];
    let sha = world.push(&hosts, &[]).await;
    world.settled(&sha, &["fleet", "fleet / orion"]).await;
    let gate = world.check(&sha, "fleet");
    let host = world.check(&sha, "fleet / orion");
    let (_, of_gate) = key(&gate.details_url);
    for (check, word) in [(&gate, "orion"), (&host, "kobol")] {
        let (status, page) = world.get(&check.details_url).await;
        assert_eq!(status, 200);
        assert!(page.contains(word), "{page}");
        let (plain, _) = key(&check.details_url);
        assert_eq!(world.get(plain).await.0, 404);
        let wrong = format!("{plain}?key={}", "0".repeat(32));
        assert_eq!(world.get(&wrong).await.0, 404);
    }
    // A key opens its own page only.
    let (plain, _) = key(&host.details_url);
    assert_eq!(world.get(&format!("{plain}?key={of_gate}")).await.0, 404);
    let log = host.summary.split("[Log](").nth(1).unwrap().split(')').next().unwrap();
    let (status, text) = world.get(log).await;
    assert_eq!(status, 200);
    assert!(text.contains("the gods of kobol"), "{text}");
    assert_eq!(world.get(key(log).0).await.0, 404);
    // Nor does any list name it.
    let (_, list) = world.get(&world.url("/api/v1/runs?repo=acme/secret")).await;
    let list: Value = serde_json::from_str(&list).unwrap();
    assert_eq!(list["runs"], serde_json::json!([]));
    let (status, home) = world.get(&world.url("/")).await;
    assert_eq!(status, 200);
    assert!(!home.contains("secret"), "{home}");
}

#[tokio::test]
async fn a_public_repository_s_runs_are_there_for_machines() {
    let mut world = World::new().await;
    world.start().await;
    let sha = world.push(&[Host::good("orion", "1"), Host::broken("viper")], &[]).await;
    world.settled(&sha, &["fleet", "fleet / orion", "fleet / viper"]).await;
    let url = world.url(&format!("/api/v1/runs?repo=acme/fleet&sha={sha}"));
    let list: Value = serde_json::from_str(&world.get(&url).await.1).unwrap();
    let run = &list["runs"][0];
    assert_eq!(run["conclusion"], "failure");
    assert_eq!(run["sha"], sha);
    let url = world.url(&format!("/api/v1/runs/{}", run["id"].as_str().unwrap()));
    let run: Value = serde_json::from_str(&world.get(&url).await.1).unwrap();
    let builds = run["builds"].as_array().unwrap();
    let ends: Vec<(&str, &str)> = builds
        .iter()
        .map(|it| (it["name"].as_str().unwrap(), it["conclusion"].as_str().unwrap()))
        .collect();
    assert!(ends.contains(&("orion", "success")), "{ends:?}");
    assert!(ends.contains(&("viper", "failure")), "{ends:?}");
    let viper = builds.iter().find(|it| it["name"] == "viper").unwrap();
    let url = world.url(&format!("/api/v1/builds/{}", viper["id"].as_str().unwrap()));
    let build: Value = serde_json::from_str(&world.get(&url).await.1).unwrap();
    assert_eq!(build["attempts"], 1);
    assert!(build["derivation"].as_str().unwrap().ends_with("-viper.drv"));
    let (status, log) = world.get(build["log_url"].as_str().unwrap()).await;
    assert_eq!(status, 200);
    assert!(log.contains("about to fail") && log.contains("no such library"), "{log}");
}

#[tokio::test]
async fn the_log_of_a_running_build_can_be_read() {
    let mut world = World::new().await;
    let mut hold = world.hold("orion");
    world.start().await;
    let sha = world.push(&[Host::held_by("orion", &hold.script())], &[]).await;
    hold.runs().await;
    world
        .wait("the host is shown", |github| {
            github.check_run(world.repo.id, &sha, "fleet / orion").is_some()
        })
        .await;
    let build = world.check(&sha, "fleet / orion").details_url;
    // It is written down within a second of being said.
    let shown = async {
        while !world.get(&build).await.1.contains("waiting") {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), shown).await.unwrap();
    hold.let_go();
    world.settled(&sha, &["fleet", "fleet / orion"]).await;
}

#[tokio::test]
async fn the_service_says_that_it_is_well_and_gives_its_numbers() {
    let mut world = World::new().await;
    world.start().await;
    let sha = world.push(&[Host::good("orion", "1")], &[]).await;
    world.settled(&sha, &["fleet", "fleet / orion"]).await;
    assert_eq!(world.get(&world.url("/healthz")).await, (200, "alive\n".to_owned()));
    assert_eq!(world.get(&world.url("/readyz")).await, (200, "ready\n".to_owned()));
    let (status, metrics) = world.get(&world.url("/metrics")).await;
    assert_eq!(status, 200);
    for wanted in ["deliveries", "github_calls_total", "github_rate_limit_remaining"] {
        assert!(metrics.contains(wanted), "no {wanted} in:\n{metrics}");
    }
    assert!(!metrics.contains("orion") && !metrics.contains("acme"), "{metrics}");
}

#[tokio::test]
async fn a_host_whose_name_cannot_be_a_check_s_is_shown_by_the_gate() {
    let mut world = World::new().await;
    world.start().await;
    let long = "x".repeat(300);
    let mut text = flake(world.system(), &[Host::good("orion", "1")]);
    let hosts = format!(
        "    nixosConfigurations = {{\n      \"{long}\" = host (mk \"long\" \"echo > $out\");\n      \
         \"a b/../c\" = host (mk \"odd\" \"echo > $out\");\n"
    );
    text = text.replacen("    nixosConfigurations = {\n", &hosts, 1);
    let sha = world.repo.commit("main", "x", &[("flake.nix", &text)]);
    world.announce("main", &sha).await;
    world.concluded(&sha, "fleet", "success").await;
    assert_eq!(world.check(&sha, "fleet").title, "3 hosts build");
    assert!(world.check(&sha, "fleet").summary.contains("cannot be the name of a check"));
}
