//! `fixtures/weather` is what Nix and ssh really say.
//!
//! Every case is made anew and compared with its file. After a change of the cases, or with
//! another version of Nix, `FLEETCHECK_RECORD=1 cargo test --test weather` writes the files.
#![expect(clippy::unwrap_used, reason = "tests may panic")]
#![allow(dead_code, reason = "the harness is shared with other tests")]
#[path = "../world/lab.rs"]
mod lab;
#[path = "../world/nix.rs"]
mod nix;
mod said;
mod server;
#[path = "../world/small_disk.rs"]
mod small_disk;

use std::ffi::OsString;
use std::process::Command;
use std::time::Duration;

use fleetcheck::domain::build::{Attempted, Ending};
use fleetcheck::nix::worker::{Mode, Worker};

use crate::lab::{Lab, failure, is_built, weather};
use crate::nix::TestNix;
use crate::said::{Case, build, connection};
use crate::server::Server;
use crate::small_disk::small_disk;

#[tokio::test]
async fn builds_that_fail_by_themselves() {
    let derivations = r#"rec {
        fail = sh "fail" {} "echo some words; exit 3";
        quotes = sh "quotes" {} "echo No space left on device; echo 'curl: (7) Failed'; exit 1";
        top = sh "top" { dep = fail; } "echo";
        twice = sh "twice" { dep = fail; more = sh "fail2" {} "exit 4"; } "echo";
        crash = sh "crash" {} "kill -11 $$";
        killed = sh "killed" {} "kill -9 $$";
        nothing = sh "nothing" {} "true";
        open = sh "open" {} "mkdir $out; chmod 777 $out";
        hash = sh "hash" { outputHash = "sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
            outputHashAlgo = "sha256"; outputHashMode = "flat"; } "echo x > $out";
        refers = sh "refers" { dep = ok; disallowedReferences = [ ok ]; } "echo $dep > $out";
        only = sh "only" { dep = ok; allowedReferences = []; } "echo $dep > $out";
        illegal = sh "illegal" { allowedReferences = [ "nonsense" ]; } "echo > $out";
        cycle = sh "cycle" { outputs = [ "out" "dev" ]; } "echo $dev > $out; echo $out > $dev";
        ok = sh "ok" {} "echo > $out";
    }"#;
    for mut lab in Lab::all(derivations).await {
        for (name, row) in [
            ("fail", "exit-code"),
            ("quotes", "exit-code"),
            ("top", "dependency"),
            ("twice", "dependency"),
            ("crash", "signal"),
            ("killed", "killed"),
            ("nothing", "no-output"),
            ("open", "rejected"),
            ("hash", "hash-mismatch"),
            ("refers", "references"),
            ("only", "references"),
            ("illegal", "references"),
            ("cycle", "cycle"),
        ] {
            build(&mut lab, Case { row, name }).await;
        }
    }
}

#[tokio::test]
async fn builds_that_are_for_another_machine() {
    let derivations = r#"{
        foreign = sh "foreign" { system = "mips-linux"; } "echo";
        featured = sh "featured" { requiredSystemFeatures = [ "moon" ]; } "echo";
    }"#;
    for nix in TestNix::all() {
        let mut lab = Lab::with(nix.setting("system-features = big-parallel"), derivations).await;
        build(&mut lab, Case { row: "system", name: "foreign" }).await;
        build(&mut lab, Case { row: "system", name: "featured" }).await;
    }
}

#[tokio::test]
async fn builds_that_are_ended() {
    let derivations = r#"{
        slow = sh "slow" {} "while :; do echo tick; sleep 0.2; done";
        silent = sh "silent" {} "sleep 600";
    }"#;
    for mut lab in Lab::all(derivations).await {
        lab.limits.timeout = Duration::from_secs(4);
        lab.limits.silence = Duration::from_secs(2);
        build(&mut lab, Case { row: "time-out", name: "slow" }).await;
        build(&mut lab, Case { row: "time-out", name: "silent" }).await;
    }
    for mut lab in Lab::all(r#"{ missing = sh "missing" {} "echo"; }"#).await {
        let drv = lab.drv("missing").to_string();
        lab.nix.output("nix-store", ["--delete", &drv]);
        build(&mut lab, Case { row: "missing", name: "missing" }).await;
    }
    for nix in TestNix::all() {
        let nix = nix.setting("post-build-hook = /bin/false");
        let mut lab = Lab::with(nix, r#"{ hooked = sh "hooked" {} "echo > $out"; }"#).await;
        build(&mut lab, Case { row: "hook", name: "hooked" }).await;
    }
    for nix in TestNix::all() {
        let nix = nix.setting("max-build-log-size = 1000");
        let talks = r#"{ talks = sh "talks" {} "yes | head -c 10000; echo > $out"; }"#;
        let mut lab = Lab::with(nix, talks).await;
        build(&mut lab, Case { row: "log-limit", name: "talks" }).await;
    }
}

#[tokio::test]
async fn a_build_that_comes_out_different() {
    for mut lab in Lab::all(r#"{ other = sh "other" {} "date +%N > $out"; }"#).await {
        lab.realise_one("other").await;
        lab.limits.mode = Mode::Check;
        build(&mut lab, Case { row: "not-deterministic", name: "other" }).await;
    }
}

#[tokio::test]
async fn a_disk_that_is_full() {
    if small_disk("a_disk_that_is_full", 48).is_none() {
        return;
    }
    let derivations = r#"{
        fat = sh "fat" {} "head -c 100000000 /dev/zero > $out";
    }"#;
    for mut lab in Lab::all(derivations).await {
        build(&mut lab, Case { row: "disk-full", name: "fat" }).await;
    }
}

const FETCHES: &str = r#"let
    fixed = { outputHash = "sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="; outputHashAlgo = "sha256"; };
    # Nixpkgs' own words around curl; only one shows its meter, which counts time.
    curl = name: url: sh name fixed ''
        echo; echo "trying ${url}"
        curl --fail --location ${if name == "unknown" then "" else "-sS"} --max-time 2 --output $out ${url} || { echo "error: cannot download ${name} from any mirror"; exit 1; }'';
    builtin = name: url: sh name (fixed // { builder = "builtin:fetchurl"; system = "builtin"; inherit url; outputHashMode = "flat"; }) "";
in {
    refused = curl "refused" "http://127.0.0.1:1/refused.tar.gz";
    unknown = curl "unknown" "http://nowhere.invalid/unknown.tar.gz";
    unavailable = curl "unavailable" "SERVER/503/unavailable.tar.gz";
    stalled = curl "stalled" "SERVER/hang/stalled.tar.gz";
    cut = curl "cut" "SERVER/cut/cut.tar.gz";
    gone = curl "gone" "SERVER/404/gone.tar.gz";
    builtin-refused = builtin "builtin-refused" "http://127.0.0.1:1/refused.tar.gz";
    builtin-unavailable = builtin "builtin-unavailable" "SERVER/503/unavailable.tar.gz";
    builtin-gone = builtin "builtin-gone" "SERVER/404/gone.tar.gz";
    git = sh "git" fixed "git clone http://127.0.0.1:1/repository $out";
    script = sh "script" fixed "echo 'the patch does not apply'; exit 2";
    pretends = sh "pretends" {} "echo 'curl: (7) Failed to connect'; exit 1";
}"#;

#[tokio::test]
async fn sources_that_cannot_be_downloaded() {
    let server = Server::start();
    for nix in TestNix::all() {
        let nix = nix.setting("download-attempts = 1");
        let mut lab = Lab::with(nix, &FETCHES.replace("SERVER", &server.url)).await;
        for name in [
            "refused",
            "unknown",
            "unavailable",
            "stalled",
            "cut",
            "builtin-refused",
            "builtin-unavailable",
            "git",
        ] {
            build(&mut lab, Case { row: "download", name }).await;
        }
        for name in ["gone", "builtin-gone", "script", "pretends"] {
            build(&mut lab, Case { row: "exit-code", name }).await;
        }
    }
}

#[tokio::test]
async fn a_substituter_that_breaks_off() {
    for nix in TestNix::all() {
        let server = Server::start();
        let nix = nix
            .setting(&format!("substituters = {}/cache", server.url))
            .setting("require-sigs = false")
            .setting("download-attempts = 1");
        let mut lab = Lab::with(nix, r#"{ cached = sh "cached" {} "echo > $out"; }"#).await;
        server.offer(lab.derivations["cached"].outputs["out"].as_str());
        // Our own operations fall back to building: Nix's program says what they would say.
        let drv = lab.drv("cached").to_string();
        let said = lab.nix.command("nix-store", ["--realise", &drv]).output().unwrap().stderr;
        let said = String::from_utf8(strip_ansi_escapes::strip(said)).unwrap();
        let error = said.lines().rfind(|it| it.starts_with("error: ")).unwrap();
        let case = Case { row: "substituter", name: "cached" };
        said::refused(&lab, case, error.trim_start_matches("error: "));
        // And they do.
        let answer = lab.realise_one("cached").await;
        assert!(is_built(&answer), "{answer:?}\n{}", lab.log("cached"));
        let told = format!("{} did not answer; built without it", &server.url["http://".len()..]);
        assert!(lab.log("cached").contains(&told), "{}", lab.log("cached"));
    }
}

#[tokio::test]
async fn a_substituter_that_does_not_answer_is_built_without() {
    let server = Server::start();
    for dead in ["http://127.0.0.1:1".to_owned(), format!("{}/503", server.url)] {
        for nix in TestNix::all() {
            let nix = nix.setting(&format!("substituters = {dead}"));
            let mut lab = Lab::with(nix, r#"{ ok = sh "ok" {} "echo > $out"; }"#).await;
            let answer = lab.realise_one("ok").await;
            let host = dead.trim_start_matches("http://").trim_end_matches("/503");
            let Attempted::Answered(Ending::Built { without, .. }) = &answer else {
                panic!("{answer:?}\n{}", lab.log("ok"));
            };
            assert_eq!(without, &[host]);
            let told = format!("{host} did not answer; built without it");
            assert!(lab.log("ok").contains(&told), "{}", lab.log("ok"));
        }
    }
}

#[tokio::test]
async fn a_substituter_that_hangs_is_built_without() {
    let server = Server::start();
    for nix in TestNix::all() {
        let nix = nix.setting(&format!("substituters = {}/hang", server.url));
        let mut lab = Lab::with(nix, r#"{ ok = sh "ok" {} "echo > $out"; }"#).await;
        // A minute is what we wait for three times; here a second. What is said last counts.
        let ours = lab.nix.nix();
        let args = ours.daemon_args().iter().cloned();
        let hasty = ["--option", "stalled-download-timeout", "1"].map(OsString::from);
        let hasty = ours.clone().with_daemon(ours.daemon(), args.chain(hasty));
        lab.worker = Worker::start(&hasty).await.unwrap();
        let answer = lab.realise_one("ok").await;
        let host = server.url.trim_start_matches("http://");
        let Attempted::Answered(Ending::Built { without, .. }) = &answer else {
            panic!("{answer:?}\n{}", lab.log("ok"));
        };
        assert_eq!(without, &[host]);
        assert!(lab.log("ok").contains("did not answer; built without it"), "{}", lab.log("ok"));
    }
}

#[test]
fn machines_that_cannot_be_reached() {
    let ssh = |arguments: &[&str]| {
        let options = ["-F", "none", "-o", "BatchMode=yes", "-o", "ConnectTimeout=2"];
        let said = Command::new("ssh").args(options).args(arguments).output().unwrap();
        assert_eq!(said.status.code(), Some(255));
        String::from_utf8(said.stderr).unwrap()
    };
    let refused = ssh(&["-p", "1", "127.0.0.1", "nix-daemon", "--stdio"]);
    connection(Case { row: "unreachable", name: "refused" }, &refused);
    let unknown = ssh(&["nowhere.invalid", "nix-daemon", "--stdio"]);
    connection(Case { row: "unreachable", name: "unknown" }, &unknown);
    let deaf = Server::deaf();
    let silent = ssh(&["-p", &deaf.port().to_string(), "127.0.0.1", "nix-daemon", "--stdio"]);
    let silent = silent.replace(&deaf.port().to_string(), "22");
    connection(Case { row: "unreachable", name: "silent" }, &silent);
}

#[tokio::test]
async fn a_daemon_that_dies() {
    for mut lab in Lab::all(r#"{ long = sh "long" {} "echo ready; sleep 600"; }"#).await {
        let daemon = lab.worker.process().unwrap().to_string();
        let drv = lab.drv("long").clone();
        let limits = lab.limits;
        let mut observe = |it: fleetcheck::nix::worker::Observed<'_>| {
            if let fleetcheck::nix::worker::Observed::Line { text: b"ready", .. } = it {
                assert!(Command::new("kill").args(["-9", &daemon]).status().unwrap().success());
            }
        };
        let lost = lab.worker.build(&[drv], &limits, &mut observe).await.unwrap_err();
        let fleetcheck::nix::worker::WorkerError::Lost { words } = lost else { panic!("{lost:?}") };
        connection(Case { row: "lost", name: "killed" }, &words);
        lab.worker.end().await;
    }
}

const ANSWERS: &str = r#"let
    fixed = { outputHash = "sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="; outputHashAlgo = "sha256"; };
    curl = "curl: (7) Failed to connect to 127.0.0.1 port 1: Couldn't connect to server";
in rec {
    source = sh "source" fixed "echo trying http://127.0.0.1:1/x; curl -sS http://127.0.0.1:1/x";
    needs = sh "needs" { inherit source; } "echo";
    script = sh "script" fixed "echo the patch does not apply; exit 2";
    pretends = sh "pretends" {} "echo \"${curl}\"; exit 1";
    hidden = sh "hidden" { outputHashes = "fixed"; text = "Derive([(\"out\",\"\",\"r:sha256\",\"00\")"; } "echo \"${curl}\"; exit 1";
}"#;

#[tokio::test]
async fn a_source_that_could_not_be_downloaded_is_the_weather_and_no_other_failure_is() {
    for mut lab in Lab::all(ANSWERS).await {
        let answers = lab.realise(&["source", "needs", "script", "pretends", "hidden"]).await;
        for name in ["source", "needs"] {
            let told = weather(&answers[name]);
            assert!(
                told.starts_with("source: could not download http://127.0.0.1:1/x: "),
                "{told}"
            );
        }
        assert_eq!(failure(&answers["script"]).headline, "builder failed with exit code 2");
        for name in ["pretends", "hidden"] {
            assert_eq!(failure(&answers[name]).headline, "builder failed with exit code 1");
        }
    }
}
