//! Why an evaluation did not come to its end, by whom it concerns.
use crate::domain::verdict::Problem;
use crate::flow::fault;
use crate::flow::source::SourceError;
use crate::nix::eval::EvalError;
use crate::nix::roots::RootError;
use crate::nix::worker::WorkerError;
use crate::store::StoreError;

/// Why an evaluation did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(in crate::flow) enum Interrupted {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error("stopped")]
    Stopped,
}

impl From<EvalError> for Interrupted {
    fn from(error: EvalError) -> Self {
        Self::Source(match error {
            EvalError::Flake(failure) | EvalError::Limit(failure) | EvalError::Memory(failure) => {
                SourceError::Author(Problem {
                    headline: format!("the flake does not evaluate: {}", failure.headline),
                    detail: failure.trace,
                    place: failure.place,
                })
            }
            EvalError::Weather(what) => SourceError::Weather { what, retry_after: None },
            EvalError::Cancelled => return Self::Stopped,
            error @ (EvalError::AnotherCommit { .. } | EvalError::Operator(_)) => {
                SourceError::Internal { number: fault::number("evaluation", &error) }
            }
        })
    }
}

impl From<RootError> for Interrupted {
    fn from(error: RootError) -> Self {
        let what = format!("a derivation could not be kept from the garbage collector: {error}");
        Self::Source(SourceError::Weather { what, retry_after: None })
    }
}

impl From<WorkerError> for Interrupted {
    fn from(error: WorkerError) -> Self {
        let what = format!("the Nix store did not answer: {error}");
        Self::Source(SourceError::Weather { what, retry_after: None })
    }
}
