//! A fleet whose inputs are git repositories of this machine.
#![expect(clippy::unwrap_used, reason = "a harness: it may panic")]
#![allow(dead_code, unreachable_pub, reason = "each user takes its part")]
use std::path::PathBuf;
use std::process::{Child, Stdio};

use serde_json::Value;

use crate::command::{Checkout, system};
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

    /// `inputs.a.url = …;` of each.
    pub fn urls(&self, inputs: &[&str]) -> String {
        let url = |it: &&str| format!("inputs.{it}.url = \"{}\";\n", self.url(it));
        inputs.iter().map(url).collect()
    }

    pub fn url(&self, input: &str) -> String {
        format!("git+file://{}", self.repository(input).display())
    }

    pub fn repository(&self, input: &str) -> PathBuf {
        self.checkout.nix.directory().join("inputs").join(input)
    }

    /// Writes the fleet's `flake.nix` into a folder of the checkout.
    pub fn flake(&self, folder: &str, declared: &str, inputs: &[&str], hosts: &[(&str, &str)]) {
        let system = system();
        let names = inputs.join(", ");
        let host = |(name, script): &(&str, &str)| {
            format!(
                "{name}.config.system.build.toplevel = mk \"{name}\" \"{script}; echo 1 > $out\";\n"
            )
        };
        let hosts: String = hosts.iter().map(host).collect();
        let text = format!(
            "{{\n{declared}\noutputs = {{ self, {names} }}: let\n\
             mk = name: script: derivation {{\n\
             inherit name; system = \"{system}\"; builder = \"/bin/sh\"; args = [ \"-e\" \"-c\" script ];\n\
             }};\nin {{ nixosConfigurations = {{\n{hosts}}}; }};\n}}\n"
        );
        let at = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        self.checkout.write(&format!("{at}flake.nix"), &text);
    }

    /// A new commit of an input, whose outputs are these.
    pub fn input(&self, name: &str, outputs: &str) {
        self.input_with(name, "", "_", outputs);
    }

    /// The same with inputs of its own.
    pub fn input_with(&self, name: &str, declared: &str, names: &str, outputs: &str) {
        let folder = self.repository(name);
        std::fs::create_dir_all(&folder).unwrap();
        let text = format!("{{ {declared} outputs = {names}: {{ {outputs} }}; }}\n");
        std::fs::write(folder.join("flake.nix"), text).unwrap();
        let git = |args: &[&str]| {
            let who =
                ["-C", folder.to_str().unwrap(), "-c", "user.name=A", "-c", "user.email=a@b.c"];
            self.checkout.nix.output("git", [who.as_slice(), args].concat())
        };
        git(&["init", "--quiet", "--initial-branch=main"]);
        git(&["add", "--all"]);
        git(&["commit", "--quiet", "--message=a change"]);
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
        let tip = |name: &str| {
            let folder = self.repository(name);
            self.checkout.nix.output("git", ["-C", folder.to_str().unwrap(), "rev-parse", "HEAD"])
        };
        inputs.iter().copied().filter(|it| rev(it) == tip(it)).collect()
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
