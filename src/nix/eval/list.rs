//! Lists what a flake has, without evaluating it: names, and below `**` what is a derivation.
//!
//! Nix is asked for names only; which of them a pattern means is decided here. A set that cannot
//! be looked into is listed itself, and fails by itself when it is evaluated.
use std::collections::{BTreeMap, BTreeSet};

use globset::{GlobBuilder, GlobMatcher};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use crate::domain::id::{AttrPath, nix_string};
use crate::domain::policy::AttrPattern;
use crate::nix::eval::limited::Share;
use crate::nix::eval::{EvalError, Evaluator, answer, path};
use crate::nix::flake::Pinned;

/// Levels below an output that `**` looks into.
pub const DEEPEST: usize = 10;
/// Attributes that a flake may list.
pub const MOST: usize = 10_000;
/// Outputs whose entries are configurations, which `**` must not look into.
const CONFIGURATIONS: [&str; 3] =
    ["nixosConfigurations", "darwinConfigurations", "homeConfigurations"];

impl Evaluator {
    /// The attributes that `outputs` mean and `exclude` does not, sorted. An output that the
    /// flake does not have gives none.
    ///
    /// # Errors
    /// When an output cannot be looked into at all, or has more than [`MOST`] attributes or more
    /// than [`DEEPEST`] levels.
    pub async fn list(
        &self,
        flake: &Pinned,
        outputs: &[AttrPattern],
        exclude: &[AttrPattern],
        stop: &CancellationToken,
    ) -> Result<Vec<AttrPath>, EvalError> {
        let outputs: Vec<Pattern> = outputs.iter().map(Pattern::new).collect::<Result<_, _>>()?;
        let exclude: Vec<Pattern> = exclude.iter().map(Pattern::new).collect::<Result<_, _>>()?;
        let mut lister =
            Lister { evaluator: self, flake, stop, seen: BTreeMap::new(), listed: BTreeSet::new() };
        for pattern in &outputs {
            lister.expand(pattern).await?;
            if lister.listed.len() > MOST {
                return Err(EvalError::of_flake(format!(
                    "the flake lists more than {MOST} attributes; name fewer in `build.outputs`"
                )));
            }
        }
        let wanted = |it: &Vec<String>| !exclude.iter().any(|pattern| pattern.matches(it));
        Ok(lister.listed.into_iter().filter(wanted).filter_map(AttrPath::new).collect())
    }
}

/// A pattern ready to match.
struct Pattern {
    output: String,
    /// Of the components behind the output.
    globs: Vec<Glob>,
    recursive: bool,
}

enum Glob {
    /// Matches itself alone: Nix need not be asked what else there is.
    Name(String),
    Any(Box<GlobMatcher>),
}

impl Pattern {
    fn new(pattern: &AttrPattern) -> Result<Self, EvalError> {
        let AttrPattern { components, recursive } = pattern;
        let Some((output, rest)) = components.split_first() else {
            return Err(EvalError::of_flake("a pattern of `build` is empty".to_owned()));
        };
        let mut globs = rest.iter().map(|it| Glob::new(it)).collect::<Result<Vec<_>, _>>()?;
        let is_configurations = CONFIGURATIONS.contains(&output.as_str());
        if *recursive && is_configurations && globs.is_empty() {
            globs.push(Glob::new("*")?);
        }
        let recursive = *recursive && !is_configurations;
        Ok(Self { output: output.clone(), globs, recursive })
    }

    fn matches(&self, attr: &[String]) -> bool {
        let depth_ok = if self.recursive {
            attr.len() > self.globs.len()
        } else {
            attr.len() == self.globs.len() + 1
        };
        depth_ok
            && attr[0] == self.output
            && self.globs.iter().zip(&attr[1..]).all(|(glob, name)| glob.matches(name))
    }
}

impl Glob {
    fn new(text: &str) -> Result<Self, EvalError> {
        if !text.contains(['*', '?', '[', '{', '\\']) {
            return Ok(Self::Name(text.to_owned()));
        }
        let glob = GlobBuilder::new(text).literal_separator(false).build().map_err(|error| {
            EvalError::of_flake(format!("`{text}` in `build` is not a pattern: {}", error.kind()))
        })?;
        Ok(Self::Any(Box::new(glob.compile_matcher())))
    }

    fn matches(&self, name: &str) -> bool {
        match self {
            Self::Name(it) => it == name,
            Self::Any(it) => it.is_match(name),
        }
    }
}

/// How far Nix is to look into a set.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Depth {
    Names,
    All,
}

/// What Nix found at a path.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Found {
    /// A set's names, with what was found under each where that was asked for.
    Set(Vec<(String, Found)>),
    /// A word of [`WALK`], or the type of a value that has no names.
    Word(String),
}

/// Looks into a value: a list of names and what is below, or one word. `tryEval` catches what is
/// thrown, which is then listed; what it does not catch ends the process.
const WALK: &str = r#"let
  walk = left: v: let t = builtins.tryEval (if !(builtins.isAttrs v) then builtins.typeOf v else if (v.type or null) == "derivation" then "derivation" else "set"); in
    if !t.success then "broken" else if t.value != "set" then t.value
    else if left == 0 then "deep" else map (n: [ n (walk (left - 1) v.${n}) ]) (builtins.attrNames v);
  names = v: if !(builtins.isAttrs v) then builtins.typeOf v
    else if (v.type or null) == "derivation" then "derivation"
    else map (n: [ n "unseen" ]) (builtins.attrNames v);
in "#;

struct Lister<'a> {
    evaluator: &'a Evaluator,
    flake: &'a Pinned,
    stop: &'a CancellationToken,
    /// What was found where names were asked for; `None`: it cannot be looked into.
    seen: BTreeMap<Vec<String>, Option<Found>>,
    listed: BTreeSet<Vec<String>>,
}

impl Lister<'_> {
    /// Lists what a pattern means: level by level, only below what matches.
    async fn expand(&mut self, pattern: &Pattern) -> Result<(), EvalError> {
        let mut frontier = vec![vec![pattern.output.clone()]];
        let last = pattern.globs.len();
        for (at, glob) in pattern.globs.iter().enumerate() {
            if let (Glob::Name(name), true) = (glob, at + 1 < last || pattern.recursive) {
                for prefix in &mut frontier {
                    prefix.push(name.clone());
                }
                continue;
            }
            self.see(&frontier).await?;
            let mut next = Vec::new();
            for prefix in &frontier {
                match self.seen.get(prefix) {
                    Some(Some(Found::Set(names))) => {
                        let matching = names.iter().map(|(name, _)| name);
                        next.extend(
                            matching
                                .filter(|it| glob.matches(it))
                                .map(|it| [prefix.as_slice(), std::slice::from_ref(it)].concat()),
                        );
                    }
                    Some(Some(Found::Word(word))) if prefix.len() == 1 => {
                        return Err(not_a_set(&pattern.output, word));
                    }
                    // A derivation has nothing below it; a wrong value fails by itself.
                    Some(Some(Found::Word(word))) if word == "derivation" => {}
                    Some(Some(Found::Word(_)) | None) => {
                        self.listed.insert(prefix.clone());
                    }
                    None => {}
                }
            }
            frontier = next;
            if frontier.len() > MOST {
                break;
            }
        }
        if pattern.recursive {
            self.walk(frontier).await?;
        } else if last == 0 {
            match self.ask(&frontier, Depth::Names).await {
                Ok(None) => {}
                Ok(Some(_)) | Err(EvalError::Flake(_)) => self.listed.extend(frontier),
                Err(error) => return Err(error),
            }
        } else {
            self.listed.extend(frontier);
        }
        Ok(())
    }

    /// Asks for the names at each prefix that is not known yet: all at once, and when that fails
    /// one by one.
    async fn see(&mut self, prefixes: &[Vec<String>]) -> Result<(), EvalError> {
        let new: Vec<_> =
            prefixes.iter().filter(|it| !self.seen.contains_key(*it)).cloned().collect();
        if new.is_empty() {
            return Ok(());
        }
        match self.ask(&new, Depth::Names).await {
            Ok(Some(found)) => self.seen.extend(new.into_iter().zip(found.into_iter().map(Some))),
            Ok(None) => {}
            Err(EvalError::Flake(_)) if new.len() > 1 => {
                for prefix in new {
                    let found = self.names(&prefix).await?;
                    self.seen.insert(prefix, found);
                }
            }
            Err(EvalError::Flake(_)) if new[0].len() > 1 => {
                self.seen.insert(new[0].clone(), None);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// The names at one path; `None` when it cannot be looked into.
    async fn names(&self, prefix: &[String]) -> Result<Option<Found>, EvalError> {
        match self.ask(&[prefix.to_vec()], Depth::Names).await {
            Ok(found) => Ok(found.and_then(|it| it.into_iter().next())),
            Err(EvalError::Flake(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Lists every derivation below each prefix. What ends the process is found by halves, then
    /// by its names, and listed by itself.
    async fn walk(&mut self, prefixes: Vec<Vec<String>>) -> Result<(), EvalError> {
        let mut todo = vec![prefixes];
        while let Some(batch) = todo.pop() {
            if batch.is_empty() {
                continue;
            }
            match self.ask(&batch, Depth::All).await {
                Ok(Some(found)) => {
                    for (prefix, found) in batch.iter().zip(&found) {
                        self.collect(prefix, found)?;
                    }
                }
                Ok(None) => {}
                Err(EvalError::Flake(_)) if batch.len() > 1 => {
                    let (left, right) = batch.split_at(batch.len() / 2);
                    todo.push(right.to_vec());
                    todo.push(left.to_vec());
                }
                Err(EvalError::Flake(failure)) => {
                    let prefix = &batch[0];
                    match self.names(prefix).await? {
                        Some(Found::Set(names)) => todo.push(
                            names
                                .into_iter()
                                .map(|(name, _)| [prefix.as_slice(), &[name]].concat())
                                .collect(),
                        ),
                        Some(Found::Word(_)) | None if prefix.len() == 1 => {
                            return Err(EvalError::Flake(failure));
                        }
                        Some(Found::Word(_)) | None => {
                            self.listed.insert(prefix.clone());
                        }
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Takes what a walk found into the list.
    fn collect(&mut self, prefix: &[String], found: &Found) -> Result<(), EvalError> {
        match found {
            Found::Set(below) => {
                for (name, found) in below {
                    self.collect(&[prefix, std::slice::from_ref(name)].concat(), found)?;
                }
            }
            Found::Word(word) => match word.as_str() {
                "derivation" | "broken" => {
                    self.listed.insert(prefix.to_vec());
                }
                "deep" => {
                    let shown: Vec<String> =
                        prefix.iter().take(4).map(|it| nix_string(it)).collect();
                    return Err(EvalError::of_flake(format!(
                        "`{}.…` has more than {DEEPEST} levels; name what is to be built",
                        shown.join(".")
                    )));
                }
                word if prefix.len() == 1 => return Err(not_a_set(&prefix[0], word)),
                // Hydra's own marks, descriptions: nothing to build.
                _ => {}
            },
        }
        Ok(())
    }

    /// One process: what is at each of these paths of one output. `None`: there is no such output.
    async fn ask(
        &self,
        prefixes: &[Vec<String>],
        depth: Depth,
    ) -> Result<Option<Vec<Found>>, EvalError> {
        let mut found = Vec::with_capacity(prefixes.len());
        for prefixes in prefixes.chunks(super::LARGEST_BATCH) {
            let mut apply = format!("o: {WALK}[");
            for prefix in prefixes {
                let below = path(&prefix[1..]);
                let value =
                    if below.is_empty() { "o".to_owned() } else { format!("(o{below} or {{ }})") };
                let part = match depth {
                    Depth::Names => format!(" (names {value})"),
                    Depth::All => {
                        format!(" (walk {} {value})", DEEPEST + 1 - prefix.len().min(DEEPEST))
                    }
                };
                apply.push_str(&part);
            }
            apply.push_str(" ]");
            let output = &prefixes[0][0];
            let share = Share::OfOne(self.evaluator.limits.careful());
            let apply = (output.as_str(), apply.as_str());
            let answer = self.evaluator.apply(self.flake, apply, share, self.stop).await;
            match answer.map_err(|it| it.error)? {
                Some(answer) => found.extend(answer::parse::<Vec<Found>>(&answer.json)?),
                None => return Ok(None),
            }
        }
        Ok(Some(found))
    }
}

fn not_a_set(output: &str, found: &str) -> EvalError {
    EvalError::of_flake(format!(
        "the output `{output}` is {}; it must be a set of names",
        answer::with_article(found)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &[&str], recursive: bool, attr: &[&str]) -> bool {
        let components = pattern.iter().map(|it| (*it).to_owned()).collect();
        let attr: Vec<String> = attr.iter().map(|it| (*it).to_owned()).collect();
        Pattern::new(&AttrPattern { components, recursive }).unwrap().matches(&attr)
    }

    #[test]
    fn a_pattern_means_names_of_its_own_depth() {
        let hosts = ["nixosConfigurations", "web-*"];
        assert!(matches(&hosts, false, &["nixosConfigurations", "web-1"]));
        assert!(matches(&hosts, false, &["nixosConfigurations", "web-a/b c"]));
        assert!(!matches(&hosts, false, &["nixosConfigurations", "db-1"]));
        assert!(!matches(&hosts, false, &["nixosConfigurations"]));
        assert!(!matches(&hosts, false, &["nixosConfigurations", "web-1", "config"]));
        assert!(matches(&["a", "[xy]?"], false, &["a", "x1"]));
    }

    #[test]
    fn a_recursive_pattern_means_everything_below() {
        assert!(matches(&["hydraJobs"], true, &["hydraJobs", "a", "b", "c"]));
        assert!(matches(&["hydraJobs", "a"], true, &["hydraJobs", "a", "b"]));
        assert!(!matches(&["hydraJobs", "a"], true, &["hydraJobs", "b", "b"]));
    }

    #[test]
    fn every_host_of_a_fleet_is_matched_by_two_stars_too() {
        assert!(matches(&["nixosConfigurations"], true, &["nixosConfigurations", "a"]));
        assert!(!matches(&["nixosConfigurations"], true, &["nixosConfigurations", "a", "config"]));
    }
}
