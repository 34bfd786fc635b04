//! Commits that no run is about any more leave the mirrors, once a day.
use std::sync::Arc;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::domain::Timestamp;
use crate::domain::id::RepositoryId;
use crate::flow::shared::Shared;
use crate::nix::git::{Collected, GitError, Mirrors};
use crate::store::StoreError;

/// All mirrors are gone through this often: runs are forgotten after 90 days, so a day more or
/// less is nothing, and git has much to write.
const EVERY_MS: i64 = 86_400_000;
/// And again so soon, when some were in use.
const AGAIN_MS: i64 = 3_600_000;

/// Goes through the mirrors beside the sweep, since git may take long; one mirror at a time.
pub(super) struct Upkeep {
    shared: Arc<Shared>,
    mirrors: Arc<Mirrors>,
    due: Timestamp,
    /// The one pass, if it is on its way; dropped with the stage, and its git with it.
    pass: JoinSet<Left>,
}

/// Whether a pass has left something for the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    Nothing,
    Something,
}

/// Why a mirror was not tidied up.
#[derive(Debug, thiserror::Error)]
enum Untidied {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Git(#[from] GitError),
}

impl Upkeep {
    /// The first look begins a pass: the last process may have left one half done.
    pub(super) fn new(shared: Arc<Shared>, mirrors: Arc<Mirrors>) -> Self {
        Self { shared, mirrors, due: Timestamp(0), pass: JoinSet::new() }
    }

    /// Begins a pass when one is due and none is on its way.
    pub(super) fn look(&mut self, stop: &CancellationToken) {
        let now = self.shared.clock.now();
        while let Some(ended) = self.pass.try_join_next() {
            match ended {
                Ok(Left::Nothing) => {}
                Ok(Left::Something) => self.due = self.due.min(now.plus(AGAIN_MS)),
                Err(error) => tracing::error!(%error, "the upkeep of mirrors died: {error}"),
            }
        }
        if !self.pass.is_empty() || now < self.due {
            return;
        }
        self.due = now.plus(EVERY_MS);
        let (shared, mirrors) = (self.shared.clone(), self.mirrors.clone());
        let stop = stop.clone();
        self.pass.spawn(async move { pass(&shared, &mirrors, &stop).await });
    }
}

async fn pass(shared: &Shared, mirrors: &Mirrors, stop: &CancellationToken) -> Left {
    let all = match mirrors.all().await {
        Ok(all) => all,
        Err(error) => {
            tracing::warn!(%error, "the mirrors cannot be tidied up: {error}");
            return Left::Something;
        }
    };
    let mut left = Left::Nothing;
    for repository in all {
        match tidy(shared, mirrors, repository, stop).await {
            Ok(Collected::Done) => {}
            Ok(Collected::Interrupted) => left = Left::Something,
            Err(Untidied::Git(GitError::Cancelled)) => return Left::Something,
            Err(error) => {
                let id = repository.0;
                tracing::warn!(repo.id = id, %error, "the mirror of repository {id} cannot be tidied up: {error}");
            }
        }
    }
    left
}

/// What a mirror must keep is asked for when nobody else has it: a run that comes later finds it
/// taken and waits.
async fn tidy(
    shared: &Shared,
    mirrors: &Mirrors,
    repository: RepositoryId,
    stop: &CancellationToken,
) -> Result<Collected, Untidied> {
    let Some(alone) = mirrors.alone(repository) else { return Ok(Collected::Interrupted) };
    let commits = shared.store.commits_of_runs(repository).await?;
    if commits.is_empty() {
        alone.remove().await?;
        tracing::info!(
            repo.id = repository.0,
            "the mirror of repository {} is removed: no run of it is kept",
            repository.0
        );
        return Ok(Collected::Done);
    }
    Ok(alone.keep(&commits, stop).await?)
}
