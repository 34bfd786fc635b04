//! Whether `nix-eval-jobs` is here, and for this Nix.
//!
//! It is made with Nix's libraries, and so is a Nix of its own: one of another version may give
//! other derivations than `nix build`. It has no `--version`. It is asked what the language says of
//! it, with the two options that [`eval`](crate::nix::eval) needs, which older ones do not have.
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use crate::nix::process::{self, Limits};
use crate::nix::{Nix, trace};

/// How long it may take to say what it is.
const QUESTION: Duration = Duration::from_secs(8);
/// A set whose only name is the version; its value fails, so that nothing is made.
const VERSION: &str = "{ ${builtins.nixVersion} = throw \"this is its version\"; }";

/// What there is of `nix-eval-jobs`; said in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EvalJobs {
    /// It evaluates.
    Used { program: PathBuf, version: String },
    /// It is not there.
    Absent,
    /// It is for another Nix than ours.
    OfAnother { version: String, nix: String },
    /// It does not answer.
    Silent { program: PathBuf, why: String },
}

impl Nix {
    /// Whether `nix-eval-jobs` can stand in for this Nix, whose version is this.
    pub async fn eval_jobs(&self, version: &str) -> EvalJobs {
        let Some(program) = self.eval_jobs.clone() else { return EvalJobs::Absent };
        match self.eval_jobs_version(&program).await {
            Ok(its) if release(&its) == release(version) => {
                EvalJobs::Used { program, version: its }
            }
            Ok(its) => EvalJobs::OfAnother { version: its, nix: version.to_owned() },
            Err(why) => EvalJobs::Silent { program, why },
        }
    }

    /// Its version, or why that is not known.
    async fn eval_jobs_version(&self, program: &Path) -> Result<String, String> {
        // It keeps a cache of what it fetched even if it fetches nothing.
        let home = tempfile::tempdir().map_err(|error| error.to_string())?;
        let limits = Limits { timeout: QUESTION, memory: None, output: 1 << 20 };
        let args = ["--workers", "1", "--select", "it: it", "--apply", "it: it", "--expr", VERSION];
        let invocation = self.command_of(program, args, limits);
        let invocation =
            invocation.env("HOME", home.path()).env("XDG_CACHE_HOME", home.path().join("cache"));
        let finished = process::run(invocation, &CancellationToken::new()).await;
        let finished = finished.map_err(|error| error.to_string())?;
        let version = finished.stdout.split(|it| *it == b'\n').find_map(version);
        version.ok_or_else(|| last_words(&finished.stderr))
    }
}

impl fmt::Display for EvalJobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Used { program: _, version } => {
                write!(f, "nix-eval-jobs {version} evaluates checks, packages and hydraJobs")
            }
            Self::Absent => f.write_str("nix-eval-jobs is not on the PATH: nix eval evaluates all"),
            Self::OfAnother { version, nix } => {
                let (its, ours) = (release(version), release(nix));
                write!(f, "nix-eval-jobs is for Nix {its}, this is {ours}: not used")
            }
            Self::Silent { program, why } => {
                let program = program.display();
                write!(f, "{program} does not say for which Nix it is: not used: {why}")
            }
        }
    }
}

/// The version in a line of its answer.
fn version(line: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Line {
        #[serde(rename = "attrPath")]
        path: [String; 1],
    }
    let Line { path: [version] } = serde_json::from_slice(line).ok()?;
    version.starts_with(|it: char| it.is_ascii_digit()).then_some(version)
}

/// `2.34` of `2.34.8`: within it nothing changes that derivations depend on.
fn release(version: &str) -> &str {
    let mut dots = version.match_indices('.').map(|(at, _)| at);
    dots.nth(1).map_or(version, |at| &version[..at])
}

/// The last line that a program said.
pub(super) fn last_words(stderr: &[u8]) -> String {
    let said = trace::plain(stderr);
    let last = said.lines().map(str::trim).rfind(|it| !it.is_empty());
    last.unwrap_or("it said nothing").chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_from_the_line_that_names_it() {
        let line =
            r#"{"attr":"\"2.33.6\"","attrPath":["2.33.6"],"error":"error: it","fatal":false}"#;
        assert_eq!(version(line.as_bytes()).as_deref(), Some("2.33.6"));
        for no in ["", "warning: x", r#"{"attrPath":[]}"#, r#"{"attrPath":["a","b"]}"#] {
            assert_eq!(version(no.as_bytes()), None, "{no}");
        }
    }

    #[test]
    fn a_patch_makes_no_other_nix_and_a_release_does() {
        for (one, other, same) in [
            ("2.34.8", "2.34.0", true),
            ("2.34", "2.34.8", true),
            ("2.8.0pre20220530_af23d38", "2.8.0", true),
            ("2.33.6", "2.34.8", false),
            ("2.3.16", "2.34.8", false),
        ] {
            assert_eq!(release(one) == release(other), same, "{one} {other}");
        }
    }
}
