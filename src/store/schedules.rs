//! When a repository's lock file is to be updated next. Known from the newest run of its default branch,
//! as that branch's policy says.
use sqlx::AnyConnection;
use sqlx::Row;

use crate::domain::Timestamp;
use crate::domain::id::{RepositoryId, RunId};
use crate::domain::incoming::Repository;
use crate::domain::update::life::Update;
use crate::store::Store;
use crate::store::error::Result;
use crate::store::moves::{Event, Moved};
use crate::store::rows::{self, active, repository_columns};
use crate::store::updates::{self, Asked};

/// A schedule as the policy has it, and when it fires next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextUpdate {
    /// As it was written; what it says may change while it stays due.
    pub schedule: String,
    pub due_at: Timestamp,
}

impl Store {
    /// The repositories whose update is due, the longest due first.
    pub async fn due_updates(&self, now: Timestamp) -> Result<Vec<(Repository, NextUpdate)>> {
        let found = sqlx::query(concat!(
            "SELECT p.update_schedule AS update_schedule, p.update_due_at AS update_due_at, ",
            repository_columns!(),
            " FROM repository p WHERE p.update_due_at <= $1 AND p.update_schedule IS NOT NULL AND ",
            active!(),
            " ORDER BY p.update_due_at, p.id LIMIT 100"
        ))
        .bind(now.0)
        .fetch_all(&self.reader)
        .await?;
        let due = |row| {
            let next =
                NextUpdate { schedule: row_text(row)?, due_at: rows::time(row, "update_due_at")? };
            Ok((rows::repository(row)?, next))
        };
        found.iter().map(due).collect()
    }

    /// A schedule has fired: its update begins, unless one is on its way, and the next is due then.
    /// `None` when somebody else saw it fire.
    pub async fn fire_update(
        &self,
        update: &Update,
        fired: &NextUpdate,
        next: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(Option<Asked>, Moved)> {
        let mut tx = self.write().await?;
        let done = sqlx::query(
            "UPDATE repository SET update_due_at = $4 \
             WHERE id = $1 AND update_schedule = $2 AND update_due_at = $3",
        )
        .bind(update.repository.0)
        .bind(&fired.schedule)
        .bind(fired.due_at.0)
        .bind(next.map(|it| it.0))
        .execute(&mut *tx)
        .await?;
        let mut moved = Moved::default();
        if done.rows_affected() != 1 {
            return Ok((None, moved));
        }
        let asked = updates::ask(&mut tx, update, now).await?;
        tx.commit().await?;
        moved.note(Event::UpdateWanted);
        Ok((Some(asked), moved))
    }

    /// When a repository's update is due, if it has a schedule.
    pub async fn next_update(&self, repository: RepositoryId) -> Result<Option<NextUpdate>> {
        let found = sqlx::query(
            "SELECT update_schedule, update_due_at FROM repository \
             WHERE id = $1 AND update_schedule IS NOT NULL AND update_due_at IS NOT NULL",
        )
        .bind(repository.0)
        .fetch_optional(&self.reader)
        .await?;
        found
            .map(|row| {
                Ok(NextUpdate {
                    schedule: row_text(&row)?,
                    due_at: rows::time(&row, "update_due_at")?,
                })
            })
            .transpose()
    }
}

fn row_text(row: &sqlx::any::AnyRow) -> Result<String> {
    Ok(row.try_get("update_schedule")?)
}

/// A run's schedule is its repository's where no newer run of the default branch knows better. One
/// that stays as it was stays due when it was.
pub(super) async fn note(
    tx: &mut AnyConnection,
    run: &RunId,
    next: Option<&NextUpdate>,
) -> Result<()> {
    sqlx::query(
        "UPDATE repository SET \
         update_due_at = CASE WHEN update_schedule = $2 AND update_due_at IS NOT NULL \
         THEN update_due_at ELSE $3 END, update_schedule = $2 \
         WHERE id = (SELECT p.id \
         FROM run r JOIN repository p ON p.id = r.repository_id WHERE r.id = $1 \
         AND r.reason = 'push:' || p.default_branch AND NOT EXISTS (SELECT 1 FROM run n \
         WHERE n.repository_id = r.repository_id AND n.reason = r.reason \
         AND (n.occurred_at > r.occurred_at \
         OR (n.occurred_at = r.occurred_at AND n.created_at > r.created_at))))",
    )
    .bind(run.as_str())
    .bind(next.map(|it| it.schedule.as_str()))
    .bind(next.map(|it| it.due_at.0))
    .execute(tx)
    .await?;
    Ok(())
}
