//! What can go wrong with remembering, and whom it concerns.
use crate::domain::{build, run};

/// Why the store did not do what it was asked. Nothing was changed, whichever it is.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Locked, disk full, connection lost: the same again later may succeed.
    #[error("the store is not available: {what}")]
    Unavailable {
        /// What the database said, or what was full.
        what: String,
    },
    /// The database belongs to another program, or to a newer version of this one.
    #[error("`{place}` is not a store that this version can use: {found}")]
    NotOurs {
        /// The file, or the server and database, without a password.
        place: String,
        /// What was found there and what to do.
        found: String,
    },
    /// A row that this program cannot have written, or a damaged file.
    #[error(
        "the store is damaged: {what}; restore it from a backup, or move it away to begin anew"
    )]
    Corrupt {
        /// The row or page, and what is wrong with it.
        what: String,
    },
    /// The database refused a statement: a mistake in this program.
    #[error("the database refused a statement: {0}")]
    Statement(#[source] sqlx::Error),
    /// A row that the caller named does not exist.
    #[error("there is no {0} in the store")]
    Missing(String),
    /// Somebody else has the work now, or its run has ended: stop, and write nothing.
    #[error("the claim on {0} was lost")]
    ClaimLost(String),
    /// A move that the run's state does not allow.
    #[error(transparent)]
    Run(#[from] run::Refused),
    /// A move that the build's state does not allow.
    #[error(transparent)]
    Build(#[from] build::Refused),
}

/// What every method of the store gives.
pub type Result<T> = std::result::Result<T, StoreError>;

impl StoreError {
    /// The same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unavailable { .. } => true,
            Self::NotOurs { .. }
            | Self::Corrupt { .. }
            | Self::Statement(_)
            | Self::Missing(_)
            | Self::ClaimLost(_)
            | Self::Run(_)
            | Self::Build(_) => false,
        }
    }

    /// A row holds what this version does not understand.
    pub(super) fn corrupt(what: impl std::fmt::Display) -> Self {
        Self::Corrupt { what: what.to_string() }
    }

    pub(super) fn unavailable(what: impl std::fmt::Display) -> Self {
        Self::Unavailable { what: what.to_string() }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        if let sqlx::Error::Database(database) = &error {
            return match database.code().as_deref().map(Code::of) {
                Some(Code::Passing) => Self::unavailable(database),
                Some(Code::Damaged) => Self::corrupt(database),
                Some(Code::Other) | None => Self::Statement(error),
            };
        }
        if matches!(error, sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_)) {
            return Self::corrupt(error);
        }
        let passing = matches!(
            error,
            sqlx::Error::Io(_)
                | sqlx::Error::Tls(_)
                | sqlx::Error::Protocol(_)
                | sqlx::Error::PoolTimedOut
                | sqlx::Error::PoolClosed
                | sqlx::Error::WorkerCrashed
                | sqlx::Error::BeginFailed
        );
        if passing { Self::unavailable(error) } else { Self::Statement(error) }
    }
}

/// What a database's error code means for us.
enum Code {
    Passing,
    Damaged,
    Other,
}

impl Code {
    /// `SQLite`'s (extended) result codes are numbers below 10,000, `PostgreSQL`'s SQLSTATEs have five
    /// characters.
    fn of(code: &str) -> Self {
        if code.len() == 5 {
            return match &code[..2] {
                // Connection, transaction rollback, resources, intervention, system.
                "08" | "40" | "53" | "57" | "58" => Self::Passing,
                "XX" => Self::Damaged,
                _ => Self::Other,
            };
        }
        match code.parse::<u32>().map(|it| it & 0xff) {
            // BUSY, LOCKED, NOMEM, READONLY, INTERRUPT, IOERR, FULL, CANTOPEN, PROTOCOL
            Ok(5..=10 | 13..=15) => Self::Passing,
            // CORRUPT, NOTADB
            Ok(11 | 26) => Self::Damaged,
            Ok(_) | Err(_) => Self::Other,
        }
    }
}
