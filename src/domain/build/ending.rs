//! How a build ended, with what its author wants to know.
use serde::{Deserialize, Serialize};

use crate::domain::Timestamp;
use crate::domain::id::{CommitSha, DrvPath};

/// How a build ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ending", rename_all = "snake_case")]
pub enum Ending {
    /// Its outputs were valid already.
    Reused,
    Built {
        seconds: u64,
        /// Substituters that did not answer, so that it was built without them: `cache.nixos.org`.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        without: Vec<String>,
    },
    /// A newer commit took its place.
    Superseded { by: CommitSha },
    /// Somebody stopped its run.
    Cancelled {
        /// A login, or what it was, in words that follow "cancelled by".
        by: String,
    },
    /// Its commit asks not to be built.
    Skipped {
        /// The words that ask for it: `[skip ci]`.
        by: String,
    },
    /// The flake does not give a derivation for it.
    EvaluationFailed(EvaluationFailure),
    /// Its derivation, or one that it needs, failed to build.
    BuildFailed(BuildFailure),
    /// A limit of the settings ended it.
    TimedOut(TimedOut),
    /// Nobody's fault, and trying again did not mend it.
    Transient { what: String },
    /// Our fault: the log has the number, the check says no more.
    Internal { number: String },
}

/// Why an attribute gave no derivation, for its author.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvaluationFailure {
    /// One line in plain words: the innermost error without Nix's decoration.
    pub headline: String,
    /// Nix's full text, colours removed, at most 60,000 bytes.
    pub trace: String,
    /// The innermost place of the trace that lies in the repository.
    pub place: Option<SourcePlace>,
    /// The setting to change, when a limit was hit: `nix.memory`.
    pub limit: Option<String>,
}

/// What Nix warned of while it evaluated a host, for its author.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Warning {
    /// One line, without Nix's decoration, at most 500 characters.
    pub message: String,
    /// The first place of the repository that it names.
    pub place: Option<SourcePlace>,
}

/// A file of the repository and a line in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SourcePlace {
    /// Relative to the repository's root.
    pub path: String,
    /// Counted from 1.
    pub line: u32,
}

/// Which derivation failed, and how, for the author.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildFailure {
    /// The derivation that failed: the host's own or one that it needs.
    pub derivation: DrvPath,
    /// One line in plain words: `builder failed with exit code 3`.
    pub headline: String,
    /// The last lines of the failing derivation's log, as they came, at most 200.
    pub log_tail: Vec<String>,
    /// Where it was not tried for this run, because it had failed shortly before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Remembered>,
}

/// A failure that is remembered from an earlier attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    /// When that attempt ended.
    pub at: Timestamp,
    /// What it was made for; `None` when that was of another repository.
    pub commit: Option<CommitSha>,
}

/// A build that a time limit ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimedOut {
    /// `nix.build_timeout` or `nix.silence_timeout`.
    pub setting: String,
    /// The limit in seconds.
    pub seconds: u64,
    /// The derivation that was running, where one was.
    pub derivation: Option<DrvPath>,
    /// The last lines of its log.
    pub log_tail: Vec<String>,
}

impl Ending {
    /// The host is there to deploy.
    #[must_use]
    pub fn is_good(&self) -> bool {
        match self {
            Self::Reused | Self::Built { .. } => true,
            Self::Superseded { .. }
            | Self::Cancelled { .. }
            | Self::Skipped { .. }
            | Self::EvaluationFailed(_)
            | Self::BuildFailed(_)
            | Self::TimedOut(_)
            | Self::Transient { .. }
            | Self::Internal { .. } => false,
        }
    }
}
