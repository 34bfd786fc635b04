//! The closures of store paths, asked of the store once for each path.
use std::collections::{HashMap, HashSet};

use crate::domain::closure::{ClosurePath, Package};
use crate::domain::id::StorePath;
use crate::nix::worker::{PathInfo, Worker, WorkerError};

/// Paths of one closure that are looked at; a large desktop has 5,000.
pub const MOST_PATHS: usize = 50_000;
/// Paths that are remembered; at some 500 bytes each.
const MOST_KNOWN: usize = 200_000;
/// Questions that are under way at once: their bytes fit into a pipe many times over, so neither
/// side waits for the other to read.
const AT_ONCE: usize = 64;

/// What the store said of paths so far. They never change while they are valid, so the hosts of a
/// fleet, which have most of their paths in common, cost little more than one.
#[derive(Debug, Default)]
pub struct Closures {
    places: HashMap<StorePath, usize>,
    entries: Vec<Entry>,
}

#[derive(Debug)]
enum Entry {
    /// Something refers to it.
    Named(StorePath),
    Known {
        path: ClosurePath,
        references: Vec<usize>,
    },
}

/// The places of a closure's paths.
#[derive(Clone, Debug)]
pub struct Paths(Vec<usize>);

/// Why a closure is not known.
#[derive(Debug, thiserror::Error)]
pub enum ClosureError {
    #[error("{0} is not valid")]
    Invalid(StorePath),
    #[error("the closure has more than {MOST_PATHS} paths")]
    TooLarge,
    #[error(transparent)]
    Worker(#[from] WorkerError),
}

impl Closures {
    /// Forgets everything where it has become much; what was given out before is of no more use.
    pub fn begin(&mut self) {
        if self.entries.len() > MOST_KNOWN {
            *self = Self::default();
        }
    }

    /// Everything that a path needs, itself included.
    ///
    /// # Errors
    /// When it is not valid, needs too much, or the worker is gone.
    pub async fn of(
        &mut self,
        worker: &mut Worker,
        path: &StorePath,
    ) -> Result<Paths, ClosureError> {
        let first = self.place(path);
        let mut found = vec![first];
        let mut is_found = HashSet::from([first]);
        let mut next = 0;
        while next < found.len() {
            self.ask(worker, &found[next..]).await?;
            let round = next..found.len();
            next = found.len();
            for at in round {
                let Entry::Known { references, .. } = &self.entries[found[at]] else { continue };
                found.extend(references.iter().filter(|it| is_found.insert(**it)));
            }
            if found.len() > MOST_PATHS {
                return Err(ClosureError::TooLarge);
            }
        }
        Ok(Paths(found))
    }

    /// What is known of the paths of a closure.
    #[must_use]
    pub fn paths(&self, of: &Paths) -> Vec<&ClosurePath> {
        of.0.iter().filter_map(|at| self.known(*at)).map(|(path, _)| path).collect()
    }

    /// What a path refers to, itself perhaps included.
    #[must_use]
    pub fn references(&self, of: &StorePath) -> Vec<&ClosurePath> {
        let known = self.places.get(of).and_then(|at| self.known(*at));
        let references = known.map_or(&[][..], |(_, references)| references);
        references.iter().filter_map(|at| self.known(*at)).map(|(path, _)| path).collect()
    }

    fn known(&self, at: usize) -> Option<(&ClosurePath, &[usize])> {
        match self.entries.get(at)? {
            Entry::Named(_) => None,
            Entry::Known { path, references } => Some((path, references)),
        }
    }

    /// Asks for those of these that are not known.
    async fn ask(&mut self, worker: &mut Worker, places: &[usize]) -> Result<(), ClosureError> {
        let wanted = places.iter().filter_map(|at| match &self.entries[*at] {
            Entry::Named(path) => Some((*at, path.clone())),
            Entry::Known { .. } => None,
        });
        let wanted: Vec<(usize, StorePath)> = wanted.collect();
        for some in wanted.chunks(AT_ONCE) {
            let paths: Vec<&StorePath> = some.iter().map(|(_, path)| path).collect();
            let infos = worker.path_infos(&paths).await?;
            for ((at, path), info) in some.iter().zip(infos) {
                let info = info.ok_or_else(|| ClosureError::Invalid(path.clone()))?;
                let PathInfo { references, nar_size, nar_hash } = info;
                let references = references.iter().map(|it| self.place(it)).collect();
                let path = ClosurePath {
                    path: path.clone(),
                    package: Package::parse(path.name()),
                    size: nar_size,
                    content: nar_hash,
                };
                self.entries[*at] = Entry::Known { path, references };
            }
        }
        Ok(())
    }

    fn place(&mut self, path: &StorePath) -> usize {
        if let Some(at) = self.places.get(path) {
            return *at;
        }
        let at = self.entries.len();
        self.places.insert(path.clone(), at);
        self.entries.push(Entry::Named(path.clone()));
        at
    }
}
