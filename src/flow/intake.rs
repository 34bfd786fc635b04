//! A delivery, once → a decision → a run.
use std::collections::HashSet;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::domain::Timestamp;
use crate::domain::decide::{self, Admission, Decision, Facts, NewRun, Replay};
use crate::domain::id::{DeliveryId, RepositoryId};
use crate::domain::incoming::{Incoming, Repository};
use crate::domain::run::{Approval, Reason, Run, RunState, Skip};
use crate::domain::verdict::Verdict;
use crate::flow::ask::Answers;
use crate::flow::shared::Shared;
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
        let mut outcomes = Vec::new();
        for delivery in deliveries {
            let read = webhook::read(&delivery.event, &delivery.body);
            if let Some(subject) = read.as_ref().ok().and_then(subject)
                && !subjects.insert(subject)
            {
                self.commit(&mut outcomes).await?;
                subjects.clear();
                subjects.extend(read.as_ref().ok().and_then(self::subject));
            }
            let outcome = match read {
                Ok(incoming) => {
                    let (shared, owners) = (&self.shared, &self.owners);
                    let nothing = Answers::default();
                    let decision = decision(shared, owners, &delivery, &incoming, &nothing).await?;
                    decided(shared, &delivery, decision)
                }
                Err(error) => Decided::Unreadable { note: error.to_string() },
            };
            outcomes.push((delivery.guid, outcome));
        }
        self.commit(&mut outcomes).await?;
        Ok(Step::Worked)
    }
}

impl Intake {
    async fn commit(&self, decided: &mut Vec<(DeliveryId, Decided)>) -> Result<(), StoreError> {
        if decided.is_empty() {
            return Ok(());
        }
        let now = self.shared.clock.now();
        let asked = decided.iter().any(|(_, it)| matches!(it, Decided::Ask { .. }));
        let moved = self.shared.store.decide_all(std::mem::take(decided), now).await?;
        self.shared.wakeups.tell(&moved);
        if asked {
            self.shared.wakeups.ask.notify_waiters();
        }
        Ok(())
    }
}

fn subject(incoming: &Incoming) -> Option<(RepositoryId, Reason)> {
    decide::subject(incoming).map(|(repository, reason, _)| (repository.id, reason))
}

/// Gathers what a decision needs, with what was answered so far, and decides.
pub(super) async fn decision(
    shared: &Shared,
    owners: &[String],
    delivery: &StoredDelivery,
    incoming: &Incoming,
    answers: &Answers,
) -> Result<Decision, StoreError> {
    let store = &shared.store;
    let standing = match decide::subject(incoming) {
        Some((repository, reason, sha)) => store.standing(repository.id, &reason, sha).await?,
        None => decide::Standing::default(),
    };
    let replay =
        if store.replayed(delivery).await? { Replay::SeenBefore } else { Replay::FirstSeen };
    let (policy, trust) = (answers.policy(), answers.trust());
    Ok(decide::decide(incoming, &Facts { owners, replay, policy, trust, standing }))
}

/// A decision as the store carries it out.
pub(super) fn decided(shared: &Shared, delivery: &StoredDelivery, decision: Decision) -> Decided {
    let now = shared.clock.now();
    match decision {
        Decision::Ignore(note) => Decided::Ignore { note },
        Decision::Ask(question) => Decided::Ask { note: question.to_string(), not_before: now },
        Decision::Start { repository, run, supersede } => {
            let run = new_run(&repository, run, now);
            let (owner, name) = (&repository.owner, &repository.name);
            tracing::info!(
                repo = %format_args!("{owner}/{name}"),
                sha = %run.sha,
                delivery = %delivery.guid,
                "a run of {owner}/{name} at {} for {}: {}",
                run.sha.short(),
                run.reason,
                run.state.name()
            );
            Decided::Start { repository, run, supersede }
        }
        Decision::Revive { repository, run, occurred_at, supersede } => {
            Decided::Revive { repository, run, occurred_at, supersede }
        }
        Decision::Return { run, occurred_at, supersede } => {
            Decided::Return { run, occurred_at, supersede }
        }
        Decision::Cancel { runs, by } => Decided::Cancel { runs, by },
        Decision::Installation(change) => Decided::Installation(change),
    }
}

fn new_run(repository: &Repository, run: NewRun, now: Timestamp) -> Run {
    let NewRun { sha, reason, base, occurred_at, base_branch, trust, admission } = run;
    let (approval, state) = match admission {
        Admission::Admitted(approval) => {
            let (state, _) = RunState::first(&approval);
            (approval, state)
        }
        // Testing it again does not let it in either.
        Admission::Refused(problem) => {
            (Approval::Needed, RunState::Ended { verdict: Verdict::Broken { problem }, at: now })
        }
    };
    Run {
        id: new_id(),
        repository: repository.id,
        sha,
        reason,
        base,
        occurred_at,
        created_at: now,
        problem: None,
        waits: None,
        trust,
        approval,
        base_branch,
        merge: None,
        skip: Skip::default(),
        note: None,
        state,
    }
}
