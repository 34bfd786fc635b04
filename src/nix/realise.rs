//! Many derivations, one operation: a log and an answer for each.
//!
//! **Whose line is it.** A line of a wanted derivation goes to its own log. A line of anything
//! else goes to the log of every wanted derivation that is not built yet: with one it needs no
//! guessing, with several it may be read by people who asked for another of the batch. So a batch
//! holds only what the same people may read. Where the speaker changes, a line `building NAME…`
//! says so; what Nix itself says and fetches stands between them.
use std::collections::HashMap;

use tokio_util::sync::CancellationToken;

use crate::domain::build::{Attempted, Derivation, Ending};
use crate::domain::id::DrvPath;
use crate::nix::answer::Answers;
use crate::nix::log::LogWriter;
use crate::nix::reason::{self, Kind, Reason};
use crate::nix::redact::{Clean, clean_text};
use crate::nix::transcript::{Overdue, Transcript};
use crate::nix::worker::{BuildLimits, BuildResult, Worker, WorkerError};

/// A derivation to realise, with all of its outputs, and where its lines go.
#[derive(Debug)]
pub struct Wanted {
    pub derivation: Derivation,
    pub log: LogWriter,
}

/// What happens while derivations are realised.
#[derive(Clone, Copy, Debug)]
pub enum Progress<'a> {
    /// A derivation begins to build: a wanted one or one that it needs.
    Started { drv: &'a DrvPath },
    /// It is over, well or not: the answer comes when the whole batch is over.
    Stopped { drv: &'a DrvPath },
    /// A line of its log.
    Line { drv: &'a DrvPath, text: Clean<'a> },
    /// How many derivations of the batch are done, are known, run and failed.
    Counts { done: u64, expected: u64, running: u64, failed: u64 },
    /// A store path is being fetched.
    Substituting { path: &'a str },
}

/// How one operation ended.
enum Operation {
    Over(Vec<(DrvPath, BuildResult)>),
    /// The daemon ended it as a whole, and goes on.
    Refused(String),
    /// The worker is of no more use.
    Lost(String),
    Overdue(Overdue),
}

/// Realises derivations and gives an answer for each, in the order they were given. A failure
/// does not stop the others; a lost connection, `stop` and a limit that Nix does not enforce do,
/// and leave the worker dead and nothing running.
pub async fn realise(
    worker: &mut Worker,
    wanted: Vec<Wanted>,
    limits: &BuildLimits,
    on_progress: &mut (dyn FnMut(Progress<'_>) + Send + Sync),
    stop: &CancellationToken,
) -> Vec<(DrvPath, Attempted)> {
    let mut transcript = Transcript::new(wanted, *limits, on_progress);
    let drvs = transcript.drvs();
    let mut answers = HashMap::new();
    let mut open = vec![drvs.clone()];
    while let Some(batch) = open.pop() {
        match operate(worker, &batch, limits, &mut transcript, stop).await {
            Operation::Over(results) => {
                take(worker, &batch, results, &transcript, limits, &mut answers).await;
            }
            // One derivation can spoil the operation for all: halve until it stands alone.
            Operation::Refused(_) if batch.len() > 1 => {
                let (left, right) = batch.split_at(batch.len() / 2);
                open.extend([right.to_vec(), left.to_vec()]);
            }
            Operation::Refused(words) => {
                let all = Answers { transcript: &transcript, limits, failures: HashMap::new() };
                answers.extend(batch.iter().map(|it| (it.clone(), all.refused(it, &words))));
            }
            Operation::Lost(words) => {
                let left = batch.iter().chain(open.iter().flatten());
                answers.extend(left.map(|it| (it.clone(), Attempted::Weather(words.clone()))));
                break;
            }
            Operation::Overdue(overdue) => {
                let left = batch.iter().chain(open.iter().flatten());
                let one = batch.len() == 1;
                let answer = |it: &DrvPath| late(&transcript, limits, &overdue, it, one);
                answers.extend(left.map(|it| (it.clone(), answer(it))));
                break;
            }
        }
    }
    worker.sweep();
    let silent = transcript.silent();
    transcript.finish(|drv| answers.get(drv).and_then(last_line));
    let lost = || Attempted::Weather("Nix gave no answer for it".to_owned());
    drvs.into_iter()
        .map(|drv| {
            let mut answer = answers.remove(&drv).unwrap_or_else(lost);
            if let Attempted::Answered(Ending::Built { without, .. }) = &mut answer {
                without.clone_from(&silent);
            }
            (drv, answer)
        })
        .collect()
}

async fn operate(
    worker: &mut Worker,
    batch: &[DrvPath],
    limits: &BuildLimits,
    transcript: &mut Transcript<'_>,
    stop: &CancellationToken,
) -> Operation {
    transcript.begin();
    let enough = transcript.enough();
    let mut observe = |it: crate::nix::worker::Observed<'_>| transcript.observe(it);
    let ended = tokio::select! {
        biased;
        () = stop.cancelled() => None,
        () = enough.cancelled() => None,
        built = worker.build(batch, limits, &mut observe) => Some(built),
    };
    match ended {
        Some(Ok(results)) => Operation::Over(results),
        Some(Err(WorkerError::Daemon(words))) => Operation::Refused(words),
        Some(Err(error)) => {
            worker.end().await;
            let drvs = batch.len();
            tracing::warn!("an operation of {drvs} derivations ended early: {error}");
            Operation::Lost(clean_text(error.outline()))
        }
        None => {
            worker.end().await;
            match transcript.overdue() {
                Some(overdue) => Operation::Overdue(overdue.clone()),
                None => Operation::Lost("cancelled".to_owned()),
            }
        }
    }
}

async fn take(
    worker: &mut Worker,
    batch: &[DrvPath],
    results: Vec<(DrvPath, BuildResult)>,
    transcript: &Transcript<'_>,
    limits: &BuildLimits,
    answers: &mut HashMap<DrvPath, Attempted>,
) {
    let mut failures = transcript.failures();
    for (drv, result) in results.iter().filter(|(_, it)| !it.message.is_empty()) {
        failures.entry(drv.clone()).or_insert_with(|| reason::read(&result.message));
    }
    let all = Answers { transcript, limits, failures };
    for (drv, result) in results.iter().filter(|(drv, _)| batch.contains(drv)) {
        let answer = all.answer(worker, drv, result).await;
        answers.insert(drv.clone(), answer);
    }
}

/// The answer when a limit was enforced by us. Of several derivations only the one that was late
/// itself can be told apart.
fn late(
    transcript: &Transcript<'_>,
    limits: &BuildLimits,
    overdue: &Overdue,
    drv: &DrvPath,
    alone: bool,
) -> Attempted {
    let (late, words) = match overdue {
        Overdue::Runs(late) => {
            (late, format!("timed out after {} seconds", limits.timeout.as_secs()))
        }
        Overdue::IsSilent(late) => {
            let seconds = limits.silence.as_secs();
            (late, format!("timed out after {seconds} seconds of silence"))
        }
        Overdue::Nothing => {
            return Attempted::Weather("nix-daemon built nothing and said nothing".to_owned());
        }
    };
    if !alone && late != drv {
        return Attempted::Weather(format!("{} of the same batch {words}", late.name()));
    }
    let all = Answers { transcript, limits, failures: HashMap::new() };
    all.timed_out(late, &Reason { drv: None, kind: Kind::TimedOut, headline: words })
}

/// What stands at the end of a log, for whoever reads only that.
fn last_line(answer: &Attempted) -> Option<String> {
    match answer {
        Attempted::Answered(Ending::BuildFailed(it)) => {
            Some(format!("error: {}: {}", it.derivation.name(), it.headline))
        }
        Attempted::Answered(Ending::TimedOut(it)) => {
            let name = it.derivation.as_ref().map_or("it", DrvPath::name);
            Some(format!("error: {name} hit {} of {} s", it.setting, it.seconds))
        }
        Attempted::Weather(what) => Some(format!("error: {what}")),
        Attempted::Answered(
            Ending::Reused
            | Ending::Built { .. }
            | Ending::Superseded { .. }
            | Ending::Cancelled { .. }
            | Ending::Skipped { .. }
            | Ending::EvaluationFailed(_)
            | Ending::Transient { .. }
            | Ending::Internal { .. },
        ) => None,
    }
}
