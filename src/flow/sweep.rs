//! What nobody told us: lost claims, old rows, logs and commits, GC roots, the numbers for
//! `/metrics`.
mod mirrors;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

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
    nix: Nix,
    roots: Arc<Roots>,
    worker: Mutex<Option<Worker>>,
    mirrors: Mutex<Upkeep>,
}

/// How often it looks.
pub const PERIOD: Duration = Duration::from_secs(15);

/// Hosts whose checks are looked at again in one look: with the gates they fit into one request.
const REFRESHED: i64 = 20;

/// Bodies of deliveries are kept as long as GitHub can repeat them (3 days; 7 on GHES), and a day
/// more; runs, their checks and logs for as long as a person may look them up.
const KEEP_DELIVERIES_MS: i64 = 8 * 86_400_000;
const KEEP_RUNS_MS: i64 = 90 * 86_400_000;

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
    pub fn new(shared: Arc<Shared>, nix: Nix, roots: Arc<Roots>, mirrors: Arc<Mirrors>) -> Self {
        let mirrors = Mutex::new(Upkeep::new(shared.clone(), mirrors));
        Self { shared, nix, roots, worker: Mutex::new(None), mirrors }
    }

    /// Makes the roots on disk those that the store wants.
    async fn roots(&self) -> Result<(), SweepError> {
        let wanted: BTreeMap<String, String> =
            self.shared.store.roots().await?.into_iter().map(|it| (it.name, it.path)).collect();
        let held: BTreeMap<String, PathBuf> = self.roots.list()?.into_iter().collect();
        let mut kept = self.worker.lock().await;
        let is_held =
            |name: &str, path: &str| held.get(name).is_some_and(|it| it == Path::new(path));
        for (name, path) in wanted.iter().filter(|(name, path)| !is_held(name, path)) {
            let mut worker = worker::kept_or_new(&mut kept, &self.nix).await?;
            self.roots.hold(&mut worker, name, path).await?;
            *kept = Some(worker);
        }
        for name in held.keys().filter(|name| !wanted.contains_key(*name)) {
            self.roots.release(name)?;
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
        Ok(Step::Idle)
    }
}

#[expect(clippy::cast_precision_loss, reason = "a gauge of how many rows there are")]
fn show(counts: &Counts) {
    let Counts { runs, builds, reports_behind, deliveries_undecided } = counts;
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
}
