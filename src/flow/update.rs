//! Which inputs of `flake.lock` can move without breaking a required host, here and now:
//! `fleetcheck update`.
//!
//! The newest revision of each input is looked up once. From then on every set of inputs that is
//! tried is made of the old and the new lock file ([`Lock::with`](crate::domain::lock::Lock::with)), in a copy of the repository, and
//! evaluated and built by the engine of `check`; [`Search`] says which set comes next.
pub(super) mod copy;
mod trial;

use std::collections::BTreeSet;
use std::path::PathBuf;

use tokio_util::sync::CancellationToken;

use crate::domain::id::AttrPath;
use crate::domain::lock::moved::InputPath;
use crate::domain::policy::{HoldBack, UpdatePolicy};
use crate::domain::update::outcome::{Broken, HeldBack, Move};
use crate::domain::update::search::{Aim, Found, Search, Step};
use crate::flow::check::{self, CheckError, CheckEvent, CheckRequest, source};
use crate::flow::update::copy::{Copy, CopyError, Theirs};
use crate::flow::update::trial::Trials;
use crate::nix::eval::{EvalError, Evaluator};

/// What to update, and with what.
#[derive(Clone, Debug)]
pub struct UpdateRequest {
    /// The flake, a folder of this machine, and what it is built with.
    pub check: CheckRequest,
    /// Globs that stand for the policy's; empty for those.
    pub inputs: Vec<String>,
    pub mode: Mode,
}

/// What becomes of the new lock file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Write,
    /// It is only told.
    DryRun,
}

/// What happens, for whoever watches.
#[derive(Clone, Debug)]
pub enum UpdateEvent {
    /// The newest revisions of so many inputs are looked up.
    Looking(usize),
    /// One is not to be had.
    NotFound(InputPath, String),
    /// The so-many-th set of inputs is tried, on so many hosts.
    Trying {
        nth: usize,
        moved: BTreeSet<InputPath>,
        hosts: usize,
    },
    Check(CheckEvent),
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct UpdateReport {
    pub flake: String,
    /// What can move, and did unless it was only told.
    pub moved: Vec<Move>,
    pub held_back: Vec<HeldBack>,
    /// Inputs whose newest revision is not to be had, and why.
    pub not_found: Vec<(InputPath, String)>,
    /// The flake's own inputs that were not to be moved.
    pub left: Vec<InputPath>,
    /// Hosts that are broken without any move too, and how.
    pub broken_before: Vec<(AttrPath, Broken)>,
    /// Hosts of which nothing can be said, because of the weather; with any, nothing is written.
    pub unknown: Vec<(AttrPath, Broken)>,
    /// Hosts that were evaluated and not built: no builder of this machine does their system.
    pub only_evaluated: Vec<(AttrPath, String)>,
    /// Sets of inputs that were tried.
    pub tries: usize,
    /// The file that was written.
    pub written: Option<PathBuf>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum UpdateError {
    #[error(transparent)]
    Check(#[from] CheckError),
    #[error(
        "{flake} is no folder of this machine; an update writes its flake.lock: name the folder of \
         a checkout"
    )]
    NotAFolder { flake: String },
    #[error("--inputs: `{glob}` {reason}")]
    Glob { glob: String, reason: String },
    #[error("no input of flake.lock is meant by {globs}; it has {known}")]
    NoInput { globs: String, known: String },
    #[error(transparent)]
    Copy(#[from] CopyError),
    #[error("the gate would fail whatever moves: {0}")]
    Gate(String),
    #[error("stopped; flake.lock is as it was")]
    Stopped,
}

/// Finds out what can move, and moves it.
///
/// # Errors
/// When there is nothing to find out about; `flake.lock` is as it was.
pub async fn update(
    request: UpdateRequest,
    events: &mut (dyn FnMut(UpdateEvent) + Send),
    stop: CancellationToken,
) -> Result<UpdateReport, UpdateError> {
    let UpdateRequest { check, inputs, mode } = &request;
    let tools = check::tools(check)?;
    let (pinned, policy) = source::pin(&tools.evaluator, &check.flake, &stop).await?;
    let folder = pinned.folder.clone().zip(pinned.source.clone());
    let Some((folder, files)) = folder else {
        return Err(UpdateError::NotAFolder { flake: check.flake.clone() });
    };
    let wishes = wishes(policy.update.clone(), inputs)?;
    let dir = pinned.dir.clone().unwrap_or_default();
    let copy = Copy::of(files.as_str(), &dir, &check.scratch)?;
    let theirs = Theirs::of(&folder.join(&dir))?;
    let of_flake = |error| UpdateError::from(check::of_flake(&check.flake, error));

    tools.evaluator.lock(copy.flake(), &[], &stop).await.map_err(of_flake)?;
    let old = copy.lock()?;
    let chosen: Vec<InputPath> = old.inputs().into_iter().filter(|it| wishes.chooses(it)).collect();
    if chosen.is_empty() && !inputs.is_empty() {
        let known = old.inputs().iter().map(ToString::to_string).collect::<Vec<_>>();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        return Err(UpdateError::NoInput { globs: inputs.join(", "), known });
    }
    if !chosen.is_empty() {
        events(UpdateEvent::Looking(chosen.len()));
    }
    let mut tell = |input: &InputPath, why: &str| {
        events(UpdateEvent::NotFound(input.clone(), why.to_owned()));
    };
    let not_found = newest(&tools.evaluator, (&copy, &chosen), &mut tell, &stop).await;
    let not_found = not_found.map_err(|_| UpdateError::Stopped)?;
    let new = copy.lock()?;
    let moving: BTreeSet<InputPath> =
        chosen.iter().filter(|it| old.moves(&new, it)).cloned().collect();

    let mut trials = Trials::new(check, &tools, &policy, &copy, (&old, &new));
    let found = if moving.is_empty() {
        Found {
            moved: moving,
            held_back: vec![],
            broken_before: BTreeSet::new(),
            unknown: BTreeSet::new(),
        }
    } else {
        trials.list(&stop).await?;
        search(&mut trials, Search::new(moving, aim(wishes.hold_back)), events, &stop).await?
    };
    // What could not be known is not known to be good.
    let is_known = found.unknown.is_empty();
    let written = if found.moved.is_empty() || !is_known || *mode == Mode::DryRun {
        None
    } else {
        let text = old.with(&new, &found.moved).text().map_err(CopyError::from)?;
        Some(theirs.replace(&text)?)
    };
    let mut report = trials.report(&check.flake, found);
    report.left =
        old.inputs().into_iter().filter(|it| it.is_own() && !wishes.chooses(it)).collect();
    report.not_found = not_found;
    report.written = written;
    Ok(report)
}

fn wishes(policy: UpdatePolicy, inputs: &[String]) -> Result<UpdatePolicy, UpdateError> {
    if inputs.is_empty() {
        return Ok(policy);
    }
    policy.with_inputs(inputs.to_vec()).map_err(|(glob, reason)| UpdateError::Glob { glob, reason })
}

/// Moves the copy's inputs to their newest revisions, all at once or, when that fails, one after
/// another: one that is not to be had is in nobody's way.
pub(super) async fn newest(
    evaluator: &Evaluator,
    (copy, chosen): (&Copy, &[InputPath]),
    not_found: &mut (dyn FnMut(&InputPath, &str) + Send),
    stop: &CancellationToken,
) -> Result<Vec<(InputPath, String)>, EvalError> {
    let mut missing = Vec::new();
    if chosen.is_empty() || evaluator.lock(copy.flake(), chosen, stop).await.is_ok() {
        return Ok(missing);
    }
    for input in chosen {
        match evaluator.lock(copy.flake(), std::slice::from_ref(input), stop).await {
            Ok(()) => {}
            Err(EvalError::Cancelled) => return Err(EvalError::Cancelled),
            Err(error) => {
                let why = error.to_string();
                not_found(input, &why);
                missing.push((input.clone(), why));
            }
        }
    }
    Ok(missing)
}

/// What a search by this wish is for.
pub(super) fn aim(hold_back: HoldBack) -> Aim {
    match hold_back {
        HoldBack::Guilty => Aim::Most,
        HoldBack::All => Aim::Whole,
    }
}

type Answer = Found<InputPath, AttrPath>;

async fn search(
    trials: &mut Trials<'_>,
    mut search: Search<InputPath, AttrPath>,
    events: &mut (dyn FnMut(UpdateEvent) + Send),
    stop: &CancellationToken,
) -> Result<Answer, UpdateError> {
    loop {
        match search.next() {
            Step::Done(found) => return Ok(found),
            Step::Try(trial) => {
                let results = trials.run(&trial, events, stop).await?;
                search.learn(trial, results);
            }
        }
    }
}
