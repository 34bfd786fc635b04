//! What one instance does at a time: whoever holds its lease.
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::domain::Timestamp;
use crate::flow::evaluate::{LEASE, millis};
use crate::flow::shared::Shared;
use crate::flow::{Stage, Step};
use crate::store::StoreError;
use crate::store::leases::Lease;

/// A lease that this instance holds, or would like to.
pub(super) struct Held {
    shared: Arc<Shared>,
    name: String,
    /// Until when it need not be renewed.
    fresh_until: AtomicI64,
    since: AtomicI64,
}

impl Held {
    pub(super) fn new(shared: Arc<Shared>, name: String) -> Self {
        let since = AtomicI64::new(shared.started.0);
        Self { shared, name, fresh_until: AtomicI64::new(0), since }
    }

    /// What was begun before may have been half done: by the process before, or another instance.
    pub(super) fn since(&self) -> Timestamp {
        Timestamp(self.since.load(Ordering::Relaxed))
    }

    /// What was begun could not be noted: it may have been half done, too.
    pub(super) fn doubt(&self) {
        self.since.store(self.shared.clock.now().0, Ordering::Relaxed);
    }

    /// Takes it or renews it, unless another instance has it. Two thirds of it are left then.
    pub(super) async fn hold(&self) -> Result<bool, StoreError> {
        let now = self.shared.clock.now();
        if now.0 < self.fresh_until.load(Ordering::Relaxed) {
            return Ok(true);
        }
        let fresh = now.plus(millis(LEASE / 3)).0;
        match self.shared.store.lease(&self.name, now, millis(LEASE)).await? {
            Lease::Held => self.fresh_until.store(fresh, Ordering::Relaxed),
            Lease::TakenOver => {
                tracing::info!("{} goes on at this instance", self.name);
                self.since.store(now.0, Ordering::Relaxed);
                self.fresh_until.store(fresh, Ordering::Relaxed);
            }
            Lease::Elsewhere => {
                self.fresh_until.store(0, Ordering::Relaxed);
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Renews it until it is lost.
    pub(super) async fn keep(&self) -> Result<(), StoreError> {
        let mut failures = 0;
        loop {
            sleep(LEASE / 9).await;
            match self.hold().await {
                Ok(true) => failures = 0,
                Ok(false) => break,
                // After so many there are only some seconds left of it.
                Err(error) if failures >= 2 => return Err(error),
                Err(_) => failures += 1,
            }
        }
        tracing::warn!("{} goes on at another instance", self.name);
        Ok(())
    }
}

/// A stage that steps while its lease is held here. A step whose lease is lost is dropped where it
/// stands, as by a crash.
pub struct Alone<S> {
    held: Held,
    stage: S,
}

impl<S: Stage<Error = StoreError>> Alone<S> {
    pub fn new(shared: Arc<Shared>, stage: S) -> Self {
        Self { held: Held::new(shared, S::NAME.to_owned()), stage }
    }
}

impl<S: Stage<Error = StoreError>> Stage for Alone<S> {
    const NAME: &'static str = S::NAME;
    type Error = StoreError;

    async fn step(&self, stop: &CancellationToken) -> Result<Step, StoreError> {
        if !self.held.hold().await? {
            return Ok(Step::Idle);
        }
        tokio::select! {
            done = self.stage.step(stop) => done,
            lost = self.held.keep() => lost.map(|()| Step::Idle),
        }
    }
}
