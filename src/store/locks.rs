//! Whose lock file has not moved for long. What a repository's is is known from the newest run of its
//! default branch, and stays known when that run is forgotten.
use sqlx::AnyConnection;

use crate::domain::Timestamp;
use crate::domain::id::RunId;
use crate::domain::incoming::Repository;
use crate::domain::lock::stale::LastMove;
use crate::store::Store;
use crate::store::error::{Result, StoreError};
use crate::store::rows::{self, active, repository_columns};

/// A repository whose lock file has not moved for long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaleLock {
    pub repository: Repository,
    pub moved: LastMove,
}

impl Store {
    /// Those in which the App acts, the longest silence first.
    pub async fn stale_locks(&self, now: Timestamp) -> Result<Vec<StaleLock>> {
        let found = sqlx::query(concat!(
            "SELECT ",
            repository_columns!(),
            ", p.lock_moved_at AS lock_moved_at, p.lock_stale_at AS lock_stale_at \
             FROM repository p WHERE p.lock_stale_at <= $1 AND ",
            active!(),
            " ORDER BY p.lock_moved_at, p.id"
        ))
        .bind(now.0)
        .fetch_all(&self.reader)
        .await?;
        let lock = |row| {
            let moved = rows::last_move(row, ("lock_moved_at", "lock_stale_at"))?;
            let moved = moved.ok_or_else(|| StoreError::corrupt("column lock_moved_at: NULL"))?;
            Ok(StaleLock { repository: rows::repository(row)?, moved })
        };
        found.iter().map(lock).collect()
    }
}

/// A run's lock file is its repository's where no newer run of the default branch knows better.
pub(super) async fn note(tx: &mut AnyConnection, run: &RunId) -> Result<()> {
    sqlx::query(
        "UPDATE repository SET (lock_moved_at, lock_stale_at) = \
         (SELECT r.lock_moved_at, r.lock_stale_at FROM run r WHERE r.id = $1) \
         WHERE id = (SELECT p.id \
         FROM run r JOIN repository p ON p.id = r.repository_id WHERE r.id = $1 \
         AND r.reason = 'push:' || p.default_branch AND NOT EXISTS (SELECT 1 FROM run n \
         WHERE n.repository_id = r.repository_id AND n.reason = r.reason \
         AND (n.occurred_at > r.occurred_at \
         OR (n.occurred_at = r.occurred_at AND n.created_at > r.created_at))))",
    )
    .bind(run.as_str())
    .execute(tx)
    .await?;
    Ok(())
}
