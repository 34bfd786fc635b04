//! What there is to say of a host that is not done: its turn, how far it is, how long it may take.
//!
//! These are facts of the moment at which a page is made, and whole: a page counts no minutes, so
//! it differs only when something has moved.
use serde::{Deserialize, Serialize};

use crate::domain::id::DrvPath;

/// What is known of a build that is not done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outlook {
    /// Why no builder takes it now, in words: away, drained, full.
    pub held: Option<String>,
    /// Its turn, while it waits for a slot.
    pub turn: Option<Turn>,
    /// The builder of its newest attempt.
    pub builder: Option<String>,
    /// How far its attempt is, while one runs.
    pub counts: Option<Counts>,
    /// What the host's last build took, in milliseconds.
    pub build_ms: Option<i64>,
    /// What the host's last evaluation took, in milliseconds.
    pub evaluation_ms: Option<i64>,
}

/// A place in a queue, counted from 1, and how many wait in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    pub place: u32,
    pub of: u32,
}

/// How far an attempt is: derivations done, of so many.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    pub done: u64,
    pub expected: u64,
    /// Of those that are being built, the one that began last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<DrvPath>,
}

impl std::fmt::Display for Turn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "place {} of {}", self.place, self.of)
    }
}

/// `12 of 340 derivations`; `None` while nothing is counted.
pub(super) fn progress(outlook: &Outlook) -> Option<String> {
    let Counts { done, expected, .. } = outlook.counts.as_ref().filter(|it| it.expected > 0)?;
    let noun = if *expected == 1 { "derivation" } else { "derivations" };
    Some(format!("{done} of {expected} {noun}"))
}

/// `about 4 minutes, from the last run`; `None` of a host that is new.
pub(super) fn estimate(last_ms: Option<i64>) -> Option<String> {
    last_ms.map(|ms| format!("{}, from the last run", roughly(ms)))
}

/// A length of time as exact as a guess can be.
fn roughly(milliseconds: i64) -> String {
    let minutes = (milliseconds.max(0) + 30_000) / 60_000;
    match minutes {
        0 => "less than a minute".to_owned(),
        1 => "about a minute".to_owned(),
        2..90 => format!("about {minutes} minutes"),
        _ => format!("about {} hours", (minutes + 30) / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guess_is_no_more_exact_than_it_can_be() {
        let guesses = [0, 29_999, 30_000, 240_000, 5_399_000, 5_400_000, 9_000_000].map(roughly);
        assert_eq!(
            guesses,
            [
                "less than a minute",
                "less than a minute",
                "about a minute",
                "about 4 minutes",
                "about 2 hours",
                "about 2 hours",
                "about 3 hours"
            ]
        );
    }
}
