//! An input at any commit between its old revision and its new one: where its history is read, how
//! Nix is told to take a commit of it, and the lock file that has it there.
use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::domain::id::CommitSha;
use crate::domain::lock::moved::InputPath;
use crate::domain::lock::revision::Revision;
use crate::domain::lock::{Lock, Node, shown, text};

/// Commits of the longest history that is read: some weeks of nixpkgs.
pub const MOST_COMMITS: usize = 5_000;

/// Attributes that say which revision it is, and not which repository.
const OF_REVISION: [&str; 5] = ["type", "rev", "narHash", "lastModified", "revCount"];
/// Attributes of git repositories that an input's reference may have too.
const OF_GIT: [&str; 7] = ["ref", "dir", "submodules", "shallow", "allRefs", "exportIgnore", "lfs"];

/// What was read of an input's history between two revisions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum History {
    /// The commits after the old revision up to the new one, along first parents, the oldest first.
    Read {
        commits: Vec<Commit>,
        /// Those that Nix cannot lock.
        unusable: BTreeSet<CommitSha>,
    },
    /// Why it could not be read, as plain text.
    Unreadable(String),
}

/// A commit of an input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    pub id: CommitSha,
    /// When it was committed, in seconds since the Unix epoch.
    pub at: Option<i64>,
}

/// Where the commits of an input are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// On github.com.
    GitHub { owner: String, name: String },
    /// Any repository that git fetches without asking who we are.
    Git { url: String },
}

impl Place {
    /// That of an input; `None` where it has no commits: a folder, a tarball.
    ///
    /// # Errors
    /// Why its commits are out of reach, in plain text.
    pub fn of(node: &Node) -> Option<Result<Self, String>> {
        let locked = node.locked.as_ref()?;
        match text(locked, "type")? {
            "github" => Some(github(node)),
            "git" => Some(git(locked)),
            _ => None,
        }
    }
}

fn github(node: &Node) -> Result<Place, String> {
    let page = Revision::of(node).page;
    let names = page.as_deref().and_then(|it| it.strip_prefix("https://github.com/"));
    let names = names.and_then(|it| it.split_once('/'));
    let (owner, name) = names.ok_or("it is on another server than github.com")?;
    Ok(Place::GitHub { owner: owner.to_owned(), name: name.to_owned() })
}

fn git(locked: &Map<String, Value>) -> Result<Place, String> {
    let url = text(locked, "url").unwrap_or_default();
    let is_plain = url.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'?' | b'#' | b'\\'));
    let rest = url.strip_prefix("https://");
    let is_open = rest.is_some_and(|it| !it.split('/').next().unwrap_or_default().contains('@'))
        || url.starts_with("file:///");
    if is_plain && is_open {
        return Ok(Place::Git { url: url.to_owned() });
    }
    // The address itself may hold a password.
    Err("only what is at https:// or file:// is read, without a user in its address".to_owned())
}

/// How Nix is told to take a commit of an input: `github:NixOS/nixpkgs/COMMIT`.
///
/// # Errors
/// When there is more to the input than could be told so; in plain text.
pub fn reference(node: &Node, commit: &CommitSha) -> Result<String, String> {
    let place = Place::of(node).ok_or("it has no commits")??;
    let empty = Map::new();
    let locked = node.locked.as_ref().unwrap_or(&empty);
    let (start, allowed) = match place {
        Place::GitHub { owner, name } => (format!("github:{owner}/{name}/{commit}"), &OF_GIT[1..2]),
        Place::Git { url } => (format!("git+{url}?rev={commit}"), &OF_GIT[..]),
    };
    let known = |key: &str| {
        OF_REVISION.contains(&key)
            || matches!(key, "url" | "owner" | "repo")
            || allowed.contains(&key)
    };
    if let Some(odd) = locked.keys().find(|it| !known(it)) {
        return Err(format!("flake.lock has the attribute `{}` of it", shown(odd)));
    }
    let value = |key: &&str| {
        let value = match locked.get(*key)? {
            Value::Bool(true) => "1".to_owned(),
            Value::String(text) => encoded(text),
            Value::Bool(false)
            | Value::Null
            | Value::Number(_)
            | Value::Array(_)
            | Value::Object(_) => {
                return None;
            }
        };
        Some(format!("{key}={value}"))
    };
    let options: Vec<String> = allowed.iter().filter_map(value).collect();
    if options.is_empty() {
        return Ok(start);
    }
    let joint = if start.contains('?') { '&' } else { '?' };
    Ok(format!("{start}{joint}{}", options.join("&")))
}

/// As the value of an option in a URL.
fn encoded(text: &str) -> String {
    let one = |b: u8| match b {
        b'-' | b'_' | b'.' | b'~' | b'/' => char::from(b).to_string(),
        b if b.is_ascii_alphanumeric() => char::from(b).to_string(),
        b => format!("%{b:02X}"),
    };
    text.bytes().map(one).collect()
}

impl Lock {
    /// This lock file, in which an input has its newest revision, with the input as `told` has it:
    /// another lock file of the same flake, for which Nix was told to take a commit of it. What the
    /// input brings along comes with it, but for what has moved on its own: `moved`. What the flake
    /// asks for stays, or Nix would lock it anew. `None` when one of the two has no such input.
    #[must_use]
    pub fn at(&self, told: &Self, input: &InputPath, moved: &BTreeSet<InputPath>) -> Option<Self> {
        let key = told.key_of(input.names())?.to_owned();
        let asked = self.input(input)?;
        let mut told = told.clone();
        let node = told.nodes.get_mut(&key)?;
        node.original.clone_from(&asked.original);
        node.flake = asked.flake;
        let there = self.with(&told, &BTreeSet::from([input.clone()]));
        let within = |it: &&InputPath| *it != input && it.names().starts_with(input.names());
        let within: BTreeSet<InputPath> = moved.iter().filter(within).cloned().collect();
        // One that it has no more, or that follows another now, is not put back.
        let there = if within.is_empty() { there } else { there.with(self, &within) };
        Some(there)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(locked: &str) -> Node {
        serde_json::from_str(&format!(r#"{{"locked":{locked}}}"#)).unwrap()
    }

    fn commit() -> CommitSha {
        "b3d51a0365f6695e7dd5cdf3e180604530ed33b4".parse().unwrap()
    }

    fn told(locked: &str) -> String {
        reference(&node(locked), &commit()).unwrap_or_else(|it| it)
    }

    #[test]
    fn nix_is_told_the_commit_and_whatever_else_the_flake_says_of_the_repository() {
        insta::assert_snapshot!(
            told(r#"{"type":"github","owner":"NixOS","repo":"nixpkgs","rev":"a","narHash":"x","lastModified":7}"#),
            @"github:NixOS/nixpkgs/b3d51a0365f6695e7dd5cdf3e180604530ed33b4"
        );
        insta::assert_snapshot!(
            told(r#"{"type":"github","owner":"a","repo":"b","rev":"a","dir":"sub folder"}"#),
            @"github:a/b/b3d51a0365f6695e7dd5cdf3e180604530ed33b4?dir=sub%20folder"
        );
        insta::assert_snapshot!(
            told(r#"{"type":"git","url":"file:///srv/lib","rev":"a","ref":"refs/heads/a&b","revCount":7,"submodules":true,"shallow":false}"#),
            @"git+file:///srv/lib?rev=b3d51a0365f6695e7dd5cdf3e180604530ed33b4&ref=refs/heads/a%26b&submodules=1"
        );
    }

    #[test]
    fn what_is_out_of_reach_is_said() {
        let said = [
            r#"{"type":"git","url":"ssh://git@example.org/x"}"#,
            r#"{"type":"git","url":"https://u:p@example.org/x"}"#,
            r#"{"type":"git","url":"file:///srv/x?upload-pack=y"}"#,
            r#"{"type":"git","url":"https://example.org/x","publicKeys":"y"}"#,
            r#"{"type":"github","owner":"a","repo":"b","host":"git.example.org"}"#,
            r#"{"type":"github","owner":"a","repo":"b)[x](y"}"#,
            r#"{"type":"tarball","url":"https://example.org/x.tar.gz"}"#,
        ];
        insta::assert_snapshot!(said.map(told).join("\n"), @r"
        only what is at https:// or file:// is read, without a user in its address
        only what is at https:// or file:// is read, without a user in its address
        only what is at https:// or file:// is read, without a user in its address
        flake.lock has the attribute `publicKeys` of it
        it is on another server than github.com
        it is on another server than github.com
        it has no commits
        ");
        assert_eq!(Place::of(&node(r#"{"type":"path","path":"/srv/x"}"#)), None);
        assert_eq!(Place::of(&Node::default()), None);
    }

    fn lock(nodes: &str) -> Lock {
        let text = format!(r#"{{"version":7,"root":"root","nodes":{{{nodes}}}}}"#);
        Lock::parse(text.as_bytes()).unwrap()
    }

    fn path(names: &str) -> InputPath {
        serde_json::from_value(names.split('/').collect()).unwrap()
    }

    /// With every input at its newest revision.
    fn new() -> Lock {
        lock(
            r#""root":{"inputs":{"disko":"disko","nixpkgs":"nixpkgs_2"}},
               "disko":{"inputs":{"lib":"lib","nixpkgs":"nixpkgs"},"locked":{"rev":"d9"},"original":{"id":"disko"}},
               "lib":{"locked":{"rev":"l9"},"original":{"id":"lib"}},
               "nixpkgs":{"locked":{"rev":"dn9"},"original":{"id":"nixpkgs"}},
               "nixpkgs_2":{"locked":{"rev":"n9"},"original":{"id":"nixpkgs"}}"#,
        )
    }

    fn revisions(lock: &Lock) -> Vec<String> {
        let of = |it: &InputPath| {
            let node = lock.input(it).unwrap();
            let original = node.original.as_ref().unwrap();
            let locked = node.locked.as_ref().unwrap();
            format!("{it} {} {}", locked["rev"], serde_json::to_string(original).unwrap())
        };
        lock.inputs().iter().map(of).collect()
    }

    #[test]
    fn an_input_at_a_commit_brings_its_own_along_and_is_asked_for_as_before() {
        let told = lock(
            r#""root":{"inputs":{"disko":"disko","nixpkgs":"nixpkgs_2"}},
               "disko":{"inputs":{"lib":"lib","nixpkgs":"nixpkgs"},"locked":{"rev":"d5"},"original":{"rev":"d5"}},
               "lib":{"locked":{"rev":"l5"},"original":{"id":"lib"}},
               "nixpkgs":{"locked":{"rev":"dn5"},"original":{"id":"nixpkgs"}},
               "nixpkgs_2":{"locked":{"rev":"n0"},"original":{"id":"nixpkgs"}}"#,
        );
        let at = |moved: &[&str]| {
            let moved = moved.iter().map(|it| path(it)).collect();
            revisions(&new().at(&told, &path("disko"), &moved).unwrap())
        };
        assert_eq!(
            at(&["disko", "nixpkgs"]),
            [
                r#"disko "d5" {"id":"disko"}"#,
                r#"disko/lib "l5" {"id":"lib"}"#,
                r#"disko/nixpkgs "dn5" {"id":"nixpkgs"}"#,
                r#"nixpkgs "n9" {"id":"nixpkgs"}"#,
            ]
        );
        assert_eq!(
            at(&["disko", "disko/nixpkgs"])[2],
            r#"disko/nixpkgs "dn9" {"id":"nixpkgs"}"#,
            "it has moved on its own"
        );
        assert_eq!(new().at(&told, &path("gone"), &BTreeSet::new()), None);
    }

    #[test]
    fn an_input_of_an_input_is_at_a_commit_alone() {
        let told = lock(
            r#""root":{"inputs":{"disko":"disko"}},
               "disko":{"inputs":{"nixpkgs":"nixpkgs"},"locked":{"rev":"d0"}},
               "nixpkgs":{"locked":{"rev":"dn5"},"original":{"rev":"dn5"}}"#,
        );
        let at = new().at(&told, &path("disko/nixpkgs"), &BTreeSet::new()).unwrap();
        assert_eq!(revisions(&at)[0], r#"disko "d9" {"id":"disko"}"#);
        assert_eq!(revisions(&at)[2], r#"disko/nixpkgs "dn5" {"id":"nixpkgs"}"#);
    }

    #[test]
    fn what_was_read_of_a_history_can_be_kept() {
        let commits = vec![Commit { id: commit(), at: Some(7) }];
        let read = History::Read { commits, unusable: BTreeSet::from([commit()]) };
        for it in [read, History::Unreadable("why".to_owned())] {
            let kept = serde_json::to_string(&it).unwrap();
            assert_eq!(serde_json::from_str::<History>(&kept).unwrap(), it);
        }
    }
}
