//! The stages of the builders: begun and ended as the machines of the settings come and go.
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::app::stages::PERIOD;
use crate::config::{self, MachinesFile};
use crate::flow::build::{self, Slot};
use crate::flow::look::{self, Builders, Look};
use crate::flow::shared::{Shared, Wakeups};
use crate::flow::{Retiring, Stage, drive};
use crate::http::health::Readiness;
use crate::nix::Nix;
use crate::nix::machine::Machine;
use crate::nix::worker::BuildLimits;
use crate::store::StoreError;

/// Between two looks at the file of machines.
const FOLLOW: Duration = Duration::from_secs(5);

/// What the builders' stages need.
pub(super) struct Fleet {
    pub(super) shared: Arc<Shared>,
    pub(super) readiness: Arc<Readiness>,
    pub(super) nix: Nix,
    pub(super) limits: BuildLimits,
    pub(super) builders: Arc<Builders>,
    pub(super) file: Option<MachinesFile>,
    pub(super) stop: CancellationToken,
}

/// What the file said last.
struct Known {
    read: Option<Vec<config::Builder>>,
    /// Its mistakes, which are told of once.
    refused: Option<String>,
}

/// A builder whose stages run, until it is retired.
struct AtWork {
    builder: config::Builder,
    retired: CancellationToken,
}

impl Fleet {
    /// Keeps the stages of the builders until told to stop, or until one of them dies.
    pub(super) async fn keep(self) -> &'static str {
        let mut tasks = JoinSet::new();
        let mut at_work = Vec::new();
        let mut known = Known { read: self.read(), refused: None };
        self.begin(&mut at_work, &mut tasks);
        while !self.stop.is_cancelled() {
            tokio::select! {
                () = self.stop.cancelled() => {}
                Some(ended) = tasks.join_next() => {
                    if let Err(error) = ended {
                        tracing::error!("a builder's stage died: {error}");
                        return "a builder";
                    }
                }
                () = tokio::time::sleep(FOLLOW) => {
                    if let Err(error) = self.follow(&mut at_work, &mut known, &mut tasks).await {
                        tracing::warn!("the builders will be read again: {error}");
                    }
                }
            }
        }
        while tasks.join_next().await.is_some() {}
        "builders"
    }

    /// The file as it is, before its builders are given the names that they have in the store.
    fn read(&self) -> Option<Vec<config::Builder>> {
        self.file.as_ref()?.read().ok()
    }

    /// Takes in what has changed in the file. What runs on a machine that is gone goes on to its end;
    /// a file with mistakes changes nothing, and is told of once.
    async fn follow(
        &self,
        at_work: &mut Vec<AtWork>,
        known: &mut Known,
        tasks: &mut JoinSet<()>,
    ) -> Result<(), StoreError> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        let mut all = match file.read() {
            Ok(all) => all,
            Err(errors) => {
                let said = errors.to_string();
                if known.refused.as_ref() != Some(&said) {
                    tracing::error!("the builders stay as they are: {said}");
                    known.refused = Some(said);
                }
                return Ok(());
            }
        };
        known.refused = None;
        if known.read.as_ref() == Some(&all) {
            return Ok(());
        }
        let read = all.clone();
        look::know(&self.shared, &mut all).await?;
        known.read = Some(read);
        at_work.retain(|it| {
            let stays = all.contains(&it.builder);
            if !stays {
                let name = &it.builder.name;
                tracing::info!(builder = %name, "builder {name} is changed or gone");
                it.retired.cancel();
            }
            stays
        });
        self.builders.set(&all);
        self.begin(at_work, tasks);
        build::place_again(&self.shared).await?;
        self.shared.wakeups.build.notify_waiters();
        self.shared.wakeups.look.notify_waiters();
        Ok(())
    }

    /// Begins the stages of those that have none.
    fn begin(&self, at_work: &mut Vec<AtWork>, tasks: &mut JoinSet<()>) {
        for builder in self.builders.now().iter() {
            if at_work.iter().any(|it| it.builder == *builder) {
                continue;
            }
            let retired = CancellationToken::new();
            let machine = Machine::new(&self.nix, builder);
            for _ in 0..builder.slots {
                let (shared, limits) = (self.shared.clone(), self.limits);
                let slot = Slot::new(shared, machine.clone(), builder.clone(), limits);
                self.spawn(slot, &retired, |it| &it.build, tasks);
            }
            let look = Look::new(self.shared.clone(), machine, builder.clone());
            self.spawn(look, &retired, |it| &it.look, tasks);
            at_work.push(AtWork { builder: builder.clone(), retired });
        }
    }

    fn spawn<S: Stage>(
        &self,
        stage: S,
        retired: &CancellationToken,
        wakeup: fn(&Wakeups) -> &Notify,
        tasks: &mut JoinSet<()>,
    ) {
        let over = self.stop.child_token();
        let stage = Retiring { stage, retired: retired.clone(), over: over.clone() };
        let (shared, readiness) = (self.shared.clone(), self.readiness.clone());
        tasks.spawn(async move {
            let beat = |name| readiness.beat(name, shared.clock.now());
            drive(&stage, wakeup(&shared.wakeups), PERIOD, beat, &over).await;
        });
    }
}
