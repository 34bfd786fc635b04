//! Runs put into the store as deliveries would: what a bench measures begins behind them.
use std::collections::BTreeMap;

use fleetcheck::domain::Timestamp;
use fleetcheck::domain::build::{Build, Derivation, Required, Waiting};
use fleetcheck::domain::id::{AttrPath, InstallationId, RepositoryId};
use fleetcheck::domain::incoming::{Repository, Visibility};
use fleetcheck::domain::run::{Approval, Reason, Run, RunState, Skip, Trust};
use fleetcheck::flow::new_id;
use fleetcheck::store::decide::Decided;
use fleetcheck::store::intake::{Arrival, NewDelivery};
use fleetcheck::store::runs::{EvaluationOutcome, NewBuild, Outcome};
use fleetcheck::store::{Body, RunClaim, Store};

/// A private repository `acme/fleet`.
pub(crate) fn repository(id: i64, installation: i64) -> Repository {
    Repository {
        id: RepositoryId(id),
        node_id: None,
        owner: "acme".parse().unwrap(),
        name: "fleet".parse().unwrap(),
        default_branch: "main".parse().unwrap(),
        visibility: Visibility::Private,
        installation: InstallationId(installation),
    }
}

/// A run of a commit and a pull request of its own: none supersedes another.
pub(crate) fn run(repository: &Repository, number: usize, now: Timestamp) -> Run {
    Run {
        id: new_id(),
        repository: repository.id,
        sha: format!("{:040x}", number + 1).parse().unwrap(),
        reason: Reason::PullRequest(i64::try_from(number).unwrap()),
        base: None,
        occurred_at: now,
        created_at: now,
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

/// Its delivery came and was decided, and the run is claimed for so many milliseconds.
pub(crate) async fn claimed(
    store: &Store,
    (repository, run): (Repository, Run),
    now: Timestamp,
    lease: i64,
) -> RunClaim {
    let delivery = NewDelivery {
        guid: new_id(),
        event: "pull_request".to_owned(),
        action: None,
        repository: Some(repository.id),
        installation: Some(repository.installation),
        received_at: now,
        standing: Arrival::Received { body_sha256: format!("{:0>64}", run.sha) },
        body: Body::pack(b"{}").unwrap(),
    };
    let guid = delivery.guid.clone();
    store.accept(vec![delivery]).await.unwrap();
    let start = Decided::Start { repository, run, supersede: vec![] };
    let _ = store.decide(&guid, start, now).await.unwrap();
    store.claim_run("the bench", now, lease).await.unwrap().unwrap().0
}

/// `host0`, `host1` and so on, as a flake lists them.
pub(crate) fn hosts(count: usize) -> Vec<NewBuild> {
    let new = |n: usize| {
        let attr = AttrPath::host(&format!("host{n}"));
        NewBuild { id: new_id(), label: attr.label().ok(), attr, required: Required::Required }
    };
    (0..count).map(new).collect()
}

/// Each of these builds waits for a slot, with its derivation.
pub(crate) fn waiting(
    builds: Vec<Build>,
    derivations: impl IntoIterator<Item = Derivation>,
) -> Vec<EvaluationOutcome> {
    let waits = |(build, derivation): (Build, Derivation)| EvaluationOutcome {
        build: build.id,
        outcome: Outcome::Wait(derivation, Waiting::Slot),
        took: None,
        warnings: vec![],
    };
    builds.into_iter().zip(derivations).map(waits).collect()
}

/// A derivation that is in no store.
pub(crate) fn derivation(name: &str, system: &str) -> Derivation {
    let path = |end: &str| format!("/nix/store/783yqpnsx5xvpayk2bnrb6cmk0a7blys-{name}{end}");
    Derivation {
        path: path(".drv").parse().unwrap(),
        outputs: BTreeMap::from([("out".to_owned(), path("").parse().unwrap())]),
        system: system.to_owned(),
        features: vec![],
    }
}
