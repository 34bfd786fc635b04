//! Proof that this process owns a piece of work. Only the store makes a claim.
use crate::domain::Timestamp;
use crate::domain::build::{Derivation, Rebuild};
use crate::domain::id::{AttemptId, DrvPath, RunId};

/// The right to evaluate a run, until its lease ends unless it is renewed.
#[derive(Debug, PartialEq, Eq)]
pub struct RunClaim {
    pub(super) run: RunId,
    pub(super) number: i64,
    pub(super) lease_ms: i64,
}

impl RunClaim {
    /// The run to evaluate.
    pub fn run(&self) -> &RunId {
        &self.run
    }

    /// How many times the run was claimed, this time included; 1 for the first.
    pub fn tries(&self) -> u32 {
        u32::try_from(self.number).unwrap_or(u32::MAX)
    }
}

/// The right to realise a derivation, until its lease ends unless it is renewed.
#[derive(Debug, PartialEq, Eq)]
pub struct AttemptClaim {
    pub(super) attempt: AttemptId,
    pub(super) derivation: Derivation,
    pub(super) rebuild: Rebuild,
    pub(super) lease_ms: i64,
    pub(super) started_at: Timestamp,
}

impl AttemptClaim {
    /// The attempt; its log is kept under this name.
    pub fn attempt(&self) -> &AttemptId {
        &self.attempt
    }

    /// What is to be realised.
    pub fn derivation(&self) -> &Derivation {
        &self.derivation
    }

    /// The path of what is to be realised.
    pub fn drv(&self) -> &DrvPath {
        &self.derivation.path
    }

    /// Whether it is realised although it may be valid.
    pub fn rebuild(&self) -> Rebuild {
        self.rebuild
    }

    /// When the claim was made.
    pub fn started_at(&self) -> Timestamp {
        self.started_at
    }
}
