//! A fleet whose inputs are git repositories of this machine.
#![expect(clippy::unwrap_used, reason = "a harness: it may panic")]
#![allow(dead_code, unreachable_pub, reason = "each user takes its part")]
use std::path::PathBuf;
use std::process::{Child, Stdio};

use serde_json::Value;

use crate::command::{Checkout, system};
use crate::inputs::{Inputs, flake};
use crate::nix::TestNix;

/// The checkout of a fleet, and the repositories of its inputs.
pub struct Fleet {
    pub checkout: Checkout,
}

/// What an update printed.
pub struct Updated {
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Fleet {
    /// A fleet with inputs of these names and hosts that are built by these scripts: in them
    /// `${a.v}` is what the input `a` has as `v`, first `1`.
    pub fn new(nix: TestNix, inputs: &[&str], hosts: &[(&str, &str)]) -> Self {
        let fleet = Self { checkout: Checkout::of(nix) };
        for input in inputs {
            fleet.input(input, "v = \"1\";");
        }
        fleet.flake("", &fleet.urls(inputs), inputs, hosts);
        fleet.locked();
        fleet
    }

    fn inputs(&self) -> Inputs<'_> {
        Inputs(&self.checkout.nix)
    }

    /// `inputs.a.url = …;` of each.
    pub fn urls(&self, inputs: &[&str]) -> String {
        self.inputs().urls(inputs)
    }

    pub fn url(&self, input: &str) -> String {
        self.inputs().url(input)
    }

    pub fn repository(&self, input: &str) -> PathBuf {
        self.inputs().repository(input)
    }

    /// Writes the fleet's `flake.nix` into a folder of the checkout.
    pub fn flake(&self, folder: &str, declared: &str, inputs: &[&str], hosts: &[(&str, &str)]) {
        let text = flake(&system(), declared, inputs, hosts);
        let at = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        self.checkout.write(&format!("{at}flake.nix"), &text);
    }

    /// A new commit of an input, whose outputs are these.
    pub fn input(&self, name: &str, outputs: &str) {
        self.inputs().commit(name, outputs);
    }

    /// The same with inputs of its own.
    pub fn input_with(&self, name: &str, declared: &str, names: &str, outputs: &str) {
        self.inputs().commit_with(name, (declared, names), outputs);
    }

    /// Locks what is not locked yet, and commits.
    pub fn locked(&self) {
        self.checkout.git(&["init", "--quiet", "--initial-branch=main"]);
        self.checkout.git(&["add", "--all"]);
        self.nix_flake("lock", &[]);
        self.checkout.commit();
    }

    /// `nix flake COMMAND` in the checkout.
    pub fn nix_flake(&self, command: &str, args: &[&str]) {
        let folder = self.checkout.path().to_str().unwrap();
        let args = [&["flake", command], args].concat();
        let mut nix = self.checkout.nix.command("nix", args);
        let output = nix.current_dir(folder).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    pub fn lock(&self) -> String {
        std::fs::read_to_string(self.checkout.path().join("flake.lock")).unwrap()
    }

    /// Which of these inputs the lock file has at the newest commit.
    pub fn newest<'i>(&self, inputs: &[&'i str]) -> Vec<&'i str> {
        let lock: Value = serde_json::from_str(&self.lock()).unwrap();
        let rev = |name: &str| {
            let node = lock["nodes"]["root"]["inputs"][name].as_str().unwrap();
            lock["nodes"][node]["locked"]["rev"].as_str().unwrap().to_owned()
        };
        inputs.iter().copied().filter(|it| rev(it) == self.inputs().tip(it)).collect()
    }

    /// `fleetcheck update` in the checkout, with its output piped.
    pub fn start(&self, args: &[&str]) -> Child {
        let program = env!("CARGO_BIN_EXE_fleetcheck");
        let mut command = self.checkout.nix.command(program, ["update"]);
        command.args(args).arg("--config").arg(self.checkout.settings());
        command.current_dir(self.checkout.path());
        command.env_remove("FLEETCHECK_CONFIG").env_remove("RUST_LOG");
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    pub fn ended(&self, child: Child) -> Updated {
        let output = child.wait_with_output().unwrap();
        Updated {
            status: output.status.code().unwrap_or(-1),
            stdout: self.redact(&String::from_utf8(output.stdout).unwrap()),
            stderr: self.redact(&String::from_utf8(output.stderr).unwrap()),
        }
    }

    pub fn update(&self, args: &[&str]) -> Updated {
        self.ended(self.start(args))
    }

    /// With `--json`; gives the document, which must be as the schema says.
    pub fn json(&self, args: &[&str]) -> (i32, Value) {
        let output = self.start(&[args, &["--json"]].concat()).wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        let document: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {:?}\n{said}", output.stdout));
        let schema = include_str!("../../fixtures/update-document.schema.json");
        let schema = jsonschema::validator_for(&serde_json::from_str(schema).unwrap()).unwrap();
        let errors: Vec<String> = schema.iter_errors(&document).map(|it| it.to_string()).collect();
        assert_eq!(errors, Vec::<String>::new(), "{document:#}");
        (output.status.code().unwrap(), document)
    }

    /// Without what is new in each run: folders, commits and days, each as long as it was.
    fn redact(&self, text: &str) -> String {
        let text = self.checkout.redact(text);
        let is_commit = |it: &&str| it.len() == 12 && it.bytes().all(|b| b.is_ascii_hexdigit());
        let is_day =
            |it: &&str| it.len() == 10 && it.split('-').count() == 3 && it.starts_with('2');
        let mut out = text.clone();
        for word in text.split([' ', '\n', ',', ';']) {
            if is_commit(&word) {
                out = out.replace(word, "cccccccccccc");
            } else if is_day(&word) {
                out = out.replace(word, "2026-01-02");
            }
        }
        out
    }
}

/// The names of a list of a document.
pub fn names(list: &Value, key: &str) -> Vec<String> {
    let list = list.as_array().unwrap();
    list.iter().map(|it| it[key].as_str().unwrap().to_owned()).collect()
}
