//! A builder, looked at every half minute and as soon as something fails there: does it answer, and
//! does it take work? A slot that finds it away says so at once, and then it is looked at more often.
mod garbage;

use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::config;
use crate::domain::builder::{self, Condition, Facts};
use crate::domain::plan::Capability;
use crate::flow::look::garbage::Garbage;
use crate::flow::shared::Shared;
use crate::flow::{Stage, Step};
use crate::nix::machine::Machine;
use crate::store::builders::{Known, Whose};
use crate::store::{Event, StoreError};
use crate::telemetry;

/// Between two looks at a builder that takes work, in milliseconds.
const EVERY_MS: i64 = 30_000;
/// Between two looks at one that does not: whatever waits for it is to start soon after it is back.
const AWAY_MS: i64 = 5_000;

/// The builders of the settings, which may come and go while the service runs.
#[derive(Debug)]
pub struct Builders(RwLock<Arc<[config::Builder]>>);

impl Builders {
    pub fn new(all: &[config::Builder]) -> Self {
        Self(RwLock::new(all.into()))
    }

    /// As they are now.
    pub fn now(&self) -> Arc<[config::Builder]> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What they can do.
    pub fn capabilities(&self) -> Vec<Capability> {
        self.now().iter().map(capability).collect()
    }

    /// From now on these.
    pub fn set(&self, all: &[config::Builder]) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = all.into();
    }
}

/// The looks at one builder.
pub struct Look {
    shared: Arc<Shared>,
    machine: Machine,
    builder: config::Builder,
    /// The roots that it holds for us, as they were told to it last.
    held: Mutex<Option<Vec<(String, String)>>>,
    garbage: Mutex<Garbage>,
}

impl Look {
    pub fn new(shared: Arc<Shared>, machine: Machine, builder: config::Builder) -> Self {
        Self { shared, machine, builder, held: Mutex::default(), garbage: Mutex::default() }
    }

    /// Where each host was last good stays on the machine that built it.
    async fn hold(&self, stop: &CancellationToken) -> Result<(), StoreError> {
        if !self.machine.is_remote() {
            return Ok(());
        }
        let roots = self.shared.store.roots().await?.into_iter();
        let good = roots.filter(|it| it.name.starts_with("good-"));
        let good: Vec<_> = good.map(|it| (it.name, it.path)).collect();
        let mut held = self.held.lock().await;
        if held.as_ref() == Some(&good) {
            return Ok(());
        }
        let owner: String = self.shared.owner.chars().take(16).collect();
        match self.machine.hold(&owner, &good, stop).await {
            Ok(()) => *held = Some(good),
            Err(words) => {
                let name = &self.builder.name;
                tracing::warn!(builder = %name, "builder {name} does not keep what was built there from its garbage collector: {words}");
            }
        }
        Ok(())
    }
}

impl Stage for Look {
    const NAME: &'static str = "look";
    type Error = StoreError;

    async fn step(&self, stop: &CancellationToken) -> Result<Step, StoreError> {
        let now = self.shared.clock.now();
        let all = self.shared.store.own_builders().await?;
        let Some(known) = all.iter().find(|it| it.name == self.builder.name) else {
            return Ok(Step::Idle);
        };
        let every = if known.condition == Condition::Ready { EVERY_MS } else { AWAY_MS };
        match known.suspect_at {
            // What fails from now on asks for another look.
            Some(_) => self.shared.store.looks_at(&self.builder.name).await?,
            None if now.since(known.looked_at) < every => return Ok(Step::Idle),
            None => {}
        }
        let seen = self.machine.look(now, stop).await;
        if stop.is_cancelled() {
            return Ok(Step::Idle);
        }
        let facts = seen.as_ref().map_err(String::as_str);
        let condition = builder::judge(facts, self.builder.min_free);
        match &condition {
            Condition::Ready => self.hold(stop).await?,
            // What is held is no garbage.
            Condition::DiskLow { .. } if self.builder.collect => self.hold(stop).await?,
            Condition::DiskLow { .. }
            | Condition::NotLookedAt
            | Condition::Unreachable { .. }
            | Condition::TooOld { .. } => {}
        }
        let mut facts = seen.ok();
        if let Some(facts) = facts.as_mut().filter(|_| self.builder.collect) {
            let mut garbage = self.garbage.lock().await;
            garbage.remember(known.facts.collection);
            let of = (self.builder.name.as_str(), &self.machine);
            facts.collection = garbage.look(of, &condition, now, stop);
        }
        tell(&self.shared, &self.builder.name, &condition, facts.as_ref()).await?;
        Ok(Step::Idle)
    }
}

/// Notes how it stands with a builder, and lets those look that wait for it.
pub(super) async fn tell(
    shared: &Shared,
    name: &str,
    condition: &Condition,
    facts: Option<&Facts>,
) -> Result<(), StoreError> {
    let now = shared.clock.now();
    let was = shared.store.builder_looked(name, condition, facts, now).await?;
    let ready = *condition == Condition::Ready;
    metrics::gauge!(telemetry::BUILDER_READY, "builder" => name.to_owned()).set(f64::from(ready));
    if let Some(free) = facts.and_then(|it| it.free) {
        #[expect(clippy::cast_precision_loss, reason = "a gauge of bytes")]
        metrics::gauge!(telemetry::BUILDER_FREE, "builder" => name.to_owned()).set(free as f64);
    }
    if let Some(was) = was {
        match condition {
            Condition::Ready if was == Condition::NotLookedAt => {}
            Condition::Ready => tracing::info!(builder = name, "builder {name} is ready again"),
            Condition::NotLookedAt
            | Condition::Unreachable { .. }
            | Condition::TooOld { .. }
            | Condition::DiskLow { .. } => {
                let what = builder::told(condition, now);
                tracing::warn!(builder = name, "builder {name} takes no work: {what}");
            }
        }
        shared.wakeups.say(Event::BuildWaiting);
    }
    Ok(())
}

/// What a builder of the settings can do.
#[must_use]
pub fn capability(builder: &config::Builder) -> Capability {
    Capability {
        systems: builder.systems.clone(),
        features: builder.features.clone(),
        mandatory: builder.mandatory_features.clone(),
    }
}

/// At the start, and when they change: the store learns which builders there are. They are called as they are called
/// there: another instance may have a machine of its own under the same name.
pub async fn know(shared: &Shared, builders: &mut [config::Builder]) -> Result<(), StoreError> {
    let known: Vec<Known> = builders
        .iter()
        .map(|it| Known {
            name: it.name.clone(),
            capability: capability(it),
            slots: u32::try_from(it.slots).unwrap_or(u32::MAX),
            machine: if it.store.is_some() { Whose::Shared } else { Whose::Own },
            speed: it.speed,
        })
        .collect();
    let names = shared.store.know_builders(&known, shared.clock.now()).await?;
    for (builder, name) in builders.iter_mut().zip(names) {
        if builder.name != name {
            tracing::info!(
                "another instance has a builder {}: this one is called {name}",
                builder.name
            );
        }
        builder.name = name;
    }
    Ok(())
}
