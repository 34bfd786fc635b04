//! The world of the journeys: a GitHub of values, a real Nix, and the real service between them.
#![expect(clippy::unwrap_used, reason = "a harness: it may panic")]
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
pub mod fleet;
#[path = "github/mod.rs"]
pub mod github;
pub mod hold;
#[path = "machine.rs"]
pub mod machine;
#[path = "nix.rs"]
pub mod nix;
pub mod people;
pub mod processes;
#[path = "s3.rs"]
pub mod s3;
mod settings;
pub mod system;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tokio::process::{Child, Command};

use fleet::Host;
use github::{CheckRunView, Delivered, FakeGitHub, From, Options, RepoHandle};
use hold::Hold;
use machine::Machine;
use nix::TestNix;

/// A service, its GitHub, its Nix and one repository.
pub struct World {
    /// Shared by the instances of one service.
    pub github: Arc<FakeGitHub>,
    pub repo: RepoHandle,
    pub nix: TestNix,
    directory: tempfile::TempDir,
    service: Option<Child>,
    port: u16,
    system: String,
    /// More lines for the settings file, after `[nix]`.
    settings: String,
    /// And after `[github]` and `[http]`.
    pub github_settings: String,
    http_settings: String,
    /// Instead of the App's one key, the newest first.
    pub keys: Option<Vec<PathBuf>>,
    owners: Vec<String>,
    /// Blocks of the settings file, for builders on other machines.
    pub builders: String,
    /// Of the settings file, `[logs]`.
    pub logs: String,
    /// For `store.url`; without it `SQLite` in a file.
    store: Option<String>,
    /// For `--roles`; without it all of them.
    roles: Option<String>,
    /// The process in whose mounts the service runs, where not in the test's.
    gate: Option<u32>,
}

impl World {
    /// With the first Nix of the environment and a public repository.
    pub async fn new() -> Self {
        Self::with(TestNix::one(), Options::default()).await
    }

    /// A world with this Nix and GitHub, whose service has not started.
    pub async fn with(nix: TestNix, options: Options) -> Self {
        let github = Arc::new(FakeGitHub::start(options).await);
        let repo = github.create_repository("acme", "fleet", false);
        let world = Self::around(github, repo, nix);
        world.github.set_webhook(&world.url("/webhook"));
        world
    }

    /// Another instance of the same service: a machine of its own with a Nix of its own, the same
    /// GitHub, store and settings.
    pub fn beside(&self) -> Self {
        let mut other = Self::around(self.github.clone(), self.repo.clone(), TestNix::one());
        other.store.clone_from(&self.store);
        other.settings.clone_from(&self.settings);
        other.github_settings.clone_from(&self.github_settings);
        other.owners.clone_from(&self.owners);
        other.builders.clone_from(&self.builders);
        other.logs.clone_from(&self.logs);
        other
    }

    /// Another instance of the same service, with this machine's disk for its Nix, which the others
    /// reach there.
    pub fn beside_on(&self, machine: &Machine) -> Self {
        let mut other = self.beside();
        other.nix = self.nix.elsewhere();
        other.gate = Some(machine.gate());
        other.setting(&format!("instance_store = {:?}", machine.lent_store()))
    }

    fn around(github: Arc<FakeGitHub>, repo: RepoHandle, nix: TestNix) -> Self {
        let directory = tempfile::Builder::new().prefix("fc-world-").tempdir().unwrap();
        let args = ["eval", "--impure", "--raw", "--expr", "builtins.currentSystem"];
        let system = nix.output("nix", args);
        Self {
            github,
            repo,
            nix,
            directory,
            service: None,
            store: None,
            roles: None,
            gate: None,
            port: processes::free_port(),
            system,
            settings: String::new(),
            github_settings: String::new(),
            http_settings: String::new(),
            keys: None,
            owners: vec!["acme".to_owned()],
            builders: String::new(),
            logs: String::new(),
        }
    }

    pub fn system(&self) -> &str {
        &self.system
    }

    pub fn directory(&self) -> PathBuf {
        self.directory.path().to_owned()
    }

    /// The service's process.
    pub fn process(&self) -> u32 {
        self.service.as_ref().and_then(Child::id).unwrap()
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Starts the service and waits until it answers.
    pub async fn start(&mut self) {
        let settings = self.write_settings();
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.directory.path().join("service.log"))
            .unwrap();
        let mut command = match self.gate {
            None => Command::new(env!("CARGO_BIN_EXE_fleetcheck")),
            Some(gate) => {
                let mut command = Command::new("nsenter");
                command.arg(format!("--mount=/proc/{gate}/ns/mnt"));
                // Its processes are the test's: what the machine has in /proc is about others.
                command.args(["unshare", "--mount", "sh", "-c"]);
                command.args(["mount -t proc proc /proc && exec \"$@\"", "sh"]);
                command.arg(env!("CARGO_BIN_EXE_fleetcheck"));
                command
            }
        };
        let child = command
            .args(["serve", "--config"])
            .arg(settings)
            .args(self.roles.iter().map(|it| format!("--roles={it}")))
            .envs(self.nix.env())
            .env("RUST_LOG", "info")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        self.service = Some(child);
        let answers = async {
            while reqwest::get(self.url("/readyz")).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let started = tokio::time::timeout(Duration::from_secs(30), answers).await;
        assert!(started.is_ok(), "the service did not start:\n{}", self.log());
    }

    /// What the service has logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("service.log")).unwrap_or_default()
    }

    /// As the kernel's OOM killer or a power cut would: at once, without a word.
    pub async fn kill(&mut self) {
        let mut service = self.service.take().unwrap();
        service.start_kill().unwrap();
        service.wait().await.unwrap();
    }

    /// Asks the service to end, and waits for it.
    pub async fn stop(&mut self) -> ExitStatus {
        let mut service = self.service.take().unwrap();
        let id = rustix::process::Pid::from_raw(service.id().unwrap().cast_signed()).unwrap();
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
        tokio::time::timeout(Duration::from_secs(20), service.wait()).await.unwrap().unwrap()
    }

    /// Commits a fleet of these hosts to a branch, with more files.
    pub fn commit(&self, branch: &str, hosts: &[Host], more: &[(&str, &str)]) -> String {
        let flake = fleet::flake(&self.system, hosts);
        let mut files = vec![("flake.nix", flake.as_str())];
        files.extend_from_slice(more);
        self.repo.commit(branch, "a change", &files)
    }

    /// Commits a fleet to main and announces it.
    pub async fn push(&self, hosts: &[Host], more: &[(&str, &str)]) -> String {
        let sha = self.commit("main", hosts, more);
        assert_eq!(self.github.push(&self.repo, "main", &sha).await, Some(202), "{}", self.log());
        sha
    }

    /// The newest check run of this name.
    pub fn check(&self, sha: &str, name: &str) -> CheckRunView {
        self.github
            .check_run(self.repo.id, sha, name)
            .unwrap_or_else(|| panic!("no check {name}; there are:\n{}", self.checks(sha)))
    }

    /// Every newest check run of a commit, a line each: name, conclusion or status, title; how long
    /// a build took is this machine's business.
    pub fn checks(&self, sha: &str) -> String {
        let mut runs = self.github.check_runs(self.repo.id, sha);
        runs.sort_by(|a, b| a.name.cmp(&b.name));
        let mut text = String::new();
        for run in runs {
            let state = run.conclusion.unwrap_or(run.status);
            let title = match run.title.split_once("built in ") {
                Some((before, after)) => {
                    let rest = after.split_once(" s").map_or("", |(_, rest)| rest);
                    format!("{before}built in a moment{rest}")
                }
                None => run.title,
            };
            writeln!(text, "{}: {state}: {title}", run.name).unwrap();
        }
        text
    }

    /// Waits until a check of this name has this conclusion.
    pub async fn concluded(&self, sha: &str, name: &str, conclusion: &str) {
        let what = format!("{name} of {sha} is {conclusion}");
        self.wait(&what, |github| {
            github
                .check_run(self.repo.id, sha, name)
                .is_some_and(|it| it.conclusion.as_deref() == Some(conclusion))
        })
        .await;
    }

    /// Waits until these checks, and no others, are there and completed.
    pub async fn settled(&self, sha: &str, names: &[&str]) {
        let mut wanted: Vec<&str> = names.to_vec();
        wanted.sort_unstable();
        self.wait(&format!("{names:?} of {sha} are completed"), |github| {
            let runs = github.check_runs(self.repo.id, sha);
            let mut found: Vec<&str> = runs.iter().map(|it| it.name.as_str()).collect();
            found.sort_unstable();
            found == wanted && runs.iter().all(|it| it.status == "completed")
        })
        .await;
    }

    /// Waits for something on GitHub.
    pub async fn wait(&self, what: &str, condition: impl Fn(&FakeGitHub) -> bool) {
        self.github.wait_until(what, condition).await;
    }

    /// Announces a branch's move to this commit.
    pub async fn announce(&self, branch: &str, sha: &str) {
        let status = self.github.push(&self.repo, branch, sha).await;
        assert_eq!(status, Some(202), "{}", self.log());
    }

    /// A branch moves to a commit that does not follow its tip.
    pub fn commit_onto(&self, parent: Option<&str>, branch: &str, hosts: &[Host]) -> String {
        let flake = fleet::flake(&self.system, hosts);
        self.repo.commit_onto(parent, branch, "a forced change", &[("flake.nix", &flake)])
    }

    /// Something happens to a pull request.
    pub async fn pull_request(&self, action: &str, number: i64, head: &str, from: From) {
        let status = self.github.pull_request(&self.repo, action, number, head, from).await;
        assert_eq!(status, Some(202), "{}", self.log());
    }

    /// The newest delivery of an event.
    pub fn last_delivery(&self, event: &str) -> Delivered {
        self.github.deliveries().into_iter().rfind(|it| it.event == event).unwrap()
    }

    /// Waits until every delivery so far is decided: they are decided in their order, so a later
    /// one has its gate only then. Gives that one's commit.
    pub async fn caught_up(&self) -> String {
        let sha = self.commit("barrier", &[Host::good("barrier", "1")], &[]);
        self.pull_request("opened", 999, &sha, From::SameRepository).await;
        let gate = |github: &FakeGitHub| github.check_run(self.repo.id, &sha, "fleet");
        self.wait("a later run is over", |github| {
            gate(github).is_some_and(|it| it.conclusion.is_some())
        })
        .await;
        sha
    }

    /// Pipes for a build that runs until it is let go.
    pub fn hold(&self, name: &str) -> Hold {
        Hold::new(self.directory.path(), name)
    }

    /// Every check run of a commit that was ever created, as `name: conclusion or status`.
    pub fn history(&self, sha: &str) -> Vec<String> {
        let all = self.github.all_check_runs(self.repo.id, sha);
        all.into_iter()
            .map(|it| format!("{}: {}", it.name, it.conclusion.unwrap_or(it.status)))
            .collect()
    }

    /// Every check run of a commit was created once.
    pub fn assert_nothing_doubled(&self, sha: &str) {
        let all = self.github.all_check_runs(self.repo.id, sha);
        let mut seen = std::collections::HashSet::new();
        for run in all {
            assert!(
                seen.insert((run.name.clone(), run.external_id.clone())),
                "{} {} was created twice:\n{:#?}",
                run.name,
                run.external_id,
                self.history(sha)
            );
        }
    }

    /// The state and description of the commit status.
    pub fn status(&self, sha: &str) -> String {
        let all = self.github.statuses(self.repo.id, sha);
        let lines =
            all.iter().map(|it| format!("{}: {}: {}", it.context, it.state, it.description));
        lines.collect::<Vec<_>>().join("\n")
    }

    /// Waits until the service has logged this.
    pub async fn logged(&self, text: &str) {
        self.logged_within(text, Duration::from_mins(1)).await;
    }

    /// As [`World::logged`], of what takes longer.
    pub async fn logged_within(&self, text: &str, patience: Duration) {
        let written = async {
            while !self.log().contains(text) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let in_time = tokio::time::timeout(patience, written).await;
        assert!(in_time.is_ok(), "`{text}` was not logged");
    }

    /// Waits until the service lists a run of this commit in this state, whatever GitHub shows.
    pub async fn run_is(&self, sha: &str, state: &str) {
        let (owner, name) = (&self.repo.owner, &self.repo.name);
        let url = self.url(&format!("/api/v1/runs?repo={owner}/{name}&sha={sha}"));
        let listed = async {
            loop {
                let found: serde_json::Value =
                    serde_json::from_str(&self.get(&url).await.1).unwrap();
                if found["runs"][0]["state"] == state {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let in_time = tokio::time::timeout(Duration::from_mins(1), listed).await;
        assert!(in_time.is_ok(), "the run of {sha} is not {state}");
    }

    /// What a page of the service answers: status and body.
    pub async fn get(&self, url: &str) -> (u16, String) {
        let response = reqwest::get(url).await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }
}

/// Shows the service's log when a test fails.
impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let log = self.log();
        let tail: Vec<&str> = log.lines().rev().take(60).collect();
        eprintln!("the service's log:");
        tail.iter().rev().for_each(|line| eprintln!("  {line}"));
    }
}
