//! Makes the check runs say what the store says. Never the other way round.
//!
//! Nothing is announced when it happens: this stage compares what is known with what GitHub shows
//! and publishes the difference, so that a lost call, a crash and a restart are all mended by the
//! same lines.
use std::collections::HashSet;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use crate::domain::Timestamp;
use crate::domain::id::InstallationId;
use crate::domain::link::Links;
use crate::domain::page::{self, CheckPage, CheckStatus, RunView};
use crate::flow::shared::Shared;
use crate::flow::{Stage, Step, fault};
use crate::github::checks::Target;
use crate::github::client::{Github, GithubError};
use crate::store::StoreError;
use crate::store::reports::{Behind, ReportId, ReportKind, Shown};

/// Publishes check runs and statuses.
pub struct Report {
    shared: Arc<Shared>,
    github: Arc<Github>,
    links: Links,
    check_name: String,
    /// Installations that GitHub asked to leave alone until then.
    paused: DashMap<InstallationId, Timestamp>,
}

/// Why a report is still behind.
#[derive(Debug, thiserror::Error)]
enum Unpublished {
    #[error(transparent)]
    Github(#[from] GithubError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Calls to GitHub under way at once; GitHub allows 100 and advises few.
const AT_ONCE: usize = 8;
/// Reports looked at at a time.
const WINDOW: i64 = 16;
/// A report that GitHub refuses for good (its commit or repository is gone) is let go after so
/// many tries, over some twenty minutes.
const MOST_REFUSALS: u32 = 12;

impl Report {
    pub fn new(shared: Arc<Shared>, github: Arc<Github>, links: Links, check_name: String) -> Self {
        Self { shared, github, links, check_name, paused: DashMap::new() }
    }
}

impl Stage for Report {
    const NAME: &'static str = "report";
    type Error = StoreError;

    /// Publishes until nothing is behind.
    async fn step(&self, stop: &CancellationToken) -> Result<Step, StoreError> {
        let mut under_way = FuturesUnordered::new();
        let mut ids = HashSet::new();
        let mut ended: Vec<(ReportId, Result<(), StoreError>)> = Vec::new();
        let mut failed = None;
        loop {
            let woken = self.shared.wakeups.report.notified();
            if under_way.len() < AT_ONCE && failed.is_none() && !stop.is_cancelled() {
                let mut look = pin!(self.shared.store.behind(self.shared.clock.now(), WINDOW));
                // What is under way goes on meanwhile: it may hold the connection that the look
                // waits for. What ends meanwhile may have been read before its end: not again.
                let looked = loop {
                    tokio::select! {
                        rows = &mut look => break rows,
                        Some(it) = under_way.next() => ended.push(it),
                    }
                };
                let mut behind = looked.unwrap_or_else(|error| {
                    failed = Some(error);
                    vec![]
                });
                behind.retain(|row| !ids.contains(&row.report));
                behind.truncate(AT_ONCE - under_way.len());
                for row in behind {
                    ids.insert(row.report.clone());
                    under_way.push(async move {
                        let result = self.publish(&row).await;
                        (row.report, result)
                    });
                }
            }
            if ended.is_empty() {
                tokio::select! {
                    Some(it) = under_way.next() => ended.push(it),
                    () = woken, if (1..AT_ONCE).contains(&under_way.len()) => {}
                    else => return failed.map_or(Ok(Step::Idle), Err),
                }
            }
            for (report, result) in ended.drain(..) {
                ids.remove(&report);
                // The others are waited for: a call that is given up may have had its effect.
                failed = result.err().or(failed);
            }
        }
    }
}

impl Report {
    /// Brings one check run or status up to date and notes that it is.
    async fn publish(&self, row: &Behind) -> Result<(), StoreError> {
        let store = &self.shared.store;
        let view = match &row.build {
            Some(build) => store.build_view(build).await?,
            None => store.run_view(&row.run).await?,
        };
        let Some(mut view) = view else {
            return store.give_up_report(&row.report, row.revision, "the run is gone").await;
        };
        self.shared.tell_counts(&mut view);
        let now = self.shared.clock.now();
        let installation = view.repository.installation;
        if let Some(until) = self.paused.get(&installation).map(|it| *it).filter(|it| *it > now) {
            return store.report_failed(&row.report, "GitHub asked to wait", until).await;
        }
        let result = match row.kind {
            ReportKind::Status => self.publish_status(row, &view).await,
            ReportKind::Gate => {
                let page = page::gate_page(&view, &self.check_name, &self.links);
                self.publish_check(row, &view, &page).await
            }
            ReportKind::Host => {
                let page = view
                    .builds
                    .first()
                    .and_then(|build| page::host_page(&view, build, &self.check_name, &self.links));
                let Some(page) = page else {
                    return store
                        .give_up_report(&row.report, row.revision, "the host has no check")
                        .await;
                };
                self.publish_check(row, &view, &page).await
            }
        };
        match result {
            Ok(shown) => store.shown(&row.report, shown, self.shared.clock.now()).await,
            Err(Unpublished::Github(error)) => self.failed(row, installation, &error).await,
            Err(Unpublished::Store(error)) => Err(error),
        }
    }

    async fn publish_status(&self, row: &Behind, view: &RunView) -> Result<Shown, Unpublished> {
        let page = page::status_page(view, &self.links);
        let digest = digest(&format!("{page:?}"));
        if row.shown_digest.as_deref() != Some(&digest) {
            self.github.set_status(&target(view), "fleetcheck", &page).await?;
        }
        Ok(Shown {
            revision: row.revision,
            serial: row.serial,
            github_id: None,
            status: page.state.as_str().to_owned(),
            digest,
        })
    }

    async fn publish_check(
        &self,
        row: &Behind,
        view: &RunView,
        page: &CheckPage,
    ) -> Result<Shown, Unpublished> {
        let target = target(view);
        let digest = digest(&format!("{page:?}"));
        let status = status_word(page.status);
        let shown = |serial, github_id| Shown {
            revision: row.revision,
            serial,
            github_id: Some(github_id),
            status: status.clone(),
            digest: digest.clone(),
        };
        // A completed check run cannot be reopened or change its conclusion: it gets a successor.
        let is_final = row.shown_status.as_deref().is_some_and(|it| it.starts_with("completed"));
        let replaced = is_final && row.shown_status.as_deref() != Some(&status);
        if let Some(id) = row.github_id.filter(|_| !replaced) {
            if row.shown_digest.as_deref() != Some(&digest) {
                self.github.update_check(&target, id, page).await?;
            }
            return Ok(shown(row.serial, id));
        }
        let mut serial = row.serial;
        if replaced {
            serial += 1;
            self.shared.store.creating(&row.report, serial).await?;
        }
        let external_id = format!("{}:{serial}", row.report);
        // A try before this one, or a process before this one, may have created it unanswered.
        let may_exist = row.tries > 0 || view.run.created_at < self.shared.started;
        if may_exist
            && let Some(id) = self.github.find_check(&target, &page.name, &external_id).await?
        {
            self.github.update_check(&target, id, page).await?;
            return Ok(shown(serial, id));
        }
        let id = self.github.create_check(&target, &external_id, page).await?;
        Ok(shown(serial, id))
    }

    /// Notes when to try again, by what GitHub said.
    async fn failed(
        &self,
        row: &Behind,
        installation: InstallationId,
        error: &GithubError,
    ) -> Result<(), StoreError> {
        let store = &self.shared.store;
        let now = self.shared.clock.now();
        let mut wait = Duration::from_secs(1 << row.tries.min(8));
        match error {
            GithubError::Weather { retry_after, .. } => {
                if let Some(asked) = retry_after {
                    wait = *asked;
                    self.paused.insert(installation, now.plus(millis(wait)));
                }
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
                wait = wait.max(Duration::from_secs(5));
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

fn target(view: &RunView) -> Target {
    Target {
        installation: view.repository.installation,
        repository: view.repository.id,
        owner: view.repository.owner.clone(),
        name: view.repository.name.clone(),
        sha: view.run.sha.clone(),
    }
}

/// The status that decides whether a check run can be updated or needs a successor.
fn status_word(status: CheckStatus) -> String {
    match status {
        CheckStatus::Queued => "queued".to_owned(),
        CheckStatus::InProgress { .. } => "in_progress".to_owned(),
        CheckStatus::Completed { conclusion, .. } => format!("completed:{}", conclusion.as_str()),
    }
}

fn digest(text: &str) -> String {
    hex::encode(Sha256::digest(text.as_bytes()))
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
