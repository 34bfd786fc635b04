//! Sample fleets: flakes without inputs whose hosts have the shape of `nixosSystem`'s results.
use std::fmt::Write as _;
use std::path::Path;

/// A host of a sample fleet.
#[derive(Clone)]
pub struct Host {
    name: String,
    /// The Nix expression of its toplevel.
    toplevel: String,
}

impl Host {
    /// A host whose toplevel is this expression; `mk` makes a derivation from a name and a script,
    /// `at` one for a system.
    pub fn new(name: &str, toplevel: &str) -> Self {
        Self { name: name.to_owned(), toplevel: toplevel.to_owned() }
    }

    /// Builds; another derivation for each `content`.
    pub fn good(name: &str, content: &str) -> Self {
        Self::script(name, &format!("echo building {name} {content}; echo {content} > $out"))
    }

    /// Built by this shell script, which may not contain quotes.
    pub fn script(name: &str, script: &str) -> Self {
        Self::new(name, &format!(r#"mk "{name}" "{script}""#))
    }

    /// Fails to build with status 3 after it has said something.
    pub fn broken(name: &str) -> Self {
        Self::script(name, "echo about to fail; echo no such library >&2; exit 3")
    }

    /// Fails to evaluate with this message.
    pub fn throws(name: &str, message: &str) -> Self {
        Self::new(name, &format!(r#"throw "{message}""#))
    }

    /// Builds until it is let go, by the script of a `Hold`.
    pub fn held_by(name: &str, hold: &str) -> Self {
        Self::script(name, &format!("echo waiting; {hold}; echo {name} > $out"))
    }

    /// Builds, and evaluates when it is let go, by the script of a `Hold`: what its evaluation
    /// needs is built meanwhile.
    pub fn evaluated_when(name: &str, hold: &str) -> Self {
        Self::new(name, &format!(r#"mk "{name}" "echo {} > $out""#, Self::gate(name, hold)))
    }

    /// A part of a text that is known when it is let go.
    pub fn gate(name: &str, hold: &str) -> String {
        format!(r#"${{toString (import (mk "gate-{name}" "{hold}; echo 1 > $out"))}}"#)
    }

    /// Builds, and holds 290 MB to evaluate, with any Nix; then evaluates `more`.
    pub fn heavy(name: &str, more: &str) -> Self {
        let doubled = "let double = s: n: if n == 0 then s else double (s + s) (n - 1); \
                       in builtins.stringLength (double \"0123456789abcdef\" 23)";
        Self::new(name, &format!(r#"mk "{name}" "echo ${{toString ({doubled})}} {more} > $out""#))
    }

    /// Builds, and notes that in a file of the test's: a line each time.
    pub fn counted(name: &str, file: &Path) -> Self {
        Self::script(name, &format!("echo {name} >> {}; echo {name} > $out", file.display()))
    }

    /// Takes an hour to evaluate, and no memory.
    pub fn endless(name: &str) -> Self {
        let inner = "builtins.foldl' (a: b: a + b) 0 (builtins.genList (x: x) 1000)";
        let outer =
            format!("builtins.foldl' (a: b: a + {inner}) 0 (builtins.genList (x: x) 10000000)");
        Self::new(name, &format!(r#"mk "{name}" "echo ${{toString ({outer})}} > $out""#))
    }

    /// Of a system that no builder here has.
    pub fn elsewhere(name: &str) -> Self {
        Self::new(name, &format!(r#"at "riscv64-linux" "{name}" "echo > $out""#))
    }
}

/// `flake.nix` of a fleet of these hosts, for this system.
pub fn flake(system: &str, hosts: &[Host]) -> String {
    let mut text = format!(
        r#"{{
  outputs = {{ self }}: let
    at = system: name: script: derivation {{
      inherit name system;
      builder = "/bin/sh";
      args = [ "-c" script ];
    }};
    mk = at "{system}";
    host = toplevel: {{ config.system.build.toplevel = toplevel; }};
  in {{
    nixosConfigurations = {{
"#
    );
    for host in hosts {
        let name = fleetcheck::domain::id::nix_string(&host.name);
        writeln!(text, "      {name} = host ({});", host.toplevel).unwrap();
    }
    text.push_str("    };\n  };\n}\n");
    text
}
