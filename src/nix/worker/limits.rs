//! What a build may take, and what is done about what is there already.
use std::time::Duration;

use crate::config;

/// What a build may take.
#[derive(Clone, Copy, Debug)]
pub struct BuildLimits {
    /// Wall time of one derivation.
    pub timeout: Duration,
    /// Time without a log line of one derivation.
    pub silence: Duration,
    /// Derivations at once.
    pub jobs: u64,
    pub mode: Mode,
}

/// What is done about outputs that are valid already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// They are taken as they are.
    Normal,
    /// They are built once more and compared: what differs is a failure. All must be valid.
    Check,
}

impl Mode {
    /// Nix's `BuildMode`.
    pub(super) fn number(self) -> u64 {
        match self {
            Self::Normal => 0,
            Self::Check => 2,
        }
    }
}

impl From<&config::Nix> for BuildLimits {
    /// One derivation at a time: a worker is one slot of its builder.
    fn from(config: &config::Nix) -> Self {
        Self {
            timeout: config.build_timeout,
            silence: config.silence_timeout,
            jobs: 1,
            mode: Mode::Normal,
        }
    }
}
