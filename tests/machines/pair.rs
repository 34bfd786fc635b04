//! A Nix, a machine for it, two ways between them, and what was said, compared with what is kept.
#![expect(clippy::unwrap_used, reason = "a harness: it may panic")]
#![expect(unreachable_pub, reason = "the test file uses all of it")]
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use fleetcheck::config;
use fleetcheck::config::{Builder, BuilderStore, SshDestination};
use fleetcheck::domain::id::DrvPath;
use fleetcheck::nix::Nix;
use fleetcheck::nix::worker::{BuildLimits, BuildResult, Mode, Observed, Worker, WorkerError};
use tokio::time::Instant;

use crate::machine::{Equipment, Machine};
use crate::nix::TestNix;

pub const FOREIGN: &str = "aarch64-linux";
/// So that a connection that says nothing is given up after four seconds.
pub const ALIVE: &[&str] = &["-o", "ServerAliveInterval=2", "-o", "ServerAliveCountMax=2"];

/// How a worker is connected with the machine.
#[derive(Clone, Copy)]
pub enum Way {
    /// The client's `nix-daemon --stdio` works in an ssh-ng store.
    Store,
    /// `ssh MACHINE nix-daemon --stdio`.
    Ssh,
}

impl Way {
    pub const BOTH: [Self; 2] = [Self::Store, Self::Ssh];

    /// The name of a case, seen in this way.
    pub fn of(self, case: &str) -> String {
        match self {
            Self::Store => case.to_owned(),
            Self::Ssh => format!("ssh-{case}"),
        }
    }
}

/// A Nix, a machine for it, and what they say.
pub struct Pair {
    pub nix: TestNix,
    pub machine: Machine,
    pub version: String,
}

impl Pair {
    pub async fn all() -> Vec<Self> {
        let mut pairs = Vec::new();
        for nix in TestNix::all() {
            pairs.push(Self::of(nix, Equipment::of(&[FOREIGN])).await);
        }
        pairs
    }

    pub async fn of(nix: TestNix, equipment: Equipment) -> Self {
        let version = nix.nix().version().await.unwrap();
        let machine = Machine::equipped(&nix, "basestar", equipment);
        Self { nix, machine, version }
    }

    /// The machine as the service has it.
    pub fn builder(&self) -> fleetcheck::nix::machine::Machine {
        let ssh = SshDestination {
            host: self.machine.name.clone(),
            port: None,
            key: None,
            remote_program: None,
            host_key: None,
            remote_store: None,
        };
        let store = BuilderStore {
            uri: self.machine.store(),
            ssh: Some(ssh),
            ssh_options: self.machine.ssh_options(),
        };
        let builder = Builder {
            name: self.machine.name.clone(),
            store: Some(store),
            systems: self.machine.systems.clone(),
            features: vec![],
            mandatory_features: vec![],
            slots: 1,
            speed: fleetcheck::domain::builder::Speed::default(),
            min_free: 5,
            collect: false,
            copy_back: config::CopyBack::Closure,
        };
        fleetcheck::nix::machine::Machine::new(&self.nix.nix(), &builder)
    }

    /// A derivation of the machine's system with this script, here.
    pub fn derivation(&self, name: &str, script: &str) -> DrvPath {
        let expression = format!(
            "derivation {{ name = ''{name}''; system = ''{FOREIGN}''; builder = ''/bin/sh''; \
             args = [ ''-c'' ''{script}'' ]; PATH = ''/bin:/usr/bin''; }}"
        );
        self.nix.output("nix-instantiate", ["-E", &expression]).parse().unwrap()
    }

    /// `nix copy --derivation` to the machine: what it said if it failed.
    pub fn copy(&self, drv: &DrvPath, more: &[&str]) -> Result<(), String> {
        let store = self.machine.store();
        let output = self
            .nix
            .command("nix", ["copy", "--derivation", "--to", &store, drv.as_str()])
            .envs(self.machine.remote(more).env().iter().cloned())
            // The derivation is in this machine's own store.
            .env_remove("NIX_REMOTE")
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        if output.status.success() { Ok(()) } else { Err(said) }
    }

    pub async fn connect(&self, way: Way, more: &[&str]) -> Result<Worker, WorkerError> {
        match way {
            Way::Store => Worker::start(&self.machine.remote(more)).await,
            Way::Ssh => Worker::start(&self.over_ssh(more)).await,
        }
    }

    pub async fn worker(&self) -> Worker {
        self.connect(Way::Ssh, &[]).await.unwrap()
    }

    /// A Nix whose daemon is the machine's.
    pub fn over_ssh(&self, more: &[&str]) -> Nix {
        let folder = tempfile::Builder::new().tempdir_in(self.nix.directory()).unwrap().keep();
        let options = [self.machine.ssh_options().join(" "), more.join(" ")].join(" ");
        let script = format!("#!/bin/sh\nexec ssh {options} basestar nix-daemon \"$@\"\n");
        // Beside the program of this path, which nobody starts, its daemon is looked for.
        let program = folder.join("nix");
        for file in ["nix", "nix-daemon"] {
            std::fs::write(folder.join(file), &script).unwrap();
            std::fs::set_permissions(folder.join(file), Permissions::from_mode(0o755)).unwrap();
        }
        Nix::new(&config::Nix { program, ..self.nix.config() })
    }

    /// A build that runs until something happens to it, on the machine; what was the end of it,
    /// and how long after `happens`.
    pub async fn build_until(&self, way: Way, happens: fn(&Machine)) -> (WorkerError, Duration) {
        let drv = self.derivation(&way.of("endless"), "echo begun; sleep 600");
        self.copy(&drv, &[]).unwrap();
        let mut worker = self.connect(way, ALIVE).await.unwrap();
        let mut at = None;
        let mut observe = |it: Observed<'_>| {
            if matches!(it, Observed::Line { text: b"begun", .. }) {
                assert!(self.machine.processes().iter().any(|it| it.ends_with("sleep 600")));
                happens(&self.machine);
                at = Some(Instant::now());
            }
        };
        let ended = worker.build(&[drv], &limits(), &mut observe).await;
        let error = ended.expect_err("the machine is gone");
        let after = at.unwrap().elapsed();
        worker.stop().await;
        (error, after)
    }

    /// Keeps, or compares with what is kept of this version, what was said.
    pub fn said(&self, case: &str, words: &str) {
        let major = self.version.rsplit_once('.').unwrap().0;
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/weather-over-ssh");
        let file = folder.join(format!("{case}.nix-{major}.txt"));
        let words = self.plain(words);
        let kept = std::fs::read_to_string(&file).unwrap_or_default();
        if std::env::var("INSTA_UPDATE").is_ok_and(|it| it == "always") {
            if !agrees(&words, &kept) {
                std::fs::write(&file, &words).unwrap();
            }
        } else if file.exists() {
            // Versions between those that are kept say one or the other.
            assert!(agrees(&words, &kept), "{}:\n{kept}\nfound:\n{words}", file.display());
        }
    }

    /// Without what differs from run to run.
    pub fn plain(&self, text: &str) -> String {
        let text = text.replace(self.nix.directory().to_str().unwrap(), "/nix");
        let own = self.machine.ssh_options()[1].replace("/config", "");
        let text = text.replace(&self.machine.address, "10.0.0.2").replace(&own, "/root/.ssh");
        let text = zeros_after(&text, "/nix/store/", 32);
        format!("{}\n", zeros_after(&text, "SHA256:", 43).trim_end())
    }
}

/// The last words of a connection race with its end: fewer than are kept are right too.
pub fn agrees(words: &str, kept: &str) -> bool {
    let is_lost = kept.starts_with("Lost\n") && words.starts_with("Lost\n");
    words == kept || (is_lost && words.lines().all(|it| kept.lines().any(|kept| kept == it)))
}

/// With zeros for what comes after each of these.
pub fn zeros_after(text: &str, before: &str, length: usize) -> String {
    let mut parts = text.split(before);
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |all, it| all + before + &"0".repeat(length) + &it[length..])
}

pub fn limits() -> BuildLimits {
    let minute = Duration::from_mins(1);
    BuildLimits { timeout: minute, silence: minute, jobs: 1, mode: Mode::Normal }
}

pub async fn build(worker: &mut Worker, drv: &DrvPath, log: &mut String) -> BuildResult {
    let mut observe = |it: Observed<'_>| {
        if let Observed::Line { text, .. } = it {
            log.push_str(&String::from_utf8_lossy(text));
            log.push('\n');
        }
    };
    let results = worker.build(std::slice::from_ref(drv), &limits(), &mut observe).await.unwrap();
    let [(_, result)] = <[_; 1]>::try_from(results).unwrap();
    result
}

/// How it ended, and the words for it. With Nix 2.34 a connection that is lost in the middle of an
/// operation ends in an answer of the daemon here, which goes on.
pub fn lost(error: &WorkerError) -> String {
    if let WorkerError::Lost { words } = error {
        return format!("Lost\n{words}");
    }
    let WorkerError::Daemon(words) = error else { panic!("{error:?}") };
    format!("Daemon\n{words}")
}

pub fn said(result: &BuildResult, log: &str) -> String {
    format!("{:?}\n{}\n--- log\n{log}", result.status, result.message)
}
