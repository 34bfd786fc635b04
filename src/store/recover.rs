//! What did not reach us, and when that was looked at. A mark is moved only after what was found
//! is written down: a crash repeats a look and skips none.
use std::collections::{BTreeMap, BTreeSet};

use sqlx::AnyConnection;
use sqlx::Row;
use sqlx::any::AnyRow;

use crate::domain::Timestamp;
use crate::domain::id::{DeliveryId, InstallationId, RepositoryId};
use crate::domain::incoming::{InstallationStanding, Repository, RepositoryStanding};
use crate::domain::recover::ListedDelivery;
use crate::domain::run::Run;
use crate::store::Store;
use crate::store::error::Result;
use crate::store::moves::{Event, Ledger};
use crate::store::rows::{self, repository_columns, run_columns};

/// The columns of a missed delivery, of `missed m`.
macro_rules! missed_columns {
    () => {
        " m.guid AS guid, m.github_id AS github_id, m.event AS event, m.action AS action, \
         m.repository_id AS repository_id, m.delivered_at AS delivered_at, m.asked AS asked, \
         m.state AS state, m.note AS note"
    };
}

pub(super) use missed_columns;

/// A moment that survives a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// GitHub's time when this store first looked: what was before is not ours to find.
    Begun,
    /// GitHub's time up to which its deliveries have been looked at.
    Deliveries,
    /// Our time of the last complete look at installations and repositories.
    Heads,
    /// Our time when something asked for such a look.
    HeadsAsked,
}

impl Mark {
    fn name(self) -> &'static str {
        match self {
            Self::Begun => "begun",
            Self::Deliveries => "deliveries",
            Self::Heads => "heads",
            Self::HeadsAsked => "heads asked",
        }
    }
}

/// Where a missed delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissedState {
    Missing,
    /// It came after all.
    Arrived,
    GivenUp,
}

impl MissedState {
    /// Its name in the store and on pages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Arrived => "arrived",
            Self::GivenUp => "given_up",
        }
    }

    fn read(text: &str) -> Result<Self> {
        match text {
            "missing" => Ok(Self::Missing),
            "arrived" => Ok(Self::Arrived),
            "given_up" => Ok(Self::GivenUp),
            other => Err(rows::unknown("missed.state", other)),
        }
    }
}

/// A delivery that did not reach us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missed {
    pub guid: DeliveryId,
    /// By which GitHub is asked to send it again.
    pub github_id: i64,
    pub event: String,
    pub action: Option<String>,
    pub repository: Option<RepositoryId>,
    pub delivered_at: Timestamp,
    /// How often it was asked for.
    pub asked: u32,
    pub state: MissedState,
    /// Why it was given up.
    pub note: Option<String>,
}

/// A known repository with what a look at its heads needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownRepository {
    pub repository: Repository,
    pub standing: RepositoryStanding,
    /// When its heads were last compared; 0 when they must be.
    pub heads_at: Timestamp,
}

/// Something needs a look at what stands at GitHub.
pub(super) async fn ask_for_heads(
    tx: &mut AnyConnection,
    ledger: &mut Ledger,
    now: Timestamp,
) -> Result<()> {
    set_mark(tx, Mark::HeadsAsked, now).await?;
    ledger.note(Event::HeadsAsked);
    Ok(())
}

pub(super) async fn set_mark(tx: &mut AnyConnection, mark: Mark, at: Timestamp) -> Result<()> {
    sqlx::query(
        "INSERT INTO mark (name, at) VALUES ($1, $2) \
         ON CONFLICT (name) DO UPDATE SET at = excluded.at",
    )
    .bind(mark.name())
    .bind(at.0)
    .execute(tx)
    .await?;
    Ok(())
}

impl Store {
    /// A mark; `None` before it was first set.
    pub async fn mark(&self, mark: Mark) -> Result<Option<Timestamp>> {
        let at: Option<i64> = sqlx::query_scalar("SELECT at FROM mark WHERE name = $1")
            .bind(mark.name())
            .fetch_optional(&self.reader)
            .await?;
        Ok(at.map(Timestamp))
    }

    /// Sets marks, all or none.
    pub async fn set_marks(&self, marks: &[(Mark, Timestamp)]) -> Result<()> {
        let mut tx = self.write().await?;
        for (mark, at) in marks {
            set_mark(&mut tx, *mark, *at).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Which of these deliveries are kept here.
    pub async fn known_deliveries(&self, guids: &[DeliveryId]) -> Result<BTreeSet<DeliveryId>> {
        let mut tx = self.read().await?;
        let mut known = BTreeSet::new();
        for guid in guids {
            let found = sqlx::query("SELECT 1 AS one FROM delivery WHERE guid = $1")
                .bind(guid.as_str())
                .fetch_optional(&mut *tx)
                .await?;
            if found.is_some() {
                known.insert(guid.clone());
            }
        }
        Ok(known)
    }

    /// Notes deliveries that are missing; one that is noted keeps its patience.
    pub async fn note_missed(&self, missed: &[ListedDelivery], now: Timestamp) -> Result<u64> {
        let mut new = 0;
        let mut tx = self.write().await?;
        for it in missed {
            new += note_one(&mut tx, it, now).await?;
        }
        tx.commit().await?;
        Ok(new)
    }

    /// Notes which missed deliveries came after all; says how many.
    pub async fn note_arrived(&self, now: Timestamp) -> Result<u64> {
        let done = sqlx::query(
            "UPDATE missed SET state = 'arrived', changed_at = $1, note = NULL \
             WHERE state = 'missing' \
             AND EXISTS (SELECT 1 FROM delivery d WHERE d.guid = missed.guid)",
        )
        .bind(now.0)
        .execute(&self.writer)
        .await?;
        Ok(done.rows_affected())
    }

    /// Missing deliveries that may be asked for now, the newest first.
    pub async fn to_ask_for(&self, now: Timestamp, limit: i64) -> Result<Vec<Missed>> {
        let found = sqlx::query(concat!(
            "SELECT ",
            missed_columns!(),
            " FROM missed m WHERE m.state = 'missing' AND m.not_before <= $1 \
             ORDER BY m.delivered_at DESC, m.guid LIMIT $2"
        ))
        .bind(now.0)
        .bind(limit)
        .fetch_all(&self.reader)
        .await?;
        found.iter().map(missed).collect()
    }

    /// GitHub was asked for a delivery; it is waited for until this moment.
    pub async fn asked_for(
        &self,
        guid: &DeliveryId,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<()> {
        sqlx::query(
            "UPDATE missed SET asked = asked + 1, not_before = $2, changed_at = $3 WHERE guid = $1",
        )
        .bind(guid.as_str())
        .bind(until.0)
        .bind(now.0)
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    /// A delivery will not come; `why` is shown.
    pub async fn give_up_delivery(
        &self,
        guid: &DeliveryId,
        why: &str,
        now: Timestamp,
    ) -> Result<()> {
        sqlx::query(
            "UPDATE missed SET state = 'given_up', changed_at = $2, note = $3 WHERE guid = $1",
        )
        .bind(guid.as_str())
        .bind(now.0)
        .bind(rows::text(why.to_owned()))
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    /// Every repository that is known.
    pub async fn known_repositories(&self) -> Result<Vec<KnownRepository>> {
        let found = sqlx::query(concat!(
            "SELECT ",
            repository_columns!(),
            ", p.standing AS p_standing, p.heads_at AS p_heads_at FROM repository p ORDER BY p.id"
        ))
        .fetch_all(&self.reader)
        .await?;
        found
            .iter()
            .map(|row| {
                Ok(KnownRepository {
                    repository: rows::repository(row)?,
                    standing: rows::repository_standing(row.try_get("p_standing")?)?,
                    heads_at: rows::time(row, "p_heads_at")?,
                })
            })
            .collect()
    }

    /// The newest run of each branch and pull request of a repository.
    pub async fn newest_runs(&self, repository: RepositoryId) -> Result<Vec<Run>> {
        let found = sqlx::query(concat!(
            "SELECT ",
            run_columns!(),
            " FROM run r WHERE r.repository_id = $1 AND NOT EXISTS (SELECT 1 FROM run n \
             WHERE n.repository_id = r.repository_id AND n.reason = r.reason \
             AND (n.occurred_at > r.occurred_at OR (n.occurred_at = r.occurred_at \
             AND (n.created_at > r.created_at OR (n.created_at = r.created_at AND n.id > r.id)))))"
        ))
        .bind(repository.0)
        .fetch_all(&self.reader)
        .await?;
        found.iter().map(rows::run).collect()
    }

    /// Where each installation stands of which we were told.
    pub async fn installations(&self) -> Result<BTreeMap<InstallationId, InstallationStanding>> {
        let found =
            sqlx::query("SELECT id, standing FROM installation").fetch_all(&self.reader).await?;
        found
            .iter()
            .map(|row| {
                let standing = rows::installation_standing(row.try_get("standing")?)?;
                Ok((InstallationId(row.try_get("id")?), standing))
            })
            .collect()
    }

    /// The heads of a repository were compared with its runs.
    pub async fn heads_compared(&self, repository: RepositoryId, at: Timestamp) -> Result<()> {
        sqlx::query("UPDATE repository SET heads_at = $2 WHERE id = $1")
            .bind(repository.0)
            .bind(at.0)
            .execute(&self.writer)
            .await?;
        Ok(())
    }
}

pub(super) fn missed(row: &AnyRow) -> Result<Missed> {
    Ok(Missed {
        guid: rows::parsed(row, "guid")?,
        github_id: row.try_get("github_id")?,
        event: row.try_get("event")?,
        action: row.try_get("action")?,
        repository: row.try_get::<Option<i64>, _>("repository_id")?.map(RepositoryId),
        delivered_at: rows::time(row, "delivered_at")?,
        asked: rows::count(row, "asked")?,
        state: MissedState::read(row.try_get("state")?)?,
        note: row.try_get("note")?,
    })
}

async fn note_one(tx: &mut AnyConnection, it: &ListedDelivery, now: Timestamp) -> Result<u64> {
    let ListedDelivery { id, guid, delivered_at, answer: _, event, action, .. } = it;
    let done = sqlx::query(
        "INSERT INTO missed (guid, github_id, event, action, repository_id, installation_id, \
         delivered_at, asked, not_before, state, changed_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, 0, 0, 'missing', $8) ON CONFLICT (guid) DO NOTHING",
    )
    .bind(guid.as_str())
    .bind(*id)
    .bind(rows::text(event.clone()))
    .bind(action.clone().map(rows::text))
    .bind(it.repository.map(|it| it.0))
    .bind(it.installation.map(|it| it.0))
    .bind(delivered_at.0)
    .bind(now.0)
    .execute(&mut *tx)
    .await?;
    if done.rows_affected() == 0 {
        // The newest try is the one that GitHub keeps longest.
        sqlx::query("UPDATE missed SET github_id = $2 WHERE guid = $1 AND github_id < $2")
            .bind(guid.as_str())
            .bind(*id)
            .execute(tx)
            .await?;
    }
    Ok(done.rows_affected())
}
