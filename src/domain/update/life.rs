//! The life of an update: from the wish for one to a pull request that is known to be good, or to
//! the reason why there is none.
mod cause;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::domain::Timestamp;
use crate::domain::id::{AttrPath, Branch, CommitSha, RepositoryId, UpdateId};
use crate::domain::lock::Lock;
use crate::domain::lock::history::History;
use crate::domain::lock::moved::InputPath;
pub use crate::domain::update::life::cause::{Cause, UnknownCause};

/// So often an update begins anew, because its base moved on or the weather kept it from an answer,
/// before it takes what it has.
pub const MOST_ROUNDS: u32 = 3;

/// One update of one group of inputs of one repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    pub id: UpdateId,
    pub repository: RepositoryId,
    pub cause: Cause,
    pub created_at: Timestamp,
    /// How often it began, the first time included.
    pub round: u32,
    /// How often in a row the weather was in its way.
    pub tries: u32,
    /// The group of inputs that it moves, once it is known; one that begins anew keeps it.
    pub group: Option<String>,
    /// What it is about, once the newest revisions were looked up.
    pub plan: Option<Plan>,
    /// What GitHub made for it last: on its way to the branch, or there.
    pub made: Option<Made>,
    /// Why it does not go on at the moment, or what is to be known of its end: plain text.
    pub note: Option<String>,
    pub state: UpdateState,
}

/// A commit that GitHub made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    pub commit: CommitSha,
    /// The commit that it follows.
    pub base: CommitSha,
    /// The hash of the lock file in it.
    pub lock_hash: String,
}

/// What an update is about: everything that its search needs, so that it gives the same answer
/// whoever goes on with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The group's name in the policy, `all` where there is but one.
    pub group: String,
    /// The branch of its pull request.
    pub branch: Branch,
    /// The default branch's tip when the revisions were looked up,
    pub base: CommitSha,
    /// and the lock file's path in it.
    pub path: String,
    pub old: Lock,
    /// With every chosen input at its newest revision.
    pub new: Lock,
    /// The group's inputs that have another revision.
    pub moving: BTreeSet<InputPath>,
    /// The hosts that decide: those that the base requires.
    pub required: BTreeSet<AttrPath>,
    /// Inputs whose newest revision is not to be had, and why.
    pub not_found: Vec<(InputPath, String)>,
    /// The flake's own inputs that the policy leaves alone.
    pub left: Vec<InputPath>,
    /// What was read of the histories of inputs that break hosts.
    #[serde(default)]
    pub histories: Vec<(InputPath, History)>,
}

impl Plan {
    /// What was read of an input's history.
    #[must_use]
    pub fn history(&self, input: &InputPath) -> Option<&History> {
        self.histories.iter().find(|(it, _)| it == input).map(|(_, history)| history)
    }

    /// With what was read of an input's history.
    #[must_use]
    pub fn with_history(mut self, input: &InputPath, history: History) -> Self {
        self.histories.retain(|(it, _)| it != input);
        self.histories.push((input.clone(), history));
        self
    }
}

/// Where an update stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpdateState {
    /// Wants its newest revisions looked up.
    Requested,
    /// Lock files are tried, a run for each.
    Searching,
    /// It is known what may move: it becomes a commit and a pull request.
    Proposing,
    /// Its pull request is to be merged as soon as it may.
    Merging {
        number: i64,
    },
    Ended {
        outcome: Outcome,
        at: Timestamp,
    },
}

/// What came of an update.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// No chosen input has a newer revision.
    UpToDate,
    /// Nothing may move.
    HeldBack,
    /// A pull request waits for a person.
    Opened {
        number: i64,
    },
    /// GitHub merges it when its checks have passed.
    AutoMerge {
        number: i64,
    },
    Merged {
        number: i64,
    },
    /// A person closed the pull request of this very lock file.
    StaysClosed {
        number: i64,
    },
    /// A person's commit is on the branch; nothing was moved over it.
    StoodBack {
        branch: Branch,
    },
    /// It cannot be done; says why, and what to do, as plain text.
    Failed {
        why: String,
    },
}

/// A move that the state does not allow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot {wanted} an update that is {was}")]
pub struct Refused {
    /// The state, by its name.
    pub was: &'static str,
    pub wanted: &'static str,
}

impl Outcome {
    /// In a few words of plain text, to follow "the update has ended:".
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Self::UpToDate => "up to date".to_owned(),
            Self::HeldBack => "everything is held back".to_owned(),
            Self::Opened { number } => format!("pull request {number} waits for a person"),
            Self::AutoMerge { number } => {
                format!("GitHub merges pull request {number} when its rules are met")
            }
            Self::Merged { number } => format!("pull request {number} is merged"),
            Self::StaysClosed { number } => {
                format!("pull request {number} was closed, and nothing has moved since")
            }
            Self::StoodBack { branch } => format!("a person's commit is on {branch}"),
            Self::Failed { why } => format!("it failed: {why}"),
        }
    }

    /// The number of the pull request that it is about.
    #[must_use]
    pub fn pull(&self) -> Option<i64> {
        match self {
            Self::Opened { number }
            | Self::AutoMerge { number }
            | Self::Merged { number }
            | Self::StaysClosed { number } => Some(*number),
            Self::UpToDate | Self::HeldBack | Self::StoodBack { .. } | Self::Failed { .. } => None,
        }
    }
}

impl UpdateState {
    /// The state's name, as the store keeps it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Searching => "searching",
            Self::Proposing => "proposing",
            Self::Merging { .. } => "merging",
            Self::Ended { .. } => "ended",
        }
    }

    /// Whether it goes on.
    #[must_use]
    pub fn is_open(&self) -> bool {
        match self {
            Self::Requested | Self::Searching | Self::Proposing | Self::Merging { .. } => true,
            Self::Ended { .. } => false,
        }
    }
}

impl Update {
    /// A new one.
    #[must_use]
    pub fn new(id: UpdateId, repository: RepositoryId, cause: Cause, now: Timestamp) -> Self {
        Self {
            id,
            repository,
            cause,
            created_at: now,
            round: 1,
            tries: 0,
            group: None,
            plan: None,
            made: None,
            note: None,
            state: UpdateState::Requested,
        }
    }

    /// The newest revisions are known: lock files are tried.
    ///
    /// # Errors
    /// When they were known before.
    pub fn search(self, plan: Plan) -> Result<Self, Refused> {
        self.from(&[UpdateState::Requested.name()], "search").map(|it| Self {
            group: Some(plan.group.clone()),
            plan: Some(plan),
            note: None,
            state: UpdateState::Searching,
            ..it
        })
    }

    /// It is known what may move.
    ///
    /// # Errors
    /// When it does not search.
    pub fn propose(self) -> Result<Self, Refused> {
        self.from(&[UpdateState::Searching.name()], "propose").map(|it| Self {
            note: None,
            state: UpdateState::Proposing,
            ..it
        })
    }

    /// The pull request is there, and is to be merged.
    ///
    /// # Errors
    /// When it was not proposed.
    pub fn merge(self, number: i64) -> Result<Self, Refused> {
        self.from(&[UpdateState::Proposing.name()], "merge")
            .map(|it| Self { state: UpdateState::Merging { number }, ..it })
    }

    /// It begins anew: its base is no longer the tip, or it could not be known what may move.
    ///
    /// # Errors
    /// When it has begun often enough, or has ended.
    pub fn again(self, why: String) -> Result<Self, Refused> {
        if self.round >= MOST_ROUNDS {
            return Err(Refused { was: "in its last round", wanted: "begin anew" });
        }
        let all = [UpdateState::Searching.name(), UpdateState::Proposing.name()];
        self.from(&all, "begin anew").map(|it| Self {
            round: it.round + 1,
            tries: 0,
            plan: None,
            note: Some(why),
            state: UpdateState::Requested,
            ..it
        })
    }

    /// It has come to its end.
    ///
    /// # Errors
    /// When it has ended.
    pub fn end(self, outcome: Outcome, now: Timestamp) -> Result<Self, Refused> {
        if !self.state.is_open() {
            return Err(Refused { was: self.state.name(), wanted: "end" });
        }
        Ok(Self { state: UpdateState::Ended { outcome, at: now }, ..self })
    }

    fn from(self, states: &[&'static str], wanted: &'static str) -> Result<Self, Refused> {
        let was = self.state.name();
        if states.contains(&was) { Ok(self) } else { Err(Refused { was, wanted }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(5);

    fn update() -> Update {
        let id = "01890000-0000-7000-8000-000000000000".parse().unwrap();
        Update::new(id, RepositoryId(7), Cause::Schedule, NOW)
    }

    fn plan() -> Plan {
        Plan {
            group: "all".to_owned(),
            branch: "fleetcheck/update".parse().unwrap(),
            base: "0123456789abcdef0123456789abcdef01234567".parse().unwrap(),
            path: "flake.lock".to_owned(),
            old: Lock::none(),
            new: Lock::none(),
            moving: BTreeSet::new(),
            required: BTreeSet::new(),
            not_found: vec![],
            left: vec![],
            histories: vec![],
        }
    }

    #[test]
    fn an_update_goes_from_the_wish_to_its_merge() {
        let update = update().search(plan()).unwrap().propose().unwrap().merge(7).unwrap();
        let update = update.end(Outcome::Merged { number: 7 }, NOW).unwrap();
        assert!(!update.state.is_open());
        assert!(update.clone().end(Outcome::UpToDate, NOW).is_err(), "it ends once");
        assert!(update.clone().propose().is_err());
        assert!(update.again(String::new()).is_err());
    }

    #[test]
    fn an_update_whose_base_moves_begins_anew_and_not_for_ever() {
        let mut update = update();
        for _ in 1..MOST_ROUNDS {
            update = update.search(plan()).unwrap().propose().unwrap();
            update = update.again("main has moved".to_owned()).unwrap();
            assert_eq!((&update.plan, update.state.name()), (&None, "requested"));
            assert_eq!(update.group.as_deref(), Some("all"), "of the others there are others");
        }
        assert_eq!(update.round, MOST_ROUNDS);
        assert!(update.search(plan()).unwrap().again(String::new()).is_err());
    }
}
