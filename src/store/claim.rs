//! Proof that this process owns a piece of work. Only the store makes a claim.
use sqlx::Row;

use crate::domain::Timestamp;
use crate::domain::build::{Derivation, Rebuild};
use crate::domain::id::{AttemptId, DrvPath, RunId};
use crate::store::bump::Pace;
use crate::store::error::Result;
use crate::store::moves::{Ledger, Moved, RunStep, run_by_id};
use crate::store::rows::{self, active};
use crate::store::runs::{hold, lost};
use crate::store::{Database, Store};

/// The right to evaluate a run, until its lease ends unless it is renewed.
#[derive(Debug, PartialEq, Eq)]
pub struct RunClaim {
    pub(super) run: RunId,
    pub(super) number: i64,
    pub(super) lease_ms: i64,
}

impl RunClaim {
    /// The run to evaluate.
    pub fn run(&self) -> &RunId {
        &self.run
    }

    /// How many times the run was claimed, this time included; 1 for the first.
    pub fn tries(&self) -> u32 {
        u32::try_from(self.number).unwrap_or(u32::MAX)
    }
}

/// The right to realise a derivation, until its lease ends unless it is renewed.
#[derive(Debug, PartialEq, Eq)]
pub struct AttemptClaim {
    pub(super) attempt: AttemptId,
    pub(super) derivation: Derivation,
    pub(super) lent: Option<String>,
    pub(super) rebuild: Rebuild,
    pub(super) lease_ms: i64,
    pub(super) started_at: Timestamp,
}

impl AttemptClaim {
    /// The attempt; its log is kept under this name.
    pub fn attempt(&self) -> &AttemptId {
        &self.attempt
    }

    /// What is to be realised.
    pub fn derivation(&self) -> &Derivation {
        &self.derivation
    }

    /// The path of what is to be realised.
    pub fn drv(&self) -> &DrvPath {
        &self.derivation.path
    }

    /// The Nix store of the instance that evaluated it, from which it is to be copied; `None` when
    /// this instance's own has it.
    pub fn lent(&self) -> Option<&str> {
        self.lent.as_deref()
    }

    /// Whether it is realised although it may be valid.
    pub fn rebuild(&self) -> Rebuild {
        self.rebuild
    }

    /// When the claim was made.
    pub fn started_at(&self) -> Timestamp {
        self.started_at
    }
}

/// The oldest run that wants its evaluation here.
macro_rules! oldest_run {
    () => {
        concat!(
            "SELECT r.id AS id, r.claim AS claim FROM run r \
             JOIN repository p ON p.id = r.repository_id \
             WHERE r.state <> 'ended' AND (r.state = 'requested' OR r.state = 'evaluating') \
             AND r.claimed_until <= $1 AND r.not_before <= $1 AND (r.home = '' OR r.home = $2) AND ",
            active!(),
            " ORDER BY r.created_at, r.id LIMIT 1"
        )
    };
}

impl Store {
    /// Takes the oldest run that wants its evaluation, or whose evaluation was lost, for so long.
    pub async fn claim_run(
        &self,
        by: &str,
        now: Timestamp,
        lease_ms: i64,
    ) -> Result<Option<(RunClaim, Moved)>> {
        // Looked for without the lock that writers take turns at: mostly there is none.
        let found = sqlx::query(oldest_run!()).bind(now.0).bind(&*self.owner);
        if found.fetch_optional(&self.reader).await?.is_none() {
            return Ok(None);
        }
        let mut tx = self.write().await?;
        let text = match self.database {
            Database::Sqlite { .. } => oldest_run!(),
            Database::Postgres { .. } => concat!(oldest_run!(), " FOR UPDATE OF r SKIP LOCKED"),
        };
        let found =
            sqlx::query(text).bind(now.0).bind(&*self.owner).fetch_optional(&mut *tx).await?;
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
        // What is known of its hosts is known of another Nix store; but whoever lends its own knows
        // what those that build have copied from there.
        sqlx::query(
            "UPDATE build SET system = NULL, drv = NULL, derivation = NULL \
             WHERE run_id = $1 AND state = 'listed' AND home <> $2 AND $3 = ''",
        )
        .bind(claim.run.as_str())
        .bind(&*self.owner)
        .bind(&*self.lent)
        .execute(&mut *tx)
        .await?;
        let moved = ledger.close(&mut tx).await?;
        tx.commit().await?;
        Ok(Some((claim, moved)))
    }

    /// The lease begins anew.
    ///
    /// # Errors
    /// [`StoreError::ClaimLost`](crate::store::StoreError): stop the evaluation. So do all methods
    /// that take a claim.
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
