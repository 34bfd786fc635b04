//! `flake.lock`: what one of a commit that nobody here has written may bring into its evaluation;
//! one in which some inputs have moved on ([`moved`]) or are on their way ([`history`]), and one in
//! which none has for long ([`stale`]).
//!
//! An untrusted flake is evaluated without network, so its inputs are fetched before, by us. Its
//! lock file then is a list of places that its author wants us to go to: another repository of
//! this machine, a server of the inner network. Only two kinds are gone to: what the trusted
//! commit's lock file names too, letter by letter, and what is locked by its hash and public.
pub mod history;
pub mod moved;
pub mod revision;
pub mod stale;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A lock file of version 5 to 7.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    version: u32,
    pub root: String,
    pub nodes: BTreeMap<String, Node>,
}

/// A flake, or a source, that the lock file names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub inputs: BTreeMap<String, Spec>,
    /// What it is locked to, in Nix's own attributes; the root has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locked: Option<Map<String, Value>>,
    /// What its parent asks for, in Nix's own attributes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub original: Option<Map<String, Value>>,
    /// `false` for a source that is no flake.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flake: Option<bool>,
    /// Of an input within its parent's source: the way to the parent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<Vec<String>>,
}

/// Which node an input is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Spec {
    Node(String),
    /// `follows`: the names of inputs from the root on.
    Path(Vec<String>),
}

/// An input that is to be fetched before the evaluation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// Its node's name.
    pub node: String,
    /// What `fetchTree` takes.
    pub locked: Map<String, Value>,
    /// `sha256-…` of the tree.
    pub hash: String,
    pub access: Access,
}

/// With which rights an input is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// The trusted commit has the same: as for that.
    AsTrusted,
    /// Without any token, over https.
    Public,
}

/// An input, or a whole lock file, that an untrusted commit may not bring.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAllowed {
    #[error("flake.lock cannot be read: {0}")]
    Unreadable(String),
    #[error("flake.lock: the input `{input}` {reason}")]
    Input { input: String, reason: String },
}

/// Nodes of a lock file; the largest fleets have some hundreds.
const MOST: usize = 2_000;
/// Attributes that say no more than where and what.
const PLAIN: [&str; 12] = [
    "type",
    "url",
    "owner",
    "repo",
    "host",
    "rev",
    "ref",
    "narHash",
    "lastModified",
    "revCount",
    "dir",
    "shallow",
];

impl Lock {
    /// Reads a lock file.
    ///
    /// # Errors
    /// When it is not one, or of a version that is not known.
    pub fn parse(bytes: &[u8]) -> Result<Self, NotAllowed> {
        let lock: Self = serde_json::from_slice(bytes)
            .map_err(|error| NotAllowed::Unreadable(shown(&error.to_string())))?;
        if !(5..=7).contains(&lock.version) {
            let found = format!("version {} was found, 5 to 7 are understood", lock.version);
            return Err(NotAllowed::Unreadable(found));
        }
        if lock.nodes.len() > MOST {
            let found = format!("it has {} nodes, at most {MOST} are read", lock.nodes.len());
            return Err(NotAllowed::Unreadable(found));
        }
        if !lock.nodes.contains_key(&lock.root) {
            return Err(NotAllowed::Unreadable("it has no root".to_owned()));
        }
        Ok(lock)
    }

    /// The lock file of a flake without inputs, which needs none.
    #[must_use]
    pub fn none() -> Self {
        let root = "root".to_owned();
        Self { version: 7, nodes: BTreeMap::from([(root.clone(), Node::default())]), root }
    }

    /// What is to be fetched for an untrusted commit with this lock file, beside a trusted one.
    ///
    /// # Errors
    /// The first input that may not be fetched.
    pub fn admit(&self, trusted: Option<&Self>) -> Result<Vec<Input>, NotAllowed> {
        let mut admitted = Vec::new();
        for (name, node) in &self.nodes {
            if *name != self.root && node.relative().is_none() {
                let input = admit(name, node, trusted)
                    .map_err(|reason| NotAllowed::Input { input: shown(name), reason })?;
                admitted.push(input);
            }
        }
        Ok(admitted)
    }
}

impl Node {
    /// Its folder within its parent's source, of an input that is there.
    #[must_use]
    pub fn relative(&self) -> Option<&str> {
        let locked = self.locked.as_ref()?;
        let path = text(locked, "path")?;
        let is_relative = text(locked, "type") == Some("path") && !path.starts_with('/');
        (is_relative && self.parent.is_some()).then_some(path)
    }

    /// The sub-folder of its source that it is in; empty for none.
    #[must_use]
    pub fn dir(&self) -> &str {
        self.locked.as_ref().and_then(|it| text(it, "dir")).unwrap_or_default()
    }
}

fn admit(name: &str, node: &Node, trusted: Option<&Lock>) -> Result<Input, String> {
    let locked = node.locked.as_ref().ok_or("is not locked; run `nix flake lock`")?;
    let hash = text(locked, "narHash").filter(|it| it.starts_with("sha256-"));
    let hash = hash.ok_or("is not locked by its `narHash`; run `nix flake lock`")?.to_owned();
    let same = |it: &Node| it.locked.as_ref() == Some(locked);
    let access = if trusted.is_some_and(|it| it.nodes.values().any(same)) {
        Access::AsTrusted
    } else {
        public(locked).map_err(|reason| {
            format!(
                "{reason}; a fork may bring inputs that are public and fetched over https, and \
                 those that the base branch's flake.lock has"
            )
        })?;
        Access::Public
    };
    let mut locked = locked.clone();
    // Where the flake is within the tree; the tree is the same.
    locked.remove("dir");
    Ok(Input { node: name.to_owned(), locked, hash, access })
}

/// Why an input is not public, in words that follow its name.
fn public(locked: &Map<String, Value>) -> Result<(), String> {
    if let Some((odd, _)) = locked.iter().find(|(key, _)| !PLAIN.contains(&key.as_str())) {
        return Err(format!("has the attribute `{}`", shown(odd)));
    }
    let kind = text(locked, "type").unwrap_or_default();
    match kind {
        "github" | "gitlab" | "sourcehut" => {
            has_commit(locked)?;
            text(locked, "host").map_or(Ok(()), public_host)
        }
        "git" => {
            has_commit(locked)?;
            public_url(text(locked, "url").unwrap_or_default())
        }
        "tarball" => public_url(text(locked, "url").unwrap_or_default()),
        _ => Err(format!("is of the type `{}`", shown(kind))),
    }
}

fn has_commit(locked: &Map<String, Value>) -> Result<(), String> {
    let is_hash = |it: &str| it.len() == 40 && it.bytes().all(|b| b.is_ascii_hexdigit());
    if text(locked, "rev").is_some_and(is_hash) {
        Ok(())
    } else {
        Err("is not locked to a commit".to_owned())
    }
}

fn public_url(url: &str) -> Result<(), String> {
    let Some(rest) = url.strip_prefix("https://") else {
        return Err(format!("is at `{}`", shown(url)));
    };
    let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    public_host(authority.strip_suffix(":443").unwrap_or(authority))
}

/// A name of the public internet: no address, no name of an inner network, no user, no port.
fn public_host(host: &str) -> Result<(), String> {
    const INNER: [&str; 7] = ["local", "localhost", "internal", "lan", "home", "arpa", "test"];
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.');
    let last = host.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    let is_name = host.contains('.')
        && host.len() <= 253
        && host.bytes().all(plain)
        && last.starts_with(|c: char| c.is_ascii_alphabetic());
    if is_name && !INNER.contains(&last.as_str()) {
        Ok(())
    } else {
        Err(format!("is on the server `{}`", shown(host)))
    }
}

fn text<'l>(locked: &'l Map<String, Value>, key: &str) -> Option<&'l str> {
    locked.get(key).and_then(Value::as_str)
}

/// Text of the commit's author, shortened and without anything that does not print.
fn shown(text: &str) -> String {
    let mut out: String = text.chars().take(60).flat_map(char::escape_debug).collect();
    if text.chars().nth(60).is_some() {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "sha256-lrkB+qsjDv0vVxq+2mcXAIHROw4ECqt9k9hTxMaZKTk=";
    const REV: &str = "a72d670ae79333b658965602c9f640d04b259895";

    /// A lock file with one input, `x`, that is locked to these attributes.
    fn lock(locked: &str) -> Lock {
        let text = format!(
            r#"{{"version":7,"root":"root","nodes":{{
                "root":{{"inputs":{{"x":"x"}}}},"x":{{"locked":{{{locked}}}}}}}}}"#
        );
        Lock::parse(text.as_bytes()).unwrap()
    }

    fn reason(locked: &str) -> Option<String> {
        let text = locked.replace("HASH", &format!(r#""narHash":"{HASH}""#));
        let text = text.replace("REV", &format!(r#""rev":"{REV}""#));
        let error = lock(&text).admit(None).err()?.to_string();
        let error = error.strip_prefix("flake.lock: the input `x` ").unwrap();
        Some(error.split("; a fork may").next().unwrap().to_owned())
    }

    #[test]
    fn what_is_public_and_locked_may_be_brought() {
        for locked in [
            r#""type":"github","owner":"NixOS","repo":"nixpkgs",REV,HASH,"lastModified":7"#,
            r#""type":"gitlab","owner":"a","repo":"b","host":"gitlab.gnome.org",REV,HASH"#,
            r#""type":"git","url":"https://git.example.org/x.git","ref":"main",REV,HASH,"revCount":3"#,
            r#""type":"tarball","url":"https://channels.nixos.org:443/x.tar.xz",HASH,"dir":"sub""#,
        ] {
            assert_eq!(reason(locked), None, "{locked}");
        }
    }

    #[test]
    fn everything_else_is_refused_by_its_name() {
        let table = [
            (r#""type":"git","url":"file:///srv/secret",REV,HASH"#, "is at `file:///srv/secret`"),
            (
                r#""type":"git","url":"ssh://git@github.com/a/b",REV,HASH"#,
                "is at `ssh://git@github.com/a/b`",
            ),
            (
                r#""type":"git","url":"http://example.org/x",REV,HASH"#,
                "is at `http://example.org/x`",
            ),
            (r#""type":"git","url":"https://example.org/x",HASH"#, "is not locked to a commit"),
            (
                r#""type":"git","url":"https://example.org/x","submodules":true,REV,HASH"#,
                "has the attribute `submodules`",
            ),
            (r#""type":"path","path":"/etc",HASH"#, "has the attribute `path`"),
            (r#""type":"indirect","ref":"nixpkgs",HASH"#, "is of the type `indirect`"),
            (r#""type":"file","url":"https://example.org/x",HASH"#, "is of the type `file`"),
            (
                r#""type":"tarball","url":"https://169.254.169.254/latest",HASH"#,
                "is on the server `169.254.169.254`",
            ),
            (r#""type":"tarball","url":"https://[::1]/x",HASH"#, "is on the server `[::1]`"),
            (r#""type":"tarball","url":"https://vault/x",HASH"#, "is on the server `vault`"),
            (
                r#""type":"tarball","url":"https://vault.internal/x",HASH"#,
                "is on the server `vault.internal`",
            ),
            (
                r#""type":"tarball","url":"https://u:p@example.org/x",HASH"#,
                "is on the server `u:p@example.org`",
            ),
            (
                r#""type":"tarball","url":"https://example.org:8443/x",HASH"#,
                "is on the server `example.org:8443`",
            ),
            (
                r#""type":"github","owner":"a","repo":"b","host":"10.0.0.1",REV,HASH"#,
                "is on the server `10.0.0.1`",
            ),
            (
                r#""type":"github","owner":"a","repo":"b",REV"#,
                "is not locked by its `narHash`; run `nix flake lock`",
            ),
        ];
        for (locked, wanted) in table {
            assert_eq!(reason(locked).as_deref(), Some(wanted), "{locked}");
        }
    }

    #[test]
    fn what_the_trusted_commit_has_too_may_be_brought_wherever_it_is() {
        let text =
            format!(r#""type":"git","url":"file:///srv/lib","rev":"{REV}","narHash":"{HASH}""#);
        let admitted = lock(&text).admit(Some(&lock(&text))).unwrap();
        assert_eq!(admitted[0].access, Access::AsTrusted);
        let other = text.replace(REV, &"b".repeat(40));
        assert!(lock(&other).admit(Some(&lock(&text))).is_err(), "another commit of it is not");
    }

    #[test]
    fn an_input_within_its_parent_needs_no_fetching() {
        let text = r#"{"version":7,"root":"root","nodes":{"root":{"inputs":{"x":"x"}},
            "x":{"locked":{"type":"path","path":"./sub"},"parent":[]}}}"#;
        assert_eq!(Lock::parse(text.as_bytes()).unwrap().admit(None), Ok(vec![]));
    }

    #[test]
    fn a_hostile_lock_file_is_an_error_of_one_line() {
        for text in [
            "",
            "{}",
            "[]",
            r#"{"version":9,"root":"r","nodes":{"r":{}}}"#,
            r#"{"version":7,"root":"r","nodes":{}}"#,
        ] {
            assert!(Lock::parse(text.as_bytes()).is_err(), "{text}");
        }
        let text = "{\"version\":7,\"root\":\"r\",\"nodes\":{\"r\":{},\"a\\nb\":{}}}";
        let error = Lock::parse(text.as_bytes()).unwrap().admit(None).unwrap_err();
        assert!(!error.to_string().contains('\n'), "{error}");
    }
}
