//! What is said of runs and builds whose repository went out of reach: archived, removed from the
//! App's installation, moved to another account.
use crate::domain::build::Ending;
use crate::domain::verdict::Verdict;

/// In words that follow "cancelled by".
const OUT_OF_REACH: &str = "the loss of the repository (archived, moved or taken from the App); tested anew when it is back";

impl Ending {
    /// The repository went out of reach.
    #[must_use]
    pub fn interrupted() -> Self {
        Self::Cancelled { by: OUT_OF_REACH.to_owned() }
    }

    /// Ended only because its repository went out of reach.
    #[must_use]
    pub fn is_interrupted(&self) -> bool {
        *self == Self::interrupted()
    }
}

impl Verdict {
    /// The repository went out of reach before there was a verdict.
    #[must_use]
    pub fn interrupted() -> Self {
        Self::Cancelled { by: OUT_OF_REACH.to_owned() }
    }
}
