//! References to flakes, and flakes that are pinned to what was found there.
use std::fmt;
use std::path::{Path, PathBuf};

use crate::domain::id::{CommitSha, StorePath};

/// Where a flake is, as Nix takes it, without an attribute: `.`, `github:acme/fleet`,
/// `git+file:///…/123.git?rev=SHA&dir=nix`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlakeRef(String);

/// A text that cannot be a flake reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not a flake reference: {reason}", .found.escape_debug())]
pub struct NotAFlakeRef {
    pub found: String,
    pub reason: &'static str,
}

/// A flake of which everything is known that its evaluation depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pinned {
    /// With its commit in it where it has one; otherwise (a folder, a dirty tree) as it came.
    pub flake: FlakeRef,
    /// `None` for what is in no commit.
    pub revision: Option<CommitSha>,
    /// Its files in the store: the repository's root, also of a flake in a sub-folder.
    pub source: Option<StorePath>,
    /// The folder that a local flake was read from: the newest Nix names it in traces.
    pub folder: Option<PathBuf>,
    /// The sub-folder of its repository that it is in.
    pub dir: Option<String>,
    /// Of an untrusted flake: how it is evaluated instead.
    pub confined: Option<Confined>,
}

/// An untrusted flake whose sources are in the store, and what its evaluation may read: nothing
/// else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confined {
    /// A Nix expression of the flake.
    pub(super) expression: String,
    /// The URL that stands for "in the store", which nobody can guess.
    pub(super) place: String,
    /// The experimental features that it has.
    pub(super) features: String,
    /// Its sources: to be kept from the garbage collector while it is evaluated.
    pub held: Vec<StorePath>,
}

impl Pinned {
    /// A flake of which the commit alone is known, which says everything about its evaluation and
    /// nothing of where its files are.
    #[must_use]
    pub fn of_commit(flake: FlakeRef, commit: CommitSha) -> Self {
        let revision = Some(commit);
        Self { flake, revision, source: None, folder: None, dir: None, confined: None }
    }
}

impl FlakeRef {
    /// What a person typed.
    ///
    /// # Errors
    /// When it is empty, names an attribute, or would be taken for an option.
    pub fn parse(text: &str) -> Result<Self, NotAFlakeRef> {
        let reason = if text.is_empty() {
            "it is empty; `.` is this folder"
        } else if text.starts_with('-') {
            "it begins with a dash; write `./-…` for a folder of such a name"
        } else if text.contains('#') {
            "it names an attribute after `#`; leave that out"
        } else if text.contains(char::is_control) {
            "it has control characters"
        } else {
            return Ok(Self(text.to_owned()));
        };
        Err(NotAFlakeRef { found: text.chars().take(200).collect(), reason })
    }

    /// A commit of the mirror in this folder, which must be absolute. The ref changes nothing
    /// about the flake; it is for a Nix that clones the mirror first, as 2.8 does when there is
    /// something to encode in its path.
    #[must_use]
    pub fn of_mirror(directory: &Path, commit: &CommitSha) -> Self {
        let path = encode(directory.as_os_str().as_encoded_bytes());
        Self(format!("git+file://{path}?ref=refs/fleetcheck/{commit}&rev={commit}"))
    }

    /// What is in a folder now, in git or not; the folder must be absolute.
    #[must_use]
    pub fn of_folder(folder: &Path) -> Self {
        Self(format!("path:{}", encode(folder.as_os_str().as_encoded_bytes())))
    }

    /// The flake in a sub-folder of this one; `dir` is relative, empty or `.` for the same.
    #[must_use]
    pub fn within(&self, dir: &str) -> Self {
        let dir = dir.trim_matches('/');
        if matches!(dir, "" | ".") {
            return self.clone();
        }
        // A path has no scheme; a URL has one before the first slash.
        let first = self.0.split('/').next().unwrap_or_default();
        if !first.contains(':') {
            return Self(format!("{}/{dir}", self.0.trim_end_matches('/')));
        }
        let sign = if self.0.contains('?') { '&' } else { '?' };
        Self(format!("{}{sign}dir={}", self.0, encode(dir.as_bytes())))
    }

    /// The folder of this machine that it names, if it is one and no sub-folder is asked for.
    #[must_use]
    pub fn local_folder(&self) -> Option<&Path> {
        let text = self.0.as_str();
        let folder = ["path:", "git+file://"].iter().find_map(|it| text.strip_prefix(it));
        let is_path = folder.is_some() || text.starts_with(['.', '/']);
        (is_path && !text.contains(['?', '%'])).then(|| Path::new(folder.unwrap_or(text)))
    }

    /// As Nix takes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The repository's own URL, of a mirror's flake: `file:///…`.
    pub(super) fn repository(&self) -> &str {
        let text = self.0.strip_prefix("git+").unwrap_or(&self.0);
        text.split('?').next().unwrap_or(text)
    }

    /// Whether it names exactly this commit.
    #[must_use]
    pub fn names(&self, commit: &CommitSha) -> bool {
        self.0.contains(&format!("rev={commit}"))
    }
}

impl fmt::Display for FlakeRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Percent-encodes what is not plain in a URL's path; slashes stay.
fn encode(path: &[u8]) -> String {
    use fmt::Write as _;
    let mut encoded = String::with_capacity(path.len());
    for &byte in path {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing into a `String` cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit() -> CommitSha {
        "0123456789abcdef0123456789abcdef01234567".parse().unwrap()
    }

    #[test]
    fn a_repository_in_a_folder_with_any_name_is_a_valid_url() {
        let flake = FlakeRef::of_mirror(Path::new("/var/li b/1?.git"), &commit());
        assert_eq!(
            flake.within("nix/é").as_str(),
            format!(
                "git+file:///var/li%20b/1%3F.git?ref=refs/fleetcheck/{0}&rev={0}&dir=nix/%C3%A9",
                commit()
            )
        );
        assert!(flake.names(&commit()));
    }

    #[test]
    fn a_sub_folder_of_what_a_person_typed() {
        let within = |text: &str| FlakeRef::parse(text).unwrap().within("nix").to_string();
        assert_eq!(within("."), "./nix");
        assert_eq!(within("/srv/fleet/"), "/srv/fleet/nix");
        assert_eq!(within("github:acme/fleet"), "github:acme/fleet?dir=nix");
        assert_eq!(
            within("git+file:///srv/fleet?ref=main"),
            "git+file:///srv/fleet?ref=main&dir=nix"
        );
        assert_eq!(FlakeRef::parse(".").unwrap().within(".").as_str(), ".");
    }

    #[test]
    fn a_folder_of_this_machine_is_known_as_one() {
        let folder = |text: &str| {
            FlakeRef::parse(text).unwrap().local_folder().map(|it| it.display().to_string())
        };
        assert_eq!(folder("../fleet").as_deref(), Some("../fleet"));
        assert_eq!(folder("git+file:///srv/fleet").as_deref(), Some("/srv/fleet"));
        for text in ["fleet", "github:acme/fleet", "git+file:///srv/fleet?dir=nix"] {
            assert_eq!(folder(text), None, "{text}");
        }
    }

    #[test]
    fn an_option_is_not_a_flake_and_neither_is_an_attribute() {
        for text in ["", "--impure", ".#raider", "a\nb"] {
            assert!(FlakeRef::parse(text).is_err(), "{text:?}");
        }
    }
}
