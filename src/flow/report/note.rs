//! What became of a request, noted; and when to try again what failed, by what GitHub said.
use std::time::Duration;

use crate::flow::fault;
use crate::flow::report::Report;
use crate::flow::report::send::Outcome;
use crate::github::client::GithubError;
use crate::store::StoreError;
use crate::store::reports::Behind;

/// A report that GitHub refuses for good (its commit or repository is gone) is let go after so
/// many tries, over some twenty minutes.
const MOST_REFUSALS: u32 = 12;

impl Report {
    /// Notes what GitHub shows now, and what it does not.
    pub(super) async fn note(&self, outcomes: Vec<Outcome>) -> Result<(), StoreError> {
        let mut shown = Vec::new();
        let mut failures = Vec::new();
        for (it, result) in outcomes {
            match result {
                Ok(check) => shown.push((it.row.report.clone(), it.shown(check))),
                Err(error) => failures.push((it.row, error)),
            }
        }
        if !shown.is_empty() {
            self.shared.store.all_shown(shown, self.shared.clock.now()).await?;
        }
        for (row, error) in failures {
            self.failed(&row, &error).await?;
        }
        Ok(())
    }

    /// Notes when to try again, by what GitHub said.
    pub(super) async fn failed(&self, row: &Behind, error: &GithubError) -> Result<(), StoreError> {
        let store = &self.shared.store;
        let now = self.shared.clock.now();
        // A try costs little, since a batch is one request; and an ending is not to be late.
        let mut wait = Duration::from_secs(1 << row.tries.min(3));
        match error {
            GithubError::Weather { retry_after, .. } => {
                wait = retry_after.unwrap_or(wait);
                tracing::warn!(report.id = %row.report, run.id = %row.run, "a check of run {} will be tried again in {wait:?}: {error}", row.run);
            }
            // An owner may lift a suspension or grant a permission at any time: never given up.
            GithubError::Forbidden(_) => {
                wait = Duration::from_secs(5 << row.tries.min(7));
                tracing::warn!(report.id = %row.report, run.id = %row.run, "GitHub does not allow a check of run {}; it is tried again in {wait:?}: {error}", row.run);
            }
            GithubError::Gone(_) | GithubError::Rejected { .. } => {
                if row.tries >= MOST_REFUSALS {
                    fault::number("reporting to GitHub", error);
                    return store
                        .give_up_report(&row.report, row.revision, &error.to_string())
                        .await;
                }
                wait = Duration::from_secs((1 << row.tries.min(8)).max(5));
                tracing::warn!(report.id = %row.report, run.id = %row.run, "GitHub refused a check of run {}: {error}", row.run);
            }
            GithubError::Unauthenticated { .. } | GithubError::Setup(_) => {
                wait = Duration::from_mins(1);
                tracing::error!(report.id = %row.report, "GitHub does not accept this App: {error}; run `fleetcheck doctor`");
            }
        }
        store.report_failed(&row.report, &error.to_string(), now.plus(millis(wait))).await
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
