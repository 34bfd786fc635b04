//! A fleet on GitHub whose inputs are git repositories of this machine.
use std::fmt::Write as _;
use std::process::Output;
use std::time::Duration;

use crate::inputs::{Inputs, flake};
use crate::world::World;
use crate::world::github::{FakeGitHub, Options, PullView, RepoHandle};
use crate::world::nix::TestNix;

/// A world whose repository is a fleet with a lock file.
pub(super) struct Fleet {
    pub(super) world: World,
    inputs: Vec<String>,
    hosts: Vec<(String, String)>,
    policy: String,
    /// More lines of `flake.nix`.
    declared: String,
    /// Where the flake is; empty for the root.
    folder: String,
}

impl Fleet {
    /// A fleet with inputs of these names, in whose hosts' scripts `${a.v}` is what the input `a`
    /// has as `v`, first `1`; with these lines after `[update]`.
    pub(super) async fn new(inputs: &[&str], hosts: &[(&str, &str)], policy: &str) -> Self {
        let world = World::with(TestNix::one(), Options::default()).await;
        Self::of(world, (inputs, hosts), policy).await
    }

    /// The same of a private repository.
    pub(super) async fn private(inputs: &[&str], hosts: &[(&str, &str)]) -> Self {
        let mut world = World::with(TestNix::one(), Options::default()).await;
        world.repo = world.github.create_repository("acme", "secret", true);
        Self::of(world, (inputs, hosts), "").await
    }

    pub(super) async fn of(
        world: World,
        (inputs, hosts): (&[&str], &[(&str, &str)]),
        policy: &str,
    ) -> Self {
        let mut fleet = Self {
            world,
            declared: String::new(),
            folder: String::new(),
            inputs: inputs.iter().map(|it| (*it).to_owned()).collect(),
            hosts: hosts.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect(),
            policy: format!("[update]\n{policy}"),
        };
        for input in inputs {
            fleet.inputs().commit(input, "v = \"1\";");
        }
        fleet.world.github.grant_updates();
        fleet.world.start().await;
        fleet.push().await;
        fleet
    }

    /// Another repository with the same fleet, tested as it is.
    pub(super) async fn beside(&self, name: &str) -> RepoHandle {
        let repo = self.world.github.create_repository("acme", name, false);
        let files = self.files();
        let files: Vec<(&str, &str)> = files.iter().map(|(a, b)| (&**a, b.as_str())).collect();
        let sha = repo.commit("main", "the fleet", &files);
        assert_eq!(self.world.github.push(&repo, "main", &sha).await, Some(202));
        let gate = |github: &FakeGitHub| github.check_run(repo.id, &sha, "fleet");
        let is_over = |github: &FakeGitHub| gate(github).is_some_and(|it| it.conclusion.is_some());
        self.world.wait("the other fleet is tested", is_over).await;
        repo
    }

    /// Another policy, from the next push on.
    pub(super) fn set_policy(&mut self, policy: &str) {
        self.policy = format!("[update]\n{policy}");
    }

    /// More about its inputs.
    pub(super) fn declare(&mut self, lines: &str) {
        self.declared.push_str(lines);
    }

    /// The flake is in a folder, from the next push on.
    pub(super) fn move_to(&mut self, folder: &str) {
        self.folder = format!("{folder}/");
        write!(self.policy, "[build]\nflake = \"{folder}\"\n").unwrap();
    }

    /// The files that a commit changes.
    pub(super) fn changed(&self, commit: &str) -> Vec<String> {
        let git = self.world.repo.directory().to_str().unwrap();
        let args = ["-C", git, "diff-tree", "--no-commit-id", "--name-only", "-r", commit];
        self.world.nix.output("git", args).lines().map(str::to_owned).collect()
    }

    pub(super) fn show_file(&self, commit: &str, path: &str) -> String {
        let git = self.world.repo.directory().to_str().unwrap();
        let file = format!("{commit}:{path}");
        self.world.nix.output("git", ["-C", git, "show", &file])
    }

    /// Another script for a host, from the next push on.
    pub(super) fn set_host(&mut self, name: &str, script: &str) {
        let host = self.hosts.iter_mut().find(|(it, _)| it == name).unwrap();
        script.clone_into(&mut host.1);
    }

    /// The pull requests that there ever were.
    pub(super) fn pulls(&self) -> Vec<PullView> {
        self.world.github.pulls(&self.world.repo)
    }

    /// The one pull request.
    pub(super) fn pull(&self) -> PullView {
        let mut pulls = self.pulls();
        assert_eq!(pulls.len(), 1, "{pulls:#?}");
        pulls.remove(0)
    }

    /// Which of the inputs a commit's lock file has at their newest revision.
    pub(super) fn newest(&self, commit: &str) -> Vec<String> {
        let lock = self.show_file(commit, &format!("{}flake.lock", self.folder));
        let lock: serde_json::Value = serde_json::from_str(&lock).unwrap();
        let rev = |name: &str| {
            let node = lock["nodes"]["root"]["inputs"][name].as_str().unwrap();
            lock["nodes"][node]["locked"]["rev"].as_str().unwrap().to_owned()
        };
        let is_newest = |it: &&String| rev(it) == self.inputs().tip(it);
        self.inputs.iter().filter(is_newest).cloned().collect()
    }

    /// What git says of a commit in this format.
    pub(super) fn show(&self, commit: &str, format: &str) -> String {
        let git = self.world.repo.directory().to_str().unwrap();
        let format = format!("--format={format}");
        self.world.nix.output("git", ["-C", git, "show", "--no-patch", &format, commit])
    }

    /// Every branch on GitHub.
    pub(super) fn branches(&self) -> Vec<String> {
        let git = self.world.repo.directory().to_str().unwrap();
        let args = ["-C", git, "for-each-ref", "--format=%(refname:short)", "refs/heads"];
        self.world.nix.output("git", args).lines().map(str::to_owned).collect()
    }

    pub(super) fn inputs(&self) -> Inputs<'_> {
        Inputs(&self.world.nix)
    }

    /// The files of the fleet, with a lock file of what the inputs are now.
    pub(super) fn files(&self) -> Vec<(String, String)> {
        let inputs: Vec<&str> = self.inputs.iter().map(String::as_str).collect();
        let hosts: Vec<(&str, &str)> =
            self.hosts.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        let declared = self.inputs().urls(&inputs) + &self.declared;
        let text = flake(self.world.system(), &declared, &inputs, &hosts);
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("flake.nix"), &text).unwrap();
        let mut nix = self.world.nix.command("nix", ["flake", "lock"]);
        let output = nix.current_dir(folder.path()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let lock = std::fs::read_to_string(folder.path().join("flake.lock")).unwrap();
        let at = |name: &str| format!("{}{name}", self.folder);
        vec![
            (at("flake.nix"), text),
            (at("flake.lock"), lock),
            ("fleetcheck.toml".to_owned(), self.policy.clone()),
        ]
    }

    /// Pushes the fleet as it is now to main, and waits until it is tested.
    pub(super) async fn push(&mut self) -> String {
        let files = self.files();
        let files: Vec<(&str, &str)> = files.iter().map(|(a, b)| (&**a, b.as_str())).collect();
        let sha = self.world.repo.commit("main", "the fleet", &files);
        self.world.announce("main", &sha).await;
        let gate = |github: &FakeGitHub| github.check_run(self.world.repo.id, &sha, "fleet");
        let is_over = |github: &FakeGitHub| gate(github).is_some_and(|it| it.conclusion.is_some());
        self.world.wait("the fleet is tested", is_over).await;
        sha
    }

    /// `fleetcheck update --repo acme/fleet`, beside the service.
    pub(super) fn ask(&self) -> Output {
        let (owner, name) = (&self.world.repo.owner, &self.world.repo.name);
        let repository = format!("{owner}/{name}");
        let program = env!("CARGO_BIN_EXE_fleetcheck");
        let mut command = self.world.nix.command(program, ["update", "--repo", &repository]);
        command.arg("--config").arg(self.world.write_settings());
        command.env_remove("FLEETCHECK_CONFIG").env_remove("RUST_LOG");
        command.output().unwrap()
    }

    /// Asks for an update and waits for its end; gives what came of it, in the log's words.
    pub(super) async fn update(&self) -> String {
        let before = self.ends().len();
        let asked = self.ask();
        assert!(asked.status.success(), "{}", String::from_utf8_lossy(&asked.stderr));
        self.ended(before + 1).await.pop().unwrap()
    }

    /// What came of every update so far.
    pub(super) fn ends(&self) -> Vec<String> {
        let log = self.world.log();
        let ends = log.lines().filter_map(|it| it.split_once("has ended: "));
        ends.map(|(_, end)| plain(end)).collect()
    }

    /// Waits until so many have ended.
    pub(super) async fn ended(&self, count: usize) -> Vec<String> {
        let ended = async {
            while self.ends().len() < count {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let in_time = tokio::time::timeout(Duration::from_mins(2), ended).await;
        assert!(in_time.is_ok(), "{count} updates have not ended:\n{}", self.world.log());
        self.ends()
    }
}

/// Without the log's own fields.
fn plain(end: &str) -> String {
    end.split(" update.id=").next().unwrap_or(end).trim().to_owned()
}
