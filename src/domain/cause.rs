//! What makes two failures one: the same derivation, or the same error at the same place.
use crate::domain::build::{Ending, EvaluationFailure};
use crate::domain::id::DrvPath;
use crate::domain::text::plain_title;

/// Why a host fails, as far as others may fail for the same reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason<'v> {
    /// This derivation failed to build.
    Failed(&'v DrvPath),
    /// This derivation ran into the limit of this setting.
    TimedOut(&'v DrvPath, &'v str),
    /// The evaluation failed.
    Error(&'v EvaluationFailure),
    /// Nobody's fault.
    NoAnswer(&'v str),
    /// Shared with nobody.
    Own,
}

impl Reason<'_> {
    /// Of an ending.
    #[must_use]
    pub fn of(ending: Option<&Ending>) -> Reason<'_> {
        match ending {
            Some(Ending::BuildFailed(failure)) => Reason::Failed(&failure.derivation),
            Some(Ending::TimedOut(late)) => match &late.derivation {
                Some(drv) => Reason::TimedOut(drv, &late.setting),
                None => Reason::Own,
            },
            Some(Ending::EvaluationFailed(failure)) => Reason::Error(failure),
            Some(Ending::Transient { what }) => Reason::NoAnswer(what),
            Some(
                Ending::Reused
                | Ending::Built { .. }
                | Ending::Superseded { .. }
                | Ending::Cancelled { .. }
                | Ending::Skipped { .. }
                | Ending::Internal { .. },
            )
            | None => Reason::Own,
        }
    }

    /// Whether two hosts fail for one reason.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Error(one), Self::Error(other)) => {
                one.headline == other.headline && one.place == other.place
            }
            (Self::Own, _) => false,
            (one, other) => one == other,
        }
    }

    /// What it does to several hosts (`37 hosts`), in one line of plain text.
    #[must_use]
    pub fn stops(&self, hosts: &str) -> String {
        match self {
            Self::Failed(drv) => format!("{} failed and stops {hosts}", drv.name()),
            Self::TimedOut(drv, setting) => {
                format!("{} ran into {setting} and stops {hosts}", drv.name())
            }
            Self::Error(failure) => {
                format!("{hosts} do not evaluate: {}", plain_title(&failure.headline, 120))
            }
            Self::NoAnswer(what) => format!("{hosts} got no answer: {}", plain_title(what, 120)),
            Self::Own => hosts.to_owned(),
        }
    }
}
