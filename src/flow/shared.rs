//! What every stage shares: the store, the clock, the wakeups, and who we are.
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dashmap::DashMap;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

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

/// As [`Shared::tell_counts`], for whoever has the counts alone. Of what another instance builds the
/// store says what that noted last.
pub fn tell_counts(progress: &DashMap<AttemptId, Counts>, view: &mut RunView) {
    for it in &mut view.builds {
        if let BuildState::Building { attempt, .. } = &it.build.state
            && let Some(counts) = progress.get(attempt)
        {
            it.outlook.counts = Some(counts.clone());
        }
    }
}

/// "Look": a wakeup carries no message; the store is the queue, and a timer says the same.
#[derive(Debug, Default)]
pub struct Wakeups {
    pub intake: Notify,
    pub ask: Notify,
    pub react: Notify,
    pub evaluate: Notify,
    pub build: Notify,
    /// Something failed on a builder; else they are looked at by time alone.
    pub look: Notify,
    pub report: Notify,
    pub insight: Notify,
    /// An attempt ended here, and left a log.
    pub archive: Notify,
    /// Somebody's work may no longer be wanted.
    pub cancelled: Notify,
    pub sweep: Notify,
    /// Nobody rings it either.
    pub beat: Notify,
    pub recover: Notify,
    pub update: Notify,
    /// Time alone says that a schedule fires.
    pub schedule: Notify,
    /// What a repository's tracking issue says may have changed.
    pub track: Notify,
    /// What other instances have not been told yet.
    untold: Mutex<BTreeSet<Event>>,
    abroad: Notify,
}

impl Wakeups {
    /// Who should look, here and on other instances.
    pub fn tell(&self, moved: &Moved) {
        moved.events().for_each(|it| self.say(it));
    }

    /// As [`Wakeups::tell`], of one kind.
    pub fn say(&self, event: Event) {
        self.ring(event);
        self.untold.lock().unwrap_or_else(PoisonError::into_inner).insert(event);
        self.abroad.notify_one();
    }

    /// The wiring: what moved in the store, and who should look.
    pub fn ring(&self, event: Event) {
        if event == Event::RunEnded {
            // It may be one by which an update has tried something.
            self.update.notify_waiters();
        }
        match event {
            Event::RunRequested => &self.evaluate,
            Event::BuildWaiting => &self.build,
            Event::ReportBehind => &self.report,
            Event::InsightWanted => &self.insight,
            Event::AttemptUnwanted | Event::RunEnded => &self.cancelled,
            Event::ReactionOwed => &self.react,
            Event::HeadsAsked => &self.recover,
            Event::DeliveryWaiting => &self.intake,
            Event::DeliveryAsks => &self.ask,
            Event::BuilderSuspect => &self.look,
            Event::UpdateWanted => &self.update,
        }
        .notify_waiters();
    }

    /// What was said since the last call, each kind once; waits for something.
    async fn news(&self) -> BTreeSet<Event> {
        self.abroad.notified().await;
        std::mem::take(&mut *self.untold.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Between two notices to other instances: what moves in the meantime shares the next.
const APART: Duration = Duration::from_millis(5);

impl Shared {
    /// Tells other instances what moved here, and hears what moved there, until `stop`.
    pub async fn exchange(&self, stop: CancellationToken) {
        let told = |event| self.wakeups.ring(event);
        let hear = self.store.listen(&self.owner, told, stop.clone());
        tokio::join!(hear, self.announce(stop));
    }

    async fn announce(&self, stop: CancellationToken) {
        loop {
            let news = tokio::select! {
                news = self.wakeups.news() => news,
                () = stop.cancelled() => return,
            };
            // They look by themselves in a moment, and what is wrong with the store others tell.
            if let Err(error) = self.store.announce(&self.owner, &news).await {
                tracing::debug!("other instances were not told to look: {error}");
            }
            tokio::time::sleep(APART).await;
        }
    }
}
