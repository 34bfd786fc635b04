//! Which system a host is compared with.
use crate::domain::build::{BuildState, Derivation, Ending};
use crate::domain::id::StorePath;
use crate::domain::insight::Absent;

/// What stands of a host at the base commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub state: BuildState,
}

/// What a host is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Base {
    /// It has the same system.
    Same,
    /// This one was built.
    System(StorePath),
    /// It has no ending yet.
    Open,
    Absent(Absent),
}

/// Decides from the builds of the host at the base commit, the newest first; `None` when no run
/// of ours has that commit.
#[must_use]
pub fn base(own: &Derivation, at_base: Option<&[Candidate]>) -> Base {
    let Some(candidates) = at_base else { return Base::Absent(Absent::NeverBuilt) };
    let Some(out) = out(own) else { return Base::Absent(Absent::Unreadable) };
    let derivations = || candidates.iter().filter_map(|it| it.state.derivation());
    if derivations().any(|it| it.path == own.path || self::out(it) == Some(out)) {
        return Base::Same;
    }
    let is_good = |it: &&Candidate| it.state.ending().is_some_and(Ending::is_good);
    let good = candidates.iter().filter(is_good).find_map(|it| self::out(it.state.derivation()?));
    match good {
        Some(out) => Base::System(out.clone()),
        None if candidates.is_empty() => Base::Absent(Absent::NewHost),
        None if candidates.iter().any(|it| it.state.ending().is_none()) => Base::Open,
        None => Base::Absent(Absent::BaseFailed),
    }
}

/// The output that is deployed.
fn out(of: &Derivation) -> Option<&StorePath> {
    of.outputs.get("out").or_else(|| of.outputs.values().next())
}
