//! What nobody told us: lost claims, old rows, logs and commits, GC roots, the numbers for
//! `/metrics`.
mod mirrors;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::domain::Timestamp;
use crate::domain::plan::Capability;
use crate::domain::update::tracking::{Silence, silences};
use crate::flow::build;
use crate::flow::shared::Shared;
use crate::flow::sweep::mirrors::Upkeep;
use crate::flow::{Stage, Step};
use crate::nix::Nix;
use crate::nix::git::Mirrors;
use crate::nix::roots::{RootError, Roots};
use crate::nix::worker::{self, Worker, WorkerError};
use crate::store::StoreError;
use crate::store::sweep::Counts;
use crate::telemetry;

/// Compares the world with the store, every period.
pub struct Sweep {
    shared: Arc<Shared>,
    /// Where something is evaluated and built: the Nix that holds it, and under which names.
    kept: Option<(Nix, Arc<Roots>)>,
    evaluates: Evaluates,
    /// What the builders could do that build what is evaluated here, when it looked last.
    able: Mutex<Vec<Capability>>,
    worker: Mutex<Option<Worker>>,
    mirrors: Mutex<Upkeep>,
}

/// Whether this instance evaluates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evaluates {
    Here,
    Elsewhere,
}

/// How often it looks.
pub const PERIOD: Duration = Duration::from_secs(10);

/// Hosts whose checks are looked at again in one look: with the gates they fit into one request.
const REFRESHED: i64 = 20;

/// Bodies of deliveries are kept as long as GitHub can repeat them (3 days; 7 on GHES), and a day
/// more; runs, their checks and logs for as long as a person may look them up.
const KEEP_DELIVERIES_MS: i64 = 8 * 86_400_000;
pub(super) const KEEP_RUNS_MS: i64 = 90 * 86_400_000;

/// What a look could not do; the next one tries again.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("GC roots: {0}")]
    Worker(#[from] WorkerError),
    #[error("GC roots: {0}")]
    Roots(#[from] RootError),
    #[error("logs: {0}")]
    Logs(#[from] std::io::Error),
}

impl Sweep {
    pub fn new(
        shared: Arc<Shared>,
        kept: Option<(Nix, Arc<Roots>)>,
        evaluates: Evaluates,
        mirrors: Arc<Mirrors>,
    ) -> Self {
        let mirrors = Mutex::new(Upkeep::new(shared.clone(), mirrors));
        let (able, worker) = (Mutex::default(), Mutex::new(None));
        Self { shared, kept, evaluates, able, worker, mirrors }
    }

    /// What waits in vain with other instances is evaluated again, and what was evaluated here is
    /// placed anew when others' builders, which it may go to, have changed.
    async fn take_over(&self, now: Timestamp) -> Result<(), StoreError> {
        let store = &self.shared.store;
        if self.evaluates == Evaluates::Here {
            let able = store.capabilities().await?;
            let taken = store.take_over(&able, now).await?;
            self.shared.wakeups.tell(&taken.moved);
            for run in &taken.runs {
                tracing::info!(run.id = %run, "hosts of run {run} wait with an instance that is gone or has no builder for them; they are evaluated again");
            }
            let mut known = self.able.lock().await;
            if *known != able {
                build::place_again(&self.shared).await?;
                *known = able;
            }
        }
        if store.is_shared() {
            store.miss_builders(now).await?;
            store.forget_instances(now).await?;
        }
        Ok(())
    }

    /// What was evaluated here and no builder took for too long fails.
    async fn give_up(&self, now: Timestamp) -> Result<(), StoreError> {
        let (given_up, moved) = self.shared.store.give_up(now).await?;
        self.shared.wakeups.tell(&moved);
        for (build, what) in given_up {
            tracing::warn!(build.id = %build, "build {build} is given up: {what}");
        }
        Ok(())
    }

    /// Makes the roots on disk those that the store wants.
    async fn roots(&self) -> Result<(), SweepError> {
        let Some((nix, roots)) = &self.kept else { return Ok(()) };
        let wanted: BTreeMap<String, String> =
            self.shared.store.roots().await?.into_iter().map(|it| (it.name, it.path)).collect();
        let held: BTreeMap<String, PathBuf> = roots.list()?.into_iter().collect();
        let mut kept = self.worker.lock().await;
        let is_held =
            |name: &str, path: &str| held.get(name).is_some_and(|it| it == Path::new(path));
        for (name, path) in wanted.iter().filter(|(name, path)| !is_held(name, path)) {
            let mut worker = worker::kept_or_new(&mut kept, nix).await?;
            roots.hold(&mut worker, name, path).await?;
            *kept = Some(worker);
        }
        for name in held.keys().filter(|name| !wanted.contains_key(*name)) {
            roots.release(name)?;
        }
        Ok(())
    }
}

impl Stage for Sweep {
    const NAME: &'static str = "sweep";
    type Error = SweepError;

    async fn step(&self, stop: &CancellationToken) -> Result<Step, SweepError> {
        let store = &self.shared.store;
        let now = self.shared.clock.now();
        let expired = store.expire(now).await?;
        self.shared.wakeups.tell(&expired.moved);
        for run in &expired.runs {
            tracing::warn!(run.id = %run, "the evaluation of run {run} was lost; it begins again");
        }
        self.take_over(now).await?;
        self.give_up(now).await?;
        // Roots are compared before old runs go: what goes is released at the next look.
        self.roots().await?;
        store.delete_old(now.plus(-KEEP_DELIVERIES_MS)).await?;
        for attempt in store.forget_runs(now.plus(-KEEP_RUNS_MS)).await? {
            self.shared.logs.remove(&attempt)?;
        }
        self.mirrors.lock().await.look(stop);
        let moved = store.refresh(self.shared.clock.now(), REFRESHED).await?;
        self.shared.wakeups.tell(&moved);
        show(&store.counts().await?);
        let now = self.shared.clock.now();
        let facts = store.update_facts().await?;
        show_silences(facts.iter().flat_map(|(_, facts)| silences(facts, now)));
        Ok(Step::Idle)
    }
}

#[expect(clippy::cast_precision_loss, reason = "a gauge of how many rows there are")]
fn show(counts: &Counts) {
    let Counts { runs, builds, updates, reports_behind, deliveries_undecided } = counts;
    for (queue, states) in [("runs", runs), ("builds", builds)] {
        for state in
            ["awaiting_approval", "requested", "listed", "evaluating", "waiting", "building"]
        {
            let count = states.get(state).copied().unwrap_or_default();
            metrics::gauge!(telemetry::QUEUE, "queue" => queue, "state" => state).set(count as f64);
        }
    }
    for (queue, count) in [("reports", reports_behind), ("deliveries", deliveries_undecided)] {
        metrics::gauge!(telemetry::QUEUE, "queue" => queue, "state" => "behind").set(*count as f64);
    }
    for state in ["requested", "searching", "proposing", "merging"] {
        let count = updates.get(state).copied().unwrap_or_default();
        metrics::gauge!(telemetry::UPDATES, "state" => state).set(count as f64);
    }
}

fn show_silences(all: impl Iterator<Item = Silence>) {
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    for it in all {
        *counts.entry(it.kind()).or_default() += 1;
    }
    let count = |kind: &str| f64::from(counts.get(kind).copied().unwrap_or_default());
    for kind in Silence::KINDS {
        metrics::gauge!(telemetry::UPDATE_SILENCES, "kind" => kind).set(count(kind));
    }
    metrics::gauge!(telemetry::STALE_LOCKS).set(count(Silence::STALE_LOCK));
}
