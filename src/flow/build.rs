//! Waiting builds × a free slot → an attempt → an ending.
use std::sync::Arc;

use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::domain::build::{Attempted, Ending, Rebuild, Waiting};
use crate::domain::id::{AttemptId, BuildId, StorePath};
use crate::domain::page::Counts;
use crate::domain::plan::{self, Capability};
use crate::domain::queue::{self, Candidate};
use crate::domain::verdict;
use crate::flow::evaluate::LEASE;
use crate::flow::shared::Shared;
use crate::flow::{Stage, Step, fault, new_id};
use crate::nix::Nix;
use crate::nix::realise::{self, Progress, Wanted};
use crate::nix::worker::{self, BuildLimits, Mode, Worker};
use crate::store::{AttemptClaim, StoreError};
use crate::telemetry;

/// One slot of a builder: realises what it claims with a worker of its own.
pub struct Slot {
    shared: Arc<Shared>,
    nix: Nix,
    builder: crate::config::Builder,
    limits: BuildLimits,
    worker: Mutex<Option<Worker>>,
}

/// An attempt, what came of it, and the length of its log.
type Finished<'c> = (&'c AttemptClaim, Attempted, u64);

/// How many of those whose turn it is a slot looks at.
const WINDOW: i64 = 200;

impl Slot {
    pub fn new(
        shared: Arc<Shared>,
        nix: Nix,
        builder: crate::config::Builder,
        limits: BuildLimits,
    ) -> Self {
        Self { shared, nix, builder, limits, worker: Mutex::new(None) }
    }
}

impl Stage for Slot {
    const NAME: &'static str = "build";
    type Error = StoreError;

    async fn step(&self, stop: &CancellationToken) -> Result<Step, StoreError> {
        let claims = self.claim().await?;
        if claims.is_empty() {
            return Ok(Step::Idle);
        }
        let work = stop.child_token();
        let finished = {
            let build = self.build(&claims, &work);
            tokio::pin!(build);
            let keep = self.keep_claims(&claims, &work);
            tokio::pin!(keep);
            tokio::select! {
                finished = &mut build => finished,
                kept = &mut keep => match kept {
                    // Nobody wants it any more: the worker has been told, wait for its end.
                    Ok(()) => build.await,
                    Err(error) => {
                        work.cancel();
                        build.await;
                        return Err(error);
                    }
                },
            }
        };
        if stop.is_cancelled() {
            // Not an answer: the next start finds the claims under our name, and the builds wait
            // again.
            return Ok(Step::Idle);
        }
        for (claim, attempted, _) in &finished {
            self.tell(claim, attempted);
        }
        let now = self.shared.clock.now();
        let finished = self.shared.store.finish_attempts(finished, now).await?;
        self.shared.wakeups.tell(&finished.moved);
        for attempt in &finished.lost {
            tracing::warn!(attempt.id = %attempt, "attempt {attempt} was lost while it ran; another takes its place");
        }
        Ok(Step::Worked)
    }
}

impl Slot {
    async fn claim(&self) -> Result<Vec<AttemptClaim>, StoreError> {
        let now = self.shared.clock.now();
        let store = &self.shared.store;
        let mut systems = self.builder.systems.clone();
        systems.push("builtin".to_owned());
        let mut waiting = store.candidates(&systems, now, WINDOW).await?;
        let features = &self.builder.features;
        waiting.retain(|it| it.features.iter().all(|one| features.contains(one)));
        let waiting: Vec<Candidate> = waiting
            .into_iter()
            .map(|it| {
                // What is built from scratch is built alone, as what nobody knows.
                let expected_ms = it.expected_ms.filter(|_| it.rebuild == Rebuild::IfMissing);
                Candidate { derivation: it.drv, run: it.run, expected_ms }
            })
            .collect();
        let taken = queue::take(&waiting, self.builder.slots);
        if taken.is_empty() {
            return Ok(vec![]);
        }
        let wanted: Vec<_> = taken.into_iter().map(|drv| (drv, new_id())).collect();
        let lease = i64::try_from(LEASE.as_millis()).unwrap_or(i64::MAX);
        let (claims, moved) = store
            .claim_attempts(&wanted, &self.builder.name, &self.shared.owner, now, lease)
            .await?;
        self.shared.wakeups.tell(&moved);
        Ok(claims)
    }

    /// Realises the claimed derivations; an answer, or weather, for each.
    async fn build<'c>(
        &self,
        claims: &'c [AttemptClaim],
        stop: &CancellationToken,
    ) -> Vec<Finished<'c>> {
        let weather = |what: String| {
            claims.iter().map(|it| (it, Attempted::Weather(what.clone()), 0)).collect()
        };
        let mut kept = self.worker.lock().await;
        let mut worker = match worker::kept_or_new(&mut kept, &self.nix).await {
            Ok(worker) => worker,
            Err(error) => return weather(format!("Nix could not be started: {error}")),
        };
        let mut wanted = Vec::with_capacity(claims.len());
        for claim in claims {
            match self.shared.logs.create(claim.attempt()) {
                Ok(log) => wanted.push(Wanted { derivation: claim.derivation().clone(), log }),
                Err(error) => {
                    fault::number("keeping a log", &error);
                    return weather(format!("the log could not be kept: {error}"));
                }
            }
        }
        let only = (claims.len() == 1).then(|| claims[0].attempt().clone());
        let mut observe = |progress: Progress<'_>| {
            if let (Progress::Counts { done, expected, .. }, Some(attempt)) = (progress, &only) {
                self.shared.progress.insert(attempt.clone(), Counts { done, expected });
            }
        };
        let busy = metrics::gauge!(telemetry::BUSY_SLOTS, "builder" => self.builder.name.clone());
        let since = tokio::time::Instant::now();
        busy.increment(1);
        let limits = self.limits_of(claims, &mut worker).await;
        let results = realise::realise(&mut worker, wanted, &limits, &mut observe, stop).await;
        busy.decrement(1);
        metrics::histogram!(telemetry::BUILD_SECONDS).record(since.elapsed());
        if let Some(attempt) = &only {
            self.shared.progress.remove(attempt);
        }
        if worker.is_alive() {
            *kept = Some(worker);
        } else {
            worker.stop().await;
        }
        let took = only.is_some().then(|| since.elapsed().as_secs());
        results
            .into_iter()
            .filter_map(|(path, mut attempted)| {
                // What a person waited for: its dependencies' time too, where it was built alone.
                if let (Attempted::Answered(Ending::Built { seconds }), Some(took)) =
                    (&mut attempted, took)
                {
                    *seconds = took;
                }
                let of = |it: &&AttemptClaim| it.derivation().path == path;
                claims.iter().find(of).map(|claim| {
                    let bytes = self.shared.logs.length(claim.attempt()).unwrap_or_default();
                    (claim, attempted, bytes)
                })
            })
            .collect()
    }

    /// What was asked for from scratch is compared with what is there, if that is whole; a worker
    /// that gives no answer now gives none to the build either, which tells what is wrong.
    async fn limits_of(&self, claims: &[AttemptClaim], worker: &mut Worker) -> BuildLimits {
        let outputs: Vec<StorePath> = match claims {
            [claim] if claim.rebuild() == Rebuild::FromScratch => {
                claim.derivation().outputs.values().cloned().collect()
            }
            _ => vec![],
        };
        let whole = match outputs.as_slice() {
            [] => false,
            all => worker.valid_paths(all).await.is_ok_and(|valid| valid.len() == all.len()),
        };
        let mode = if whole { Mode::Check } else { Mode::Normal };
        BuildLimits { mode, ..self.limits }
    }

    fn tell(&self, claim: &AttemptClaim, attempted: &Attempted) {
        let (drv, attempt, builder) = (claim.drv(), claim.attempt(), &self.builder.name);
        let name = drv.name();
        match attempted {
            Attempted::Answered(ending) if ending.is_good() => {
                tracing::info!(%drv, attempt.id = %attempt, %builder, "built {name}");
            }
            Attempted::Answered(ending) => {
                let ending = verdict::conclusion(ending).as_str();
                tracing::info!(%drv, attempt.id = %attempt, %builder, "{name} did not build: {ending}");
            }
            Attempted::Weather(what) => {
                tracing::warn!(%drv, attempt.id = %attempt, %builder, "{name} is tried again or given up: {what}");
            }
        }
    }

    /// Renews the claims until nobody wants any of them, and then stops the work.
    async fn keep_claims(
        &self,
        claims: &[AttemptClaim],
        work: &CancellationToken,
    ) -> Result<(), StoreError> {
        let store = &self.shared.store;
        let ids: Vec<AttemptId> = claims.iter().map(|it| it.attempt().clone()).collect();
        loop {
            let cancelled = self.shared.wakeups.cancelled.notified();
            if store.unwanted(&ids).await?.len() == ids.len() {
                work.cancel();
                return Ok(());
            }
            let all: Vec<&AttemptClaim> = claims.iter().collect();
            if store.renew_attempts(&all, self.shared.clock.now()).await?.len() == ids.len() {
                work.cancel();
                return Ok(());
            }
            tokio::select! {
                () = cancelled => {}
                () = tokio::time::sleep(LEASE / 3) => {}
            }
        }
    }
}

/// At the start: builds that no builder could take are looked at again with the builders of today.
pub async fn place_again(shared: &Shared, builders: &[Capability]) -> Result<(), StoreError> {
    let held = shared.store.held().await?;
    let moved: Vec<(BuildId, Waiting)> = held
        .into_iter()
        .filter_map(|it| {
            let now = plan::placement(&it.derivation, builders);
            (now != it.for_what).then_some((it.build, now))
        })
        .collect();
    if !moved.is_empty() {
        shared.wakeups.tell(&shared.store.rewait(moved, shared.clock.now()).await?);
    }
    Ok(())
}
