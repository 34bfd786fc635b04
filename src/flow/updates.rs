//! An update of a lock file that is wanted → lock files that are tried, a run for each → a pull
//! request that is known to be good.
//!
//! A step takes an update, does the next thing about it and writes down where it stands: the newest
//! revisions are looked up (`look`); one lock file after the other is tried, as
//! [`Search`](crate::domain::update::search::Search) says (`search`); the histories of inputs that
//! break hosts are looked through where the policy wishes so (`bisect`); what may move becomes a
//! commit that GitHub makes and signs, and a pull request (`propose`); and that is merged where the
//! policy wishes so (`merge`). Each can be done again after a crash: what GitHub has already is found
//! there.
mod bisect;
mod look;
mod merge;
mod propose;
mod search;
mod words;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::domain::Timestamp;
use crate::domain::incoming::Repository;
use crate::domain::link::Links;
use crate::domain::policy::Policy;
use crate::domain::run::Run;
use crate::domain::update::life::{Outcome, Plan, Refused, Update, UpdateState};
use crate::flow::evaluate::{Interrupted, LEASE, Tools, millis};
use crate::flow::fault;
use crate::flow::shared::Shared;
use crate::flow::source::{self, Commits, SourceError};
use crate::flow::update::copy::CopyError;
use crate::flow::{Stage, Step};
use crate::github::client::GithubError;
use crate::github::updater::Updater;
use crate::nix::eval::EvalError;
use crate::store::StoreError;
use crate::store::trials::{NewTrial, TrialFacts};
use crate::store::updates::{Left, UpdateClaim};

/// Longest wait after weather.
const LONGEST_WAIT: Duration = Duration::from_mins(30);

/// One lane: goes on with an update at a time.
pub struct Updates {
    shared: Arc<Shared>,
    tools: Arc<Tools>,
    commits: Commits,
    updater: Updater,
    links: Links,
    /// Where copies of repositories are made, for Nix to lock.
    scratch: PathBuf,
    /// Held by whoever opens a pull request, and a second longer: nothing is throttled by GitHub as
    /// what notifies people is.
    opening: Arc<Mutex<()>>,
}

/// What a step has made of an update.
struct Next {
    update: Update,
    siblings: Vec<Update>,
    trial: Option<(Run, NewTrial, TrialFacts)>,
    report: Option<String>,
    wait: Duration,
}

impl Next {
    fn with(update: Update) -> Self {
        Self { update, siblings: vec![], trial: None, report: None, wait: Duration::ZERO }
    }

    fn after(self, wait: Duration) -> Self {
        Self { wait, ..self }
    }

    fn report(self, report: String) -> Self {
        Self { report: Some(report), ..self }
    }
}

/// Why a step did not come to its end.
#[derive(Debug, thiserror::Error)]
enum Halted {
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    #[error(transparent)]
    Github(#[from] GithubError),
    /// It cannot be done; says why, and what to do.
    #[error("{0}")]
    Cannot(String),
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error(transparent)]
    Copy(#[from] CopyError),
}

impl From<StoreError> for Halted {
    fn from(error: StoreError) -> Self {
        Self::Interrupted(error.into())
    }
}

impl From<SourceError> for Halted {
    fn from(error: SourceError) -> Self {
        Self::Interrupted(error.into())
    }
}

impl From<EvalError> for Halted {
    fn from(error: EvalError) -> Self {
        Self::Interrupted(error.into())
    }
}

/// What becomes of an update that halted.
enum Verdict {
    Stopped,
    Lost,
    Store(StoreError),
    Weather { what: String, retry_after: Option<Duration> },
    Cannot(String),
}

impl Halted {
    fn verdict(self) -> Verdict {
        let fault = |error: &(dyn std::error::Error + 'static)| {
            let number = fault::number("an update", error);
            Verdict::Cannot(internal(&number))
        };
        match self {
            Self::Interrupted(
                Interrupted::Stopped | Interrupted::Source(SourceError::Cancelled),
            ) => Verdict::Stopped,
            Self::Interrupted(Interrupted::Store(StoreError::ClaimLost(_))) => Verdict::Lost,
            Self::Interrupted(Interrupted::Store(error)) => Verdict::Store(error),
            Self::Interrupted(Interrupted::Source(SourceError::Weather { what, retry_after }))
            | Self::Github(GithubError::Weather { what, retry_after }) => {
                Verdict::Weather { what, retry_after }
            }
            Self::Interrupted(Interrupted::Source(SourceError::Author(problem))) => {
                Verdict::Cannot(problem.headline)
            }
            Self::Interrupted(Interrupted::Source(SourceError::Internal { number })) => {
                Verdict::Cannot(internal(&number))
            }
            Self::Github(
                GithubError::Forbidden(said)
                | GithubError::Gone(said)
                | GithubError::Rejected { status: _, message: said },
            )
            | Self::Cannot(said) => Verdict::Cannot(said),
            Self::Github(error @ (GithubError::Unauthenticated { .. } | GithubError::Setup(_))) => {
                fault(&error)
            }
            Self::Refused(error) => fault(&error),
            Self::Copy(CopyError::Lock(error)) => Verdict::Cannot(error.to_string()),
            Self::Copy(
                error @ (CopyError::Unwritable(_)
                | CopyError::Io { .. }
                | CopyError::Changed { .. }),
            ) => fault(&error),
        }
    }
}

fn internal(number: &str) -> String {
    format!(
        "a fault of fleetcheck's own, number {number}: its operator finds the cause under that \
         number in the log"
    )
}

impl Stage for Updates {
    const NAME: &'static str = "update";
    type Error = StoreError;

    async fn step(&self, stop: &CancellationToken) -> Result<Step, StoreError> {
        let (store, owner) = (&self.shared.store, &self.shared.owner);
        let claimed = store.claim_update(owner, self.shared.clock.now(), millis(LEASE)).await?;
        let Some((claim, update, repository)) = claimed else { return Ok(Step::Idle) };
        let work = stop.child_token();
        let done = tokio::select! {
            done = self.go_on(&claim, update.clone(), &repository, &work) => done,
            lost = self.keep_claim(&claim) => {
                work.cancel();
                Err(lost)
            }
        };
        let next = match done {
            Ok(next) => next,
            Err(halted) => match halted.verdict() {
                // The next start finds the claim under our name and goes on.
                Verdict::Stopped => return Ok(Step::Worked),
                Verdict::Lost => {
                    tracing::info!(update.id = %claim.update(), "update {} is no longer ours", claim.update());
                    return Ok(Step::Worked);
                }
                Verdict::Store(error) => return Err(error),
                Verdict::Weather { what, retry_after } => later(update, what, retry_after),
                Verdict::Cannot(why) => self.failed(update, why)?,
            },
        };
        self.leave(claim, &repository, next).await?;
        Ok(Step::Worked)
    }
}

impl Updates {
    pub fn new(
        shared: Arc<Shared>,
        tools: Arc<Tools>,
        commits: Commits,
        (updater, links): (Updater, Links),
        scratch: PathBuf,
    ) -> Self {
        Self { shared, tools, commits, updater, links, scratch, opening: Arc::default() }
    }

    /// Another lane beside this one.
    #[must_use]
    pub fn beside(&self) -> Self {
        Self {
            shared: self.shared.clone(),
            tools: self.tools.clone(),
            commits: self.commits.clone(),
            updater: self.updater.clone(),
            links: self.links.clone(),
            scratch: self.scratch.clone(),
            opening: self.opening.clone(),
        }
    }

    async fn go_on(
        &self,
        claim: &UpdateClaim,
        update: Update,
        repository: &Repository,
        stop: &CancellationToken,
    ) -> Result<Next, Halted> {
        match (update.state.clone(), update.plan.clone()) {
            (UpdateState::Requested, _) => self.look(update, repository, stop).await,
            (UpdateState::Searching, Some(plan)) => {
                self.search(update, &plan, repository, stop).await
            }
            (UpdateState::Proposing, Some(plan)) => {
                self.propose(claim, update, &plan, repository, stop).await
            }
            (UpdateState::Merging { number }, Some(plan)) => {
                self.merge(update, (&plan, number), repository, stop).await
            }
            (
                UpdateState::Searching | UpdateState::Proposing | UpdateState::Merging { .. },
                None,
            )
            | (UpdateState::Ended { .. }, _) => {
                let what = format!("update {}: nothing is known to go on with", update.id);
                Err(StoreError::Corrupt { what }.into())
            }
        }
    }

    /// Renews the claim until it is lost.
    async fn keep_claim(&self, claim: &UpdateClaim) -> Halted {
        loop {
            tokio::time::sleep(LEASE / 3).await;
            if let Err(error) = self.shared.store.renew_update(claim, self.now()).await {
                return error.into();
            }
        }
    }

    async fn leave(
        &self,
        claim: UpdateClaim,
        repository: &Repository,
        next: Next,
    ) -> Result<(), StoreError> {
        let Next { update, siblings, trial, report, wait } = next;
        let now = self.now();
        let left = Left {
            update: &update,
            siblings: &siblings,
            trial: trial.as_ref().map(|(run, trial, facts)| (run, trial, facts)),
            report: report.as_deref(),
            not_before: now.plus(millis(wait)),
        };
        match self.shared.store.leave_update(claim, left, now).await {
            Ok(moved) => self.shared.wakeups.tell(&moved),
            Err(StoreError::ClaimLost(what)) => {
                tracing::info!("{what} is no longer ours");
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        if let UpdateState::Ended { outcome, .. } = &update.state {
            let Repository { owner, name, .. } = repository;
            tracing::info!(update.id = %update.id, "the update of {owner}/{name} has ended: {}", outcome.words());
            self.shared.wakeups.track.notify_waiters();
        }
        Ok(())
    }

    fn failed(&self, update: Update, why: String) -> Result<Next, StoreError> {
        let id = update.id.clone();
        let ended = update.end(Outcome::Failed { why }, self.now());
        // Whoever claimed it saw it open.
        let ended =
            ended.map_err(|error| StoreError::Corrupt { what: format!("{id}: {error}") })?;
        Ok(Next::with(ended))
    }

    fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }

    /// The policy by which an update goes, that of its base.
    async fn policy(
        &self,
        plan: &Plan,
        repository: &Repository,
        stop: &CancellationToken,
    ) -> Result<Policy, Halted> {
        let mirror = self.commits.fetch(repository, &plan.base, stop).await?;
        Ok(source::policy(&mirror, &plan.base).await?)
    }
}

/// Tried again; each time after twice as long.
fn later(update: Update, what: String, retry_after: Option<Duration>) -> Next {
    let patience = Duration::from_secs(5 << update.tries.min(10)).min(LONGEST_WAIT);
    let wait = retry_after.unwrap_or(patience);
    tracing::warn!(update.id = %update.id, "update {} goes on in {wait:?}: {what}", update.id);
    let tries = update.tries.saturating_add(1);
    Next::with(Update { note: Some(what), tries, ..update }).after(wait)
}
