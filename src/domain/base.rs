//! What is known of the commit that a run is compared with, and what that makes of a failure.
//!
//! "Newly broken" and "red before this change" are claims about another commit, so each needs an
//! answer that stands: a build, or an evaluation, of the same host on the base commit that ended
//! by itself. Weather, a run that was superseded and a commit that was never tested here say
//! nothing, and nothing is said of them.
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::domain::build::{BuildState, Ending, Required, Waiting};
use crate::domain::id::{AttrPath, CommitSha};

/// What a run is judged against.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Against {
    pub existing: ExistingFailures,
    /// `None` when the run has no base: a branch's first commit, a check at a terminal.
    pub base: Option<Base>,
}

/// `gate.existing_failures`: whether a host that failed on the base commit, and fails again, fails
/// the gate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExistingFailures {
    #[default]
    Fail,
    Ignore,
}

/// The base commit, as far as it was tested here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    pub sha: CommitSha,
    pub tested: Tested,
    /// What its run listed; empty when there is no run, or it never got so far.
    pub hosts: BTreeMap<AttrPath, BaseHost>,
}

/// How far the base commit was tested here.
///
/// Declared by how much is to be had from it, for choosing between several runs of one commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tested {
    /// There is no run, or it waits for approval.
    Not,
    /// Its run was ended before its hosts had: only some of them have an answer.
    Partly,
    /// Its run goes on.
    Running,
    Whole,
}

/// A host that the base commit had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BaseHost {
    pub required: Required,
    pub answer: Answer,
}

/// What became of a host, as far as a later commit is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Not decided yet.
    Open,
    Good,
    /// It fails by itself: it does not evaluate, does not build, or runs into a limit.
    Red,
    /// It ended without an answer: weather, our fault, a newer commit, a person.
    Unknown,
}

/// A failure compared with the base commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compared {
    /// Good on the base commit, or not there.
    NewlyBroken,
    /// The base commit says nothing of it.
    Unknown,
    RedBefore,
}

impl Answer {
    /// Of a build.
    #[must_use]
    pub fn of(state: &BuildState) -> Self {
        match state {
            // No time brings a builder that the settings do not have.
            BuildState::Waiting {
                for_what: Waiting::NoBuilder { .. } | Waiting::NoFeatures { .. },
                ..
            } => Self::Unknown,
            BuildState::Listed { .. }
            | BuildState::Waiting { .. }
            | BuildState::Building { .. } => Self::Open,
            BuildState::Ended { ending, .. } if ending.is_good() => Self::Good,
            BuildState::Ended { ending, .. } if is_red(ending) => Self::Red,
            BuildState::Ended { .. } => Self::Unknown,
        }
    }
}

/// Whether an ending is an answer about the commit itself.
#[must_use]
pub fn is_red(ending: &Ending) -> bool {
    match ending {
        Ending::EvaluationFailed(_) | Ending::BuildFailed(_) | Ending::TimedOut(_) => true,
        Ending::Reused
        | Ending::Built { .. }
        | Ending::Superseded { .. }
        | Ending::Cancelled { .. }
        | Ending::Skipped { .. }
        | Ending::Transient { .. }
        | Ending::Internal { .. } => false,
    }
}

impl Base {
    /// What became of this host on the base commit; `None` when that is known not to have it.
    #[must_use]
    pub fn answer(&self, attr: &AttrPath) -> Option<Answer> {
        match self.hosts.get(attr) {
            Some(host) => Some(host.answer),
            None if !self.hosts.is_empty() => None,
            None => Some(match self.tested {
                Tested::Running => Answer::Open,
                Tested::Not | Tested::Partly | Tested::Whole => Answer::Unknown,
            }),
        }
    }
}

impl Against {
    /// A failure of this host compared with the base commit.
    #[must_use]
    pub fn compare(&self, attr: &AttrPath, ending: &Ending) -> Compared {
        let Some(base) = self.base.as_ref().filter(|_| is_red(ending)) else {
            return Compared::Unknown;
        };
        match base.answer(attr) {
            None | Some(Answer::Good) => Compared::NewlyBroken,
            Some(Answer::Red) => Compared::RedBefore,
            Some(Answer::Open | Answer::Unknown) => Compared::Unknown,
        }
    }

    /// Whether the failure of a required host fails the gate; `None` while the base commit, which
    /// decides it, is still being tested.
    #[must_use]
    pub fn blocks(&self, attr: &AttrPath, ending: &Ending) -> Option<bool> {
        match (self.existing, &self.base) {
            (ExistingFailures::Ignore, Some(base)) if is_red(ending) => match base.answer(attr) {
                Some(Answer::Red) => Some(false),
                Some(Answer::Open) => None,
                Some(Answer::Good | Answer::Unknown) | None => Some(true),
            },
            (ExistingFailures::Ignore | ExistingFailures::Fail, _) => Some(true),
        }
    }
}
