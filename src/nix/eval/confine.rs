//! Untrusted flakes: evaluated without network, without any other repository of this machine, and
//! without building anything.
//!
//! Nix has no switch for that. Restricted mode looks at what `fetchGit` and its like are asked
//! for, but `builtins.getFlake` fetches whatever a flake names, a repository beside ours too; and
//! how the URL of a locked input must be spelled to be allowed differs between versions, up to not
//! at all. So the evaluator is not let near a fetch: the commit and its inputs are brought into the
//! store before, one by one and as [`Lock::admit`] allows them, and the flake is called as Nix's
//! own `call-flake.nix` does it, by `call.nix`, in a Nix whose `flakes` feature is off. Restricted
//! mode then allows one URL, which nobody but us knows: it stands for "in the store, under this
//! hash".
use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::domain::id::{CommitSha, StorePath, nix_string};
use crate::domain::lock::{Access, Input, Lock, Node, Spec};
use crate::nix::eval::limited::{Answer, Rights, Share};
use crate::nix::eval::{EvalError, Evaluator, LONGEST_EXPRESSION, SMALL, answer};
use crate::nix::flake::{Confined, FlakeRef, Pinned};
use crate::nix::process::Invocation;

/// The flake of a lock file's root node, from sources that are in the store.
const CALL: &str = include_str!("call.nix");

/// What of the machine's experimental features an untrusted evaluation keeps: those that change
/// what the language means or how derivations are made, none that fetches.
const KEPT_FEATURES: [&str; 6] = [
    "blake3-hashes",
    "ca-derivations",
    "git-hashing",
    "no-url-literals",
    "parse-toml-timestamps",
    "pipe-operators",
];

/// A commit that nobody with write access has written, and what it may bring with it.
#[derive(Clone, Copy, Debug)]
pub struct Untrusted<'a> {
    pub commit: &'a CommitSha,
    /// The flake's folder within the repository; empty for the root.
    pub dir: &'a str,
    pub lock: &'a Lock,
    /// What [`Lock::admit`] gave.
    pub inputs: &'a [Input],
}

/// A node as `call.nix` takes it.
#[derive(Serialize)]
struct Called<'a> {
    inputs: &'a BTreeMap<String, Spec>,
    info: Map<String, Value>,
    dir: &'a str,
    flake: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    relative: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<&'a [String]>,
}

impl Rights<'_> {
    /// The same program with these rights.
    pub(super) fn limit(self, invocation: Invocation) -> Invocation {
        let without_rights = |invocation: Invocation| {
            invocation
                .args(["--option", "access-tokens", "", "--option", "netrc-file", "/dev/null"])
                .env("GIT_ALLOW_PROTOCOL", "https")
                .env("GIT_CONFIG_NOSYSTEM", "1")
                .env("GIT_CONFIG_GLOBAL", "/dev/null")
                .env_remove("SSH_AUTH_SOCK")
        };
        match self {
            Rights::Trusted => invocation,
            Rights::Public => without_rights(invocation),
            Rights::Confined(Confined { features, place, .. }) => without_rights(invocation)
                .args(["--option", "experimental-features", features])
                .args(["--option", "restrict-eval", "true", "--option", "allowed-uris", place])
                .args(["--option", "allow-import-from-derivation", "false"]),
        }
    }
}

impl Confined {
    /// One output of the flake, or an error that says [`Confined::absent`].
    pub(super) fn output(&self, name: &str) -> String {
        let (name, absent) = (nix_string(name), nix_string(&self.absent()));
        let flake = &self.expression;
        format!(
            "let o = (\n{flake}\n).outputs;\nin if o ? {name} then o.{name} else throw {absent}"
        )
    }

    /// What no flake can say by itself.
    pub(super) fn absent(&self) -> String {
        format!("no output at {}", self.place)
    }
}

/// A source that was brought into the store.
#[derive(serde::Deserialize)]
struct Fetched {
    path: StorePath,
    info: Map<String, Value>,
}

impl Evaluator {
    /// Brings an untrusted flake of a mirror and its inputs into the store; what is evaluated of
    /// it from here on reaches nothing else.
    ///
    /// # Errors
    /// As any evaluation; [`EvalError::Flake`] when an input is not there or not what it is locked
    /// to.
    pub async fn confine(
        &self,
        flake: &FlakeRef,
        untrusted: Untrusted<'_>,
        stop: &CancellationToken,
    ) -> Result<Pinned, EvalError> {
        let Untrusted { commit, dir, lock, inputs } = untrusted;
        let mut pinned = Pinned {
            flake: flake.clone(),
            revision: Some(commit.clone()),
            source: None,
            folder: None,
            dir: (!dir.is_empty()).then(|| dir.to_owned()),
            confined: None,
        };
        let own = json!({
            "type": "git", "url": flake.repository(), "rev": commit,
            "ref": format!("refs/fleetcheck/{commit}"), "shallow": false,
        });
        let root = self.fetch(vec![own], Rights::Trusted, &pinned, stop).await?.pop();
        let root = root.ok_or_else(|| EvalError::Operator("Nix fetched nothing".to_owned()))?;
        pinned.source = Some(root.path.clone());
        let mut held = vec![root.path];
        let mut info = BTreeMap::from([(lock.root.as_str(), root.info)]);
        for access in [Access::AsTrusted, Access::Public] {
            let some: Vec<&Input> = inputs.iter().filter(|it| it.access == access).collect();
            let rights = match access {
                Access::AsTrusted => Rights::Trusted,
                Access::Public => Rights::Public,
            };
            let wanted = some.iter().map(|it| Value::Object(it.locked.clone())).collect();
            for (input, fetched) in
                some.iter().zip(self.fetch(wanted, rights, &pinned, stop).await?)
            {
                held.push(fetched.path);
                info.insert(&input.node, as_locked(fetched.info, input));
            }
        }
        let place = format!("https://{}.invalid/", Uuid::new_v4().simple());
        let expression = self.expression(untrusted, info, &place).await?;
        let features = self.features().await?;
        pinned.confined = Some(Confined { expression, place, features, held });
        Ok(pinned)
    }

    /// Brings trees into the store, in their order.
    async fn fetch(
        &self,
        wanted: Vec<Value>,
        rights: Rights<'_>,
        flake: &Pinned,
        stop: &CancellationToken,
    ) -> Result<Vec<Fetched>, EvalError> {
        if wanted.is_empty() {
            return Ok(vec![]);
        }
        let expression = format!(
            "map (it: let t = builtins.fetchTree it; in {{ path = t.outPath; \
             info = removeAttrs t [ \"outPath\" ]; }}) (builtins.fromJSON {})",
            nix_string(&Value::Array(wanted).to_string())
        );
        check_length(&expression)?;
        let args = ["eval", "--json", "--show-trace", "--expr", &expression];
        let may = (rights, Share::OfOne(SMALL));
        let ended = self.run(&args, may, flake, stop).await;
        let Answer { json, .. } = ended.map_err(|it| it.error)?;
        answer::parse(&json)
    }

    /// The Nix expression of the flake.
    async fn expression(
        &self,
        untrusted: Untrusted<'_>,
        mut info: BTreeMap<&str, Map<String, Value>>,
        place: &str,
    ) -> Result<String, EvalError> {
        let Untrusted { dir, lock, .. } = untrusted;
        let nodes: BTreeMap<&str, Called<'_>> = lock
            .nodes
            .iter()
            .map(|(name, node)| {
                let Node { inputs, locked: _, flake, parent, original: _ } = node;
                let is_root = *name == lock.root;
                let called = Called {
                    inputs,
                    info: info.remove(name.as_str()).unwrap_or_default(),
                    dir: if is_root { dir } else { node.dir() },
                    flake: flake.unwrap_or(true),
                    relative: node.relative(),
                    parent: parent.as_deref(),
                };
                (name.as_str(), called)
            })
            .collect();
        let nodes = serde_json::to_string(&nodes)
            .map_err(|error| EvalError::Operator(format!("nodes of a lock file: {error}")))?;
        let newer = self.is_newer((2, 14)).await?;
        // Nix's traces show a line before and after a place: the long one stands apart.
        let expression = format!(
            "({CALL}) {{\n  root = {};\n  newer = {newer};\n  source = hash: \
             builtins.fetchTarball {{ name = \"source\"; url = {}; sha256 = hash; }};\n\n\
             \n  nodes = builtins.fromJSON {};\n\n\n}}",
            nix_string(&lock.root),
            nix_string(place),
            nix_string(&nodes),
        );
        check_length(&expression)?;
        Ok(expression)
    }

    /// The experimental features that an untrusted evaluation has.
    async fn features(&self) -> Result<String, EvalError> {
        let known = self.features.get_or_try_init(|| async {
            let all = self.nix.setting("experimental-features").await;
            let all = all.map_err(|error| EvalError::Operator(error.to_string()))?;
            let kept = all.split_whitespace().filter(|it| KEPT_FEATURES.contains(it));
            Ok(["nix-command"].into_iter().chain(kept).collect::<Vec<_>>().join(" "))
        });
        known.await.cloned()
    }
}

/// What a flake is told of an input: what its lock file says, where it says something.
fn as_locked(mut info: Map<String, Value>, input: &Input) -> Map<String, Value> {
    for key in ["narHash", "rev", "revCount", "lastModified"] {
        if let Some(value) = input.locked.get(key) {
            info.insert(key.to_owned(), value.clone());
        }
    }
    info
}

/// Linux takes no longer argument.
fn check_length(expression: &str) -> Result<(), EvalError> {
    if expression.len() <= LONGEST_EXPRESSION {
        return Ok(());
    }
    Err(EvalError::of_flake(
        "flake.lock is too long for a fork's commit; a person with write access can push it to a \
         branch of the repository instead"
            .to_owned(),
    ))
}
