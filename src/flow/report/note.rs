//! What became of a request, noted; and when to try again what failed, by what GitHub said.
use std::collections::HashSet;
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
        // What failed as a whole is said once.
        let mut said = HashSet::new();
        for (row, error) in failures {
            if said.insert(error.to_string()) {
                tell(&row, &error);
            }
            self.put_off(&row, &error).await?;
        }
        Ok(())
    }

    /// A call failed: it is said in the log, and tried again in time.
    pub(super) async fn failed(&self, row: &Behind, error: &GithubError) -> Result<(), StoreError> {
        tell(row, error);
        self.put_off(row, error).await
    }

    /// Notes when to try again, by what GitHub said.
    async fn put_off(&self, row: &Behind, error: &GithubError) -> Result<(), StoreError> {
        let store = &self.shared.store;
        if matches!(error, GithubError::Gone(_) | GithubError::Rejected { .. })
            && row.tries >= MOST_REFUSALS
        {
            fault::number("reporting to GitHub", error);
            return store.give_up_report(&row.report, row.revision, &error.to_string()).await;
        }
        let not_before = self.shared.clock.now().plus(millis(wait(row, error)));
        store.report_failed(&row.report, &error.to_string(), not_before).await
    }
}

/// How long a report waits for its next try.
fn wait(row: &Behind, error: &GithubError) -> Duration {
    match error {
        // A try costs little, since a batch is one request; and an ending is not to be late.
        GithubError::Weather { retry_after, .. } => {
            retry_after.unwrap_or(Duration::from_secs(1 << row.tries.min(3)))
        }
        // An owner may lift a suspension or grant a permission at any time: never given up.
        GithubError::Forbidden(_) => Duration::from_secs(5 << row.tries.min(7)),
        GithubError::Gone(_) | GithubError::Rejected { .. } => {
            Duration::from_secs((1 << row.tries.min(8)).max(5))
        }
        GithubError::Unauthenticated { .. } | GithubError::Setup(_) => Duration::from_mins(1),
    }
}

fn tell(row: &Behind, error: &GithubError) {
    let wait = wait(row, error);
    let Behind { report, run, .. } = row;
    match error {
        GithubError::Weather { .. } => {
            tracing::warn!(report.id = %report, run.id = %run, "checks of run {run} will be tried again in {wait:?}: {error}");
        }
        GithubError::Forbidden(_) => {
            tracing::warn!(report.id = %report, run.id = %run, "GitHub does not allow checks of run {run}; they are tried again in {wait:?}: {error}");
        }
        GithubError::Gone(_) | GithubError::Rejected { .. } => {
            tracing::warn!(report.id = %report, run.id = %run, "GitHub refused a check of run {run}: {error}");
        }
        GithubError::Unauthenticated { .. } | GithubError::Setup(_) => {
            tracing::error!(report.id = %report, "GitHub does not accept this App: {error}; run `fleetcheck doctor`");
        }
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
