//! The real `fleetcheck check` on a fleet in a folder, with a Nix in a store of its own.
#![expect(clippy::unwrap_used, reason = "a harness: it may panic")]
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::fleet::{self, Host};
use crate::nix::TestNix;

/// A fleet's folder, the settings and the Nix to check it with.
pub struct Checkout {
    pub nix: TestNix,
    folder: tempfile::TempDir,
    settings: String,
}

/// What a check printed, with the paths that differ from run to run taken out.
pub struct Checked {
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Checkout {
    /// An empty folder for each Nix of the environment.
    pub fn all() -> Vec<Self> {
        TestNix::all().into_iter().map(Self::of).collect()
    }

    /// An empty folder for the first Nix of the environment.
    pub fn one() -> Self {
        Self::of(TestNix::one())
    }

    pub fn of(nix: TestNix) -> Self {
        let folder = tempfile::Builder::new().prefix("fc-fleet-").tempdir().unwrap();
        Self { nix, folder, settings: String::new() }
    }

    /// With one more line of `[nix]`.
    pub fn setting(mut self, line: &str) -> Self {
        self.settings.push_str(line);
        self.settings.push('\n');
        self
    }

    /// With a fleet of these hosts, and no git.
    pub fn with(self, hosts: &[Host]) -> Self {
        self.write("flake.nix", &fleet::flake(&system(), hosts));
        self
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn write(&self, name: &str, text: &str) {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Makes a repository of the folder, once, and commits everything. Gives the commit.
    pub fn commit(&self) -> String {
        self.git(&["init", "--quiet", "--initial-branch=main"]);
        self.git(&["add", "--all"]);
        let who = ["-c", "user.name=A", "-c", "user.email=a@example.org"];
        self.git(&[who.as_slice(), &["commit", "--quiet", "--message=a change"]].concat());
        self.git(&["rev-parse", "HEAD"])
    }

    pub fn git(&self, args: &[&str]) -> String {
        let args = [&["-C", self.path().to_str().unwrap()], args].concat();
        self.nix.output("git", args)
    }

    /// The settings file that every check is given.
    pub fn settings(&self) -> PathBuf {
        let path = self.nix.directory().join("check.toml");
        let program = self.nix.program().display();
        let lines = &self.settings;
        std::fs::write(&path, format!("[nix]\nprogram = \"{program}\"\n{lines}")).unwrap();
        path
    }

    /// `fleetcheck check` in the folder with these arguments, ready to start.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = self.nix.command(env!("CARGO_BIN_EXE_fleetcheck"), ["check"]);
        command.args(args).arg("--config").arg(self.settings()).current_dir(self.path());
        command.env_remove("FLEETCHECK_CONFIG").env_remove("RUST_LOG");
        command
    }

    /// Starts it with its output piped.
    pub fn start(&self, args: &[&str]) -> Child {
        self.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Runs it to its end.
    pub fn check(&self, args: &[&str]) -> Checked {
        self.ended(self.start(args))
    }

    /// The result of a check that was started.
    pub fn ended(&self, child: Child) -> Checked {
        let output = child.wait_with_output().unwrap();
        Checked {
            status: output.status.code().unwrap_or(-1),
            stdout: self.redact(&String::from_utf8(output.stdout).unwrap()),
            stderr: self.redact(&String::from_utf8(output.stderr).unwrap()),
        }
    }

    /// Runs it with `--json`; gives the document, which must be as the schema says.
    pub fn json(&self, args: &[&str]) -> (i32, Value) {
        let output = self.command(&[args, &["--json"]].concat()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        let document: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {:?}\n{said}", output.stdout));
        let schema = include_str!("../../fixtures/check-document.schema.json");
        let schema = jsonschema::validator_for(&serde_json::from_str(schema).unwrap()).unwrap();
        let errors: Vec<String> = schema.iter_errors(&document).map(|it| it.to_string()).collect();
        assert_eq!(errors, Vec::<String>::new(), "{document:#}");
        let status = output.status.code().unwrap();
        assert_eq!(status == 0, document["passes"] == true, "{document:#}");
        (status, document)
    }

    /// Without what is new in each run: folders, hashes and times.
    pub fn redact(&self, text: &str) -> String {
        let mut text = text.replace(self.nix.directory().to_str().unwrap(), "/nix");
        text = text.replace(self.path().to_str().unwrap(), "/fleet");
        let mut redacted = String::new();
        let mut rest = text.as_str();
        while let Some(at) = rest.find("/nix/store/") {
            let (before, path) = rest.split_at(at + "/nix/store/".len());
            redacted.push_str(before);
            let hash =
                path.len() - path.trim_start_matches(|c: char| c.is_ascii_alphanumeric()).len();
            redacted.push_str(if hash == 32 { "HASH" } else { &path[..hash] });
            rest = &path[hash..];
        }
        redacted.push_str(rest);
        redacted
    }
}

/// This machine's, as Nix calls it.
pub fn system() -> String {
    format!("{}-linux", std::env::consts::ARCH)
}

/// The result of each host of a document, in its order: `atlas built`.
pub fn results(document: &Value) -> Vec<String> {
    let hosts = document["hosts"].as_array().unwrap();
    let line = |host: &Value| {
        let name = host["host"].as_str().or(host["attribute"].as_str()).unwrap();
        format!("{name} {}", host["result"].as_str().unwrap())
    };
    hosts.iter().map(line).collect()
}

/// A host of a document by its name.
pub fn host<'d>(document: &'d Value, name: &str) -> &'d Value {
    let hosts = document["hosts"].as_array().unwrap();
    hosts.iter().find(|it| it["host"] == name).unwrap_or_else(|| panic!("no {name}: {document:#}"))
}
