//! How it stands with the builders.
use sqlx::AnyConnection;
use sqlx::Row;
use sqlx::any::AnyRow;

use crate::domain::Timestamp;
use crate::domain::builder::{Builder, Condition, Facts, Speed};
use crate::domain::id::{AttemptId, AttrPath, BuildId, Owner, RepositoryName};
use crate::domain::incoming::Visibility;
use crate::domain::page::Counts;
use crate::domain::plan::Capability;
use crate::store::Store;
use crate::store::error::Result;
use crate::store::leases::{alive_since, is_alive};
use crate::store::moves::{Event, Ledger};
use crate::store::rows;

/// A builder as the settings have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    pub name: String,
    pub capability: Capability,
    pub slots: u32,
    pub speed: Speed,
    pub machine: Whose,
}

/// Whose machine a builder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The instance's own.
    Own,
    /// Another one, which other instances may have in their settings too.
    Shared,
}

/// A build whose derivation is being realised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    pub builder: String,
    pub attempt: AttemptId,
    pub build: BuildId,
    /// The host, as people call it.
    pub attr: String,
    pub owner: Owner,
    pub name: RepositoryName,
    pub visibility: Visibility,
    pub since: Timestamp,
    /// How far it is, as its instance noted it last.
    pub counts: Option<Counts>,
}

/// Of what runs, what is shown at most.
const MOST_RUNNING: i64 = 1000;

/// The columns of `builder b`, in the condition that this table has.
macro_rules! builder_columns {
    ($seen:literal, $suspect:literal) => {
        concat!(
            "SELECT b.name AS name, b.capability AS capability, b.slots AS slots, \
             b.speed AS speed, b.drained_at AS drained_at, b.facts AS facts, \
             COALESCE(o.busy, 0) AS busy, ",
            $seen,
            ".condition AS condition, ",
            $seen,
            ".since AS since, ",
            $seen,
            ".looked_at AS looked_at, ",
            $suspect,
            " AS suspect_at"
        )
    };
}

/// `builder b` with how many operations run on each, which the store alone knows of all instances.
macro_rules! busy {
    () => {
        " FROM builder b LEFT JOIN (SELECT builder, COUNT(DISTINCT COALESCE(operation, id)) AS busy \
         FROM attempt WHERE state = 'running' GROUP BY builder) o ON o.builder = b.name"
    };
}

impl Store {
    /// What is being realised, the oldest first; one line for each build that wants it.
    pub async fn running(&self) -> Result<Vec<Running>> {
        let found = sqlx::query(
            "SELECT a.builder, a.id AS attempt, b.id AS build, b.attr AS attr, b.label AS label, \
             p.owner AS owner, p.name AS name, p.visibility AS visibility, a.started_at AS since, a.progress AS progress \
             FROM attempt a JOIN build b ON b.attempt_id = a.id AND b.state = 'building' \
             JOIN run r ON r.id = b.run_id JOIN repository p ON p.id = r.repository_id \
             WHERE a.state = 'running' ORDER BY a.started_at, b.id LIMIT $1",
        )
        .bind(MOST_RUNNING)
        .fetch_all(&self.reader)
        .await?;
        found.iter().map(running).collect()
    }

    /// These are the builders of this instance's settings; gives the names that they have here. One
    /// that was known before stands as it stood; one that no instance has is forgotten.
    pub async fn know_builders(&self, all: &[Known], now: Timestamp) -> Result<Vec<String>> {
        let mut tx = self.write().await?;
        let mut names = Vec::with_capacity(all.len());
        for it in all {
            let owner = match it.machine {
                Whose::Own => &*self.owner,
                Whose::Shared => "",
            };
            let name = self.free_name(&mut tx, (&it.name, owner), now).await?;
            sqlx::query(
                "INSERT INTO builder (name, capability, slots, condition, since, looked_at, facts, \
                 owner, speed) VALUES ($1, $2, $3, $4, $5, 0, $6, $7, $8) ON CONFLICT (name) \
                 DO UPDATE SET capability = excluded.capability, slots = excluded.slots, \
                 owner = excluded.owner, speed = excluded.speed",
            )
            .bind(name.as_str())
            .bind(rows::to_json(&it.capability)?)
            .bind(i64::from(it.slots))
            .bind(rows::to_json(&Condition::NotLookedAt)?)
            .bind(now.0)
            .bind(rows::to_json(&Facts::default())?)
            .bind(owner)
            .bind(i64::from(it.speed.thousandths()))
            .execute(&mut *tx)
            .await?;
            // What the others see is what is known, until it is looked at from here.
            sqlx::query(
                "INSERT INTO sight (builder, owner, condition, since, looked_at) \
                 SELECT name, $2, condition, since, 0 FROM builder WHERE name = $1 \
                 ON CONFLICT DO NOTHING",
            )
            .bind(name.as_str())
            .bind(&*self.owner)
            .execute(&mut *tx)
            .await?;
            names.push(name);
        }
        let mine = sqlx::query("SELECT builder FROM sight WHERE owner = $1")
            .bind(&*self.owner)
            .fetch_all(&mut *tx)
            .await?;
        for row in &mine {
            let name: String = row.try_get(0)?;
            if !names.contains(&name) {
                sqlx::query("DELETE FROM sight WHERE builder = $1 AND owner = $2")
                    .bind(name)
                    .bind(&*self.owner)
                    .execute(&mut *tx)
                    .await?;
            }
        }
        sqlx::query("DELETE FROM builder WHERE name NOT IN (SELECT builder FROM sight)")
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(names)
    }

    /// The name of the settings, unless another living instance has a machine of its own, or a
    /// shared one, under that name.
    async fn free_name(
        &self,
        tx: &mut AnyConnection,
        (name, owner): (&str, &str),
        now: Timestamp,
    ) -> Result<String> {
        let taken = sqlx::query(concat!(
            "SELECT 1 AS one FROM builder b WHERE b.name = $1 AND b.owner <> $2 AND EXISTS \
             (SELECT 1 FROM sight s WHERE s.builder = b.name AND s.owner <> $3 AND ",
            is_alive!("s.owner", "$4"),
            ")"
        ))
        .bind(name)
        .bind(owner)
        .bind(&*self.owner)
        .bind(alive_since(now))
        .fetch_optional(tx)
        .await?;
        let mine: String = self.owner.chars().take(8).collect();
        Ok(taken.map_or_else(|| name.to_owned(), |_| format!("{name}@{mine}")))
    }

    /// It is being looked at from here: what failed there until now is no reason for another look.
    pub async fn looks_at(&self, name: &str) -> Result<()> {
        sqlx::query("UPDATE sight SET suspect_at = NULL WHERE builder = $1 AND owner = $2")
            .bind(name)
            .bind(&*self.owner)
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    /// All of them, by name, as they are seen from all instances.
    pub async fn builders(&self) -> Result<Vec<Builder>> {
        let found = sqlx::query(BUILDERS).fetch_all(&self.reader).await?;
        found.iter().map(builder).collect()
    }

    /// Those of this instance's settings, as they are seen from here.
    pub async fn own_builders(&self) -> Result<Vec<Builder>> {
        self.builders_of(&self.owner).await
    }

    /// Those of an instance's settings, as they are seen from there.
    pub async fn builders_of(&self, owner: &str) -> Result<Vec<Builder>> {
        let found = sqlx::query(OWN_BUILDERS).bind(owner).fetch_all(&self.reader).await?;
        found.iter().map(builder).collect()
    }

    /// What the builders can do that build what this instance evaluates: its own, and everybody's
    /// where the others reach its Nix store.
    pub async fn capabilities(&self) -> Result<Vec<Capability>> {
        let found = sqlx::query(CAPABILITIES)
            .bind(&*self.owner)
            .bind(&*self.lent)
            .fetch_all(&self.reader)
            .await?;
        found.iter().map(|row| rows::json(row, "capability")).collect()
    }

    /// The same builders, as they are seen.
    pub(super) async fn reached(&self, tx: &mut AnyConnection) -> Result<Vec<Builder>> {
        let found = if self.lent.is_empty() {
            sqlx::query(OWN_BUILDERS).bind(&*self.owner).fetch_all(tx).await?
        } else {
            sqlx::query(BUILDERS).fetch_all(tx).await?
        };
        found.iter().map(builder).collect()
    }

    /// What a look from here at one of them found; what it said of itself stays when it says
    /// nothing now. Gives the condition that it was in, where this is another.
    pub async fn builder_looked(
        &self,
        name: &str,
        condition: &Condition,
        facts: Option<&Facts>,
        now: Timestamp,
    ) -> Result<Option<Condition>> {
        let mut tx = self.write().await?;
        let row = sqlx::query(
            "SELECT s.condition AS seen, b.condition AS known, b.facts AS facts FROM builder b \
             JOIN sight s ON s.builder = b.name AND s.owner = $2 WHERE b.name = $1",
        )
        .bind(name)
        .bind(&*self.owner)
        .fetch_optional(&mut *tx)
        .await?;
        // Forgotten by another process meanwhile.
        let Some(row) = row else { return Ok(None) };
        let (was, known): (Condition, Condition) =
            (rows::json(&row, "seen")?, rows::json(&row, "known")?);
        let facts = match facts {
            Some(facts) => facts.clone(),
            None => rows::json(&row, "facts")?,
        };
        // Its words may differ from look to look: since when it is away does not.
        let is_same = |it: &Condition, other: &Condition| {
            std::mem::discriminant(it) == std::mem::discriminant(other)
        };
        sqlx::query(
            "UPDATE sight SET condition = $2, looked_at = $3, \
             since = CASE WHEN $4 = 1 THEN since ELSE $3 END WHERE builder = $1 AND owner = $5",
        )
        .bind(name)
        .bind(rows::to_json(condition)?)
        .bind(now.0)
        .bind(i64::from(is_same(&was, condition)))
        .bind(&*self.owner)
        .execute(&mut *tx)
        .await?;
        let together = self.seen_together(&mut tx, name, condition, now).await?;
        sqlx::query(
            "UPDATE builder SET condition = $2, facts = $3, looked_at = $4, \
             since = CASE WHEN $5 = 1 THEN since ELSE $4 END WHERE name = $1",
        )
        .bind(name)
        .bind(rows::to_json(&together)?)
        .bind(rows::to_json(&facts)?)
        .bind(now.0)
        .bind(i64::from(is_same(&known, &together)))
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok((!is_same(&was, condition)).then_some(was))
    }

    /// A builder takes work when any living instance finds that it does.
    async fn seen_together(
        &self,
        tx: &mut AnyConnection,
        name: &str,
        condition: &Condition,
        now: Timestamp,
    ) -> Result<Condition> {
        let ready = rows::to_json(&Condition::Ready)?;
        let other = sqlx::query(concat!(
            "SELECT 1 AS one FROM sight s WHERE s.builder = $1 AND s.owner <> $2 \
             AND s.condition = $3 AND ",
            is_alive!("s.owner", "$4"),
            " LIMIT 1"
        ))
        .bind(name)
        .bind(&*self.owner)
        .bind(ready)
        .bind(alive_since(now))
        .fetch_optional(tx)
        .await?;
        Ok(other.map_or_else(|| condition.clone(), |_| Condition::Ready))
    }

    /// No new build goes there from now on, or they may again with `None`. `false` when there is
    /// no builder of this name.
    pub async fn drain(&self, name: &str, at: Option<Timestamp>) -> Result<bool> {
        let mut tx = self.write().await?;
        let done = sqlx::query(
            "UPDATE builder SET drained_at = CASE WHEN $2 < 0 THEN NULL \
             WHEN drained_at IS NULL THEN $2 ELSE drained_at END WHERE name = $1",
        )
        .bind(name)
        .bind(at.map_or(-1, |it| it.0))
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(done.rows_affected() == 1)
    }
}

fn running(row: &AnyRow) -> Result<Running> {
    let attr: AttrPath = rows::json(row, "attr")?;
    let label: Option<String> = row.try_get("label")?;
    Ok(Running {
        builder: row.try_get("builder")?,
        attempt: rows::parsed(row, "attempt")?,
        build: rows::parsed(row, "build")?,
        attr: label.unwrap_or_else(|| attr.to_string()),
        owner: rows::parsed(row, "owner")?,
        name: rows::parsed(row, "name")?,
        visibility: rows::visibility(row, "visibility")?,
        since: rows::time(row, "since")?,
        counts: rows::maybe_json(row, "progress")?,
    })
}

/// Something failed on a builder that may be the builder's: every instance is to look at it.
pub(super) async fn suspect(
    tx: &mut AnyConnection,
    name: &str,
    ledger: &mut Ledger,
    now: Timestamp,
) -> Result<()> {
    sqlx::query("UPDATE sight SET suspect_at = $2 WHERE builder = $1")
        .bind(name)
        .bind(now.0)
        .execute(tx)
        .await?;
    ledger.note(Event::BuilderSuspect);
    Ok(())
}

pub(super) const BUILDERS: &str = concat!(
    builder_columns!("b", "(SELECT MIN(x.suspect_at) FROM sight x WHERE x.builder = b.name)"),
    busy!(),
    " ORDER BY b.name"
);

/// Those of one instance.
pub(super) const OWN_BUILDERS: &str = concat!(
    builder_columns!("s", "s.suspect_at"),
    busy!(),
    " JOIN sight s ON s.builder = b.name AND s.owner = $1 ORDER BY b.name"
);

const CAPABILITIES: &str = "SELECT b.capability AS capability FROM builder b WHERE $2 <> '' \
     OR EXISTS (SELECT 1 FROM sight s WHERE s.builder = b.name AND s.owner = $1) ORDER BY b.name";

pub(super) fn builder(row: &AnyRow) -> Result<Builder> {
    Ok(Builder {
        name: row.try_get("name")?,
        capability: rows::json(row, "capability")?,
        slots: rows::count(row, "slots")?,
        speed: Speed::of(rows::count(row, "speed")?).unwrap_or_default(),
        busy: rows::count(row, "busy")?,
        condition: rows::json(row, "condition")?,
        since: rows::time(row, "since")?,
        looked_at: rows::time(row, "looked_at")?,
        suspect_at: row.try_get::<Option<i64>, _>("suspect_at")?.map(Timestamp),
        drained_at: row.try_get::<Option<i64>, _>("drained_at")?.map(Timestamp),
        facts: rows::json(row, "facts")?,
    })
}
