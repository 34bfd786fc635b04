//! What happens, in order. Each stage reads one kind of row and leaves another; none calls the next.
//!
//! - [`intake`]: a delivery, once → a decision → a run; [`ask`] answers what that must know first.
//! - [`evaluate`]: a run → its builds, evaluated (`subject` says of what, [`hosts`] keeps them
//!   apart, `place` looks what Nix has already).
//! - [`build`]: waiting builds × a free slot → an attempt → an ending.
//! - [`look`]: a builder → whether it takes work; [`watch`] wakes the slots for what others changed.
//! - [`archive`]: an attempt that ended → its log in the bucket, for other instances too.
//! - [`insight`]: a build that ended well → what changes on its host.
//! - [`report`]: what is known ≠ what GitHub shows → published.
//! - [`react`]: comments that were commands are answered.
//! - [`recover`]: what did not reach us → deliveries of our own, decided like GitHub's.
//! - [`schedule`]: a repository's schedule → an update that is wanted; [`updates`]: that → lock files
//!   that are tried → a pull request that is known to be good; [`track`]: what does not land → the
//!   issue that tells it.
//! - [`sweep`]: what nobody told us: lost claims, old rows, GC roots.
//! - [`alone`]: what one instance does at a time; [`beat`]: that this one is alive.
//! - [`check`]: the same engine without GitHub, for a person at a terminal; [`update`]: with the
//!   inputs that may move.
pub mod alone;
pub mod archive;
pub mod ask;
pub mod beat;
pub mod build;
pub mod check;
pub mod evaluate;
pub mod fault;
pub mod hosts;
pub mod insight;
pub mod intake;
pub mod look;
mod place;
pub mod react;
pub mod recover;
pub mod report;
pub mod schedule;
pub mod shared;
pub mod source;
mod subject;
pub mod sweep;
pub mod track;
pub mod update;
pub mod updates;
pub mod watch;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::domain::Timestamp;
use crate::telemetry;

/// What a stage found to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Worked,
    Idle,
}

/// A piece of the flow that works off rows of the store.
pub trait Stage: Send + Sync + 'static {
    /// Its name in logs, metrics and `/readyz`.
    const NAME: &'static str;
    /// What it could not do and will try again.
    type Error: fmt::Display + Send;
    /// Does the next piece of work found in the store, if there is one.
    fn step(
        &self,
        stop: &CancellationToken,
    ) -> impl Future<Output = Result<Step, Self::Error>> + Send;
}

/// A stage that ends between two of its steps, once it is retired.
pub struct Retiring<S> {
    pub stage: S,
    pub retired: CancellationToken,
    /// What tells its [`drive`] to stop.
    pub over: CancellationToken,
}

impl<S: Stage> Stage for Retiring<S> {
    const NAME: &'static str = S::NAME;
    type Error = S::Error;

    async fn step(&self, stop: &CancellationToken) -> Result<Step, S::Error> {
        if self.retired.is_cancelled() {
            self.over.cancel();
            return Ok(Step::Idle);
        }
        self.stage.step(stop).await
    }
}

/// Works until idle, then waits for a wakeup or for `period`, until told to stop; `beat` is called
/// at every look, so that `/readyz` can tell a stage that hangs.
pub async fn drive<S: Stage>(
    stage: &S,
    wakeup: &Notify,
    period: Duration,
    beat: impl Fn(&'static str) + Send,
    stop: &CancellationToken,
) {
    while !stop.is_cancelled() {
        let woken = wakeup.notified(); // listen first, then look: no wakeup falls between
        beat(S::NAME);
        match stage.step(stop).await {
            Ok(Step::Worked) => continue,
            Ok(Step::Idle) => {}
            Err(error) => {
                tracing::warn!(stage = S::NAME, "{} will try again: {error}", S::NAME);
                metrics::counter!(telemetry::STAGE_ERRORS, "stage" => S::NAME).increment(1);
                // Not at once: what failed (the disk, the database) needs a moment.
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = sleep(Duration::from_secs(1)) => {}
                }
            }
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = woken => {}
            () = sleep(period) => {}
        }
    }
}

/// A fresh id of our own. UUIDs of version 7 sort by the time they were made.
pub fn new_id<Id: std::str::FromStr>() -> Id {
    let id = uuid::Uuid::now_v7().to_string();
    id.parse().unwrap_or_else(|_| unreachable!("a UUID is an id"))
}

/// The one clock; `app` hands it out, so that tests can move it.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    pub fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    pub fn now(&self) -> Timestamp {
        (self.0)()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio_util::task::TaskTracker;

    #[derive(Default)]
    struct Counting {
        looked: AtomicUsize,
        wakeup: Notify,
    }

    impl Stage for Counting {
        const NAME: &'static str = "counting";
        type Error = Infallible;

        async fn step(&self, _: &CancellationToken) -> Result<Step, Infallible> {
            if self.looked.fetch_add(1, Ordering::SeqCst) == 0 {
                self.wakeup.notify_waiters(); // arrives while we look and find nothing
            }
            Ok(Step::Idle)
        }
    }

    async fn looks_within(first: usize, period: Duration, patience: Duration) -> usize {
        let stage = Arc::new(Counting { looked: AtomicUsize::new(first), wakeup: Notify::new() });
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        tasks.spawn({
            let (stage, stop) = (stage.clone(), stop.clone());
            async move { drive(&*stage, &stage.wakeup, period, |_| {}, &stop).await }
        });
        sleep(patience).await;
        stop.cancel();
        tasks.close();
        tasks.wait().await;
        stage.looked.load(Ordering::SeqCst) - first
    }

    #[tokio::test(start_paused = true)]
    async fn a_wakeup_that_arrives_while_looking_is_not_lost() {
        let looks = looks_within(0, Duration::from_hours(1), Duration::from_secs(1)).await;
        assert_eq!(looks, 2, "looked again without waiting an hour");
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_wakeup_a_stage_looks_once_a_period() {
        assert_eq!(looks_within(1, Duration::from_mins(1), Duration::from_secs(130)).await, 3);
    }
}
