//! Whether two systems differ in nothing but the commit that they name.
//!
//! A flake's own commit is part of a system as soon as it uses `self.rev`, its time or its files,
//! and then every commit gives another system: other paths of the same names, which name each
//! other. They are the same when each file says the same after every store path's hash is replaced
//! by what that path says (with its own hash as a fixed word), and the commit's hash, its time and
//! the flake's own files by words of their own. Equal by this rule is equal; what is hidden from it
//! (in a compressed file) is a difference.
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use aho_corasick::{AhoCorasick, BuildError, MatchKind};
use sha2::{Digest, Sha256};

use crate::domain::id::{CommitSha, StorePath};
use crate::nix::closure::{Closures, Paths};

/// What is read at most on each side, in bytes: a system's own files have some 50 MiB, and two
/// systems that differ in more differ in packages.
const MOST_BYTES: u64 = 256 << 20;
/// Paths of each side.
const MOST_PATHS: usize = 5_000;

/// A commit, as its flake shows it to itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    pub commit: CommitSha,
    /// `self.lastModified`: seconds since the epoch.
    pub committed_at: Option<i64>,
    /// `self.outPath`.
    pub source: Option<StorePath>,
}

/// What is in a system and not in the other.
#[derive(Clone, Debug)]
pub struct Own {
    toplevel: StorePath,
    paths: BTreeMap<StorePath, Vec<StorePath>>,
    /// Names and sizes, with the revision's words replaced.
    outline: Vec<(Vec<u8>, u64)>,
    revision: Revision,
}

impl Own {
    /// What is in `all` and not in `other`; `None` when that is too much to be no more than a
    /// revision.
    pub fn of(
        closures: &Closures,
        (toplevel, all): (&StorePath, &Paths),
        other: &Paths,
        revision: &Revision,
    ) -> Option<Self> {
        let others: HashSet<&StorePath> =
            closures.paths(other).into_iter().map(|it| &it.path).collect();
        let own = closures
            .paths(all)
            .into_iter()
            .filter(|it| !others.contains(&it.path) && revision.source.as_ref() != Some(&it.path));
        let own: Vec<_> = own.collect();
        let bytes = own.iter().fold(0_u64, |sum, it| sum.saturating_add(it.size));
        if own.len() > MOST_PATHS || bytes > MOST_BYTES {
            return None;
        }
        let words = Words::of(revision, [].into_iter()).ok()?;
        let mut outline: Vec<_> =
            own.iter().map(|it| (words.replace(it.path.name().as_bytes()), it.size)).collect();
        outline.sort();
        let names: HashSet<&StorePath> = own.iter().map(|it| &it.path).collect();
        let references = |of: &StorePath| -> Vec<StorePath> {
            let all = closures.references(of).into_iter().map(|it| &it.path);
            all.filter(|it| *it != of && names.contains(it)).cloned().collect()
        };
        let paths = own.iter().map(|it| (it.path.clone(), references(&it.path))).collect();
        Some(Self { toplevel: toplevel.clone(), paths, outline, revision: revision.clone() })
    }
}

/// Whether two systems are the same but for their revision. Reads files when their names and
/// sizes do not already say no.
///
/// # Errors
/// When the store cannot be read.
pub fn is_all(base: &Own, head: &Own) -> io::Result<bool> {
    if base.outline != head.outline {
        return Ok(false);
    }
    Ok(meaning(base)? == meaning(head)?)
}

/// What a system says, as one hash.
fn meaning(own: &Own) -> io::Result<String> {
    let mut known: HashMap<&StorePath, String> = HashMap::new();
    for path in in_order(own) {
        let references = own.paths.get(path).into_iter().flatten();
        let named = references.filter_map(|it| Some((it.hash(), known.get(it)?.clone())));
        let itself = (path.hash(), "itself".to_owned());
        let words = Words::of(&own.revision, named.chain([itself])).map_err(io::Error::other)?;
        let mut hasher = Sha256::new();
        part(&mut hasher, b'n', &words.replace(path.name().as_bytes()));
        read(&mut hasher, Path::new(path.as_str()), &words)?;
        known.insert(path, hex::encode(hasher.finalize()));
    }
    // Not a path of its own: it is in both, or the flake's files themselves.
    Ok(known.remove(&own.toplevel).unwrap_or_else(|| own.toplevel.hash().to_owned()))
}

/// Every path after those that it refers to.
fn in_order(own: &Own) -> Vec<&StorePath> {
    let mut order = Vec::with_capacity(own.paths.len());
    let mut seen: HashSet<&StorePath> = HashSet::new();
    let mut open: Vec<(&StorePath, bool)> = own.paths.keys().map(|it| (it, false)).collect();
    while let Some((path, is_done)) = open.pop() {
        if is_done {
            order.push(path);
        } else if seen.insert(path) {
            open.push((path, true));
            let references = own.paths.get(path).into_iter().flatten();
            open.extend(references.filter(|it| !seen.contains(it)).map(|it| (it, false)));
        }
    }
    order
}

/// A file, link or folder; like Nix's archives, of its mode the executable bit alone counts.
fn read(hasher: &mut Sha256, path: &Path, words: &Words) -> io::Result<()> {
    let found = path.symlink_metadata()?;
    if found.is_symlink() {
        let target = std::fs::read_link(path)?;
        part(hasher, b'l', &words.replace(target.as_os_str().as_bytes()));
    } else if found.is_dir() {
        let entries = std::fs::read_dir(path)?;
        let mut names = entries.map(|it| Ok(it?.file_name())).collect::<io::Result<Vec<_>>>()?;
        names.sort();
        part(hasher, b'd', &names.len().to_le_bytes());
        for name in names {
            part(hasher, b'e', &words.replace(name.as_bytes()));
            read(hasher, &path.join(name), words)?;
        }
    } else {
        let kind = if found.permissions().mode() & 0o100 == 0 { b'f' } else { b'x' };
        part(hasher, kind, &words.replace(&std::fs::read(path)?));
    }
    Ok(())
}

fn part(hasher: &mut Sha256, kind: u8, bytes: &[u8]) {
    hasher.update([kind]);
    hasher.update((bytes.len() as u64).to_le_bytes());
    hasher.update(bytes);
}

/// What is replaced by what.
struct Words {
    found: AhoCorasick,
    instead: Vec<String>,
}

impl Words {
    fn of<'h>(
        revision: &Revision,
        hashes: impl Iterator<Item = (&'h str, String)>,
    ) -> Result<Self, BuildError> {
        let mut words: Vec<(String, String)> =
            hashes.map(|(hash, instead)| (hash.to_owned(), instead)).collect();
        let Revision { commit, committed_at, source } = revision;
        words.push((commit.as_str().to_owned(), "commit".to_owned()));
        words.push((commit.short().to_owned(), "commit, short".to_owned()));
        words.extend(source.iter().map(|it| (it.hash().to_owned(), "source".to_owned())));
        if let Some(seconds) = committed_at.filter(|it| *it > 0) {
            words.push((seconds.to_string(), "time".to_owned()));
            // `self.lastModifiedDate`, and the day of it, of which people make versions.
            if let Some(date) = date(seconds) {
                words.push((date[..8].to_owned(), "day".to_owned()));
                words.push((date, "date".to_owned()));
            }
        }
        let (found, instead): (Vec<String>, Vec<String>) = words.into_iter().unzip();
        let found = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(found)?;
        Ok(Self { found, instead })
    }

    fn replace(&self, bytes: &[u8]) -> Vec<u8> {
        self.found.replace_all_bytes(bytes, &self.instead)
    }
}

fn date(seconds: i64) -> Option<String> {
    let time = jiff::Timestamp::from_second(seconds).ok()?;
    let digits = time.to_string().chars().filter(char::is_ascii_digit).collect::<String>();
    (digits.len() == 14).then_some(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revision(digit: char, committed_at: i64) -> Revision {
        let hash: String = std::iter::repeat_n(digit, 32).collect();
        Revision {
            commit: std::iter::repeat_n(digit, 40).collect::<String>().parse().unwrap(),
            committed_at: Some(committed_at),
            source: Some(format!("/nix/store/{hash}-source").parse().unwrap()),
        }
    }

    fn said(text: &str, revision: &Revision) -> String {
        let words = Words::of(revision, [].into_iter()).unwrap();
        String::from_utf8(words.replace(text.as_bytes())).unwrap()
    }

    #[test]
    fn a_revision_is_found_in_each_of_its_forms() {
        let (a, b) = (revision('a', 1_795_000_000), revision('b', 1_795_100_000));
        let text = |it: &Revision| {
            let (commit, seconds) = (&it.commit, it.committed_at.unwrap());
            let date = date(seconds).unwrap();
            let source = it.source.as_ref().unwrap();
            format!("{commit} {}-dirty {seconds} {date} v{} {source}/x", commit.short(), &date[..8])
        };
        let wanted = "commit commit, short-dirty time date vday /nix/store/source-source/x";
        assert_eq!(said(&text(&a), &a), wanted);
        assert_eq!(said(&text(&b), &b), wanted);
        assert_ne!(said(&text(&a), &b), wanted);
    }

    #[test]
    fn another_word_in_its_place_is_a_difference() {
        let (a, b) = (revision('a', 1_795_000_000), revision('b', 1_795_100_000));
        assert_ne!(said(a.commit.as_str(), &a), said(b.commit.short(), &b));
        assert_ne!(said("1795000000", &a), said("20261118", &b));
    }
}
