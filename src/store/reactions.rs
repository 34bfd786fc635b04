//! The reactions that comments are owed.
use sqlx::AnyConnection;
use sqlx::Row;

use crate::domain::Timestamp;
use crate::domain::decide::Reaction;
use crate::domain::incoming::Repository;
use crate::store::Store;
use crate::store::error::Result;
use crate::store::rows::{self, active, repository_columns};

/// A comment of a repository, and how it is to be acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewReaction {
    pub repository: Repository,
    /// GitHub's id of the comment.
    pub comment: i64,
    pub reaction: Reaction,
}

/// A reaction that GitHub does not show yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owed {
    pub repository: Repository,
    pub comment: i64,
    pub reaction: Reaction,
    /// Calls that failed.
    pub tries: u32,
}

impl Store {
    /// The next reaction that is due, of a repository through which GitHub lets us act.
    pub async fn owed_reaction(&self, now: Timestamp) -> Result<Option<Owed>> {
        let row = sqlx::query(concat!(
            "SELECT c.comment_id AS comment_id, c.content AS content, c.tries AS tries, ",
            repository_columns!(),
            " FROM reaction c JOIN repository p ON p.id = c.repository_id \
             WHERE c.state = 'owed' AND c.not_before <= $1 AND ",
            active!(),
            " ORDER BY c.not_before, c.comment_id LIMIT 1"
        ))
        .bind(now.0)
        .fetch_optional(&self.reader)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let content: &str = row.try_get("content")?;
        Ok(Some(Owed {
            repository: rows::repository(&row)?,
            comment: row.try_get("comment_id")?,
            reaction: Reaction::of(content).ok_or_else(|| rows::unknown("content", content))?,
            tries: rows::count(&row, "tries")?,
        }))
    }

    /// GitHub shows it.
    pub async fn reaction_shown(&self, comment: i64, now: Timestamp) -> Result<()> {
        self.reaction_is(comment, "shown", now).await
    }

    /// GitHub will not show it.
    pub async fn reaction_given_up(&self, comment: i64, now: Timestamp) -> Result<()> {
        self.reaction_is(comment, "given_up", now).await
    }

    async fn reaction_is(&self, comment: i64, state: &'static str, now: Timestamp) -> Result<()> {
        sqlx::query("UPDATE reaction SET state = $2, changed_at = $3 WHERE comment_id = $1")
            .bind(comment)
            .bind(state)
            .bind(now.0)
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    /// The call failed; it is tried again at this time.
    pub async fn reaction_failed(&self, comment: i64, not_before: Timestamp) -> Result<()> {
        sqlx::query("UPDATE reaction SET tries = tries + 1, not_before = $2 WHERE comment_id = $1")
            .bind(comment)
            .bind(not_before.0)
            .execute(&self.writer)
            .await?;
        Ok(())
    }
}

/// A comment is owed a reaction, once.
pub(super) async fn owe(tx: &mut AnyConnection, new: &NewReaction, now: Timestamp) -> Result<()> {
    sqlx::query(
        "INSERT INTO reaction (comment_id, repository_id, content, state, tries, not_before, \
         changed_at) VALUES ($1, $2, $3, 'owed', 0, 0, $4) ON CONFLICT DO NOTHING",
    )
    .bind(new.comment)
    .bind(new.repository.id.0)
    .bind(new.reaction.content())
    .bind(now.0)
    .execute(tx)
    .await?;
    Ok(())
}
