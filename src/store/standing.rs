//! What stands for a reason: its runs, and whether its branch or merge group is there at all.
use sqlx::AnyConnection;

use crate::domain::Timestamp;
use crate::domain::decide::{Gone, Standing};
use crate::domain::id::{CommitSha, RepositoryId};
use crate::domain::run::Reason;
use crate::store::Store;
use crate::store::error::Result;
use crate::store::repositories;
use crate::store::rows::{self, run_columns};

impl Store {
    /// What stands for this commit and reason, but for the steps of its second.
    pub async fn standing(
        &self,
        repository: RepositoryId,
        reason: &Reason,
        sha: &CommitSha,
    ) -> Result<Standing> {
        let mut tx = self.read().await?;
        let same = sqlx::query(concat!(
            "SELECT ",
            run_columns!(),
            " FROM run r WHERE r.repository_id = $1 AND r.sha = $2 AND r.reason = $3"
        ))
        .bind(repository.0)
        .bind(sha.as_str())
        .bind(reason.to_string())
        .fetch_optional(&mut *tx)
        .await?;
        let open = sqlx::query(concat!(
            "SELECT ",
            run_columns!(),
            " FROM run r WHERE r.repository_id = $1 AND r.reason = $2 AND (r.state <> 'ended' \
             OR EXISTS (SELECT 1 FROM build b WHERE b.run_id = r.id AND b.state <> 'ended')) \
             ORDER BY r.occurred_at, r.id"
        ))
        .bind(repository.0)
        .bind(reason.to_string())
        .fetch_all(&mut *tx)
        .await?;
        let newest = sqlx::query(concat!(
            "SELECT ",
            run_columns!(),
            " FROM run r WHERE r.repository_id = $1 AND r.reason = $2 \
             ORDER BY r.occurred_at DESC, r.created_at DESC, r.id DESC LIMIT 1"
        ))
        .bind(repository.0)
        .bind(reason.to_string())
        .fetch_optional(&mut *tx)
        .await?;
        Ok(Standing {
            repository: repositories::standing(&mut tx, repository).await?,
            same: same.as_ref().map(rows::run).transpose()?,
            open: open.iter().map(rows::run).collect::<Result<_>>()?,
            newest: newest.as_ref().map(rows::run).transpose()?,
            gone: gone(&mut tx, repository, reason).await?,
            steps: vec![],
        })
    }
}

/// When it was last deleted or dissolved.
async fn gone(
    tx: &mut AnyConnection,
    repository: RepositoryId,
    reason: &Reason,
) -> Result<Option<Gone>> {
    let found =
        sqlx::query("SELECT head, occurred_at FROM gone WHERE repository_id = $1 AND reason = $2")
            .bind(repository.0)
            .bind(reason.to_string())
            .fetch_optional(tx)
            .await?;
    found
        .map(|row| {
            Ok(Gone {
                repository,
                reason: reason.clone(),
                head: rows::parsed(&row, "head")?,
                occurred_at: rows::time(&row, "occurred_at")?,
            })
        })
        .transpose()
}

/// What comes late of it starts nothing.
pub(super) async fn is_gone(tx: &mut AnyConnection, gone: &Gone, now: Timestamp) -> Result<()> {
    let Gone { repository, reason, head, occurred_at } = gone;
    sqlx::query(
        "INSERT INTO gone (repository_id, reason, head, occurred_at, noted_at) \
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT (repository_id, reason) DO UPDATE SET \
         head = excluded.head, occurred_at = excluded.occurred_at, noted_at = excluded.noted_at \
         WHERE excluded.occurred_at >= gone.occurred_at",
    )
    .bind(repository.0)
    .bind(reason.to_string())
    .bind(head.as_str())
    .bind(occurred_at.0)
    .bind(now.0)
    .execute(tx)
    .await?;
    Ok(())
}
