//! Where the systems of a comparison are: in this machine's store, or where they were built.
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::domain::id::StorePath;
use crate::flow::insight::Untold;
use crate::flow::look::Builders;
use crate::nix::Nix;
use crate::nix::closure::{Closures, Paths};
use crate::nix::machine::Machine;
use crate::nix::worker::{self, Fetched, Worker, WorkerError};
use crate::store::{Store, StoreError};

/// A base that is fetched from a cache is waited for this long at a time. What arrived stays: the
/// next try goes on from there. Shorter than the silence after which a stage counts as stuck.
pub(super) const FETCH: Duration = Duration::from_secs(90);

/// Whose store has a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Here,
    /// A builder's.
    There(String),
}

/// A worker for each store that was asked, for as long as there is work: what is looked at is no
/// garbage meanwhile.
pub(super) struct Stores {
    nix: Nix,
    builders: Arc<Builders>,
    here: Option<Worker>,
    there: HashMap<String, Worker>,
}

impl Stores {
    pub(super) fn new(nix: Nix, builders: Arc<Builders>) -> Self {
        Self { nix, builders, here: None, there: HashMap::new() }
    }

    pub(super) async fn let_go(&mut self) {
        for worker in self.here.take().into_iter().chain(self.there.drain().map(|(_, it)| it)) {
            worker.stop().await;
        }
    }

    /// Where a path is and stays.
    pub(super) async fn find(
        &mut self,
        path: &StorePath,
        store: &Store,
    ) -> Result<Option<Place>, Untold> {
        let mut here = worker::kept_or_new(&mut self.here, &self.nix).await?;
        let found = has(&mut here, path).await?;
        self.here = Some(here);
        if found {
            return Ok(Some(Place::Here));
        }
        for (name, machine) in self.reachable(store).await? {
            let mut kept = self.there.remove(&name);
            // One that went away meanwhile has nothing for us.
            let Ok(mut worker) = machine.worker(&mut kept).await else { continue };
            let found = has(&mut worker, path).await?;
            self.there.insert(name.clone(), worker);
            if found {
                return Ok(Some(Place::There(name)));
            }
        }
        Ok(None)
    }

    /// Nobody waits for a machine that was away when it was looked at.
    async fn reachable(&self, store: &Store) -> Result<Vec<(String, Machine)>, StoreError> {
        let settings = self.builders.now();
        let remote = settings.iter().map(|it| (it.name.clone(), Machine::new(&self.nix, it)));
        let remote: Vec<_> = remote.filter(|(_, machine)| machine.is_remote()).collect();
        if remote.is_empty() {
            return Ok(remote);
        }
        let seen = store.own_builders().await?;
        let answers = |name: &str| seen.iter().any(|it| it.name == name && it.answers());
        Ok(remote.into_iter().filter(|(name, _)| answers(name)).collect())
    }

    /// Fetches a path from a cache of this machine's.
    pub(super) async fn fetch(&mut self, path: &StorePath) -> Result<Fetched, WorkerError> {
        let mut worker = worker::kept_or_new(&mut self.here, &self.nix).await?;
        let fetched = worker.ensure(path, FETCH).await?;
        self.here = Some(worker);
        Ok(fetched)
    }

    /// Everything that a path needs, as the store that has it says.
    pub(super) async fn closure(
        &mut self,
        closures: &mut Closures,
        (path, place): (&StorePath, &Place),
    ) -> Result<Paths, Untold> {
        let worker = match place {
            Place::Here => self.here.as_mut(),
            Place::There(name) => self.there.get_mut(name),
        };
        let lost = || WorkerError::Lost { words: "nobody speaks with it any more".to_owned() };
        let worker = worker.ok_or_else(lost)?;
        closures.of(worker, path).await.map_err(Untold::Closure)
    }
}

async fn has(worker: &mut Worker, path: &StorePath) -> Result<bool, WorkerError> {
    worker.add_temp_root(path.as_str()).await?;
    Ok(worker.valid_paths(std::slice::from_ref(path)).await?.contains(path))
}
