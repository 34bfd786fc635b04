//! Attempts that ended → their logs in the bucket, from where every instance reads them.
//!
//! What is there lies here as a copy, for as long as somebody reads it. A crash between a log's way
//! there and its mark in the store sends it once more, to the same name. What runs forgotten after
//! their time leave in the bucket is removed, and only then leaves the store: where that fails it is
//! tried again, by whichever instance looks next, and where the settings have no bucket any more the
//! rows wait until they have it again.
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, StreamExt as _};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::domain::Timestamp;
use crate::domain::id::AttemptId;
use crate::flow::shared::Shared;
use crate::flow::sweep::KEEP_RUNS_MS;
use crate::flow::{Stage, Step};
use crate::nix::log::archive::{Archive, ArchiveError};
use crate::store::StoreError;
use crate::store::archived::Archived;
use crate::telemetry;

/// How often it looks without a wakeup.
pub const PERIOD: Duration = Duration::from_secs(10);

/// Logs that are carried before the store is told.
const PORTION: i64 = 50;
/// Logs on their way at once. Each is in memory, packed.
const AT_ONCE: usize = 4;
/// What will be forgotten within a day is not carried: nobody would know that it is there.
const FORGOTTEN_SOON_MS: i64 = 86_400_000;
/// A copy that nobody has read for so long is removed.
const COPY_MS: i64 = 3_600_000;
/// Between two looks for such copies.
const TIDY_MS: i64 = 600_000;
/// Copies that the store is asked about at once.
const ASKED: usize = 200;

/// Carries this instance's logs to the bucket.
pub struct Carry {
    shared: Arc<Shared>,
    archive: Arc<Archive>,
    /// When copies were looked at last.
    tidied: Mutex<Option<Timestamp>>,
}

/// What a look could not do; the next one tries again.
#[derive(Debug, thiserror::Error)]
pub enum CarryError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("logs: {0}")]
    Archive(#[from] ArchiveError),
    #[error("copies of logs: {0}")]
    Copies(#[from] std::io::Error),
}

impl Carry {
    pub fn new(shared: Arc<Shared>, archive: Arc<Archive>) -> Self {
        Self { shared, archive, tidied: Mutex::default() }
    }

    /// A portion of logs goes to the bucket; how many did.
    async fn carry(&self, stop: &CancellationToken) -> Result<usize, CarryError> {
        let (store, clock) = (&self.shared.store, &self.shared.clock);
        let now = clock.now();
        let since = now.plus(FORGOTTEN_SOON_MS - KEEP_RUNS_MS);
        let all = store.unarchived(&self.shared.owner, since, now, PORTION).await?;
        let mut carried = Vec::with_capacity(all.len());
        let mut failed = Vec::new();
        let mut puts = stream::iter(all).map(|it| self.put(it)).buffer_unordered(AT_ONCE);
        // What is on its way when the service ends begins anew at its next start.
        while let Some(put) = tokio::select! {
            put = puts.next() => put,
            () = stop.cancelled() => None,
        } {
            match put {
                Ok(put) => carried.push(put),
                Err(error) => failed.push(error),
            }
            if carried.is_empty() && failed.len() == AT_ONCE {
                break; // The bucket is away: the others of the portion would find the same.
            }
        }
        drop(puts);
        store.set_archived(&carried, clock.now()).await?;
        let stored = carried.iter().filter(|(_, it)| *it == Archived::Stored).count();
        metrics::counter!(telemetry::LOGS_ARCHIVED).increment(stored as u64);
        match failed.into_iter().next() {
            Some(error) => Err(error.into()),
            None => Ok(carried.len()),
        }
    }

    async fn put(&self, attempt: AttemptId) -> Result<(AttemptId, Archived), ArchiveError> {
        let archived = match self.archive.put(&attempt).await {
            Ok(true) => Archived::Stored,
            Ok(false) => Archived::Nothing,
            Err(ArchiveError::Here(error)) if error.kind() == std::io::ErrorKind::InvalidData => {
                tracing::warn!(attempt.id = %attempt, "the log of attempt {attempt} stays here alone: {error}");
                Archived::Nothing
            }
            Err(error) => return Err(error),
        };
        Ok((attempt, archived))
    }

    /// A portion of what nothing shows any more leaves the bucket; how much did.
    async fn forget(&self) -> Result<usize, CarryError> {
        let store = &self.shared.store;
        let before = self.shared.clock.now().plus(-KEEP_RUNS_MS);
        let all = store.archived_unshown(before, PORTION).await?;
        let mut removed = Vec::with_capacity(all.len());
        for attempt in all {
            if let Err(error) = self.archive.remove(&attempt).await {
                store.forget_attempts(&removed).await?;
                return Err(error.into());
            }
            self.shared.logs.remove(&attempt)?;
            removed.push(attempt);
        }
        store.forget_attempts(&removed).await?;
        Ok(removed.len())
    }

    /// Removes copies that nobody reads, and what is left of attempts that other instances forgot.
    async fn tidy(&self) -> Result<(), CarryError> {
        let now = self.shared.clock.now();
        let mut tidied = self.tidied.lock().await;
        if tidied.is_some_and(|last| now.since(last) < TIDY_MS) {
            return Ok(());
        }
        let logs = self.shared.logs.clone();
        let unused = tokio::task::spawn_blocking(move || logs.unused(now.plus(-COPY_MS))).await;
        for unused in unused.map_err(std::io::Error::other)??.chunks(ASKED) {
            let ids: Vec<AttemptId> = unused.iter().map(|(attempt, _)| attempt.clone()).collect();
            let known = self.shared.store.archived_of(&ids).await?;
            for (attempt, used) in unused {
                // Another store's logs, if somebody has mistaken the settings, are not ours to remove.
                let forgotten = *used < now.plus(-KEEP_RUNS_MS);
                if known.get(attempt).copied().unwrap_or(forgotten) {
                    self.shared.logs.remove(attempt)?;
                }
            }
        }
        *tidied = Some(now);
        Ok(())
    }
}

impl Stage for Carry {
    const NAME: &'static str = "archive";
    type Error = CarryError;

    async fn step(&self, stop: &CancellationToken) -> Result<Step, CarryError> {
        let moved = self.carry(stop).await? + self.forget().await?;
        self.tidy().await?;
        Ok(if moved > 0 { Step::Worked } else { Step::Idle })
    }
}
