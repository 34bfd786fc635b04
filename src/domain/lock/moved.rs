//! A lock file in which some inputs have moved to new revisions and the others have not.
//!
//! Nothing is asked of anybody: both revisions of every input are known from two lock files of one
//! `flake.nix`, so that any set of inputs can be tried, in any order, and gives the same each time.
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::domain::lock::{Lock, Node, Spec};

/// The names of inputs from the root to one of them: `nixpkgs`, `disko/nixpkgs`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InputPath(Vec<String>);

/// Levels of inputs of inputs that are named one by one; what is deeper moves with its parent.
const DEEPEST: usize = 8;

impl InputPath {
    /// The names, outermost first; there is one at least.
    pub fn names(&self) -> &[String] {
        &self.0
    }

    /// Whether it is one of the flake's own inputs.
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.0.len() == 1
    }

    fn is_within(&self, other: &[String]) -> bool {
        self.0.starts_with(other)
    }
}

impl fmt::Display for InputPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("/"))
    }
}

impl Lock {
    /// Every input that has a node of its own: one that follows another moves with that.
    #[must_use]
    pub fn inputs(&self) -> BTreeSet<InputPath> {
        let mut found = BTreeSet::new();
        self.collect(&self.root, &mut Vec::new(), &mut found);
        found
    }

    fn collect(&self, key: &str, path: &mut Vec<String>, found: &mut BTreeSet<InputPath>) {
        let Some(node) = self.nodes.get(key).filter(|_| path.len() < DEEPEST) else { return };
        for (name, spec) in &node.inputs {
            if let Spec::Node(child) = spec {
                path.push(name.clone());
                found.insert(InputPath(path.clone()));
                self.collect(child, path, found);
                path.pop();
            }
        }
    }

    /// The node of an input.
    #[must_use]
    pub fn input(&self, path: &InputPath) -> Option<&Node> {
        self.nodes.get(self.key_of(&path.0)?)
    }

    pub(super) fn key_of(&self, path: &[String]) -> Option<&str> {
        path.iter().try_fold(self.root.as_str(), |key, name| {
            match self.nodes.get(key)?.inputs.get(name)? {
                Spec::Node(child) => Some(child.as_str()),
                Spec::Path(_) => None,
            }
        })
    }

    /// Whether an input, or anything that it brings along, is another one there.
    #[must_use]
    pub fn moves(&self, new: &Self, path: &InputPath) -> bool {
        let of = |lock: &Self| {
            let root = lock.key_of(&path.0)?;
            let lock = Self { root: root.to_owned(), ..lock.clone() };
            Some(lock.with(&lock, &BTreeSet::new()).nodes)
        };
        of(self) != of(new)
    }

    /// This lock file with these inputs, and what they bring along, as `new` has them. What `new`
    /// does not have stays.
    #[must_use]
    pub fn with(&self, new: &Self, moved: &BTreeSet<InputPath>) -> Self {
        let mut writer = Writer {
            old: self,
            new,
            moved,
            names: HashMap::new(),
            taken: HashSet::new(),
            nodes: BTreeMap::new(),
        };
        let root = writer.write("root", &Origin::Between(&self.root, vec![]));
        let version = if moved.is_empty() { self.version } else { new.version };
        Self { version, root, nodes: writer.nodes }
    }

    /// The text that Nix writes.
    ///
    /// # Errors
    /// When a part of it cannot be written as JSON, which none is that was read from it.
    pub fn text(&self) -> Result<String, serde_json::Error> {
        // Through a value, whose keys are sorted, as Nix sorts them.
        let value = serde_json::to_value(self)?;
        Ok(format!("{value:#}\n"))
    }
}

/// Where a node of the new lock file comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Origin<'l> {
    /// With all that it brings along.
    Old(&'l str),
    New(&'l str),
    /// As it was, but for some of what it brings along; the way to it.
    Between(&'l str, Vec<String>),
}

/// Writes nodes in the order and with the names that Nix gives them.
struct Writer<'l> {
    old: &'l Lock,
    new: &'l Lock,
    moved: &'l BTreeSet<InputPath>,
    names: HashMap<Origin<'l>, String>,
    taken: HashSet<String>,
    nodes: BTreeMap<String, Node>,
}

impl<'l> Writer<'l> {
    /// The node's name in the new lock file.
    fn write(&mut self, wanted: &str, origin: &Origin<'l>) -> String {
        if let Some(name) = self.names.get(origin) {
            return name.clone();
        }
        let mut name = wanted.to_owned();
        let mut number = 1;
        while !self.taken.insert(name.clone()) {
            number += 1;
            name = format!("{wanted}_{number}");
        }
        self.names.insert(origin.clone(), name.clone());
        let (lock, key) = match origin {
            Origin::Old(key) | Origin::Between(key, _) => (self.old, *key),
            Origin::New(key) => (self.new, *key),
        };
        let mut node = lock.nodes.get(key).cloned().unwrap_or_default();
        if let Some(found) = lock.nodes.get(key) {
            for (input, spec) in &found.inputs {
                if let Spec::Node(child) = spec {
                    let child = self.child(origin, input, child);
                    let name = self.write(input, &child);
                    node.inputs.insert(input.clone(), Spec::Node(name));
                }
            }
        }
        self.nodes.insert(name.clone(), node);
        name
    }

    fn child(&self, parent: &Origin<'l>, input: &str, key: &'l str) -> Origin<'l> {
        let way = match parent {
            Origin::Old(_) => return Origin::Old(key),
            Origin::New(_) => return Origin::New(key),
            Origin::Between(_, way) => way,
        };
        let way: Vec<String> = way.iter().cloned().chain([input.to_owned()]).collect();
        if self.moved.iter().any(|it| it.0 == way)
            && let Some(key) = self.new.key_of(&way)
        {
            return Origin::New(key);
        }
        if self.moved.iter().any(|it| it.is_within(&way)) {
            Origin::Between(key, way)
        } else {
            Origin::Old(key)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A lock file of the shape that Nix writes; every node's `rev` is `rev`, except where a name
    /// says otherwise.
    fn lock(nodes: &str) -> Lock {
        let text = format!(r#"{{"version":7,"root":"root","nodes":{{{nodes}}}}}"#);
        Lock::parse(text.as_bytes()).unwrap()
    }

    fn old() -> Lock {
        lock(
            r#""root":{"inputs":{"disko":"disko","hm":"hm","nixpkgs":"nixpkgs_2"}},
               "disko":{"inputs":{"nixpkgs":"nixpkgs"},"locked":{"rev":"d1"}},
               "hm":{"inputs":{"nixpkgs":["nixpkgs"]},"locked":{"rev":"h1"}},
               "nixpkgs":{"locked":{"rev":"dn1"}},"nixpkgs_2":{"locked":{"rev":"n1"},"original":{"id":"nixpkgs"}}"#,
        )
    }

    fn new() -> Lock {
        lock(
            r#""root":{"inputs":{"disko":"disko","hm":"hm","nixpkgs":"nixpkgs_2"}},
               "disko":{"inputs":{"lib":"lib","nixpkgs":"nixpkgs"},"locked":{"rev":"d2"}},
               "lib":{"locked":{"rev":"l1"}},
               "hm":{"inputs":{"nixpkgs":["nixpkgs"]},"locked":{"rev":"h1"}},
               "nixpkgs":{"locked":{"rev":"dn2"}},"nixpkgs_2":{"locked":{"rev":"n2"},"original":{"id":"nixpkgs"}}"#,
        )
    }

    fn paths(all: &[&str]) -> BTreeSet<InputPath> {
        all.iter().map(|it| InputPath(it.split('/').map(str::to_owned).collect())).collect()
    }

    /// Each node as `NAME REV → INPUTS`.
    fn shown(lock: &Lock) -> Vec<String> {
        let line = |(name, node): (&String, &Node)| {
            let rev = node.locked.as_ref().map_or("-", |it| it["rev"].as_str().unwrap());
            let inputs = serde_json::to_string(&node.inputs).unwrap();
            format!("{name} {rev} {inputs}")
        };
        lock.nodes.iter().map(line).collect()
    }

    #[test]
    fn every_input_with_a_node_of_its_own_is_named_from_the_root_on() {
        assert_eq!(old().inputs(), paths(&["disko", "disko/nixpkgs", "hm", "nixpkgs"]));
        let rev = |path: &str| {
            let path = paths(&[path]).pop_first().unwrap();
            old().input(&path).map(|it| it.locked.as_ref().unwrap()["rev"].clone())
        };
        assert_eq!(rev("disko/nixpkgs"), Some("dn1".into()));
        assert_eq!(rev("hm/nixpkgs"), None, "it follows another");
    }

    #[test]
    fn what_moves_is_an_input_of_which_anything_is_another_one() {
        let moving = old().inputs().into_iter().filter(|it| old().moves(&new(), it));
        assert_eq!(moving.collect::<BTreeSet<_>>(), paths(&["disko", "disko/nixpkgs", "nixpkgs"]));
    }

    #[test]
    fn an_input_moves_with_all_that_it_brings_along_and_the_others_stay() {
        assert_eq!(
            shown(&old().with(&new(), &paths(&["disko"]))),
            [
                r#"disko d2 {"lib":"lib","nixpkgs":"nixpkgs"}"#,
                r#"hm h1 {"nixpkgs":["nixpkgs"]}"#,
                "lib l1 {}",
                "nixpkgs dn2 {}",
                "nixpkgs_2 n1 {}",
                r#"root - {"disko":"disko","hm":"hm","nixpkgs":"nixpkgs_2"}"#,
            ]
        );
    }

    #[test]
    fn an_input_of_an_input_moves_alone() {
        let moved = old().with(&new(), &paths(&["disko/nixpkgs"]));
        assert_eq!(shown(&moved)[0], r#"disko d1 {"nixpkgs":"nixpkgs"}"#);
        assert_eq!(shown(&moved)[2], "nixpkgs dn2 {}");
    }

    #[test]
    fn all_of_it_is_the_new_one_and_nothing_the_old_one_to_the_letter() {
        assert_eq!(old().with(&new(), &BTreeSet::new()), old());
        assert_eq!(old().with(&new(), &new().inputs()), new());
        let text = old().text().unwrap();
        assert_eq!(Lock::parse(text.as_bytes()).unwrap(), old());
        assert!(text.starts_with("{\n  \"nodes\": {\n    \"disko\": {\n      \"inputs\": {\n"));
        assert!(text.ends_with("  \"root\": \"root\",\n  \"version\": 7\n}\n"), "{text}");
    }

    #[test]
    fn nodes_that_lead_back_to_themselves_end() {
        let text = r#""root":{"inputs":{"a":"a"}},"a":{"inputs":{"b":"a"},"locked":{"rev":"1"}}"#;
        let (it, other) = (lock(text), lock(&text.replace("\"1\"", "\"2\"")));
        assert!(it.inputs().len() <= DEEPEST);
        assert!(it.moves(&other, &paths(&["a"]).pop_first().unwrap()));
        assert_eq!(it.with(&other, &paths(&["a"])), other);
    }
}
