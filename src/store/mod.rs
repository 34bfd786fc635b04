//! Remembers. The only module that knows SQL: one text for `SQLite` and for `PostgreSQL`.
//!
//! A [`Store`] has a method per sentence of the domain and one transaction per method. Only the
//! [`domain`](crate::domain) moves a life; this module writes down what it says, and returns what
//! moved as [`Moved`], which the flow turns into wakeups. Times and ids are arguments.
//!
//! - `open`: a URL becomes a store, or a refusal that says what was found.
//! - [`intake`]: deliveries, many to a transaction, each with its [`Body`]; [`deliveries`]: what
//!   became of them.
//! - `standing`: what stands when a delivery is decided; [`decide`]: what it changes.
//! - [`facts`]: what is known before a run is planned.
//! - [`failures`]: what attempts at a derivation came to before.
//! - [`runs`]: a run is claimed, listed and evaluated; `settle`: what becomes of each build then.
//! - [`queue`]: which builds wait, and for what; [`attempts`]: the derivations that are realised;
//!   [`archived`]: which of their logs are in the bucket.
//! - [`builders`]: how it stands with the machines they go to.
//! - `people`: what people ask about and what comes of it; [`reactions`]: the answers to comments.
//! - [`recover`]: what did not reach us, and when that was looked at; `repositories`: those that
//!   are renamed, leave and come back.
//! - [`looks`]: what those looks found.
//! - [`reports`]: what GitHub shows compared with what is known; `bump`: how soon it must;
//!   `renew`: in a check run of its own;
//!   [`worth`]: how much of a run it is shown.
//! - [`sweep`]: lost claims, old rows, numbers, garbage collector roots.
//! - [`views`]: what pages and checks are made of.
//! - [`outlook`]: how it goes on with what is not done.
//! - `base`: what is known of the commit that a run is compared with.
//! - [`insights`]: what changes on each host.
//! - `locks`: when lock files last moved.
//! - [`updates`]: updates of lock files; [`trials`]: the runs by which they try some; [`pulls`]: what
//!   came of them on GitHub; [`schedules`]: when the next is due; [`tracked`]: what people are told
//!   of them unasked, and [`overview`]: when they look.
//! - `memory`: what is known of a host from earlier commits.
//! - [`leases`]: which instances are alive, and what one of them does at a time; [`homes`]: where
//!   derivations are, and who takes them over.
//! - `notices`: what other instances of the service are told, and tell.
//! - `moves`: the one place that writes a life's new state and notes who must hear of it.
pub mod archived;
pub mod attempts;
mod base;
mod body;
pub mod builders;
mod bump;
mod claim;
pub mod decide;
pub mod deliveries;
mod error;
mod event;
pub mod facts;
pub mod failures;
pub mod homes;
pub mod insights;
pub mod intake;
pub mod leases;
mod locks;
pub mod looks;
mod memory;
mod moves;
mod notices;
mod open;
pub mod outlook;
pub mod overview;
mod people;
#[cfg(test)]
mod plans;
pub mod pulls;
pub mod queue;
pub mod reactions;
pub mod recover;
mod renew;
pub mod reports;
mod repositories;
mod rows;
pub mod runs;
pub mod schedules;
mod settle;
mod standing;
pub mod sweep;
pub mod tracked;
pub mod trials;
pub mod updates;
pub mod views;
pub mod worth;

use std::sync::Arc;

use sqlx::any::Any;
use sqlx::{AnyPool, PgPool, Transaction};

use crate::domain::build::Patience;

pub use crate::store::body::Body;
pub use crate::store::claim::{AttemptClaim, RunClaim};
pub use crate::store::error::{Result, StoreError};
pub use crate::store::moves::{Event, Moved};

/// Everything that must survive a crash. Cheap to clone; clones share the connections.
#[derive(Clone, Debug)]
pub struct Store {
    /// One connection to `SQLite`; several to `PostgreSQL`, where they exclude each other by a lock.
    writer: AnyPool,
    reader: AnyPool,
    database: Database,
    patience: Patience,
    /// The instance of the service that this is; empty where there is but one.
    owner: Arc<str>,
    /// Where other instances reach this one; empty when they do not.
    url: Arc<str>,
    /// Where other instances reach this one's Nix store; empty when they do not.
    lent: Arc<str>,
}

/// Which database it is, and what is particular to it.
#[derive(Clone, Debug)]
enum Database {
    Sqlite {
        /// Takes the log into the file, beside the writer.
        checkpointer: AnyPool,
        /// The write-ahead log.
        log: std::path::PathBuf,
    },
    Postgres {
        /// The connection on which other instances are heard.
        notices: PgPool,
    },
}

type Tx = Transaction<'static, Any>;

impl Store {
    /// The same store, which meets failures as the settings say.
    #[must_use]
    pub fn with_patience(self, patience: Patience) -> Self {
        Self { patience, ..self }
    }

    /// A transaction that changes something. There is one at a time, so that what it has read is
    /// still true when it writes.
    async fn write(&self) -> Result<Tx> {
        match self.database {
            Database::Sqlite { .. } => Ok(self.writer.begin_with("BEGIN IMMEDIATE").await?),
            Database::Postgres { .. } => {
                let mut tx = self.writer.begin().await?;
                sqlx::query("LOCK TABLE meta IN EXCLUSIVE MODE").execute(&mut *tx).await?;
                Ok(tx)
            }
        }
    }

    /// A transaction that reads several things as they were at one moment.
    async fn read(&self) -> Result<Tx> {
        Ok(match self.database {
            Database::Sqlite { .. } => self.reader.begin().await?,
            Database::Postgres { .. } => {
                self.reader.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?
            }
        })
    }

    /// Whether there may be other instances on it.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        match self.database {
            Database::Sqlite { .. } => false,
            Database::Postgres { .. } => true,
        }
    }

    /// What the store keeps under this name; `fresh` when it kept nothing yet.
    pub async fn keep_value(&self, name: &str, fresh: String) -> Result<String> {
        let mut tx = self.write().await?;
        sqlx::query("INSERT INTO meta (key, value) VALUES ($1, $2) ON CONFLICT DO NOTHING")
            .bind(name)
            .bind(fresh)
            .execute(&mut *tx)
            .await?;
        let kept = sqlx::query_scalar("SELECT value FROM meta WHERE key = $1")
            .bind(name)
            .fetch_one(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(kept)
    }

    /// The store answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<()> {
        sqlx::query("SELECT value FROM meta WHERE key = 'program'").execute(&self.reader).await?;
        Ok(())
    }
}
