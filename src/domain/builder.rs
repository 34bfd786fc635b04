//! How it stands with a builder, and what that means for those that wait for it.
mod speed;

use serde::{Deserialize, Serialize};

use crate::domain::Timestamp;
use crate::domain::page::{bytes, clock};
use crate::domain::plan::Capability;

pub use speed::{NotASpeed, Speed};

/// A builder of the settings, as it was seen last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Builder {
    pub name: String,
    pub capability: Capability,
    /// Operations at once.
    pub slots: u32,
    pub speed: Speed,
    /// Operations that run there now, whoever began them.
    pub busy: u32,
    pub condition: Condition,
    /// Since when it is in this condition.
    pub since: Timestamp,
    pub looked_at: Timestamp,
    /// When something failed there that may be its fault, if nobody has looked since.
    pub suspect_at: Option<Timestamp>,
    /// When somebody said that no new build shall go there.
    pub drained_at: Option<Timestamp>,
    pub facts: Facts,
}

/// What a look found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Condition {
    /// In the settings since the last start; whoever wants it may try.
    NotLookedAt,
    Ready,
    /// No connection, or no Nix behind it.
    Unreachable {
        why: String,
    },
    /// Older than what is supported.
    TooOld {
        version: String,
    },
    /// Less than `builder.min_free` of the store's disk is free.
    DiskLow {
        /// Bytes.
        free: u64,
        /// Bytes that must be free.
        wanted: u64,
    },
}

/// What a builder said of itself; what it did not say is not there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Nix's version: `2.34.8`.
    pub version: Option<String>,
    /// `system` and `extra-platforms` of its nix.conf.
    pub systems: Vec<String>,
    /// `system-features` of its nix.conf.
    pub features: Vec<String>,
    /// Of the store's disk, in bytes.
    pub free: Option<u64>,
    /// Of the store's disk, in bytes.
    pub size: Option<u64>,
    /// The load of the last minute, as it prints it: `0.52`.
    pub load: Option<String>,
    /// How many seconds its clock is ahead of ours.
    pub ahead: Option<i64>,
    /// The last that it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collection: Option<Collection>,
}

/// A collection of a machine's garbage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collection {
    /// When it was asked for.
    pub at: Timestamp,
    /// Bytes; `None` until it is over.
    pub freed: Option<u64>,
}

/// The oldest Nix that is supported; what it says and prints is tested from here on.
pub const OLDEST_NIX: (u64, u64) = (2, 8);

/// A clock that is off by more than this many seconds is told: certificates and substituters care.
pub const MOST_AHEAD: i64 = 60;

/// The condition that a look's outcome means; `min_free` is in percent of the disk.
#[must_use]
pub fn judge(seen: Result<&Facts, &str>, min_free: u8) -> Condition {
    let facts = match seen {
        Ok(facts) => facts,
        Err(why) => return Condition::Unreachable { why: why.to_owned() },
    };
    if let Some(version) = facts.version.as_ref().filter(|it| is_older(it, OLDEST_NIX)) {
        return Condition::TooOld { version: version.clone() };
    }
    match (facts.free, facts.size) {
        (Some(free), Some(size)) if free < size / 100 * u64::from(min_free) => {
            Condition::DiskLow { free, wanted: size / 100 * u64::from(min_free) }
        }
        _ => Condition::Ready,
    }
}

/// Whether a version like `2.34.8` or `2.4pre20210802` is older; one that cannot be read is not.
#[must_use]
pub fn is_older(version: &str, than: (u64, u64)) -> bool {
    let mut numbers =
        version.split(|c: char| !c.is_ascii_digit()).map_while(|number| number.parse::<u64>().ok());
    let (major, minor) = (numbers.next(), numbers.next().unwrap_or(0));
    major.is_some_and(|major| (major, minor) < than)
}

impl Builder {
    /// Whether a new build may go there.
    #[must_use]
    pub fn takes_work(&self) -> bool {
        self.drained_at.is_none()
            && matches!(self.condition, Condition::Ready | Condition::NotLookedAt)
    }

    /// Whether it spoke with us when it was looked at last.
    #[must_use]
    pub fn answers(&self) -> bool {
        match self.condition {
            Condition::Ready | Condition::NotLookedAt | Condition::DiskLow { .. } => true,
            Condition::Unreachable { .. } | Condition::TooOld { .. } => false,
        }
    }

    /// Since when no new build may go there; `None` while one may.
    fn closed_since(&self) -> Option<Timestamp> {
        let away = match &self.condition {
            Condition::NotLookedAt | Condition::Ready => None,
            Condition::Unreachable { .. }
            | Condition::TooOld { .. }
            | Condition::DiskLow { .. } => Some(self.since),
        };
        match (self.drained_at, away) {
            (Some(drained), Some(away)) => Some(drained.min(away)),
            (drained, away) => drained.or(away),
        }
    }

    /// Slots in which nothing runs.
    #[must_use]
    pub fn free(&self) -> u32 {
        self.slots.saturating_sub(self.busy)
    }

    /// One word for lists and metrics.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match &self.condition {
            _ if self.drained_at.is_some() => "drained",
            Condition::NotLookedAt => "not looked at",
            Condition::Ready => "ready",
            Condition::Unreachable { .. } => "unreachable",
            Condition::TooOld { .. } => "too old",
            Condition::DiskLow { .. } => "disk low",
        }
    }

    /// How it stands with it, as a sentence without its name and without a full stop.
    #[must_use]
    pub fn sentence(&self) -> String {
        match self.drained_at {
            Some(at) => format!("drained by hand since {}", clock(at)),
            None => told(&self.condition, self.since),
        }
    }

    /// The same for whoever must not know machines' names and addresses: what ssh said is left out.
    #[must_use]
    pub fn outline(&self) -> String {
        match (self.drained_at, &self.condition) {
            (None, Condition::Unreachable { .. }) => {
                format!("unreachable since {}", clock(self.since))
            }
            (
                _,
                Condition::NotLookedAt
                | Condition::Ready
                | Condition::Unreachable { .. }
                | Condition::TooOld { .. }
                | Condition::DiskLow { .. },
            ) => self.sentence(),
        }
    }

    /// What a person should know besides.
    #[must_use]
    pub fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        let facts = &self.facts;
        if let Some(ahead) = facts.ahead.filter(|it| it.abs() > MOST_AHEAD) {
            let which = if ahead > 0 { "ahead" } else { "behind" };
            remarks.push(format!("its clock is {} s {which}", ahead.abs()));
        }
        remarks.extend(facts.collection.map(|Collection { at, freed }| match freed {
            None => format!("its garbage is being collected since {}", clock(at)),
            Some(freed) => format!("{} of garbage were collected at {}", bytes(freed), clock(at)),
        }));
        let lacks = |wanted: &[String], has: &[String]| -> Vec<String> {
            let missing = wanted.iter().filter(|it| !has.is_empty() && !has.contains(it));
            missing.cloned().collect()
        };
        for (key, wanted, has) in [
            ("systems", &self.capability.systems, &facts.systems),
            ("features", &self.capability.features, &facts.features),
        ] {
            let missing = lacks(wanted, has);
            if !missing.is_empty() {
                remarks.push(format!(
                    "the settings' {key} have {}, its nix.conf does not",
                    missing.join(", ")
                ));
            }
        }
        remarks
    }
}

/// A condition that began at a time, in words.
#[must_use]
pub fn told(condition: &Condition, since: Timestamp) -> String {
    let since = clock(since);
    match condition {
        Condition::NotLookedAt => "not looked at yet".to_owned(),
        Condition::Ready => format!("ready since {since}"),
        Condition::Unreachable { why } => format!("unreachable since {since}: {why}"),
        Condition::TooOld { version } => {
            let (major, minor) = OLDEST_NIX;
            format!("its Nix is {version}; {major}.{minor} or newer is needed")
        }
        Condition::DiskLow { free, wanted } => format!(
            "its store's disk is low since {since}: {} free, {} wanted",
            bytes(*free),
            bytes(*wanted)
        ),
    }
}

/// Why none of the builders that could take it takes it now, as authors may read it; `None` when one does, and when there
/// is none in the settings, which is a reason of its own.
#[must_use]
pub fn held(system: &str, features: &[String], builders: &[Builder]) -> Option<String> {
    let able: Vec<&Builder> =
        builders.iter().filter(|it| it.capability.fits(system, features)).collect();
    if able.is_empty() || able.iter().any(|it| it.takes_work()) {
        return None;
    }
    let away = |it: &&Builder| {
        it.drained_at.is_none() && matches!(it.condition, Condition::Unreachable { .. })
    };
    if able.iter().all(away) {
        // Until then one of them was there.
        let since = able.iter().map(|it| it.since).max().unwrap_or_default();
        return Some(format!("no builder for {system} is reachable since {}", clock(since)));
    }
    let each = able.iter().map(|it| format!("{}: {}", it.name, it.outline()));
    Some(each.collect::<Vec<_>>().join("; "))
}

/// Since when none of the builders that could take it takes work; `None` as [`held`].
#[must_use]
pub fn held_since(system: &str, features: &[String], builders: &[Builder]) -> Option<Timestamp> {
    let able = builders.iter().filter(|it| it.capability.fits(system, features));
    able.map(Builder::closed_since).collect::<Option<Vec<_>>>()?.into_iter().max()
}

/// Whether a builder should leave what failed there as nobody's fault to another one.
#[must_use]
pub fn leaves_to_others(
    name: &str,
    (system, features): (&str, &[String]),
    failed_on: Option<&str>,
    builders: &[Builder],
) -> bool {
    failed_on == Some(name)
        && builders
            .iter()
            .any(|it| it.name != name && it.takes_work() && it.capability.fits(system, features))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::domain) fn builder(name: &str, condition: Condition) -> Builder {
        Builder {
            name: name.into(),
            capability: Capability {
                systems: vec!["aarch64-linux".into()],
                features: vec!["big-parallel".into()],
                mandatory: vec![],
            },
            slots: 2,
            speed: Speed::default(),
            busy: 0,
            condition,
            since: Timestamp(50_520_000),
            looked_at: Timestamp(50_530_000),
            suspect_at: None,
            drained_at: None,
            facts: Facts::default(),
        }
    }

    pub(in crate::domain) fn away() -> Condition {
        Condition::Unreachable { why: "Connection refused".into() }
    }

    #[test]
    fn nobody_waits_without_a_reason() {
        let held = |builders: &[Builder]| held("aarch64-linux", &[], builders);
        let gone = builder("basestar", away());
        assert_eq!(
            held(std::slice::from_ref(&gone)).unwrap(),
            "no builder for aarch64-linux is reachable since 14:02 UTC"
        );
        let mut drained = builder("pegasus", Condition::Ready);
        drained.drained_at = Some(Timestamp(50_520_000));
        assert_eq!(
            held(&[gone.clone(), drained]).unwrap(),
            "basestar: unreachable since 14:02 UTC; pegasus: drained by hand since 14:02 UTC"
        );
        let full = builder("x", Condition::DiskLow { free: 1 << 30, wanted: 5 << 30 });
        assert_eq!(
            held(&[full]).unwrap(),
            "x: its store's disk is low since 14:02 UTC: 1.0 GiB free, 5.0 GiB wanted"
        );
        assert_eq!(held(&[gone, builder("y", Condition::Ready)]), None);
        assert_eq!(held(&[]), None);
    }

    #[test]
    fn a_look_is_judged() {
        let mut facts = Facts {
            version: Some("2.34.8".into()),
            free: Some(6 << 30),
            size: Some(100 << 30),
            ..Facts::default()
        };
        assert_eq!(judge(Ok(&facts), 5), Condition::Ready);
        assert!(matches!(judge(Ok(&facts), 7), Condition::DiskLow { .. }));
        facts.version = Some("2.7.0".into());
        assert!(matches!(judge(Ok(&facts), 5), Condition::TooOld { .. }));
        assert_eq!(judge(Err("Connection refused"), 5), away());
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        for (version, older) in [
            ("2.7.0", true),
            ("2.8.0", false),
            ("2.34.8", false),
            ("2.4pre2021", true),
            ("x", false),
        ] {
            assert_eq!(is_older(version, OLDEST_NIX), older, "{version}");
        }
    }

    #[test]
    fn another_builder_tries_what_failed_on_one() {
        let both = [builder("a", Condition::Ready), builder("b", Condition::Ready)];
        let one = [builder("a", Condition::Ready), builder("b", away())];
        let what = ("aarch64-linux", &[][..]);
        assert!(leaves_to_others("a", what, Some("a"), &both));
        assert!(!leaves_to_others("b", what, Some("a"), &both));
        assert!(!leaves_to_others("a", what, Some("a"), &one), "better here than nowhere");
    }

    #[test]
    fn what_the_settings_promise_is_compared_with_what_it_has() {
        let mut it = builder("a", Condition::Ready);
        it.facts.systems = vec!["x86_64-linux".into()];
        it.facts.ahead = Some(-300);
        it.facts.collection = Some(Collection { at: Timestamp(50_520_000), freed: Some(3 << 30) });
        assert_eq!(
            it.remarks(),
            [
                "its clock is 300 s behind",
                "3.0 GiB of garbage were collected at 14:02 UTC",
                "the settings' systems have aarch64-linux, its nix.conf does not"
            ]
        );
    }
}
