//! A delivery, once → a decision → a run.
use std::collections::HashSet;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::domain::Timestamp;
use crate::domain::decide::{
    self, Act, Admission, Aim, Decision, Facts, NewRun, Reaction, Replay, Source, Standing,
};
use crate::domain::id::{DeliveryId, RepositoryId};
use crate::domain::incoming::{Comment, Incoming, Press, Repository, Rerun, RerunOf};
use crate::domain::run::{Approval, Reason, Run, RunState, Skip};
use crate::domain::update::life::{Cause, Update};
use crate::domain::verdict::Verdict;
use crate::flow::ask::Answers;
use crate::flow::shared::Shared;
use crate::flow::{Stage, Step, new_id};
use crate::github::webhook;
use crate::store::decide::Decided;
use crate::store::deliveries::StoredDelivery;
use crate::store::reactions::NewReaction;
use crate::store::{Event, Store, StoreError};

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
            let by_person = read.as_ref().is_ok_and(is_by_person);
            let subject = read.as_ref().ok().and_then(subject);
            let is_new = subject.as_ref().is_none_or(|it| !subjects.contains(it));
            // What a person asks for may concern any run: what was decided before must be seen.
            if !is_new || by_person {
                self.commit(&mut outcomes).await?;
                subjects.clear();
            }
            subjects.extend(subject);
            let outcome = match read {
                Ok(incoming) => {
                    let (shared, owners) = (&self.shared, &self.owners);
                    let nothing = Answers::default();
                    let decision = decision(shared, owners, &delivery, &incoming, &nothing).await?;
                    decided(shared, &delivery, &incoming, decision)
                }
                Err(error) => Decided::Unreadable { note: error.to_string() },
            };
            let is_wide = matches!(outcome, Decided::Installation(_) | Decided::Repositories(_));
            outcomes.push((delivery.guid, outcome));
            if by_person || is_wide {
                // What the next one means depends on it, whichever branch that is about.
                self.commit(&mut outcomes).await?;
                subjects.clear();
            }
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
            self.shared.wakeups.say(Event::DeliveryAsks);
        }
        Ok(())
    }
}

fn subject(incoming: &Incoming) -> Option<(RepositoryId, Reason)> {
    decide::subject(incoming).map(|(repository, reason, _)| (repository.id, reason))
}

fn is_by_person(incoming: &Incoming) -> bool {
    match incoming {
        Incoming::Rerun(_) | Incoming::Press(_) | Incoming::Comment(_) => true,
        Incoming::Push(_)
        | Incoming::PullRequest(_)
        | Incoming::MergeGroup(_)
        | Incoming::Installation(_)
        | Incoming::Repositories(_)
        | Incoming::Ignored(_) => false,
    }
}

/// What a click or a comment is about.
async fn aim(store: &Store, incoming: &Incoming) -> Result<Aim, StoreError> {
    Ok(match incoming {
        Incoming::Rerun(Rerun { repository, sha, of: RerunOf::Check(check) })
        | Incoming::Press(Press { repository, sha, check, .. }) => {
            Aim::Check(store.clicked(repository.id, sha, check).await?)
        }
        Incoming::Rerun(Rerun { repository, sha, of: RerunOf::Suite { .. } }) => {
            Aim::Commit(store.runs_on(repository.id, sha).await?)
        }
        Incoming::Comment(Comment { repository, id, number, .. }) => Aim::PullRequest {
            head: store.head_of(repository.id, *number).await?,
            seen: store.seen_comment(*id).await?,
        },
        Incoming::Push(_)
        | Incoming::PullRequest(_)
        | Incoming::MergeGroup(_)
        | Incoming::Installation(_)
        | Incoming::Repositories(_)
        | Incoming::Ignored(_) => Aim::Nothing,
    })
}

/// GitHub's clock and ours may differ by so much.
const CLOCKS_MS: i64 = 2 * 60_000;
/// Deliveries that are looked through for what happened within one second.
const MOST_TOLD: i64 = 256;

/// What stands, with the steps that tell the order of what GitHub dates alike.
async fn standing(
    store: &Store,
    delivery: &StoredDelivery,
    incoming: &Incoming,
) -> Result<Standing, StoreError> {
    let Some((repository, reason, sha)) = decide::subject(incoming) else {
        return Ok(Standing::default());
    };
    let mut standing = store.standing(repository.id, &reason, sha).await?;
    let (Some(newest), Some(at)) = (&standing.newest, decide::head_at(incoming)) else {
        return Ok(standing);
    };
    if !decide::is_tie(sha, at, newest) {
        return Ok(standing);
    }
    let since = at.plus(-CLOCKS_MS);
    for told in store.told_since(repository.id, &delivery.event, since, MOST_TOLD).await? {
        // What we made ourselves may leave out what came in between.
        if Source::of(&told.guid) == Source::Recovered {
            continue;
        }
        let Ok(other) = webhook::read(&told.event, &told.body) else { continue };
        let is_same = decide::subject(&other)
            .is_some_and(|(it, its, _)| it.id == repository.id && its == reason);
        let step = is_same.then(|| decide::step(told.guid, &other)).flatten();
        standing.steps.extend(step.filter(|it| it.occurred_at.second() == at.second()));
    }
    Ok(standing)
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
    let standing = standing(store, delivery, incoming).await?;
    let replay =
        if store.replayed(delivery).await? { Replay::SeenBefore } else { Replay::FirstSeen };
    let (policy, trust) = (answers.policy(), answers.trust());
    let aim = aim(store, incoming).await?;
    let source = Source::of(&delivery.guid);
    Ok(decide::decide(incoming, &Facts { owners, replay, policy, trust, source, standing, aim }))
}

/// A decision as the store carries it out.
pub(super) fn decided(
    shared: &Shared,
    delivery: &StoredDelivery,
    incoming: &Incoming,
    decision: Decision,
) -> Decided {
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
        Decision::Revive { repository, run, occurred_at, rebase, supersede } => {
            Decided::Revive { repository, run, occurred_at, rebase, supersede }
        }
        Decision::Return { run, occurred_at, rebase, supersede } => {
            Decided::Return { run, occurred_at, rebase, supersede }
        }
        Decision::Gone { gone, cancel, note } => Decided::Gone { gone, cancel, note },
        Decision::Reconsider { delivery, note } => Decided::Reconsider { delivery, note },
        Decision::Rejudge { run, rebase, occurred_at } => {
            tracing::info!(run.id = %run, "run {run} is judged against {}", rebase.base.short());
            Decided::Rejudge { run, rebase, occurred_at }
        }
        Decision::Installation(change) => Decided::Installation(change),
        Decision::Repositories(changes) => Decided::Repositories(changes),
        Decision::Update { repository, by } => {
            let Repository { owner, name, .. } = &repository;
            tracing::info!(%by, "{by} asks for an update of {owner}/{name}");
            let cause = Cause::Comment { by };
            let update = Update::new(new_id(), repository.id, cause, now);
            Decided::Update { update, reaction: owed(incoming, Reaction::Done) }
        }
        Decision::Act { acts, reaction } => {
            acts.iter().for_each(tell);
            Decided::Act { acts, reaction: reaction.and_then(|it| owed(incoming, it)) }
        }
    }
}

/// The reaction that a comment is owed.
fn owed(incoming: &Incoming, reaction: Reaction) -> Option<NewReaction> {
    let Incoming::Comment(comment) = incoming else { return None };
    Some(NewReaction { repository: comment.repository.clone(), comment: comment.id, reaction })
}

fn tell(act: &Act) {
    match act {
        Act::Again(it) => {
            tracing::info!(run.id = %it.run, "run {} is tested again: {} builds", it.run, it.builds.len());
        }
        Act::Approve { run, by } => {
            tracing::info!(run.id = %run, %by, "run {run} was approved by {by}");
        }
        Act::Cancel { run, by } => {
            tracing::info!(run.id = %run, %by, "run {run} was cancelled by {by}");
        }
        Act::Note { run, text, .. } => {
            tracing::info!(run.id = %run, "a click on run {run} was refused: {text}");
        }
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
        lock: None,
        note: None,
        state,
    }
}
