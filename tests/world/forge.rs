//! A forge on this machine: repositories that tests write to and serve over HTTP.
#![expect(clippy::unwrap_used, reason = "a harness: it may panic")]
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use fleetcheck::config::Sealed;
use fleetcheck::domain::id::{CommitSha, RepositoryId};
use fleetcheck::nix::git::Source;

use crate::git_http::{Access, router};

/// The only token that the forge takes.
pub const TOKEN: &str = "ghs_0123456789ABCDEFthisIsTheToken";
/// The account that owns everything.
pub const OWNER: &str = "acme";

/// Serves until the test's runtime ends.
pub struct Forge {
    root: tempfile::TempDir,
    /// `http://127.0.0.1:PORT`.
    pub url: String,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    requests: usize,
    /// Answered to everyone instead of what is right.
    instead: Option<Access>,
}

/// A working copy whose commits are pushed to the forge.
pub struct Repository {
    pub name: String,
    work: tempfile::TempDir,
    bare: PathBuf,
}

impl Forge {
    pub async fn start() -> Self {
        let root = tempfile::Builder::new().prefix("fc-forge-").tempdir().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let seen = Arc::clone(&state);
        let app = router(root.path().to_owned(), move |_, _, token| {
            let mut state = seen.lock().unwrap();
            state.requests += 1;
            match (state.instead, token) {
                (Some(access), _) => access,
                (None, Some(TOKEN)) => Access::Allowed,
                (None, Some(_) | None) => Access::Unauthorized,
            }
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { root, url, state }
    }

    /// How many requests came so far.
    pub fn requests(&self) -> usize {
        self.state.lock().unwrap().requests
    }

    /// Answers this to everyone from now on.
    pub fn answer(&self, access: Access) {
        self.state.lock().unwrap().instead = Some(access);
    }

    /// A new repository without commits.
    pub fn repository(&self, name: &str) -> Repository {
        let bare = self.root.path().join(OWNER).join(format!("{name}.git"));
        std::fs::create_dir_all(&bare).unwrap();
        let work = tempfile::Builder::new().prefix("fc-work-").tempdir().unwrap();
        git(&bare, &["init", "--quiet", "--bare", "--initial-branch=main"]);
        git(&bare, &["config", "uploadpack.allowAnySHA1InWant", "true"]);
        git(work.path(), &["init", "--quiet", "--initial-branch=main"]);
        git(work.path(), &["remote", "add", "origin", bare.to_str().unwrap()]);
        Repository { name: name.to_owned(), work, bare }
    }
}

impl Repository {
    /// The working copy.
    pub fn folder(&self) -> &Path {
        self.work.path()
    }

    pub fn bare(&self) -> &Path {
        &self.bare
    }

    pub fn write(&self, path: &str, text: &str) {
        let path = self.folder().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Copies the flake `fixtures/flakes/NAME` into the folder `into` of the working copy.
    pub fn fixture(&self, name: &str, into: &str) {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/flakes").join(name);
        let into = self.folder().join(into);
        std::fs::create_dir_all(&into).unwrap();
        let copied = Command::new("cp").arg("-R").arg(from.join(".")).arg(&into).status();
        assert!(copied.unwrap().success());
    }

    /// Commits everything and pushes it to `main`, by force.
    pub fn commit(&self, message: &str) -> CommitSha {
        self.commit_with(message, &[])
    }

    /// The same, made at this second since the epoch.
    pub fn commit_at(&self, message: &str, at: i64) -> CommitSha {
        self.commit_with(message, &[("GIT_COMMITTER_DATE", &format!("{at} +0000"))])
    }

    fn commit_with(&self, message: &str, env: &[(&str, &str)]) -> CommitSha {
        git(self.folder(), &["add", "--all"]);
        let args = ["commit", "--quiet", "--allow-empty", "-m", message];
        git_with(self.folder(), &args, env);
        git(self.folder(), &["push", "--quiet", "--force", "origin", "HEAD:main"]);
        git(self.folder(), &["rev-parse", "HEAD"]).parse().unwrap()
    }
}

/// How `repository` is fetched, with this token.
pub fn source(repository: &Repository, token: Option<&str>) -> Source {
    Source {
        repository: RepositoryId(7),
        owner: OWNER.parse().unwrap(),
        name: repository.name.parse().unwrap(),
        token: token.map(|it| Sealed::new(it.to_owned())),
    }
}

/// What git prints in a folder; it must succeed.
pub fn git(folder: &Path, args: &[&str]) -> String {
    git_with(folder, args, &[])
}

fn git_with(folder: &Path, args: &[&str], env: &[(&str, &str)]) -> String {
    let output = Command::new("git")
        .arg("-C")
        .arg(folder)
        .args(args)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_AUTHOR_NAME", "Ada")
        .env("GIT_AUTHOR_EMAIL", "ada@example.org")
        .env("GIT_COMMITTER_NAME", "Ada")
        .env("GIT_COMMITTER_EMAIL", "ada@example.org")
        .envs(env.iter().copied())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "git {args:?}: {said}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
