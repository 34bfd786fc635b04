//! What leaves a mirror and what stays in it, with real git.
#![expect(clippy::unwrap_used, reason = "a test: it may panic")]
#[path = "world/forge.rs"]
mod forge;
#[path = "world/git_http.rs"]
mod git_http;

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use fleetcheck::domain::id::CommitSha;
use fleetcheck::nix::git::{Collected, GitError, Mirrors, Source};
use tokio_util::sync::CancellationToken;

use crate::forge::{Forge, TOKEN, git, source};

/// A forge, an empty place for mirrors, and nothing that stops.
async fn lab() -> (Forge, tempfile::TempDir, Mirrors, CancellationToken) {
    let forge = Forge::start().await;
    let directory = tempfile::Builder::new().prefix("fc mirrors %").tempdir().unwrap();
    let mirrors = Mirrors::new(directory.path(), &forge.url);
    (forge, directory, mirrors, CancellationToken::new())
}

fn mirror(directory: &Path) -> PathBuf {
    directory.join("mirrors/7.git")
}

/// Whether a mirror has this commit's objects, held by a ref or not.
fn has(at: &Path, commit: &CommitSha) -> bool {
    let mut git = std::process::Command::new("git");
    let asked = git.arg("--git-dir").arg(at).args(["cat-file", "-e", commit.as_str()]).output();
    asked.unwrap().status.success()
}

/// Three commits of which none comes from another, fetched into the mirror.
async fn three_roots(
    forge: &Forge,
    mirrors: &Mirrors,
    stop: &CancellationToken,
) -> (Source, [CommitSha; 3]) {
    let fleet = forge.repository("fleet");
    let from = source(&fleet, Some(TOKEN));
    let mut commits = Vec::new();
    for name in ["one", "two", "three"] {
        git(fleet.folder(), &["checkout", "--quiet", "--orphan", name]);
        fleet.write("content", &name.repeat(1000));
        let commit = fleet.commit(name);
        mirrors.fetch(&from, &commit, stop).await.unwrap();
        commits.push(commit);
    }
    // The forge answers for all of them, though its branch has left two.
    (from, commits.try_into().unwrap())
}

#[tokio::test]
async fn commits_that_nobody_needs_leave_the_disk() {
    let (forge, directory, mirrors, stop) = lab().await;
    let (from, commits) = three_roots(&forge, &mirrors, &stop).await;
    let at = mirror(directory.path());
    let keep = HashSet::from([commits[1].clone()]);
    let alone = mirrors.alone(from.repository).unwrap();
    assert_eq!(alone.keep(&keep, &stop).await, Ok(Collected::Done));
    let refs = git(&at, &["for-each-ref", "--format=%(objectname)"]);
    assert_eq!(refs, commits[1].as_str());
    assert_eq!(commits.clone().map(|it| has(&at, &it)), [false, true, false]);
    git(&at, &["fsck", "--strict"]);
    assert!(!at.join("fleetcheck-collect").exists(), "nothing is owed");
    // What is kept is found without asking anybody, and the others can be had again.
    let requests = forge.requests();
    let kept = mirrors.fetch(&from, &commits[1], &stop).await.unwrap();
    assert_eq!(
        kept.read(&commits[1], "content").await.unwrap().unwrap(),
        "two".repeat(1000).as_bytes()
    );
    assert_eq!(forge.requests(), requests);
    let again = mirrors.fetch(&from, &commits[2], &stop).await.unwrap();
    assert_eq!(
        again.read(&commits[2], "content").await.unwrap().unwrap(),
        "three".repeat(1000).as_bytes()
    );
}

#[tokio::test]
async fn nothing_leaves_a_mirror_that_somebody_reads() {
    let (forge, _directory, mirrors, stop) = lab().await;
    let (from, commits) = three_roots(&forge, &mirrors, &stop).await;
    let reading = mirrors.fetch(&from, &commits[0], &stop).await.unwrap();
    let too = reading.clone();
    assert!(mirrors.alone(from.repository).is_none());
    drop(reading);
    assert!(mirrors.alone(from.repository).is_none());
    drop(too);
    let alone = mirrors.alone(from.repository).unwrap();
    // Whoever comes now waits, and can stop waiting.
    let hurried = CancellationToken::new();
    let mut waits = Box::pin(mirrors.fetch(&from, &commits[0], &hurried));
    assert!(futures::poll!(&mut waits).is_pending());
    hurried.cancel();
    assert_eq!(waits.await.unwrap_err(), GitError::Cancelled);
    drop(alone);
    mirrors.fetch(&from, &commits[0], &stop).await.unwrap();
}

#[tokio::test]
async fn who_wants_a_mirror_does_not_wait_for_the_collector() {
    let (forge, directory, mirrors, stop) = lab().await;
    let (from, commits) = three_roots(&forge, &mirrors, &stop).await;
    let at = mirror(directory.path());
    let keep = HashSet::from([commits[1].clone()]);
    // A pipe, in which git waits for ever for words about commits.
    let pipe = at.join("info/grafts");
    std::fs::create_dir_all(at.join("info")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RWXU).unwrap();
    let alone = mirrors.alone(from.repository).unwrap();
    let (kept, fetched) = tokio::join!(alone.keep(&keep, &stop), async {
        while !at.join("fleetcheck-collect").exists() {
            tokio::task::yield_now().await;
        }
        mirrors.tip(&from, &"main".parse().unwrap(), &stop).await.unwrap();
        std::fs::remove_file(&pipe).unwrap();
        mirrors.fetch(&from, &commits[0], &stop).await
    });
    assert_eq!(kept, Ok(Collected::Interrupted));
    drop(fetched.unwrap());
    assert!(at.join("fleetcheck-collect").exists(), "it is owed");
    // Also to the next process, though there is nothing more to let go.
    let restarted = Mirrors::new(directory.path(), &forge.url);
    let keep = HashSet::from([commits[0].clone(), commits[1].clone()]);
    let alone = restarted.alone(from.repository).unwrap();
    assert_eq!(alone.keep(&keep, &stop).await, Ok(Collected::Done));
    assert_eq!(commits.map(|it| has(&at, &it)), [true, true, false]);
}

#[tokio::test]
async fn a_collector_that_is_told_to_stop_stops_and_says_so() {
    let (forge, _directory, mirrors, stop) = lab().await;
    let (from, _) = three_roots(&forge, &mirrors, &stop).await;
    stop.cancel();
    let alone = mirrors.alone(from.repository).unwrap();
    let ended = alone.keep(&HashSet::new(), &stop).await;
    assert_eq!(ended, Err(GitError::Cancelled));
}

#[tokio::test]
async fn many_small_packs_become_one_though_everything_is_kept() {
    let (forge, directory, mirrors, stop) = lab().await;
    let fleet = forge.repository("fleet");
    let from = source(&fleet, Some(TOKEN));
    let at = mirror(directory.path());
    let mut keep = HashSet::new();
    for number in 0..3 {
        let commit = fleet.commit(&number.to_string());
        mirrors.fetch(&from, &commit, &stop).await.unwrap();
        keep.insert(commit);
    }
    let counted = || git(&at, &["count-objects", "--verbose"]);
    let has_packs = |count: u64| counted().contains(&format!("\npacks: {count}\n"));
    let alone = mirrors.alone(from.repository).unwrap();
    assert_eq!(alone.keep(&keep, &stop).await, Ok(Collected::Done));
    assert!(!has_packs(1), "a few are no reason: {}", counted());
    for number in 0..2_100 {
        std::fs::write(directory.path().join(number.to_string()), number.to_string()).unwrap();
    }
    let paths = (0..2_100).map(|it| directory.path().join(it.to_string()).display().to_string());
    let names = directory.path().join("names");
    std::fs::write(&names, paths.collect::<Vec<_>>().join("\n")).unwrap();
    let add = format!(
        "git --git-dir '{}' hash-object -w --stdin-paths < '{}'",
        at.display(),
        names.display()
    );
    let added = std::process::Command::new("sh").args(["-c", &add]).output().unwrap();
    assert!(added.status.success(), "{added:?}");
    let alone = mirrors.alone(from.repository).unwrap();
    assert_eq!(alone.keep(&keep, &stop).await, Ok(Collected::Done));
    assert!(has_packs(1) && counted().starts_with("count: 0\n"), "{}", counted());
    assert!(keep.iter().all(|it| has(&at, it)));
}

#[tokio::test]
async fn a_mirror_that_nobody_needs_goes_whole() {
    let (forge, directory, mirrors, stop) = lab().await;
    assert_eq!(mirrors.all().await, Ok(vec![]), "there is no folder yet");
    let (from, commits) = three_roots(&forge, &mirrors, &stop).await;
    let at = mirror(directory.path());
    // Of a removal that was killed.
    std::fs::create_dir_all(at.with_file_name("8.gone/objects")).unwrap();
    std::fs::write(at.with_file_name("a note"), "of a person").unwrap();
    assert_eq!(mirrors.all().await, Ok(vec![from.repository]));
    assert!(!at.with_file_name("8.gone").exists());
    mirrors.alone(from.repository).unwrap().remove().await.unwrap();
    assert_eq!(mirrors.all().await, Ok(vec![]));
    assert!(!at.exists() && at.with_file_name("a note").exists());
    mirrors.alone(from.repository).unwrap().remove().await.unwrap();
    let again = mirrors.fetch(&from, &commits[2], &stop).await.unwrap();
    assert!(again.read(&commits[2], "content").await.unwrap().is_some());
}
