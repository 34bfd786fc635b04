//! Who is shown what of the builders.
use fleetcheck::domain::builder::{Condition, Facts, Speed};
use fleetcheck::domain::incoming::Visibility;
use fleetcheck::domain::page::Counts;
use fleetcheck::domain::plan::Capability;
use fleetcheck::store::builders::{Known, Whose};
use insta::assert_snapshot;

use crate::world::{NOW, World, waiting, words};

async fn with_builders() -> World {
    let world = World::new().await;
    let known = |name: &str, system: &str| Known {
        name: name.into(),
        capability: Capability {
            systems: vec![system.into()],
            features: vec!["big-parallel".into()],
            mandatory: vec![],
        },
        slots: 4,
        speed: Speed::default(),
        machine: Whose::Shared,
    };
    let store = &world.store;
    let all = [known("basestar", "aarch64-linux"), known("local", "x86_64-linux")];
    store.know_builders(&all, NOW).await.unwrap();
    let away = Condition::Unreachable { why: "ssh: <b>10.0.0.7</b>: Connection refused".into() };
    store.builder_looked("basestar", &away, None, NOW).await.unwrap();
    let facts = Facts {
        version: Some("2.34.8".into()),
        free: Some(50 << 30),
        size: Some(100 << 30),
        load: Some("0.52".into()),
        ..Facts::default()
    };
    store.builder_looked("local", &Condition::Ready, Some(&facts), NOW).await.unwrap();
    world
}

#[tokio::test]
async fn strangers_see_that_a_builder_is_away_and_not_why() {
    let world = with_builders().await;
    let page = world.text("/builders").await;
    assert!(!page.contains("10.0.0.7"), "{page}");
    assert_snapshot!(words(&page), @r"
    Builders
    basestar
    unreachable
    unreachable since 11:06 UTC.
    aarch64-linux · big-parallel · 4 slots · looked at
    2026-11-18 11:06 UTC
    Nothing runs here.
    local
    ready
    ready since 11:06 UTC.
    x86_64-linux · big-parallel · 4 slots · Nix 2.34.8 · 50.0 GiB of 100.0 GiB free · load 0.52 · looked at
    2026-11-18 11:06 UTC
    Nothing runs here.
    ");
    let json = world.text("/api/v1/builders").await;
    assert!(!json.contains("10.0.0.7") && json.contains("\"state\":\"unreachable\""), "{json}");
}

#[tokio::test]
async fn the_operator_sees_why_and_nothing_of_it_is_markup() {
    let world = with_builders().await;
    let page = world.text(&world.links.path("/builders", Visibility::Private)).await;
    assert!(page.contains("ssh: &lt;b&gt;10.0.0.7&lt;/b&gt;: Connection refused"), "{page}");
    let json = world.text(&world.links.path("/api/v1/builders", Visibility::Private)).await;
    assert_snapshot!(json, @r#"
    {"builders":[{"name":"basestar","systems":["aarch64-linux"],"features":["big-parallel"],"mandatory_features":[],"slots":4,"running":0,"state":"unreachable","takes_work":false,"since":"2026-11-18T11:06:40Z","looked_at":"2026-11-18T11:06:40Z","sentence":"unreachable since 11:06 UTC: ssh: <b>10.0.0.7</b>: Connection refused"},{"name":"local","systems":["x86_64-linux"],"features":["big-parallel"],"mandatory_features":[],"slots":4,"running":0,"state":"ready","takes_work":true,"since":"2026-11-18T11:06:40Z","looked_at":"2026-11-18T11:06:40Z","sentence":"ready since 11:06 UTC","nix":"2.34.8","free_bytes":53687091200,"load":"0.52"}]}
    "#);
}

#[tokio::test]
async fn what_runs_on_a_builder_is_shown_with_the_derivation_it_is_at() {
    let world = with_builders().await;
    let (_, claim) = world.run(Visibility::Public).await;
    world.host(&claim, "orion", waiting("orion")).await;
    let (attempt, _log) = world.start("orion").await;
    let at = "/nix/store/783yqpnsx5xvpayk2bnrb6cmk0a7blys-gcc-13.2.0.drv".parse().unwrap();
    let counts = Counts { done: 3, expected: 9, at: Some(at) };
    world.progress.insert(attempt.attempt().clone(), counts);
    let page = words(&world.text("/builders").await);
    assert!(page.contains("· 3 of 9 derivations, at gcc-13.2.0"), "{page}");
}
