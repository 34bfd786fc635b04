//! The life of a run: one commit of one repository under test, for one reason.
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::domain::Timestamp;
use crate::domain::id::{Branch, CommitSha, Login, RepositoryId, RunId, UpdateId};
use crate::domain::lock::stale::LastMove;
use crate::domain::verdict::{Problem, Verdict};

/// Why a commit is tested. A newer commit of the same reason supersedes an older one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// A push to this branch.
    Push(Branch),
    /// The head of the pull request of this number.
    PullRequest(i64),
    /// A merge queue's group, by the branch that GitHub makes for it.
    MergeGroup(Branch),
    /// A lock file that an update tries, counted from 1: a commit that exists here only.
    Update { update: UpdateId, nth: u32 },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Push(branch) => write!(f, "push:{branch}"),
            Self::PullRequest(number) => write!(f, "pull_request:{number}"),
            Self::MergeGroup(branch) => write!(f, "merge_group:{branch}"),
            Self::Update { update, nth } => write!(f, "update:{update}/{nth}"),
        }
    }
}

/// A reason in the store that this version does not know.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a reason for a run")]
pub struct UnknownReason(String);

impl FromStr for Reason {
    type Err = UnknownReason;

    fn from_str(text: &str) -> Result<Self, UnknownReason> {
        let unknown = || UnknownReason(text.to_owned());
        match text.split_once(':') {
            Some(("push", branch)) => branch.parse().map(Self::Push).map_err(|_| unknown()),
            Some(("pull_request", number)) => {
                number.parse().map(Self::PullRequest).map_err(|_| unknown())
            }
            Some(("merge_group", branch)) => {
                branch.parse().map(Self::MergeGroup).map_err(|_| unknown())
            }
            Some(("update", of)) => {
                let (update, nth) = of.split_once('/').ok_or_else(unknown)?;
                let update = update.parse().map_err(|_| unknown())?;
                Ok(Self::Update { update, nth: nth.parse().map_err(|_| unknown())? })
            }
            Some(_) | None => Err(unknown()),
        }
    }
}

/// A run with what never changes about it, and its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    pub id: RunId,
    pub repository: RepositoryId,
    pub sha: CommitSha,
    pub reason: Reason,
    /// What GitHub named when the commit became the head: `before` of a push, the base branch's tip
    /// of a pull request. What the run is compared with is found from it, and may be older.
    ///
    /// A push that makes a tested commit the head again keeps it: what the commit changes is told
    /// against the one that it was first pushed onto, and not against one that was taken back.
    pub base: Option<CommitSha>,
    /// GitHub's time of what happened; orders the runs of one reason.
    pub occurred_at: Timestamp,
    pub created_at: Timestamp,
    /// What is wrong with the run as a whole; its hosts are built and shown all the same.
    pub problem: Option<Problem>,
    /// Why the run does not go on at the moment: weather, in words for its author.
    pub waits: Option<String>,
    /// Whose commit it is.
    pub trust: Trust,
    pub approval: Approval,
    /// The branch that a pull request is to be merged into.
    pub base_branch: Option<Branch>,
    /// What is tested in the place of the commit, once it was made.
    pub merge: Option<Merge>,
    pub skip: Skip,
    /// When the lock file of its default branch's commit last moved, where that is known.
    pub lock: Option<LastMove>,
    /// The answer to a click on the gate that was refused, as plain text.
    pub note: Option<String>,
    pub state: RunState,
}

/// Where a run stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunState {
    /// A fork's commit that nobody with write access has approved.
    AwaitingApproval,
    /// Wants its hosts listed and evaluated.
    Requested,
    /// Being evaluated; builds of evaluated hosts may run.
    Evaluating {
        since: Timestamp,
    },
    /// Every host is evaluated; waits for builds.
    Building {
        since: Timestamp,
    },
    Ended {
        verdict: Verdict,
        at: Timestamp,
    },
}

/// What a move tells the rest of the world; the flow turns it into wakeups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunEvent {
    Requested,
    Parked,
    Evaluating,
    Evaluated,
    Ended,
}

/// A move that the state does not allow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot {wanted} a run that is {was}")]
pub struct Refused {
    /// The state, by its name.
    pub was: &'static str,
    pub wanted: &'static str,
}

type Moved = Result<(RunState, RunEvent), Refused>;

impl RunState {
    /// The state's name, as the store keeps it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::AwaitingApproval => "awaiting_approval",
            Self::Requested => "requested",
            Self::Evaluating { .. } => "evaluating",
            Self::Building { .. } => "building",
            Self::Ended { .. } => "ended",
        }
    }

    /// A new run's first state.
    #[must_use]
    pub fn first(approval: &Approval) -> (Self, RunEvent) {
        approval.begin()
    }

    /// The evaluation begins, or begins again after a crash.
    ///
    /// # Errors
    /// When the run is parked, past its evaluation or ended.
    pub fn evaluate(self, now: Timestamp) -> Moved {
        match self {
            Self::Requested | Self::Evaluating { .. } => {
                Ok((Self::Evaluating { since: now }, RunEvent::Evaluating))
            }
            was @ (Self::AwaitingApproval | Self::Building { .. } | Self::Ended { .. }) => {
                Err(Refused { was: was.name(), wanted: "evaluate" })
            }
        }
    }

    /// Every host has a derivation or an error.
    ///
    /// # Errors
    /// When the run was not being evaluated.
    pub fn evaluated(self, now: Timestamp) -> Moved {
        match self {
            Self::Evaluating { .. } => Ok((Self::Building { since: now }, RunEvent::Evaluated)),
            was @ (Self::AwaitingApproval
            | Self::Requested
            | Self::Building { .. }
            | Self::Ended { .. }) => Err(Refused { was: was.name(), wanted: "finish evaluating" }),
        }
    }

    /// The run has its verdict: its builds ended, it was superseded, or it cannot be evaluated.
    ///
    /// # Errors
    /// When it has one already.
    pub fn end(self, verdict: Verdict, now: Timestamp) -> Moved {
        match self {
            Self::AwaitingApproval
            | Self::Requested
            | Self::Evaluating { .. }
            | Self::Building { .. } => Ok((Self::Ended { verdict, at: now }, RunEvent::Ended)),
            was @ Self::Ended { .. } => Err(Refused { was: was.name(), wanted: "end" }),
        }
    }

    /// A superseded commit became the head again (a force push back): it is tested anew, if that
    /// needs nobody's approval.
    ///
    /// # Errors
    /// When the run was not superseded.
    pub fn revive(self, approval: &Approval) -> Moved {
        match self {
            Self::Ended { verdict: Verdict::Superseded { .. }, .. } => Ok(approval.begin()),
            was @ (Self::AwaitingApproval
            | Self::Requested
            | Self::Evaluating { .. }
            | Self::Building { .. }
            | Self::Ended { .. }) => Err(Refused { was: was.name(), wanted: "revive" }),
        }
    }

    /// Somebody asked for it, or it is to be judged anew: it is planned again, and evaluates what
    /// is not known. What was never approved still is not.
    #[must_use]
    pub fn again(approval: &Approval) -> (Self, RunEvent) {
        approval.begin()
    }

    /// Somebody with write access said that a fork's commit may be tested.
    ///
    /// # Errors
    /// When the run does not wait for that.
    pub fn approve(self) -> Moved {
        match self {
            Self::AwaitingApproval => Ok((Self::Requested, RunEvent::Requested)),
            was @ (Self::Requested
            | Self::Evaluating { .. }
            | Self::Building { .. }
            | Self::Ended { .. }) => Err(Refused { was: was.name(), wanted: "approve" }),
        }
    }

    /// Still to get a verdict.
    #[must_use]
    pub fn is_open(&self) -> bool {
        match self {
            Self::AwaitingApproval
            | Self::Requested
            | Self::Evaluating { .. }
            | Self::Building { .. } => true,
            Self::Ended { .. } => false,
        }
    }
}

/// Whether somebody had to say that a run's commit may be tested, and who did. It outlasts the
/// states: a run that ended without approval does not get it by being tested again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Approval {
    NotNeeded,
    Needed,
    Given { by: Login },
}

impl Approval {
    fn begin(&self) -> (RunState, RunEvent) {
        match self {
            Self::NotNeeded | Self::Given { .. } => (RunState::Requested, RunEvent::Requested),
            Self::Needed => (RunState::AwaitingApproval, RunEvent::Parked),
        }
    }
}

/// Whose commit a run tests. It does not change with an approval: that lets the commit be built,
/// and not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trust {
    /// Somebody with write access pushed it to the repository itself.
    Trusted,
    /// A fork's: evaluated without import from derivation and network, and its outputs are kept
    /// apart.
    Untrusted,
}

/// A pull request's head as it would be merged: a commit that exists here only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Merge {
    pub commit: CommitSha,
    /// The branch that it was merged into,
    pub branch: Branch,
    /// and where that was then.
    pub base: CommitSha,
}

/// What the commit's wish not to be built counts for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Skip {
    #[default]
    Heeded,
    /// Somebody asked for the run all the same.
    Overruled,
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(5);

    fn superseded() -> Verdict {
        Verdict::Superseded { by: "0123456789abcdef0123456789abcdef01234567".parse().unwrap() }
    }

    #[test]
    fn a_run_goes_from_requested_to_its_verdict() {
        let (state, event) = RunState::first(&Approval::NotNeeded);
        assert_eq!(event, RunEvent::Requested);
        let (state, _) = state.evaluate(NOW).unwrap();
        let (state, _) = state.evaluated(NOW).unwrap();
        let (state, event) = state.end(Verdict::Passed, NOW).unwrap();
        assert_eq!(event, RunEvent::Ended);
        assert!(!state.is_open());
        assert!(state.end(Verdict::Passed, NOW).is_err(), "a run ends once");
    }

    #[test]
    fn a_fork_is_not_evaluated_before_it_is_approved() {
        let (state, event) = RunState::first(&Approval::Needed);
        assert_eq!(event, RunEvent::Parked);
        assert!(state.evaluate(NOW).is_err());
    }

    #[test]
    fn only_a_superseded_run_is_tested_anew() {
        let (failed, _) = RunState::Requested.end(Verdict::Failed, NOW).unwrap();
        assert!(failed.revive(&Approval::NotNeeded).is_err());
        let (gone, _) = RunState::Requested.end(superseded(), NOW).unwrap();
        assert_eq!(gone.clone().revive(&Approval::NotNeeded).unwrap().0, RunState::Requested);
        let parked = gone.revive(&Approval::Needed).unwrap().0;
        assert_eq!(parked, RunState::AwaitingApproval, "nobody has approved it meanwhile");
    }

    #[test]
    fn a_reason_reads_back_as_it_was_written() {
        for reason in [
            Reason::Push("feature/a-b".parse().unwrap()),
            Reason::PullRequest(7),
            Reason::MergeGroup("gh-readonly-queue/main/pr-7-abc".parse().unwrap()),
            Reason::Update {
                update: "01890000-0000-7000-8000-000000000000".parse().unwrap(),
                nth: 3,
            },
        ] {
            assert_eq!(reason.to_string().parse::<Reason>().unwrap(), reason);
        }
        for text in ["dance:1", "update:1/1", "update:01890000-0000-7000-8000-000000000000"] {
            assert!(text.parse::<Reason>().is_err(), "{text}");
        }
    }
}
