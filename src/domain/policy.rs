//! A repository's wishes: `fleetcheck.toml` (or `.github/fleetcheck.toml`) of the commit under test.
//!
//! A file that is not understood is an error with its line, never a default: a typing error in
//! `required` must not turn a gate into one that always passes.
mod pattern;
mod read;
mod update;

use crate::domain::base::ExistingFailures;
use crate::domain::build::Required;
use crate::domain::id::{AttrPath, Branch};
pub use crate::domain::policy::update::{Group, HoldBack, MergeBy, NamedGroup, Open, UpdatePolicy};

/// What a repository wants built and required; the default where it has no policy file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    pub build: BuildPolicy,
    pub gate: GatePolicy,
    pub trust: TrustPolicy,
    pub update: UpdatePolicy,
}

/// `[build]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildPolicy {
    /// Which flake outputs are built: `nixosConfigurations.*`, `checks.SYSTEM.*`, `hydraJobs.**`.
    pub outputs: Vec<AttrPattern>,
    pub exclude: Vec<AttrPattern>,
    /// Globs of branches whose pushes are built besides the default branch's. `*` stops at a
    /// slash, `**` does not.
    pub branches: Vec<String>,
    /// The flake's folder within the repository, relative, without `..`; empty for the root.
    pub flake: String,
    pub pull_requests: PullRequests,
}

/// What is built of a pull request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PullRequests {
    /// Its own commit, as it was pushed.
    #[default]
    Head,
    /// That commit merged into the base branch, as merging the pull request would.
    Merge,
}

/// `[gate]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatePolicy {
    /// Globs over the labels of hosts (`raider`, `web-*`, `checks.x86_64-linux.*`); empty when
    /// `required_from` is given.
    pub required: Vec<String>,
    /// A flake output with the list of required names, instead of `required`.
    pub required_from: Option<AttrPath>,
    /// Whether a required host that failed on the base commit, and fails again, fails the gate.
    ///
    /// Read from the commit under test, as `required` is: whoever may take a host out of that
    /// list gains nothing by this key. The gate's page names every host that it lets pass.
    pub existing_failures: ExistingFailures,
}

/// `[trust]`: grants power, so it is read from the default branch only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustPolicy {
    pub forks: Forks,
    pub approvals: Approvals,
    /// Whether commands in comments are acted on.
    pub comments: bool,
}

/// How long a person's approval of a fork's pull request holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Approvals {
    /// For the commit that was approved; a new push needs a new one.
    #[default]
    OfOneCommit,
    /// `sticky = true`: for the pull request's later commits too.
    Sticky,
}

/// What happens with a fork's pull request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forks {
    /// Waits until someone with write access says so.
    Approve,
    /// Is not built.
    Never,
    /// Is built like anybody's.
    Build,
}

/// A pattern over attribute paths: components of globs, `**` at the end for any depth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttrPattern {
    /// Globs, one per component, outermost first. The first is a plain name.
    pub components: Vec<String>,
    /// Ends in `**`: every derivation at any depth below.
    pub recursive: bool,
}

/// What is wrong with a policy file, addressed to its author.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file} line {line}: {reason}")]
pub struct PolicyError {
    /// Relative to the repository's root.
    pub file: String,
    /// Counted from 1.
    pub line: u32,
    /// What was found, what was wanted and what to do; one line without control characters.
    pub reason: String,
}

impl Default for BuildPolicy {
    fn default() -> Self {
        let hosts = AttrPattern {
            components: vec!["nixosConfigurations".to_owned(), "*".to_owned()],
            recursive: false,
        };
        Self {
            outputs: vec![hosts],
            exclude: vec![],
            branches: vec![],
            flake: String::new(),
            pull_requests: PullRequests::default(),
        }
    }
}

impl Default for GatePolicy {
    fn default() -> Self {
        Self {
            required: vec!["*".to_owned()],
            required_from: None,
            existing_failures: ExistingFailures::default(),
        }
    }
}

impl Default for TrustPolicy {
    fn default() -> Self {
        Self { forks: Forks::Approve, approvals: Approvals::default(), comments: false }
    }
}

impl Policy {
    /// Where a policy may stand, the first that exists counts.
    pub const FILES: [&'static str; 2] = ["fleetcheck.toml", ".github/fleetcheck.toml"];

    /// The policy that `text` states; `file` is its name for errors.
    ///
    /// # Errors
    /// The first mistake of the file: invalid TOML, an unknown key, a wrong type or value.
    pub fn parse(file: &str, text: &str) -> Result<Self, PolicyError> {
        read::policy(file, text)
    }

    /// [`Policy::parse`] of a file as it lies in the repository.
    ///
    /// # Errors
    /// Also when the bytes are not UTF-8.
    pub fn parse_bytes(file: &str, bytes: &[u8]) -> Result<Self, PolicyError> {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::parse(file, text),
            Err(error) => Err(PolicyError {
                file: file.to_owned(),
                line: read::line_at(bytes, error.valid_up_to()),
                reason: "is not UTF-8 text; save the file as UTF-8, as TOML wants it".to_owned(),
            }),
        }
    }

    /// Whether a push to `branch` is built.
    #[must_use]
    pub fn builds_branch(&self, branch: &Branch, default: &Branch) -> bool {
        let matches = |glob: &String| pattern::glob_matches_path(glob, branch.as_str());
        branch == default || self.build.branches.iter().any(matches)
    }
}

impl BuildPolicy {
    /// Whether this attribute is one of those to build.
    #[must_use]
    pub fn wants(&self, attr: &AttrPath) -> bool {
        let any = |patterns: &[AttrPattern]| patterns.iter().any(|it| it.matches(attr));
        any(&self.outputs) && !any(&self.exclude)
    }
}

impl GatePolicy {
    /// Whether a host of this label is required; `from` is what `required_from` gave.
    ///
    /// Without that list although it is wanted, every host is: the gate fails closed.
    #[must_use]
    pub fn requires(&self, label: &str, from: Option<&[String]>) -> Required {
        let required = match (&self.required_from, from) {
            (None, _) => self.required.iter().any(|glob| pattern::glob_matches(glob, label)),
            (Some(_), Some(names)) => names.iter().any(|name| name == label),
            (Some(_), None) => true,
        };
        if required { Required::Required } else { Required::Optional }
    }
}

#[cfg(test)]
mod tests;
