//! What a repository's tracking issue should say ≠ what it says → opened, edited, closed. And how
//! open pull requests of updates stand, of which nobody tells us.
//!
//! GitHub is asked and told only when something is another than it was. A person who closes the
//! issue has read it: it is opened again when there is something new to read.
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::sync::Mutex;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::domain::Timestamp;
use crate::domain::id::RepositoryId;
use crate::domain::incoming::Repository;
use crate::domain::run::RunState;
use crate::domain::update::tracking::{self, OVERDUE_AFTER_MS, Silence, TITLE, silences};
use crate::domain::verdict::Verdict;
use crate::flow::evaluate::millis;
use crate::flow::shared::Shared;
use crate::flow::{Stage, Step};
use crate::github::client::GithubError;
use crate::github::updater::{IssueStanding, Pull, PullState, Updater};
use crate::store::StoreError;
use crate::store::pulls::{GroupPull, PullStanding, TrackingIssue};
use crate::store::tracked::Tracked;

/// How often it looks without a wakeup: what is told by time alone is told in days.
pub const PERIOD: Duration = Duration::from_secs(30);

/// An open pull request is asked for again after this time.
const PULLS_AFTER: Duration = Duration::from_hours(1);

/// Between two writes: GitHub throttles nothing as much as what notifies people.
const APART: Duration = Duration::from_secs(1);

/// After weather it is tried again after twice as long each time, up to this.
const LONGEST_WAIT: Duration = Duration::from_mins(30);
/// What GitHub refuses a person must mend: a permission, or what is wrong with us.
const REFUSED_WAIT: Duration = Duration::from_hours(1);
/// In a repository without issues.
const NO_ISSUES_WAIT: Duration = Duration::from_hours(24);

/// Keeps the tracking issues; one instance at a time.
pub struct Track {
    shared: Arc<Shared>,
    updater: Updater,
    /// Repositories whose issue could not be written. A courtesy to GitHub, no more: a restart tries
    /// again at once.
    waits: Mutex<HashMap<RepositoryId, Wait>>,
}

/// Until when nothing is tried.
#[derive(Clone, Copy, Default)]
struct Wait {
    until: Timestamp,
    /// How often in a row it was weather.
    tries: u32,
}

/// What becomes of an issue.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Act {
    Open { text: String },
    Edit { number: i64, text: String },
    Close { number: i64 },
}

/// Why an issue is not what it should be.
#[derive(Debug, thiserror::Error)]
enum Halted {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Github(#[from] GithubError),
}

impl Stage for Track {
    const NAME: &'static str = "track";
    type Error = StoreError;

    /// Asks for one pull request, or writes one issue.
    async fn step(&self, stop: &CancellationToken) -> Result<Step, StoreError> {
        if self.check_pull().await? == Step::Worked {
            return Ok(Step::Worked);
        }
        let mut waits = self.waits.lock().await;
        for tracked in self.shared.store.tracked().await? {
            let (id, now) = (tracked.repository.id, self.shared.clock.now());
            let text = told(&tracked, self.shared.started, now);
            let Some(act) = act(tracked.issue.as_ref(), text) else {
                waits.remove(&id);
                continue;
            };
            let wait = waits.get(&id).copied().unwrap_or_default();
            if now < wait.until {
                continue;
            }
            match self.carry_out(&tracked.repository, act).await {
                Ok(()) => drop(waits.remove(&id)),
                Err(Halted::Store(error)) => return Err(error),
                Err(Halted::Github(error)) => {
                    let next = later(&tracked.repository, wait, &error, now);
                    waits.insert(id, next);
                }
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = sleep(APART) => {}
            }
            return Ok(Step::Worked);
        }
        Ok(Step::Idle)
    }
}

impl Track {
    pub fn new(shared: Arc<Shared>, updater: Updater) -> Self {
        Self { shared, updater, waits: Mutex::default() }
    }

    /// Looks how the open pull request stands that was not looked at for longest.
    async fn check_pull(&self) -> Result<Step, StoreError> {
        let store = &self.shared.store;
        let before = self.shared.clock.now().plus(-millis(PULLS_AFTER));
        let Some((repository, known, number)) = store.pull_to_check(before).await? else {
            return Ok(Step::Idle);
        };
        let asked = self.updater.pull(&repository, number).await;
        let checked_at = self.shared.clock.now();
        let now = match asked {
            Ok(pull) => {
                let green_since = self.green_since(&repository, &pull).await?;
                let standing = standing(pull.state);
                GroupPull { standing, checked_at, green_since, ..known }
            }
            // Of a repository that was made anew under the same number.
            Err(GithubError::Gone(_)) => {
                GroupPull { standing: PullStanding::Closed, checked_at, ..known }
            }
            Err(error) => {
                let Repository { owner, name, .. } = &repository;
                tracing::warn!(
                    "how pull request {number} of {owner}/{name} stands is asked again in an \
                     hour: {error}"
                );
                GroupPull { checked_at, ..known }
            }
        };
        store.check_pull(&now).await?;
        Ok(Step::Worked)
    }

    /// When the gate of its head passed.
    async fn green_since(
        &self,
        repository: &Repository,
        pull: &Pull,
    ) -> Result<Option<Timestamp>, StoreError> {
        let tested = self.shared.store.head_of(repository.id, pull.number).await?;
        let run = tested.map(|it| it.run).filter(|it| it.sha == pull.head);
        Ok(match run.map(|it| it.state) {
            Some(RunState::Ended { verdict: Verdict::Passed, at }) => Some(at),
            Some(
                RunState::Ended { .. }
                | RunState::AwaitingApproval
                | RunState::Requested
                | RunState::Evaluating { .. }
                | RunState::Building { .. },
            )
            | None => None,
        })
    }

    /// Makes the issue what it should be, and notes it.
    async fn carry_out(&self, repository: &Repository, act: Act) -> Result<(), Halted> {
        let (number, text) = match act {
            Act::Open { text } => (self.open(repository, &text).await?, Some(text)),
            Act::Edit { number, text } => {
                let standing = IssueStanding::Open;
                match self.updater.edit_issue(repository, number, &text, standing).await {
                    Ok(()) => (number, Some(text)),
                    // Somebody has deleted it, or moved it to another repository.
                    Err(GithubError::Gone(_)) => (self.open(repository, &text).await?, Some(text)),
                    Err(error) => return Err(error.into()),
                }
            }
            Act::Close { number } => {
                let standing = IssueStanding::Closed;
                match self.updater.edit_issue(repository, number, &tracking::over(), standing).await
                {
                    Ok(()) | Err(GithubError::Gone(_)) => (number, None),
                    Err(error) => return Err(error.into()),
                }
            }
        };
        let Repository { owner, name, .. } = repository;
        let becomes = if text.is_some() { "says what is held back" } else { "is closed" };
        tracing::info!("issue {number} of {owner}/{name} {becomes}");
        let issue = TrackingIssue {
            repository: repository.id,
            number,
            is_open: text.is_some(),
            shown: text.as_deref().map(hash).unwrap_or_default(),
        };
        self.shared.store.note_tracking_issue(&issue, self.shared.clock.now()).await?;
        Ok(())
    }

    /// Opens it, unless it was opened before and that could not be noted.
    async fn open(&self, repository: &Repository, text: &str) -> Result<i64, GithubError> {
        match self.updater.find_issue(repository, TITLE).await? {
            Some(number) => {
                self.updater.edit_issue(repository, number, text, IssueStanding::Open).await?;
                Ok(number)
            }
            None => self.updater.open_issue(repository, TITLE, text).await,
        }
    }
}

/// What the issue should say at this moment; `None` for nothing. No issue is opened for what was
/// missed while nobody ran: it is made up after the start.
fn told(tracked: &Tracked, started: Timestamp, now: Timestamp) -> Option<String> {
    let mut silences = silences(&tracked.facts, now);
    let is_open = tracked.issue.as_ref().is_some_and(|it| it.is_open);
    if !is_open && now < started.plus(OVERDUE_AFTER_MS) {
        silences.retain(|it| match it {
            Silence::NotEnded { .. } | Silence::NotFired { .. } => false,
            Silence::StaleLock(_) | Silence::Waiting { .. } => true,
        });
    }
    tracking::body(&tracking::Tracked {
        held_back: &tracked.held_back,
        silences: &silences,
        failed: tracked.failed.as_deref(),
    })
}

/// What becomes of an issue that should say this; `None` when it does.
fn act(issue: Option<&TrackingIssue>, text: Option<String>) -> Option<Act> {
    match (issue, text) {
        (None, None) => None,
        (None, Some(text)) => Some(Act::Open { text }),
        (Some(issue), None) => issue.is_open.then_some(Act::Close { number: issue.number }),
        (Some(issue), Some(text)) => {
            let is_shown = issue.is_open && issue.shown == hash(&text);
            (!is_shown).then_some(Act::Edit { number: issue.number, text })
        }
    }
}

fn hash(text: &str) -> String {
    hex::encode(Sha256::digest(text.as_bytes()))
}

fn standing(state: PullState) -> PullStanding {
    match state {
        PullState::Open => PullStanding::Open,
        PullState::Merged => PullStanding::Merged,
        PullState::Closed => PullStanding::Closed,
    }
}

/// When it is tried again what failed in this way, and said so.
fn later(repository: &Repository, wait: Wait, error: &GithubError, now: Timestamp) -> Wait {
    let (pause, tries) = match error {
        GithubError::Weather { what: _, retry_after } => {
            let patience = Duration::from_secs(5 << wait.tries.min(10)).min(LONGEST_WAIT);
            (retry_after.unwrap_or(patience), wait.tries + 1)
        }
        // It was looked for: there are no issues at all.
        GithubError::Gone(_) => (NO_ISSUES_WAIT, 0),
        GithubError::Forbidden(_)
        | GithubError::Rejected { .. }
        | GithubError::Unauthenticated { .. }
        | GithubError::Setup(_) => (REFUSED_WAIT, 0),
    };
    let Repository { owner, name, .. } = repository;
    tracing::warn!(
        "the issue of {owner}/{name} that tells what is held back could not be written; it is \
         tried again in {pause:?}: {error}"
    );
    Wait { until: now.plus(millis(pause)), tries }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::InstallationId;
    use crate::domain::incoming::Visibility;
    use crate::domain::update::tracking::UpdateFacts;

    fn repository() -> Repository {
        Repository {
            id: RepositoryId(42),
            node_id: None,
            owner: "acme".parse().unwrap(),
            name: "fleet".parse().unwrap(),
            default_branch: "main".parse().unwrap(),
            visibility: Visibility::Public,
            installation: InstallationId(7),
        }
    }

    fn issue(is_open: bool, shown: &str) -> TrackingIssue {
        let shown = if shown.is_empty() { String::new() } else { hash(shown) };
        TrackingIssue { repository: RepositoryId(42), number: 7, is_open, shown }
    }

    #[test]
    fn an_issue_is_written_only_when_it_should_say_something_else() {
        let does = |issue: Option<TrackingIssue>, text: Option<&str>| {
            act(issue.as_ref(), text.map(str::to_owned))
        };
        assert_eq!(does(None, None), None);
        assert_eq!(does(None, Some("a")), Some(Act::Open { text: "a".to_owned() }));
        assert_eq!(does(Some(issue(true, "a")), Some("a")), None, "also if a person closed it");
        let edited = |text: &str| Some(Act::Edit { number: 7, text: text.to_owned() });
        assert_eq!(does(Some(issue(true, "a")), Some("b")), edited("b"));
        assert_eq!(does(Some(issue(true, "a")), None), Some(Act::Close { number: 7 }));
        assert_eq!(does(Some(issue(false, "")), None), None);
        assert_eq!(does(Some(issue(false, "")), Some("a")), edited("a"), "opened again");
    }

    #[test]
    fn no_issue_is_opened_for_what_is_made_up_after_a_start() {
        let hour = OVERDUE_AFTER_MS;
        let facts = UpdateFacts {
            due_at: Some(Timestamp(0)),
            schedule: Some("0 4 * * 0 (UTC)".to_owned()),
            ..UpdateFacts::default()
        };
        let tells = |issue: Option<TrackingIssue>, now: i64| {
            let (held_back, failed, facts) = (vec![], None, facts.clone());
            let tracked = Tracked { repository: repository(), facts, held_back, failed, issue };
            told(&tracked, Timestamp(9 * hour), Timestamp(now)).is_some()
        };
        assert!(!tells(None, 10 * hour - 1));
        assert!(!tells(Some(issue(false, "")), 10 * hour - 1));
        assert!(tells(None, 10 * hour));
        assert!(tells(Some(issue(true, "a")), 9 * hour), "what is told stays told");
    }

    #[test]
    fn what_cannot_be_written_is_tried_again_and_never_in_a_loop() {
        let seconds = |wait: Wait, error: GithubError| {
            let next = later(&repository(), wait, &error, Timestamp(0));
            (next.until.0 / 1000, next.tries)
        };
        let weather = |retry_after| GithubError::Weather { what: String::new(), retry_after };
        let tried = |tries| Wait { until: Timestamp(0), tries };
        assert_eq!(seconds(tried(0), weather(None)), (5, 1));
        assert_eq!(seconds(tried(3), weather(None)), (40, 4));
        assert_eq!(seconds(tried(400), weather(None)), (1800, 401));
        assert_eq!(seconds(tried(0), weather(Some(Duration::from_secs(17)))), (17, 1));
        assert_eq!(seconds(tried(3), GithubError::Forbidden(String::new())), (3600, 0));
        assert_eq!(seconds(tried(3), GithubError::Gone(String::new())), (86_400, 0));
    }
}
