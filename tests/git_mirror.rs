//! Mirrors of repositories, fetched with real git over real HTTP.
#![expect(clippy::unwrap_used, reason = "a test: it may panic")]
#[path = "world/forge.rs"]
mod forge;
#[path = "world/git_http.rs"]
mod git_http;

use std::path::{Path, PathBuf};
use std::time::Duration;

use fleetcheck::nix::git::{GitError, LARGEST_FILE, Merged, Mirrors};
use tokio_util::sync::CancellationToken;

use crate::forge::{Forge, TOKEN, git, source};
use crate::git_http::Access;

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

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&entry.path()));
        } else if entry.file_type().unwrap().is_file() {
            found.push(entry.path());
        }
    }
    found
}

#[tokio::test]
async fn a_commit_is_fetched_with_its_whole_history_and_only_once() {
    let (forge, directory, mirrors, stop) = lab().await;
    let fleet = forge.repository("fleet");
    for number in 1..=3 {
        fleet.write("number", &number.to_string());
        fleet.commit("count");
    }
    let commit = fleet.commit("last");
    let from = source(&fleet, Some(TOKEN));
    let fetched = mirrors.fetch(&from, &commit, &stop).await.unwrap();
    let count = git(&mirror(directory.path()), &["rev-list", "--count", commit.as_str()]);
    assert_eq!(count, "4");
    assert_eq!(fetched.read(&commit, "number").await.unwrap().unwrap(), b"3");

    let requests = forge.requests();
    forge.answer(Access::Unavailable);
    mirrors.fetch(&from, &commit, &stop).await.unwrap();
    let again = Mirrors::new(directory.path(), &forge.url);
    again.fetch(&from, &commit, &stop).await.unwrap();
    assert_eq!(forge.requests(), requests);
}

#[tokio::test]
async fn two_that_want_a_commit_at_once_fetch_it_once() {
    let (forge, _directory, mirrors, stop) = lab().await;
    let fleet = forge.repository("fleet");
    let commit = fleet.commit("one");
    let from = source(&fleet, Some(TOKEN));
    let alone = {
        let elsewhere = tempfile::tempdir().unwrap();
        let mirrors = Mirrors::new(elsewhere.path(), &forge.url);
        mirrors.fetch(&from, &commit, &stop).await.unwrap();
        forge.requests()
    };
    let (one, two) =
        tokio::join!(mirrors.fetch(&from, &commit, &stop), mirrors.fetch(&from, &commit, &stop));
    one.unwrap();
    two.unwrap();
    assert_eq!(forge.requests(), 2 * alone);
}

#[tokio::test]
async fn the_token_is_in_no_file_no_argument_and_no_error() {
    let (forge, directory, mirrors, stop) = lab().await;
    let fleet = forge.repository("fleet");
    let commit = fleet.commit("one");
    let from = source(&fleet, Some(TOKEN));
    let encoded = "eC1hY2Nlc3MtdG9rZW46"; // the base 64 of `x-access-token:`
    let mut fetch = Box::pin(mirrors.fetch(&from, &commit, &stop));
    let mut looks = 0;
    loop {
        tokio::select! {
            fetched = &mut fetch => {
                fetched.unwrap();
                break;
            }
            () = tokio::time::sleep(Duration::from_millis(1)) => {}
        }
        for process in std::fs::read_dir("/proc").unwrap().flatten() {
            let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line);
            assert!(!line.contains(TOKEN) && !line.contains(encoded), "{line}");
            looks += usize::from(line.contains("refs/fleetcheck/"));
        }
    }
    assert!(looks > 0, "git was seen while it ran");
    drop(fetch);
    let files = files(directory.path());
    assert!(files.len() > 5);
    for file in files {
        let bytes = std::fs::read(&file).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains(TOKEN) && !text.contains(encoded), "{}", file.display());
    }
    let gone = "1111111111111111111111111111111111111111".parse().unwrap();
    for answer in [Access::Allowed, Access::Unauthorized, Access::Forbidden, Access::Unavailable] {
        forge.answer(answer);
        let error = mirrors.fetch(&from, &gone, &stop).await.unwrap_err();
        let said = format!("{error} {error:?}");
        assert!(!said.contains(TOKEN) && !said.contains(encoded), "{said}");
    }
}

#[tokio::test]
async fn a_commit_that_was_force_pushed_away_is_gone() {
    let (forge, _directory, mirrors, stop) = lab().await;
    let fleet = forge.repository("fleet");
    fleet.commit("kept");
    let lost = fleet.commit("lost");
    git(fleet.folder(), &["reset", "--quiet", "--hard", "HEAD~1"]);
    fleet.commit("instead");
    git(fleet.bare(), &["config", "uploadpack.allowAnySHA1InWant", "false"]);
    git(fleet.bare(), &["reflog", "expire", "--expire=now", "--all"]);
    git(fleet.bare(), &["gc", "--quiet", "--prune=now"]);
    let from = source(&fleet, Some(TOKEN));
    let ended = mirrors.fetch(&from, &lost, &stop).await;
    assert_eq!(ended.unwrap_err(), GitError::CommitGone);
}

#[tokio::test]
async fn each_refusal_of_the_forge_is_told_apart() {
    let (forge, _directory, mirrors, stop) = lab().await;
    let fleet = forge.repository("fleet");
    let commit = fleet.commit("one");
    let wrong = source(&fleet, Some("ghs_wrong"));
    let ended = mirrors.fetch(&wrong, &commit, &stop).await.unwrap_err();
    assert!(matches!(ended, GitError::Refused(_)), "{ended:?}");
    let none = source(&fleet, None);
    let ended = mirrors.fetch(&none, &commit, &stop).await.unwrap_err();
    assert!(matches!(ended, GitError::Refused(_)), "{ended:?}");

    let from = source(&fleet, Some(TOKEN));
    forge.answer(Access::NotFound);
    let ended = mirrors.fetch(&from, &commit, &stop).await.unwrap_err();
    assert_eq!(ended, GitError::RepositoryGone);
    forge.answer(Access::Forbidden);
    let ended = mirrors.fetch(&from, &commit, &stop).await.unwrap_err();
    assert!(matches!(ended, GitError::Refused(_)), "{ended:?}");
    forge.answer(Access::Unavailable);
    let ended = mirrors.fetch(&from, &commit, &stop).await.unwrap_err();
    assert!(matches!(ended, GitError::Weather(_)), "{ended:?}");

    forge.answer(Access::Allowed);
    std::fs::remove_dir_all(fleet.bare()).unwrap();
    let ended = mirrors.fetch(&from, &commit, &stop).await.unwrap_err();
    assert_eq!(ended, GitError::RepositoryGone, "it vanished");
}

#[tokio::test]
async fn a_forge_that_does_not_answer_is_weather() {
    let (forge, directory, _mirrors, stop) = lab().await;
    let fleet = forge.repository("fleet");
    let commit = fleet.commit("one");
    let free = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let mirrors = Mirrors::new(directory.path(), &free);
    let ended = mirrors.fetch(&source(&fleet, None), &commit, &stop).await.unwrap_err();
    assert!(matches!(ended, GitError::Weather(_)), "{ended:?}");
}

#[tokio::test]
async fn git_speaks_nothing_but_https() {
    let (forge, directory, _mirrors, stop) = lab().await;
    let fleet = forge.repository("fleet");
    let commit = fleet.commit("one");
    let root = fleet.bare().parent().unwrap().parent().unwrap().display().to_string();
    for url in [format!("file://{root}"), root, "http://fleet.example.org".to_owned()] {
        let mirrors = Mirrors::new(directory.path(), &url);
        let ended = mirrors.fetch(&source(&fleet, None), &commit, &stop).await.unwrap_err();
        assert!(ended.to_string().contains("not allowed"), "{url}: {ended}");
    }
}

#[tokio::test]
async fn what_a_kill_left_half_made_is_mended() {
    let (forge, directory, mirrors, stop) = lab().await;
    let fleet = forge.repository("fleet");
    let commit = fleet.commit("one");
    let from = source(&fleet, Some(TOKEN));
    let place = mirror(directory.path());
    // Killed in the middle of making it: under its own name, as another program would have.
    std::fs::create_dir_all(place.join("objects")).unwrap();
    std::fs::write(place.join("config"), "[core").unwrap();
    std::fs::create_dir_all(place.with_extension("new").join("refs")).unwrap();
    mirrors.fetch(&from, &commit, &stop).await.unwrap();
    assert!(!place.with_extension("new").exists());

    // Killed in the middle of a fetch.
    let next = fleet.commit("two");
    let lock = place.join(format!("refs/fleetcheck/{next}.lock"));
    std::fs::write(&lock, "").unwrap();
    std::fs::write(place.join("objects/pack/tmp_pack_x"), "PACK").unwrap();
    let restarted = Mirrors::new(directory.path(), &forge.url);
    restarted.fetch(&from, &next, &stop).await.unwrap();
    assert!(!lock.exists() && !place.join("objects/pack/tmp_pack_x").exists());

    // Killed, and only git itself died of it.
    let third = fleet.commit("three");
    std::fs::write(place.join(format!("refs/fleetcheck/{third}.lock")), "").unwrap();
    restarted.fetch(&from, &third, &stop).await.unwrap();

    // Emptied by a power cut.
    let fourth = fleet.commit("four");
    for object in files(&place.join("objects")) {
        git(&place, &["config", "core.bare", "true"]);
        std::fs::remove_file(&object).unwrap();
        std::fs::write(&object, "").unwrap();
    }
    let fetched = restarted.fetch(&from, &fourth, &stop).await.unwrap();
    assert_eq!(fetched.read(&fourth, "none").await.unwrap(), None);
}

#[tokio::test]
async fn files_are_read_and_what_is_no_file_is_refused() {
    let (forge, _directory, mirrors, stop) = lab().await;
    let fleet = forge.repository("fleet");
    fleet.write("fleetcheck.toml", "[build]\n");
    fleet.write(".github/a [b] *.toml", "odd");
    fleet.write("large", &"x".repeat(usize::try_from(LARGEST_FILE).unwrap() + 1));
    fleet.write("enough", &"x".repeat(usize::try_from(LARGEST_FILE).unwrap()));
    std::os::unix::fs::symlink("/etc/passwd", fleet.folder().join("link.toml")).unwrap();
    let commit = fleet.commit("one");
    let mirror = mirrors.fetch(&source(&fleet, Some(TOKEN)), &commit, &stop).await.unwrap();
    let read = async |path: &str| mirror.read(&commit, path).await;
    assert_eq!(read("fleetcheck.toml").await.unwrap().unwrap(), b"[build]\n");
    assert_eq!(read(".github/a [b] *.toml").await.unwrap().unwrap(), b"odd");
    assert_eq!(read("enough").await.unwrap().unwrap().len(), 1 << 20);
    for absent in ["other.toml", "*.toml", ".github/fleetcheck.toml", "link.toml/x"] {
        assert_eq!(read(absent).await.unwrap(), None, "{absent}");
    }
    for (path, reason) in
        [("link.toml", "symbolic link"), (".github", "folder"), ("large", "1048577 bytes")]
    {
        let error = read(path).await.unwrap_err();
        assert!(matches!(error, GitError::File { .. }), "{error:?}");
        assert!(error.to_string().contains(reason), "{error}");
    }
}

#[tokio::test]
async fn a_fetch_that_nobody_wants_any_more_ends() {
    let (forge, _directory, mirrors, stop) = lab().await;
    let fleet = forge.repository("fleet");
    let commit = fleet.commit("one");
    stop.cancel();
    let ended = mirrors.fetch(&source(&fleet, Some(TOKEN)), &commit, &stop).await;
    assert_eq!(ended.unwrap_err(), GitError::Cancelled);
}

#[tokio::test]
async fn a_branch_is_found_where_it_is_now_and_only_by_its_whole_name() {
    let (forge, _directory, mirrors, stop) = lab().await;
    let fleet = forge.repository("fleet");
    let from = source(&fleet, Some(TOKEN));
    for _ in 0..2 {
        let commit = fleet.commit("next");
        let tip = mirrors.tip(&from, &"main".parse().unwrap(), &stop).await.unwrap();
        assert_eq!(tip, commit);
    }
    git(fleet.folder(), &["push", "--quiet", "origin", "HEAD:refs/heads/x/refs/heads/other"]);
    let none = mirrors.tip(&from, &"other".parse().unwrap(), &stop).await;
    assert!(matches!(none, Err(GitError::CommitGone)), "{none:?}");
    let refused = mirrors.tip(&source(&fleet, None), &"main".parse().unwrap(), &stop).await;
    assert!(matches!(refused, Err(GitError::Refused(_) | GitError::RepositoryGone)), "{refused:?}");
}

#[tokio::test]
async fn two_commits_are_merged_into_the_same_commit_every_time() {
    let (forge, directory, mirrors, stop) = lab().await;
    let fleet = forge.repository("fleet");
    fleet.write("a", "1\n");
    let fork = fleet.commit("where they part");
    fleet.write("b", "2\n");
    let base = fleet.commit("the base moves on");
    git(fleet.folder(), &["reset", "--quiet", "--hard", fork.as_str()]);
    fleet.write("c", "3\n");
    // Merge drivers are programs: one that is named here must not be found anywhere.
    fleet.write(".gitattributes", "* merge=evil filter=evil\n");
    let head = fleet.commit("the change");
    let from = source(&fleet, Some(TOKEN));
    for commit in [&base, &head] {
        mirrors.fetch(&from, commit, &stop).await.unwrap();
    }
    let merged = mirrors.merge(from.repository, &base, &head, &stop).await.unwrap();
    assert_eq!(mirrors.merge(from.repository, &base, &head, &stop).await.unwrap(), merged);
    let Merged::Commit(merged) = merged else { panic!("{merged:?}") };
    let at = mirror(directory.path());
    let files = git(&at, &["ls-tree", "--name-only", merged.as_str()]);
    assert_eq!(files, ".gitattributes\na\nb\nc");
    let parents = git(&at, &["log", "-1", "--format=%P %an", merged.as_str()]);
    assert_eq!(parents, format!("{base} {head} fleetcheck"));
    let again = mirrors.fetch(&from, &merged, &stop).await.unwrap();
    assert_eq!(again.read(&merged, "b").await.unwrap().unwrap(), b"2\n");
    assert!(again.message(&merged, &stop).await.unwrap().starts_with("Merge "));
}

#[tokio::test]
async fn a_commit_with_another_file_is_the_same_whoever_makes_it() {
    let (forge, directory, mirrors, stop) = lab().await;
    let fleet = forge.repository("fleet");
    fleet.write("nix/flake.lock", "old\n");
    fleet.write("nix/other", "stays\n");
    let base = fleet.commit("the base");
    let from = source(&fleet, Some(TOKEN));
    mirrors.fetch(&from, &base, &stop).await.unwrap();
    let with = async |content: &str| {
        let file = ("nix/flake.lock", content);
        mirrors.with_file(from.repository, &base, file, &stop).await.unwrap()
    };
    let made = with("new\n").await;
    assert_eq!(with("new\n").await, made);
    assert_ne!(with("newer\n").await, made);
    let again = mirrors.fetch(&from, &made, &stop).await.unwrap();
    assert_eq!(again.read(&made, "nix/flake.lock").await.unwrap().unwrap(), b"new\n");
    assert_eq!(again.read(&made, "nix/other").await.unwrap().unwrap(), b"stays\n");
    let at = mirror(directory.path());
    let changed = git(&at, &["diff", "--name-only", base.as_str(), made.as_str()]);
    assert_eq!(changed, "nix/flake.lock");
    let time = git(&at, &["log", "-1", "--format=%ct", base.as_str()]);
    let told = git(&at, &["log", "-1", "--format=%P %an %ct", made.as_str()]);
    assert_eq!(told, format!("{base} fleetcheck {time}"), "at the time of its base");
    let left: Vec<PathBuf> =
        files(&at).into_iter().filter(|it| it.ends_with("with-file.lock")).collect();
    assert_eq!(left, Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_conflict_is_told_with_its_files() {
    let (forge, _directory, mirrors, stop) = lab().await;
    let fleet = forge.repository("fleet");
    let fork = fleet.commit("where they part");
    for name in ["hosts/ra ider.nix", "flake.lock"] {
        fleet.write(name, "the base's\n");
    }
    let base = fleet.commit("the base moves on");
    git(fleet.folder(), &["reset", "--quiet", "--hard", fork.as_str()]);
    for name in ["hosts/ra ider.nix", "flake.lock", "other"] {
        fleet.write(name, "the head's\n");
    }
    let head = fleet.commit("the change");
    let from = source(&fleet, Some(TOKEN));
    for commit in [&base, &head] {
        mirrors.fetch(&from, commit, &stop).await.unwrap();
    }
    let files = vec!["flake.lock".to_owned(), "hosts/ra ider.nix".to_owned()];
    let merged = mirrors.merge(from.repository, &base, &head, &stop).await.unwrap();
    assert_eq!(merged, Merged::Conflict { files });
}

#[tokio::test]
async fn a_file_changed_last_when_its_newest_change_was_committed() {
    let (forge, _directory, mirrors, stop) = lab().await;
    let fleet = forge.repository("fleet");
    fleet.write("flake.lock", "1");
    fleet.write("nix/flake.lock", "1");
    fleet.commit_at("both", 1_000_000_000);
    fleet.write("nix/flake.lock", "2");
    fleet.commit_at("one of them", 1_100_000_000);
    let neither = fleet.commit_at("neither", 1_200_000_000);
    std::fs::remove_file(fleet.folder().join("flake.lock")).unwrap();
    let gone = fleet.commit_at("gone", 1_300_000_000);
    let mirror = mirrors.fetch(&source(&fleet, Some(TOKEN)), &gone, &stop).await.unwrap();
    let absent = "f".repeat(40).parse().unwrap();
    for (commit, path, at) in [
        (&neither, "flake.lock", Some(1_000_000_000)),
        (&neither, "nix/flake.lock", Some(1_100_000_000)),
        (&gone, "flake.lock", None),
        (&absent, "flake.lock", None),
    ] {
        let found = mirror.changed_at(commit, path, &stop).await.unwrap();
        assert_eq!(found, at, "{path} of {commit}");
    }
    stop.cancel();
    let stopped = mirror.changed_at(&neither, "flake.lock", &stop).await;
    assert!(matches!(stopped, Err(GitError::Cancelled)), "{stopped:?}");
}
