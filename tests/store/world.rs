//! A store of a test's own, and short words for what goes into it.
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use fleetcheck::domain::Timestamp;
use fleetcheck::domain::build::{Attempted, Build, Derivation, Ending, Required, Waiting};
use fleetcheck::domain::evaluation::Known;
use fleetcheck::domain::id::{
    AttemptId, AttrPath, BuildId, CommitSha, DrvPath, InstallationId, RepositoryId, RunId,
};
use fleetcheck::domain::incoming::{
    InstallationChange, InstallationStanding, Repository, Visibility,
};
use fleetcheck::domain::page::RunView;
use fleetcheck::domain::plan::Capability;
use fleetcheck::domain::run::{Approval, Reason, Run, RunState, Skip, Trust};
use fleetcheck::store::attempts::Finished;
use fleetcheck::store::decide::Decided;
use fleetcheck::store::intake::{Arrival, NewDelivery};
use fleetcheck::store::runs::{EvaluationOutcome, NewBuild, Outcome};
use fleetcheck::store::{AttemptClaim, Body, RunClaim, Store};
use sqlx::AnyPool;

use crate::postgres::Server;

pub(crate) const LEASE: i64 = 60_000;
pub(crate) const NOW: Timestamp = Timestamp(1_700_000_000_000);

static NUMBER: AtomicU64 = AtomicU64::new(1);

fn number() -> u64 {
    NUMBER.fetch_add(1, Ordering::Relaxed)
}

/// A fresh id of any kind.
pub(crate) fn id<T: std::str::FromStr>() -> T
where
    T::Err: std::fmt::Debug,
{
    format!("01890a5d-ac96-774b-bcce-{:012x}", number()).parse().unwrap()
}

pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) url: String,
    _directory: Option<tempfile::TempDir>,
}

impl World {
    pub(crate) async fn sqlite() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", directory.path().join("a folder/fleet.db").display());
        let store = Store::open(&url).await.unwrap();
        Self { store, url, _directory: Some(directory) }
    }

    pub(crate) async fn postgres() -> Self {
        sqlx::any::install_default_drivers();
        let schema = format!("t{}", number());
        let url = Server::get().url(&schema);
        let pool = AnyPool::connect(&url).await.unwrap();
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!("CREATE SCHEMA {schema}")))
            .execute(&pool)
            .await
            .unwrap();
        pool.close().await;
        let store = Store::open(&url).await.unwrap();
        Self { store, url, _directory: None }
    }

    /// Another instance on the same store, which is alive.
    pub(crate) async fn instance(&self, owner: &str) -> Self {
        let store = self.store.clone().owned_by(owner);
        store.beat(NOW).await.unwrap();
        Self { store, url: self.url.clone(), _directory: None }
    }

    /// The database itself, for what the store does not tell.
    pub(crate) async fn database(&self) -> AnyPool {
        AnyPool::connect(&self.url.replace(' ', "%20")).await.unwrap()
    }

    pub(crate) async fn decide(&self, decided: Decided) -> fleetcheck::store::Moved {
        let delivery = delivery();
        self.store.accept(vec![delivery.clone()]).await.unwrap();
        self.store.decide(&delivery.guid, decided, NOW).await.unwrap()
    }

    /// A push of this commit to `main`, which supersedes these runs.
    pub(crate) async fn push(&self, commit: &str, supersede: &[&RunId]) -> RunId {
        let run = run(commit, "main");
        let id = run.id.clone();
        let supersede = supersede.iter().map(|it| (*it).clone()).collect();
        let _ = self.decide(Decided::Start { repository: repository(), run, supersede }).await;
        id
    }

    pub(crate) async fn claim(&self) -> RunClaim {
        self.store.claim_run("me", NOW, LEASE).await.unwrap().expect("a run to evaluate").0
    }

    /// Lists hosts, all required.
    pub(crate) async fn list(&self, claim: &RunClaim, hosts: &[&str]) -> Vec<Build> {
        let listed = hosts.iter().map(|it| new_build(it)).collect();
        self.store.list_builds(claim, listed, NOW).await.unwrap().0
    }

    /// A claimed run whose hosts wait for a slot, each with the derivation of its name.
    pub(crate) async fn waiting(&self, hosts: &[&str]) -> (RunClaim, Vec<Build>) {
        let claim = self.claim().await;
        let builds = self.list(&claim, hosts).await;
        for (build, host) in builds.iter().zip(hosts) {
            self.evaluated(&claim, build, Outcome::Wait(derivation(host), Waiting::Slot)).await;
        }
        (claim, builds)
    }

    pub(crate) async fn evaluated(&self, claim: &RunClaim, build: &Build, outcome: Outcome) {
        let took = Some(Known { evaluation_ms: 120, peak_memory: 4_000_000 });
        let outcome =
            EvaluationOutcome { build: build.id.clone(), outcome, took, warnings: vec![] };
        let _ = self.store.evaluated(claim, vec![outcome], NOW).await.unwrap();
    }

    /// Begins an attempt at the derivation of this name.
    pub(crate) async fn start(&self, name: &str) -> Option<AttemptClaim> {
        let wanted = [(derivation(name).path, id::<AttemptId>())];
        let claimed = self.store.claim_attempts(&wanted, "local", "me", NOW, LEASE).await;
        claimed.unwrap().0.pop()
    }

    pub(crate) async fn finish(&self, claim: &AttemptClaim, attempted: Attempted) -> Finished {
        self.store.finish_attempts(vec![(claim, attempted, 10)], NOW).await.unwrap()
    }

    pub(crate) async fn run(&self, id: &RunId) -> RunView {
        self.store.run_view(id).await.unwrap().expect("the run")
    }

    pub(crate) async fn build(&self, id: &BuildId) -> Build {
        self.store.build_view(id).await.unwrap().expect("the build").builds.swap_remove(0).build
    }

    pub(crate) async fn installation(&self, standing: InstallationStanding) {
        let change = InstallationChange { installation: InstallationId(7), standing };
        let _ = self.decide(Decided::Installation(change)).await;
    }
}

pub(crate) fn built() -> Attempted {
    Attempted::Answered(Ending::Built { seconds: 3, without: vec![] })
}

pub(crate) fn weather() -> Attempted {
    Attempted::Weather("the connection was lost".into())
}

/// A builder of this system, with these features, and those that it insists on.
pub(crate) fn able(system: &str, features: &[&str], mandatory: &[&str]) -> Capability {
    let owned = |all: &[&str]| all.iter().map(|&it| it.to_owned()).collect();
    Capability { systems: owned(&[system]), features: owned(features), mandatory: owned(mandatory) }
}

/// A commit whose hash ends in this hex number.
pub(crate) fn sha(commit: &str) -> CommitSha {
    format!("{commit:0>40}").parse().unwrap()
}

pub(crate) fn repository() -> Repository {
    Repository {
        id: RepositoryId(42),
        node_id: "R_42".parse().ok(),
        owner: "acme".parse().unwrap(),
        name: "fleet".parse().unwrap(),
        default_branch: "main".parse().unwrap(),
        visibility: Visibility::Private,
        installation: InstallationId(7),
    }
}

pub(crate) fn run(commit: &str, branch: &str) -> Run {
    Run {
        id: id(),
        repository: RepositoryId(42),
        sha: sha(commit),
        reason: Reason::Push(branch.parse().unwrap()),
        base: None,
        occurred_at: NOW,
        created_at: NOW.plus(i64::try_from(number()).unwrap()),
        problem: None,
        waits: None,
        trust: Trust::Trusted,
        approval: Approval::NotNeeded,
        base_branch: None,
        merge: None,
        skip: Skip::Heeded,
        lock: None,
        note: None,
        state: RunState::Requested,
    }
}

pub(crate) fn new_build(host: &str) -> NewBuild {
    let attr = AttrPath::host(host);
    NewBuild { id: id(), label: attr.label().ok(), attr, required: Required::Required }
}

pub(crate) fn drv(name: &str) -> DrvPath {
    format!("/nix/store/783yqpnsx5xvpayk2bnrb6cmk0a7blys-{name}.drv").parse().unwrap()
}

pub(crate) fn derivation(name: &str) -> Derivation {
    let out = format!("/nix/store/683yqpnsx5xvpayk2bnrb6cmk0a7blys-{name}").parse().unwrap();
    Derivation {
        path: drv(name),
        outputs: BTreeMap::from([("out".to_owned(), out)]),
        system: "x86_64-linux".into(),
        features: vec![],
    }
}

pub(crate) fn delivery() -> NewDelivery {
    let number = number();
    NewDelivery {
        guid: format!("72d3162e-cc78-11e3-81ab-{number:012}").parse().unwrap(),
        event: "push".into(),
        action: None,
        repository: Some(RepositoryId(42)),
        installation: Some(InstallationId(7)),
        received_at: NOW,
        standing: Arrival::Received { body_sha256: format!("{number:064x}") },
        body: Body::pack(format!("{{\"number\": {number}}}").as_bytes()).unwrap(),
    }
}
