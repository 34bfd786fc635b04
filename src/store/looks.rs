//! What the looks at GitHub found, and what `/deliveries` shows.
use std::collections::BTreeMap;

use sqlx::Row;
use sqlx::any::AnyRow;

use crate::domain::Timestamp;
use crate::domain::id::{DeliveryId, Owner, RepositoryName};
use crate::domain::incoming::Visibility;
use crate::store::Store;
use crate::store::deliveries::DeliveryState;
use crate::store::error::Result;
use crate::store::recover::{Mark, Missed, missed, missed_columns, set_mark};
use crate::store::rows;

/// What a look was at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookKind {
    /// GitHub's list of deliveries.
    Deliveries,
    /// Installations, repositories, and the heads of branches and pull requests.
    Heads,
}

impl LookKind {
    const ALL: [Self; 2] = [Self::Deliveries, Self::Heads];

    /// Its name on pages and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deliveries => "deliveries",
            Self::Heads => "heads",
        }
    }
}

/// What a look found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// A UUID of ours.
    pub id: String,
    pub kind: LookKind,
    pub at: Timestamp,
    /// Deliveries or repositories that were looked at.
    pub looked: i64,
    /// Deliveries that are missing, or heads without a run.
    pub missed: i64,
    /// Deliveries that were asked for again.
    pub asked: i64,
    pub given_up: i64,
    /// What went otherwise than it should, in words.
    pub note: Option<String>,
}

/// Whose delivery it is, where the repository is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whose {
    pub owner: Owner,
    pub name: RepositoryName,
    pub visibility: Visibility,
}

/// A delivery in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryLine {
    pub guid: DeliveryId,
    pub event: String,
    pub action: Option<String>,
    pub whose: Option<Whose>,
    pub received_at: Timestamp,
    pub state: DeliveryState,
    pub note: Option<String>,
}

/// A missed delivery in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissedLine {
    pub missed: Missed,
    pub whose: Option<Whose>,
}

/// How things stand with deliveries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overview {
    /// The newest of each kind and those that found something, the newest first.
    pub looks: Vec<Look>,
    /// The newest first, those that are missing before all others.
    pub missed: Vec<MissedLine>,
    /// The newest first.
    pub deliveries: Vec<DeliveryLine>,
    /// Deliveries that are kept, by state.
    pub counts: BTreeMap<String, i64>,
}

impl Store {
    /// A look is over: what it found, and the marks that it moves.
    pub async fn looked(&self, look: &Look, marks: &[(Mark, Timestamp)]) -> Result<()> {
        let Look { id, kind, at, looked, missed, asked, given_up, note } = look;
        let mut tx = self.write().await?;
        sqlx::query(
            "INSERT INTO look (id, kind, at, looked, missed, asked, given_up, note) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(id.as_str())
        .bind(kind.as_str())
        .bind(at.0)
        .bind(*looked)
        .bind(*missed)
        .bind(*asked)
        .bind(*given_up)
        .bind(note.clone().map(rows::text))
        .execute(&mut *tx)
        .await?;
        for (mark, at) in marks {
            set_mark(&mut tx, *mark, *at).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Forgets looks and missed deliveries that are settled since before this moment.
    pub async fn delete_old_looks(&self, before: Timestamp) -> Result<()> {
        for text in [
            "DELETE FROM look WHERE at < $1",
            "DELETE FROM missed WHERE state <> 'missing' AND changed_at < $1",
        ] {
            sqlx::query(text).bind(before.0).execute(&self.writer).await?;
        }
        Ok(())
    }

    /// The newest looks and deliveries, at most `limit` of each.
    pub async fn overview(&self, limit: i64) -> Result<Overview> {
        let mut tx = self.read().await?;
        let mut looks: Vec<Look> = Vec::new();
        for kind in LookKind::ALL {
            let found =
                sqlx::query(LOOKS).bind(kind.as_str()).bind(limit).fetch_all(&mut *tx).await?;
            for row in &found {
                looks.push(look(row)?);
            }
        }
        looks.sort_by(|a, b| (b.at, &b.id).cmp(&(a.at, &a.id)));
        let found = sqlx::query(MISSED).bind(limit).fetch_all(&mut *tx).await?;
        let missed = found
            .iter()
            .map(|row| Ok(MissedLine { missed: missed(row)?, whose: whose(row)? }))
            .collect::<Result<_>>()?;
        let mut deliveries = Vec::new();
        for state in DeliveryState::ALL {
            let found =
                sqlx::query(DELIVERIES).bind(state.code()).bind(limit).fetch_all(&mut *tx).await?;
            for row in &found {
                deliveries.push(delivery(row, state)?);
            }
        }
        deliveries.sort_by(|a, b| (b.received_at, &b.guid).cmp(&(a.received_at, &a.guid)));
        deliveries.truncate(usize::try_from(limit).unwrap_or_default());
        let mut counts = BTreeMap::new();
        let found = sqlx::query("SELECT state, COUNT(*) AS n FROM delivery GROUP BY state")
            .fetch_all(&mut *tx)
            .await?;
        for row in &found {
            let state = DeliveryState::read(row)?;
            counts.insert(state.as_str().to_owned(), row.try_get("n")?);
        }
        Ok(Overview { looks, missed, deliveries, counts })
    }
}

/// The newest look and those that found something.
const LOOKS: &str = "SELECT id, kind, at, looked, missed, asked, given_up, note FROM look l \
    WHERE kind = $1 AND (missed + asked + given_up > 0 OR note IS NOT NULL \
    OR at = (SELECT MAX(at) FROM look n WHERE n.kind = l.kind)) ORDER BY at DESC, id DESC LIMIT $2";

const MISSED: &str = concat!(
    "SELECT ",
    missed_columns!(),
    ", p.owner AS p_owner, p.name AS p_name, p.visibility AS p_visibility FROM missed m \
     LEFT JOIN repository p ON p.id = m.repository_id \
     ORDER BY CASE WHEN m.state = 'missing' THEN 0 ELSE 1 END, m.delivered_at DESC, m.guid LIMIT $1"
);

/// Along the index `delivery_by_state`: bodies are not read.
const DELIVERIES: &str = "SELECT d.guid AS guid, d.event AS event, d.action AS action, \
    d.received_at AS received_at, d.note AS note, p.owner AS p_owner, p.name AS p_name, \
    p.visibility AS p_visibility FROM delivery d LEFT JOIN repository p ON p.id = d.repository_id \
    WHERE d.state = $1 ORDER BY d.changed_at DESC LIMIT $2";

fn look(row: &AnyRow) -> Result<Look> {
    let kind = match row.try_get::<&str, _>("kind")? {
        "deliveries" => LookKind::Deliveries,
        "heads" => LookKind::Heads,
        other => return Err(rows::unknown("look.kind", other)),
    };
    Ok(Look {
        id: row.try_get("id")?,
        kind,
        at: rows::time(row, "at")?,
        looked: row.try_get("looked")?,
        missed: row.try_get("missed")?,
        asked: row.try_get("asked")?,
        given_up: row.try_get("given_up")?,
        note: row.try_get("note")?,
    })
}

fn delivery(row: &AnyRow, state: DeliveryState) -> Result<DeliveryLine> {
    Ok(DeliveryLine {
        guid: rows::parsed(row, "guid")?,
        event: row.try_get("event")?,
        action: row.try_get("action")?,
        whose: whose(row)?,
        received_at: rows::time(row, "received_at")?,
        state,
        note: row.try_get("note")?,
    })
}

fn whose(row: &AnyRow) -> Result<Option<Whose>> {
    let Some(owner) = rows::maybe_parsed(row, "p_owner")? else { return Ok(None) };
    let name = rows::parsed(row, "p_name")?;
    Ok(Some(Whose { owner, name, visibility: rows::visibility(row, "p_visibility")? }))
}
