//! What is known of a host from earlier commits: how heavy it is, and where it was last good.
use std::collections::HashMap;

use sqlx::AnyConnection;
use sqlx::Row;

use crate::domain::Timestamp;
use crate::domain::build::{Build, Derivation, Warning};
use crate::domain::evaluation::Known;
use crate::domain::id::{AttemptId, AttrPath, RepositoryId, StorePath};
use crate::domain::run::{Reason, Run, Trust};
use crate::store::error::Result;
use crate::store::rows;
use crate::store::{RunClaim, Store};

/// Of every host of a repository that was evaluated before.
pub(super) async fn known(
    tx: &mut AnyConnection,
    repository: RepositoryId,
) -> Result<HashMap<AttrPath, Known>> {
    let found = sqlx::query(
        "SELECT attr, evaluation_ms, evaluation_peak FROM memory \
         WHERE repository_id = $1 AND evaluation_ms IS NOT NULL AND evaluation_peak IS NOT NULL",
    )
    .bind(repository.0)
    .fetch_all(tx)
    .await?;
    let mut known = HashMap::with_capacity(found.len());
    for row in &found {
        let took = Known {
            evaluation_ms: row.try_get("evaluation_ms")?,
            peak_memory: row.try_get("evaluation_peak")?,
        };
        known.insert(rows::json(row, "attr")?, took);
    }
    Ok(known)
}

impl Store {
    /// What other runs of the repository gave that had the same evaluation as a run: of each host its
    /// derivation, and what Nix warned of. Those of strangers' commits are not among them.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn evaluated_before(
        &self,
        claim: &RunClaim,
    ) -> Result<HashMap<AttrPath, (Derivation, Vec<Warning>)>> {
        let found = sqlx::query(
            "SELECT b.attr AS attr, b.derivation AS derivation, b.warnings AS warnings FROM run r \
             JOIN run o ON o.repository_id = r.repository_id AND o.evaluation = r.evaluation \
             JOIN build b ON b.run_id = o.id \
             WHERE r.id = $1 AND o.id <> r.id AND b.derivation IS NOT NULL \
             AND r.trust = 'trusted' AND o.trust = 'trusted' \
             ORDER BY o.created_at, o.id",
        )
        .bind(claim.run.as_str())
        .fetch_all(&self.reader)
        .await?;
        let mut before = HashMap::with_capacity(found.len());
        for row in &found {
            let warnings = rows::maybe_json(row, "warnings")?.unwrap_or_default();
            before.insert(rows::json(row, "attr")?, (rows::json(row, "derivation")?, warnings));
        }
        Ok(before)
    }
}

/// What the last build of each host of a repository took, in milliseconds, where there was one.
pub(super) async fn build_times(
    tx: &mut AnyConnection,
    repository: RepositoryId,
) -> Result<HashMap<AttrPath, i64>> {
    let found = sqlx::query(
        "SELECT attr, build_ms FROM memory WHERE repository_id = $1 AND build_ms IS NOT NULL",
    )
    .bind(repository.0)
    .fetch_all(tx)
    .await?;
    found.iter().map(|row| Ok((rows::json(row, "attr")?, row.try_get("build_ms")?))).collect()
}

/// A host was evaluated; without `took`, what was known of it stays, and so it does whatever a
/// stranger's commit makes of a host: nobody is to be misled about how heavy it is. That it needs
/// more memory is believed at once, that it needs less by a quarter each time.
pub(super) async fn evaluated(
    tx: &mut AnyConnection,
    run: &Run,
    attr: &AttrPath,
    took: Option<Known>,
    now: Timestamp,
) -> Result<()> {
    if run.trust == Trust::Untrusted {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO memory (repository_id, attr_key, attr, evaluation_ms, evaluation_peak, \
         last_good_at, seen_at) VALUES ($1, $2, $3, $4, $5, 0, $6) \
         ON CONFLICT (repository_id, attr_key) DO UPDATE SET \
         evaluation_ms = COALESCE(excluded.evaluation_ms, memory.evaluation_ms), \
         evaluation_peak = CASE WHEN excluded.evaluation_peak < memory.evaluation_peak \
         THEN memory.evaluation_peak - (memory.evaluation_peak - excluded.evaluation_peak) / 4 \
         ELSE COALESCE(excluded.evaluation_peak, memory.evaluation_peak) END, \
         seen_at = excluded.seen_at",
    )
    .bind(run.repository.0)
    .bind(rows::attr_key(attr)?)
    .bind(rows::to_json(attr)?)
    .bind(took.map(|it| it.evaluation_ms))
    .bind(took.map(|it| it.peak_memory))
    .bind(now.0)
    .execute(tx)
    .await?;
    Ok(())
}

/// A host's derivation was realised in so long, by the builder of this attempt.
pub(super) async fn built(
    tx: &mut AnyConnection,
    run: &Run,
    attr: &AttrPath,
    (attempt, build_ms): (&AttemptId, i64),
) -> Result<()> {
    if run.trust == Trust::Untrusted {
        return Ok(());
    }
    sqlx::query(
        "UPDATE memory SET build_ms = $3, \
         built_on = (SELECT a.builder FROM attempt a WHERE a.id = $4) \
         WHERE repository_id = $1 AND attr_key = $2",
    )
    .bind(run.repository.0)
    .bind(rows::attr_key(attr)?)
    .bind(build_ms)
    .bind(attempt.as_str())
    .execute(tx)
    .await?;
    Ok(())
}

/// A host is good at a run's commit: on the default branch, it is the one that is kept.
pub(super) async fn good(
    tx: &mut AnyConnection,
    run: &Run,
    build: &Build,
    derivation: &Derivation,
) -> Result<()> {
    let (Reason::Push(branch), Trust::Trusted) = (&run.reason, run.trust) else { return Ok(()) };
    let out = derivation.outputs.get("out").or_else(|| derivation.outputs.values().next());
    sqlx::query(
        "UPDATE memory SET last_good_drv = $3, last_good_out = $4, last_good_at = $5 \
         WHERE repository_id = $1 AND attr_key = $2 AND last_good_at <= $5 \
         AND EXISTS (SELECT 1 FROM repository p WHERE p.id = $1 AND p.default_branch = $6)",
    )
    .bind(run.repository.0)
    .bind(rows::attr_key(&build.attr)?)
    .bind(derivation.path.as_str())
    .bind(out.map(StorePath::as_str))
    .bind(run.occurred_at.0)
    .bind(branch.as_str())
    .execute(tx)
    .await?;
    Ok(())
}

/// Hosts that the default branch no longer has are not kept.
pub(super) async fn release_vanished(tx: &mut AnyConnection, run: &Run) -> Result<()> {
    let Reason::Push(branch) = &run.reason else { return Ok(()) };
    sqlx::query(
        "UPDATE memory SET last_good_drv = NULL, last_good_out = NULL \
         WHERE repository_id = $1 AND last_good_out IS NOT NULL \
         AND attr_key NOT IN (SELECT attr_key FROM build WHERE run_id = $2) \
         AND EXISTS (SELECT 1 FROM repository p WHERE p.id = $1 AND p.default_branch = $3)",
    )
    .bind(run.repository.0)
    .bind(run.id.as_str())
    .bind(branch.as_str())
    .execute(tx)
    .await?;
    Ok(())
}
