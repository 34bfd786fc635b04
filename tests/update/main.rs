//! `fleetcheck update`: the real program, with real Nix and git repositories as inputs.
#![expect(clippy::unwrap_used, reason = "tests may panic")]
#![allow(dead_code, unreachable_pub, reason = "the harness is shared with other tests")]
#[path = "../world/command.rs"]
mod command;
#[path = "../world/fleet.rs"]
mod fleet;
#[path = "../world/inputs.rs"]
mod inputs;
#[path = "../world/nix.rs"]
mod nix;
mod trouble;
#[path = "../world/updates.rs"]
mod updates;

use insta::assert_snapshot;
use nix::TestNix;
use serde_json::json;
use updates::{Fleet, names};

#[test]
fn what_breaks_nothing_moves_and_the_lock_file_is_the_one_that_nix_writes() {
    for nix in TestNix::all() {
        let fleet = Fleet::new(nix, &["a", "b"], &[("raider", "echo ${a.v}${b.v}")]);
        fleet.input("a", "v = \"2\";");
        fleet.input("b", "v = \"2\";");
        let updated = fleet.update(&[]);
        assert_eq!(updated.status, 0, "{}", updated.stderr);
        insta::allow_duplicates!(assert_snapshot!(updated.stdout, @r"
         INPUT  FROM                        TO                          CHANGES
         a      cccccccccccc of 2026-01-02  cccccccccccc of 2026-01-02  -
         b      cccccccccccc of 2026-01-02  cccccccccccc of 2026-01-02  -

        Wrote /fleet/flake.lock; 1 set of inputs was tried.
        "));
        let ours = fleet.lock();
        fleet.nix_flake("update", &[]);
        assert_eq!(fleet.lock(), ours);
        assert_eq!(fleet.newest(&["a", "b"]), ["a", "b"]);
    }
}

#[test]
fn an_input_that_breaks_a_host_s_evaluation_is_held_back_and_the_others_move() {
    for nix in TestNix::all() {
        let hosts = [("raider", "echo ${a.v}"), ("viper", "echo ${b.v}"), ("orion", "true")];
        let fleet = Fleet::new(nix, &["a", "b", "c"], &hosts);
        fleet.input("a", "v = throw \"gtk-engine-murrine was removed\";");
        fleet.input("b", "v = \"2\";");
        fleet.input("c", "v = \"2\";");
        let updated = fleet.update(&[]);
        assert_eq!(updated.status, 1, "{}", updated.stderr);
        insta::allow_duplicates!(assert_snapshot!(updated.stdout, @r"
         INPUT  FROM                        TO                          CHANGES
         b      cccccccccccc of 2026-01-02  cccccccccccc of 2026-01-02  -
         c      cccccccccccc of 2026-01-02  cccccccccccc of 2026-01-02  -

        a is held back, cccccccccccc of 2026-01-02 → cccccccccccc of 2026-01-02; moved it breaks
          raider: gtk-engine-murrine was removed

        Wrote /fleet/flake.lock; 6 sets of inputs were tried.
        "));
        assert_eq!(fleet.newest(&["a", "b", "c"]), ["b", "c"]);
        fleet.nix_flake("lock", &[]);
        assert_eq!(fleet.newest(&["a", "b", "c"]), ["b", "c"], "Nix has nothing to add to it");
    }
}

#[test]
fn an_input_that_breaks_a_host_s_build_is_held_back_and_no_derivation_is_built_twice() {
    let nix = TestNix::one();
    let count = nix.directory().join("count");
    let script = format!("echo ${{a.v}} >> {}; [ ${{a.v}} != bad ]", count.display());
    let fleet = Fleet::new(nix, &["a", "b"], &[("raider", &script), ("viper", "echo ${b.v}")]);
    fleet.input("a", "v = \"bad\";");
    fleet.input("b", "v = \"2\";");
    let (status, document) = fleet.json(&[]);
    assert_eq!(status, 1);
    assert_eq!(names(&document["moved"], "input"), ["b"]);
    assert_eq!(names(&document["held_back"], "input"), ["a"]);
    let hosts = &document["held_back"][0]["hosts"];
    assert_eq!(names(hosts, "attribute"), ["nixosConfigurations.raider"]);
    assert!(hosts[0]["headline"].as_str().unwrap().starts_with("raider: "), "{hosts}");
    let built = std::fs::read_to_string(count).unwrap();
    let times = |it: &str| built.lines().filter(|line| *line == it).count();
    assert_eq!((times("1"), times("bad")), (1, 1), "{built}");
}

#[test]
fn inputs_that_break_a_host_only_together_are_told_apart_from_those_that_do_not() {
    let script = "[ ${a.v}${b.v} != 22 ]";
    let fleet = Fleet::new(TestNix::one(), &["a", "b", "c"], &[("raider", script)]);
    for input in ["a", "b", "c"] {
        fleet.input(input, "v = \"2\";");
    }
    let (status, document) = fleet.json(&[]);
    assert_eq!(status, 1);
    let held = &document["held_back"];
    assert_eq!(held.as_array().unwrap().len(), 1, "{document:#}");
    let (input, with) = (held[0]["input"].as_str().unwrap(), &held[0]["with"]);
    let other = if input == "a" { "b" } else { "a" };
    assert!(matches!(input, "a" | "b") && *with == json!([other]), "{held:#}");
    assert_eq!(fleet.newest(&["a", "b", "c"]).len(), 2);
}

#[test]
fn an_input_that_needs_another_s_new_revision_moves_with_it() {
    let script = "[ ${a.v} = 1 ] || [ ${b.v} = 2 ]";
    let fleet = Fleet::new(
        TestNix::one(),
        &["a", "b", "c"],
        &[("raider", script), ("viper", "[ ${c.v} = 1 ]")],
    );
    for input in ["a", "b", "c"] {
        fleet.input(input, "v = \"2\";");
    }
    let (status, document) = fleet.json(&[]);
    assert_eq!((status, names(&document["moved"], "input")), (1, vec!["a".into(), "b".into()]));
    assert_eq!(names(&document["held_back"], "input"), ["c"]);
}

#[test]
fn a_host_that_is_broken_before_is_not_the_update_s_fault() {
    let hosts = [("raider", "exit 3"), ("viper", "echo ${a.v}")];
    let fleet = Fleet::new(TestNix::one(), &["a"], &hosts);
    fleet.input("a", "v = \"2\";");
    let updated = fleet.update(&[]);
    assert_eq!(updated.status, 0, "{}", updated.stderr);
    assert_snapshot!(updated.stdout, @r"
     INPUT  FROM                        TO                          CHANGES
     a      cccccccccccc of 2026-01-02  cccccccccccc of 2026-01-02  -

    Broken whatever moves, and not counted:
      raider: raider: builder failed with exit code 3

    Wrote /fleet/flake.lock; 2 sets of inputs were tried.
    ");
    assert_eq!(fleet.newest(&["a"]), ["a"]);
}

#[test]
fn nothing_is_tried_where_nothing_is_newer() {
    for nix in TestNix::all() {
        let fleet = Fleet::new(nix, &["a"], &[("raider", "exit 3")]);
        let before = fleet.lock();
        let updated = fleet.update(&[]);
        assert_eq!((updated.status, fleet.lock()), (0, before));
        insta::allow_duplicates!(
            assert_snapshot!(updated.stdout, @"Up to date: no input has a newer revision.")
        );
    }
}

#[test]
fn a_dry_run_tells_what_would_move_and_leaves_the_file() {
    let fleet = Fleet::new(TestNix::one(), &["a"], &[("raider", "echo ${a.v}")]);
    fleet.input("a", "v = \"2\";");
    let before = fleet.lock();
    let (status, document) = fleet.json(&["--dry-run"]);
    assert_eq!((status, fleet.lock()), (0, before));
    assert_eq!((&document["dry_run"], &document["written"]), (&json!(true), &json!(null)));
    assert_eq!(names(&document["moved"], "input"), ["a"]);
    assert_eq!(document["tries"], 1);
}

#[test]
fn the_policy_says_which_inputs_move_and_a_person_may_say_otherwise() {
    let fleet = Fleet::new(TestNix::one(), &["a", "b", "c"], &[("raider", "echo ${a.v}")]);
    for input in ["a", "b", "c"] {
        fleet.input(input, "v = \"2\";");
    }
    fleet.checkout.write("fleetcheck.toml", "[update]\ninputs = [\"*\"]\nexclude = [\"c\"]\n");
    fleet.checkout.commit();
    let (_, document) = fleet.json(&["--dry-run"]);
    assert_eq!(names(&document["moved"], "input"), ["a", "b"]);
    assert_eq!(document["left"], json!(["c"]));
    let (status, document) = fleet.json(&["--inputs", "b"]);
    assert_eq!((status, names(&document["moved"], "input")), (0, vec!["b".into()]));
    assert_eq!(fleet.newest(&["a", "b", "c"]), ["b"]);
}

#[test]
fn without_holding_back_all_moves_or_nothing() {
    let hosts = [("raider", "[ ${a.v} = 1 ]"), ("viper", "echo ${b.v}")];
    let fleet = Fleet::new(TestNix::one(), &["a", "b"], &hosts);
    fleet.input("a", "v = \"2\";");
    fleet.input("b", "v = \"2\";");
    fleet.checkout.write("fleetcheck.toml", "[update]\nhold_back = false\n");
    fleet.checkout.commit();
    let before = fleet.lock();
    let (status, document) = fleet.json(&[]);
    assert_eq!((status, fleet.lock()), (1, before));
    assert_eq!(names(&document["held_back"], "input"), ["a", "b"]);
    assert_eq!(document["tries"], 2);
}

#[test]
fn an_input_of_an_input_moves_alone_and_one_that_follows_moves_with_the_other() {
    for nix in TestNix::all() {
        let fleet = Fleet::new(nix, &["a"], &[("raider", "echo ${a.v}")]);
        let declared = format!("inputs.a.url = \"{}\";", fleet.url("a"));
        for name in ["own", "same"] {
            fleet.input_with(name, &declared, "{ self, a }", "v = a.v;");
        }
        let inputs = ["a", "own", "same"];
        let follows = format!("{}inputs.same.inputs.a.follows = \"a\";", fleet.urls(&inputs));
        fleet.flake("", &follows, &inputs, &[("raider", "echo ${own.v}${same.v}")]);
        fleet.locked();
        fleet.input("a", "v = \"2\";");
        let (status, document) = fleet.json(&["--inputs", "own/*"]);
        assert_eq!((status, names(&document["moved"], "input")), (0, vec!["own/a".into()]));
        assert_eq!(fleet.newest(&["a"]), [""; 0]);
        let (status, document) = fleet.json(&["--inputs", "**"]);
        assert_eq!((status, names(&document["moved"], "input")), (0, vec!["a".into()]));
        let ours = fleet.lock();
        fleet.nix_flake("lock", &[]);
        assert_eq!(fleet.lock(), ours);
    }
}
