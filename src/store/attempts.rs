//! Waiting builds, and the derivations that are realised for them. One attempt per derivation at
//! a time: all builds that want it share the attempt and its ending.
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sqlx::AnyConnection;
use sqlx::Row;

use crate::domain::Timestamp;
use crate::domain::build::{Attempted, Build, BuildState, Ending, Patience, Rebuild, Waiting};
use crate::domain::id::{AttemptId, DrvPath, RunId};
use crate::domain::page::{Counts, Earlier};
use crate::domain::run::Run;
use crate::store::error::Result;
use crate::store::homes::Whence;
use crate::store::moves::{BuildStep, Ledger, Moved, run_by_id};
use crate::store::rows::{self, build_columns};
use crate::store::{AttemptClaim, Store, builders, failures, memory};

/// How attempts ended, and which of them were no longer ours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Finished {
    pub moved: Moved,
    /// Their answers were not written: the lease had ended.
    pub lost: Vec<AttemptId>,
    /// Hosts that passed with a derivation that had failed before.
    pub flaky: u64,
}

/// How an attempt ended, as the store keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptOutcome {
    Answered(Ending),
    Weather(String),
    /// Its lease ended: the process that had it died or lost the store.
    Lost,
}

impl From<&Attempted> for AttemptOutcome {
    fn from(attempted: &Attempted) -> Self {
        match attempted {
            Attempted::Answered(ending) => Self::Answered(ending.clone()),
            Attempted::Weather(what) => Self::Weather(what.clone()),
        }
    }
}

impl Store {
    /// Begins these attempts, as one operation: every build that waits for the derivation joins. A
    /// derivation that nobody wants any more, that is being realised, or that is where this instance
    /// does not get it from, gives no claim; and none does when all slots of the builder are taken.
    pub async fn claim_attempts(
        &self,
        wanted: &[(DrvPath, AttemptId)],
        builder: &str,
        by: &str,
        now: Timestamp,
        lease_ms: i64,
    ) -> Result<(Vec<AttemptClaim>, Moved)> {
        let mut tx = self.write().await?;
        let mut ledger = Ledger::new(now);
        let mut claims = Vec::new();
        let Some((_, operation)) = wanted.first() else { return Ok((claims, Moved::default())) };
        if is_full(&mut tx, builder).await? {
            return Ok((claims, Moved::default()));
        }
        for (drv, attempt) in wanted {
            let (mut builds, whence) = self.waiting_for(&mut tx, drv, now).await?;
            if wanted.len() > 1 {
                // Nix builds a whole operation anew, or none of it.
                builds.retain(|it| it.rebuild == Rebuild::IfMissing);
            }
            let rebuild = builds.iter().map(|it| it.rebuild).max().unwrap_or(Rebuild::IfMissing);
            let Some(derivation) = builds.first().and_then(|it| it.state.derivation()).cloned()
            else {
                continue;
            };
            let lent = match whence {
                Whence::Here => None,
                Whence::Lent(store) => Some(store),
                Whence::Nowhere => continue,
            };
            if !begin(&mut tx, (drv, attempt, operation), (builder, by), (now, lease_ms)).await? {
                continue;
            }
            for build in builds {
                ledger.build(&mut tx, build, BuildStep::Start(attempt.clone())).await?;
            }
            let attempt = attempt.clone();
            let started_at = now;
            claims.push(AttemptClaim { attempt, derivation, lent, rebuild, lease_ms, started_at });
        }
        let moved = ledger.close(&mut tx).await?;
        tx.commit().await?;
        Ok((claims, moved))
    }

    /// The leases begin anew; gives those that were lost: their work is to be stopped.
    pub async fn renew_attempts(
        &self,
        claims: &[(&AttemptClaim, Option<Counts>)],
        now: Timestamp,
    ) -> Result<Vec<AttemptId>> {
        let mut lost = Vec::new();
        let mut tx = self.write().await?;
        for (claim, counts) in claims {
            let done = sqlx::query(
                "UPDATE attempt SET claimed_until = $2, progress = COALESCE($4, progress) \
                 WHERE id = $1 AND state = 'running' AND claimed_until > $3",
            )
            .bind(claim.attempt.as_str())
            .bind(now.plus(claim.lease_ms).0)
            .bind(now.0)
            .bind(counts.as_ref().map(rows::to_json).transpose()?)
            .execute(&mut *tx)
            .await?;
            if done.rows_affected() == 0 {
                lost.push(claim.attempt.clone());
            }
        }
        tx.commit().await?;
        Ok(lost)
    }

    /// What came of these attempts, with the length of each log.
    pub async fn finish_attempts(
        &self,
        ended: Vec<(&AttemptClaim, Attempted, u64)>,
        now: Timestamp,
    ) -> Result<Finished> {
        let mut tx = self.write().await?;
        let together = i64::try_from(ended.len()).unwrap_or(i64::MAX);
        let mut finish = Finish {
            ledger: Ledger::new(now),
            runs: BTreeMap::new(),
            together,
            now,
            patience: self.patience,
            owner: self.owner.clone(),
            flaky: 0,
        };
        let mut lost = Vec::new();
        for (claim, attempted, log_bytes) in ended {
            let outcome = AttemptOutcome::from(&attempted);
            let log_bytes = i64::try_from(log_bytes).unwrap_or(i64::MAX);
            if end_attempt(&mut tx, &claim.attempt, &outcome, (log_bytes, now)).await? {
                finish.attempt(&mut tx, claim, attempted).await?;
            } else {
                lost.push(claim.attempt.clone());
            }
        }
        let flaky = finish.flaky;
        let moved = finish.ledger.close(&mut tx).await?;
        tx.commit().await?;
        Ok(Finished { moved, lost, flaky })
    }

    /// Which of these running attempts no build wants any more.
    pub async fn unwanted(&self, running: &[AttemptId]) -> Result<Vec<AttemptId>> {
        let found = sqlx::query(
            "SELECT DISTINCT attempt_id FROM build \
             WHERE state = 'building' AND attempt_id IS NOT NULL",
        )
        .fetch_all(&self.reader)
        .await?;
        let wanted: HashSet<String> =
            found.iter().map(|row| row.try_get(0)).collect::<std::result::Result<_, _>>()?;
        Ok(running.iter().filter(|it| !wanted.contains(it.as_str())).cloned().collect())
    }
}

/// `false` when the derivation is being realised.
async fn begin(
    tx: &mut AnyConnection,
    (drv, attempt, operation): (&DrvPath, &AttemptId, &AttemptId),
    (builder, by): (&str, &str),
    (now, lease_ms): (Timestamp, i64),
) -> Result<bool> {
    let done = sqlx::query(
        "INSERT INTO attempt (id, drv, builder, state, claimed_by, claimed_until, started_at, \
         log_bytes, operation) VALUES ($1, $2, $3, 'running', $4, $5, $6, 0, $7) \
         ON CONFLICT DO NOTHING",
    )
    .bind(attempt.as_str())
    .bind(drv.as_str())
    .bind(builder)
    .bind(by)
    .bind(now.plus(lease_ms).0)
    .bind(now.0)
    .bind(operation.as_str())
    .execute(tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Whether all slots of a machine that instances share are taken. Those of an instance's own have
/// a task each, and need no counting.
async fn is_full(tx: &mut AnyConnection, builder: &str) -> Result<bool> {
    let full = sqlx::query(
        "SELECT 1 AS one FROM builder b WHERE b.name = $1 AND b.owner = '' AND b.slots <= \
         (SELECT COUNT(DISTINCT COALESCE(a.operation, a.id)) FROM attempt a \
         WHERE a.builder = $1 AND a.state = 'running')",
    )
    .bind(builder)
    .fetch_optional(tx)
    .await?;
    Ok(full.is_some())
}

/// `false` when its lease had ended and somebody noticed.
pub(super) async fn end_attempt(
    tx: &mut AnyConnection,
    attempt: &AttemptId,
    outcome: &AttemptOutcome,
    (log_bytes, now): (i64, Timestamp),
) -> Result<bool> {
    let done = sqlx::query(
        "UPDATE attempt SET state = 'ended', ended_at = $2, outcome = $3, log_bytes = $4 \
         WHERE id = $1 AND state = 'running'",
    )
    .bind(attempt.as_str())
    .bind(now.0)
    .bind(rows::to_json(outcome)?)
    .bind(log_bytes)
    .execute(tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// The builds of an attempt, each with the number of attempts that ended as weather.
pub(super) async fn attached(
    tx: &mut AnyConnection,
    attempt: &AttemptId,
) -> Result<Vec<(Build, u32)>> {
    let found = sqlx::query(concat!(
        "SELECT ",
        build_columns!(),
        " FROM build b WHERE b.attempt_id = $1 AND b.state = 'building'"
    ))
    .bind(attempt.as_str())
    .fetch_all(tx)
    .await?;
    found.iter().map(|row| Ok((rows::build(row)?, rows::count(row, "b_weathers")?))).collect()
}

/// The endings of one transaction.
struct Finish {
    ledger: Ledger,
    /// Read once each.
    runs: BTreeMap<RunId, Run>,
    /// How many attempts shared the operation, and so its time.
    together: i64,
    now: Timestamp,
    patience: Patience,
    owner: Arc<str>,
    /// Hosts that passed with a derivation that had failed before.
    flaky: u64,
}

impl Finish {
    async fn attempt(
        &mut self,
        tx: &mut AnyConnection,
        claim: &AttemptClaim,
        attempted: Attempted,
    ) -> Result<()> {
        let builds = attached(tx, &claim.attempt).await?;
        match attempted {
            Attempted::Weather(what) => {
                let builder = failures::builder_of(tx, &claim.attempt).await?;
                if !builds.is_empty() {
                    builders::suspect(tx, &builder, &mut self.ledger, self.now).await?;
                }
                let earlier = Earlier { builder, what };
                for (build, weathers) in builds {
                    self.weather(tx, build, weathers + 1, &earlier).await?;
                }
            }
            Attempted::Answered(ending) => {
                self.bring_home(tx, claim).await?;
                for (build, _) in builds {
                    self.answered(tx, claim, build, ending.clone()).await?;
                }
                if ending.is_good() {
                    // It is there now, whatever these waited for.
                    for build in waiting_anyhow(tx, claim.drv()).await? {
                        self.answered(tx, claim, build, ending.clone()).await?;
                    }
                }
            }
        }
        Ok(())
    }

    /// What was built of it is where this instance is; others' builds may have joined.
    async fn bring_home(&self, tx: &mut AnyConnection, claim: &AttemptClaim) -> Result<()> {
        sqlx::query(
            "UPDATE build SET home = $2 WHERE attempt_id = $1 AND state = 'building' AND home <> $2",
        )
        .bind(claim.attempt.as_str())
        .bind(&*self.owner)
        .execute(tx)
        .await?;
        Ok(())
    }

    async fn weather(
        &mut self,
        tx: &mut AnyConnection,
        build: Build,
        weathers: u32,
        earlier: &Earlier,
    ) -> Result<()> {
        failures::note_weather(tx, &build, weathers, earlier).await?;
        let what = earlier.what.clone();
        let step = match self.patience.delay_ms(weathers, &build.id) {
            None => BuildStep::End(Ending::Transient { what }),
            Some(delay) => {
                let not_before = self.now.plus(delay);
                BuildStep::Retry(Waiting::Retry { after: what, not_before })
            }
        };
        self.ledger.build(tx, build, step).await?;
        Ok(())
    }

    async fn answered(
        &mut self,
        tx: &mut AnyConnection,
        claim: &AttemptClaim,
        build: Build,
        ending: Ending,
    ) -> Result<()> {
        let run = self.run(tx, &build.run).await?;
        if matches!(ending, Ending::Built { .. }) {
            // Its share: the time of the whole batch would make each of it look slow, and a host
            // that looks slow is built alone from then on.
            let took = self.now.since(claim.started_at) / self.together;
            memory::built(tx, &run, &build.attr, (&claim.attempt, took)).await?;
            if failures::failed_before(tx, claim.drv(), &claim.attempt).await? {
                failures::note_flaky(tx, &run, &build, self.now).await?;
                self.flaky += 1;
            }
        }
        if ending.is_good() {
            memory::good(tx, &run, &build, &claim.derivation).await?;
        }
        if matches!(build.state, BuildState::Waiting { .. }) {
            // For its log: this is the attempt that made it.
            failures::show_attempt(tx, &build, &claim.attempt).await?;
        }
        self.ledger.build(tx, build, BuildStep::End(ending)).await?;
        Ok(())
    }

    async fn run(&mut self, tx: &mut AnyConnection, id: &RunId) -> Result<Run> {
        if let Some(run) = self.runs.get(id) {
            return Ok(run.clone());
        }
        let run = run_by_id(tx, id).await?;
        self.runs.insert(id.clone(), run.clone());
        Ok(run)
    }
}

async fn waiting_anyhow(tx: &mut AnyConnection, drv: &DrvPath) -> Result<Vec<Build>> {
    let found = sqlx::query(concat!(
        "SELECT ",
        build_columns!(),
        " FROM build b WHERE b.drv = $1 AND b.state = 'waiting' AND b.rebuild = 'if_missing'"
    ))
    .bind(drv.as_str())
    .fetch_all(tx)
    .await?;
    found.iter().map(rows::build).collect()
}

/// The attempt that is being made at a derivation.
pub(super) async fn running_attempt(
    tx: &mut AnyConnection,
    drv: &DrvPath,
) -> Result<Option<AttemptId>> {
    let row = sqlx::query("SELECT id FROM attempt WHERE drv = $1 AND state = 'running'")
        .bind(drv.as_str())
        .fetch_optional(tx)
        .await?;
    row.map(|row| rows::parsed(&row, "id")).transpose()
}
