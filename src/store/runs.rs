//! A run is claimed, its hosts are listed and evaluated, and it is left to its builds.

use sqlx::AnyConnection;
use sqlx::Row;

use crate::domain::Timestamp;
use crate::domain::base::ExistingFailures;
use crate::domain::build::{
    Build, BuildState, Derivation, Ending, Rebuild, Required, Waiting, Warning,
};
use crate::domain::id::{AttemptId, AttrPath, BuildId, CommitSha, DrvPath};
use crate::domain::plan::Known;
use crate::domain::run::{Merge, Run};
use crate::domain::verdict::{Problem, Verdict};
use crate::store::base;
use crate::store::bump::{self, Pace};
use crate::store::error::{Result, StoreError};
use crate::store::moves::{BuildStep, Ledger, Moved, RunStep, builds_of, run_by_id};
use crate::store::rows::{self, active, build_columns};
use crate::store::{RunClaim, Store, memory};

/// A host to be listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewBuild {
    pub id: BuildId,
    pub attr: AttrPath,
    /// `None` when a check cannot have its name: it gets no check of its own.
    pub label: Option<String>,
    pub required: Required,
}

/// What the evaluation of a listed build gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvaluationOutcome {
    pub build: BuildId,
    pub outcome: Outcome,
    /// What it took; `None` when that says nothing about the host.
    pub took: Option<Known>,
    /// What Nix warned of.
    pub warnings: Vec<Warning>,
}

/// What becomes of an evaluated build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every output is valid in the store.
    Reuse(Derivation),
    Wait(Derivation, Waiting),
    Fail(Ending),
}

/// What is tested of a run, and by what it is judged.
#[derive(Clone, Copy, Debug, Default)]
pub struct Subject<'a> {
    /// In the place of the run's commit.
    pub merge: Option<&'a Merge>,
    /// The commit that its hosts are compared with; without one it is the run's base.
    pub compared_with: Option<&'a CommitSha>,
    pub existing: ExistingFailures,
}

impl Store {
    /// Takes the oldest run that wants its evaluation, or whose evaluation was lost, for so long.
    pub async fn claim_run(
        &self,
        by: &str,
        now: Timestamp,
        lease_ms: i64,
    ) -> Result<Option<(RunClaim, Moved)>> {
        let mut tx = self.write().await?;
        let found = sqlx::query(concat!(
            "SELECT r.id AS id, r.claim AS claim FROM run r \
             JOIN repository p ON p.id = r.repository_id \
             WHERE r.state <> 'ended' AND (r.state = 'requested' OR r.state = 'evaluating') \
             AND r.claimed_until <= $1 AND r.not_before <= $1 AND ",
            active!(),
            " ORDER BY r.created_at, r.id LIMIT 1"
        ))
        .bind(now.0)
        .fetch_optional(&mut *tx)
        .await?;
        let Some(row) = found else { return Ok(None) };
        let claim = RunClaim {
            run: rows::parsed(&row, "id")?,
            number: row.try_get::<i64, _>("claim")? + 1,
            lease_ms,
        };
        let run = run_by_id(&mut tx, &claim.run).await?;
        let mut ledger = Ledger::new(now);
        ledger.run(&mut tx, run, RunStep::Evaluate).await?;
        sqlx::query("UPDATE run SET claim = $2, claimed_by = $3, claimed_until = $4 WHERE id = $1")
            .bind(claim.run.as_str())
            .bind(claim.number)
            .bind(by)
            .bind(now.plus(lease_ms).0)
            .execute(&mut *tx)
            .await?;
        let moved = ledger.close(&mut tx).await?;
        tx.commit().await?;
        Ok(Some((claim, moved)))
    }

    /// The lease begins anew.
    ///
    /// # Errors
    /// [`StoreError::ClaimLost`]: stop the evaluation. So do all methods that take a claim.
    pub async fn renew_run(&self, claim: &RunClaim, now: Timestamp) -> Result<()> {
        let done = sqlx::query(
            "UPDATE run SET claimed_until = $3 WHERE id = $1 AND claim = $2 \
             AND state = 'evaluating' AND claimed_until > $4",
        )
        .bind(claim.run.as_str())
        .bind(claim.number)
        .bind(now.plus(claim.lease_ms).0)
        .bind(now.0)
        .execute(&self.writer)
        .await?;
        if done.rows_affected() == 1 { Ok(()) } else { Err(lost(claim)) }
    }

    /// Notes what the flake lists, the required first; a build that is there already stays as it
    /// is. Gives all builds of the run.
    pub async fn list_builds(
        &self,
        claim: &RunClaim,
        mut listed: Vec<NewBuild>,
        now: Timestamp,
    ) -> Result<(Vec<Build>, Moved)> {
        let mut tx = self.write().await?;
        hold(&mut tx, claim, now).await?;
        listed.sort_by_key(|it| it.required);
        for (rank, new) in (0_i64..).zip(&listed) {
            if insert_build(&mut tx, claim, new, rank, now).await? && new.label.is_some() {
                bump::create_for_host(&mut tx, &claim.run, &new.id, now).await?;
            }
        }
        let builds = builds_of(&mut tx, &claim.run).await?;
        let mut ledger = Ledger::new(now);
        ledger.touch(&claim.run, Pace::Progress);
        let moved = ledger.close(&mut tx).await?;
        tx.commit().await?;
        Ok((builds, moved))
    }

    /// What is wrong with the run as a whole, if anything: its gate shows it at once.
    pub async fn set_problem(
        &self,
        claim: &RunClaim,
        problem: Option<&Problem>,
        now: Timestamp,
    ) -> Result<Moved> {
        let mut tx = self.write().await?;
        hold(&mut tx, claim, now).await?;
        sqlx::query("UPDATE run SET problem = $2 WHERE id = $1")
            .bind(claim.run.as_str())
            .bind(problem.map(rows::to_json).transpose()?)
            .execute(&mut *tx)
            .await?;
        let mut ledger = Ledger::new(now);
        ledger.touch(&claim.run, if problem.is_some() { Pace::Decided } else { Pace::Progress });
        let moved = ledger.close(&mut tx).await?;
        tx.commit().await?;
        Ok(moved)
    }

    /// What is tested, and by what it is judged.
    pub async fn set_subject(
        &self,
        claim: &RunClaim,
        subject: &Subject<'_>,
        now: Timestamp,
    ) -> Result<()> {
        let Subject { merge, compared_with, existing } = subject;
        let mut tx = self.write().await?;
        hold(&mut tx, claim, now).await?;
        sqlx::query(
            "UPDATE run SET merged = $2, compared = COALESCE($3, base), existing_failures = $4 \
             WHERE id = $1",
        )
        .bind(claim.run.as_str())
        .bind(merge.map(rows::to_json).transpose()?)
        .bind(compared_with.map(CommitSha::as_str))
        .bind(base::existing_name(*existing))
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(())
    }

    /// What these evaluations gave. A build whose derivation is being realised joins that attempt.
    pub async fn evaluated(
        &self,
        claim: &RunClaim,
        outcomes: Vec<EvaluationOutcome>,
        now: Timestamp,
    ) -> Result<Moved> {
        let mut tx = self.write().await?;
        hold(&mut tx, claim, now).await?;
        let run = run_by_id(&mut tx, &claim.run).await?;
        let mut ledger = Ledger::new(now);
        for EvaluationOutcome { build, outcome, took, warnings } in outcomes {
            let build = build_by_id(&mut tx, &build).await?;
            if build.run != run.id {
                return Err(StoreError::Missing(format!("build {} of run {}", build.id, run.id)));
            }
            memory::evaluated(&mut tx, &run, &build.attr, took, now).await?;
            if let Some(took) = took {
                note_evaluation(&mut tx, &build.id, took).await?;
            }
            note_warnings(&mut tx, &build.id, &warnings).await?;
            settle(&mut tx, &mut ledger, &run, build, outcome).await?;
        }
        let moved = ledger.close(&mut tx).await?;
        tx.commit().await?;
        Ok(moved)
    }

    /// Every host is evaluated: the run waits for its builds, and may have its verdict at once.
    pub async fn finish_evaluation(&self, claim: &RunClaim, now: Timestamp) -> Result<Moved> {
        let mut tx = self.write().await?;
        hold(&mut tx, claim, now).await?;
        let run = run_by_id(&mut tx, &claim.run).await?;
        let mut ledger = Ledger::new(now);
        let run = ledger.run(&mut tx, run, RunStep::Evaluated).await?;
        memory::release_vanished(&mut tx, &run).await?;
        let moved = ledger.close(&mut tx).await?;
        tx.commit().await?;
        Ok(moved)
    }

    /// The run cannot be judged by builds: it ends with this verdict, and so do builds that are
    /// listed and not evaluated, with `left`.
    pub async fn end_run(
        &self,
        claim: &RunClaim,
        verdict: Verdict,
        left: Ending,
        now: Timestamp,
    ) -> Result<Moved> {
        let mut tx = self.write().await?;
        hold(&mut tx, claim, now).await?;
        let mut ledger = Ledger::new(now);
        for build in builds_of(&mut tx, &claim.run).await? {
            if matches!(build.state, BuildState::Listed { .. }) {
                ledger.build(&mut tx, build, BuildStep::End(left.clone())).await?;
            }
        }
        let run = run_by_id(&mut tx, &claim.run).await?;
        ledger.run(&mut tx, run, RunStep::End(verdict)).await?;
        let moved = ledger.close(&mut tx).await?;
        tx.commit().await?;
        Ok(moved)
    }

    /// Gives the run back, to be claimed again at `not_before`; `why` is shown until then.
    pub async fn release_run(
        &self,
        claim: RunClaim,
        why: &str,
        not_before: Timestamp,
        now: Timestamp,
    ) -> Result<Moved> {
        let mut tx = self.write().await?;
        hold(&mut tx, &claim, now).await?;
        sqlx::query(
            "UPDATE run SET claimed_until = 0, claimed_by = NULL, waits = $2, \
             not_before = $3 WHERE id = $1",
        )
        .bind(claim.run.as_str())
        .bind(rows::text(why.to_owned()))
        .bind(not_before.0)
        .execute(&mut *tx)
        .await?;
        let mut ledger = Ledger::new(now);
        ledger.touch(&claim.run, Pace::Progress);
        let moved = ledger.close(&mut tx).await?;
        tx.commit().await?;
        Ok(moved)
    }
}

fn lost(claim: &RunClaim) -> StoreError {
    StoreError::ClaimLost(format!("run {}", claim.run))
}

/// The claim still holds and the run is still evaluated.
pub(super) async fn hold(tx: &mut AnyConnection, claim: &RunClaim, now: Timestamp) -> Result<()> {
    let held = sqlx::query(
        "SELECT 1 AS held FROM run WHERE id = $1 AND claim = $2 AND state = 'evaluating' \
         AND claimed_until > $3",
    )
    .bind(claim.run.as_str())
    .bind(claim.number)
    .bind(now.0)
    .fetch_optional(tx)
    .await?;
    held.map(|_| ()).ok_or_else(|| lost(claim))
}

/// `false` when the run has a build of this attribute.
async fn insert_build(
    tx: &mut AnyConnection,
    claim: &RunClaim,
    new: &NewBuild,
    rank: i64,
    now: Timestamp,
) -> Result<bool> {
    let done = sqlx::query(
        "INSERT INTO build (id, run_id, attr_key, attr, label, required, rank, state, since, \
         held, not_before, attempts, weathers) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, 'listed', $8, 0, 0, 0, 0) \
         ON CONFLICT (run_id, attr_key) DO NOTHING",
    )
    .bind(new.id.as_str())
    .bind(claim.run.as_str())
    .bind(rows::attr_key(&new.attr)?)
    .bind(rows::to_json(&new.attr)?)
    .bind(new.label.as_deref())
    .bind(rows::required_name(new.required))
    .bind(rank)
    .bind(now.0)
    .execute(tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

pub(super) async fn build_by_id(tx: &mut AnyConnection, id: &BuildId) -> Result<Build> {
    let row = sqlx::query(concat!("SELECT ", build_columns!(), " FROM build b WHERE b.id = $1"))
        .bind(id.as_str())
        .fetch_optional(tx)
        .await?;
    row.as_ref().map(rows::build).ok_or_else(|| StoreError::Missing(format!("build {id}")))?
}

async fn note_evaluation(tx: &mut AnyConnection, build: &BuildId, took: Known) -> Result<()> {
    sqlx::query("UPDATE build SET evaluation_ms = $2, evaluation_peak = $3 WHERE id = $1")
        .bind(build.as_str())
        .bind(took.evaluation_ms)
        .bind(took.peak_memory)
        .execute(tx)
        .await?;
    Ok(())
}

async fn note_warnings(
    tx: &mut AnyConnection,
    build: &BuildId,
    warnings: &[Warning],
) -> Result<()> {
    if warnings.is_empty() {
        return Ok(());
    }
    sqlx::query("UPDATE build SET warnings = $2 WHERE id = $1")
        .bind(build.as_str())
        .bind(rows::text(rows::to_json(&warnings)?))
        .execute(tx)
        .await?;
    Ok(())
}

/// Moves one evaluated build.
async fn settle(
    tx: &mut AnyConnection,
    ledger: &mut Ledger,
    run: &Run,
    build: Build,
    outcome: Outcome,
) -> Result<()> {
    match outcome {
        Outcome::Reuse(derivation) => {
            memory::good(tx, run, &build, &derivation).await?;
            ledger.build(tx, build, BuildStep::Reuse(derivation)).await?;
        }
        Outcome::Wait(derivation, for_what) => {
            // An attempt that began before proves nothing about a build from scratch.
            let running = match build.rebuild {
                Rebuild::IfMissing => running_attempt(tx, &derivation.path).await?,
                Rebuild::FromScratch => None,
            };
            let build = ledger.build(tx, build, BuildStep::Wait(derivation, for_what)).await?;
            if let Some(attempt) = running {
                ledger.build(tx, build, BuildStep::Start(attempt)).await?;
            }
        }
        Outcome::Fail(ending) => {
            ledger.build(tx, build, BuildStep::End(ending)).await?;
        }
    }
    Ok(())
}

async fn running_attempt(tx: &mut AnyConnection, drv: &DrvPath) -> Result<Option<AttemptId>> {
    let row = sqlx::query("SELECT id FROM attempt WHERE drv = $1 AND state = 'running'")
        .bind(drv.as_str())
        .fetch_optional(tx)
        .await?;
    row.map(|row| rows::parsed(&row, "id")).transpose()
}
