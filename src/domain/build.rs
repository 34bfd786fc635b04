//! The life of one host's build within a run.
//!
//! A derivation is realised in an *attempt*; every build that wants the same derivation at that
//! time shares the attempt and its ending, so nothing is built twice at once.
mod ending;
mod patience;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::domain::Timestamp;
use crate::domain::id::{AttemptId, AttrPath, BuildId, DrvPath, RunId, StorePath};

pub use ending::{
    BuildFailure, Ending, EvaluationFailure, Remembered, SourcePlace, TimedOut, Warning,
};
pub use patience::Patience;

/// What an evaluation gives for one attribute: something Nix can realise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Derivation {
    pub path: DrvPath,
    /// Output names (`out`, `dev`) and where they will be.
    pub outputs: BTreeMap<String, StorePath>,
    /// Nix's `system`, `x86_64-linux`.
    pub system: String,
    /// `requiredSystemFeatures` of the derivation.
    pub features: Vec<String>,
}

/// A build with what never changes about it, and its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Build {
    pub id: BuildId,
    pub run: RunId,
    pub attr: AttrPath,
    pub required: Required,
    /// How many attempts have begun.
    pub attempts: u32,
    pub rebuild: Rebuild,
    pub state: BuildState,
}

/// Whether a host's failure fails the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Required {
    Required,
    Optional,
}

/// When a build's derivation is realised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rebuild {
    /// When an output of it is not valid in the Nix store.
    IfMissing,
    /// In any case: valid outputs are compared with what comes out.
    FromScratch,
}

/// Where a build stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BuildState {
    /// Listed in the flake; wants evaluation, unless its derivation is known from before.
    Listed { known: Option<Derivation> },
    /// Evaluated; waits for a builder.
    Waiting { derivation: Derivation, since: Timestamp, for_what: Waiting },
    /// Its derivation is being realised.
    Building { derivation: Derivation, attempt: AttemptId, since: Timestamp },
    /// `derivation` is absent when evaluation gave none.
    Ended { derivation: Option<Derivation>, ending: Ending, at: Timestamp },
}

/// What a build waits for. Never "queued" without a reason that a person can read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "for", rename_all = "snake_case")]
pub enum Waiting {
    /// A free slot on a builder of its system.
    Slot,
    /// No builder in the settings does this system.
    NoBuilder { system: String },
    /// No builder of this system has these features.
    NoFeatures { system: String, features: Vec<String> },
    /// The attempt before ended as weather; tried again at this time.
    Retry { after: String, not_before: Timestamp },
}

/// What a move tells the rest of the world; the flow turns it into wakeups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BuildEvent {
    Evaluated,
    Started,
    Retried,
    Ended,
}

/// A move that the state does not allow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot {wanted} a build that is {was}")]
pub struct Refused {
    /// The state, by its name.
    pub was: &'static str,
    pub wanted: &'static str,
}

type Moved = Result<(BuildState, BuildEvent), Refused>;

impl BuildState {
    /// The state's name, as the store keeps it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Listed { .. } => "listed",
            Self::Waiting { .. } => "waiting",
            Self::Building { .. } => "building",
            Self::Ended { .. } => "ended",
        }
    }

    /// The evaluation gave a derivation that must be built.
    ///
    /// # Errors
    /// When the build was evaluated before.
    pub fn wait(self, derivation: Derivation, for_what: Waiting, now: Timestamp) -> Moved {
        match self {
            Self::Listed { .. } => {
                Ok((Self::Waiting { derivation, since: now, for_what }, BuildEvent::Evaluated))
            }
            was @ (Self::Waiting { .. } | Self::Building { .. } | Self::Ended { .. }) => {
                Err(Refused { was: was.name(), wanted: "queue" })
            }
        }
    }

    /// It waits for something else now: the settings have other builders.
    ///
    /// # Errors
    /// When the build was not waiting.
    pub fn wait_for(self, for_what: Waiting) -> Moved {
        match self {
            Self::Waiting { derivation, since, .. } => {
                Ok((Self::Waiting { derivation, since, for_what }, BuildEvent::Evaluated))
            }
            was @ (Self::Listed { .. } | Self::Building { .. } | Self::Ended { .. }) => {
                Err(Refused { was: was.name(), wanted: "let wait for something else" })
            }
        }
    }

    /// An attempt to realise the derivation began.
    ///
    /// # Errors
    /// When the build was not waiting.
    pub fn start(self, attempt: AttemptId, now: Timestamp) -> Moved {
        match self {
            Self::Waiting { derivation, .. } => {
                Ok((Self::Building { derivation, attempt, since: now }, BuildEvent::Started))
            }
            was @ (Self::Listed { .. } | Self::Building { .. } | Self::Ended { .. }) => {
                Err(Refused { was: was.name(), wanted: "start" })
            }
        }
    }

    /// The attempt ended without an answer (the weather, a crash): it will be tried again.
    ///
    /// # Errors
    /// When the build was not being built.
    pub fn retry(self, for_what: Waiting, now: Timestamp) -> Moved {
        match self {
            Self::Building { derivation, .. } => {
                Ok((Self::Waiting { derivation, since: now, for_what }, BuildEvent::Retried))
            }
            was @ (Self::Listed { .. } | Self::Waiting { .. } | Self::Ended { .. }) => {
                Err(Refused { was: was.name(), wanted: "try again" })
            }
        }
    }

    /// The build has its ending.
    ///
    /// # Errors
    /// When it has one already.
    pub fn end(self, ending: Ending, now: Timestamp) -> Moved {
        let derivation = match self {
            Self::Listed { known } => known,
            Self::Waiting { derivation, .. } | Self::Building { derivation, .. } => {
                Some(derivation)
            }
            was @ Self::Ended { .. } => return Err(Refused { was: was.name(), wanted: "end" }),
        };
        Ok((Self::Ended { derivation, ending, at: now }, BuildEvent::Ended))
    }

    /// The evaluation found every output valid in the store.
    ///
    /// # Errors
    /// When the build was evaluated before.
    pub fn reuse(self, derivation: Derivation, now: Timestamp) -> Moved {
        match self {
            Self::Listed { .. } => Ok((
                Self::Ended { derivation: Some(derivation), ending: Ending::Reused, at: now },
                BuildEvent::Ended,
            )),
            was @ (Self::Waiting { .. } | Self::Building { .. } | Self::Ended { .. }) => {
                Err(Refused { was: was.name(), wanted: "reuse" })
            }
        }
    }

    /// The run was revived: the host is listed anew.
    ///
    /// # Errors
    /// When the build was not superseded.
    pub fn revive(self) -> Result<Self, Refused> {
        match self {
            Self::Ended { ending: Ending::Superseded { .. }, .. } => {
                Ok(Self::Listed { known: None })
            }
            was @ (Self::Listed { .. }
            | Self::Waiting { .. }
            | Self::Building { .. }
            | Self::Ended { .. }) => Err(Refused { was: was.name(), wanted: "revive" }),
        }
    }

    /// Somebody asked for it again: it is listed anew, with what its evaluation gave before.
    ///
    /// # Errors
    /// When it has not ended.
    pub fn again(self) -> Result<Self, Refused> {
        match self {
            Self::Ended { derivation, .. } => Ok(Self::Listed { known: derivation }),
            was @ (Self::Listed { .. } | Self::Waiting { .. } | Self::Building { .. }) => {
                Err(Refused { was: was.name(), wanted: "build again" })
            }
        }
    }

    /// Its derivation is out of reach, in the Nix store of an instance that is gone: it is listed
    /// anew, with what its evaluation gave before.
    ///
    /// # Errors
    /// When it does not wait.
    pub fn relist(self) -> Result<Self, Refused> {
        match self {
            Self::Waiting { derivation, .. } => Ok(Self::Listed { known: Some(derivation) }),
            was @ (Self::Listed { .. } | Self::Building { .. } | Self::Ended { .. }) => {
                Err(Refused { was: was.name(), wanted: "evaluate again" })
            }
        }
    }

    /// The derivation, once there is one.
    #[must_use]
    pub fn derivation(&self) -> Option<&Derivation> {
        match self {
            Self::Listed { known } => known.as_ref(),
            Self::Waiting { derivation, .. } | Self::Building { derivation, .. } => {
                Some(derivation)
            }
            Self::Ended { derivation, .. } => derivation.as_ref(),
        }
    }

    /// The ending, once there is one.
    #[must_use]
    pub fn ending(&self) -> Option<&Ending> {
        match self {
            Self::Ended { ending, .. } => Some(ending),
            Self::Listed { .. } | Self::Waiting { .. } | Self::Building { .. } => None,
        }
    }
}

/// How an attempt to realise a derivation ended, as the builder told it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempted {
    /// The answer stands: every build of the derivation ends with it.
    Answered(Ending),
    /// No answer: the connection was lost, the disk was full, a download failed.
    Weather(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn derivation() -> Derivation {
        Derivation {
            path: "/nix/store/783yqpnsx5xvpayk2bnrb6cmk0a7blys-a.drv".parse().unwrap(),
            outputs: BTreeMap::new(),
            system: "x86_64-linux".into(),
            features: vec![],
        }
    }

    fn attempt() -> AttemptId {
        "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap()
    }

    #[test]
    fn a_build_ends_once() {
        let (state, _) = BuildState::Listed { known: None }
            .wait(derivation(), Waiting::Slot, Timestamp(1))
            .unwrap();
        let (state, _) = state.start(attempt(), Timestamp(2)).unwrap();
        let (state, event) =
            state.end(Ending::Built { seconds: 1, without: vec![] }, Timestamp(3)).unwrap();
        assert_eq!(event, BuildEvent::Ended);
        assert!(state.end(Ending::Reused, Timestamp(4)).is_err());
    }

    #[test]
    fn a_lost_attempt_waits_again_with_its_derivation() {
        let (state, _) = BuildState::Listed { known: None }
            .wait(derivation(), Waiting::Slot, Timestamp(1))
            .unwrap();
        let (state, _) = state.start(attempt(), Timestamp(2)).unwrap();
        let (state, event) = state.retry(Waiting::Slot, Timestamp(3)).unwrap();
        assert_eq!(event, BuildEvent::Retried);
        assert_eq!(state.derivation(), Some(&derivation()));
    }
}
