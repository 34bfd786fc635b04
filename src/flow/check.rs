//! The same engine without GitHub and without a store: `fleetcheck check`.
pub(super) mod source;
pub(super) mod work;

use std::path::PathBuf;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::config;
use crate::domain::build::{Derivation, Ending, Required, Waiting, Warning};
use crate::domain::id::{AttrPath, CommitSha};
use crate::domain::plan::Plan;
use crate::domain::policy::PolicyError;
use crate::domain::verdict::Verdict;
use crate::flow::check::work::Work;
use crate::flow::evaluate::Tools;
use crate::flow::look::Builders;
use crate::nix::Nix;
use crate::nix::eval::{EvalError, Evaluator};
use crate::nix::flake::NotAFlakeRef;
use crate::nix::machine::Machine;

/// What to check, and with what.
#[derive(Clone, Debug)]
pub struct CheckRequest {
    /// Any flake reference, as the person typed it.
    pub flake: String,
    /// Labels; empty for all.
    pub hosts: Vec<String>,
    pub nix: config::Nix,
    /// Those of one machine: the hosts are built there.
    pub builders: Vec<config::Builder>,
    /// A directory of our own for caches and logs.
    pub scratch: PathBuf,
}

impl CheckRequest {
    fn machine(&self, nix: &Nix) -> Machine {
        self.builders.first().map_or_else(|| Machine::local(nix), |it| Machine::new(nix, it))
    }
}

/// What happens, for whoever watches.
#[derive(Clone, Debug)]
pub enum CheckEvent {
    /// The hosts, with their labels.
    Listed(Vec<(AttrPath, Option<String>, Required)>),
    Evaluating(AttrPath),
    /// Evaluated, after so many milliseconds.
    Evaluated(AttrPath, Derivation, i64),
    Waiting(AttrPath, Waiting),
    Building(AttrPath),
    /// Derivations done, of so many.
    Counts {
        attr: AttrPath,
        done: u64,
        expected: u64,
    },
    /// Ended, after so many milliseconds of building.
    Ended(AttrPath, Ending, i64),
    Note(String),
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct CheckReport {
    pub flake: String,
    pub revision: Option<CommitSha>,
    /// `None` when a required host was not done, or waits for a builder.
    pub verdict: Option<Verdict>,
    pub hosts: Vec<CheckedHost>,
    pub interrupted: bool,
}

/// One host of a [`CheckReport`].
#[derive(Clone, Debug)]
pub struct CheckedHost {
    pub attr: AttrPath,
    pub label: Option<String>,
    pub required: Required,
    pub system: Option<String>,
    pub derivation: Option<Derivation>,
    /// `None` when it was not done, or cannot be here.
    pub ending: Option<Ending>,
    /// What it waits for that no time brings: a builder that the settings do not have.
    pub waiting: Option<Waiting>,
    /// Milliseconds of evaluation and building.
    pub elapsed_ms: i64,
    /// What Nix warned of while it evaluated the host.
    pub warnings: Vec<Warning>,
}

/// Why nothing could be checked.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    #[error("{0}")]
    Policy(#[from] PolicyError),
    #[error("{file} {reason}")]
    PolicyFile { file: String, reason: String },
    #[error("{flake}: {headline}\n{detail}")]
    Flake { flake: String, headline: String, detail: String },
    #[error("no host `{name}` in this flake; it has {}", if .known.is_empty() { "none" } else { .known })]
    UnknownHost { name: String, known: String },
    #[error("cannot use {}: {source}", .path.display())]
    Scratch { path: PathBuf, source: std::io::Error },
    #[error("{0}")]
    Reference(#[from] NotAFlakeRef),
    #[error("stopped before anything was listed")]
    Stopped,
}

/// Evaluates and builds what `serve` would, here and now.
pub async fn check(
    request: CheckRequest,
    events: &mut (dyn FnMut(CheckEvent) + Send),
    stop: CancellationToken,
) -> Result<CheckReport, CheckError> {
    let scratch = |source| CheckError::Scratch { path: request.scratch.clone(), source };
    let tools = tools(&request)?;
    let (pinned, policy) = source::pin(&tools.evaluator, &request.flake, &stop).await?;
    let planned = tools.plan((&pinned, None), &policy, &[], &stop).await;
    let mut plan = planned.map_err(|error| of_flake(&request.flake, error))?;
    if !request.hosts.is_empty() {
        keep_only(&mut plan, &request.hosts)?;
    }
    let listed = plan.builds.iter().map(|it| (it.attr.clone(), it.label.clone(), it.required));
    events(CheckEvent::Listed(listed.collect()));
    let logs = tempfile::tempdir_in(&request.scratch).map_err(scratch)?;
    let mut work = Work::new(&request, &tools, logs.path(), plan.builds);
    work.run(&pinned, events, &stop).await;
    Ok(work.report(&request.flake, pinned.revision, plan.problem.as_ref(), &stop))
}

/// What is needed for it; the directory of its own is made.
pub(super) fn tools(request: &CheckRequest) -> Result<Tools, CheckError> {
    let scratch = |source| CheckError::Scratch { path: request.scratch.clone(), source };
    std::fs::create_dir_all(&request.scratch).map_err(scratch)?;
    let nix = Nix::new(&request.nix);
    Ok(Tools {
        evaluator: Evaluator::new(nix.clone(), &request.nix, &request.scratch),
        nix,
        builders: Arc::new(Builders::new(&request.builders)),
    })
}

pub(super) fn of_flake(flake: &str, error: EvalError) -> CheckError {
    let flake = flake.to_owned();
    match error {
        EvalError::Flake(it) | EvalError::Limit(it) | EvalError::Memory(it) => {
            CheckError::Flake { flake, headline: it.headline, detail: it.trace }
        }
        EvalError::Cancelled => CheckError::Stopped,
        error @ (EvalError::AnotherCommit { .. }
        | EvalError::Weather(_)
        | EvalError::Operator(_)) => {
            CheckError::Flake { flake, headline: error.to_string(), detail: String::new() }
        }
    }
}

fn keep_only(plan: &mut Plan, hosts: &[String]) -> Result<(), CheckError> {
    let names: Vec<&str> = plan.builds.iter().filter_map(|it| it.label.as_deref()).collect();
    if let Some(name) = hosts.iter().find(|it| !names.contains(&it.as_str())) {
        return Err(CheckError::UnknownHost { name: name.clone(), known: names.join(", ") });
    }
    plan.builds.retain(|it| it.label.as_ref().is_some_and(|label| hosts.contains(label)));
    // Asked for by name, each counts.
    plan.builds.iter_mut().for_each(|it| it.required = Required::Required);
    plan.problem = None;
    Ok(())
}
