//! What is kept of repositories on this machine, and for how long.
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::world::World;
use crate::world::fleet::{self, Host};

/// Makes the runs of these commits look as if they had ended long ago.
async fn age(world: &World, commits: &[&str]) {
    sqlx::any::install_default_drivers();
    let file = world.directory().join("fleetcheck.db");
    let database = sqlx::AnyPool::connect(&format!("sqlite:{}", file.display())).await.unwrap();
    for commit in commits {
        let aged = sqlx::query("UPDATE run SET state_at = 0 WHERE sha = $1 AND state = 'ended'");
        let aged = aged.bind(*commit).execute(&database).await.unwrap();
        assert_eq!(aged.rows_affected(), 1);
    }
    database.close().await;
}

fn mirror(world: &World, repository: i64) -> PathBuf {
    world.directory().join(format!("state/mirrors/{repository}.git"))
}

fn has(mirror: &Path, commit: &str) -> bool {
    let mut git = Command::new("git");
    git.arg("--git-dir").arg(mirror).args(["cat-file", "-e", commit]);
    git.output().unwrap().status.success()
}

/// Waits until something on the disk is as it should be.
async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let looked = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_mins(1), looked).await;
    assert!(in_time.is_ok(), "not in time: {what}");
}

#[tokio::test]
async fn commits_and_mirrors_that_no_run_is_about_any_more_leave_the_disk() {
    let mut world = World::new().await;
    let other = world.github.create_repository("acme", "retired", false);
    world.start().await;
    let flake = fleet::flake(world.system(), &[Host::good("viper", "1")]);
    let retired = other.commit("main", "the last", &[("flake.nix", &flake)]);
    assert_eq!(world.github.push(&other, "main", &retired).await, Some(202));
    let root = world.commit("main", &[Host::good("orion", "0")], &[]);
    let mut shas = Vec::new();
    // Each is forced over the one before: none comes from another.
    for content in ["1", "2", "3"] {
        let sha = world.commit_onto(Some(&root), "main", &[Host::good("orion", content)]);
        world.announce("main", &sha).await;
        world.settled(&sha, &["fleet", "fleet / orion"]).await;
        shas.push(sha);
    }
    world
        .wait("the other repository is tested", |github| {
            let gate = github.check_run(other.id, &retired, "fleet");
            gate.is_some_and(|it| it.conclusion.is_some())
        })
        .await;
    world.stop().await;
    let at = mirror(&world, world.repo.id);
    assert!(shas.iter().all(|it| has(&at, it)) && mirror(&world, other.id).exists());

    age(&world, &[&shas[0], &shas[1], &retired]).await;
    world.start().await;
    eventually("the first commit is gone", || !has(&at, &shas[0])).await;
    eventually("the mirror is gone", || !mirror(&world, other.id).exists()).await;
    assert!(has(&at, &shas[2]), "its run is kept");
    assert!(has(&at, &shas[1]), "the newest is compared with it");
    // And everything goes on as before, in both.
    let next = world.push(&[Host::good("orion", "4")], &[]).await;
    world.settled(&next, &["fleet", "fleet / orion"]).await;
    let again = other.commit("main", "one more", &[("flake.nix", &flake)]);
    assert_eq!(world.github.push(&other, "main", &again).await, Some(202));
    world
        .wait("the other repository is tested again", |github| {
            let gate = github.check_run(other.id, &again, "fleet");
            gate.is_some_and(|it| it.conclusion.as_deref() == Some("success"))
        })
        .await;
}
