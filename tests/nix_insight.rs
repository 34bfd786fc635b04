//! What changes between two systems, read from a real store.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends there")]
#[path = "world/nix.rs"]
mod nix;
#[path = "world/system.rs"]
mod system;

use std::cmp::Ordering;
use std::time::Duration;

use fleetcheck::domain::closure::{self, Closure, version};
use fleetcheck::domain::id::StorePath;
use fleetcheck::domain::insight::{Part, package};
use fleetcheck::nix::closure::Closures;
use fleetcheck::nix::revision::{self, Own, Revision};
use fleetcheck::nix::system::compare;
use fleetcheck::nix::worker::{Fetched, Worker};

use crate::nix::TestNix;
use crate::system::System;

/// The path of an expression, in which `mk` makes a derivation and `self` is a flake.
fn build(nix: &TestNix, rev: char, expression: &str) -> StorePath {
    let rev: String = std::iter::repeat_n(rev, 40).collect();
    let expression = format!(
        r#"let
          mk = name: script: derivation {{
            inherit name; system = builtins.currentSystem;
            builder = "/bin/sh"; args = [ "-c" script ];
          }};
          self = {{ rev = "{rev}"; outPath = "${{mk "source" "echo words of {rev} > $out"}}"; }};
        in {expression}"#
    );
    let out = nix.output("nix-build", ["--no-out-link", "-E", &expression]);
    out.parse().unwrap()
}

fn source(nix: &TestNix, rev: char) -> Revision {
    let source = build(nix, rev, "mk \"x\" \"echo ${self} > $out\"");
    let source = std::fs::read_to_string(source.as_str()).unwrap();
    Revision {
        commit: std::iter::repeat_n(rev, 40).collect::<String>().parse().unwrap(),
        committed_at: None,
        source: Some(source.trim().parse().unwrap()),
    }
}

/// Whether the second system differs from the first in its revision only.
async fn is_revision(nix: &TestNix, systems: [&System; 2]) -> bool {
    let mut worker = Worker::start(&nix.nix()).await.unwrap();
    let mut closures = Closures::default();
    let a = build(nix, 'a', &systems[0].expression());
    let b = build(nix, 'b', &systems[1].expression());
    let in_a = closures.of(&mut worker, &a).await.unwrap();
    let in_b = closures.of(&mut worker, &b).await.unwrap();
    let (before, after) = (source(nix, 'a'), source(nix, 'b'));
    let before = Own::of(&closures, (&a, &in_a), &in_b, &before).unwrap();
    let after = Own::of(&closures, (&b, &in_b), &in_a, &after).unwrap();
    worker.stop().await;
    revision::is_all(&before, &after).unwrap()
}

#[tokio::test]
async fn versions_compare_as_nix_compares_them() {
    let versions =
        ["", "1.0", "1.0.0", "1.0a", "1.0pre", "1.0pre12", "1.0-3", "2.3pre1", "2.3c", "10", "1.a"];
    for nix in TestNix::all() {
        let list = versions.map(|it| format!("\"{it}\"")).join(" ");
        let text = format!(
            "let all = [ {list} ]; in map (a: map (b: builtins.compareVersions a b) all) all"
        );
        let said = nix.output("nix", ["eval", "--json", "--expr", &text]);
        let said: Vec<Vec<i8>> = serde_json::from_str(&said).unwrap();
        for (a, row) in versions.iter().zip(said) {
            for (b, wanted) in versions.iter().zip(row) {
                let wanted = wanted.cmp(&0);
                assert_eq!(version::compare(a, b), wanted, "{a} {b}");
            }
        }
    }
    assert_eq!(version::compare("1", "1"), Ordering::Equal);
}

#[tokio::test]
async fn a_closure_is_what_nix_says_it_is() {
    for nix in TestNix::all() {
        let path = build(&nix, 'a', &System::new("orion").revision().expression());
        let mut worker = Worker::start(&nix.nix()).await.unwrap();
        let mut closures = Closures::default();
        let found = closures.of(&mut worker, &path).await.unwrap();
        let mut found: Vec<_> = closures.paths(&found);
        found.sort_by(|a, b| a.path.cmp(&b.path));
        let listed = nix.output("nix-store", ["--query", "--requisites", path.as_str()]);
        let mut listed: Vec<&str> = listed.lines().collect();
        listed.sort_unstable();
        assert_eq!(found.iter().map(|it| it.path.as_str()).collect::<Vec<_>>(), listed);
        for it in found {
            let size = nix.output("nix-store", ["--query", "--size", it.path.as_str()]);
            assert_eq!(it.size.to_string(), size);
            let hash = nix.output("nix-store", ["--query", "--hash", it.path.as_str()]);
            let hash = nix.output("nix", ["hash", "to-base16", &hash]);
            assert_eq!(it.content, hash.trim_start_matches("sha256:"));
        }
        let gone: StorePath = path.as_str().replace("26.11", "26.12").parse().unwrap();
        assert!(closures.of(&mut worker, &gone).await.is_err());
        assert!(closures.of(&mut worker, &path).await.is_ok(), "a no does not end the worker");
        worker.stop().await;
    }
}

#[tokio::test]
async fn packages_reboot_and_units_are_read_from_two_systems() {
    let old = System::new("orion")
        .package("openssl-3.5.1")
        .unit("sshd.service", "[Service]\nExecStart=${pkg \"openssl-3.5.1\"}\n")
        .unit("dbus.service", "[Unit]\nX-Reload-Triggers=a\n[Service]\nExecStart=/dbus\n")
        .unit("user@.service", "[Service]\nX-RestartIfChanged=false\nExecStart=/a\n")
        .unit("gone.timer", "[Timer]\nOnCalendar=daily\n")
        .unit("words.service", "[Unit]\nDescription=a\n");
    let new = System::new("orion")
        .package("openssl-3.5.2")
        .kernel("6.12.58")
        .unit("sshd.service", "[Service]\nExecStart=${pkg \"openssl-3.5.2\"}\n")
        .unit("dbus.service", "[Unit]\nX-Reload-Triggers=b\n[Service]\nExecStart=/dbus\n")
        .unit("user@.service", "[Service]\nX-RestartIfChanged=false\nExecStart=/b\n")
        .unit("new.socket", "[Socket]\nListenStream=1\n")
        .unit("words.service", "[Unit]\nDescription=b\n");
    for nix in TestNix::all() {
        let base = build(&nix, 'a', &old.expression());
        let head = build(&nix, 'a', &new.expression());
        let switch = compare(&base, &head).unwrap();
        let reboot: Vec<_> =
            switch.reboot.iter().map(|it| (it.part, it.before.as_deref())).collect();
        let was = Some("6.12.9");
        let parts = [Part::Kernel, Part::KernelModules, Part::Initrd];
        assert_eq!(reboot, parts.map(|it| (it, was)));
        let units = switch.units.unwrap();
        let names = |it: &fleetcheck::domain::insight::Names| it.names.join(" ");
        assert_eq!(names(&units.restarted), "sshd.service");
        assert_eq!(names(&units.reloaded), "dbus.service");
        assert_eq!(names(&units.left_alone), "user@.service");
        assert_eq!(names(&units.added), "new.socket");
        assert_eq!(names(&units.removed), "gone.timer");
        let mut worker = Worker::start(&nix.nix()).await.unwrap();
        let mut closures = Closures::default();
        let before = closures.of(&mut worker, &base).await.unwrap();
        let after = closures.of(&mut worker, &head).await.unwrap();
        let difference = closure::compare(
            &Closure { toplevel: &base, paths: closures.paths(&before) },
            &Closure { toplevel: &head, paths: closures.paths(&after) },
        );
        let packages: Vec<_> = difference.packages.iter().map(package).collect();
        assert_eq!(packages[..2], ["linux 6.12.9 to 6.12.58", "openssl 3.5.1 to 3.5.2"]);
        worker.stop().await;
    }
}

#[tokio::test]
async fn of_systems_with_most_in_common_only_what_is_new_is_asked_for() {
    // 1,000 paths in every system, and 50 of its own; text files need no builder.
    let expression = r#"let
          paths = from: count: builtins.genList (n: let name = toString (from + n); in
            builtins.toFile "package${name}-1.${name}" "content of ${name}") count;
          common = toString (paths 0 1000);
          system = from: builtins.toFile "nixos-system-orion-${toString from}"
            "${common} ${toString (paths from 50)}";
        in map system [ 2000 3000 4000 5000 ]"#;
    for nix in TestNix::all() {
        let said = nix.output("nix", ["eval", "--json", "--expr", expression]);
        let systems: Vec<StorePath> = serde_json::from_str(&said).unwrap();
        let mut worker = Worker::start(&nix.nix()).await.unwrap();
        let mut closures = Closures::default();
        let mut asked = Vec::new();
        let mut found = Vec::new();
        for system in &systems {
            let before = worker.operations();
            found.push(closures.of(&mut worker, system).await.unwrap());
            asked.push(worker.operations() - before);
        }
        assert!(asked[0] > 10 && asked[1..].iter().all(|it| *it <= 2), "{asked:?}");
        let difference = closure::compare(
            &Closure { toplevel: &systems[0], paths: closures.paths(&found[0]) },
            &Closure { toplevel: &systems[3], paths: closures.paths(&found[3]) },
        );
        assert_eq!(difference.packages.len(), 100);
        worker.stop().await;
    }
}

#[tokio::test]
async fn systems_that_differ_in_nothing_but_their_commit_are_recognised() {
    let with = |etc: &str| System::new("orion").revision().etc(etc);
    let plain = with("echo > $out/etc/x");
    for nix in TestNix::all() {
        assert!(is_revision(&nix, [&plain, &plain]).await);
        // The first characters of the commit, and a path that another path of the system names.
        let deep = with(
            "echo ${builtins.substring 0 7 self.rev} ${mk \"a\" \"echo ${mk \"b\" \"echo ${self.rev} > $out\"} > $out\"} > $out/etc/x",
        );
        assert!(is_revision(&nix, [&deep, &deep]).await);
        for other in [
            with("echo y > $out/etc/x"),
            with("echo > $out/etc/y"),
            with("echo > $out/etc/x; /bin/chmod +x $out/etc/x"),
            with("/bin/ln -s / $out/etc/x"),
            plain.clone().package("jq-1.8"),
            plain.clone().kernel("6.12.8"),
        ] {
            assert!(!is_revision(&nix, [&plain, &other]).await, "{}", other.expression());
        }
    }
}

#[tokio::test]
async fn what_lies_outside_of_the_store_is_not_read() {
    for nix in TestNix::all() {
        let secret = nix.directory().join("secret.service");
        std::fs::write(&secret, "[Service]\nExecStart=/a\n").unwrap();
        let hostile = |target: &str| {
            format!(
                "mk \"nixos-system-x-1\" \"/bin/mkdir -p $out/etc/systemd/system; \
                 /bin/ln -s {target} $out/etc/systemd/system/x.service; \
                 /bin/ln -s /dev/null $out/etc/systemd/system/masked.service; \
                 /bin/ln -s x.service $out/etc/systemd/system/alias.service; \
                 /bin/ln -s {target} $out/kernel; echo {target} > $out/kernel-params\""
            )
        };
        let base = build(&nix, 'a', &hostile(&secret.display().to_string()));
        let head = build(&nix, 'a', &hostile("/etc/passwd"));
        let switch = compare(&base, &head).unwrap();
        let parts: Vec<_> = switch.reboot.iter().map(|it| it.part).collect();
        assert_eq!(parts, [Part::KernelParameters]);
        assert_eq!(switch.units, Some(fleetcheck::domain::insight::Units::default()));
    }
}

#[tokio::test]
async fn a_system_that_is_gone_is_fetched_from_a_cache_that_has_it() {
    for nix in TestNix::all() {
        let path = build(&nix, 'a', &System::new("orion").expression());
        let cache = nix.directory().join("cache");
        nix.output("nix", ["copy", "--to", &format!("file://{}", cache.display()), path.as_str()]);
        nix.output("nix-store", ["--delete", path.as_str()]);
        let patience = Duration::from_secs(30);
        let mut worker = Worker::start(&nix.nix()).await.unwrap();
        assert_eq!(worker.ensure(&path, patience).await.unwrap(), Fetched::NotFound);
        assert!(worker.is_alive());
        worker.stop().await;
        let line = format!("substituters = file://{}\nrequire-sigs = false", cache.display());
        let nix = nix.setting(&line);
        let mut worker = Worker::start(&nix.nix()).await.unwrap();
        assert_eq!(worker.ensure(&path, patience).await.unwrap(), Fetched::Valid);
        let valid = worker.valid_paths(std::slice::from_ref(&path)).await.unwrap();
        assert!(valid.contains(&path));
        worker.stop().await;
    }
}
