//! What is in the way of an update.
use std::io::{BufRead, BufReader};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::nix::TestNix;
use crate::updates::{Fleet, names};

#[test]
fn an_input_that_cannot_be_fetched_stays_and_is_in_nobody_s_way() {
    for nix in TestNix::all() {
        let fleet = Fleet::new(nix, &["a", "b"], &[("raider", "echo ${a.v}")]);
        fleet.input("a", "v = \"2\";");
        let hidden = fleet.repository("b").with_file_name("hidden");
        std::fs::rename(fleet.repository("b"), &hidden).unwrap();
        let (status, document) = fleet.json(&[]);
        assert_eq!(names(&document["not_found"], "input"), ["b"], "{document:#}");
        let why = document["not_found"][0]["headline"].as_str().unwrap();
        assert!(!why.is_empty() && !why.contains('\n'), "{why}");
        assert_eq!((status, names(&document["moved"], "input")), (1, vec!["a".into()]));
        std::fs::rename(hidden, fleet.repository("b")).unwrap();
        assert_eq!(fleet.newest(&["a"]), ["a"]);
    }
}

#[test]
fn a_host_that_the_weather_keeps_from_being_tried_lets_nothing_be_written() {
    let source = "derivation { name = \"source\"; system = \"builtin\"; builder = \"builtin:fetchurl\"; \
                  url = \"http://127.0.0.1:9/source\"; outputHashMode = \"flat\"; outputHashAlgo = \"sha256\"; \
                  outputHash = \"0000000000000000000000000000000000000000000000000000\"; }";
    let script = format!("${{if a.v == \"1\" then \"true\" else \"cat ${{{source}}}\"}}");
    let hosts = [("raider", script.as_str()), ("viper", "echo ${b.v}")];
    let mut fleet = Fleet::new(TestNix::one(), &["a", "b"], &hosts);
    fleet.checkout = fleet.checkout.setting("retries = 0");
    fleet.input("a", "v = \"2\";");
    fleet.input("b", "v = \"2\";");
    let before = fleet.lock();
    let (status, document) = fleet.json(&[]);
    assert_eq!((status, fleet.lock()), (1, before), "{document:#}");
    let unknown = names(&document["unknown"], "attribute");
    assert_eq!(unknown, ["nixosConfigurations.raider"], "{document:#}");
    assert_eq!(document["written"], json!(null));
}

#[test]
fn a_flake_in_a_sub_folder_is_updated_there_or_the_nix_that_cannot_is_named() {
    for nix in TestNix::all() {
        let fleet = Fleet::new(nix, &["a"], &[("raider", "true")]);
        fleet.flake("nix", &fleet.urls(&["a"]), &["a"], &[("raider", "echo ${a.v}")]);
        for name in ["flake.nix", "flake.lock"] {
            std::fs::rename(
                fleet.checkout.path().join(name),
                fleet.checkout.path().join(if name == "flake.nix" {
                    "other"
                } else {
                    "nix/flake.lock"
                }),
            )
            .unwrap();
        }
        fleet.checkout.write("fleetcheck.toml", "[build]\nflake = \"nix\"\n");
        fleet.checkout.commit();
        fleet.input("a", "v = \"2\";");
        let is_old = fleet.checkout.nix.output("nix", ["--version"]).contains(" 2.8");
        let updated = fleet.update(&[]);
        if is_old {
            assert_eq!(updated.status, 1);
            let said =
                "the flake is in the sub-folder nix, where Nix 2.8.0 moves no inputs; 2.19 does";
            assert!(updated.stderr.contains(said), "{}", updated.stderr);
        } else {
            assert_eq!(updated.status, 0, "{}", updated.stderr);
            assert!(updated.stdout.contains("Wrote /fleet/nix/flake.lock"), "{}", updated.stdout);
        }
    }
}

#[test]
fn a_lock_file_of_another_version_is_understood_or_told() {
    let fleet = Fleet::new(TestNix::one(), &["a"], &[("raider", "echo ${a.v}")]);
    fleet.input("a", "v = \"2\";");
    let lock = fleet.lock();
    fleet.checkout.write("flake.lock", &lock.replace("\"version\": 7", "\"version\": 5"));
    fleet.checkout.commit();
    assert_eq!(fleet.json(&["--dry-run"]).0, 0);
    fleet.checkout.write("flake.lock", &lock.replace("\"version\": 7", "\"version\": 99"));
    fleet.checkout.commit();
    let (status, document) = fleet.json(&[]);
    assert_eq!(status, 1);
    assert!(document["problem"].as_str().unwrap().contains("99"), "{document:#}");
}

#[test]
fn wrong_usage_names_what_there_is() {
    let fleet = Fleet::new(TestNix::one(), &["a", "b"], &[("raider", "echo ${a.v}")]);
    let updated = fleet.update(&["--inputs", "nixpkgs"]);
    let said = "fleetcheck: no input of flake.lock is meant by nixpkgs; it has a, b\n";
    assert_eq!((updated.status, updated.stderr.as_str()), (2, said));
    let updated = fleet.update(&["--inputs", "{"]);
    assert_eq!(updated.status, 2);
    assert!(updated.stderr.starts_with("fleetcheck: --inputs: `{` "), "{}", updated.stderr);
}

#[test]
fn a_gate_that_would_fail_anyway_says_so_before_anything_is_tried() {
    let fleet = Fleet::new(TestNix::one(), &["a"], &[("raider", "echo ${a.v}")]);
    fleet.input("a", "v = \"2\";");
    fleet.checkout.write("fleetcheck.toml", "[gate]\nrequired = [\"viper\"]\n");
    fleet.checkout.commit();
    let before = fleet.lock();
    let (status, document) = fleet.json(&[]);
    assert_eq!((status, fleet.lock()), (1, before));
    let problem = document["problem"].as_str().unwrap();
    assert!(problem.starts_with("the gate would fail whatever moves: "), "{problem}");
    assert_eq!(document["tries"], 0);
}

#[test]
fn ctrl_c_leaves_the_file_as_it_was() {
    let script = "[ ${a.v} = 1 ] || PATH=/usr/bin:/bin sleep 600";
    let fleet = Fleet::new(TestNix::one(), &["a"], &[("raider", script)]);
    fleet.input("a", "v = \"2\";");
    let before = fleet.lock();
    let mut child = fleet.start(&["--json"]);
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    while !said.contains("raider: building") {
        assert!(lines.read_line(&mut said).unwrap() > 0, "{said}");
    }
    kill_process(Pid::from_raw(child.id().cast_signed()).unwrap(), Signal::INT).unwrap();
    let reader = std::thread::spawn(move || std::io::read_to_string(lines).unwrap());
    let updated = fleet.ended(child);
    let rest = reader.join().unwrap();
    assert_eq!((updated.status, fleet.lock()), (1, before), "{rest}");
    assert!(rest.ends_with("fleetcheck: stopped; flake.lock is as it was\n"), "{rest}");
    let document: serde_json::Value = serde_json::from_str(&updated.stdout).unwrap();
    assert_eq!(document["problem"], json!("stopped; flake.lock is as it was"));
}
