//! What updates of lock files came to on GitHub: a pull request for each group of inputs, and the one
//! issue of a repository that tells what is held back.
use sqlx::Row;
use sqlx::any::AnyRow;

use crate::domain::Timestamp;
use crate::domain::id::{Branch, CommitSha, RepositoryId};
use crate::domain::incoming::Repository;
use crate::store::Store;
use crate::store::error::Result;
use crate::store::rows::{self, active, repository_columns};

/// The pull request of a group, as it was left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupPull {
    pub repository: RepositoryId,
    pub group: String,
    pub branch: Branch,
    /// `None` while the branch is there and the pull request is not yet.
    pub number: Option<i64>,
    pub standing: PullStanding,
    /// The commit that was put on the branch last.
    pub head: CommitSha,
    /// The commit that it follows.
    pub base: CommitSha,
    /// The hash of the lock file in it.
    pub lock_hash: String,
    pub opened_at: Timestamp,
    /// When GitHub was last asked how it stands.
    pub checked_at: Timestamp,
    /// A person's commit that was found on the branch, and told of.
    pub stood_back: Option<CommitSha>,
    /// Since when the gate of its head has passed, as far as that is known.
    pub green_since: Option<Timestamp>,
}

/// How a pull request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullStanding {
    Open,
    Merged,
    /// By a person, without being merged.
    Closed,
}

impl PullStanding {
    fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Merged => "merged",
            Self::Closed => "closed",
        }
    }

    fn read(text: &str) -> Result<Self> {
        match text {
            "open" => Ok(Self::Open),
            "merged" => Ok(Self::Merged),
            "closed" => Ok(Self::Closed),
            other => Err(rows::unknown("lock_pull.state", other)),
        }
    }
}

/// The issue of a repository that tells what is held back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackingIssue {
    pub repository: RepositoryId,
    pub number: i64,
    pub is_open: bool,
    /// The hash of its text.
    pub shown: String,
}

impl Store {
    /// The pull request of a group, if there ever was one.
    pub async fn group_pull(
        &self,
        repository: RepositoryId,
        group: &str,
    ) -> Result<Option<GroupPull>> {
        let found =
            sqlx::query("SELECT * FROM lock_pull WHERE repository_id = $1 AND group_name = $2")
                .bind(repository.0)
                .bind(group)
                .fetch_optional(&self.reader)
                .await?;
        found.as_ref().map(pull).transpose()
    }

    /// Of the open ones of which GitHub was not asked since, the one of the longest silence, with its
    /// number.
    pub async fn pull_to_check(
        &self,
        before: Timestamp,
    ) -> Result<Option<(Repository, GroupPull, i64)>> {
        let found = sqlx::query(concat!(
            "SELECT l.*, ",
            repository_columns!(),
            " FROM lock_pull l JOIN repository p ON p.id = l.repository_id \
             WHERE l.state = 'open' AND l.number IS NOT NULL AND l.checked_at < $1 AND ",
            active!(),
            " ORDER BY l.checked_at, l.repository_id, l.group_name LIMIT 1"
        ))
        .bind(before.0)
        .fetch_optional(&self.reader)
        .await?;
        let read = |row| Ok((rows::repository(&row)?, pull(&row)?, row.try_get("number")?));
        found.map(read).transpose()
    }

    /// Notes how a pull request was found to stand, unless another commit or number was noted in the
    /// meantime: then that is newer.
    pub async fn check_pull(&self, pull: &GroupPull) -> Result<()> {
        sqlx::query(
            "UPDATE lock_pull SET state = $5, checked_at = $6, green_since = $7 \
             WHERE repository_id = $1 AND group_name = $2 AND number = $3 AND head = $4 \
             AND state = 'open'",
        )
        .bind(pull.repository.0)
        .bind(&pull.group)
        .bind(pull.number)
        .bind(pull.head.as_str())
        .bind(pull.standing.name())
        .bind(pull.checked_at.0)
        .bind(pull.green_since.map(|it| it.0))
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    /// Notes how a group's pull request stands.
    pub async fn note_pull(&self, pull: &GroupPull) -> Result<()> {
        let GroupPull {
            repository,
            group,
            branch,
            number,
            standing,
            head,
            base,
            lock_hash,
            opened_at,
            checked_at,
            stood_back,
            green_since,
        } = pull;
        sqlx::query(
            "INSERT INTO lock_pull (repository_id, group_name, branch, number, state, head, base, \
             lock_hash, opened_at, checked_at, stood_back, green_since) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) \
             ON CONFLICT (repository_id, group_name) DO UPDATE SET branch = excluded.branch, \
             number = excluded.number, state = excluded.state, head = excluded.head, \
             base = excluded.base, lock_hash = excluded.lock_hash, \
             opened_at = excluded.opened_at, checked_at = excluded.checked_at, \
             stood_back = excluded.stood_back, green_since = excluded.green_since",
        )
        .bind(repository.0)
        .bind(group)
        .bind(branch.as_str())
        .bind(*number)
        .bind(standing.name())
        .bind(head.as_str())
        .bind(base.as_str())
        .bind(lock_hash)
        .bind(opened_at.0)
        .bind(checked_at.0)
        .bind(stood_back.as_ref().map(CommitSha::as_str))
        .bind(green_since.map(|it| it.0))
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    /// The issue that tells what is held back, if there ever was one.
    pub async fn tracking_issue(&self, repository: RepositoryId) -> Result<Option<TrackingIssue>> {
        let found = sqlx::query("SELECT * FROM lock_issue WHERE repository_id = $1")
            .bind(repository.0)
            .fetch_optional(&self.reader)
            .await?;
        found.as_ref().map(issue).transpose()
    }

    /// Notes what that issue says.
    pub async fn note_tracking_issue(&self, issue: &TrackingIssue, now: Timestamp) -> Result<()> {
        let TrackingIssue { repository, number, is_open, shown } = issue;
        sqlx::query(
            "INSERT INTO lock_issue (repository_id, number, standing, shown, checked_at) \
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT (repository_id) DO UPDATE SET \
             number = excluded.number, standing = excluded.standing, shown = excluded.shown, \
             checked_at = excluded.checked_at",
        )
        .bind(repository.0)
        .bind(*number)
        .bind(if *is_open { "open" } else { "closed" })
        .bind(shown)
        .bind(now.0)
        .execute(&self.writer)
        .await?;
        Ok(())
    }
}

/// An issue, from the columns of `lock_issue`.
pub(super) fn issue(row: &AnyRow) -> Result<TrackingIssue> {
    Ok(TrackingIssue {
        repository: RepositoryId(row.try_get("repository_id")?),
        number: row.try_get("number")?,
        is_open: row.try_get::<&str, _>("standing")? == "open",
        shown: row.try_get("shown")?,
    })
}

fn pull(row: &AnyRow) -> Result<GroupPull> {
    Ok(GroupPull {
        repository: RepositoryId(row.try_get("repository_id")?),
        group: row.try_get("group_name")?,
        branch: rows::parsed(row, "branch")?,
        number: row.try_get("number")?,
        standing: PullStanding::read(row.try_get("state")?)?,
        head: rows::parsed(row, "head")?,
        base: rows::parsed(row, "base")?,
        lock_hash: row.try_get("lock_hash")?,
        opened_at: rows::time(row, "opened_at")?,
        checked_at: rows::time(row, "checked_at")?,
        stood_back: rows::maybe_parsed(row, "stood_back")?,
        green_since: row.try_get::<Option<i64>, _>("green_since")?.map(Timestamp),
    })
}
