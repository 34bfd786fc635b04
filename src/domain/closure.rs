//! What a system is made of: the packages of its closure, compared with another's.
pub mod version;

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde::{Deserialize, Serialize};

use crate::domain::id::StorePath;

/// A store path of a closure, with what Nix knows of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClosurePath {
    pub path: StorePath,
    pub package: Package,
    /// Bytes, as Nix counts them (of its NAR).
    pub size: u64,
    /// Nix's hash of its content: two paths may have the same.
    pub content: String,
}

/// What a store path is called: a package with its version, or a file of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Package {
    pub name: String,
    /// `None` of what has none: `etc`, `unit-sshd.service`.
    pub version: Option<String>,
}

impl Package {
    /// Reads what follows the hash in a store path. The version begins at the first dash that a
    /// letter does not follow; the name of an output at the end (`-dev`, `-lib32`) is left out.
    ///
    /// The same rule as Nix's `diff-closures`, but that a name without a version stays whole:
    /// nothing tells the output of `foo-bin` from a package of that name.
    #[must_use]
    pub fn parse(name: &str) -> Self {
        let (name, version) = split(name);
        let version = version.map(|it| without_output(it).to_owned());
        Self { name: name.to_owned(), version }
    }
}

fn split(name: &str) -> (&str, Option<&str>) {
    let dashes = name.match_indices('-').map(|(at, _)| at);
    let begins =
        |at: &usize| name[at + 1..].chars().next().is_some_and(|next| !next.is_ascii_alphabetic());
    match dashes.into_iter().find(begins) {
        Some(at) if at > 0 => (&name[..at], Some(&name[at + 1..])),
        Some(_) | None => (name, None),
    }
}

fn without_output(version: &str) -> &str {
    match version.rsplit_once('-') {
        Some((version, "lib32" | "lib64")) => version,
        Some((version, output))
            if !output.is_empty() && output.bytes().all(|b| b.is_ascii_lowercase()) =>
        {
            version
        }
        Some(_) | None => version,
    }
}

/// A system and everything that it needs at run time, itself included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closure<'c> {
    pub toplevel: &'c StorePath,
    pub paths: Vec<&'c ClosurePath>,
}

/// How one closure differs from another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Bytes of the whole closure.
    pub before: u64,
    pub after: u64,
    /// What people want to read first stands first.
    pub packages: Vec<PackageChange>,
    /// Packages of the same versions with other content, by name.
    pub rebuilt: Vec<String>,
    /// How many files of the configuration (paths without a version) are new, gone or changed.
    pub files: usize,
}

/// A package whose versions are not the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PackageChange {
    pub name: String,
    pub change: Change,
    /// Versions that went, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub before: Vec<String>,
    /// Versions that came, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<String>,
}

/// What happened to a package, declared in the order in which people want to read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    Downgraded,
    Upgraded,
    /// Another version that is neither newer nor older.
    Changed,
    Added,
    /// This version of it, at least: another may stay.
    Removed,
}

/// What an operator looks for first, in this order.
const FIRST: [&str; 10] = [
    "linux",
    "systemd",
    "glibc",
    "openssl",
    "openssh",
    "nix",
    "sudo",
    "linux-firmware",
    "nixos-system",
    "bash",
];

/// Made for the host, of the kernel's version: no package.
const INITRD: &str = "initrd-linux";

/// Compares two closures. The toplevels themselves count as sizes only.
#[must_use]
pub fn compare(base: &Closure<'_>, head: &Closure<'_>) -> Difference {
    let touched = touched(base, head);
    let mut names: BTreeMap<&str, [Versions<'_>; 2]> = BTreeMap::new();
    for (side, closure) in [base, head].into_iter().enumerate() {
        let paths = closure.paths.iter().filter(|it| it.path != *closure.toplevel);
        let paths = paths.filter(|it| it.package.name != INITRD);
        for it in paths.filter(|it| touched.contains(it.package.name.as_str())) {
            let versions = &mut names.entry(&it.package.name).or_default()[side];
            let contents = versions.entry(it.package.version.as_deref()).or_default();
            contents.insert(&it.content);
        }
    }
    let mut packages = Vec::new();
    let mut rebuilt = Vec::new();
    let mut files = 0;
    for (name, [before, after]) in &names {
        files += usize::from(before.get(&None) != after.get(&None));
        match change(name, before, after) {
            Some(change) => packages.push(change),
            None if is_rebuilt(before, after) => rebuilt.push((*name).to_owned()),
            None => {}
        }
    }
    packages.sort_by_cached_key(|it| (rank(&it.name), it.change, it.name.clone()));
    rebuilt.sort_by_cached_key(|it| (rank(it), it.clone()));
    Difference { before: size(base), after: size(head), packages, rebuilt, files }
}

/// The contents of each version.
type Versions<'c> = BTreeMap<Option<&'c str>, BTreeSet<&'c str>>;

/// The names of what is in one of them only.
fn touched<'c>(base: &Closure<'c>, head: &Closure<'c>) -> HashSet<&'c str> {
    let paths = |of: &Closure<'c>| -> HashSet<&'c StorePath> {
        of.paths.iter().map(|it| &it.path).collect()
    };
    let (in_base, in_head) = (paths(base), paths(head));
    let gone = base.paths.iter().filter(|it| !in_head.contains(&it.path));
    let new = head.paths.iter().filter(|it| !in_base.contains(&it.path));
    gone.chain(new).map(|it| it.package.name.as_str()).collect()
}

fn change(name: &str, before: &Versions<'_>, after: &Versions<'_>) -> Option<PackageChange> {
    let only = |these: &Versions<'_>, those: &Versions<'_>| -> Vec<String> {
        let only = these.keys().filter(|it| !those.contains_key(*it));
        let mut only: Vec<String> = only.filter_map(|it| it.map(str::to_owned)).collect();
        only.sort_by(|a, b| version::compare(a, b).then_with(|| a.cmp(b)));
        only
    };
    let (gone, new) = (only(before, after), only(after, before));
    let change = match (gone.last(), new.last()) {
        (None, None) => return None,
        (None, Some(_)) => Change::Added,
        (Some(_), None) => Change::Removed,
        (Some(gone), Some(new)) => match version::compare(gone, new) {
            Ordering::Less => Change::Upgraded,
            Ordering::Equal => Change::Changed,
            Ordering::Greater => Change::Downgraded,
        },
    };
    Some(PackageChange { name: name.to_owned(), change, before: gone, after: new })
}

fn is_rebuilt(before: &Versions<'_>, after: &Versions<'_>) -> bool {
    before
        .iter()
        .any(|(version, contents)| version.is_some() && after.get(version) != Some(contents))
}

fn rank(name: &str) -> usize {
    FIRST.iter().position(|it| *it == name).unwrap_or(FIRST.len())
}

fn size(closure: &Closure<'_>) -> u64 {
    closure.paths.iter().fold(0, |sum, it| sum.saturating_add(it.size))
}

#[cfg(test)]
mod tests;
