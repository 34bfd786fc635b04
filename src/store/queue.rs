//! Which builds wait, and for what.
use sqlx::Row;
use sqlx::any::AnyRow;

use crate::domain::Timestamp;
use crate::domain::build::{Build, BuildState, Derivation, Rebuild, Required, Waiting};
use crate::domain::id::{BuildId, DrvPath, RunId};
use crate::store::Store;
use crate::store::error::{Result, StoreError};
use crate::store::moves::{Ledger, Moved};
use crate::store::rows::{self, active, build_columns};

/// A build that a free slot may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub build: BuildId,
    pub run: RunId,
    pub drv: DrvPath,
    pub system: String,
    /// `requiredSystemFeatures`.
    pub features: Vec<String>,
    pub required: Required,
    /// When its run was made.
    pub created_at: Timestamp,
    /// Its place among its run's builds: the n-th builds of all runs are peers.
    pub rank: i64,
    pub rebuild: Rebuild,
    /// How long its last build took.
    pub expected_ms: Option<i64>,
}

/// A build that no builder of the settings could take when it was looked at last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    pub build: BuildId,
    pub derivation: Derivation,
    pub for_what: Waiting,
}

impl Store {
    /// Builds of these systems that wait, whose derivation nobody realises, the first of each run
    /// before the second of any; at most `limit` of each system.
    pub async fn candidates(
        &self,
        systems: &[String],
        now: Timestamp,
        limit: i64,
    ) -> Result<Vec<Candidate>> {
        let mut tx = self.read().await?;
        let mut candidates = Vec::new();
        for system in systems {
            let found = sqlx::query(CANDIDATES)
                .bind(system.as_str())
                .bind(now.0)
                .bind(limit)
                .fetch_all(&mut *tx)
                .await?;
            for row in &found {
                candidates.push(candidate(row)?);
            }
        }
        candidates.sort_by_key(|it| (it.rank, it.created_at));
        Ok(candidates)
    }

    /// Builds that no builder could take: to be looked at again when the settings have changed.
    pub async fn held(&self) -> Result<Vec<Held>> {
        let found = sqlx::query(concat!(
            "SELECT ",
            build_columns!(),
            " FROM build b WHERE b.state = 'waiting' AND b.held = 1"
        ))
        .fetch_all(&self.reader)
        .await?;
        let mut all = Vec::with_capacity(found.len());
        for row in &found {
            let Build { id, state, .. } = rows::build(row)?;
            if let BuildState::Waiting { derivation, for_what, .. } = state {
                all.push(Held { build: id, derivation, for_what });
            }
        }
        Ok(all)
    }

    /// These builds wait for something else now.
    pub async fn rewait(&self, builds: Vec<(BuildId, Waiting)>, now: Timestamp) -> Result<Moved> {
        let mut tx = self.write().await?;
        let mut ledger = Ledger::new(now);
        for (id, for_what) in builds {
            let build = crate::store::runs::build_by_id(&mut tx, &id).await?;
            match build.state {
                BuildState::Waiting { .. } => ledger.rewait(&mut tx, build, for_what).await?,
                BuildState::Listed { .. }
                | BuildState::Building { .. }
                | BuildState::Ended { .. } => {
                    return Err(StoreError::ClaimLost(format!("build {id}, which waited")));
                }
            }
        }
        let moved = ledger.close(&mut tx).await?;
        tx.commit().await?;
        Ok(moved)
    }
}

/// Along the index `build_queue`, so that the ten thousandth waiting build costs nothing.
pub(super) const CANDIDATES: &str = concat!(
    "SELECT b.id AS id, b.run_id AS run_id, b.drv AS drv, b.derivation AS derivation, \
     b.required AS required, b.rank AS rank, b.rebuild AS rebuild, r.created_at AS created_at, \
     (SELECT m.build_ms FROM memory m WHERE m.repository_id = r.repository_id \
     AND m.attr_key = b.attr_key) AS expected_ms \
     FROM build b JOIN run r ON r.id = b.run_id JOIN repository p ON p.id = r.repository_id \
     WHERE b.state = 'waiting' AND b.held = 0 AND b.system = $1 AND b.not_before <= $2 \
     AND NOT EXISTS (SELECT 1 FROM attempt a WHERE a.drv = b.drv AND a.state = 'running') AND ",
    active!(),
    " ORDER BY b.rank, b.since, b.id LIMIT $3"
);

fn candidate(row: &AnyRow) -> Result<Candidate> {
    let derivation: Derivation = rows::json(row, "derivation")?;
    Ok(Candidate {
        build: rows::parsed(row, "id")?,
        run: rows::parsed(row, "run_id")?,
        drv: derivation.path,
        system: derivation.system,
        features: derivation.features,
        required: rows::required(row, "required")?,
        created_at: rows::time(row, "created_at")?,
        rank: row.try_get("rank")?,
        rebuild: rows::rebuild(row, "rebuild")?,
        expected_ms: row.try_get("expected_ms")?,
    })
}
