//! A pull request of ours is merged: by GitHub as soon as its rules are met, or by us as soon as its
//! gate has passed. Only what we put there, and only where it changes nothing but the lock file.
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::domain::incoming::Repository;
use crate::domain::policy::{MergeBy, UpdatePolicy};
use crate::domain::run::RunState;
use crate::domain::update::life::{Outcome, Plan, Update};
use crate::domain::verdict::Verdict;
use crate::flow::updates::{Halted, Next, Updates};
use crate::github::updater::{AutoMerge, MergeAnswer, Pull, PullState};
use crate::store::pulls::{GroupPull, PullStanding};

/// A gate that has no verdict yet is looked at again after this time.
const GATE_WAIT: Duration = Duration::from_secs(15);
/// What GitHub refuses to merge may lack a check that is on its way: it is asked so often again,
const REFUSALS: u32 = 4;
/// after this time, and then after twice as long.
const REFUSED_WAIT: Duration = Duration::from_secs(2);

impl Updates {
    pub(super) async fn merge(
        &self,
        update: Update,
        (plan, number): (&Plan, i64),
        repository: &Repository,
        stop: &CancellationToken,
    ) -> Result<Next, Halted> {
        let store = &self.shared.store;
        let Some(known) = store.group_pull(repository.id, &plan.group).await? else {
            return Err(Halted::Cannot(format!("nothing is known of pull request {number}")));
        };
        let pull = self.updater.pull(repository, number).await?;
        let left = match pull.state {
            PullState::Open => None,
            PullState::Merged => Some((PullStanding::Merged, Outcome::Merged { number })),
            PullState::Closed => Some((PullStanding::Closed, Outcome::StaysClosed { number })),
        };
        if let Some((standing, outcome)) = left {
            return self.over(update, (known, standing), outcome).await;
        }
        if pull.head != known.head {
            let note = format!("pull request {number} has another commit on it: it is not merged");
            let ended = Update { note: Some(note), ..update };
            let branch = plan.branch.clone();
            return Ok(Next::with(ended.end(Outcome::StoodBack { branch }, self.now())?));
        }
        let policy = self.policy(plan, repository, stop).await?.update;
        let files = self.updater.changed_files(repository, number).await?;
        if files != [plan.path.clone()] {
            let note = format!("it is not merged by itself: it changes more than {}", plan.path);
            return self.opened(update, (plan, number), repository, (&policy, note)).await;
        }
        match policy.merge {
            // The policy of its base said so when it began.
            MergeBy::Manual => Ok(Next::with(update.end(Outcome::Opened { number }, self.now())?)),
            MergeBy::Auto => {
                match self.updater.enable_auto_merge(repository, &pull, &pull.head).await? {
                    AutoMerge::On => {
                        Ok(Next::with(update.end(Outcome::AutoMerge { number }, self.now())?))
                    }
                    // No rule asks for a check; ours does.
                    AutoMerge::Clean => {
                        self.when_green(update, (plan, &policy, known), &pull, repository).await
                    }
                    AutoMerge::Refused(said) => {
                        let note = format!("GitHub does not switch on auto-merge: {said}");
                        self.opened(update, (plan, number), repository, (&policy, note)).await
                    }
                }
            }
            MergeBy::Direct => {
                self.when_green(update, (plan, &policy, known), &pull, repository).await
            }
        }
    }

    async fn when_green(
        &self,
        update: Update,
        (plan, policy, known): (&Plan, &UpdatePolicy, GroupPull),
        pull: &Pull,
        repository: &Repository,
    ) -> Result<Next, Halted> {
        let number = pull.number;
        let gate = self.shared.store.head_of(repository.id, number).await?;
        let gate = gate.map(|it| it.run).filter(|it| it.sha == pull.head);
        match gate.map(|it| it.state) {
            Some(RunState::Ended { verdict: Verdict::Passed, .. }) => {}
            Some(RunState::Ended { .. }) => {
                let note = "it is not merged by itself: its gate has not passed".to_owned();
                return self.opened(update, (plan, number), repository, (policy, note)).await;
            }
            Some(
                RunState::AwaitingApproval
                | RunState::Requested
                | RunState::Evaluating { .. }
                | RunState::Building { .. },
            )
            | None => return Ok(Next::with(update).after(GATE_WAIT)),
        }
        match self.updater.merge(repository, number, &pull.head).await? {
            MergeAnswer::Merged => {
                self.over(update, (known, PullStanding::Merged), Outcome::Merged { number }).await
            }
            MergeAnswer::Refused(said) if update.tries < REFUSALS => {
                let wait = REFUSED_WAIT * (1 << update.tries);
                let tries = update.tries + 1;
                let note = Some(format!("GitHub refuses to merge: {said}"));
                Ok(Next::with(Update { tries, note, ..update }).after(wait))
            }
            MergeAnswer::Refused(said) => {
                let note = format!("GitHub refuses to merge: {said}");
                self.opened(update, (plan, number), repository, (policy, note)).await
            }
        }
    }

    /// A person decides about it; the pull request says why.
    async fn opened(
        &self,
        update: Update,
        (plan, number): (&Plan, i64),
        repository: &Repository,
        (policy, note): (&UpdatePolicy, String),
    ) -> Result<Next, Halted> {
        self.tell(&update, (plan, number), repository, (policy, &note)).await?;
        let update = Update { note: Some(note), ..update };
        Ok(Next::with(update.end(Outcome::Opened { number }, self.now())?))
    }

    async fn over(
        &self,
        update: Update,
        (known, standing): (GroupPull, PullStanding),
        outcome: Outcome,
    ) -> Result<Next, Halted> {
        let now = self.now();
        let known = GroupPull { standing, checked_at: now, ..known };
        self.shared.store.note_pull(&known).await?;
        Ok(Next::with(update.end(outcome, now)?))
    }
}
