//! Comments that were commands get the reaction that they are owed.
//!
//! A row, not an effect after the decision: a crash, a refusal and a limit of GitHub's only delay it.
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::flow::shared::Shared;
use crate::flow::{Stage, Step};
use crate::github::client::{Github, GithubError};
use crate::store::StoreError;

/// Shows reactions.
pub struct React {
    shared: Arc<Shared>,
    github: Arc<Github>,
}

/// After so many refusals, over some twenty minutes, a reaction is let go: what was ordered is done
/// all the same.
const MOST_TRIES: u32 = 10;

impl React {
    pub fn new(shared: Arc<Shared>, github: Arc<Github>) -> Self {
        Self { shared, github }
    }
}

impl Stage for React {
    const NAME: &'static str = "react";
    type Error = StoreError;

    async fn step(&self, _: &CancellationToken) -> Result<Step, StoreError> {
        let (store, now) = (&self.shared.store, self.shared.clock.now());
        let Some(owed) = store.owed_reaction(now).await? else { return Ok(Step::Idle) };
        let shown = self.github.react(&owed.repository, owed.comment, owed.reaction).await;
        let now = self.shared.clock.now();
        let Err(error) = shown else {
            store.reaction_shown(owed.comment, now).await?;
            return Ok(Step::Worked);
        };
        if owed.tries >= MOST_TRIES || matches!(error, GithubError::Gone(_)) {
            tracing::warn!(comment = owed.comment, "a comment gets no reaction: {error}");
            store.reaction_given_up(owed.comment, now).await?;
            return Ok(Step::Worked);
        }
        let wait = match &error {
            GithubError::Weather { retry_after: Some(asked), .. } => *asked,
            GithubError::Weather { .. }
            | GithubError::Gone(_)
            | GithubError::Forbidden(_)
            | GithubError::Rejected { .. }
            | GithubError::Unauthenticated { .. }
            | GithubError::Setup(_) => Duration::from_secs(1 << owed.tries.min(8)),
        };
        tracing::warn!(comment = owed.comment, "a comment gets its reaction in {wait:?}: {error}");
        let wait = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
        store.reaction_failed(owed.comment, now.plus(wait)).await?;
        Ok(Step::Worked)
    }
}
