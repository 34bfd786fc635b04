//! Several instances on one store: who is alive, and what one of them does at a time.
//!
//! Runs and attempts are claimed one by one. What must not be done by two at once and is not
//! claimed so (deciding deliveries, writing to an installation, looking at GitHub) has a lease: it
//! is renewed while it is held, and whoever dies with it is followed within a minute. Leases are
//! compared by the clocks of their holders, which must agree to within some seconds.
use sqlx::Row;

use crate::domain::Timestamp;
use crate::store::error::Result;
use crate::store::{Database, Store};

/// An instance that has not been heard of for so long is gone.
pub const SILENCE_MS: i64 = 40_000;
/// And forgotten after this time, with its builders.
const FORGET_MS: i64 = 86_400_000;

/// What became of asking for a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lease {
    /// It was nobody else's before.
    Held,
    /// Another instance had it: what that began may be half done.
    TakenOver,
    /// Another instance has it.
    Elsewhere,
}

/// True of an instance that is alive, whose name is given by a column.
macro_rules! is_alive {
    ($owner:literal, $since:literal) => {
        concat!(
            "EXISTS (SELECT 1 FROM instance alive WHERE alive.owner = ",
            $owner,
            " AND alive.seen_at > ",
            $since,
            ")"
        )
    };
}

/// True of an instance that is alive and whose Nix store the others reach.
macro_rules! lends {
    ($owner:literal, $since:literal) => {
        concat!(
            "EXISTS (SELECT 1 FROM instance lends WHERE lends.owner = ",
            $owner,
            " AND lends.seen_at > ",
            $since,
            " AND lends.store <> '')"
        )
    };
}

pub(super) use {is_alive, lends};

/// Since when whoever is alive has been heard of.
pub(super) fn alive_since(now: Timestamp) -> i64 {
    now.plus(-SILENCE_MS).0
}

impl Store {
    /// The same store for an instance of this name.
    #[must_use]
    pub fn owned_by(self, owner: &str) -> Self {
        Self { owner: owner.into(), ..self }
    }

    /// The same store for an instance that the others reach at this URL.
    #[must_use]
    pub fn reached_at(self, url: &str) -> Self {
        Self { url: url.into(), ..self }
    }

    /// The same store for an instance whose Nix store the others reach at this URI.
    #[must_use]
    pub fn lending(self, nix_store: &str) -> Self {
        Self { lent: nix_store.into(), ..self }
    }

    /// This instance is alive.
    pub async fn beat(&self, now: Timestamp) -> Result<()> {
        sqlx::query(
            "INSERT INTO instance (owner, seen_at, url, store) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (owner) DO UPDATE SET seen_at = excluded.seen_at, url = excluded.url, \
             store = excluded.store",
        )
        .bind(&*self.owner)
        .bind(now.0)
        .bind(&*self.url)
        .bind(&*self.lent)
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    /// This instance holds the lease of this name for so long, unless another one holds it. With
    /// `SQLite` there is no other.
    pub async fn lease(&self, name: &str, now: Timestamp, lease_ms: i64) -> Result<Lease> {
        if let Database::Sqlite { .. } = self.database {
            return Ok(Lease::Held);
        }
        let before = sqlx::query("SELECT owner FROM lease WHERE name = $1")
            .bind(name)
            .fetch_optional(&self.writer)
            .await?;
        let done = sqlx::query(
            "INSERT INTO lease (name, owner, held_until) VALUES ($1, $2, $3) \
             ON CONFLICT (name) DO UPDATE \
             SET owner = excluded.owner, held_until = excluded.held_until \
             WHERE lease.owner = excluded.owner OR lease.held_until <= $4",
        )
        .bind(name)
        .bind(&*self.owner)
        .bind(now.plus(lease_ms).0)
        .bind(now.0)
        .execute(&self.writer)
        .await?;
        let before: Option<String> = before.map(|row| row.try_get(0)).transpose()?;
        Ok(match before {
            _ if done.rows_affected() == 0 => Lease::Elsewhere,
            Some(owner) if owner != *self.owner => Lease::TakenOver,
            Some(_) | None => Lease::Held,
        })
    }

    /// At an orderly end: the others need not wait for the leases of this instance to run out.
    pub async fn release_leases(&self) -> Result<()> {
        sqlx::query("UPDATE lease SET held_until = 0 WHERE owner = $1")
            .bind(&*self.owner)
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    /// Forgets instances that have been gone for long, with their leases and builders.
    pub async fn forget_instances(&self, now: Timestamp) -> Result<()> {
        let before = now.plus(-FORGET_MS).0;
        let mut tx = self.write().await?;
        let gone =
            sqlx::query("DELETE FROM instance WHERE seen_at < $1 AND owner <> $2 RETURNING owner")
                .bind(before)
                .bind(&*self.owner)
                .fetch_all(&mut *tx)
                .await?;
        for row in &gone {
            let owner: &str = row.try_get("owner")?;
            for text in ["DELETE FROM lease WHERE owner = $1", "DELETE FROM sight WHERE owner = $1"]
            {
                sqlx::query(text).bind(owner).execute(&mut *tx).await?;
            }
        }
        if !gone.is_empty() {
            sqlx::query("DELETE FROM builder WHERE name NOT IN (SELECT builder FROM sight)")
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await?;
        Ok(())
    }
}
