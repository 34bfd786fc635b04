//! What `fleetcheck update --json` prints: one document, its shape kept stable.
//!
//! Within version 1 keys are added, never removed and never given another meaning; readers ignore
//! keys that they do not know. Every key is always there; what is not known is `null`.
use serde::{Deserialize, Serialize};

use crate::cli::update::words::{date, why};
use crate::domain::id::AttrPath;
use crate::domain::lock::revision::Revision;
use crate::domain::update::outcome::{Broken, Move};
use crate::flow::update::{Mode, UpdateError, UpdateReport};

/// The whole document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateDocument {
    /// Of this shape: 1.
    pub version: u32,
    /// The flake as it was asked for.
    pub flake: String,
    /// Why there is no answer; everything else is empty then.
    pub problem: Option<String>,
    /// Whether `flake.lock` was only looked at.
    pub dry_run: bool,
    /// Inputs that can move, and did if `written` is not null.
    pub moved: Vec<DocumentMove>,
    pub held_back: Vec<DocumentHeldBack>,
    /// Inputs whose newest revision is not to be had.
    pub not_found: Vec<DocumentNotFound>,
    /// The flake's own inputs that were not to be moved.
    pub left: Vec<String>,
    /// Required hosts that are broken whatever moves.
    pub broken_before: Vec<DocumentReason>,
    /// Required hosts of which nothing can be said, because of the weather; with any, nothing is
    /// written.
    pub unknown: Vec<DocumentReason>,
    /// Required hosts that were evaluated and not built: no builder of this machine does their
    /// system.
    pub only_evaluated: Vec<String>,
    /// Sets of inputs that were tried.
    pub tries: usize,
    /// The file that was written.
    pub written: Option<String>,
}

/// An input on its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DocumentMove {
    /// Its way from the flake on: `nixpkgs`, `disko/nixpkgs`.
    pub input: String,
    pub from: DocumentRevision,
    pub to: DocumentRevision,
    /// Where GitHub shows what lies between.
    pub compare: Option<String>,
}

/// What an input is locked to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DocumentRevision {
    /// Its commit, if it is in one.
    pub rev: Option<String>,
    /// The hash of its tree.
    pub nar_hash: Option<String>,
    /// The day of its last change, in UTC.
    pub date: Option<String>,
}

/// An input that stays where it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DocumentHeldBack {
    #[serde(flatten)]
    pub moved: DocumentMove,
    /// Together with these it breaks the hosts; with none it does alone.
    pub with: Vec<String>,
    pub hosts: Vec<DocumentReason>,
}

/// A host that is not whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DocumentReason {
    /// `nixosConfigurations.raider`, spelt as Nix does.
    pub attribute: String,
    /// One line.
    pub headline: String,
}

/// An input that is not where the flake says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DocumentNotFound {
    pub input: String,
    /// One line.
    pub headline: String,
}

impl UpdateDocument {
    /// Of an answer.
    #[must_use]
    pub fn of(report: &UpdateReport, mode: Mode) -> Self {
        let held_back = report.held_back.iter().map(|it| DocumentHeldBack {
            moved: moved(&it.moved),
            with: it.with.iter().map(ToString::to_string).collect(),
            hosts: reasons(&it.hosts),
        });
        let not_found = report.not_found.iter().map(|(input, why)| DocumentNotFound {
            input: input.to_string(),
            headline: why.clone(),
        });
        Self {
            version: 1,
            flake: report.flake.clone(),
            problem: None,
            dry_run: mode == Mode::DryRun,
            moved: report.moved.iter().map(moved).collect(),
            held_back: held_back.collect(),
            not_found: not_found.collect(),
            left: report.left.iter().map(ToString::to_string).collect(),
            broken_before: reasons(&report.broken_before),
            unknown: reasons(&report.unknown),
            only_evaluated: report.only_evaluated.iter().map(|(it, _)| it.to_string()).collect(),
            tries: report.tries,
            written: report.written.as_ref().map(|it| it.display().to_string()),
        }
    }

    /// Where there is no answer.
    #[must_use]
    pub fn refused(flake: &str, error: &UpdateError) -> Self {
        Self {
            version: 1,
            flake: flake.to_owned(),
            problem: Some(error.to_string()),
            dry_run: false,
            moved: vec![],
            held_back: vec![],
            not_found: vec![],
            left: vec![],
            broken_before: vec![],
            unknown: vec![],
            only_evaluated: vec![],
            tries: 0,
            written: None,
        }
    }
}

fn moved(it: &Move) -> DocumentMove {
    DocumentMove {
        input: it.input.to_string(),
        from: revision(&it.from),
        to: revision(&it.to),
        compare: it.from.compare(&it.to),
    }
}

fn revision(it: &Revision) -> DocumentRevision {
    let Revision { commit, hash, modified, page: _, count: _ } = it.clone();
    DocumentRevision { rev: commit, nar_hash: hash, date: modified.and_then(date) }
}

fn reasons(hosts: &[(AttrPath, Broken)]) -> Vec<DocumentReason> {
    let of = |(attr, reason): &(AttrPath, Broken)| DocumentReason {
        attribute: attr.to_string(),
        headline: why(reason),
    };
    hosts.iter().map(of).collect()
}
