//! Answers what a decision must know first: a policy, what grants power, what an account may do.
//!
//! A stage of its own, because a fetch and a call take seconds and other deliveries must not wait.
//! Whatever is asked is asked at that moment: an answer is never kept for another decision.
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::domain::decide::{Decision, Permission, PolicyFact, Question, TrustFacts};
use crate::domain::id::Login;
use crate::domain::incoming::{Incoming, Repository};
use crate::domain::policy::{Policy, TrustPolicy};
use crate::flow::intake;
use crate::flow::shared::Shared;
use crate::flow::source::{self, Commits, SourceError};
use crate::flow::{Stage, Step};
use crate::github::client::{Github, GithubError};
use crate::github::webhook;
use crate::store::StoreError;
use crate::store::decide::Decided;
use crate::store::deliveries::StoredDelivery;

/// Decides the deliveries that had to ask.
pub struct Ask {
    shared: Arc<Shared>,
    /// `github.owners`, in lower case.
    owners: Vec<String>,
    commits: Commits,
    github: Arc<Github>,
}

/// What was answered so far about one delivery.
#[derive(Debug, Default)]
pub(super) struct Answers {
    policy: PolicyAnswer,
    trust: Option<TrustFacts>,
}

#[derive(Debug, Default)]
enum PolicyAnswer {
    #[default]
    Unasked,
    Read(Box<Policy>),
    Unreadable,
}

/// A decision asks for a policy and for trust at most.
const MOST_QUESTIONS: usize = 2;

impl Answers {
    pub(super) fn policy(&self) -> PolicyFact<'_> {
        match &self.policy {
            PolicyAnswer::Unasked => PolicyFact::Unasked,
            PolicyAnswer::Unreadable => PolicyFact::Unreadable,
            PolicyAnswer::Read(policy) => PolicyFact::Read(policy),
        }
    }

    pub(super) fn trust(&self) -> Option<&TrustFacts> {
        self.trust.as_ref()
    }
}

/// Why there is no decision yet.
#[derive(Debug, thiserror::Error)]
enum Undecided {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Source(#[from] SourceError),
}

impl Stage for Ask {
    const NAME: &'static str = "ask";
    type Error = StoreError;

    async fn step(&self, stop: &CancellationToken) -> Result<Step, StoreError> {
        let now = self.shared.clock.now();
        let Some(delivery) = self.shared.store.asking(now, 1).await?.pop() else {
            return Ok(Step::Idle);
        };
        let decided = match webhook::read(&delivery.event, &delivery.body) {
            Err(error) => Decided::Unreadable { note: error.to_string() },
            Ok(incoming) => match self.decide(&delivery, &incoming, stop).await {
                Ok(decided) => decided,
                Err(Undecided::Store(error)) => return Err(error),
                Err(Undecided::Source(SourceError::Cancelled)) => return Ok(Step::Idle),
                Err(Undecided::Source(SourceError::Author(problem))) => {
                    Decided::Ignore { note: problem.headline }
                }
                Err(Undecided::Source(SourceError::Internal { number })) => {
                    Decided::Ignore { note: format!("fault {number}: see the log") }
                }
                Err(Undecided::Source(SourceError::Weather { what, retry_after })) => {
                    let wait = retry_after.map_or(60_000, |it| it.as_millis().min(3_600_000));
                    let wait = i64::try_from(wait).unwrap_or(60_000);
                    Decided::Ask { note: what, not_before: now.plus(wait) }
                }
            },
        };
        let now = self.shared.clock.now();
        let moved = self.shared.store.decide_all(vec![(delivery.guid, decided)], now).await?;
        self.shared.wakeups.tell(&moved);
        Ok(Step::Worked)
    }
}

impl Ask {
    pub fn new(
        shared: Arc<Shared>,
        owners: Vec<String>,
        commits: Commits,
        github: Arc<Github>,
    ) -> Self {
        Self { shared, owners, commits, github }
    }

    /// Decides, and answers what that needs, until nothing more is asked.
    async fn decide(
        &self,
        delivery: &StoredDelivery,
        incoming: &Incoming,
        stop: &CancellationToken,
    ) -> Result<Decided, Undecided> {
        let mut answers = Answers::default();
        for _ in 0..MOST_QUESTIONS {
            let decision =
                intake::decision(&self.shared, &self.owners, delivery, incoming, &answers).await?;
            let Decision::Ask(question) = decision else {
                return Ok(intake::decided(&self.shared, delivery, incoming, decision));
            };
            self.answer(question, &mut answers, stop).await?;
        }
        let decision =
            intake::decision(&self.shared, &self.owners, delivery, incoming, &answers).await?;
        Ok(intake::decided(&self.shared, delivery, incoming, decision))
    }

    async fn answer(
        &self,
        question: Question,
        answers: &mut Answers,
        stop: &CancellationToken,
    ) -> Result<(), SourceError> {
        match question {
            Question::Policy { repository, sha } => {
                let mirror = self.commits.fetch(&repository, &sha, stop).await?;
                answers.policy = match source::policy(&mirror, &sha).await {
                    Ok(policy) => PolicyAnswer::Read(Box::new(policy)),
                    // The run's gate will say what is wrong with the file.
                    Err(SourceError::Author(_)) => PolicyAnswer::Unreadable,
                    Err(error) => return Err(error),
                };
            }
            Question::Trust { repository, account } => {
                let permission = match account {
                    Some(account) => self.permission(&repository, &account).await?,
                    None => Permission::None,
                };
                let policy = self.trust_policy(&repository, stop).await?;
                answers.trust = Some(TrustFacts { policy, permission });
            }
        }
        Ok(())
    }

    /// An account that GitHub does not know in this repository may do nothing.
    async fn permission(
        &self,
        repository: &Repository,
        account: &Login,
    ) -> Result<Permission, SourceError> {
        match self.github.permission(repository, account).await {
            Ok(permission) => Ok(permission),
            Err(GithubError::Gone(_)) => Ok(Permission::None),
            Err(error) => Err(source::from_github(error)),
        }
    }

    /// `[trust]` at the default branch's tip. A policy that cannot be read grants nothing.
    async fn trust_policy(
        &self,
        repository: &Repository,
        stop: &CancellationToken,
    ) -> Result<TrustPolicy, SourceError> {
        let read = async {
            let tip = self.commits.tip(repository, &repository.default_branch, stop).await?;
            let mirror = self.commits.fetch(repository, &tip, stop).await?;
            source::policy(&mirror, &tip).await
        };
        match read.await {
            Ok(policy) => Ok(policy.trust),
            Err(SourceError::Author(_)) => Ok(TrustPolicy::default()),
            Err(error) => Err(error),
        }
    }
}
