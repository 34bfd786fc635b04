//! A check that is told to stop.
use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read};
use std::process::Child;
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::command::{Checkout, results};
use crate::fleet::Host;

/// Waits until its standard error has said all of these; gives a reader of the rest.
fn wait_for(child: &mut Child, said: &[&str]) -> JoinHandle<String> {
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    let mut all = String::new();
    while !said.iter().all(|it| all.contains(it)) {
        assert!(lines.read_line(&mut all).unwrap() > 0, "never said {said:?}:\n{all}");
    }
    // Somebody must read on, or the pipe fills up.
    std::thread::spawn(move || {
        lines.read_to_string(&mut all).unwrap();
        all
    })
}

fn interrupt(child: &Child) {
    let pid = Pid::from_raw(child.id().cast_signed()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
}

/// Every living process whose environment names this folder: what a check of it has started.
fn living(folder: &str) -> HashSet<u32> {
    let mut found = HashSet::new();
    for process in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|it| it.parse().ok()) else {
            continue;
        };
        let read = |name: &str| std::fs::read(process.path().join(name)).unwrap_or_default();
        let names = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).contains(folder);
        let stat = String::from_utf8_lossy(&read("stat")).into_owned();
        if !stat.contains(") Z ") && (names(read("environ")) || names(read("cmdline"))) {
            found.insert(pid);
        }
    }
    found
}

#[test]
fn ctrl_c_ends_every_process_and_says_what_was_not_done() {
    for folder in Checkout::all() {
        let store = folder.nix.directory().to_str().unwrap().to_owned();
        let hosts = [
            Host::good("done", "1"),
            Host::script("slow", "PATH=/usr/bin:/bin; (setsid sleep 600 &); sleep 600"),
            Host::script(
                "slower",
                "PATH=/usr/bin:/bin; trap : TERM INT; while :; do sleep 1; done",
            ),
            Host::script("waits", "PATH=/usr/bin:/bin; sleep 600"),
        ];
        // One at a time, so that it is known which two of the three get the slots.
        let folder = folder.setting("evaluations = 1").with(&hosts);
        assert_eq!(folder.json(&["--host", "done"]).0, 0);
        let mut child = folder.start(&[]);
        let said = ["slow: building", "slower: building", "waits: waiting for a free slot"];
        let rest = wait_for(&mut child, &said);
        // A daemon and a builder for each of the two; one that is to build is not one that does.
        let build = (0..500).any(|_| {
            std::thread::sleep(Duration::from_millis(20));
            living(&store).len() >= 4
        });
        assert!(build, "only these live: {:?}", living(&store));
        interrupt(&child);
        let it = folder.ended(child);
        assert_eq!(it.status, 1, "{}", rest.join().unwrap());
        assert!(
            it.stdout.contains("Interrupted. Not done: slow, slower, waits.\n"),
            "{}",
            it.stdout
        );
        assert!(it.stdout.contains("done   "), "{}", it.stdout);
        assert_eq!(living(&store), HashSet::new());
    }
}

#[test]
fn ctrl_c_while_hosts_are_evaluated_ends_nix() {
    for folder in Checkout::all() {
        let store = folder.nix.directory().to_str().unwrap().to_owned();
        let forever = "let fib = n: if n < 2 then n else fib (n - 1) + fib (n - 2); in fib 60";
        let folder = folder.with(&[Host::new("endless", forever), Host::good("orion", "1")]);
        let mut child = folder
            .command(&["--json"])
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let rest = wait_for(&mut child, &["endless: evaluating", "orion: built"]);
        interrupt(&child);
        let it = folder.ended(child);
        assert_eq!(it.status, 1, "{}", rest.join().unwrap());
        let document = serde_json::from_str(&it.stdout).unwrap();
        assert_eq!(results(&document), ["endless not_done", "orion built"]);
        assert_eq!(document["interrupted"], true);
        assert_eq!(living(&store), HashSet::new());
    }
}
