//! What nobody tells: lost claims; and what others want to know: numbers, garbage collector roots.
use std::collections::BTreeMap;

use sha2::{Digest, Sha256};
use sqlx::AnyConnection;
use sqlx::Row;

use crate::domain::Timestamp;
use crate::domain::build::Waiting;
use crate::domain::id::{AttemptId, RunId};
use crate::domain::page::Earlier;

use crate::store::attempts::{AttemptOutcome, attached, end_attempt};
use crate::store::error::Result;
use crate::store::moves::{BuildStep, Event, Ledger, Moved};
use crate::store::rows;
use crate::store::{Store, failures};

/// The work whose lease had ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Expired {
    /// To be claimed again.
    pub runs: Vec<RunId>,
    /// Ended; their builds wait for another attempt.
    pub attempts: Vec<AttemptId>,
    pub moved: Moved,
}

/// How much of what there is, for the metrics. Ended runs and builds are not counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// By state.
    pub runs: BTreeMap<String, i64>,
    /// By state.
    pub builds: BTreeMap<String, i64>,
    /// Of lock files, by state.
    pub updates: BTreeMap<String, i64>,
    pub reports_behind: i64,
    pub deliveries_undecided: i64,
}

/// A path that the garbage collector must leave.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Root {
    /// The same for the same thing: the name of its link.
    pub name: String,
    /// The path, as Nix wrote it.
    pub path: String,
}

impl Store {
    /// Takes back the work whose lease has ended: runs are evaluated again, builds wait again.
    pub async fn expire(&self, now: Timestamp) -> Result<Expired> {
        let mut tx = self.write().await?;
        let mut ledger = Ledger::new(now);
        let found =
            sqlx::query("SELECT id FROM attempt WHERE state = 'running' AND claimed_until <= $1")
                .bind(now.0)
                .fetch_all(&mut *tx)
                .await?;
        let mut attempts: Vec<AttemptId> = Vec::with_capacity(found.len());
        for row in &found {
            let attempt = rows::parsed(row, "id")?;
            lose(&mut tx, &mut ledger, &attempt, now).await?;
            attempts.push(attempt);
        }
        let found = sqlx::query(
            "SELECT id FROM run WHERE state <> 'ended' AND state = 'evaluating' \
             AND claimed_by IS NOT NULL AND claimed_until <= $1",
        )
        .bind(now.0)
        .fetch_all(&mut *tx)
        .await?;
        let runs: Vec<RunId> =
            found.iter().map(|row| rows::parsed(row, "id")).collect::<Result<_>>()?;
        for run in &runs {
            sqlx::query("UPDATE run SET claimed_by = NULL, claimed_until = 0 WHERE id = $1")
                .bind(run.as_str())
                .execute(&mut *tx)
                .await?;
            ledger.note(Event::RunRequested);
        }
        let moved = ledger.close(&mut tx).await?;
        tx.commit().await?;
        Ok(Expired { runs, attempts, moved })
    }

    /// At the start: whatever was claimed under this name was claimed by a process that is gone.
    pub async fn forget_claims_of(&self, by: &str, now: Timestamp) -> Result<Expired> {
        let mut tx = self.write().await?;
        for text in [
            "UPDATE run SET claimed_until = 0 WHERE state <> 'ended' AND claimed_by = $1",
            "UPDATE attempt SET claimed_until = 0 WHERE state = 'running' AND claimed_by = $1",
            "UPDATE lock_update SET claimed_until = 0 WHERE state <> 'ended' AND claimed_by = $1",
        ] {
            sqlx::query(text).bind(by).execute(&mut *tx).await?;
        }
        tx.commit().await?;
        self.expire(now).await
    }

    /// Forgets a portion of the runs that ended before this moment, with their builds and reports;
    /// gives the attempts that nothing shows any more, for their logs to be removed. Those whose logs
    /// are in the bucket stay, see [`Store::archived_unshown`].
    pub async fn forget_runs(&self, before: Timestamp) -> Result<Vec<AttemptId>> {
        const OLD: &str = "(SELECT r.id FROM run r WHERE r.state = 'ended' AND r.state_at < $1 \
             AND NOT EXISTS (SELECT 1 FROM build b WHERE b.run_id = r.id AND b.state <> 'ended') \
             ORDER BY r.state_at, r.id LIMIT 20)";
        let mut tx = self.write().await?;
        sqlx::query("DELETE FROM reaction WHERE changed_at < $1 AND state <> 'owed'")
            .bind(before.0)
            .execute(&mut *tx)
            .await?;
        for table in ["report", "insight", "lock_trial", "build", "run"] {
            let key = if table == "run" { "id" } else { "run_id" };
            let text = format!("DELETE FROM {table} WHERE {key} IN {OLD}");
            sqlx::query(sqlx::AssertSqlSafe(text)).bind(before.0).execute(&mut *tx).await?;
        }
        sqlx::query(
            "DELETE FROM lock_update WHERE state = 'ended' AND state_at < $1 AND NOT EXISTS \
             (SELECT 1 FROM lock_trial t WHERE t.update_id = lock_update.id)",
        )
        .bind(before.0)
        .execute(&mut *tx)
        .await?;
        let found = sqlx::query(
            "DELETE FROM attempt WHERE id IN (SELECT a.id FROM attempt a \
             WHERE a.state = 'ended' AND a.ended_at < $1 AND COALESCE(a.archived_at, 0) = 0 \
             AND NOT EXISTS (SELECT 1 FROM build b WHERE b.attempt_id = a.id) LIMIT 500) \
             RETURNING id",
        )
        .bind(before.0)
        .fetch_all(&mut *tx)
        .await?;
        tx.commit().await?;
        found.iter().map(|row| rows::parsed(row, "id")).collect()
    }

    /// How much of what there is.
    pub async fn counts(&self) -> Result<Counts> {
        let mut tx = self.read().await?;
        Ok(Counts {
            runs: by_state(
                &mut tx,
                "SELECT state, COUNT(*) AS n FROM run WHERE state <> 'ended' GROUP BY state",
            )
            .await?,
            builds: by_state(
                &mut tx,
                "SELECT state, COUNT(*) AS n FROM build WHERE state <> 'ended' GROUP BY state",
            )
            .await?,
            updates: by_state(
                &mut tx,
                "SELECT state, COUNT(*) AS n FROM lock_update WHERE state <> 'ended' GROUP BY state",
            )
            .await?,
            reports_behind: number(&mut tx, "SELECT COUNT(*) FROM report WHERE wanted > shown")
                .await?,
            deliveries_undecided: number(
                &mut tx,
                "SELECT COUNT(*) FROM delivery WHERE state IN ('arrived', 'waiting')",
            )
            .await?,
        })
    }

    /// What must stay in this instance's Nix store: derivations in flight, systems that are to be compared,
    /// and where each host of a default branch was last good.
    pub async fn roots(&self) -> Result<Vec<Root>> {
        let mut tx = self.read().await?;
        let in_flight = sqlx::query(
            "SELECT b.drv AS drv, MIN(r.trust) AS trust FROM build b JOIN run r ON r.id = b.run_id \
             WHERE b.state <> 'ended' AND b.state IN ('waiting', 'building') \
             AND b.drv IS NOT NULL AND b.home = $1 GROUP BY b.drv",
        )
        .bind(&*self.owner)
        .fetch_all(&mut *tx)
        .await?;
        let good = sqlx::query(
            "SELECT repository_id, attr_key, last_good_out FROM memory \
             WHERE last_good_out IS NOT NULL",
        )
        .fetch_all(&mut *tx)
        .await?;
        let compared = sqlx::query(
            "SELECT i.build_id AS build_id, i.out AS out FROM insight i \
             JOIN build b ON b.id = i.build_id \
             WHERE i.state = 'wanted' AND i.out IS NOT NULL AND b.home = $1",
        )
        .bind(&*self.owner)
        .fetch_all(&mut *tx)
        .await?;
        let mut roots = Vec::with_capacity(in_flight.len() + good.len() + compared.len());
        for row in &compared {
            let build: &str = row.try_get("build_id")?;
            roots.push(Root { name: format!("compared-{build}"), path: row.try_get("out")? });
        }
        for row in &in_flight {
            let path: String = row.try_get("drv")?;
            let base = path.rsplit('/').next().unwrap_or_default();
            // One that a trusted run wants too is held under that name.
            let prefix = match row.try_get::<&str, _>("trust")? {
                "trusted" => "building",
                _ => "untrusted",
            };
            roots.push(Root { name: format!("{prefix}-{base}"), path });
        }
        for row in &good {
            let attr: &str = row.try_get("attr_key")?;
            let host = &hex::encode(Sha256::digest(attr.as_bytes()))[..16];
            let repository: i64 = row.try_get("repository_id")?;
            let path = row.try_get("last_good_out")?;
            roots.push(Root { name: format!("good-{repository}-{host}"), path });
        }
        Ok(roots)
    }
}

/// An attempt ends without an answer, and its builds wait for the next.
async fn lose(
    tx: &mut AnyConnection,
    ledger: &mut Ledger,
    attempt: &AttemptId,
    now: Timestamp,
) -> Result<()> {
    end_attempt(tx, attempt, &AttemptOutcome::Lost, (0, now)).await?;
    let builder = failures::builder_of(tx, attempt).await?;
    let what = "the service was stopped meanwhile, or lost its lease".to_owned();
    let earlier = Earlier { builder, what };
    for (build, weathers) in attached(tx, attempt).await? {
        failures::note_weather(tx, &build, weathers, &earlier).await?;
        ledger.build(tx, build, BuildStep::Retry(Waiting::Slot)).await?;
    }
    Ok(())
}

async fn by_state(tx: &mut AnyConnection, text: &'static str) -> Result<BTreeMap<String, i64>> {
    let found = sqlx::query(text).fetch_all(tx).await?;
    found.iter().map(|row| Ok((row.try_get("state")?, row.try_get("n")?))).collect()
}

async fn number(tx: &mut AnyConnection, text: &'static str) -> Result<i64> {
    Ok(sqlx::query_scalar(text).fetch_one(tx).await?)
}
