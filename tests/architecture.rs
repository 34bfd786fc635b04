//! The arrows between modules point down, and the house's other rules that a machine can keep.
//! This test is the diagram.
#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::fs;
use std::path::Path;

/// Each layer may name those above it in this list, never its neighbours in the same brackets.
const LAYERS: &[&[&str]] = &[
    &["domain"],
    &["config", "telemetry"],
    &["github", "nix", "store"],
    &["flow"],
    &["http"],
    &["app"],
    &["cli"],
    &["main"],
];

/// Where tasks may be spawned: whoever spawns owns what it spawned and waits for its end.
const SPAWNERS: &[&str] = &["src/app.rs", "src/app/", "src/flow/"];

/// Where processes may be started.
const PROCESS_STARTERS: &[&str] = &["src/nix/"];

/// Longer files own more than one thing.
const LONGEST: usize = 400;

#[test]
fn a_module_knows_only_the_layers_below_it() {
    let wrong: Vec<String> = arrows()
        .into_iter()
        .filter(|(from, to, _)| from != to && level(to).is_none_or(|it| Some(it) >= level(from)))
        .map(|(from, to, at)| format!("{from} → {to} in {at}"))
        .collect();
    assert!(wrong.is_empty(), "arrows that point up or sideways:\n{}", wrong.join("\n"));
}

#[test]
fn every_module_has_a_layer() {
    for entry in fs::read_dir("src").unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert!(name == "lib" || level(name).is_some(), "{name} is in no layer");
    }
}

#[test]
fn modules_are_named_in_full_so_that_the_arrows_can_be_seen() {
    for (path, text) in sources("src") {
        assert!(!text.contains("use crate::{"), "{path}: write `use crate::layer::…`");
    }
}

#[test]
fn the_domain_is_arithmetic() {
    let words = [
        "async fn",
        ".await",
        "tokio",
        "sqlx",
        "reqwest",
        "std::fs",
        "std::io",
        "std::env",
        "std::net",
        "std::process",
        "std::thread",
        "Instant",
        "SystemTime",
        "::now()",
        "println!",
    ];
    for (path, text) in sources("src/domain") {
        for word in words {
            assert!(!production(&path, &text).contains(word), "{path}: `{word}` in the domain");
        }
    }
}

#[test]
fn only_nix_starts_processes() {
    for (path, text) in sources("src") {
        let starts = ["Command::new(", "process::Command"].iter().any(|word| text.contains(word));
        assert!(!starts || is_in(&path, PROCESS_STARTERS), "{path} starts a process");
    }
}

#[test]
fn only_the_store_knows_sql() {
    for (path, text) in sources("src") {
        assert!(!text.contains("sqlx::") || path.starts_with("src/store/"), "{path} uses sqlx");
    }
}

#[test]
fn only_those_who_wait_for_their_tasks_spawn_them() {
    let words = ["tokio::spawn(", "task::spawn(", "spawn_local(", "thread::spawn(", ".spawn("];
    for (path, text) in sources("src") {
        let text = production(&path, &text);
        // A `Command` of `nix` spawns a process, which its own test watches.
        let spawns = words.iter().any(|word| text.contains(word)) && !path.starts_with("src/nix/");
        let task = text.contains("tokio::spawn(") || text.contains("JoinSet");
        assert!(
            !(spawns || task) || is_in(&path, SPAWNERS),
            "{path} spawns a task; only {SPAWNERS:?} do"
        );
    }
}

#[test]
fn production_code_does_not_know_that_it_is_tested() {
    for (path, text) in sources("src") {
        let text = tests_of(&text).iter().fold(text.clone(), |rest, head| rest.replace(head, ""));
        assert!(
            !text.contains("cfg(test)"),
            "{path}: `cfg(test)` before something else than a module"
        );
        assert!(!text.contains("cfg!(test)"), "{path}: `cfg!(test)`");
    }
}

#[test]
fn no_file_is_long() {
    for (path, text) in sources("src").into_iter().chain(sources("tests")) {
        let lines = text.lines().count();
        assert!(
            lines <= LONGEST,
            "{path} has {lines} lines, more than {LONGEST}: what is it about?"
        );
    }
}

#[test]
fn every_module_says_what_it_owns() {
    for (path, text) in sources("src") {
        let says = text.starts_with("//! ") || path.ends_with("/tests.rs");
        assert!(says, "{path} does not begin with a sentence on what it owns");
    }
}

fn is_in(path: &str, places: &[&str]) -> bool {
    places.iter().any(|place| path.starts_with(place))
}

fn level(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

/// A file without its tests, which stand at its end or in a file of their own.
fn production<'t>(path: &str, text: &'t str) -> &'t str {
    if path.ends_with("/tests.rs") {
        return "";
    }
    tests_of(text).first().and_then(|head| text.split(head.as_str()).next()).unwrap_or(text)
}

/// How the modules of tests in a file begin.
fn tests_of(text: &str) -> Vec<String> {
    ["", "pub(super) ", "pub(crate) "]
        .iter()
        .map(|visibility| format!("#[cfg(test)]\n{visibility}mod "))
        .filter(|head| text.contains(head.as_str()))
        .collect()
}

/// Every module that another names, as (from, to, file).
fn arrows() -> Vec<(String, String, String)> {
    let mut found = Vec::new();
    for (path, text) in sources("src") {
        let from = path.split('/').nth(1).unwrap().trim_end_matches(".rs").to_owned();
        if from == "lib" {
            continue;
        }
        let root = if from == "main" { "fleetcheck::" } else { "crate::" };
        for rest in text.split(root).skip(1) {
            let to: String =
                rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            found.push((from.clone(), to, path.clone()));
        }
    }
    found
}

fn sources(folder: impl AsRef<Path>) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|it| it == "rs") {
            found.push((path.display().to_string(), fs::read_to_string(&path).unwrap()));
        }
    }
    found
}
