//! A delivery, once → a decision → a run.
use std::collections::HashSet;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::domain::decide::{self, Decision, Facts, PolicyFact, Replay};
use crate::domain::id::{DeliveryId, RepositoryId};
use crate::domain::incoming::Incoming;
use crate::domain::policy::Policy;
use crate::domain::run::{Reason, Run, RunState};
use crate::flow::shared::Shared;
use crate::flow::source::{self, Commits, SourceError};
use crate::flow::{Stage, Step, new_id};
use crate::github::webhook;
use crate::store::StoreError;
use crate::store::decide::Decided;
use crate::store::deliveries::StoredDelivery;

/// Decides the deliveries that the webhook accepted.
pub struct Intake {
    shared: Arc<Shared>,
    /// `github.owners`, in lower case.
    owners: Vec<String>,
}

/// Deliveries taken from the store at a time.
const BATCH: i64 = 64;

impl Intake {
    pub fn new(shared: Arc<Shared>, owners: Vec<String>) -> Self {
        Self { shared, owners }
    }
}

impl Stage for Intake {
    const NAME: &'static str = "intake";
    type Error = StoreError;

    async fn step(&self, _: &CancellationToken) -> Result<Step, StoreError> {
        let deliveries = self.shared.store.undecided(BATCH).await?;
        if deliveries.is_empty() {
            return Ok(Step::Idle);
        }
        // One transaction for many, as long as no two are about the same branch or pull request:
        // what the second means depends on what the first did.
        let mut subjects = HashSet::new();
        let mut decided = Vec::new();
        for delivery in deliveries {
            let read = webhook::read(&delivery.event, delivery.body.as_bytes());
            if let Some(subject) = read.as_ref().ok().and_then(subject)
                && !subjects.insert(subject)
            {
                self.commit(&mut decided).await?;
                subjects.clear();
                subjects.extend(read.as_ref().ok().and_then(self::subject));
            }
            let outcome = match read {
                Ok(incoming) => {
                    decide(&self.shared, &self.owners, &delivery, &incoming, PolicyFact::Unasked)
                        .await?
                }
                Err(error) => Decided::Unreadable { note: error.to_string() },
            };
            decided.push((delivery.guid, outcome));
        }
        self.commit(&mut decided).await?;
        Ok(Step::Worked)
    }
}

impl Intake {
    async fn commit(&self, decided: &mut Vec<(DeliveryId, Decided)>) -> Result<(), StoreError> {
        if decided.is_empty() {
            return Ok(());
        }
        let now = self.shared.clock.now();
        let asked = decided.iter().any(|(_, it)| matches!(it, Decided::AskPolicy { .. }));
        let moved = self.shared.store.decide_all(std::mem::take(decided), now).await?;
        self.shared.wakeups.tell(&moved);
        if asked {
            self.shared.wakeups.branch_policy.notify_waiters();
        }
        Ok(())
    }
}

fn subject(incoming: &Incoming) -> Option<(RepositoryId, Reason)> {
    decide::subject(incoming).map(|(repository, reason, _)| (repository.id, reason))
}

/// Gathers what a decision needs and decides.
async fn decide(
    shared: &Shared,
    owners: &[String],
    delivery: &StoredDelivery,
    incoming: &Incoming,
    policy: PolicyFact<'_>,
) -> Result<Decided, StoreError> {
    let store = &shared.store;
    let standing = match decide::subject(incoming) {
        Some((repository, reason, sha)) => store.standing(repository.id, &reason, sha).await?,
        None => decide::Standing::default(),
    };
    let replay =
        if store.replayed(delivery).await? { Replay::SeenBefore } else { Replay::FirstSeen };
    let now = shared.clock.now();
    Ok(match decide::decide(incoming, &Facts { owners, replay, policy, standing }) {
        Decision::Ignore(note) => Decided::Ignore { note },
        Decision::AskPolicy { sha, .. } => Decided::AskPolicy {
            note: format!("the policy of {} decides", sha.short()),
            not_before: now,
        },
        Decision::Start { repository, run, supersede } => {
            let (state, _) = RunState::first(run.trust);
            let (owner, name) = (&repository.owner, &repository.name);
            tracing::info!(
                repo = %format_args!("{owner}/{name}"),
                sha = %run.sha,
                delivery = %delivery.guid,
                "a run of {owner}/{name} at {} for {}: {}",
                run.sha.short(),
                run.reason,
                state.name()
            );
            let run = Run {
                id: new_id(),
                repository: repository.id,
                sha: run.sha,
                reason: run.reason,
                base: run.base,
                occurred_at: run.occurred_at,
                created_at: now,
                problem: None,
                waits: None,
                state,
            };
            Decided::Start { repository, run, supersede }
        }
        Decision::Revive { repository, run, occurred_at, supersede } => {
            Decided::Revive { repository, run, occurred_at, supersede }
        }
        Decision::Return { run, occurred_at, supersede } => {
            Decided::Return { run, occurred_at, supersede }
        }
        Decision::Installation(change) => Decided::Installation(change),
    })
}

/// Decides the pushes to branches of which only the pushed commit's policy knows whether they are
/// built. A stage of its own, because a fetch takes seconds and other deliveries must not wait.
pub struct BranchPolicy {
    shared: Arc<Shared>,
    owners: Vec<String>,
    commits: Commits,
}

impl BranchPolicy {
    pub fn new(shared: Arc<Shared>, owners: Vec<String>, commits: Commits) -> Self {
        Self { shared, owners, commits }
    }

    async fn read(
        &self,
        incoming: &Incoming,
        stop: &CancellationToken,
    ) -> Result<Option<Policy>, SourceError> {
        let Some((repository, _, sha)) = decide::subject(incoming) else { return Ok(None) };
        let mirror = self.commits.fetch(repository, sha, stop).await?;
        match source::policy(&mirror, sha).await {
            Ok(policy) => Ok(Some(policy)),
            // The run's gate will say what is wrong with the file.
            Err(SourceError::Author(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Stage for BranchPolicy {
    const NAME: &'static str = "branch policy";
    type Error = StoreError;

    async fn step(&self, stop: &CancellationToken) -> Result<Step, StoreError> {
        let now = self.shared.clock.now();
        let Some(delivery) = self.shared.store.asking_policy(now, 1).await?.pop() else {
            return Ok(Step::Idle);
        };
        let decided = match webhook::read(&delivery.event, delivery.body.as_bytes()) {
            Err(error) => Decided::Unreadable { note: error.to_string() },
            Ok(incoming) => match self.read(&incoming, stop).await {
                Ok(policy) => {
                    let fact = policy.as_ref().map_or(PolicyFact::Unreadable, PolicyFact::Read);
                    decide(&self.shared, &self.owners, &delivery, &incoming, fact).await?
                }
                Err(SourceError::Cancelled) => return Ok(Step::Idle),
                Err(SourceError::Author(problem)) => Decided::Ignore { note: problem.headline },
                Err(SourceError::Internal { number }) => {
                    Decided::Ignore { note: format!("fault {number}: see the log") }
                }
                Err(SourceError::Weather { what, retry_after }) => {
                    let wait = retry_after.map_or(60_000, |it| it.as_millis().min(3_600_000));
                    let wait = i64::try_from(wait).unwrap_or(60_000);
                    Decided::AskPolicy { note: what, not_before: now.plus(wait) }
                }
            },
        };
        let now = self.shared.clock.now();
        let moved = self.shared.store.decide_all(vec![(delivery.guid, decided)], now).await?;
        self.shared.wakeups.tell(&moved);
        Ok(Step::Worked)
    }
}
