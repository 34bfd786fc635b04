//! What lets a waiting build begin although nobody here says so: a builder that another process put
//! back into rotation (`fleetcheck builders undrain`) or whose slot it freed, and a time that has
//! come. Looked for often, so that a build starts within a second of the reason for waiting going away.
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::domain::Timestamp;
use crate::flow::shared::Shared;
use crate::flow::{Stage, Step};
use crate::store::StoreError;

/// How often it looks.
pub const PERIOD: Duration = Duration::from_millis(500);

/// Wakes the slots when there may be something for them.
pub struct Watch {
    shared: Arc<Shared>,
    seen: Mutex<Seen>,
}

/// What the last look saw.
struct Seen {
    at: Timestamp,
    /// The slots that are free of each builder that takes work.
    open: BTreeMap<String, u32>,
}

impl Watch {
    pub fn new(shared: Arc<Shared>) -> Self {
        let at = shared.started;
        Self { shared, seen: Mutex::new(Seen { at, open: BTreeMap::new() }) }
    }
}

impl Stage for Watch {
    const NAME: &'static str = "watch";
    type Error = StoreError;

    async fn step(&self, _: &CancellationToken) -> Result<Step, StoreError> {
        let store = &self.shared.store;
        let now = self.shared.clock.now();
        let builders = store.own_builders().await?;
        let open: BTreeMap<String, u32> = builders
            .into_iter()
            .filter(|it| it.takes_work() && it.free() > 0)
            .map(|it| (it.name.clone(), it.free()))
            .collect();
        let mut seen = self.seen.lock().await;
        let opened = open.iter().any(|(name, free)| seen.open.get(name).is_none_or(|it| it < free));
        let due = store.fell_due(seen.at, now).await?;
        *seen = Seen { at: now, open };
        if opened || due {
            self.shared.wakeups.build.notify_waiters();
        }
        Ok(Step::Idle)
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::atomic::{AtomicI64, Ordering};

    use futures::FutureExt as _;

    use super::*;
    use crate::domain::builder::Speed;
    use crate::domain::plan::Capability;
    use crate::flow::Clock;
    use crate::flow::shared::Wakeups;
    use crate::nix::log::LogStore;
    use crate::store::Store;
    use crate::store::builders::{Known, Whose};

    async fn wakes(watch: &Watch) -> bool {
        let mut woken = pin!(watch.shared.wakeups.build.notified());
        woken.as_mut().enable();
        watch.step(&CancellationToken::new()).await.unwrap();
        woken.now_or_never().is_some()
    }

    #[tokio::test]
    async fn a_builder_that_somebody_else_undrained_wakes_the_slots_once() {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}/fleet.db", directory.path().display());
        let store = Store::open(&url).await.unwrap();
        let time = Arc::new(AtomicI64::new(1_000));
        let clock = Clock::new({
            let time = time.clone();
            move || Timestamp(time.load(Ordering::Relaxed))
        });
        let capability = Capability { systems: vec![], features: vec![], mandatory: vec![] };
        let known = Known {
            name: "a".into(),
            capability,
            slots: 1,
            speed: Speed::default(),
            machine: Whose::Own,
        };
        store.know_builders(&[known], Timestamp(0)).await.unwrap();
        let watch = Watch::new(Arc::new(Shared {
            store: store.clone(),
            clock,
            wakeups: Wakeups::default(),
            logs: LogStore::new(directory.path()),
            owner: "me".into(),
            started: Timestamp(0),
            progress: Arc::default(),
        }));
        assert!(wakes(&watch).await, "it was not there before");
        assert!(!wakes(&watch).await);
        store.drain("a", Some(Timestamp(5))).await.unwrap();
        assert!(!wakes(&watch).await);
        store.drain("a", None).await.unwrap();
        assert!(wakes(&watch).await);
        assert!(!wakes(&watch).await);
    }
}
