//! Git repositories of this machine as the inputs of a flake, and a fleet that is made of them.
#![expect(clippy::unwrap_used, reason = "a harness: it may panic")]
#![allow(dead_code, unreachable_pub, reason = "each user takes its part")]
use std::path::PathBuf;

use super::nix::TestNix;

/// The repositories beside a Nix.
#[derive(Clone, Copy)]
pub struct Inputs<'n>(pub &'n TestNix);

impl Inputs<'_> {
    pub fn repository(self, input: &str) -> PathBuf {
        self.0.directory().join("inputs").join(input)
    }

    pub fn url(self, input: &str) -> String {
        format!("git+file://{}", self.repository(input).display())
    }

    /// `inputs.a.url = …;` of each.
    pub fn urls(self, inputs: &[&str]) -> String {
        let url = |it: &&str| format!("inputs.{it}.url = \"{}\";\n", self.url(it));
        inputs.iter().map(url).collect()
    }

    /// A new commit of an input, whose outputs are these.
    pub fn commit(self, name: &str, outputs: &str) {
        self.commit_with(name, ("", "_"), outputs);
    }

    /// The same with inputs of its own, and their names.
    pub fn commit_with(self, name: &str, (declared, names): (&str, &str), outputs: &str) {
        let folder = self.repository(name);
        std::fs::create_dir_all(&folder).unwrap();
        let text = format!("{{ {declared} outputs = {names}: {{ {outputs} }}; }}\n");
        std::fs::write(folder.join("flake.nix"), text).unwrap();
        self.git(name, &["init", "--quiet", "--initial-branch=main"]);
        self.git(name, &["add", "--all"]);
        self.git(name, &["commit", "--quiet", "--message=a change"]);
    }

    /// The newest commit of an input.
    pub fn tip(self, name: &str) -> String {
        self.git(name, &["rev-parse", "HEAD"])
    }

    fn git(self, name: &str, args: &[&str]) -> String {
        let folder = self.repository(name);
        let who = ["-C", folder.to_str().unwrap(), "-c", "user.name=A", "-c", "user.email=a@b.c"];
        self.0.output("git", [who.as_slice(), args].concat())
    }
}

/// A `flake.nix` with hosts that are built by these scripts: in them `${a.v}` is what the input `a`
/// has as `v`.
pub fn flake(system: &str, declared: &str, inputs: &[&str], hosts: &[(&str, &str)]) -> String {
    let names = inputs.join(", ");
    let host = |(name, script): &(&str, &str)| {
        format!(
            "{name}.config.system.build.toplevel = mk \"{name}\" \"{script}; echo 1 > $out\";\n"
        )
    };
    let hosts: String = hosts.iter().map(host).collect();
    format!(
        "{{\n{declared}\noutputs = {{ self, {names} }}: let\n\
         mk = name: script: derivation {{\n\
         inherit name; system = \"{system}\"; builder = \"/bin/sh\"; args = [ \"-e\" \"-c\" script ];\n\
         }};\nin {{ nixosConfigurations = {{\n{hosts}}}; }};\n}}\n"
    )
}
