//! Which logs are in the bucket, which go there, and which go from there.
//!
//! An attempt whose log is in the bucket stays a row until that log is removed: the row is all that
//! knows of it, so a removal that fails is tried again, and nothing stays there for ever.
use std::collections::HashMap;

use sqlx::{AssertSqlSafe, Row as _};

use crate::domain::Timestamp;
use crate::domain::id::AttemptId;
use crate::store::Store;
use crate::store::error::Result;
use crate::store::rows;

/// What became of an attempt's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Archived {
    /// It is in the bucket.
    Stored,
    /// There is none: nothing was written.
    Nothing,
}

/// Whoever lost its lease may still be writing for so long.
const STILL_WRITING_MS: i64 = 300_000;

/// The logs of ended attempts that this instance ($1) has to put into the bucket.
pub(super) const UNARCHIVED: &str = "SELECT id FROM attempt \
     WHERE archived_at IS NULL AND state = 'ended' AND claimed_by = $1 AND ended_at > $2 \
     AND (ended_at < $3 OR outcome <> '\"lost\"') ORDER BY ended_at, id LIMIT $4";

/// Logs in the bucket that nothing shows any more.
pub(super) const UNSHOWN: &str = "SELECT a.id AS id FROM attempt a \
     WHERE a.archived_at > 0 AND a.ended_at < $1 \
     AND NOT EXISTS (SELECT 1 FROM build b WHERE b.attempt_id = a.id) \
     ORDER BY a.ended_at, a.id LIMIT $2";

impl Store {
    /// A portion of the attempts claimed under this name that ended after `since`, and whose logs
    /// are not in the bucket yet; the oldest first.
    pub async fn unarchived(
        &self,
        by: &str,
        since: Timestamp,
        now: Timestamp,
        limit: i64,
    ) -> Result<Vec<AttemptId>> {
        let found = sqlx::query(UNARCHIVED)
            .bind(by)
            .bind(since.0)
            .bind(now.plus(-STILL_WRITING_MS).0)
            .bind(limit)
            .fetch_all(&self.reader)
            .await?;
        found.iter().map(|row| rows::parsed(row, "id")).collect()
    }

    /// Notes what became of the logs of these attempts.
    pub async fn set_archived(
        &self,
        archived: &[(AttemptId, Archived)],
        now: Timestamp,
    ) -> Result<()> {
        if archived.is_empty() {
            return Ok(());
        }
        let mut tx = self.write().await?;
        for (attempt, archived) in archived {
            let at = match archived {
                Archived::Stored => now.0,
                Archived::Nothing => 0,
            };
            sqlx::query("UPDATE attempt SET archived_at = $2 WHERE id = $1")
                .bind(attempt.as_str())
                .bind(at)
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Whether an attempt's log is in the bucket.
    pub async fn is_archived(&self, attempt: &AttemptId) -> Result<bool> {
        let found = sqlx::query("SELECT 1 AS one FROM attempt WHERE id = $1 AND archived_at > 0")
            .bind(attempt.as_str())
            .fetch_optional(&self.reader)
            .await?;
        Ok(found.is_some())
    }

    /// Of these attempts those that there are, each with whether its log is in the bucket.
    pub async fn archived_of(&self, attempts: &[AttemptId]) -> Result<HashMap<AttemptId, bool>> {
        if attempts.is_empty() {
            return Ok(HashMap::new());
        }
        let places: Vec<String> = (1..=attempts.len()).map(|it| format!("${it}")).collect();
        let text = format!(
            "SELECT id, COALESCE(archived_at, 0) AS archived_at FROM attempt WHERE id IN ({})",
            places.join(", ")
        );
        let query = attempts
            .iter()
            .fold(sqlx::query(AssertSqlSafe(text)), |query, it| query.bind(it.as_str()));
        let found = query.fetch_all(&self.reader).await?;
        let known = |row| -> Result<(AttemptId, bool)> {
            Ok((rows::parsed(row, "id")?, row.try_get::<i64, _>("archived_at")? > 0))
        };
        found.iter().map(known).collect()
    }

    /// A portion of the attempts that ended before this moment, that nothing shows any more and
    /// whose logs are in the bucket: [`Store::forget_runs`] leaves them until those are removed.
    pub async fn archived_unshown(&self, before: Timestamp, limit: i64) -> Result<Vec<AttemptId>> {
        let found = sqlx::query(UNSHOWN).bind(before.0).bind(limit).fetch_all(&self.reader).await?;
        found.iter().map(|row| rows::parsed(row, "id")).collect()
    }

    /// Forgets these attempts: their logs are removed.
    pub async fn forget_attempts(&self, attempts: &[AttemptId]) -> Result<()> {
        if attempts.is_empty() {
            return Ok(());
        }
        let mut tx = self.write().await?;
        for attempt in attempts {
            sqlx::query("DELETE FROM attempt WHERE id = $1")
                .bind(attempt.as_str())
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await?;
        Ok(())
    }
}
