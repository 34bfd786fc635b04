//! The runs by which an update tries lock files.
use std::collections::BTreeSet;

use sqlx::AnyConnection;
use sqlx::Row;

use crate::domain::Timestamp;
use crate::domain::build::Build;
use crate::domain::id::{AttrPath, CommitSha, RunId, UpdateId};
use crate::domain::lock::moved::InputPath;
use crate::domain::run::Run;
use crate::domain::update::bisect::Probe;
use crate::store::Store;
use crate::store::decide::insert_run;
use crate::store::error::{Result, StoreError};
use crate::store::moves::builds_of;
use crate::store::rows::{self, run_columns};

/// A lock file to be tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTrial {
    /// Counted over all of the update's, from 1.
    pub nth: u32,
    /// That of the update.
    pub round: u32,
    /// The inputs that have their newest revision in it.
    pub moved: BTreeSet<InputPath>,
    /// The input that is at a commit on its way in it.
    pub probe: Option<Probe>,
}

/// A lock file that was tried, or is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    pub trial: NewTrial,
    /// The hosts that it was about; `None` for all of the flake.
    pub hosts: Option<BTreeSet<AttrPath>>,
    pub run: Run,
    pub builds: Vec<Build>,
}

/// What a run of an update tests: a commit with another lock file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrialFacts {
    pub base: CommitSha,
    /// The lock file's, from the repository's root on.
    pub path: String,
    /// Its text.
    pub lock: String,
    /// The hosts that it is about; `None` for all of the flake.
    pub hosts: Option<BTreeSet<AttrPath>>,
}

impl Store {
    /// Every lock file that an update has tried, in order.
    pub async fn trials(&self, update: &UpdateId) -> Result<Vec<Tried>> {
        let mut tx = self.read().await?;
        let found = sqlx::query(concat!(
            "SELECT t.nth AS nth, t.round AS round, t.moved AS moved, t.hosts AS hosts, \
             t.probe AS probe, ",
            run_columns!(),
            " FROM lock_trial t JOIN run r ON r.id = t.run_id WHERE t.update_id = $1 ORDER BY t.nth"
        ))
        .bind(update.as_str())
        .fetch_all(&mut *tx)
        .await?;
        let mut all = Vec::with_capacity(found.len());
        for row in &found {
            let run = rows::run(row)?;
            let trial = NewTrial {
                nth: rows::count(row, "nth")?,
                round: rows::count(row, "round")?,
                moved: rows::json(row, "moved")?,
                probe: rows::maybe_json(row, "probe")?,
            };
            let hosts = rows::maybe_json(row, "hosts")?;
            let builds = builds_of(&mut tx, &run.id).await?;
            all.push(Tried { trial, hosts, run, builds });
        }
        Ok(all)
    }
}

/// The run begins, and is shown nowhere: GitHub does not know its commit.
pub(super) async fn begin(
    tx: &mut AnyConnection,
    update: &UpdateId,
    (run, trial, tests): (&Run, &NewTrial, &TrialFacts),
    now: Timestamp,
) -> Result<()> {
    if !insert_run(tx, run, now).await? {
        return Err(StoreError::Missing(format!("place for run {} of update {update}", run.id)));
    }
    sqlx::query(
        "INSERT INTO lock_trial (run_id, update_id, nth, round, moved, hosts, base, path, lock, \
         probe) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(run.id.as_str())
    .bind(update.as_str())
    .bind(i64::from(trial.nth))
    .bind(i64::from(trial.round))
    .bind(rows::to_json(&trial.moved)?)
    .bind(tests.hosts.as_ref().map(rows::to_json).transpose()?)
    .bind(tests.base.as_str())
    .bind(&tests.path)
    .bind(rows::text(tests.lock.clone()))
    .bind(trial.probe.as_ref().map(rows::to_json).transpose()?)
    .execute(tx)
    .await?;
    Ok(())
}

/// What a run of an update tests; `None` of any other run.
pub(super) async fn of_run(tx: &mut AnyConnection, run: &RunId) -> Result<Option<TrialFacts>> {
    let found = sqlx::query("SELECT base, path, lock, hosts FROM lock_trial WHERE run_id = $1")
        .bind(run.as_str())
        .fetch_optional(tx)
        .await?;
    found
        .map(|row| {
            Ok(TrialFacts {
                base: rows::parsed(&row, "base")?,
                path: row.try_get("path")?,
                lock: row.try_get("lock")?,
                hosts: rows::maybe_json(&row, "hosts")?,
            })
        })
        .transpose()
}
