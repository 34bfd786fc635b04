//! Waiting builds × a free slot → an attempt → an ending.
mod bring;
mod claim;
mod track;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::domain::build::{Attempted, Ending, Rebuild, Waiting};
use crate::domain::builder::{Builder, Condition};
use crate::domain::id::{AttemptId, BuildId, DrvPath, StorePath};
use crate::domain::plan;
use crate::domain::queue::{self, Candidate, place};
use crate::domain::verdict;
use crate::flow::build::claim::{Claimed, Looks, candidate};
use crate::flow::build::track::Track;
use crate::flow::evaluate::LEASE;
use crate::flow::look;
use crate::flow::shared::Shared;
use crate::flow::{Stage, Step, fault, new_id};
use crate::nix::machine::Machine;
use crate::nix::realise::{self, Progress, Wanted};
use crate::nix::worker::{BuildLimits, Mode, Worker};
use crate::store::{AttemptClaim, StoreError};
use crate::telemetry;

/// One slot of a builder: realises what it claims with a worker of its own.
pub struct Slot {
    shared: Arc<Shared>,
    machine: Machine,
    builder: crate::config::Builder,
    limits: BuildLimits,
    worker: Mutex<Option<Worker>>,
    /// This machine's, for what comes from another.
    home: Mutex<Option<Worker>>,
    looks: Mutex<Looks>,
}

/// An attempt, what came of it, and the length of its log.
type Finished<'c> = (&'c AttemptClaim, Attempted, u64);

/// How many of those whose turn it is a slot looks at, of each kind that its builder can take.
const WINDOW: i64 = 200;

impl Slot {
    pub fn new(
        shared: Arc<Shared>,
        machine: Machine,
        builder: crate::config::Builder,
        limits: BuildLimits,
    ) -> Self {
        Self {
            shared,
            machine,
            builder,
            limits,
            worker: Mutex::default(),
            home: Mutex::default(),
            looks: Mutex::default(),
        }
    }
}

impl Stage for Slot {
    const NAME: &'static str = "build";
    type Error = StoreError;

    async fn step(&self, stop: &CancellationToken) -> Result<Step, StoreError> {
        let claims = match self.claim().await? {
            Claimed::Work(claims) => claims,
            Claimed::LookAgain => return Ok(Step::Worked),
            Claimed::Nothing => return Ok(Step::Idle),
        };
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
        self.shared.wakeups.archive.notify_waiters();
        metrics::counter!(telemetry::FLAKY).increment(finished.flaky);
        for attempt in &finished.lost {
            tracing::warn!(attempt.id = %attempt, "attempt {attempt} was lost while it ran; another takes its place");
        }
        Ok(Step::Worked)
    }
}

impl Slot {
    /// Claims what is this slot's to take, of what waits and is not left to a better builder.
    async fn claim(&self) -> Result<Claimed<Vec<AttemptClaim>>, StoreError> {
        let now = self.shared.clock.now();
        let store = &self.shared.store;
        let name = self.builder.name.as_str();
        let own = look::capability(&self.builder);
        let offered = store.candidates(&own, now, WINDOW).await?;
        let waiting: Vec<Candidate> = offered.into_iter().map(candidate).collect();
        if waiting.is_empty() {
            return Ok(Claimed::Nothing);
        }
        let builders = store.own_builders().await?;
        let homes = self.homes(&waiting).await?;
        let mut looks = self.looks.lock().await;
        let is_patient = |drv: &DrvPath| looks.is_patient(drv, now);
        let abroad = place::share_abroad(waiting.clone(), &homes, is_patient);
        let share = place::share(abroad.kept, name, &builders, is_patient);
        looks.left([abroad.left, share.left].concat(), now);
        let taken = queue::take(&share.kept, self.builder.slots);
        if taken.is_empty() || !self.answers().await? {
            return Ok(Claimed::Nothing);
        }
        let wanted: Vec<_> = taken.iter().map(|drv| (drv.clone(), new_id())).collect();
        let lease = i64::try_from(LEASE.as_millis()).unwrap_or(i64::MAX);
        let (claims, moved) =
            store.claim_attempts(&wanted, name, &self.shared.owner, now, lease).await?;
        self.shared.wakeups.tell(&moved);
        let mut rest = waiting;
        rest.retain(|it| !taken.contains(&it.derivation));
        if !claims.is_empty() && place::concerns_others(&rest, name, &builders) {
            // What was left to this builder is for others, now that a slot less is free.
            self.shared.wakeups.build.notify_waiters();
        }
        Ok(looks.claimed(&taken, claims))
    }

    /// The builders of the other instances that evaluated some of this.
    async fn homes(
        &self,
        waiting: &[Candidate],
    ) -> Result<BTreeMap<String, Vec<Builder>>, StoreError> {
        let all: BTreeSet<&String> = waiting.iter().filter_map(|it| it.home.as_ref()).collect();
        let mut homes = BTreeMap::new();
        for home in all {
            homes.insert(home.clone(), self.shared.store.builders_of(home).await?);
        }
        Ok(homes)
    }

    /// Whether the builder answers: nothing is claimed for a machine that is not there.
    async fn answers(&self) -> Result<bool, StoreError> {
        let mut kept = self.worker.lock().await;
        match self.machine.worker(&mut kept).await {
            Ok(worker) => {
                *kept = Some(worker);
                Ok(true)
            }
            Err(error) => {
                let (name, why) = (&self.builder.name, self.machine.told(&error));
                look::tell(&self.shared, name, &Condition::Unreachable { why }, None).await?;
                Ok(false)
            }
        }
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
        let name = &self.builder.name;
        // The one that answered before the claim.
        let Some(mut worker) = kept.take() else {
            return weather(format!("no connection to {name}"));
        };
        if let Err(what) = self.bring(claims, &mut worker, stop).await {
            *kept = Some(worker);
            return weather(what);
        }
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
        let mut track = Track::default();
        let mut observe = |progress: Progress<'_>| {
            if let Some(attempt) = &only
                && let Some(counts) = track.observe(progress)
            {
                self.shared.progress.insert(attempt.clone(), counts);
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
        self.take_back(claims, results, stop)
            .await
            .into_iter()
            .filter_map(|(path, mut attempted)| {
                // What a person waited for: its dependencies' time too, where it was built alone.
                if let (Attempted::Answered(Ending::Built { seconds, .. }), Some(took)) =
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
            let known = |it: &AttemptClaim| self.shared.progress.get(it.attempt());
            let known = |it| known(it).map(|counts| counts.clone());
            let all: Vec<_> = claims.iter().map(|it| (it, known(it))).collect();
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

/// At the start, and when the builders change: what waits is looked at again with the builders of today.
pub async fn place_again(shared: &Shared) -> Result<(), StoreError> {
    let builders = shared.store.capabilities().await?;
    let waiting = shared.store.waiting().await?;
    let moved: Vec<(BuildId, Waiting)> = waiting
        .into_iter()
        .filter_map(|it| {
            let now = plan::placement(&it.derivation, &builders);
            // Its time to be tried again stands.
            let stays = now == it.for_what
                || matches!((&now, &it.for_what), (Waiting::Slot, Waiting::Retry { .. }));
            (!stays).then_some((it.build, now))
        })
        .collect();
    if !moved.is_empty() {
        shared.wakeups.tell(&shared.store.rewait(moved, shared.clock.now()).await?);
    }
    Ok(())
}
