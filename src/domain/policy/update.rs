//! `[update]`: what moves in `flake.lock`, when, and how it lands.
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::domain::id::Branch;
use crate::domain::lock::moved::InputPath;
use crate::domain::policy::pattern::{check_glob, glob_matches_path};
use crate::domain::update::schedule::Schedule;

/// `[update]`: what `fleetcheck update` moves, and what the service proposes by itself.
///
/// Of a repository it is read from the default branch only: it moves that branch's lock file, and
/// it may merge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdatePolicy {
    /// When updates are proposed; `None` for never.
    pub schedule: Option<Schedule>,
    /// Globs over inputs by their way from the root, `nixpkgs` or `disko/nixpkgs`. `*` stops at a
    /// slash, `**` does not: `*` is every input of the flake's own.
    pub inputs: Vec<String>,
    pub exclude: Vec<String>,
    pub group: Group,
    pub open: Open,
    pub hold_back: HoldBack,
    pub merge: MergeBy,
    /// Where the proposal is; a group's is [beside](Branch::beside) it.
    pub branch: Branch,
    pub labels: Vec<String>,
    /// `LOGIN`, or `ORGANISATION/TEAM`.
    pub reviewers: Vec<String>,
    /// The commit's first line, and how the pull request's title begins.
    pub commit_message: String,
    /// How many builds may be spent on the first bad commit of an input; `None` for no search.
    pub bisect: Option<u32>,
    /// How long the lock file may stay as it is before that is told; `None` for ever.
    pub stale_after: Option<Duration>,
}

/// What moves in one pull request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Group {
    /// Everything.
    #[default]
    All,
    /// One input.
    Each,
    /// What belongs together; what belongs nowhere is in one more.
    Named(Vec<NamedGroup>),
}

/// Inputs that belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedGroup {
    pub name: String,
    /// Globs, as [`UpdatePolicy::inputs`]. An input is of the first group that means it.
    pub inputs: Vec<String>,
}

/// From when on a pull request is opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Open {
    /// When the gate would pass.
    #[default]
    Green,
    /// When every required host evaluates.
    Evaluated,
    /// Whatever came of it.
    Always,
}

/// Who merges a pull request that is green.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MergeBy {
    /// A person.
    #[default]
    Manual,
    /// GitHub's auto-merge, when the branch's rules are met.
    Auto,
    /// We do, at once.
    Direct,
}

/// What stays where it is when a required host breaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HoldBack {
    /// What breaks it.
    #[default]
    Guilty,
    /// `hold_back = false`: everything.
    All,
}

impl Default for UpdatePolicy {
    fn default() -> Self {
        Self {
            schedule: None,
            inputs: vec!["*".to_owned()],
            exclude: vec![],
            group: Group::default(),
            open: Open::default(),
            hold_back: HoldBack::default(),
            merge: MergeBy::default(),
            branch: Branch::of_updates(),
            labels: vec!["dependencies".to_owned()],
            reviewers: vec![],
            commit_message: "flake.lock: update".to_owned(),
            bisect: None,
            stale_after: Some(Duration::from_hours(14 * 24)),
        }
    }
}

impl UpdatePolicy {
    /// Builds that a search for the first bad commit may cost unless the policy says otherwise.
    pub const BISECT_BUILDS: u32 = 12;

    /// Whether an input is to be moved.
    #[must_use]
    pub fn chooses(&self, input: &InputPath) -> bool {
        means(&self.inputs, input) && !means(&self.exclude, input)
    }

    /// The same with other inputs, as a person typed them.
    ///
    /// # Errors
    /// The first that is no glob, and why.
    pub fn with_inputs(self, inputs: Vec<String>) -> Result<Self, (String, String)> {
        for glob in &inputs {
            check_glob(glob).map_err(|reason| (glob.clone(), reason))?;
        }
        Ok(Self { inputs, ..self })
    }

    /// What moves together: the name of each group, its branch and its inputs. None is empty.
    ///
    /// A branch depends on its group's name alone, so it is the same the next time.
    #[must_use]
    pub fn groups(
        &self,
        moving: &BTreeSet<InputPath>,
    ) -> Vec<(String, Branch, BTreeSet<InputPath>)> {
        let beside = |(name, inputs): (String, BTreeSet<InputPath>)| {
            (!inputs.is_empty()).then(|| (name.clone(), self.branch.beside(&name), inputs))
        };
        match &self.group {
            Group::All if moving.is_empty() => vec![],
            Group::All => vec![("all".to_owned(), self.branch.clone(), moving.clone())],
            Group::Each => {
                let mut each: BTreeMap<String, BTreeSet<InputPath>> = BTreeMap::new();
                for input in moving {
                    each.entry(input.to_string()).or_default().insert(input.clone());
                }
                each.into_iter().filter_map(beside).collect()
            }
            Group::Named(named) => {
                let mut rest = moving.clone();
                let mut take = |group: &NamedGroup| {
                    let of = |it: &InputPath| means(&group.inputs, it);
                    let (taken, left) = rest.iter().cloned().partition(of);
                    rest = left;
                    (group.name.clone(), taken)
                };
                let mut groups: Vec<_> = named.iter().map(&mut take).collect();
                groups.push((NamedGroup::REST.to_owned(), rest));
                groups.into_iter().filter_map(beside).collect()
            }
        }
    }
}

impl NamedGroup {
    /// What the inputs of no group are called.
    pub const REST: &'static str = "rest";
}

fn means(globs: &[String], input: &InputPath) -> bool {
    let name = input.to_string();
    globs.iter().any(|it| glob_matches_path(it, &name))
}
