//! Evaluates the hosts of a flake, each isolated from the others' errors, memory and time.
//!
//! Shared by `serve` and `check`. A batch in which anything fails is split until the guilty host
//! stands alone; weather is waited out; what comes out of [`Evaluation::next`] is final.
use std::collections::VecDeque;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio_util::sync::CancellationToken;

use crate::domain::build::{Ending, Warning};
use crate::domain::id::AttrPath;
use crate::domain::plan;
use crate::flow::fault;
use crate::nix::eval::{EvalError, Evaluated, Evaluator, Unevaluated};
use crate::nix::flake::Pinned;

/// What became of one attribute.
#[derive(Debug)]
pub enum HostOutcome {
    Evaluated(Evaluated),
    Failed { attr: AttrPath, ending: Ending, warnings: Vec<Warning> },
}

/// One process to run: these attributes, for the so-many-th time because of the weather.
#[derive(Debug)]
struct Batch {
    attrs: Vec<AttrPath>,
    tries: u32,
}

type Finished = (Batch, Result<Vec<Evaluated>, Unevaluated>);

/// The work that is left and the processes that run.
pub struct Evaluation<'a> {
    evaluator: &'a Evaluator,
    flake: &'a Pinned,
    at_once: usize,
    stop: &'a CancellationToken,
    todo: VecDeque<Batch>,
    running: FuturesUnordered<BoxFuture<'a, Finished>>,
}

/// The evaluation was told to stop; what it has not given yet is not done.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the evaluation was stopped")]
pub struct Stopped;

/// Weather is tried again after 2 and 8 seconds before it is shown.
const MOST_TRIES: u32 = 3;

impl<'a> Evaluation<'a> {
    /// Prepares the evaluation of `batches`, `at_once` processes at a time.
    pub fn new(
        evaluator: &'a Evaluator,
        flake: &'a Pinned,
        batches: Vec<Vec<AttrPath>>,
        at_once: usize,
        stop: &'a CancellationToken,
    ) -> Self {
        let todo = batches.into_iter().map(|attrs| Batch { attrs, tries: 1 }).collect();
        let running = FuturesUnordered::new();
        Self { evaluator, flake, at_once: at_once.max(1), stop, todo, running }
    }

    /// Starts what may run now; the attributes whose evaluation that begins.
    pub fn started(&mut self) -> Vec<AttrPath> {
        self.fill()
    }

    /// The next attributes that are done, `None` when all are.
    pub async fn next(&mut self) -> Option<Result<Vec<HostOutcome>, Stopped>> {
        loop {
            self.fill();
            let (batch, result) = self.running.next().await?;
            if self.stop.is_cancelled() {
                return Some(Err(Stopped));
            }
            let outcomes = match result {
                Ok(evaluated) => evaluated.into_iter().map(HostOutcome::Evaluated).collect(),
                Err(Unevaluated { error: EvalError::Cancelled, .. }) => return Some(Err(Stopped)),
                Err(failed) => self.failed(batch, failed),
            };
            if !outcomes.is_empty() {
                return Some(Ok(outcomes));
            }
        }
    }

    /// Starts what may run; gives what it started.
    fn fill(&mut self) -> Vec<AttrPath> {
        let mut started = Vec::new();
        while self.running.len() < self.at_once {
            let Some(batch) = self.todo.pop_front() else { break };
            started.extend(batch.attrs.iter().cloned());
            let (evaluator, flake, stop) = (self.evaluator, self.flake, self.stop);
            self.running.push(Box::pin(async move {
                if batch.tries > 1 {
                    let delay = Duration::from_secs(2 << (2 * (batch.tries - 2)));
                    tokio::select! {
                        () = tokio::time::sleep(delay) => {}
                        () = stop.cancelled() => {}
                    }
                }
                let result = evaluator.evaluate(flake, &batch.attrs, stop).await;
                (batch, result)
            }));
        }
        started
    }

    /// Splits, tries again, or gives the guilty host its ending.
    fn failed(&mut self, batch: Batch, failed: Unevaluated) -> Vec<HostOutcome> {
        let Unevaluated { error, warnings } = failed;
        let is_weather = matches!(error, EvalError::Weather(_));
        if is_weather && batch.tries < MOST_TRIES {
            self.todo.push_front(Batch { tries: batch.tries + 1, ..batch });
            return vec![];
        }
        match <[AttrPath; 1]>::try_from(batch.attrs) {
            Ok([attr]) => vec![HostOutcome::Failed { attr, ending: ending(error), warnings }],
            Err(attrs) => {
                let parts = plan::split(&attrs);
                let parts = parts.into_iter().rev().map(|attrs| Batch { attrs, tries: 1 });
                parts.for_each(|part| self.todo.push_front(part));
                vec![]
            }
        }
    }
}

/// What an evaluation error means for the host alone in its process.
fn ending(error: EvalError) -> Ending {
    match error {
        EvalError::Flake(failure) | EvalError::Limit(failure) => Ending::EvaluationFailed(failure),
        EvalError::Weather(what) => Ending::Transient { what },
        error @ (EvalError::AnotherCommit { .. }
        | EvalError::Cancelled
        | EvalError::Operator(_)) => {
            Ending::Internal { number: fault::number("evaluation", &error) }
        }
    }
}
