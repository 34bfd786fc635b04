//! What an input is locked to, as far as a person wants to know.
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::domain::lock::Node;

/// A revision of an input.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision {
    /// The commit, in full; `None` for what is in no commit: a folder, a tarball.
    pub commit: Option<String>,
    /// The hash of its tree, by which it is known without a commit.
    pub hash: Option<String>,
    /// Seconds since the Unix epoch, of its last change.
    pub modified: Option<i64>,
    /// `https://github.com/OWNER/REPO` of an input that is there.
    pub page: Option<String>,
    /// How many commits its branch has up to it, where Nix counts them: of git, not of GitHub.
    #[serde(default)]
    pub count: Option<i64>,
}

impl Revision {
    /// What a node is locked to.
    #[must_use]
    pub fn of(node: &Node) -> Self {
        let Some(locked) = &node.locked else { return Self::default() };
        let text = |key| locked.get(key).and_then(Value::as_str).map(str::to_owned);
        Self {
            commit: text("rev"),
            hash: text("narHash"),
            modified: locked.get("lastModified").and_then(Value::as_i64),
            page: page(locked),
            count: locked.get("revCount").and_then(Value::as_i64),
        }
    }

    /// Its commit's first twelve digits, or its hash's.
    #[must_use]
    pub fn short(&self) -> &str {
        let hash = self.hash.as_deref().map(|it| it.trim_start_matches("sha256-"));
        let all = self.commit.as_deref().or(hash).unwrap_or("-");
        all.char_indices().nth(12).map_or(all, |(at, _)| &all[..at])
    }

    /// Where GitHub shows what lies between this revision and a newer one of the same repository.
    #[must_use]
    pub fn compare(&self, newer: &Self) -> Option<String> {
        let page = newer.page.as_ref().filter(|it| self.page.as_ref() == Some(it))?;
        Some(format!("{page}/compare/{}...{}", self.hash_of_commit()?, newer.hash_of_commit()?))
    }

    /// Where GitHub shows its commit.
    #[must_use]
    pub fn link(&self) -> Option<String> {
        Some(format!("{}/commit/{}", self.page.as_ref()?, self.hash_of_commit()?))
    }

    /// How many commits a newer revision of the same input has more; `None` where it has not: its
    /// branch was written anew.
    #[must_use]
    pub fn commits_to(&self, newer: &Self) -> Option<u64> {
        let more = newer.count?.checked_sub(self.count?)?;
        u64::try_from(more).ok().filter(|it| *it > 0)
    }

    /// Digits, and no more: they become part of a link.
    fn hash_of_commit(&self) -> Option<&str> {
        let is_hash = |it: &&str| it.bytes().all(|b| b.is_ascii_hexdigit());
        self.commit.as_deref().filter(is_hash)
    }
}

/// Names that GitHub gives out, and no more: they become part of a link.
fn page(locked: &Map<String, Value>) -> Option<String> {
    let text = |key| locked.get(key).and_then(Value::as_str);
    let plain = |it: &&str| {
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        !it.is_empty() && it.bytes().all(is_plain)
    };
    if text("type") != Some("github") || text("host").is_some() {
        return None;
    }
    let (owner, repo) = (text("owner").filter(plain)?, text("repo").filter(plain)?);
    Some(format!("https://github.com/{owner}/{repo}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revision(locked: &str) -> Revision {
        let node = format!("{{\"locked\":{locked}}}");
        Revision::of(&serde_json::from_str(&node).unwrap())
    }

    #[test]
    fn two_revisions_of_one_repository_on_github_are_compared_there() {
        let at = |rev: &str| {
            revision(&format!(
                r#"{{"type":"github","owner":"NixOS","repo":"nixpkgs","rev":"{rev}","lastModified":7}}"#
            ))
        };
        let (old, new) = (at("a72d670ae79333b6"), at("b3d51a0365f6695e"));
        assert_eq!((old.short(), old.modified), ("a72d670ae793", Some(7)));
        assert_eq!(
            old.compare(&new).unwrap(),
            "https://github.com/NixOS/nixpkgs/compare/a72d670ae79333b6...b3d51a0365f6695e"
        );
        assert_eq!(old.link().unwrap(), "https://github.com/NixOS/nixpkgs/commit/a72d670ae79333b6");
        let fork = revision(r#"{"type":"github","owner":"acme","repo":"nixpkgs","rev":"b3"}"#);
        assert_eq!(old.compare(&fork), None, "it moved to another repository");
        assert_eq!(old.compare(&at("b3)[x](y")), None, "it is no commit");
    }

    #[test]
    fn commits_are_counted_where_nix_counts_them() {
        let at = |count: &str| revision(&format!(r#"{{"type":"git","rev":"b3"{count}}}"#));
        let (old, new) = (at(r#","revCount":40"#), at(r#","revCount":52"#));
        assert_eq!(old.commits_to(&new), Some(12));
        assert_eq!(new.commits_to(&old), None, "the branch was written anew");
        assert_eq!(old.commits_to(&at("")), None);
        let (least, most) = (
            at(&format!(r#","revCount":{}"#, i64::MIN)),
            at(&format!(r#","revCount":{}"#, i64::MAX)),
        );
        assert_eq!(least.commits_to(&most), None);
    }

    #[test]
    fn what_is_elsewhere_or_has_an_odd_name_has_no_page() {
        for locked in [
            r#"{"type":"git","url":"https://example.org/x","rev":"1"}"#,
            r#"{"type":"github","owner":"a/../b","repo":"c","rev":"1"}"#,
            r#"{"type":"github","owner":"a","repo":"c)[x](y","rev":"1"}"#,
            r#"{"type":"github","owner":"a","repo":"c","host":"git.example.org","rev":"1"}"#,
        ] {
            assert_eq!(revision(locked).page, None, "{locked}");
        }
        let tarball = revision(r#"{"type":"tarball","narHash":"sha256-lrkB+qsjDv0vVxq+2mcX"}"#);
        assert_eq!(tarball.short(), "lrkB+qsjDv0v");
        assert_eq!(Revision::default().short(), "-");
    }
}
