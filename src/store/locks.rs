//! When a repository's lock file last moved. That is known from the newest run of its default branch,
//! and stays known when that run is forgotten.
use sqlx::AnyConnection;

use crate::domain::id::RunId;
use crate::store::error::Result;

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
