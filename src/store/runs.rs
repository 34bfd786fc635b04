//! A run is claimed, its hosts are listed and evaluated, and it is left to its builds.

use sqlx::AnyConnection;

use crate::domain::Timestamp;
use crate::domain::base::ExistingFailures;
use crate::domain::build::{Build, BuildState, Derivation, Ending, Required, Waiting, Warning};
use crate::domain::evaluation::Known;
use crate::domain::id::{AttemptId, AttrPath, BuildId, CommitSha};
use crate::domain::lock::stale::LastMove;
use crate::domain::queue;
use crate::domain::run::{Merge, Reason};
use crate::domain::verdict::{Problem, Verdict};
use crate::store::base;
use crate::store::bump::{self, Pace};
use crate::store::error::{Result, StoreError};
use crate::store::moves::{BuildStep, Ledger, Moved, RunStep, build_by_id, builds_of, run_by_id};
use crate::store::rows;
use crate::store::schedules::{self, NextUpdate};
use crate::store::settle::settle;
use crate::store::views::run_and_repository;
use crate::store::{RunClaim, Store, locks, memory};

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
    /// As [`Outcome::Wait`], but something that it needs failed in this attempt: it ends as that
    /// did, unless somebody asked for it by hand.
    NeedsFailed(Derivation, Waiting, AttemptId),
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
    /// What its derivations depend on, where another run may have them.
    pub evaluation: Option<&'a str>,
    /// When the lock file of the default branch's commit last moved.
    pub lock: Option<LastMove>,
    /// When the lock file is to be updated next, by the default branch's policy.
    pub next_update: Option<&'a NextUpdate>,
}

impl Store {
    /// Notes what the flake lists, by its turn: the required first, then what took longest; a build
    /// that is there already stays as it is. Gives all builds of the run.
    pub async fn list_builds(
        &self,
        claim: &RunClaim,
        mut listed: Vec<NewBuild>,
        now: Timestamp,
    ) -> Result<(Vec<Build>, Moved)> {
        let mut tx = self.write().await?;
        hold(&mut tx, claim, now).await?;
        let found = run_and_repository(&mut tx, &claim.run).await?;
        let (run, repository) = found.ok_or_else(|| lost(claim))?;
        let took = memory::build_times(&mut tx, run.repository).await?;
        listed.sort_by_key(|it| queue::within_run(it.required, took.get(&it.attr).copied()));
        for (nth, new) in listed.iter().enumerate() {
            let of = (run.created_at, &run.reason);
            let rank = queue::turn(of, &repository.default_branch, new.required, nth);
            let is_new = insert_build(&mut tx, claim, new, rank, now).await?;
            // GitHub does not know an update's commit: it has no checks.
            let is_shown = new.label.is_some() && !matches!(run.reason, Reason::Update { .. });
            if is_new && is_shown {
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
        let Subject { merge, compared_with, existing, evaluation, lock, next_update } = subject;
        let mut tx = self.write().await?;
        hold(&mut tx, claim, now).await?;
        sqlx::query(
            "UPDATE run SET merged = $2, compared = COALESCE($3, base), existing_failures = $4, \
             evaluation = $5, lock_moved_at = $6, lock_stale_at = $7 WHERE id = $1",
        )
        .bind(claim.run.as_str())
        .bind(merge.map(rows::to_json).transpose()?)
        .bind(compared_with.map(CommitSha::as_str))
        .bind(base::existing_name(*existing))
        .bind(*evaluation)
        .bind(lock.map(|it| it.at.0))
        .bind(lock.and_then(|it| it.stale_at).map(|it| it.0))
        .execute(&mut *tx)
        .await?;
        locks::note(&mut tx, &claim.run).await?;
        schedules::note(&mut tx, &claim.run, *next_update).await?;
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
            self.note_home(&mut tx, &build.id).await?;
            let since = now.plus(-self.patience.failure_memory_ms);
            settle(&mut tx, &mut ledger, (&run, since), (build, outcome)).await?;
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
        sqlx::query("UPDATE run SET home = '' WHERE id = $1")
            .bind(claim.run.as_str())
            .execute(&mut *tx)
            .await?;
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

    /// What was evaluated is in the Nix store of this instance.
    async fn note_home(&self, tx: &mut AnyConnection, build: &BuildId) -> Result<()> {
        sqlx::query("UPDATE build SET home = $2 WHERE id = $1 AND home <> $2")
            .bind(build.as_str())
            .bind(&*self.owner)
            .execute(tx)
            .await?;
        Ok(())
    }
}

pub(super) fn lost(claim: &RunClaim) -> StoreError {
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
