//! A full disk: the weather, never the author's fault.
//!
//! Each test runs itself again in a mount namespace of its own, with a small tmpfs for everything
//! temporary; without root in a user namespace too.
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::command::{Checkout, results};
use crate::fleet::Host;
use crate::nix::TestNix;
use crate::small_disk::small_disk;
use crate::world::World;
use crate::world::github::Options;

/// Takes what is left of a disk.
fn fill(folder: &Path) -> PathBuf {
    let path = folder.join("filler");
    let mut file = std::fs::File::create(&path).unwrap();
    for size in [1 << 16, 1 << 12, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
    path
}

#[test]
fn a_build_for_which_the_disk_is_too_small_is_nobodys_fault() {
    let name = "disk::a_build_for_which_the_disk_is_too_small_is_nobodys_fault";
    if small_disk(name, 48).is_none() {
        return;
    }
    for nix in TestNix::all() {
        let fat = "PATH=/usr/bin:/bin; head -c 100000000 /dev/zero > $out";
        let hosts = [Host::script("fat", fat), Host::good("orion", "1")];
        let folder = Checkout::of(nix).with(&hosts);
        let (status, document) = folder.json(&[]);
        assert_eq!(results(&document), ["fat transient", "orion built"], "{document:#}");
        assert_eq!(status, 1);
    }
}

#[tokio::test]
async fn a_service_on_a_full_disk_waits_for_room_and_goes_on() {
    let name = "disk::a_service_on_a_full_disk_waits_for_room_and_goes_on";
    let Some(disk) = small_disk(name, 64) else { return };
    // GitHub's own disk is not full.
    let github = tempfile::tempdir_in(disk.parent().unwrap()).unwrap();
    let options = Options { directory: Some(github.path().to_owned()), ..Options::default() };
    let mut world = World::with(TestNix::one(), options).await;
    world.start().await;
    let first = world.push(&[Host::good("orion", "1")], &[]).await;
    world.settled(&first, &["fleet", "fleet / orion"]).await;
    let filler = fill(&disk);
    let hosts = [Host::good("orion", "2"), Host::good("viper", "1")];
    let sha = world.commit("main", &hosts, &[("more", &"more\n".repeat(100_000))]);
    // Accepted and kept, or refused so that it is sent again: never accepted and lost.
    let answer = world.github.push(&world.repo, "main", &sha).await;
    assert!(matches!(answer, Some(202 | 503)), "{answer:?}");
    let delivered = world.github.deliveries().last().unwrap().clone();
    if answer == Some(202) {
        world
            .wait("the gate says what it waits for", |github| {
                let gate = github.check_run(world.repo.id, &sha, "fleet");
                gate.is_some_and(|it| it.title.contains("No space left on device"))
            })
            .await;
    }
    assert_eq!(reqwest::get(world.url("/healthz")).await.unwrap().status(), 200);
    let failed =
        |it: &crate::world::github::CheckRunView| it.conclusion.as_deref() == Some("failure");
    assert!(
        !world.github.check_runs(world.repo.id, &sha).iter().any(failed),
        "{}",
        world.checks(&sha)
    );
    std::fs::remove_file(filler).unwrap();
    if answer == Some(503) {
        assert_eq!(world.github.redeliver(&delivered).await, Some(202), "{}", world.log());
    }
    world.settled(&sha, &["fleet", "fleet / orion", "fleet / viper"]).await;
    assert_eq!(
        world.check(&sha, "fleet").conclusion.as_deref(),
        Some("success"),
        "{}",
        world.checks(&sha)
    );
    println!("{answer:?}\n{}", world.log());
}
