//! What the store knows of its paths.
use std::collections::HashSet;
use std::time::Duration;

use tokio::time::timeout;

use crate::domain::id::{DrvPath, StorePath};
use crate::nix::wire::{Cursor, Request, Unreadable};
use crate::nix::worker::{
    BuildLimits, Mode, PATIENCE, Worker, WorkerError, operation, options, texts,
};

/// What the store knows of a valid path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathInfo {
    /// The paths that it needs, itself perhaps included.
    pub references: Vec<StorePath>,
    /// Bytes of its archive.
    pub nar_size: u64,
    /// SHA-256 of its archive, in hex digits.
    pub nar_hash: String,
}

impl Worker {
    /// What a derivation refers to: the derivations that it needs, and plain files.
    ///
    /// # Errors
    /// When the daemon is gone. One that it does not have refers to nothing.
    pub async fn references(&mut self, drv: &DrvPath) -> Result<Vec<String>, WorkerError> {
        let request = Request::default().number(operation::QUERY_PATH_INFO).text(drv.as_str());
        let info = self.ask(&request, info).await?;
        Ok(info.map_or_else(Vec::new, |it| it.references))
    }

    /// The derivations of the store that need this one, directly or through others, itself
    /// included; at most about `most`.
    ///
    /// # Errors
    /// When the daemon is gone or says no.
    pub async fn dependents(
        &mut self,
        drv: &DrvPath,
        most: usize,
    ) -> Result<HashSet<DrvPath>, WorkerError> {
        let mut found = HashSet::from([drv.clone()]);
        let mut left = vec![drv.clone()];
        while let Some(next) = left.pop().filter(|_| found.len() < most) {
            let request = Request::default().number(operation::QUERY_REFERRERS).text(next.as_str());
            for referrer in self.ask(&request, texts).await? {
                // Sources and outputs refer to derivations only by accident.
                if let Ok(drv) = referrer.parse::<DrvPath>()
                    && found.insert(drv.clone())
                {
                    left.push(drv);
                }
            }
        }
        Ok(found)
    }

    /// What is known of each of these, in their order; `None` for one that is not valid. They are
    /// asked for together and answered one after the other: give some dozens at a time.
    ///
    /// # Errors
    /// When the daemon is gone or says no.
    pub async fn path_infos(
        &mut self,
        paths: &[&StorePath],
    ) -> Result<Vec<Option<PathInfo>>, WorkerError> {
        let requests = paths.iter().fold(Request::default(), |all, path| {
            all.number(operation::QUERY_PATH_INFO).text(path.as_str())
        });
        self.begin()?;
        let answers = timeout(PATIENCE, async {
            self.connection.send(&requests).await?;
            let mut infos = Vec::with_capacity(paths.len());
            for _ in paths {
                // After a "no" the answers to the others would still come.
                self.connection.work(&mut |_| ()).await?;
                infos.push(self.connection.receive(info).await?);
            }
            Ok::<_, WorkerError>(infos)
        });
        let infos = answers.await.map_err(|_| WorkerError::Silent(PATIENCE))??;
        self.usable = true;
        Ok(infos.into_iter().map(|it| it.map(known)).collect())
    }

    /// Deletes what nobody holds until so many bytes are freed. Gives how many were.
    ///
    /// # Errors
    /// When the daemon is gone or says no.
    pub async fn collect_garbage(&mut self, bytes: u64) -> Result<u64, WorkerError> {
        let (delete_dead, no_paths, ignore_liveness) = (2, 0, 0);
        let request = Request::default()
            .number(operation::COLLECT_GARBAGE)
            .number(delete_dead)
            .number(no_paths)
            .number(ignore_liveness)
            .number(bytes)
            // Of no meaning any more.
            .number(0)
            .number(0)
            .number(0);
        self.begin()?;
        self.connection.send(&request).await?;
        let worked = self.connection.work(&mut |_| ()).await;
        self.went_on(worked)?;
        let freed = self.connection.receive(freed).await?;
        self.usable = true;
        Ok(freed)
    }

    /// Fetches a path with all that it needs from a cache, if it is not valid; nothing is built.
    /// Gives whether it is valid now.
    ///
    /// # Errors
    /// When the daemon is gone, or when it takes longer than `patience`: the worker is of no more
    /// use then.
    pub async fn ensure(
        &mut self,
        path: &StorePath,
        patience: Duration,
    ) -> Result<Fetched, WorkerError> {
        let limits =
            BuildLimits { timeout: patience, silence: patience, jobs: 1, mode: Mode::Normal };
        self.ask(&options(&limits, &self.version), |_| Ok(())).await?;
        let request = Request::default().number(operation::ENSURE_PATH).text(path.as_str());
        self.begin()?;
        let fetching = timeout(patience, async {
            self.connection.send(&request).await?;
            let worked = self.connection.work(&mut |_| ()).await;
            self.went_on(worked)?;
            self.connection.receive(|it| it.number().map(drop)).await
        });
        match fetching.await {
            Err(_) => {
                self.end().await;
                Ok(Fetched::Late)
            }
            Ok(Ok(())) => {
                self.usable = true;
                Ok(Fetched::Valid)
            }
            // In words that are others in every version: no substituter has it, or none gave it.
            Ok(Err(WorkerError::Daemon(_))) => Ok(Fetched::NotFound),
            Ok(Err(error)) => Err(error),
        }
    }
}

/// What came of fetching a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fetched {
    Valid,
    NotFound,
    /// Not within the given time.
    Late,
}

/// An answer as it comes.
struct Info {
    hash: String,
    references: Vec<String>,
    size: u64,
}

fn known(info: Info) -> PathInfo {
    let Info { hash, references, size } = info;
    let references = references.into_iter().filter_map(|it| it.parse().ok()).collect();
    PathInfo { references, nar_size: size, nar_hash: hash }
}

fn info(cursor: &mut Cursor<'_>) -> Result<Option<Info>, Unreadable> {
    if cursor.number()? == 0 {
        return Ok(None);
    }
    let (_deriver, hash) = (cursor.bytes()?, cursor.text()?);
    let references = texts(cursor)?;
    let (_registered, size, _ultimate) = (cursor.number()?, cursor.number()?, cursor.number()?);
    let (_signatures, _content_address) = (texts(cursor)?, cursor.bytes()?);
    Ok(Some(Info { hash, references, size }))
}

fn freed(cursor: &mut Cursor<'_>) -> Result<u64, Unreadable> {
    for _ in 0..cursor.number()? {
        let _deleted = cursor.bytes()?;
    }
    let (bytes, _obsolete) = (cursor.number()?, cursor.number()?);
    Ok(bytes)
}
