//! Logs that other instances have written, from the bucket where all of them keep those.
use crate::domain::id::AttemptId;
use crate::http::Front;
use crate::http::sight::Unseen;
use crate::nix::log::archive::ArchiveError;
use crate::telemetry;

/// Brings a log here; `false` when the bucket does not have it.
pub(super) async fn fetch(front: &Front, attempt: &AttemptId) -> Result<bool, Unseen> {
    let Some(archive) = &front.archive else { return Ok(false) };
    if !front.store.is_archived(attempt).await? {
        return Ok(false);
    }
    match archive.get(attempt).await {
        Ok(()) => {
            metrics::counter!(telemetry::LOGS_FETCHED).increment(1);
            Ok(true)
        }
        Err(error @ ArchiveError::Missing { .. }) => {
            tracing::warn!(attempt.id = %attempt, "the log of attempt {attempt} is lost: {error}");
            Ok(false)
        }
        Err(error @ (ArchiveError::Bucket { .. } | ArchiveError::Here(_))) => {
            tracing::warn!(attempt.id = %attempt, "the log of attempt {attempt} could not be fetched: {error}");
            Err(Unseen::LogAway)
        }
    }
}
