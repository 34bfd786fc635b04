//! What every stage shares: the store, the clock, the wakeups, and who we are.
use std::sync::Arc;

use dashmap::DashMap;
use tokio::sync::Notify;

use crate::domain::Timestamp;
use crate::domain::build::BuildState;
use crate::domain::id::AttemptId;
use crate::domain::page::{Counts, RunView};
use crate::flow::Clock;
use crate::nix::log::LogStore;
use crate::store::{Event, Moved, Store};

/// Handed to every stage by `app`.
pub struct Shared {
    pub store: Store,
    pub clock: Clock,
    pub wakeups: Wakeups,
    pub logs: LogStore,
    /// The name under which this process claims work; the same after a restart.
    pub owner: String,
    /// When this process started: what was begun before may have been half done.
    pub started: Timestamp,
    /// Progress of the attempts that run now.
    pub progress: Arc<DashMap<AttemptId, Counts>>,
}

impl Shared {
    /// Tells each build that is being realised here how far it is.
    pub fn tell_counts(&self, view: &mut RunView) {
        tell_counts(&self.progress, view);
    }
}

/// As [`Shared::tell_counts`], for whoever has the counts alone.
pub fn tell_counts(progress: &DashMap<AttemptId, Counts>, view: &mut RunView) {
    for it in &mut view.builds {
        if let BuildState::Building { attempt, .. } = &it.build.state {
            it.outlook.counts = progress.get(attempt).map(|it| *it);
        }
    }
}

/// "Look": a wakeup carries no message; the store is the queue, and a timer says the same.
#[derive(Debug, Default)]
pub struct Wakeups {
    pub intake: Arc<Notify>,
    pub ask: Notify,
    pub react: Notify,
    pub evaluate: Notify,
    pub build: Notify,
    pub report: Notify,
    pub insight: Notify,
    /// Somebody's work may no longer be wanted.
    pub cancelled: Notify,
    pub sweep: Notify,
    pub recover: Notify,
}

impl Wakeups {
    /// The wiring: what moved in the store, and who should look.
    pub fn tell(&self, moved: &Moved) {
        for event in moved.events() {
            match event {
                Event::RunRequested => &self.evaluate,
                Event::BuildWaiting => &self.build,
                Event::ReportBehind => &self.report,
                Event::InsightWanted => &self.insight,
                Event::AttemptUnwanted | Event::RunEnded => &self.cancelled,
                Event::ReactionOwed => &self.react,
                Event::HeadsAsked => &self.recover,
                Event::DeliveryWaiting => self.intake.as_ref(),
            }
            .notify_waiters();
        }
    }
}
