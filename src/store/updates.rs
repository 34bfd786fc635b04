//! Updates of lock files: who wants one, who works on it, and what came of it.
use sqlx::AnyConnection;
use sqlx::Row;
use sqlx::any::AnyRow;

use crate::domain::Timestamp;
use crate::domain::id::{Owner, RepositoryId, RepositoryName, UpdateId};
use crate::domain::incoming::Repository;
use crate::domain::run::Run;
use crate::domain::update::life::{Made, Outcome, Plan, Update, UpdateState};
use crate::store::Store;
use crate::store::error::{Result, StoreError};
use crate::store::moves::{Event, Moved};
use crate::store::rows::{self, active, repository_columns};
use crate::store::trials::{self, NewTrial, TrialFacts};

/// The right to go on with an update, until its lease ends unless it is renewed.
#[derive(Debug, PartialEq, Eq)]
pub struct UpdateClaim {
    update: UpdateId,
    number: i64,
    lease_ms: i64,
}

impl UpdateClaim {
    /// The update to go on with.
    pub fn update(&self) -> &UpdateId {
        &self.update
    }
}

/// What became of asking for an update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    Begun(UpdateId),
    /// One of this repository is on its way.
    Already(UpdateId),
}

/// How a step leaves an update.
#[derive(Debug)]
pub struct Left<'a> {
    pub update: &'a Update,
    /// Of other groups, which begin where this one does.
    pub siblings: &'a [Update],
    /// A lock file to be tried.
    pub trial: Option<(&'a Run, &'a NewTrial, &'a TrialFacts)>,
    /// What its end has to say to people, as Markdown.
    pub report: Option<&'a str>,
    /// When it goes on.
    pub not_before: Timestamp,
}

/// The columns of an update, of `lock_update u`, but for its plan, which is long.
macro_rules! update_columns {
    () => {
        "u.id AS u_id, u.repository_id AS u_repository, u.cause AS u_cause, \
         u.created_at AS u_created_at, u.round AS u_round, u.group_name AS u_group, \
         u.made AS u_made, u.pull AS u_pull, u.note AS u_note, u.state AS u_state, \
         u.state_at AS u_state_at, u.outcome AS u_outcome, u.tries AS u_tries"
    };
}

pub(super) use update_columns;

/// The one that waits longest. While a lock file of it is tried there is nothing to do; what nobody
/// requires may be late for ten minutes.
macro_rules! next_update {
    () => {
        concat!(
            "SELECT u.claim AS claim, ",
            update_columns!(),
            ", u.plan AS u_plan, ",
            repository_columns!(),
            " FROM lock_update u JOIN repository p ON p.id = u.repository_id \
             WHERE u.state <> 'ended' AND u.claimed_until <= $1 AND u.not_before <= $1 \
             AND NOT EXISTS (SELECT 1 FROM lock_trial t JOIN run r ON r.id = t.run_id \
             WHERE t.update_id = u.id AND (r.state <> 'ended' \
             OR (r.state_at > $1 - 600000 AND EXISTS \
             (SELECT 1 FROM build b WHERE b.run_id = r.id AND b.state <> 'ended')))) AND ",
            active!(),
            " ORDER BY u.not_before, u.created_at, u.id LIMIT 1"
        )
    };
}

impl Store {
    /// A repository that is known, by its name; GitHub's names are the same in any case.
    pub async fn repository_named(
        &self,
        owner: &Owner,
        name: &RepositoryName,
    ) -> Result<Option<Repository>> {
        let found = sqlx::query(concat!(
            "SELECT ",
            repository_columns!(),
            " FROM repository p WHERE LOWER(p.owner) = LOWER($1) AND LOWER(p.name) = LOWER($2) \
             AND ",
            active!(),
            " ORDER BY p.updated_at DESC LIMIT 1"
        ))
        .bind(owner.as_str())
        .bind(name.as_str())
        .fetch_optional(&self.reader)
        .await?;
        found.as_ref().map(rows::repository).transpose()
    }

    /// Somebody wants an update; one at a time of each repository.
    pub async fn ask_for_update(&self, update: &Update, now: Timestamp) -> Result<(Asked, Moved)> {
        let mut tx = self.write().await?;
        let asked = ask(&mut tx, update, now).await?;
        tx.commit().await?;
        let mut moved = Moved::default();
        moved.note(Event::UpdateWanted);
        Ok((asked, moved))
    }

    /// Takes the update that waits longest, for so long.
    pub async fn claim_update(
        &self,
        by: &str,
        now: Timestamp,
        lease_ms: i64,
    ) -> Result<Option<(UpdateClaim, Update, Repository)>> {
        let found = sqlx::query(next_update!()).bind(now.0);
        if found.fetch_optional(&self.reader).await?.is_none() {
            return Ok(None);
        }
        let mut tx = self.write().await?;
        let found = sqlx::query(next_update!()).bind(now.0).fetch_optional(&mut *tx).await?;
        let Some(row) = found else { return Ok(None) };
        let (update, repository) = (read(&row)?, rows::repository(&row)?);
        let number = row.try_get::<i64, _>("claim")? + 1;
        sqlx::query(
            "UPDATE lock_update SET claim = $2, claimed_by = $3, claimed_until = $4 WHERE id = $1",
        )
        .bind(update.id.as_str())
        .bind(number)
        .bind(by)
        .bind(now.plus(lease_ms).0)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(Some((UpdateClaim { update: update.id.clone(), number, lease_ms }, update, repository)))
    }

    /// The lease begins anew.
    ///
    /// # Errors
    /// [`StoreError::ClaimLost`]: stop. So do all methods that take the claim.
    pub async fn renew_update(&self, claim: &UpdateClaim, now: Timestamp) -> Result<()> {
        let done = sqlx::query(
            "UPDATE lock_update SET claimed_until = $3 WHERE id = $1 AND claim = $2 \
             AND state <> 'ended' AND claimed_until > $4",
        )
        .bind(claim.update.as_str())
        .bind(claim.number)
        .bind(now.plus(claim.lease_ms).0)
        .bind(now.0)
        .execute(&self.writer)
        .await?;
        if done.rows_affected() == 1 { Ok(()) } else { Err(lost(claim)) }
    }

    /// The commit that GitHub made for it, before it is put anywhere: after a crash it is known as ours.
    pub async fn note_made(&self, claim: &UpdateClaim, made: &Made, now: Timestamp) -> Result<()> {
        let done = sqlx::query(
            "UPDATE lock_update SET made = $3 WHERE id = $1 AND claim = $2 \
             AND state <> 'ended' AND claimed_until > $4",
        )
        .bind(claim.update.as_str())
        .bind(claim.number)
        .bind(rows::to_json(made)?)
        .bind(now.0)
        .execute(&self.writer)
        .await?;
        if done.rows_affected() == 1 { Ok(()) } else { Err(lost(claim)) }
    }

    /// Writes how a step leaves an update, and gives it back.
    pub async fn leave_update(
        &self,
        claim: UpdateClaim,
        left: Left<'_>,
        now: Timestamp,
    ) -> Result<Moved> {
        let Left { update, siblings, trial, report, not_before } = left;
        let mut tx = self.write().await?;
        let columns = Columns::of(update)?;
        let done = sqlx::query(
            "UPDATE lock_update SET round = $3, group_name = $4, plan = $5, made = COALESCE($6, made), \
             pull = $7, note = $8, report = COALESCE($9, report), \
             state_at = CASE WHEN state = $10 THEN state_at ELSE $11 END, state = $10, \
             outcome = $12, not_before = $13, tries = $14, claimed_by = NULL, claimed_until = 0 \
             WHERE id = $1 AND claim = $2 AND state <> 'ended' AND claimed_until > $11",
        )
        .bind(claim.update.as_str())
        .bind(claim.number)
        .bind(i64::from(update.round))
        .bind(columns.group)
        .bind(columns.plan)
        .bind(update.made.as_ref().map(rows::to_json).transpose()?)
        .bind(columns.pull)
        .bind(columns.note)
        .bind(report.map(|it| rows::text(it.to_owned())))
        .bind(update.state.name())
        .bind(now.0)
        .bind(columns.outcome)
        .bind(not_before.0)
        .bind(i64::from(update.tries))
        .execute(&mut *tx)
        .await?;
        if done.rows_affected() != 1 {
            return Err(lost(&claim));
        }
        let mut moved = Moved::default();
        moved.note(Event::UpdateWanted);
        for sibling in siblings {
            insert(&mut tx, sibling, now).await?;
            note_beside(&mut tx, sibling, update).await?;
        }
        if let Some(trial) = trial {
            trials::begin(&mut tx, &update.id, trial, now).await?;
            moved.note(Event::RunRequested);
        }
        tx.commit().await?;
        Ok(moved)
    }

    /// An update, with its repository.
    pub async fn update(&self, id: &UpdateId) -> Result<Option<(Update, Repository)>> {
        let found = sqlx::query(concat!(
            "SELECT ",
            update_columns!(),
            ", u.plan AS u_plan, ",
            repository_columns!(),
            " FROM lock_update u JOIN repository p ON p.id = u.repository_id WHERE u.id = $1"
        ))
        .bind(id.as_str())
        .fetch_optional(&self.reader)
        .await?;
        found.map(|row| Ok((read(&row)?, rows::repository(&row)?))).transpose()
    }

    /// The newest updates, and whatever is on its way.
    pub async fn updates(&self, limit: i64) -> Result<Vec<(Update, Repository)>> {
        let found = sqlx::query(concat!(
            "SELECT ",
            update_columns!(),
            ", u.plan AS u_plan, ",
            repository_columns!(),
            " FROM lock_update u JOIN repository p ON p.id = u.repository_id \
             ORDER BY CASE WHEN u.state = 'ended' THEN 1 ELSE 0 END, u.created_at DESC, u.id DESC \
             LIMIT $1"
        ))
        .bind(limit)
        .fetch_all(&self.reader)
        .await?;
        found.iter().map(|row| Ok((read(row)?, rows::repository(row)?))).collect()
    }
}

/// One at a time: what is asked for while one is on its way is that one.
pub(super) async fn ask(tx: &mut AnyConnection, update: &Update, now: Timestamp) -> Result<Asked> {
    if let Some(open) = open_of(tx, update.repository).await? {
        return Ok(Asked::Already(open));
    }
    insert(tx, update, now).await?;
    Ok(Asked::Begun(update.id.clone()))
}

async fn open_of(tx: &mut AnyConnection, repository: RepositoryId) -> Result<Option<UpdateId>> {
    // One that waits for its pull request to become green is no reason against the next.
    let found = sqlx::query(
        "SELECT id FROM lock_update WHERE repository_id = $1 \
         AND state IN ('requested', 'searching', 'proposing') ORDER BY created_at LIMIT 1",
    )
    .bind(repository.0)
    .fetch_optional(tx)
    .await?;
    found.map(|row| rows::parsed(&row, "id")).transpose()
}

struct Columns {
    group: String,
    plan: Option<String>,
    pull: Option<i64>,
    note: Option<String>,
    outcome: Option<String>,
}

impl Columns {
    fn of(update: &Update) -> Result<Self> {
        let (pull, outcome) = match &update.state {
            UpdateState::Merging { number } => (Some(*number), None),
            UpdateState::Ended { outcome, .. } => (None, Some(rows::to_json(outcome)?)),
            UpdateState::Requested | UpdateState::Searching | UpdateState::Proposing => {
                (None, None)
            }
        };
        Ok(Self {
            group: update.group.clone().unwrap_or_default(),
            plan: update.plan.as_ref().map(rows::to_json).transpose()?.map(rows::text),
            pull,
            note: update.note.clone().map(rows::text),
            outcome: outcome.map(rows::text),
        })
    }
}

async fn insert(tx: &mut AnyConnection, update: &Update, now: Timestamp) -> Result<()> {
    let columns = Columns::of(update)?;
    sqlx::query(
        "INSERT INTO lock_update (id, repository_id, cause, created_at, round, group_name, plan, \
         note, state, state_at, outcome, not_before, tries, claim, claimed_until) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 0, 0, 0, 0)",
    )
    .bind(update.id.as_str())
    .bind(update.repository.0)
    .bind(update.cause.to_string())
    .bind(update.created_at.0)
    .bind(i64::from(update.round))
    .bind(columns.group)
    .bind(columns.plan)
    .bind(columns.note)
    .bind(update.state.name())
    .bind(now.0)
    .bind(columns.outcome)
    .execute(tx)
    .await?;
    Ok(())
}

/// An update is from the look at the newest revisions by which this one, or the one that it is
/// beside of, went on.
async fn note_beside(tx: &mut AnyConnection, update: &Update, of: &Update) -> Result<()> {
    sqlx::query(
        "UPDATE lock_update SET beside = \
         (SELECT COALESCE(o.beside, o.id) FROM lock_update o WHERE o.id = $2) WHERE id = $1",
    )
    .bind(update.id.as_str())
    .bind(of.id.as_str())
    .execute(tx)
    .await?;
    Ok(())
}

/// An update, from [`update_columns`] and `u_plan`.
pub(super) fn read(row: &AnyRow) -> Result<Update> {
    Ok(Update { plan: rows::maybe_json::<Plan>(row, "u_plan")?, ..read_outline(row)? })
}

/// An update without its plan, from [`update_columns`].
pub(super) fn read_outline(row: &AnyRow) -> Result<Update> {
    let state = match row.try_get::<&str, _>("u_state")? {
        "requested" => UpdateState::Requested,
        "searching" => UpdateState::Searching,
        "proposing" => UpdateState::Proposing,
        "merging" => UpdateState::Merging { number: row.try_get("u_pull")? },
        "ended" => UpdateState::Ended {
            outcome: rows::json::<Outcome>(row, "u_outcome")?,
            at: rows::time(row, "u_state_at")?,
        },
        other => return Err(rows::unknown("lock_update.state", other)),
    };
    Ok(Update {
        id: rows::parsed(row, "u_id")?,
        repository: RepositoryId(row.try_get("u_repository")?),
        cause: rows::parsed(row, "u_cause")?,
        created_at: rows::time(row, "u_created_at")?,
        round: rows::count(row, "u_round")?,
        tries: rows::count(row, "u_tries")?,
        group: Some(row.try_get::<String, _>("u_group")?).filter(|it| !it.is_empty()),
        plan: None,
        made: rows::maybe_json(row, "u_made")?,
        note: row.try_get("u_note")?,
        state,
    })
}

fn lost(claim: &UpdateClaim) -> StoreError {
    StoreError::ClaimLost(format!("update {}", claim.update))
}
