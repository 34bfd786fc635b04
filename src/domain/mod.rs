//! What is true: values and decisions of a fleet's CI, as arithmetic.
//!
//! No clock, no I/O, no async: time, settings and what GitHub or Nix said are arguments. Read in
//! this order:
//!
//! 1. [`id`]: the names of things; a value exists only if it is well formed.
//! 2. [`incoming`]: what GitHub told us, in our words.
//! 3. [`policy`]: a repository's wishes (`fleetcheck.toml`).
//! 4. [`decide`]: a delivery, the policy and what stands become a decision.
//!    [`recover`] says what did not reach us, and is decided the same way.
//! 5. [`run`], [`build`]: the two lives that everything else serves; [`reach`]: what becomes of them
//!    without their repository.
//! 6. [`plan`]: what a flake lists and what is known become builds; [`evaluation`]: which of them
//!    are evaluated beside each other.
//! 7. [`queue`]: which waiting builds a free slot takes next, and where they go ([`queue::place`]);
//!    [`queue::unplaceable`] says when one that goes nowhere is given up;
//!    [`builder`]: how it stands with the machines.
//! 8. [`base`]: what is known of the commit that a run is compared with; [`cause`]: what makes two
//!    failures one; [`verdict`]: a run's conclusion from its builds'.
//! 9. [`skip`]: whether a commit asks not to be built; [`lock`]: what a commit of nobody we know may bring into its evaluation.
//! 10. [`insight`]: what changes on a host, from the packages of its [`closure`] and its [`units`].
//! 11. [`worth`]: which hosts of a large fleet get a check; [`calls`]: how few requests a run's
//!     checks cost; [`budget`]: what GitHub lets an installation spend, and on what first.
//! 12. [`page`]: what a check run says; [`text`], which makes hostile text safe to show; and
//!     [`link`], where our own pages are; [`button`]: what can be pressed on it.
//! 13. [`update`]: when inputs of a lock move, and which of them may.
pub mod base;
pub mod budget;
pub mod build;
pub mod builder;
pub mod button;
pub mod calls;
pub mod cause;
pub mod closure;
pub mod decide;
pub mod evaluation;
pub mod id;
pub mod incoming;
pub mod insight;
pub mod link;
pub mod lock;
pub mod page;
pub mod plan;
pub mod policy;
pub mod queue;
pub mod reach;
pub mod recover;
pub mod run;
pub mod skip;
pub mod text;
pub mod units;
pub mod update;
pub mod verdict;
pub mod worth;

use serde::{Deserialize, Serialize};

/// Milliseconds since the Unix epoch. The domain is told the time; it never asks.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// This moment and `milliseconds` more.
    #[must_use]
    pub fn plus(self, milliseconds: i64) -> Self {
        Self(self.0.saturating_add(milliseconds))
    }

    /// In the unit of GitHub's times: two of one second cannot be told apart by them.
    #[must_use]
    pub fn second(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// Milliseconds from `earlier` to this moment, never negative.
    #[must_use]
    pub fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0).max(0)
    }
}
