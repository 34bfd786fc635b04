//! The second machine of the tests is what it says: a store of its own behind a real sshd, and its
//! failures are real ones. What Nix and ssh say in each is kept in `fixtures/weather-over-ssh`, a file for
//! each version of Nix, as it came but for addresses, folders and hashes.
#[path = "../world/machine.rs"]
mod machine;
#[path = "../world/nix.rs"]
mod nix;
mod pair;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use fleetcheck::nix::worker::{BuildLimits, Observed, Status, WorkerError};
use tokio_util::sync::CancellationToken;

use crate::machine::{Equipment, Machine};
use crate::nix::TestNix;
use crate::pair::{FOREIGN, Pair, Way, build, limits, lost, said};

#[tokio::test]
async fn what_is_built_on_the_machine_is_there_and_not_here() {
    for pair in Pair::all().await {
        let drv = pair.derivation("there", "echo on it; echo made > $out");
        assert!(!pair.machine.path(drv.as_str()).exists(), "{drv}");
        pair.copy(&drv, &[]).unwrap();
        assert!(pair.machine.path(drv.as_str()).exists(), "{drv}");
        let mut worker = pair.connect(Way::Store, &[]).await.unwrap();
        assert_eq!(worker.version(), pair.version);
        let mut log = String::new();
        let result = build(&mut worker, &drv, &mut log).await;
        assert_eq!((result.status, log.as_str()), (Status::Built, "on it\n"), "{result:?}");
        let out = pair.nix.output("nix-store", ["--query", "--outputs", drv.as_str()]);
        assert_eq!(std::fs::read_to_string(pair.machine.path(&out)).unwrap(), "made\n");
        assert!(!Path::new(&out).exists(), "{out} is here");
        worker.stop().await;
    }
}

#[tokio::test]
async fn what_is_copied_back_is_here_until_nobody_holds_it() {
    for pair in Pair::all().await {
        let drv = pair.derivation("there", "echo made > $out");
        pair.copy(&drv, &[]).unwrap();
        let mut worker = pair.worker().await;
        assert_eq!(build(&mut worker, &drv, &mut String::new()).await.status, Status::Built);
        let out = pair.nix.output("nix-store", ["--query", "--outputs", drv.as_str()]);
        let outputs = [out.parse().unwrap()];
        let (builder, stop, mut home) = (pair.builder(), CancellationToken::new(), None);

        pair.machine.stop();
        worker.stop().await;
        let words = builder.take_back(&outputs, &mut home, &stop).await.unwrap_err();
        assert!(words.contains("Connection refused"), "{words}");
        assert!(!Path::new(&out).exists(), "{out} is here");

        pair.machine.start_again();
        builder.take_back(&outputs, &mut home, &stop).await.unwrap();
        assert_eq!(std::fs::read_to_string(&out).unwrap(), "made\n");
        pair.nix.output("nix-store", ["--gc"]);
        assert!(Path::new(&out).exists(), "it was collected while it was held");
        home.unwrap().stop().await;
        pair.nix.output("nix-store", ["--gc"]);
        assert!(!Path::new(&out).exists(), "{out} is held by nobody");
    }
}

#[tokio::test]
async fn a_derivation_is_copied_from_the_machine_that_lends_it_and_held_here() {
    for pair in Pair::all().await {
        let drv = pair.derivation("lent", "echo made > $out");
        pair.copy(&drv, &[]).unwrap();
        pair.nix.output("nix-store", ["--gc"]);
        assert!(!Path::new(drv.as_str()).exists(), "{drv} is here");
        let (builder, from, stop) =
            (pair.builder(), pair.machine.lent_store(), CancellationToken::new());

        pair.machine.stop();
        let words = builder.borrow(&from, &[&drv], &mut None, &stop).await.unwrap_err();
        assert!(words.contains("Connection refused"), "{words}");

        pair.machine.start_again();
        let mut home = None;
        builder.borrow(&from, &[&drv], &mut home, &stop).await.unwrap();
        pair.nix.output("nix-store", ["--gc"]);
        assert!(Path::new(drv.as_str()).exists(), "it was collected while it was held");

        // What is here is not asked for again.
        pair.machine.stop();
        builder.borrow(&from, &[&drv], &mut home, &stop).await.unwrap();
        home.unwrap().stop().await;
        pair.nix.output("nix-store", ["--gc"]);
        assert!(!Path::new(drv.as_str()).exists(), "{drv} is held by nobody");
    }
}

#[tokio::test]
async fn a_build_that_is_let_go_here_ends_there() {
    let pairs = Pair::all().await;
    for pair in &pairs {
        let drv = pair.derivation("endless", "echo begun; sleep 600");
        pair.copy(&drv, &[]).unwrap();
        let mut worker = pair.builder().worker(&mut None).await.unwrap();
        let (tell, told) = tokio::sync::oneshot::channel();
        let mut tell = Some(tell);
        let mut observe = |it: Observed<'_>| {
            if let Observed::Line { .. } = it {
                tell.take().unwrap().send(()).unwrap();
            }
        };
        let limits = limits();
        tokio::select! {
            ended = worker.build(std::slice::from_ref(&drv), &limits, &mut observe) => {
                panic!("{ended:?}");
            }
            begun = told => begun.unwrap(),
        }
        worker.stop().await;
        let gone = async {
            while pair.machine.processes().iter().any(|it| it.contains("sleep 600")) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let in_time = tokio::time::timeout(Duration::from_secs(20), gone).await;
        assert!(in_time.is_ok(), "{}: {:#?}", pair.version, pair.machine.processes());
    }
}

#[tokio::test]
async fn a_daemon_that_is_killed_there_is_lost_here_at_once() {
    for pair in Pair::all().await {
        let drv = pair.derivation("endless", "echo begun; sleep 600");
        pair.copy(&drv, &[]).unwrap();
        let mut worker = pair.builder().worker(&mut None).await.unwrap();
        let mut observe = |it: Observed<'_>| {
            if let Observed::Line { .. } = it {
                let all = pair.machine.processes();
                let daemon = all
                    .iter()
                    .find(|it| it.contains(" nix-daemon ") && it.ends_with(" --stdio"))
                    .unwrap();
                let pid = daemon.split(' ').next().unwrap();
                assert!(
                    std::process::Command::new("kill")
                        .args(["-9", pid])
                        .status()
                        .unwrap()
                        .success()
                );
            }
        };
        let (wanted, limits) = ([drv], limits());
        let built = worker.build(&wanted, &limits, &mut observe);
        let ended = tokio::time::timeout(Duration::from_secs(20), built).await;
        assert!(matches!(ended, Ok(Err(WorkerError::Lost { .. }))), "{ended:?}");
        worker.stop().await;
    }
}

/// Why a worker must speak to the machine's daemon itself: Nix 2.8 passes on what it hears, 2.34
/// answers for itself, and does not tell the machine of the limits.
#[tokio::test]
async fn the_limits_of_a_worker_hold_on_the_machine_over_ssh() {
    for pair in Pair::all().await {
        let slow = pair.derivation("slow", "while :; do echo tick; sleep 0.2; done");
        let silent = pair.derivation("silent", "echo last; sleep 600");
        for (drv, timeout, silence) in [(&slow, 3, 60), (&silent, 60, 3)] {
            pair.copy(drv, &[]).unwrap();
            let mut worker = pair.worker().await;
            let limits = BuildLimits {
                timeout: Duration::from_secs(timeout),
                silence: Duration::from_secs(silence),
                ..limits()
            };
            let results = worker.build(std::slice::from_ref(drv), &limits, &mut |_| ()).await;
            let results = results.unwrap();
            assert_eq!(results[0].1.status, Status::TimedOut, "{results:?}");
            assert!(results[0].1.message.contains("after 3 seconds"), "{results:?}");
            worker.stop().await;
        }
    }
}

#[tokio::test]
async fn through_an_ssh_ng_store_a_newer_daemon_answers_for_itself() {
    for nix in TestNix::all() {
        let program = Some(PathBuf::from("/usr/bin/nix"));
        let pair = Pair::of(nix, Equipment { program, ..Equipment::of(&[FOREIGN]) }).await;
        let there = pair.worker().await.version().to_owned();
        let through = pair.connect(Way::Store, &[]).await.unwrap();
        let forwards = pair.version.starts_with("2.8.");
        assert_eq!(through.version(), if forwards { &there } else { &pair.version });
    }
}

#[tokio::test]
async fn a_machine_is_for_the_systems_that_it_declares_and_no_others() {
    for nix in TestNix::all() {
        let mut equipment = Equipment::of(&[FOREIGN, "armv7l-linux"]);
        equipment.features = vec!["kvm".to_owned()];
        let pair = Pair::of(nix, equipment).await;
        let output = pair.machine.ssh(&["nix", "show-config"]).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        for line in
            ["system = aarch64-linux", "extra-platforms = armv7l-linux", "system-features = kvm"]
        {
            assert!(said.lines().any(|it| it == line), "{line}:\n{said}");
        }
    }
}

#[tokio::test]
async fn machines_stand_side_by_side_and_nothing_is_left_of_them() {
    let nix = TestNix::one();
    let names = ["basestar", "galactica", "pegasus"];
    let machines: Vec<_> = names.iter().map(|it| Machine::start(&nix, it, &[FOREIGN])).collect();
    for machine in &machines {
        let mark = nix.directory().join("store/mark");
        std::fs::write(machine.path(&mark), &machine.name).unwrap();
        assert!(!mark.exists());
    }
    for machine in &machines {
        let mark = format!("{}/store/mark", nix.directory().display());
        let output = machine.ssh(&["cat", &mark]).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), machine.name);
    }
    let mut sessions: Vec<_> = machines
        .iter()
        .map(|it| it.ssh(&["sleep", "600"]).stderr(Stdio::null()).spawn().unwrap())
        .collect();
    let folders: Vec<_> = machines.iter().map(|it| it.ssh_options()[1].clone()).collect();
    drop(machines);
    for session in &mut sessions {
        assert_eq!(session.wait().unwrap().code(), Some(255), "its sshd is gone");
    }
    for folder in folders {
        assert!(!Path::new(&folder).parent().unwrap().exists(), "{folder}");
    }
}

#[tokio::test]
async fn a_machine_ends_with_the_process_that_started_it() {
    let nix = TestNix::one();
    let machine = Machine::start(&nix, "basestar", &[FOREIGN]);
    // What the kernel does to the pipe of a process that is killed.
    let processes = machine.processes();
    assert!(processes.iter().any(|it| it.contains("sshd")), "{processes:?}");
    drop(machine);
    for process in processes {
        let id = process.split(' ').next().unwrap();
        assert!(!Path::new("/proc").join(id).exists(), "{process} lives on");
    }
}

#[tokio::test]
async fn a_machine_that_is_stopped_closes_its_connections_at_once() {
    for pair in Pair::all().await {
        for way in Way::BOTH {
            let (error, after) = pair.build_until(way, Machine::stop).await;
            pair.said(&way.of("stopped-while-building"), &lost(&error));
            assert!(after < Duration::from_secs(3), "{after:?}");
            assert_eq!(pair.machine.processes(), [] as [&str; 0]);

            let refused = pair.connect(way, &[]).await.unwrap_err();
            pair.said(&way.of("refused"), &lost(&refused));
            let drv = pair.derivation("there", "echo made > $out");
            pair.said("refused-copy", &pair.copy(&drv, &[]).unwrap_err());

            pair.machine.start_again();
            pair.copy(&drv, &[]).unwrap();
            pair.connect(way, &[]).await.unwrap().stop().await;
        }
    }
}

#[tokio::test]
async fn a_network_that_is_cut_says_nothing_until_ssh_gives_up() {
    for pair in Pair::all().await {
        for way in Way::BOTH {
            let (error, after) = pair.build_until(way, Machine::cut_network).await;
            pair.said(&way.of("cut-while-building"), &lost(&error));
            assert!((3..10).contains(&after.as_secs()), "{after:?}");

            let limit = ["-o", "ConnectTimeout=2"];
            let error = pair.connect(way, &limit).await.unwrap_err();
            pair.said(&way.of("cut"), &lost(&error));
            let drv = pair.derivation("there", "echo made > $out");
            pair.said("cut-copy", &pair.copy(&drv, &limit).unwrap_err());

            // Nobody told the machine: a silent build goes on there and keeps its lock, so that
            // another of the same derivation would wait for it. With the cable mended the kernel
            // here may still deliver the end of the connection, sooner or later.
            let goes_on = pair.machine.processes();
            assert!(goes_on.iter().any(|it| it.contains("sleep 600")), "{goes_on:?}");

            pair.machine.mend_network();
            pair.copy(&drv, &[]).unwrap();
        }
    }
}

#[tokio::test]
async fn a_machine_that_hangs_says_nothing_until_ssh_gives_up() {
    for pair in Pair::all().await {
        for way in Way::BOTH {
            let (error, after) = pair.build_until(way, Machine::hang).await;
            pair.said(&way.of("hung-while-building"), &lost(&error));
            assert!((3..10).contains(&after.as_secs()), "{after:?}");

            let error = pair.connect(way, &["-o", "ConnectTimeout=2"]).await.unwrap_err();
            pair.said(&way.of("hung"), &lost(&error));

            pair.machine.go_on();
            pair.connect(way, &[]).await.unwrap().stop().await;
        }
    }
}

#[tokio::test]
async fn a_machine_with_another_host_key_is_not_spoken_to() {
    for pair in Pair::all().await {
        pair.machine.new_host_key();
        for way in Way::BOTH {
            let error = pair.connect(way, &[]).await.unwrap_err();
            let words = lost(&error);
            assert!(words.contains("Host key verification failed."), "{words}");
            pair.said(&way.of("host-key"), &words);
        }
        let drv = pair.derivation("there", "echo made > $out");
        pair.said("host-key-copy", &pair.copy(&drv, &[]).unwrap_err());
    }
}

#[tokio::test]
async fn a_disk_that_is_full_is_said_by_whoever_needs_it_first() {
    for nix in TestNix::all() {
        let equipment = Equipment { mebibytes: 64, ..Equipment::of(&[FOREIGN]) };
        let pair = Pair::of(nix, equipment).await;
        let large = pair.derivation("large", "dd if=/dev/zero of=$out bs=1M count=40 status=none");
        let tidies = "dd if=/dev/zero of=$out bs=1M count=40 status=none || { rm $out; exit 1; }";
        let tidy = pair.derivation("tidy", tidies);
        let other = pair.derivation("other", "echo made > $out");
        for drv in [&large, &tidy, &other] {
            pair.copy(drv, &[]).unwrap();
        }

        // The build itself finds no room: its own tools say so, and its exit status is a failure.
        pair.machine.fill_disk(16 << 20);
        let mut worker = pair.worker().await;
        let mut log = String::new();
        let result = build(&mut worker, &large, &mut log).await;
        pair.said("disk-full-in-a-build", &said(&result, &log));
        assert!(log.contains("No space left on device"), "{log}");
        log.clear();

        // The same, and the disk is not full any more when Nix looks.
        let result = build(&mut worker, &tidy, &mut log).await;
        pair.said("disk-full-in-a-build-that-tidies", &said(&result, &log));

        // Not even a word of the builder's finds room.
        pair.machine.fill_disk(0);
        let mut log = String::new();
        let result = build(&mut worker, &other, &mut log).await;
        pair.said("disk-full-before-a-build", &said(&result, &log));
        worker.stop().await;
        let late = pair.derivation("late", "echo made > $out");
        pair.said("disk-full-copy", &pair.copy(&late, &[]).unwrap_err());

        pair.machine.free_disk();
        pair.copy(&late, &[]).unwrap();
        let mut worker = pair.worker().await;
        assert_eq!(build(&mut worker, &large, &mut String::new()).await.status, Status::Built);
        worker.stop().await;
    }
}
