//! Real Nix with derivations to build, and what came of them.
#![expect(clippy::unwrap_used, reason = "a harness: it may panic")]
#![expect(unreachable_pub, reason = "the test file uses all of it")]
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use fleetcheck::domain::build::{Attempted, BuildFailure, Derivation, Ending, TimedOut};
use fleetcheck::domain::id::{AttemptId, DrvPath};
use fleetcheck::nix::log::LogStore;
use fleetcheck::nix::realise::{Progress, Wanted, realise};
use fleetcheck::nix::worker::{BuildLimits, Mode, Worker};
use tokio_util::sync::CancellationToken;

use crate::nix::TestNix;

/// One Nix, a worker of it, derivations, and where their logs go.
pub struct Lab {
    pub nix: TestNix,
    pub worker: Worker,
    pub logs: LogStore,
    pub derivations: HashMap<String, Derivation>,
    pub limits: BuildLimits,
    pub stop: CancellationToken,
}

impl Lab {
    /// `derivations` is a set in the Nix language; `sh NAME ATTRIBUTES SCRIPT` makes one.
    pub async fn with(nix: TestNix, derivations: &str) -> Self {
        let system = nix.nix().system().await.unwrap();
        let expression = format!(
            r#"let
                 sh = name: more: script: derivation ({{
                   inherit name; system = "{system}"; builder = "/bin/sh";
                   args = [ "-c" script ]; PATH = "/bin:/usr/bin";
                 }} // more);
               in builtins.mapAttrs (_: it: {{ drv = it.drvPath; out = it.outPath; }}) ({derivations})"#
        );
        let said = nix.output("nix", ["eval", "--impure", "--json", "--expr", &expression]);
        let found: HashMap<String, HashMap<String, String>> = serde_json::from_str(&said).unwrap();
        let derivation = |it: &HashMap<String, String>| Derivation {
            path: it["drv"].parse().unwrap(),
            outputs: BTreeMap::from([("out".to_owned(), it["out"].parse().unwrap())]),
            system: system.clone(),
            features: vec![],
        };
        let derivations = found.iter().map(|(key, it)| (key.clone(), derivation(it))).collect();
        let limits = BuildLimits {
            timeout: Duration::from_mins(1),
            silence: Duration::from_mins(1),
            jobs: 4,
            mode: Mode::Normal,
        };
        let worker = Worker::start(&nix.nix()).await.unwrap();
        let logs = LogStore::new(nix.directory());
        Self { nix, worker, logs, derivations, limits, stop: CancellationToken::new() }
    }

    pub async fn all(derivations: &str) -> Vec<Self> {
        let mut labs = Vec::new();
        for nix in TestNix::all() {
            labs.push(Self::with(nix, derivations).await);
        }
        labs
    }

    pub fn attempt(name: &str) -> AttemptId {
        let number = name.bytes().fold(7_u64, |it, byte| it.wrapping_mul(31) + u64::from(byte));
        format!("01890a5d-ac96-774b-bcce-{:012x}", number & 0xffff_ffff_ffff).parse().unwrap()
    }

    pub fn drv(&self, name: &str) -> &DrvPath {
        &self.derivations[name].path
    }

    /// All at once; the answers by name.
    pub async fn realise(&mut self, names: &[&str]) -> HashMap<String, Attempted> {
        self.observe(names, |_, _| ()).await
    }

    pub async fn observe(
        &mut self,
        names: &[&str],
        mut on: impl FnMut(Progress<'_>, &CancellationToken) + Send + Sync,
    ) -> HashMap<String, Attempted> {
        let wanted = names.iter().map(|it| Wanted {
            derivation: self.derivations[*it].clone(),
            log: self.logs.create(&Self::attempt(it)).unwrap(),
        });
        let stop = self.stop.clone();
        let mut on_progress = |it: Progress<'_>| on(it, &stop);
        let wanted = wanted.collect();
        let answers =
            realise(&mut self.worker, wanted, &self.limits, &mut on_progress, &self.stop).await;
        let drvs: Vec<_> = answers.iter().map(|(drv, _)| drv.clone()).collect();
        assert_eq!(drvs, names.iter().map(|it| self.drv(it).clone()).collect::<Vec<_>>());
        names.iter().map(|it| (*it).to_owned()).zip(answers.into_iter().map(|it| it.1)).collect()
    }

    pub async fn realise_one(&mut self, name: &str) -> Attempted {
        self.realise(&[name]).await.remove(name).unwrap()
    }

    pub fn log(&self, name: &str) -> String {
        let chunk = self.logs.read(&Self::attempt(name), 0, 100 << 20).unwrap().unwrap();
        assert_eq!(chunk.next, chunk.end);
        String::from_utf8_lossy(&chunk.bytes).into_owned()
    }
}

pub fn failure(answer: &Attempted) -> &BuildFailure {
    let Attempted::Answered(Ending::BuildFailed(failure)) = answer else { panic!("{answer:?}") };
    failure
}

pub fn timed_out(answer: &Attempted) -> &TimedOut {
    let Attempted::Answered(Ending::TimedOut(timed_out)) = answer else { panic!("{answer:?}") };
    timed_out
}

pub fn weather(answer: &Attempted) -> &str {
    let Attempted::Weather(what) = answer else { panic!("{answer:?}") };
    what
}

pub fn is_built(answer: &Attempted) -> bool {
    matches!(answer, Attempted::Answered(Ending::Built { .. }))
}

pub fn lives(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|it| !it.contains(") Z "))
}

/// SIGKILL is sent; the end of the process follows at once, but not before.
pub async fn assert_gone(log: &str, count: usize) {
    let pids: Vec<_> = log.lines().filter_map(|it| it.strip_prefix("pid ")).collect();
    assert_eq!(pids.len(), count, "{log}");
    for pid in pids {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
        while lives(pid) {
            assert!(tokio::time::Instant::now() < deadline, "process {pid} lives on");
            tokio::task::yield_now().await;
        }
    }
}
