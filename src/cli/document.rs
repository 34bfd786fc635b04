//! What `fleetcheck check --json` prints: one document, its shape kept stable.
//!
//! Within version 1 keys are added, never removed and never given another meaning; readers ignore
//! keys that they do not know. Every key is always there; what is not known is `null`.
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::cli::words;
use crate::domain::build::{Ending, Required, SourcePlace, Warning};
use crate::domain::verdict::{Problem, Verdict};
use crate::flow::check::{CheckError, CheckReport, CheckedHost};

/// The whole document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckDocument {
    /// Of this shape: 1.
    pub version: u32,
    /// The flake as it was asked for.
    pub flake: String,
    /// Its commit; `null` for a tree that is none.
    pub revision: Option<String>,
    /// Whether the gate would pass; the exit status is 0 exactly then.
    pub passes: bool,
    /// `null` when it was interrupted before there was one, and while a required host waits.
    pub verdict: Option<VerdictWord>,
    /// Why nothing could be judged, with the verdict `broken`.
    pub problem: Option<DocumentProblem>,
    /// Ended by a signal: hosts with the result `not_done` were not judged.
    pub interrupted: bool,
    /// In the order of their attribute paths.
    pub hosts: Vec<DocumentHost>,
}

/// How the gate would end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VerdictWord {
    Passed,
    Failed,
    TimedOut,
    /// Nothing could be judged: no flake, no host, a policy file that cannot be read.
    Broken,
    Superseded,
    Cancelled,
    Skipped,
}

/// Why nothing could be judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DocumentProblem {
    /// One line.
    pub headline: String,
    /// More, as plain text; may be empty.
    pub detail: String,
    /// Where in the flake.
    pub place: Option<SourcePlace>,
}

/// One host or other output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DocumentHost {
    /// `nixosConfigurations.raider`, spelt as Nix does.
    pub attribute: String,
    /// The name that its check has; `null` when no check can have its name.
    pub host: Option<String>,
    /// Whether its failure fails the gate.
    pub required: bool,
    pub result: ResultWord,
    /// Nix's `system`, once evaluated.
    pub system: Option<String>,
    /// The path of its derivation, once evaluated.
    pub derivation: Option<String>,
    /// Output names and their paths; empty until evaluated.
    pub outputs: BTreeMap<String, String>,
    /// Milliseconds of evaluating and building.
    pub elapsed_ms: i64,
    /// What is wrong, or waited for; `null` for `built`, `reused` and `not_done`.
    pub failure: Option<DocumentFailure>,
    /// What Nix warned of while it evaluated the host.
    #[serde(default)]
    pub warnings: Vec<Warning>,
}

/// How a host ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResultWord {
    Built,
    /// Its outputs were valid already.
    Reused,
    EvaluationFailed,
    BuildFailed,
    TimedOut,
    /// Nobody's fault, and trying again did not mend it.
    Transient,
    /// Our fault.
    Internal,
    Superseded,
    Cancelled,
    Skipped,
    /// No builder in the settings can build it; the others are built all the same.
    Waiting,
    NotDone,
}

/// What is wrong with a host. Texts are as Nix and the build gave them, control characters and
/// all: clean them before a terminal sees them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DocumentFailure {
    /// One line.
    pub headline: String,
    /// Nix's whole text about a failed evaluation.
    pub trace: Option<String>,
    /// Where in the flake an evaluation failed.
    pub place: Option<SourcePlace>,
    /// The setting whose limit ended it.
    pub setting: Option<String>,
    /// The derivation that failed or was running: the host's own or one that it needs.
    pub derivation: Option<String>,
    /// The last lines of that derivation's log.
    pub log_tail: Vec<String>,
}

impl CheckDocument {
    /// The version of this shape.
    pub const VERSION: u32 = 1;

    /// The document of what was checked.
    #[must_use]
    pub fn of(report: &CheckReport) -> Self {
        Self {
            version: Self::VERSION,
            flake: report.flake.clone(),
            revision: report.revision.as_ref().map(ToString::to_string),
            passes: report.verdict == Some(Verdict::Passed) && !report.interrupted,
            verdict: report.verdict.as_ref().map(VerdictWord::of),
            problem: match &report.verdict {
                Some(Verdict::Broken { problem }) => Some(DocumentProblem::of(problem)),
                Some(
                    Verdict::Passed
                    | Verdict::Failed
                    | Verdict::TimedOut
                    | Verdict::Superseded { .. }
                    | Verdict::Cancelled { .. }
                    | Verdict::Skipped { .. },
                )
                | None => None,
            },
            interrupted: report.interrupted,
            hosts: report.hosts.iter().map(DocumentHost::of).collect(),
        }
    }

    /// The document of a flake that could not be judged at all.
    #[must_use]
    pub fn refused(flake: &str, error: &CheckError) -> Self {
        let interrupted = matches!(error, CheckError::Stopped);
        let text = error.to_string();
        let (headline, detail) = text.split_once('\n').unwrap_or((&text, ""));
        let problem = DocumentProblem {
            headline: headline.to_owned(),
            detail: detail.to_owned(),
            place: match error {
                CheckError::Policy(it) => {
                    Some(SourcePlace { path: it.file.clone(), line: it.line })
                }
                CheckError::PolicyFile { .. }
                | CheckError::Flake { .. }
                | CheckError::UnknownHost { .. }
                | CheckError::Scratch { .. }
                | CheckError::Reference(_)
                | CheckError::Stopped => None,
            },
        };
        Self {
            version: Self::VERSION,
            flake: flake.to_owned(),
            revision: None,
            passes: false,
            verdict: (!interrupted).then_some(VerdictWord::Broken),
            problem: (!interrupted).then_some(problem),
            interrupted,
            hosts: Vec::new(),
        }
    }
}

impl VerdictWord {
    fn of(verdict: &Verdict) -> Self {
        match verdict {
            Verdict::Passed => Self::Passed,
            Verdict::Failed => Self::Failed,
            Verdict::TimedOut => Self::TimedOut,
            Verdict::Broken { .. } => Self::Broken,
            Verdict::Superseded { .. } => Self::Superseded,
            Verdict::Cancelled { .. } => Self::Cancelled,
            Verdict::Skipped { .. } => Self::Skipped,
        }
    }
}

impl DocumentProblem {
    fn of(problem: &Problem) -> Self {
        Self {
            headline: problem.headline.clone(),
            detail: problem.detail.clone(),
            place: problem.place.clone(),
        }
    }
}

impl DocumentHost {
    fn of(host: &CheckedHost) -> Self {
        let derivation = host.derivation.as_ref();
        let outputs = derivation.iter().flat_map(|it| &it.outputs);
        Self {
            attribute: host.attr.to_string(),
            host: host.label.clone(),
            required: host.required == Required::Required,
            result: ResultWord::of(host),
            system: host.system.clone(),
            derivation: derivation.map(|it| it.path.to_string()),
            outputs: outputs.map(|(name, path)| (name.clone(), path.to_string())).collect(),
            elapsed_ms: host.elapsed_ms,
            failure: DocumentFailure::of_host(host),
            warnings: host.warnings.clone(),
        }
    }
}

impl ResultWord {
    fn of(host: &CheckedHost) -> Self {
        match &host.ending {
            None if host.waiting.is_some() => Self::Waiting,
            None => Self::NotDone,
            Some(Ending::Reused) => Self::Reused,
            Some(Ending::Built { .. }) => Self::Built,
            Some(Ending::Superseded { .. }) => Self::Superseded,
            Some(Ending::Cancelled { .. }) => Self::Cancelled,
            Some(Ending::Skipped { .. }) => Self::Skipped,
            Some(Ending::EvaluationFailed(_)) => Self::EvaluationFailed,
            Some(Ending::BuildFailed(_)) => Self::BuildFailed,
            Some(Ending::TimedOut(_)) => Self::TimedOut,
            Some(Ending::Transient { .. }) => Self::Transient,
            Some(Ending::Internal { .. }) => Self::Internal,
        }
    }
}

impl DocumentFailure {
    fn of_host(host: &CheckedHost) -> Option<Self> {
        let waits = |it| format!("waiting for {}", words::waiting(it));
        match (&host.ending, &host.waiting) {
            (Some(ending), _) => Self::of(ending),
            (None, Some(it)) => Some(Self { headline: waits(it), ..Self::default() }),
            (None, None) => None,
        }
    }

    fn of(ending: &Ending) -> Option<Self> {
        let headline = words::headline(ending)?;
        let failure = Self { headline, ..Self::default() };
        Some(match ending {
            Ending::Reused | Ending::Built { .. } => return None,
            Ending::Superseded { .. }
            | Ending::Cancelled { .. }
            | Ending::Skipped { .. }
            | Ending::Transient { .. }
            | Ending::Internal { .. } => failure,
            Ending::EvaluationFailed(it) => Self {
                trace: Some(it.trace.clone()),
                place: it.place.clone(),
                setting: it.limit.clone(),
                ..failure
            },
            Ending::BuildFailed(it) => Self {
                derivation: Some(it.derivation.to_string()),
                log_tail: it.log_tail.clone(),
                ..failure
            },
            Ending::TimedOut(it) => Self {
                setting: Some(it.setting.clone()),
                derivation: it.derivation.as_ref().map(ToString::to_string),
                log_tail: it.log_tail.clone(),
                ..failure
            },
        })
    }
}
