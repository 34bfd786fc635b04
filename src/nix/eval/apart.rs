//! Many small attributes in one process of `nix-eval-jobs`, which goes on where one of them fails.
//!
//! It evaluates the same flake as `nix eval`, with the same settings and within the same limits, and
//! is believed only where it gives a derivation. What it says of anything else is not looked at:
//! that is evaluated once more by `nix eval`, so that a failure has the same words with it and
//! without, and whatever becomes of it costs no more than time.
use std::path::Path;

use tokio_util::sync::CancellationToken;

use crate::domain::evaluation;
use crate::domain::id::AttrPath;
use crate::nix::eval::answer::{self, Told};
use crate::nix::eval::{EvalError, Evaluated, Evaluator, expression, warnings};
use crate::nix::eval_jobs::{EvalJobs, last_words};
use crate::nix::flake::Pinned;
use crate::nix::process::Finished;

/// What came of attributes of which each counts by itself.
#[derive(Debug, Default)]
pub struct Apart {
    pub evaluated: Vec<Evaluated>,
    /// Of these nothing is known. `nix eval` is to evaluate them, those of a list in one process.
    pub left: Vec<Vec<AttrPath>>,
}

impl Evaluator {
    /// The derivations of attributes of one output, as [`Evaluator::evaluate`] gives them, except
    /// that a failure is of one alone. `None` where only `nix eval` is to be asked.
    ///
    /// # Errors
    /// [`EvalError::Cancelled`]; for anything else attributes are left to `nix eval`.
    pub async fn evaluate_apart(
        &self,
        flake: &Pinned,
        attrs: &[AttrPath],
        memory: u64,
        stop: &CancellationToken,
    ) -> Option<Result<Apart, EvalError>> {
        // One alone gains nothing.
        if attrs.len() < 2 || !attrs.iter().all(evaluation::is_one_of_many) {
            return None;
        }
        let program = self.eval_jobs(flake).await?;
        let (taken, select) = expression::select(attrs);
        if taken < attrs.len() {
            return None;
        }
        Some(match self.ask_jobs(program, flake, &select, memory, stop).await {
            Ok(finished) => Ok(self.read_jobs(&finished, flake, attrs).await),
            Err(EvalError::Cancelled) => Err(EvalError::Cancelled),
            Err(error) => {
                note(flake, (attrs.len(), attrs.len()), &error.to_string());
                Ok(Apart { evaluated: vec![], left: after(&error, attrs) })
            }
        })
    }

    /// `nix-eval-jobs`, where it is here, for this Nix, and may be used.
    async fn eval_jobs(&self, flake: &Pinned) -> Option<&Path> {
        // What confines an untrusted flake holds for `nix eval`, which is tried out with it.
        if flake.confined.is_some() {
            return None;
        }
        let version = self.version().await.ok()?;
        let found = self.eval_jobs.get_or_init(|| async {
            let found = self.nix.eval_jobs(version).await;
            if found != EvalJobs::Absent {
                tracing::info!("{found}");
            }
            found
        });
        match found.await {
            EvalJobs::Used { program, version: _ } => Some(program),
            EvalJobs::Absent | EvalJobs::OfAnother { .. } | EvalJobs::Silent { .. } => None,
        }
    }

    /// One process. Its derivations are held by nothing, as those of `nix eval`: roots in a folder
    /// would stay behind when the service is killed.
    async fn ask_jobs(
        &self,
        program: &Path,
        flake: &Pinned,
        select: &str,
        memory: u64,
        stop: &CancellationToken,
    ) -> Result<Finished, EvalError> {
        // Its worker frees nothing. It ends after the attribute with which it has grown so far, and
        // another takes over; the last quarter is for that attribute.
        let most = (memory.min(self.limits.together) / 4 * 3) >> 20;
        let args = ["--workers", "1", "--max-memory-size", &most.to_string()];
        let invocation = self
            .jobs_invocation(program, &args)
            .args(["--select", select, "--apply", &expression::told()])
            .args(["--flake", flake.flake.as_str()]);
        let (finished, _) = self.finish(memory, &invocation, stop).await?;
        Ok(finished)
    }

    async fn read_jobs(&self, finished: &Finished, flake: &Pinned, attrs: &[AttrPath]) -> Apart {
        let told = answer::lines(&finished.stdout, attrs);
        let lines = told.iter().filter(|it| !matches!(it, Told::Nothing)).count();
        let elapsed_ms = u64::try_from(finished.elapsed.as_millis()).unwrap_or(u64::MAX);
        let mut warnings = warnings::read(&finished.stderr, flake, attrs.len());
        self.located.tell(flake.source.as_ref(), &mut warnings).await;
        let (mut apart, mut missing) = (Apart::default(), Vec::new());
        for ((attr, told), warnings) in attrs.iter().zip(told).zip(warnings) {
            match told {
                Told::Derivation(derivation) => apart.evaluated.push(Evaluated {
                    attr: attr.clone(),
                    derivation,
                    warnings,
                    elapsed_ms: elapsed_ms / u64::try_from(lines).unwrap_or(1).max(1),
                    peak_memory: evaluation::alone(finished.peak_memory, lines),
                }),
                Told::Failure => apart.left.push(vec![attr.clone()]),
                Told::Nothing => missing.push(attr.clone()),
            }
        }
        if finished.success {
            // It has no line for what is no derivation.
            apart.left.extend(missing.into_iter().map(|it| vec![it]));
        } else if !missing.is_empty() {
            note(flake, (missing.len(), attrs.len()), &last_words(&finished.stderr));
            apart.left.push(missing);
        }
        apart
    }
}

/// What is evaluated together when a process gave nothing: what ran into a limit would do so again.
fn after(error: &EvalError, attrs: &[AttrPath]) -> Vec<Vec<AttrPath>> {
    match error {
        EvalError::Limit(_) | EvalError::Memory(_) => {
            attrs.iter().map(|it| vec![it.clone()]).collect()
        }
        EvalError::Flake(_)
        | EvalError::AnotherCommit { .. }
        | EvalError::Weather(_)
        | EvalError::Cancelled
        | EvalError::Operator(_) => vec![attrs.to_vec()],
    }
}

fn note(flake: &Pinned, (missing, of): (usize, usize), why: &str) {
    tracing::warn!(
        "nix-eval-jobs gave nothing for {missing} of {of} attributes of {}, which nix eval \
         evaluates now: {why}",
        flake.revision.as_ref().map_or("a flake", |it| it.short()),
    );
}
