//! Who or what wants an update.
use std::fmt;
use std::str::FromStr;

use crate::domain::id::Login;

/// Why there is an update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// `[update] schedule`.
    Schedule,
    /// A comment, `/fleetcheck update`.
    Comment { by: Login },
    /// `fleetcheck update --repo` at the operator's terminal.
    Command,
}

/// A cause in the store that this version does not know.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a cause of an update")]
pub struct UnknownCause(String);

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Schedule => f.write_str("schedule"),
            Self::Comment { by } => write!(f, "comment:{by}"),
            Self::Command => f.write_str("command"),
        }
    }
}

impl FromStr for Cause {
    type Err = UnknownCause;

    fn from_str(text: &str) -> Result<Self, UnknownCause> {
        let unknown = || UnknownCause(text.to_owned());
        match text.split_once(':') {
            None if text == "schedule" => Ok(Self::Schedule),
            None if text == "command" => Ok(Self::Command),
            Some(("comment", by)) => Ok(Self::Comment { by: by.parse().map_err(|_| unknown())? }),
            Some(_) | None => Err(unknown()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_reads_back_as_it_was_written() {
        let by = "octo-cat".parse().unwrap();
        for cause in [Cause::Schedule, Cause::Comment { by }, Cause::Command] {
            assert_eq!(cause.to_string().parse::<Cause>().unwrap(), cause);
        }
        for text in ["", "schedule:x", "comment", "comment:a b"] {
            assert!(text.parse::<Cause>().is_err(), "{text}");
        }
    }
}
