//! Repositories that get another name or owner, go out of reach, and come back. Everything is
//! keyed by GitHub's numbers; what is not known here stays unknown. And which commits of them are
//! kept.
use std::collections::HashSet;

use sqlx::AnyConnection;
use sqlx::Row;

use crate::domain::Timestamp;
use crate::domain::build::Ending;
use crate::domain::id::{Branch, CommitSha, InstallationId, RepositoryId, RunId};
use crate::domain::incoming::{
    RepositoryChange, RepositoryFacts, RepositoryNow, RepositoryStanding,
};
use crate::domain::run::Merge;
use crate::domain::verdict::Verdict;
use crate::store::Store;
use crate::store::error::Result;
use crate::store::moves::{Event, Ledger, RunStep, builds_of, run_by_id};
use crate::store::people;
use crate::store::rows;

impl Store {
    /// The commits of a repository that runs are about: what they test, what they were merged
    /// into, and what they are compared with. None of a repository without a run.
    pub async fn commits_of_runs(&self, repository: RepositoryId) -> Result<HashSet<CommitSha>> {
        let found = sqlx::query(
            "SELECT DISTINCT sha, base, merged, compared, compared_with FROM run \
             WHERE repository_id = $1",
        )
        .bind(repository.0)
        .fetch_all(&self.reader)
        .await?;
        let mut commits = HashSet::with_capacity(found.len());
        for row in &found {
            commits.insert(rows::parsed(row, "sha")?);
            for column in ["base", "compared", "compared_with"] {
                commits.extend(rows::maybe_parsed::<CommitSha>(row, column)?);
            }
            if let Some(Merge { commit, branch: _, base }) = rows::maybe_json(row, "merged")? {
                commits.extend([commit, base]);
            }
        }
        Ok(commits)
    }
}

/// Where the repository stands and since when, where it is known.
pub(super) async fn standing(
    tx: &mut AnyConnection,
    repository: RepositoryId,
) -> Result<Option<(RepositoryStanding, Timestamp)>> {
    Ok(known(tx, repository).await?.map(|it| (it.standing, it.updated_at)))
}

/// A repository as it is known.
struct Known {
    installation: InstallationId,
    standing: RepositoryStanding,
    updated_at: Timestamp,
}

async fn known(tx: &mut AnyConnection, id: RepositoryId) -> Result<Option<Known>> {
    let row =
        sqlx::query("SELECT installation_id, standing, updated_at FROM repository WHERE id = $1")
            .bind(id.0)
            .fetch_optional(tx)
            .await?;
    row.map(|row| {
        Ok(Known {
            installation: InstallationId(row.try_get("installation_id")?),
            standing: rows::repository_standing(row.try_get("standing")?)?,
            updated_at: rows::time(&row, "updated_at")?,
        })
    })
    .transpose()
}

/// Carries out what became of a repository, unless something newer is known.
pub(super) async fn changed(
    tx: &mut AnyConnection,
    ledger: &mut Ledger,
    change: &RepositoryChange,
    now: Timestamp,
) -> Result<()> {
    let RepositoryChange { id, installation, occurred_at, now: state } = change;
    let Some(known) = known(tx, *id).await? else { return Ok(()) };
    // What is not dated happens when we hear of it.
    let at = occurred_at.unwrap_or_else(|| now.max(known.updated_at));
    if at < known.updated_at {
        return Ok(());
    }
    let (facts, standing) = match state {
        RepositoryNow::Here(facts) => (Some(facts), RepositoryStanding::Active),
        RepositoryNow::Archived(facts) => (Some(facts), RepositoryStanding::Archived),
        // It went to another installation of ours, which told us already.
        RepositoryNow::Removed if known.installation != *installation => return Ok(()),
        RepositoryNow::Removed | RepositoryNow::Lost => (None, RepositoryStanding::Gone),
    };
    if let Some(facts) = facts {
        describe(tx, *id, facts, *installation).await?;
    }
    stand(tx, *id, standing, at).await?;
    match (known.standing, standing) {
        (RepositoryStanding::Active, RepositoryStanding::Archived | RepositoryStanding::Gone) => {
            interrupt(tx, ledger, *id).await
        }
        (RepositoryStanding::Archived | RepositoryStanding::Gone, RepositoryStanding::Active) => {
            resume(tx, ledger, *id).await
        }
        (RepositoryStanding::Active, RepositoryStanding::Active)
        | (
            RepositoryStanding::Archived | RepositoryStanding::Gone,
            RepositoryStanding::Archived | RepositoryStanding::Gone,
        ) => Ok(()),
    }
}

/// Something happened in a repository: by then it is in reach.
pub(super) async fn is_back(
    tx: &mut AnyConnection,
    ledger: &mut Ledger,
    id: RepositoryId,
    at: Timestamp,
) -> Result<()> {
    let Some(known) = known(tx, id).await? else { return Ok(()) };
    if known.standing == RepositoryStanding::Active || at < known.updated_at {
        return Ok(());
    }
    stand(tx, id, RepositoryStanding::Active, at).await?;
    resume(tx, ledger, id).await
}

async fn describe(
    tx: &mut AnyConnection,
    id: RepositoryId,
    facts: &RepositoryFacts,
    installation: InstallationId,
) -> Result<()> {
    let RepositoryFacts { owner, name, visibility, default_branch } = facts;
    sqlx::query(
        "UPDATE repository SET owner = $2, name = $3, visibility = $4, \
         default_branch = COALESCE($5, default_branch), installation_id = $6 WHERE id = $1",
    )
    .bind(id.0)
    .bind(owner.as_str())
    .bind(name.as_str())
    .bind(rows::visibility_name(*visibility))
    .bind(default_branch.as_ref().map(Branch::as_str))
    .bind(installation.0)
    .execute(tx)
    .await?;
    Ok(())
}

async fn stand(
    tx: &mut AnyConnection,
    id: RepositoryId,
    standing: RepositoryStanding,
    at: Timestamp,
) -> Result<()> {
    sqlx::query(
        "UPDATE repository SET updated_at = $3, \
         heads_at = CASE WHEN standing <> $2 THEN 0 ELSE heads_at END, standing = $2 \
         WHERE id = $1",
    )
    .bind(id.0)
    .bind(rows::repository_standing_name(standing))
    .bind(at.0)
    .execute(tx)
    .await?;
    Ok(())
}

/// Everything that was done through an installation ends.
pub(super) async fn installation_gone(
    tx: &mut AnyConnection,
    ledger: &mut Ledger,
    installation: InstallationId,
    now: Timestamp,
) -> Result<()> {
    let found = sqlx::query("SELECT id FROM repository WHERE installation_id = $1")
        .bind(installation.0)
        .fetch_all(&mut *tx)
        .await?;
    for row in &found {
        let id = RepositoryId(row.try_get("id")?);
        let removed = RepositoryNow::Removed;
        let change = RepositoryChange { id, installation, occurred_at: None, now: removed };
        changed(tx, ledger, &change, now).await?;
    }
    Ok(())
}

/// Nothing more can be fetched or shown: what is open ends, and is tested anew when the repository
/// is back. A fork's commit that waits for approval goes on waiting, since nothing of it runs.
async fn interrupt(
    tx: &mut AnyConnection,
    ledger: &mut Ledger,
    repository: RepositoryId,
) -> Result<()> {
    let found = sqlx::query(
        "SELECT r.id AS id FROM run r WHERE r.repository_id = $1 \
         AND r.state <> 'awaiting_approval' AND (r.state <> 'ended' \
         OR EXISTS (SELECT 1 FROM build b WHERE b.run_id = r.id AND b.state <> 'ended'))",
    )
    .bind(repository.0)
    .fetch_all(&mut *tx)
    .await?;
    for row in &found {
        interrupt_run(tx, ledger, &rows::parsed(row, "id")?).await?;
    }
    Ok(())
}

async fn interrupt_run(tx: &mut AnyConnection, ledger: &mut Ledger, id: &RunId) -> Result<()> {
    people::stop(tx, ledger, id, (Ending::interrupted(), Verdict::interrupted())).await?;
    sqlx::query("UPDATE run SET interrupted = 1, claimed_until = 0 WHERE id = $1")
        .bind(id.as_str())
        .execute(tx)
        .await?;
    Ok(())
}

/// The repository is back: the newest run of each branch and pull request goes on where it was
/// interrupted. Whether its commit is still the head is looked up next.
async fn resume(
    tx: &mut AnyConnection,
    ledger: &mut Ledger,
    repository: RepositoryId,
) -> Result<()> {
    let found = sqlx::query(
        "SELECT r.id AS id FROM run r WHERE r.repository_id = $1 AND r.interrupted = 1 \
         AND NOT EXISTS (SELECT 1 FROM run n WHERE n.repository_id = r.repository_id \
         AND n.reason = r.reason AND (n.occurred_at > r.occurred_at \
         OR (n.occurred_at = r.occurred_at AND n.created_at > r.created_at)))",
    )
    .bind(repository.0)
    .fetch_all(&mut *tx)
    .await?;
    for row in &found {
        let id: RunId = rows::parsed(row, "id")?;
        let run = run_by_id(tx, &id).await?;
        ledger.run(tx, run, RunStep::Resume).await?;
        for build in builds_of(tx, &id).await? {
            if build.state.ending().is_some_and(Ending::is_interrupted) {
                let rebuild = build.rebuild;
                ledger.again(tx, build, rebuild).await?;
            }
        }
    }
    sqlx::query("UPDATE run SET interrupted = 0 WHERE repository_id = $1 AND interrupted = 1")
        .bind(repository.0)
        .execute(&mut *tx)
        .await?;
    // What ended before is not yet shown, and can be now.
    ledger.note(Event::ReportBehind);
    Ok(())
}
