//! Which hosts of a large fleet get a check of their own.
//!
//! A pull request with 500 checks is read by nobody. A run with more hosts than
//! `github.checks_limit` shows those that say something; the gate's table has all of them.
use crate::domain::build::{Build, BuildState};
use crate::domain::id::DrvPath;
use crate::domain::verdict::{Conclusion, conclusion};

/// What the base commit had for a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base<'a> {
    /// Nothing is known of the base commit.
    Unknown,
    /// The base commit had no such host, or it did not evaluate there.
    Absent,
    Derivation(&'a str),
}

/// A host, as far as its worth goes.
#[derive(Clone, Copy, Debug)]
pub struct Host<'a> {
    pub build: &'a Build,
    pub base: Base<'a>,
}

/// Where a host is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// By a check of its own, and in the gate's table.
    Check,
    /// In the gate's table alone, as long as it stands as it does.
    Table,
}

/// Where a host that has no check is shown, in a run with more hosts than `limit`, when `shown` of
/// them have one.
///
/// A failure is always shown. A host whose check was begun is not in question: it is completed,
/// renewed when somebody asks, and its red one does not stay when the next attempt is good.
#[must_use]
pub fn place(host: &Host<'_>, shown: usize, limit: usize) -> Place {
    if has_failed(&host.build.state) {
        return Place::Check;
    }
    if has_changed(host) && shown < limit { Place::Check } else { Place::Table }
}

fn has_failed(state: &BuildState) -> bool {
    state.ending().is_some_and(|ending| match conclusion(ending) {
        Conclusion::Failure | Conclusion::TimedOut | Conclusion::ActionRequired => true,
        Conclusion::Success | Conclusion::Skipped | Conclusion::Cancelled => false,
    })
}

/// What is not evaluated yet is not known to have changed.
fn has_changed(host: &Host<'_>) -> bool {
    let derivation = host.build.state.derivation().map(|it| &it.path);
    match (derivation.map(DrvPath::as_str), host.base) {
        (None, _) => false,
        (Some(_), Base::Unknown | Base::Absent) => true,
        (Some(now), Base::Derivation(before)) => now != before,
    }
}

/// What the gate of a run with so many hosts says about it; `None` when each has a check.
#[must_use]
pub fn note(hosts: usize, limit: usize) -> Option<String> {
    (hosts > limit).then(|| {
        format!(
            "This run has {hosts} hosts, more than `github.checks_limit` ({limit}): those that \
             failed, that changed against the base commit or that were asked for have a check of \
             their own, all others are in this table alone."
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Timestamp;
    use crate::domain::build::{Derivation, Ending, Rebuild, Required};
    use crate::domain::id::AttrPath;

    const OLD: &str = "/nix/store/683yqpnsx5xvpayk2bnrb6cmk0a7blys-raider.drv";
    const NEW: &str = "/nix/store/783yqpnsx5xvpayk2bnrb6cmk0a7blys-raider.drv";

    fn build(state: BuildState) -> Build {
        Build {
            id: "01890a5d-ac96-774b-bcce-000000000002".parse().unwrap(),
            run: "01890a5d-ac96-774b-bcce-000000000001".parse().unwrap(),
            attr: AttrPath::host("raider"),
            required: Required::Required,
            attempts: 0,
            rebuild: Rebuild::IfMissing,
            state,
        }
    }

    fn ended(ending: Ending) -> Build {
        let derivation = Derivation {
            path: NEW.parse().unwrap(),
            outputs: std::collections::BTreeMap::new(),
            system: "x86_64-linux".into(),
            features: vec![],
        };
        build(BuildState::Ended { derivation: Some(derivation), ending, at: Timestamp(1) })
    }

    fn host<'a>(build: &'a Build, base: Base<'a>) -> Host<'a> {
        Host { build, base }
    }

    #[test]
    fn what_failed_is_shown_beyond_the_limit() {
        let build = ended(Ending::Transient { what: "no answer".into() });
        assert_eq!(place(&host(&build, Base::Derivation(NEW)), 600, 60), Place::Check);
    }

    #[test]
    fn what_changed_is_shown_up_to_the_limit() {
        let build = ended(Ending::Reused);
        for base in [Base::Unknown, Base::Absent, Base::Derivation(OLD)] {
            assert_eq!(place(&host(&build, base), 59, 60), Place::Check, "{base:?}");
            assert_eq!(place(&host(&build, base), 60, 60), Place::Table, "{base:?}");
        }
        assert_eq!(place(&host(&build, Base::Derivation(NEW)), 0, 60), Place::Table);
    }

    #[test]
    fn what_is_not_evaluated_waits_in_the_table() {
        let build = build(BuildState::Listed { known: None });
        assert_eq!(place(&host(&build, Base::Unknown), 0, 60), Place::Table);
    }

    #[test]
    fn the_gate_says_why_not_every_host_has_a_check() {
        assert_eq!(note(60, 60), None);
        insta::assert_snapshot!(note(200, 60).unwrap(), @"This run has 200 hosts, more than `github.checks_limit` (60): those that failed, that changed against the base commit or that were asked for have a check of their own, all others are in this table alone.");
    }
}
