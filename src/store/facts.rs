//! What is known before a run's flake is looked at.
use std::collections::HashMap;

use crate::domain::base::Against;
use crate::domain::evaluation::Known;
use crate::domain::id::AttrPath;
use crate::domain::incoming::Repository;
use crate::domain::run::Run;
use crate::store::error::Result;
use crate::store::moves::run_by_id;
use crate::store::rows::{self, repository_columns};
use crate::store::trials::TrialFacts;
use crate::store::{RunClaim, Store, base, memory, trials};

/// What a plan is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunFacts {
    pub run: Run,
    pub repository: Repository,
    /// What earlier evaluations took.
    pub known: HashMap<AttrPath, Known>,
    /// What the run is judged against: what its base commit listed, and what became of it.
    pub against: Against,
    /// What is tested, of a run that is an update's.
    pub trial: Option<TrialFacts>,
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
            against: base::against(&mut tx, &run).await?,
            trial: trials::of_run(&mut tx, &run.id).await?,
            run,
        })
    }
}
