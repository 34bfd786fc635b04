//! Builds whose output a terminal should not believe.
use crate::command::{Checkout, host};
use crate::fleet::Host;

#[test]
fn what_a_build_prints_cannot_drive_the_terminal() {
    for folder in Checkout::all() {
        let script = "printf '\\033[2J\\033]0;title\\007red\\033[31m\\r\\b\\177the end\\n\\342\\200\\256back\\n'; \
                      echo ghs_A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q7r8; exit 3";
        let folder = folder.with(&[
            Host::new("viper", &format!("mk \"viper\" ''{script}''")),
            Host::throws("raider", "\u{1b}[2Jred\u{202e}"),
        ]);
        let it = folder.check(&[]);
        let unseen = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!it.stdout.contains(unseen), "{:?}", it.stdout);
        assert!(!it.stderr.contains(unseen), "{:?}", it.stderr);
        assert!(it.stdout.contains("the end") && it.stdout.contains("back"), "{}", it.stdout);
        let (_, document) = folder.json(&["--host", "viper"]);
        let tail = host(&document, "viper")["failure"]["log_tail"].to_string();
        assert!(tail.contains("(token removed)") && !tail.contains("A1b2C3d4"), "{tail}");
    }
}

#[test]
fn a_build_that_prints_a_lot_is_checked_in_time_and_little_memory() {
    let script = "PATH=/usr/bin:/bin; yes 0123456789012345678901234567890123456789 | \
                  head -c 52428800; echo; echo the end; exit 3";
    let folder = Checkout::one().with(&[Host::script("loud", script)]);
    let (status, document) = folder.json(&[]);
    assert_eq!((status, host(&document, "loud")["result"].as_str()), (1, Some("build_failed")));
    let tail = host(&document, "loud")["failure"]["log_tail"].as_array().unwrap();
    assert!(tail.len() <= 200 && tail.last().unwrap() == "the end", "{tail:?}");
    let cache = folder.nix.directory().join("home/.cache/fleetcheck");
    let left =
        std::fs::read_dir(cache).unwrap().flatten().filter(|it| it.file_name() != "evaluation");
    assert_eq!(left.count(), 0, "the logs of a check are not kept");
}

#[test]
fn what_a_build_leaves_running_does_not_hold_the_check_up() {
    for folder in Checkout::all() {
        let script = "PATH=/usr/bin:/bin; (setsid sleep 4243 &); echo > $out";
        let folder = folder.with(&[Host::script("holds", script)]);
        let (status, document) = folder.json(&[]);
        assert_eq!((status, host(&document, "holds")["result"].as_str()), (0, Some("built")));
        let store = folder.nix.directory().display().to_string();
        let sleeps = |it: &procfs::process::Process| {
            let is_it = it.cmdline().is_ok_and(|it| it.iter().any(|arg| arg == "4243"));
            let of_us = |it: std::collections::HashMap<_, std::ffi::OsString>| {
                it.values().any(|it| it.to_string_lossy().contains(&store))
            };
            is_it && it.environ().is_ok_and(of_us)
        };
        assert!(!procfs::process::all_processes().unwrap().flatten().any(|it| sleeps(&it)));
    }
}
