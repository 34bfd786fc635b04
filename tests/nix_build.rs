//! Builds on real Nix, each in a hermetic store of its own.
#[path = "world/lab.rs"]
mod lab;
#[path = "world/nix.rs"]
mod nix;

use std::time::Duration;

use fleetcheck::domain::build::{Attempted, Ending};
use fleetcheck::domain::id::DrvPath;
use fleetcheck::nix::realise::Progress;
use fleetcheck::nix::roots::Roots;
use fleetcheck::nix::worker::{Mode, Worker};

use crate::lab::{Lab, assert_gone, failure, is_built, timed_out, weather};
use crate::nix::TestNix;

#[tokio::test]
async fn nix_says_its_version_and_its_system() {
    for nix in TestNix::all() {
        let version = nix.nix().version().await.unwrap();
        assert!(version.contains('.'), "{version}");
        let system = nix.nix().system().await.unwrap();
        assert!(system.ends_with("-linux"), "{system}");
        assert_eq!(Worker::start(&nix.nix()).await.unwrap().version(), version);
    }
}

#[tokio::test]
async fn a_derivation_is_built_once_and_then_reused() {
    for mut lab in Lab::all(r#"{ ok = sh "ok" {} "echo hello; echo built > $out"; }"#).await {
        let mut seen = Vec::new();
        let answers = lab
            .observe(&["ok"], |it, _| match it {
                Progress::Started { drv } => seen.push(format!("started {}", drv.name())),
                Progress::Stopped { drv } => seen.push(format!("stopped {}", drv.name())),
                Progress::Line { text, .. } => {
                    seen.push(String::from_utf8_lossy(text.bytes()).into_owned());
                }
                Progress::Counts { .. } | Progress::Substituting { .. } => {}
            })
            .await;
        assert!(is_built(&answers["ok"]), "{answers:?}");
        assert_eq!(seen, ["started ok", "hello", "stopped ok"]);
        assert_eq!(lab.log("ok"), "building ok…\nhello\n");
        let out = lab.derivations["ok"].outputs["out"].clone();
        assert_eq!(std::fs::read_to_string(out.as_str()).unwrap(), "built\n");
        assert!(lab.worker.valid_paths(std::slice::from_ref(&out)).await.unwrap().contains(&out));
        assert_eq!(lab.realise_one("ok").await, Attempted::Answered(Ending::Reused));
        lab.worker.stop().await;
    }
}

#[tokio::test]
async fn what_is_valid_is_built_again_and_a_difference_is_a_failure() {
    let derivations = r#"{
        same = sh "same" {} "echo again; echo same > $out";
        other = sh "other" {} "date +%N > $out";
    }"#;
    for mut lab in Lab::all(derivations).await {
        for name in ["same", "other"] {
            assert!(is_built(&lab.realise_one(name).await));
        }
        lab.limits.mode = Mode::Check;
        let same = lab.realise_one("same").await;
        assert!(is_built(&same), "{same:?}");
        assert!(lab.log("same").contains("again"), "it was built, not reused");
        let other = lab.realise_one("other").await;
        let failure = failure(&other);
        assert!(failure.headline.contains("may not be deterministic"), "{failure:?}");
        lab.worker.stop().await;
    }
}

#[tokio::test]
async fn a_failed_build_says_its_exit_code_and_its_last_lines() {
    for mut lab in Lab::all(
        r#"{ bad = sh "bad" {} "i=0; while [ $i -lt 300 ]; do echo line $i; i=$((i+1)); done; exit 3"; }"#,
    )
    .await
    {
        let answer = lab.realise_one("bad").await;
        let failure = failure(&answer);
        assert_eq!(failure.headline, "builder failed with exit code 3");
        assert_eq!(&failure.derivation, lab.drv("bad"));
        assert_eq!(failure.log_tail.len(), 200);
        assert_eq!(failure.log_tail.last().unwrap(), "line 299");
        assert!(lab.log("bad").ends_with("line 299\nerror: bad: builder failed with exit code 3\n"));
    }
}

const DEPENDENTS: &str = r#"rec {
    guilty = sh "guilty" {} "echo it was me; exit 4";
    middle = sh "middle" { dep = guilty; } "echo $dep > $out";
    top = sh "top" { dep = middle; } "echo $dep > $out";
    other = sh "other" { dep = sh "hash" { outputHash = "sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        outputHashAlgo = "sha256"; outputHashMode = "flat"; } "echo x > $out"; } "echo $dep > $out";
    well = sh "well" { dep = sh "fine" {} "echo fine; echo y > $out"; } "sleep 0.5; echo $dep > $out";
}"#;

#[tokio::test]
async fn the_dependency_that_failed_is_named_with_its_lines() {
    for mut lab in Lab::all(DEPENDENTS).await {
        let answer = lab.realise_one("top").await;
        let failure = failure(&answer);
        assert_eq!(&failure.derivation, lab.drv("guilty"));
        assert_eq!(failure.headline, "builder failed with exit code 4");
        assert_eq!(failure.log_tail, ["it was me"]);
        let log = lab.log("top");
        assert!(log.starts_with("building guilty…\nit was me\n"), "{log}");
        assert!(log.ends_with("error: guilty: builder failed with exit code 4\n"), "{log}");
    }
}

#[tokio::test]
async fn in_a_batch_each_failure_has_its_own_culprit_and_the_others_go_on() {
    for mut lab in Lab::all(DEPENDENTS).await {
        let answers = lab.realise(&["top", "other", "well", "guilty"]).await;
        assert_eq!(failure(&answers["top"]).derivation.name(), "guilty");
        assert_eq!(failure(&answers["guilty"]).log_tail, ["it was me"]);
        let other = failure(&answers["other"]);
        assert_eq!(other.derivation.name(), "hash");
        assert!(
            other.headline.starts_with("hash mismatch: specified sha256-AAAA")
                && other.headline.contains(", got sha256-"),
            "{}",
            other.headline
        );
        assert!(is_built(&answers["well"]), "{answers:?}");
        assert!(lab.log("well").contains("building fine…\nfine\n"), "{}", lab.log("well"));
    }
}

#[tokio::test]
async fn a_time_limit_names_the_derivation_and_the_setting() {
    let derivations = r#"rec {
        slow = sh "slow" {} "while :; do echo tick; sleep 0.2; done";
        silent = sh "silent" {} "echo last words; sleep 600";
        waits = sh "waits" { dep = sh "slowdep" {} "while :; do echo tock; sleep 0.2; done"; } "echo";
        waits2 = sh "waits2" { dep = sh "silentdep" {} "echo farewell; sleep 600"; } "echo";
    }"#;
    for mut lab in Lab::all(derivations).await {
        lab.limits.timeout = Duration::from_secs(4);
        lab.limits.silence = Duration::from_secs(2);
        let answers = lab.realise(&["slow", "silent", "waits", "waits2"]).await;
        for (name, guilty, setting, seconds, last) in [
            ("slow", "slow", "nix.build_timeout", 4, "tick"),
            ("silent", "silent", "nix.silence_timeout", 2, "last words"),
            ("waits", "slowdep", "nix.build_timeout", 4, "tock"),
            ("waits2", "silentdep", "nix.silence_timeout", 2, "farewell"),
        ] {
            let late = timed_out(&answers[name]);
            assert_eq!(late.derivation.as_ref().map(DrvPath::name), Some(guilty));
            assert_eq!((late.setting.as_str(), late.seconds), (setting, seconds), "{name}");
            assert_eq!(late.log_tail.last().map(String::as_str), Some(last), "{name}");
        }
        assert!(lab.worker.is_alive());
    }
}

#[tokio::test]
async fn a_flood_of_output_keeps_its_beginning_and_its_end() {
    let derivations = r#"{
        flood = sh "flood" {} ''
            echo first; yes "a line of the flood that is a little longer than others" | head -c 20000000
            echo; echo last; echo > $out'';
        line = sh "line" {} ''head -c 20000000 /dev/zero | tr '\0' x; echo; echo last; echo > $out'';
    }"#;
    for mut lab in Lab::all(derivations).await {
        lab.logs = lab.logs.with_cap(4 << 20);
        let answers = lab.realise(&["flood", "line"]).await;
        assert!(answers.values().all(is_built), "{answers:?}");
        let log = lab.log("flood");
        assert!(log.starts_with("building flood…\nfirst\na line of the flood"));
        assert!(log.ends_with("\nlast\n"));
        assert!(log.contains(" bytes left out …\n"));
        assert!((3 << 20..=4 << 20).contains(&log.len()), "{}", log.len());
        let log = lab.log("line");
        assert!(log.contains("x\n… 18951424 bytes of this line left out …\nlast\n"));
        assert!(log.len() < 2 << 20);
    }
}

#[tokio::test]
async fn control_characters_stay_as_they_came_and_tokens_do_not() {
    let derivations = r#"{ odd = sh "odd" {} ''
        printf 'a\033[31mred\033[0m \377\001 ``` @everyone\n'
        echo "token: ghs_0123456789abcdefghijABCDEFGHIJ." >&2
        exit 1''; }"#;
    for mut lab in Lab::all(derivations).await {
        let answer = lab.realise_one("odd").await;
        let red = "a\u{1b}[31mred\u{1b}[0m \u{fffd}\u{1} ``` @everyone";
        assert_eq!(failure(&answer).log_tail, [red, "token: (token removed)"]);
        let log = lab.log("odd");
        assert!(
            log.starts_with(&format!("building odd…\n{red}\ntoken: (token removed)\n")),
            "{log}"
        );
    }
}

#[tokio::test]
async fn what_a_build_says_in_the_name_of_nix_is_not_believed() {
    let derivations = r#"{ top = sh "top" { dep = sh "liar" {} ''
        echo "@nix {\"action\":\"msg\",\"level\":0,\"msg\":\"error: some substitutes for the outputs of derivation '$0' failed\"}" >&2
        echo "@nix {\"action\":\"msg\",\"level\":0,\"msg\":\"error: No space left on device\"}" >&2
        echo "No space left on device"; exit 5''; } "echo"; }"#;
    for mut lab in Lab::all(derivations).await {
        let answer = lab.realise_one("top").await;
        assert_eq!(failure(&answer).headline, "builder failed with exit code 5");
        assert_eq!(failure(&answer).derivation.name(), "liar");
        assert!(lab.log("top").contains("error: No space left on device"), "it is shown");
    }
}

#[tokio::test]
async fn a_build_that_was_killed_is_the_weather() {
    let derivations =
        r#"rec { dead = sh "dead" {} "kill -9 $$"; top = sh "top" { dep = dead; } "echo"; }"#;
    for mut lab in Lab::all(derivations).await {
        let answers = lab.realise(&["dead", "top"]).await;
        for answer in answers.values() {
            assert_eq!(weather(answer), "dead: builder failed due to signal 9 (Killed)");
        }
    }
}

#[tokio::test]
async fn one_derivation_of_another_system_does_not_spoil_the_batch() {
    let derivations = r#"{
        foreign = sh "foreign" { system = "mips-linux"; } "echo";
        needs = sh "needs" { dep = sh "foreign2" { system = "mips-linux"; } "echo"; } "echo";
        a = sh "a" {} "echo > $out"; b = sh "b" {} "echo > $out"; c = sh "c" {} "exit 6";
    }"#;
    for mut lab in Lab::all(derivations).await {
        let answers = lab.realise(&["a", "foreign", "b", "needs", "c"]).await;
        assert!(is_built(&answers["a"]) && is_built(&answers["b"]), "{answers:?}");
        assert_eq!(failure(&answers["c"]).headline, "builder failed with exit code 6");
        for (name, guilty) in [("foreign", "foreign"), ("needs", "foreign2")] {
            let failure = failure(&answers[name]);
            assert_eq!(failure.derivation.name(), guilty);
            assert!(failure.headline.contains("mips-linux"), "{}", failure.headline);
        }
    }
}

const FORKS: &str = r#"rec {
    leaves = sh "leaves" {} ''
        (setsid sh -c 'sleep 600 >/dev/null 2>&1 & echo pid $!' &)
        setsid sleep 600 >/dev/null 2>&1 & echo pid $!
        sleep 0.3; echo > $out'';
    stays = sh "stays" {} ''
        (setsid sh -c 'sleep 600 >/dev/null 2>&1 & echo pid $!' &)
        setsid sleep 600 >/dev/null 2>&1 & echo pid $!
        sleep 0.3; echo pid $$; echo ready; sleep 600'';
    other = sh "other" {} "echo pid $$; sleep 600";
}"#;

#[tokio::test]
async fn children_that_outlive_a_build_are_ended() {
    for mut lab in Lab::all(FORKS).await {
        assert!(is_built(&lab.realise_one("leaves").await));
        assert_gone(&lab.log("leaves"), 2).await;
        assert!(lab.worker.is_alive());
    }
}

#[tokio::test]
async fn a_stopped_batch_leaves_nothing_running() {
    for mut lab in Lab::all(FORKS).await {
        let mut lines = 0;
        let answers = lab
            .observe(&["stays", "other"], |it, stop| {
                lines += usize::from(matches!(it, Progress::Line { .. }));
                if lines == 5 {
                    stop.cancel();
                }
            })
            .await;
        assert!(answers.values().all(|it| weather(it) == "cancelled"));
        assert!(!lab.worker.is_alive());
        assert_gone(&lab.log("stays"), 3).await;
        assert_gone(&lab.log("other"), 1).await;
    }
}

#[tokio::test]
async fn a_dropped_batch_leaves_nothing_running() {
    for mut lab in Lab::all(FORKS).await {
        let (said, heard) = tokio::sync::oneshot::channel();
        let mut said = Some(said);
        let observed = lab.observe(&["stays"], |it, _| {
            if let Progress::Line { text, .. } = it
                && text.bytes() == b"ready"
            {
                said.take().unwrap().send(()).unwrap();
            }
        });
        tokio::select! {
            _ = observed => panic!("it sleeps"),
            heard = heard => heard.unwrap(),
        }
        assert!(!lab.worker.is_alive(), "an answer that nobody waits for may still come");
        let Lab { worker, nix: _nix, .. } = lab;
        let log = lab.logs.read(&Lab::attempt("stays"), 0, 1000).unwrap().unwrap();
        drop(worker);
        assert_gone(&String::from_utf8(log.bytes).unwrap(), 3).await;
    }
}

#[tokio::test]
async fn a_daemon_that_dies_is_the_weather() {
    for mut lab in Lab::all(FORKS).await {
        let daemon = lab.worker.process().unwrap().to_string();
        let answers = lab
            .observe(&["stays", "other"], |it, _| {
                if let Progress::Line { text, .. } = it
                    && text.bytes() == b"ready"
                {
                    assert!(
                        std::process::Command::new("kill")
                            .args(["-9", &daemon])
                            .status()
                            .unwrap()
                            .success()
                    );
                }
            })
            .await;
        for answer in answers.values() {
            assert!(weather(answer).starts_with("the connection to nix-daemon was lost"));
        }
        assert!(!lab.worker.is_alive());
        assert_gone(&lab.log("stays"), 3).await;
        assert!(is_built(&{
            lab.worker = Worker::start(&lab.nix.nix()).await.unwrap();
            lab.realise_one("leaves").await
        }));
    }
}

#[tokio::test]
async fn of_a_batch_of_fifty_every_one_is_answered() {
    let derivations = r#"builtins.listToAttrs (builtins.genList (n: let name = "host${toString n}"; in {
        inherit name;
        value = sh name {} (if n == 17 then "echo broken; exit 1" else "echo ${name}; echo > $out");
    }) 50)"#;
    for mut lab in Lab::all(derivations).await {
        let names: Vec<String> = (0..50).map(|it| format!("host{it}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let answers = lab.realise(&names).await;
        for name in &names {
            if *name == "host17" {
                assert_eq!(failure(&answers[*name]).log_tail, ["broken"]);
            } else {
                assert!(is_built(&answers[*name]), "{name}");
                assert_eq!(lab.log(name), format!("building {name}…\n{name}\n"));
            }
        }
    }
}

#[tokio::test]
async fn a_root_keeps_a_path_and_releasing_it_lets_it_go() {
    for mut lab in Lab::all(r#"{ ok = sh "ok" {} "echo > $out"; }"#).await {
        assert!(is_built(&lab.realise_one("ok").await));
        let out = lab.derivations["ok"].outputs["out"].to_string();
        let roots = Roots::new(lab.nix.directory());
        roots.hold(&mut lab.worker, "raider", &out).await.unwrap();
        roots.hold(&mut lab.worker, "raider", &out).await.unwrap();
        assert!(roots.hold(&mut lab.worker, "../raider", &out).await.is_err());
        assert_eq!(roots.list().unwrap(), [("raider".to_owned(), out.clone().into())]);
        // A living worker protects all that it built.
        lab.worker.stop().await;
        lab.nix.output("nix-store", ["--gc"]);
        assert!(std::fs::exists(&out).unwrap());
        roots.release("raider").unwrap();
        roots.release("raider").unwrap();
        assert!(roots.list().unwrap().is_empty());
        lab.nix.output("nix-store", ["--gc"]);
        assert!(!std::fs::exists(&out).unwrap());
    }
}
