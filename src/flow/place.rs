//! A derivation → what becomes of its build, by what the Nix store has already.
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tokio::sync::Mutex;

use crate::domain::build::{Build, Derivation, Rebuild, Warning};
use crate::domain::evaluation;
use crate::domain::id::{AttemptId, AttrPath, DrvPath, StorePath};
use crate::domain::plan::{self, Capability};
use crate::domain::run::Trust;
use crate::flow::evaluate::{Interrupted, Tools};
use crate::flow::hosts::HostOutcome;
use crate::nix::eval::Evaluated;
use crate::nix::flake::Pinned;
use crate::nix::roots::Roots;
use crate::nix::worker::{self, Worker, WorkerError};
use crate::store::failures::FailedNeed;
use crate::store::runs::{EvaluationOutcome, Outcome};
use crate::telemetry;

/// A build whose derivation is known without evaluating it, and what it warned of where that is not
/// noted yet.
pub(super) type Known<'a> = (&'a Build, &'a Derivation, &'a [Warning]);

/// By what is decided what becomes of a run's builds.
pub(super) struct By<'a> {
    pub(super) trust: Trust,
    pub(super) failed: &'a [FailedNeed],
    /// What the builders can do that the derivations may go to.
    pub(super) able: &'a [Capability],
}

/// Asks the Nix store what is valid, and holds what must stay.
pub(super) struct Placing {
    tools: Arc<Tools>,
    roots: Arc<Roots>,
    /// Kept between runs.
    worker: Mutex<Option<Worker>>,
}

impl Placing {
    pub(super) fn new(tools: Arc<Tools>, roots: Arc<Roots>) -> Self {
        Self { tools, roots, worker: Mutex::new(None) }
    }

    /// Keeps a confined flake's sources from the garbage collector while the worker lives.
    pub(super) async fn hold_sources(&self, flake: &Pinned) -> Result<(), Interrupted> {
        let Some(confined) = &flake.confined else { return Ok(()) };
        let mut kept = self.worker.lock().await;
        let mut worker = worker::kept_or_new(&mut kept, &self.tools.nix).await?;
        for path in &confined.held {
            worker.add_temp_root(path.as_str()).await?;
        }
        *kept = Some(worker);
        Ok(())
    }

    /// What becomes of those whose derivation is known from before and still in the store: they
    /// need no evaluation. The others are not among what is given.
    pub(super) async fn known(
        &self,
        known: Vec<Known<'_>>,
        by: &By<'_>,
    ) -> Result<Vec<EvaluationOutcome>, Interrupted> {
        if known.is_empty() {
            return Ok(vec![]);
        }
        let mut kept = self.worker.lock().await;
        let mut worker = worker::kept_or_new(&mut kept, &self.tools.nix).await?;
        let wanted = known.iter().flat_map(|(_, it, _)| {
            it.outputs.values().cloned().chain(it.path.as_str().parse::<StorePath>().ok())
        });
        let valid = worker.valid_paths(&wanted.collect::<Vec<_>>()).await?;
        let doomed = doomed(&mut worker, by.failed).await?;
        let mut rows = Vec::with_capacity(known.len());
        for (build, derivation, warnings) in known {
            if !derivation.path.as_str().parse().is_ok_and(|it| valid.contains(&it)) {
                continue;
            }
            let how = (build.rebuild, by, &doomed);
            let outcome = self.outcome(&mut worker, &valid, derivation.clone(), how).await?;
            let build = build.id.clone();
            let warnings = warnings.to_vec();
            rows.push(EvaluationOutcome { build, outcome, took: None, warnings });
        }
        *kept = Some(worker);
        Ok(rows)
    }

    /// What becomes of those that were evaluated.
    pub(super) async fn look_up(
        &self,
        outcomes: Vec<HostOutcome>,
        todo: &HashMap<&AttrPath, &Build>,
        by: &By<'_>,
    ) -> Result<Vec<EvaluationOutcome>, Interrupted> {
        let mut kept = self.worker.lock().await;
        let mut worker = worker::kept_or_new(&mut kept, &self.tools.nix).await?;
        let wanted: Vec<StorePath> = outcomes.iter().flat_map(outputs).cloned().collect();
        let valid = worker.valid_paths(&wanted).await?;
        let doomed = doomed(&mut worker, by.failed).await?;
        let mut rows = Vec::with_capacity(outcomes.len());
        for outcome in outcomes {
            match outcome {
                HostOutcome::Failed { attr, ending, warnings } => {
                    let Some(build) = todo.get(&attr) else { continue };
                    let (build, outcome) = (build.id.clone(), Outcome::Fail(ending));
                    rows.push(EvaluationOutcome { build, outcome, took: None, warnings });
                }
                HostOutcome::Evaluated(evaluated) => {
                    let Evaluated { attr, derivation, warnings, elapsed_ms, peak_memory } =
                        evaluated;
                    let Some(build) = todo.get(&attr) else { continue };
                    measured(elapsed_ms, peak_memory);
                    let how = (build.rebuild, by, &doomed);
                    rows.push(EvaluationOutcome {
                        build: build.id.clone(),
                        outcome: self.outcome(&mut worker, &valid, derivation, how).await?,
                        took: Some(evaluation::Known {
                            evaluation_ms: i64::try_from(elapsed_ms).unwrap_or(i64::MAX),
                            peak_memory: i64::try_from(peak_memory).unwrap_or(i64::MAX),
                        }),
                        warnings,
                    });
                }
            }
        }
        *kept = Some(worker);
        Ok(rows)
    }

    /// Reused when all of it is valid, or else held until it is built.
    async fn outcome(
        &self,
        worker: &mut Worker,
        valid: &HashSet<StorePath>,
        derivation: Derivation,
        (rebuild, by, doomed): (Rebuild, &By<'_>, &HashMap<DrvPath, AttemptId>),
    ) -> Result<Outcome, Interrupted> {
        let is_valid = !derivation.outputs.is_empty()
            && derivation.outputs.values().all(|it| valid.contains(it));
        if is_valid && rebuild == Rebuild::IfMissing {
            for output in derivation.outputs.values() {
                worker.add_temp_root(output.as_str()).await?;
            }
            return Ok(Outcome::Reuse(derivation));
        }
        // Held twice: the link may be released by a sweep that began before.
        worker.add_temp_root(derivation.path.as_str()).await?;
        let root = building_root(&derivation.path, by.trust);
        self.roots.hold(worker, &root, derivation.path.as_str()).await?;
        let waiting = plan::placement(&derivation, by.able);
        Ok(match doomed.get(&derivation.path) {
            Some(attempt) => Outcome::NeedsFailed(derivation, waiting, attempt.clone()),
            None => Outcome::Wait(derivation, waiting),
        })
    }
}

/// More derivations than a fleet has that need one thing; the rest is built and fails by itself.
const MOST_DEPENDENTS: usize = 20_000;

/// The derivations of this store that need one that failed, each with the attempt in which it did.
async fn doomed(
    worker: &mut Worker,
    failed: &[FailedNeed],
) -> Result<HashMap<DrvPath, AttemptId>, WorkerError> {
    let mut doomed = HashMap::new();
    for need in failed {
        let dependents = worker.dependents(&need.derivation, MOST_DEPENDENTS).await?;
        if !need.built_since.iter().any(|it| dependents.contains(it)) {
            doomed.extend(dependents.into_iter().map(|it| (it, need.attempt.clone())));
        }
    }
    Ok(doomed)
}

fn outputs(outcome: &HostOutcome) -> impl Iterator<Item = &StorePath> {
    let derivation: Option<&Derivation> = match outcome {
        HostOutcome::Evaluated(evaluated) => Some(&evaluated.derivation),
        HostOutcome::Failed { .. } => None,
    };
    derivation.into_iter().flat_map(|it| it.outputs.values())
}

/// The name of the GC root of a derivation in flight, as `Store::roots` wants it.
fn building_root(drv: &DrvPath, trust: Trust) -> String {
    let prefix = match trust {
        Trust::Trusted => "building",
        Trust::Untrusted => "untrusted",
    };
    format!("{prefix}-{}", drv.as_str().rsplit('/').next().unwrap_or_default())
}

#[expect(clippy::cast_precision_loss, reason = "histograms are of floating point numbers")]
fn measured(elapsed_ms: u64, peak_memory: u64) {
    metrics::histogram!(telemetry::EVALUATION_SECONDS).record(elapsed_ms as f64 / 1000.0);
    metrics::histogram!(telemetry::EVALUATION_BYTES).record(peak_memory as f64);
}
