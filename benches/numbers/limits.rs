//! An hour of a busy account under GitHub's real limits: the real reporter, store and client
//! against the tests' GitHub, which counts points and contents and refuses what is too much. The
//! clock of all of them is moved by hand; evaluations and builds are only noted in the store.
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use fleetcheck::config::{self, Sealed};
use fleetcheck::domain::Timestamp;
use fleetcheck::domain::build::{Attempted, BuildFailure, Derivation, Ending, Waiting};
use fleetcheck::domain::id::{AttemptId, BuildId, CommitSha};
use fleetcheck::domain::incoming::Repository;
use fleetcheck::domain::link::Links;
use fleetcheck::domain::run::Run;
use fleetcheck::flow::report::{Report, Settings};
use fleetcheck::flow::shared::{Shared, Wakeups};
use fleetcheck::flow::{Clock, Stage, new_id};
use fleetcheck::github::client::Github;
use fleetcheck::nix::log::LogStore;
use fleetcheck::store::runs::{EvaluationOutcome, Outcome};
use fleetcheck::store::{RunClaim, Store};
use tokio_util::sync::CancellationToken;

use crate::seed;
use crate::world::github::{
    Contents, Contract, Echoes, FakeGitHub, Limits, Operation, Options, RepoHandle, RetryAfter,
};

const HOSTS: usize = 200;
const PUSHES: usize = 50;
const REPOSITORIES: usize = 5;
/// Between two pushes: 50 in an hour.
const EVERY_MS: i64 = 72_000;
/// Hosts that a push changes, and those of them that do not build.
const CHANGED: usize = 40;
const BROKEN: usize = 4;
/// What is late: the promise is a minute.
const LATE_MS: i64 = 60_000;
/// How far the clock moves at a time.
const TICK_MS: i64 = 500;

/// With both ways in which GitHub may count what a batch creates, or with the one that is named.
pub(crate) async fn run(which: &[String]) {
    let both = [
        ("requests", Contents::Requests, "a batch is one content"),
        ("checks", Contents::Checks, "every check is one"),
    ];
    for (name, contents, what) in both {
        if which.first().is_none_or(|it| it == name) {
            hour(contents, what).await;
        }
    }
}

/// A push on its way.
struct Push {
    at: i64,
    repo: usize,
    sha: String,
    claim: Option<RunClaim>,
    /// Hosts that are not evaluated, and those that wait for a builder.
    listed: Vec<(usize, BuildId)>,
    waiting: Vec<usize>,
    /// Names of checks and when what they end with was known.
    known: HashMap<String, i64>,
}

struct Hour {
    clock: Arc<AtomicI64>,
    fake: FakeGitHub,
    repos: Vec<RepoHandle>,
    shared: Arc<Shared>,
    report: Report,
    /// Milliseconds from what is known to what is shown, of every ending.
    late: Vec<i64>,
}

async fn hour(contents: Contents, what: &str) {
    let directory = tempfile::tempdir().unwrap();
    let mut hour = Hour::new(directory.path(), contents).await;
    let mut pushes: Vec<Push> = Vec::new();
    let start = hour.now();
    let mut begun = 0;
    // Twice as long, so that what is late has its time.
    while hour.now() < start + 7_200_000 {
        if begun < PUSHES && hour.now() >= start + i64::try_from(begun).unwrap() * EVERY_MS {
            pushes.push(hour.push(begun).await);
            begun += 1;
        }
        for push in &mut pushes {
            hour.work(push).await;
        }
        hour.report.step(&CancellationToken::new()).await.unwrap();
        for push in &mut pushes {
            hour.look(push);
        }
        if begun == PUSHES
            && pushes.iter().all(|it| it.claim.is_none())
            && hour.shared.store.counts().await.unwrap().reports_behind == 0
        {
            break;
        }
        hour.clock.fetch_add(TICK_MS, Ordering::Relaxed);
    }
    hour.tell(what, &pushes, start);
}

impl Hour {
    async fn new(directory: &std::path::Path, contents: Contents) -> Self {
        let clock = Arc::new(AtomicI64::new(jiff::Timestamp::now().as_millisecond()));
        let fake = FakeGitHub::start(Options {
            contract: Contract::IfPresent,
            echoes: Echoes::Silent,
            clock: Some(clock.clone()),
            ..Options::default()
        })
        .await;
        fake.limit(Limits { contents, retry_after: RetryAfter::Unsaid });
        let repos = (0..REPOSITORIES)
            .map(|n| fake.create_repository("acme", &format!("fleet{n}"), true))
            .collect();
        let told = {
            let clock = clock.clone();
            move || Timestamp(clock.load(Ordering::Relaxed))
        };
        let github = config::Github {
            app_id: fake.app_id(),
            private_keys: vec![Sealed::new(fake.private_key_pem().to_owned())],
            webhook_secrets: vec![],
            api_url: fake.api_url(),
            git_url: fake.git_url(),
            owners: vec!["acme".to_owned()],
            check_name: "fleet".to_owned(),
            checks_limit: 60,
            recover_interval: std::time::Duration::from_mins(5),
            updater: None,
        };
        let github = Arc::new(Github::new(&github, Arc::new(told.clone())).unwrap());
        let shared = Arc::new(Shared {
            store: Store::open(&format!("sqlite:{}/bench.db", directory.display())).await.unwrap(),
            clock: Clock::new(told.clone()),
            wakeups: Wakeups::default(),
            logs: LogStore::new(directory),
            owner: "the bench".to_owned(),
            started: told(),
            progress: Arc::default(),
        });
        let links = Links::new("https://fleet.example.org", &[7; 32]);
        let settings = Settings { check_name: "fleet".to_owned(), checks_limit: 60 };
        let report = Report::new(shared.clone(), github, links, settings);
        Self { clock, fake, repos, shared, report, late: Vec::new() }
    }

    fn now(&self) -> i64 {
        self.clock.load(Ordering::Relaxed)
    }

    async fn push(&self, number: usize) -> Push {
        let now = Timestamp(self.now());
        let repo = &self.repos[number % REPOSITORIES];
        let sha = |n: usize| -> CommitSha { format!("{:040x}", n + 1).parse().unwrap() };
        self.fake.believe(repo, sha(number).as_str());
        let repository = Repository {
            node_id: format!("R_{}", repo.id).parse().ok(),
            name: repo.name.parse().unwrap(),
            ..seed::repository(repo.id, repo.installation)
        };
        let run = Run {
            base: number.checked_sub(REPOSITORIES).map(sha),
            ..seed::run(&repository, number, now)
        };
        let store = &self.shared.store;
        let claim = seed::claimed(store, (repository, run), now, 7_200_000).await;
        let (builds, _) = store.list_builds(&claim, seed::hosts(HOSTS), now).await.unwrap();
        Push {
            at: now.0,
            repo: number % REPOSITORIES,
            sha: sha(number).to_string(),
            claim: Some(claim),
            listed: builds.into_iter().map(|it| it.id).enumerate().rev().collect(),
            waiting: Vec::new(),
            known: HashMap::new(),
        }
    }

    /// Ten hosts a second are evaluated from the fifth second on; then one is built every second.
    async fn work(&self, push: &mut Push) {
        let now = self.now();
        if push.claim.is_none() || now < push.at + 5_000 || (now - push.at) % 1000 >= TICK_MS {
            return;
        }
        let number = usize::from_str_radix(&push.sha[30..], 16).unwrap();
        let (claim, at) = (push.claim.as_ref().unwrap(), Timestamp(now));
        let store = &self.shared.store;
        let mut outcomes = Vec::new();
        for (n, build) in push.listed.split_off(push.listed.len().saturating_sub(10)) {
            let is_changed = n < CHANGED;
            let derivation = derivation(n, if is_changed { number } else { push.repo });
            let outcome = if is_changed {
                push.waiting.push(n);
                Outcome::Wait(derivation, Waiting::Slot)
            } else {
                Outcome::Reuse(derivation)
            };
            outcomes.push(EvaluationOutcome { build, outcome, took: None, warnings: vec![] });
        }
        if !outcomes.is_empty() {
            let _ = store.evaluated(claim, outcomes, at).await.unwrap();
            if push.listed.is_empty() {
                let _ = store.finish_evaluation(claim, at).await.unwrap();
            }
            return;
        }
        let n = push.waiting.pop().unwrap();
        let wanted = [(derivation(n, number).path, new_id::<AttemptId>())];
        let claimed = store.claim_attempts(&wanted, "local", "the bench", at, 7_200_000).await;
        let attempt = claimed.unwrap().0.pop().unwrap();
        let ending = if n < BROKEN {
            Ending::BuildFailed(BuildFailure {
                derivation: derivation(n, number).path,
                headline: "builder failed with exit code 3".to_owned(),
                log_tail: vec!["no such library".to_owned(); 40],
                before: None,
            })
        } else {
            Ending::Built { seconds: 1, without: vec![] }
        };
        let ended = vec![(&attempt, Attempted::Answered(ending), 10)];
        let _ = store.finish_attempts(ended, at).await.unwrap();
        push.known.insert(format!("fleet / host{n}"), now);
        if push.waiting.is_empty() {
            push.known.insert("fleet".to_owned(), now);
            push.claim = None;
        }
    }

    /// What GitHub shows by now of what is known.
    fn look(&mut self, push: &mut Push) {
        if push.known.is_empty() {
            return;
        }
        let now = self.now();
        for run in self.fake.check_runs(self.repos[push.repo].id, &push.sha) {
            if run.conclusion.is_some()
                && let Some(known) = push.known.remove(&run.name)
            {
                self.late.push(now - known);
            }
        }
    }

    fn tell(&mut self, what: &str, unshown: &[Push], begin: i64) {
        self.late.sort_unstable();
        let at = |share: usize| self.late[(self.late.len() * share / 100).min(self.late.len() - 1)];
        let late = self.late.iter().filter(|it| **it > LATE_MS).count();
        // A host without a check is in its gate's table alone; GitHub has nothing of it to end.
        let (mut missing, mut in_table) = (0, 0);
        for push in unshown {
            let runs = self.fake.check_runs(self.repos[push.repo].id, &push.sha);
            for name in push.known.keys() {
                if runs.iter().any(|it| it.name == *name) { missing += 1 } else { in_table += 1 }
            }
        }
        println!(
            "{PUSHES} pushes of {HOSTS} hosts in an hour, {what}: {} endings shown, {missing} not, \
             {in_table} in a table alone; after p50 {:.1} s, p99 {:.1}, max {:.1}; {late} later than 60 s; over after {} min",
            self.late.len(),
            seconds(at(50)),
            seconds(at(99)),
            seconds(at(100)),
            (self.now() - begin) / 60_000,
        );
        let mut kinds: BTreeMap<String, (usize, usize)> = BTreeMap::new();
        for call in self.fake.calls() {
            let entry = kinds.entry(format!("{:?}", call.operation)).or_default();
            entry.0 += 1;
            entry.1 += usize::from(call.status == 403);
        }
        for (kind, (calls, refused)) in &kinds {
            println!("  {kind}: {calls} calls, {refused} refused by a limit");
        }
        let counted = |it: &&crate::world::github::Call| it.operation != Operation::MintToken;
        let all = self.fake.calls();
        println!("  {} requests for a push", all.iter().filter(counted).count() / PUSHES);
        let open = self.repos.iter().flat_map(|repo| {
            (1..=PUSHES).flat_map(|n| self.fake.all_check_runs(repo.id, &format!("{n:040x}")))
        });
        let open = open.filter(|it| it.conclusion.is_none()).count();
        println!("  {open} checks left without an ending");
    }
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}

/// Another one for each version of a host.
fn derivation(host: usize, version: usize) -> Derivation {
    let path = |end: &str| {
        format!("/nix/store/{:0>32}-nixos-system-host{host}-{version}{end}", host * 1000 + version)
    };
    Derivation {
        path: path(".drv").parse().unwrap(),
        outputs: BTreeMap::from([("out".to_owned(), path("").parse().unwrap())]),
        system: "x86_64-linux".to_owned(),
        features: vec![],
    }
}
