//! Pull requests that are built as they would be merged.
use crate::world::World;
use crate::world::fleet::{self, Host};
use crate::world::github::From;

const POLICY: &str = "[build]\npull_requests = \"merge\"\n";

/// A host that evaluates only where both files are new.
fn both() -> Host {
    let both = "if builtins.readFile ./a + builtins.readFile ./b == \"22\"";
    Host::new("orion", &format!(r#"{both} then mk "orion" "echo ok > $out" else throw "apart""#))
}

/// The commit where main and the pull request part.
fn fork_point(world: &World) -> String {
    let flake = fleet::flake(world.system(), &[both()]);
    let files =
        [("flake.nix", flake.as_str()), ("fleetcheck.toml", POLICY), ("a", "1"), ("b", "1")];
    world.repo.commit("main", "where they part", &files)
}

#[tokio::test]
async fn a_pull_request_is_built_as_merged_into_its_base_as_it_is_now() {
    let mut world = World::new().await;
    world.start().await;
    let fork = fork_point(&world);
    let head = world.repo.commit_onto(Some(&fork), "topic", "the change", &[("a", "2")]);
    let main = world.repo.commit("main", "the base moves on", &[("b", "2")]);
    world.pull_request("opened", 7, &head, From::SameRepository).await;
    world.settled(&head, &["fleet", "fleet / orion"]).await;
    let short = &main[..7];
    let title = format!("fleet: success: 1 host builds, as merged into main at {short}\n");
    assert!(world.checks(&head).starts_with(&title), "{}", world.checks(&head));
    let (owner, name) = (&world.repo.owner, &world.repo.name);
    let url = world.url(&format!("/api/v1/runs?repo={owner}/{name}&sha={head}"));
    let run: serde_json::Value = serde_json::from_str(&world.get(&url).await.1).unwrap();
    let merge = &run["runs"][0]["merge"];
    assert_eq!((merge["branch"].as_str(), merge["base"].as_str()), (Some("main"), Some(&*main)));
    assert_ne!(merge["commit"].as_str(), Some(&*head));
}

#[tokio::test]
async fn a_conflict_fails_the_gate_and_names_the_files() {
    let mut world = World::new().await;
    world.start().await;
    let fork = fork_point(&world);
    let head = world.repo.commit_onto(Some(&fork), "topic", "the change", &[("a", "2")]);
    let main = world.repo.commit("main", "the base moves on", &[("a", "3")]);
    world.pull_request("opened", 7, &head, From::SameRepository).await;
    world.settled(&head, &["fleet"]).await;
    let short = &main[..7];
    let title = format!("cannot be merged into main at {short}: conflicts in a");
    assert_eq!(world.checks(&head), format!("fleet: failure: {title}\n"));
}
