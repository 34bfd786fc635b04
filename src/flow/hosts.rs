//! Evaluates the hosts of a flake, each isolated from the others' errors, memory and time.
//!
//! Shared by `serve` and `check`. A batch in which anything fails is split until the guilty host
//! stands alone, unless each of it counts by itself; weather is waited out; the memory of all is
//! shared out by the evaluator; what comes out of [`Evaluation::next`] is final.
use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio_util::sync::CancellationToken;

use crate::domain::build::{Ending, Warning};
use crate::domain::evaluation::{self, Alike, Batch, Known, Size};
use crate::domain::id::AttrPath;
use crate::flow::fault;
use crate::nix::eval::{Apart, EvalError, Evaluated, Evaluator, Unevaluated};
use crate::nix::flake::Pinned;

/// What became of one attribute.
#[derive(Debug)]
pub enum HostOutcome {
    Evaluated(Evaluated),
    Failed { attr: AttrPath, ending: Ending, warnings: Vec<Warning> },
}

/// One process to run, for the so-many-th time because of the weather.
#[derive(Debug)]
struct Task {
    batch: Batch,
    tries: u32,
    way: Way,
}

/// What a failure in a process is of.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// Of one attribute, where that is to be had.
    Apart,
    /// Of the batch.
    Together,
}

type Finished = (Task, Result<Apart, Unevaluated>);

/// The work that is left and the processes that run.
pub struct Evaluation<'a> {
    evaluator: &'a Evaluator,
    flake: &'a Pinned,
    stop: &'a CancellationToken,
    todo: VecDeque<Task>,
    /// What was learnt of each output's new attributes.
    alike: HashMap<String, Alike>,
    running: FuturesUnordered<BoxFuture<'a, Finished>>,
}

/// The evaluation was told to stop; what it has not given yet is not done.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the evaluation was stopped")]
pub struct Stopped;

/// Weather is tried again after 2 and 8 seconds before it is shown.
const MOST_TRIES: u32 = 3;

impl<'a> Evaluation<'a> {
    /// Prepares the evaluation of `batches`, as many processes at a time as the evaluator runs.
    pub fn new(
        evaluator: &'a Evaluator,
        flake: &'a Pinned,
        batches: Vec<Batch>,
        stop: &'a CancellationToken,
    ) -> Self {
        let todo = batches.into_iter().map(|batch| Task { batch, tries: 1, way: Way::Apart });
        let todo = todo.collect();
        let (alike, running) = (HashMap::new(), FuturesUnordered::new());
        Self { evaluator, flake, stop, todo, alike, running }
    }

    /// Starts what may run now; the attributes whose evaluation that begins.
    pub fn started(&mut self) -> Vec<AttrPath> {
        self.fill()
    }

    /// The next attributes that are done, `None` when all are.
    pub async fn next(&mut self) -> Option<Result<Vec<HostOutcome>, Stopped>> {
        loop {
            self.fill();
            let (task, result) = self.running.next().await?;
            if self.stop.is_cancelled() {
                return Some(Err(Stopped));
            }
            self.learn(&task, &result);
            let outcomes = match result {
                Ok(Apart { evaluated, left }) => {
                    self.leave(left, task.batch.memory);
                    evaluated.into_iter().map(HostOutcome::Evaluated).collect()
                }
                Err(Unevaluated { error: EvalError::Cancelled, .. }) => return Some(Err(Stopped)),
                Err(failed) => self.failed(task, failed),
            };
            if !outcomes.is_empty() {
                return Some(Ok(outcomes));
            }
        }
    }

    /// Starts what may run; gives what it started.
    fn fill(&mut self) -> Vec<AttrPath> {
        let mut started = Vec::new();
        let mut free = self.evaluator.free();
        while self.running.len() < self.evaluator.limits().at_once.max(1) {
            let at = evaluation::next(self.todo.iter().map(|it| it.batch.memory), free);
            let Some(mut task) = self.todo.remove(at) else { break };
            self.join(&mut task);
            free = free.saturating_sub(task.batch.memory);
            started.extend(task.batch.attrs.iter().cloned());
            let (evaluator, flake, stop) = (self.evaluator, self.flake, self.stop);
            self.running.push(Box::pin(async move {
                if task.tries > 1 {
                    let delay = Duration::from_secs(2 << (2 * (task.tries - 2)));
                    tokio::select! {
                        () = tokio::time::sleep(delay) => {}
                        () = stop.cancelled() => {}
                    }
                }
                let Batch { attrs, memory, size: _ } = &task.batch;
                let apart = match task.way {
                    Way::Apart => evaluator.evaluate_apart(flake, attrs, *memory, stop).await,
                    Way::Together => None,
                };
                let result = match apart {
                    Some(apart) => apart.map_err(Unevaluated::from),
                    None => evaluator
                        .evaluate(flake, attrs, *memory, stop)
                        .await
                        .map(|evaluated| Apart { evaluated, left: vec![] }),
                };
                (task, result)
            }));
        }
        started
    }

    /// New attributes of the same output come along, as many as those before them let expect.
    fn join(&mut self, task: &mut Task) {
        let is_new = |it: &Task| it.batch.size == Size::New && it.tries == 1;
        if !is_new(task) {
            return;
        }
        let output = task.batch.attrs[0].output().to_owned();
        let is_alike = |it: &Task| is_new(it) && it.batch.attrs[0].output() == output;
        let left = self.todo.iter().filter(|it| is_alike(it)).count();
        let alike = self.alike.get(&output).copied().unwrap_or_default();
        let mut more = alike.most(left + 1, self.evaluator.limits()).saturating_sub(1);
        self.todo.retain_mut(|it| {
            let joins = more > 0 && is_alike(it);
            if joins {
                more -= 1;
                task.batch.attrs.append(&mut it.batch.attrs);
            }
            !joins
        });
    }

    fn learn(&mut self, task: &Task, result: &Result<Apart, Unevaluated>) {
        if task.batch.size == Size::Known {
            return;
        }
        let alike = self.alike.entry(task.batch.attrs[0].output().to_owned()).or_default();
        match result {
            Ok(Apart { evaluated, left: _ }) if !evaluated.is_empty() => {
                alike.ended(evaluated.iter().map(known));
            }
            Ok(_) | Err(_) => alike.failed(),
        }
    }

    /// What is left of a batch of which each counts by itself comes next, each list as one batch.
    fn leave(&mut self, left: Vec<Vec<AttrPath>>, memory: u64) {
        for attrs in left.into_iter().rev() {
            let batch = Batch { attrs, memory, size: Size::Known };
            self.todo.push_front(Task { batch, tries: 1, way: Way::Together });
        }
    }

    /// Splits, tries again, or gives the guilty host its ending.
    fn failed(&mut self, task: Task, failed: Unevaluated) -> Vec<HostOutcome> {
        let Unevaluated { error, warnings } = failed;
        let is_weather = matches!(error, EvalError::Weather(_));
        if is_weather && task.tries < MOST_TRIES {
            self.todo.push_front(Task { tries: task.tries + 1, ..task });
            return vec![];
        }
        if let [attr] = &task.batch.attrs[..] {
            let (attr, ending) = (attr.clone(), ending(error));
            return vec![HostOutcome::Failed { attr, ending, warnings }];
        }
        let parts = evaluation::split(&task.batch).into_iter().rev();
        parts.for_each(|batch| self.todo.push_front(Task { batch, tries: 1, way: task.way }));
        vec![]
    }
}

fn known(evaluated: &Evaluated) -> Known {
    let number = |it: u64| i64::try_from(it).unwrap_or(i64::MAX);
    Known {
        evaluation_ms: number(evaluated.elapsed_ms),
        peak_memory: number(evaluated.peak_memory),
    }
}

/// What an evaluation error means for the host alone in its process.
fn ending(error: EvalError) -> Ending {
    match error {
        EvalError::Flake(failure) | EvalError::Limit(failure) | EvalError::Memory(failure) => {
            Ending::EvaluationFailed(failure)
        }
        EvalError::Weather(what) => Ending::Transient { what },
        error @ (EvalError::AnotherCommit { .. }
        | EvalError::Cancelled
        | EvalError::Operator(_)) => {
            Ending::Internal { number: fault::number("evaluation", &error) }
        }
    }
}
