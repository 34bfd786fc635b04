//! Makes the check runs say what the store says. Never the other way round.
//!
//! Nothing is announced when it happens: this stage compares what is known with what GitHub shows
//! and publishes the difference, so that a lost call, a crash and a restart are all mended by the
//! same lines. Each installation has one writer, among all instances, which sends one request at a
//! time; none waits for another.
//!
//! - `writer`: which request comes next, within what GitHub allows and the run may cost.
//! - `gather`: what is due, without the hosts that are not worth a check.
//! - `send`: the request; `write`: what it says; `note`: what became of it.
mod gather;
mod note;
mod send;
mod write;
mod writer;

use std::collections::{HashMap, HashSet};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::domain::id::InstallationId;
use crate::domain::link::Links;
use crate::flow::alone::Held;
use crate::flow::report::writer::{Next, Writer};
use crate::flow::shared::Shared;
use crate::flow::{Stage, Step};
use crate::github::client::Github;
use crate::store::StoreError;

/// Publishes check runs and statuses.
pub struct Report {
    shared: Arc<Shared>,
    github: Arc<Github>,
    links: Links,
    settings: Settings,
    /// What each installation has spent; taken out while its writer is under way.
    writers: Mutex<HashMap<InstallationId, Writer>>,
    /// The right to write to each installation, which one instance has at a time.
    leases: Mutex<HashMap<InstallationId, Arc<Held>>>,
    /// When there was nothing to send, the last time.
    rested: Mutex<Option<Instant>>,
}

/// What the settings say about checks.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `github.check_name`.
    pub check_name: String,
    /// `github.checks_limit`.
    pub checks_limit: usize,
}

/// Installations that are written to at once; GitHub allows an App 100 requests at once.
const AT_ONCE: usize = 16;
/// After a look that found nothing to send the next one begins at the soonest: a run of 500 hosts
/// wakes this stage a thousand times within seconds, and each look reads all that is behind.
const APART: Duration = Duration::from_millis(10);
/// What falls due by time alone is found so soon while others are under way.
const LOOK: Duration = Duration::from_millis(500);

/// What a writer did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// It may have more to do.
    Sent,
    /// Nothing may be sent now.
    Rests,
}

impl Report {
    pub fn new(shared: Arc<Shared>, github: Arc<Github>, links: Links, settings: Settings) -> Self {
        Self {
            shared,
            github,
            links,
            settings,
            writers: Mutex::default(),
            leases: Mutex::default(),
            rested: Mutex::default(),
        }
    }

    fn take(&self, installation: InstallationId) -> Writer {
        let mut writers = self.writers.lock().unwrap_or_else(PoisonError::into_inner);
        writers.remove(&installation).unwrap_or_default()
    }

    fn put(&self, installation: InstallationId, writer: Writer) {
        self.writers.lock().unwrap_or_else(PoisonError::into_inner).insert(installation, writer);
    }

    fn lease(&self, installation: InstallationId) -> Arc<Held> {
        let mut leases = self.leases.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || {
            let name = format!("report to installation {}", installation.0);
            Arc::new(Held::new(self.shared.clone(), name))
        };
        leases.entry(installation).or_insert_with(new).clone()
    }

    fn rested(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.rested.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One request of one installation.
    async fn turn(
        &self,
        installation: InstallationId,
    ) -> (InstallationId, Result<Turn, StoreError>) {
        let lease = self.lease(installation);
        match lease.hold().await {
            Ok(true) => {}
            Ok(false) => return (installation, Ok(Turn::Rests)),
            Err(error) => return (installation, Err(error)),
        }
        let mut writer = self.take(installation);
        writer.since = lease.since();
        let result = tokio::select! {
            result = self.next_request(installation, &mut writer) => result,
            lost = lease.keep() => lost.map(|()| Turn::Rests),
        };
        if result.is_err() {
            // GitHub may show what the store could not note: it is asked before anything is made.
            lease.doubt();
        }
        self.put(installation, writer);
        (installation, result)
    }

    async fn next_request(
        &self,
        installation: InstallationId,
        writer: &mut Writer,
    ) -> Result<Turn, StoreError> {
        if self.github.closed_until(installation).is_some() {
            return Ok(Turn::Rests);
        }
        writer.learn(self.github.secondary_limits(installation));
        let runs = self.gather(installation).await?;
        match writer.next(runs, self.shared.clock.now()) {
            None => return Ok(Turn::Rests),
            Some(Next::Status(row)) => self.send_status(writer, *row).await?,
            Some(Next::Checks(rows)) => self.send_checks(writer, rows).await?,
        }
        Ok(Turn::Sent)
    }
}

impl Stage for Report {
    const NAME: &'static str = "report";
    type Error = StoreError;

    /// Publishes until nothing more may be.
    async fn step(&self, stop: &CancellationToken) -> Result<Step, StoreError> {
        let rested = *self.rested();
        if let Some(at) = rested {
            sleep_until(at + APART).await;
        }
        let mut under_way = FuturesUnordered::new();
        // Those that are under way, and those that have nothing to do until somebody says so.
        let (mut busy, mut resting) = (HashSet::new(), HashSet::new());
        let mut ended = Vec::new();
        let mut failed = None;
        loop {
            let woken = self.shared.wakeups.report.notified();
            if failed.is_none() && !stop.is_cancelled() {
                let now = self.shared.clock.now();
                let mut look = pin!(self.shared.store.installations_behind(now));
                // What is under way goes on meanwhile: it may hold the connection that the look
                // waits for.
                let looked = loop {
                    tokio::select! {
                        found = &mut look => break found,
                        Some(it) = under_way.next() => ended.push(it),
                    }
                };
                let found = looked.unwrap_or_else(|error| {
                    failed = Some(error);
                    vec![]
                });
                let mut found: Vec<InstallationId> = found
                    .into_iter()
                    .filter(|it| !busy.contains(it) && !resting.contains(it))
                    .collect();
                found.truncate(AT_ONCE.saturating_sub(under_way.len()));
                for installation in found {
                    busy.insert(installation);
                    under_way.push(self.turn(installation));
                }
            }
            if ended.is_empty() {
                tokio::select! {
                    Some(it) = under_way.next() => ended.push(it),
                    () = woken, if !under_way.is_empty() => resting.clear(),
                    () = sleep(LOOK), if !under_way.is_empty() => resting.clear(),
                    else => {
                        *self.rested() = Some(Instant::now());
                        return failed.map_or(Ok(Step::Idle), Err);
                    }
                }
            }
            for (installation, result) in ended.drain(..) {
                busy.remove(&installation);
                match result {
                    Ok(Turn::Sent) => {}
                    Ok(Turn::Rests) => {
                        resting.insert(installation);
                    }
                    // The others are waited for: a call that is given up may have had its effect.
                    Err(error) => failed = Some(error),
                }
            }
        }
    }
}
