//! Insights in words, as plain text: whoever shows them makes them safe for where they stand.
use std::collections::BTreeMap;

use crate::domain::closure::{Change, PackageChange};
use crate::domain::insight::{Absent, Changes, Insight, Names, Part, PartChange, Seen, Units};
use crate::domain::page::bytes;

/// Lines of a roll-up that name packages.
const MOST_LINES: usize = 8;
/// A change of a closure's size that is worth a word.
const WORTH_A_WORD: u64 = 1 << 20;

/// The change of one host in one line; what people deploy for stands first.
#[must_use]
pub fn headline(insight: &Insight) -> String {
    match insight {
        Insight::Unchanged { .. } => "nothing changes".to_owned(),
        Insight::RevisionOnly { units, .. } => {
            let mut parts = vec!["nothing but the revision changes".to_owned()];
            parts.extend(units.as_ref().and_then(restarts));
            parts.join("; ")
        }
        Insight::Changed { changes, .. } => {
            let mut parts = vec![packages(changes)];
            if !changes.reboot.is_empty() {
                parts.push("needs a reboot".to_owned());
            }
            parts.extend(changes.units.as_ref().and_then(restarts));
            if changes.before.abs_diff(changes.after) >= WORTH_A_WORD {
                parts.push(grown(changes));
            }
            parts.join("; ")
        }
        Insight::Absent { base, why } => {
            format!("not compared with {}: {}", base.short(), self::why(why))
        }
    }
}

fn packages(changes: &Changes) -> String {
    let more = changes.package_count().saturating_sub(1);
    match (changes.packages.first(), more) {
        (Some(first), 0) => package(first),
        (Some(first), 1) => format!("{} and 1 more package", package(first)),
        (Some(first), _) => format!("{} and {more} more packages", package(first)),
        (None, _) if !changes.rebuilt.is_empty() => {
            format!("{} rebuilt, no version changes", count(changes.rebuilt.len(), "package"))
        }
        (None, _) => "no package changes".to_owned(),
    }
}

fn restarts(units: &Units) -> Option<String> {
    match units.restarted.names.as_slice() {
        [] => None,
        [only] => Some(format!("restarts {only}")),
        _ => Some(format!("restarts {} units", units.restarted.len())),
    }
}

/// `openssl 3.5.1 to 3.5.2`, `jq 1.8 added`.
#[must_use]
pub fn package(it: &PackageChange) -> String {
    let PackageChange { name, change, before, after } = it;
    let (before, after) = (before.join(", "), after.join(", "));
    match change {
        Change::Upgraded | Change::Changed => format!("{name} {before} to {after}"),
        Change::Downgraded => format!("{name} {before} down to {after}"),
        Change::Added => format!("{name} {after} added"),
        Change::Removed => format!("{name} {before} removed"),
    }
}

/// `kernel 6.12.9 to 6.12.58, initrd`.
#[must_use]
pub fn reboot(parts: &[PartChange]) -> String {
    let one = |it: &PartChange| {
        let name = match it.part {
            Part::Kernel => "kernel",
            Part::KernelModules => "kernel modules",
            Part::KernelParameters => "kernel parameters",
            Part::Initrd => "initrd",
            Part::Systemd => "systemd",
        };
        match (it.part, &it.before, &it.after) {
            (Part::Kernel | Part::Systemd, Some(before), Some(after)) if before != after => {
                format!("{name} {before} to {after}")
            }
            // The others have the kernel's version, or none.
            (_, _, _) => name.to_owned(),
        }
    };
    parts.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// What cannot be told of a host, as a sentence without a full stop.
#[must_use]
pub fn unknown(changes: &Changes) -> Option<&'static str> {
    match changes.seen {
        Seen::Files => None,
        Seen::Paths => Some(
            "It is on another machine, where its packages were compared; what happens to units and \
             whether a reboot is needed is not known",
        ),
    }
}

/// `1.4 GiB to 1.5 GiB (102 MiB more)`.
#[must_use]
pub fn sizes(changes: &Changes) -> String {
    let (before, after) = (bytes(changes.before), bytes(changes.after));
    if changes.before.abs_diff(changes.after) < WORTH_A_WORD {
        format!("{after}, as before")
    } else {
        format!("{before} to {after} ({})", grown(changes))
    }
}

fn grown(changes: &Changes) -> String {
    let word = if changes.after > changes.before { "more" } else { "less" };
    format!("{} {word}", bytes(changes.before.abs_diff(changes.after)))
}

/// Why a host was not compared.
#[must_use]
pub fn why(absent: &Absent) -> String {
    match absent {
        Absent::NeverBuilt => "the base commit was never built here".to_owned(),
        Absent::NewHost => "the base commit does not have this host".to_owned(),
        Absent::BaseFailed => "the host did not build at the base commit".to_owned(),
        Absent::Gone => {
            "the base's system is no longer in the store, and no cache has it".to_owned()
        }
        Absent::Elsewhere => {
            "it was built on another machine, which is out of reach now".to_owned()
        }
        Absent::Late { seconds } => {
            format!("no cache delivered the base's system within {seconds} s")
        }
        Absent::TooLarge { most } => format!("a system has more than {most} store paths"),
        Absent::Unreadable => "the store did not answer".to_owned(),
    }
}

/// What changes across a fleet, a line each: reboots, then what most hosts have in common.
#[must_use]
pub fn roll_up(insights: &[&Insight]) -> Vec<String> {
    let all = insights.len();
    let on = |count: usize| match (count, all) {
        (1, 1) => "on the host".to_owned(),
        (count, all) if count == all => format!("on all {all} hosts"),
        (count, all) => format!("on {count} of {all} hosts"),
    };
    let number = |is: &dyn Fn(&Insight) -> bool| insights.iter().filter(|it| is(it)).count();
    let mut lines = Vec::new();
    let reboots = number(&|it| match it {
        Insight::Changed { changes, .. } => !changes.reboot.is_empty(),
        Insight::Unchanged { .. } | Insight::RevisionOnly { .. } | Insight::Absent { .. } => false,
    });
    let restarts = number(&|it| it.units().is_some_and(|units| !units.restarted.is_empty()));
    let unknown = number(&|it| match it {
        Insight::Changed { changes, .. } => self::unknown(changes).is_some(),
        Insight::Unchanged { .. } | Insight::RevisionOnly { .. } | Insight::Absent { .. } => false,
    });
    for (count, what) in [
        (reboots, "a reboot is needed"),
        (restarts, "units are restarted"),
        (unknown, "units and reboots are not known"),
    ] {
        if count > 0 {
            lines.push(format!("{what} {}", on(count)));
        }
    }
    lines.extend(common(insights).into_iter().map(|(what, hosts)| match hosts {
        Some(hosts) => format!("{what} {}", on(hosts)),
        None => what,
    }));
    let same = number(&|it| matches!(it, Insight::Unchanged { .. }));
    let revision = number(&|it| matches!(it, Insight::RevisionOnly { .. }));
    for (count, what) in [(revision, "nothing but the revision changes"), (same, "nothing changes")]
    {
        if count > 0 {
            lines.push(format!("{what} {}", on(count)));
        }
    }
    lines.extend(
        absent(insights)
            .into_iter()
            .map(|(why, hosts)| format!("not compared {}: {why}", on(hosts))),
    );
    lines
}

/// The packages that most hosts have in common; the rest is counted in a line without hosts.
fn common(insights: &[&Insight]) -> Vec<(String, Option<usize>)> {
    let mut hosts: BTreeMap<&PackageChange, (usize, usize)> = BTreeMap::new();
    let mut without = 0;
    for insight in insights {
        let Insight::Changed { changes, .. } = insight else { continue };
        without += usize::from(changes.package_count() == 0);
        for (place, package) in changes.packages.iter().enumerate() {
            let entry = hosts.entry(package).or_insert((0, place));
            *entry = (entry.0 + 1, entry.1.min(place));
        }
    }
    let mut hosts: Vec<_> = hosts.into_iter().collect();
    // Of those on as many hosts, what stands first on a host stands first here.
    hosts.sort_by_key(|(_, (count, place))| (std::cmp::Reverse(*count), *place));
    let more = hosts.len().saturating_sub(MOST_LINES);
    let shown = hosts.iter().take(MOST_LINES);
    let mut lines: Vec<_> = shown.map(|(it, (count, _))| (package(it), Some(*count))).collect();
    if more > 0 {
        lines.push((format!("{} more", count(more, "package change")), None));
    }
    if without > 0 {
        lines.push(("no version changes".to_owned(), Some(without)));
    }
    lines
}

fn absent(insights: &[&Insight]) -> BTreeMap<String, usize> {
    let mut reasons = BTreeMap::new();
    for insight in insights {
        if let Insight::Absent { why, .. } = insight {
            *reasons.entry(self::why(why)).or_default() += 1;
        }
    }
    reasons
}

fn count(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

impl Names {
    /// `a, b and 3 more`, at most so many of them by name.
    #[must_use]
    pub fn listed(&self, most: usize) -> String {
        let shown = self.names.iter().take(most).cloned().collect::<Vec<_>>().join(", ");
        match self.len() - self.names.len().min(most) {
            0 => shown,
            more => format!("{shown} and {more} more"),
        }
    }
}
