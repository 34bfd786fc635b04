//! What is known before a run's flake is looked at.
use std::collections::HashMap;

use sqlx::AnyConnection;
use sqlx::Row;

use crate::domain::build::Required;
use crate::domain::id::{AttrPath, CommitSha};
use crate::domain::incoming::Repository;
use crate::domain::plan::Known;
use crate::domain::run::Run;
use crate::store::error::Result;
use crate::store::moves::run_by_id;
use crate::store::rows::{self, repository_columns};
use crate::store::{RunClaim, Store, memory};

/// What a plan is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunFacts {
    pub run: Run,
    pub repository: Repository,
    /// What earlier evaluations took.
    pub known: HashMap<AttrPath, Known>,
    /// What the newest run on the run's base commit listed; `None` when none did.
    pub base_builds: Option<Vec<BaseBuild>>,
}

/// A host that the base commit had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseBuild {
    pub attr: AttrPath,
    pub label: Option<String>,
    pub required: Required,
}

impl Store {
    /// What is known before the run's flake is looked at.
    pub async fn run_facts(&self, claim: &RunClaim) -> Result<RunFacts> {
        let mut tx = self.read().await?;
        let run = run_by_id(&mut tx, &claim.run).await?;
        let row = sqlx::query(concat!(
            "SELECT ",
            repository_columns!(),
            " FROM repository p WHERE p.id = $1"
        ))
        .bind(run.repository.0)
        .fetch_one(&mut *tx)
        .await?;
        Ok(RunFacts {
            repository: rows::repository(&row)?,
            known: memory::known(&mut tx, run.repository).await?,
            base_builds: base_builds(&mut tx, &run, run.base.as_ref()).await?,
            run,
        })
    }

    /// What the newest run on this commit listed, for a run that is compared with it instead of
    /// with its own base.
    pub async fn base_builds(&self, run: &Run, base: &CommitSha) -> Result<Option<Vec<BaseBuild>>> {
        base_builds(&mut *self.read().await?, run, Some(base)).await
    }
}

async fn base_builds(
    tx: &mut AnyConnection,
    run: &Run,
    base: Option<&CommitSha>,
) -> Result<Option<Vec<BaseBuild>>> {
    let Some(base) = base else { return Ok(None) };
    let found = sqlx::query(
        "SELECT attr, label, required FROM build WHERE run_id = (SELECT r.id FROM run r \
         WHERE r.repository_id = $1 AND r.sha = $2 AND r.id <> $3 \
         AND EXISTS (SELECT 1 FROM build b WHERE b.run_id = r.id) \
         ORDER BY r.created_at DESC, r.id DESC LIMIT 1) ORDER BY rank",
    )
    .bind(run.repository.0)
    .bind(base.as_str())
    .bind(run.id.as_str())
    .fetch_all(tx)
    .await?;
    if found.is_empty() {
        return Ok(None);
    }
    let builds = found.iter().map(|row| {
        Ok(BaseBuild {
            attr: rows::json(row, "attr")?,
            label: row.try_get("label")?,
            required: rows::required(row, "required")?,
        })
    });
    builds.collect::<Result<_>>().map(Some)
}
