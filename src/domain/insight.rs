//! What changes on a host: its system against the one of the commit before.
//!
//! Kept as JSON ([`VERSION`]) and given to machines in the same form, so fields are only added.
mod base;
mod words;

use serde::{Deserialize, Serialize};

use crate::domain::closure::{Difference, PackageChange};
use crate::domain::id::{AttrPath, CommitSha};
use crate::domain::units::Effect;

pub use base::{Base, Candidate, base};
pub use words::{headline, package, reboot, roll_up, sizes, unknown, why};

/// Of the form in which insights are kept; another is not read.
pub const VERSION: i64 = 1;

/// Packages that are kept of one host; a new release of nixpkgs changes most of a thousand.
const MOST_PACKAGES: usize = 1000;
/// Names that are kept of each other list.
const MOST_NAMES: usize = 200;

/// What is known of the change of one host.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "insight", rename_all = "snake_case")]
pub enum Insight {
    /// The system is the same, to its path.
    Unchanged {
        base: CommitSha,
    },
    /// What differs names the commit (`self.rev`, the flake's own files), and nothing else does.
    RevisionOnly {
        base: CommitSha,
        units: Option<Units>,
    },
    Changed {
        base: CommitSha,
        changes: Box<Changes>,
    },
    /// There is nothing to compare with.
    Absent {
        base: CommitSha,
        why: Absent,
    },
}

/// Why there is nothing to compare with.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum Absent {
    /// No run of ours has the base commit.
    NeverBuilt,
    /// The base commit does not have this host.
    NewHost,
    /// The host was not good there.
    BaseFailed,
    /// The base's system is no longer in the store, and no cache has it.
    Gone,
    /// It was built on another machine, which is out of reach.
    Elsewhere,
    /// A cache has it, but did not deliver it in time.
    Late { seconds: u64 },
    /// More store paths than this are not looked at.
    TooLarge { most: u64 },
    /// The store did not answer.
    Unreadable,
}

/// What is another in a system.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Changes {
    /// Bytes of the closure.
    pub before: u64,
    pub after: u64,
    pub packages: Vec<PackageChange>,
    /// How many more packages changed.
    pub more_packages: usize,
    /// Packages of the same version with other content.
    pub rebuilt: Names,
    /// How many files of the configuration are new, gone or changed.
    pub files: usize,
    /// Why the new system is in effect only after a reboot; empty when it is at once.
    pub reboot: Vec<PartChange>,
    /// `None` of what is no system with systemd.
    pub units: Option<Units>,
    #[serde(default, skip_serializing_if = "Seen::is_all")]
    pub seen: Seen,
}

/// How far two systems were looked into.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Seen {
    /// Into their files.
    #[default]
    Files,
    /// One is on another machine: which store paths they need, no more. What happens to units and
    /// whether a reboot is needed is not known.
    Paths,
}

impl Seen {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
    fn is_all(&self) -> bool {
        *self == Self::Files
    }
}

/// Some names, and how many there are besides.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Names {
    pub names: Vec<String>,
    pub more: usize,
}

/// A part of a system that is taken in at boot alone, with its versions where they are known.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PartChange {
    pub part: Part,
    pub before: Option<String>,
    pub after: Option<String>,
}

/// What a machine takes in when it boots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    Kernel,
    KernelModules,
    KernelParameters,
    Initrd,
    Systemd,
}

/// What a switch to the new system does to units, if they run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Units {
    pub restarted: Names,
    pub reloaded: Names,
    /// Changed, and not touched by a switch.
    pub left_alone: Names,
    pub added: Names,
    pub removed: Names,
}

/// How a unit differs between two systems.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnitChange {
    Added,
    Removed,
    Kept(Effect),
}

impl Names {
    /// The first of them, in their order.
    #[must_use]
    pub fn of(mut names: Vec<String>) -> Self {
        let more = names.len().saturating_sub(MOST_NAMES);
        names.truncate(MOST_NAMES);
        Self { names, more }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.names.len() + self.more
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Units {
    /// The units by what happens to them.
    #[must_use]
    pub fn of(changes: &[(String, UnitChange)]) -> Self {
        let names = |wanted: UnitChange| {
            let these = changes.iter().filter(|(_, change)| *change == wanted);
            let mut names: Vec<String> = these.map(|(name, _)| name.clone()).collect();
            names.sort();
            Names::of(names)
        };
        Self {
            restarted: names(UnitChange::Kept(Effect::Restarted)),
            reloaded: names(UnitChange::Kept(Effect::Reloaded)),
            left_alone: names(UnitChange::Kept(Effect::LeftAlone)),
            added: names(UnitChange::Added),
            removed: names(UnitChange::Removed),
        }
    }
}

impl Changes {
    /// What was found out about a host, within what is kept of it.
    #[must_use]
    pub fn of(closure: Difference, reboot: Vec<PartChange>, units: Option<Units>) -> Self {
        let Difference { before, after, mut packages, rebuilt, files } = closure;
        let more_packages = packages.len().saturating_sub(MOST_PACKAGES);
        packages.truncate(MOST_PACKAGES);
        let rebuilt = Names::of(rebuilt);
        let seen = Seen::Files;
        Self { before, after, packages, more_packages, rebuilt, files, reboot, units, seen }
    }

    /// How many packages have other versions.
    #[must_use]
    pub fn package_count(&self) -> usize {
        self.packages.len() + self.more_packages
    }
}

impl Insight {
    /// The commit that the host was compared with.
    #[must_use]
    pub fn base(&self) -> &CommitSha {
        match self {
            Self::Unchanged { base }
            | Self::RevisionOnly { base, .. }
            | Self::Changed { base, .. }
            | Self::Absent { base, .. } => base,
        }
    }

    /// The units, where something happens to any.
    #[must_use]
    pub fn units(&self) -> Option<&Units> {
        match self {
            Self::RevisionOnly { units, .. } => units.as_ref(),
            Self::Changed { changes, .. } => changes.units.as_ref(),
            Self::Unchanged { .. } | Self::Absent { .. } => None,
        }
    }
}

/// Whether an output of a flake is something that people deploy: of a check, nobody wants to know
/// how the result differs.
#[must_use]
pub fn is_compared(attr: &AttrPath) -> bool {
    const DEPLOYED: [&str; 4] =
        ["nixosConfigurations", "darwinConfigurations", "homeConfigurations", "packages"];
    DEPLOYED.contains(&attr.output())
}

#[cfg(test)]
pub(crate) mod tests;
