//! What people ask about, and what comes of it.
use sqlx::AnyConnection;
use sqlx::Row;
use sqlx::any::AnyRow;

use crate::domain::build::{Build, BuildState, Ending, Rebuild};
use crate::domain::decide::{Act, Again, Age, Clicked, Rebase, Seen, Tested};
use crate::domain::id::{Branch, BuildId, CommitSha, Login, RepositoryId, RunId};
use crate::domain::incoming::CheckRef;
use crate::domain::run::{Reason, RunState};
use crate::domain::verdict::{Verdict, judge};
use crate::store::Store;
use crate::store::base;
use crate::store::bump;
use crate::store::error::Result;
use crate::store::moves::{BuildStep, Event, Ledger, RunStep, builds_of, run_by_id};
use crate::store::renew;
use crate::store::rows;

impl Store {
    /// The check that was clicked: by what we called it, or else the one of its name that was
    /// shown last on the commit.
    pub async fn clicked(
        &self,
        repository: RepositoryId,
        sha: &CommitSha,
        check: &CheckRef,
    ) -> Result<Option<Clicked>> {
        let mut tx = self.read().await?;
        let (report, serial) = check.external_id.rsplit_once(':').unwrap_or_default();
        let found = sqlx::query(
            "SELECT o.run_id AS run_id, o.build_id AS build_id, o.serial AS serial \
             FROM report o JOIN run r ON r.id = o.run_id \
             WHERE o.id = $1 AND r.repository_id = $2 AND r.sha = $3 AND o.kind <> 'status'",
        )
        .bind(rows::text(report.to_owned()))
        .bind(repository.0)
        .bind(sha.as_str())
        .fetch_optional(&mut *tx)
        .await?;
        let (row, age) = match found {
            Some(row) => {
                let newest = row.try_get::<i64, _>("serial")?.to_string() == serial;
                (row, if newest { Age::Newest } else { Age::Replaced })
            }
            None => match by_name(&mut tx, repository, sha, &check.name).await? {
                Some(row) => (row, Age::Newest),
                None => return Ok(None),
            },
        };
        let of = tested(&mut tx, &rows::parsed(&row, "run_id")?).await?;
        Ok(Some(Clicked { of, host: rows::maybe_parsed(&row, "build_id")?, age }))
    }

    /// Every run of a commit.
    pub async fn runs_on(&self, repository: RepositoryId, sha: &CommitSha) -> Result<Vec<Tested>> {
        let mut tx = self.read().await?;
        let found = sqlx::query("SELECT id FROM run WHERE repository_id = $1 AND sha = $2")
            .bind(repository.0)
            .bind(sha.as_str())
            .fetch_all(&mut *tx)
            .await?;
        let mut all = Vec::with_capacity(found.len());
        for row in &found {
            all.push(tested(&mut tx, &rows::parsed(row, "id")?).await?);
        }
        Ok(all)
    }

    /// The run of a pull request's newest head.
    pub async fn head_of(&self, repository: RepositoryId, number: i64) -> Result<Option<Tested>> {
        let mut tx = self.read().await?;
        let found = sqlx::query(
            "SELECT id FROM run WHERE repository_id = $1 AND reason = $2 \
             ORDER BY occurred_at DESC, created_at DESC, id DESC LIMIT 1",
        )
        .bind(repository.0)
        .bind(Reason::PullRequest(number).to_string())
        .fetch_optional(&mut *tx)
        .await?;
        match found {
            Some(row) => Ok(Some(tested(&mut tx, &rows::parsed(&row, "id")?).await?)),
            None => Ok(None),
        }
    }

    /// Whether a comment was acted on before.
    pub async fn seen_comment(&self, comment: i64) -> Result<Seen> {
        let found = sqlx::query("SELECT 1 AS one FROM reaction WHERE comment_id = $1")
            .bind(comment)
            .fetch_optional(&self.reader)
            .await?;
        Ok(if found.is_some() { Seen::Before } else { Seen::Never })
    }
}

async fn by_name(
    tx: &mut AnyConnection,
    repository: RepositoryId,
    sha: &CommitSha,
    name: &str,
) -> Result<Option<AnyRow>> {
    let label = name.rsplit_once(" / ").map_or("", |(_, label)| label);
    Ok(sqlx::query(
        "SELECT o.run_id AS run_id, o.build_id AS build_id FROM report o \
         JOIN run r ON r.id = o.run_id LEFT JOIN build b ON b.id = o.build_id \
         WHERE r.repository_id = $1 AND r.sha = $2 \
         AND (($3 = '' AND o.kind = 'gate') OR ($3 <> '' AND o.kind = 'host' AND b.label = $3)) \
         ORDER BY o.shown_at DESC, o.id DESC LIMIT 1",
    )
    .bind(repository.0)
    .bind(sha.as_str())
    .bind(rows::text(label.to_owned()))
    .fetch_optional(tx)
    .await?)
}

async fn tested(tx: &mut AnyConnection, id: &RunId) -> Result<Tested> {
    let row = sqlx::query("SELECT suite_at FROM run WHERE id = $1")
        .bind(id.as_str())
        .fetch_one(&mut *tx)
        .await?;
    Ok(Tested {
        run: run_by_id(tx, id).await?,
        builds: builds_of(tx, id).await?,
        suite_at: rows::time(&row, "suite_at")?,
    })
}

/// Carries out what somebody asked for.
pub(super) async fn carry_out(tx: &mut AnyConnection, ledger: &mut Ledger, act: Act) -> Result<()> {
    match act {
        Act::Again(it) => again(tx, ledger, it).await,
        Act::Approve { run, by } => approve(tx, ledger, &run, &by).await,
        Act::Cancel { run, by } => {
            let by = by.to_string();
            stop(
                tx,
                ledger,
                &run,
                (Ending::Cancelled { by: by.clone() }, Verdict::Cancelled { by }),
            )
            .await
        }
        Act::Note { run, host, text } => note(tx, ledger, &run, host.as_ref(), text).await,
    }
}

async fn again(tx: &mut AnyConnection, ledger: &mut Ledger, again: Again) -> Result<()> {
    let Again { run: id, builds: wanted, rebuild, suite_at } = again;
    let run = run_by_id(tx, &id).await?;
    let builds = builds_of(tx, &id).await?;
    let is_whole = builds.iter().all(|it| wanted.contains(&it.id));
    for build in builds.into_iter().filter(|it| wanted.contains(&it.id)) {
        renew::host(tx, &build.id).await?;
        ledger.again(tx, build, rebuild).await?;
    }
    if is_whole && run.merge.is_some() {
        forget_merge(tx, &id).await?;
    }
    // An evaluation under way ends: it does not know of the builds that were listed anew.
    ledger.note(Event::RunEnded);
    ledger.run(tx, run, RunStep::Again).await?;
    renew::gate(tx, &id).await?;
    sqlx::query(
        "UPDATE run SET claimed_until = 0, problem = NULL, note = NULL, \
         suite_at = CASE WHEN suite_at < $2 THEN $2 ELSE suite_at END WHERE id = $1",
    )
    .bind(id.as_str())
    .bind(suite_at.map_or(0, |it| it.0))
    .execute(tx)
    .await?;
    Ok(())
}

/// The run is merged anew, into the base branch as it is then: what is known of its hosts is of
/// another commit.
async fn forget_merge(tx: &mut AnyConnection, id: &RunId) -> Result<()> {
    for text in [
        "UPDATE run SET merged = NULL WHERE id = $1",
        "UPDATE build SET system = NULL, drv = NULL, derivation = NULL \
         WHERE run_id = $1 AND state = 'listed'",
    ] {
        sqlx::query(text).bind(id.as_str()).execute(&mut *tx).await?;
    }
    Ok(())
}

/// The run has another base: it is planned and judged anew, with the builds that it has. One that
/// is tested as merged is another commit with another base, and is built again.
pub(super) async fn rejudge(
    tx: &mut AnyConnection,
    ledger: &mut Ledger,
    id: &RunId,
    rebase: &Rebase,
) -> Result<()> {
    let run = run_by_id(tx, id).await?;
    if run.merge.is_some() {
        for build in builds_of(tx, id).await?.into_iter().filter(|it| !is_open(it)) {
            renew::host(tx, &build.id).await?;
            ledger.again(tx, build, Rebuild::IfMissing).await?;
        }
        forget_merge(tx, id).await?;
    }
    sqlx::query(
        "UPDATE run SET base = $2, base_branch = $3, compared = NULL, problem = NULL, \
         claimed_until = 0 WHERE id = $1",
    )
    .bind(id.as_str())
    .bind(rebase.base.as_str())
    .bind(rebase.branch.as_ref().map(Branch::as_str))
    .execute(&mut *tx)
    .await?;
    // An evaluation under way knows the old base.
    ledger.note(Event::RunEnded);
    ledger.run(tx, run, RunStep::Rejudge).await?;
    Ok(())
}

async fn approve(
    tx: &mut AnyConnection,
    ledger: &mut Ledger,
    id: &RunId,
    by: &Login,
) -> Result<()> {
    let run = run_by_id(tx, id).await?;
    ledger.run(tx, run, RunStep::Approve).await?;
    renew::gate(tx, id).await?;
    sqlx::query("UPDATE run SET approval = 'given', approved_by = $2, note = NULL WHERE id = $1")
        .bind(id.as_str())
        .bind(by.as_str())
        .execute(tx)
        .await?;
    Ok(())
}

/// The answer stands on the check that was clicked.
async fn note(
    tx: &mut AnyConnection,
    ledger: &mut Ledger,
    run: &RunId,
    host: Option<&BuildId>,
    text: String,
) -> Result<()> {
    let (table, id) = match host {
        Some(build) => ("UPDATE build SET note = $2 WHERE id = $1", build.as_str()),
        None => ("UPDATE run SET note = $2 WHERE id = $1", run.as_str()),
    };
    sqlx::query(table).bind(id).bind(rows::text(text)).execute(&mut *tx).await?;
    match host {
        Some(build) => ledger.show_host(build),
        None => ledger.touch(run, bump::Pace::Decided),
    }
    ledger.note(Event::ReportBehind);
    Ok(())
}

/// Whatever is open of a run ends so; a verdict that has fallen stays.
pub(super) async fn stop(
    tx: &mut AnyConnection,
    ledger: &mut Ledger,
    id: &RunId,
    (ending, verdict): (Ending, Verdict),
) -> Result<()> {
    let run = run_by_id(tx, id).await?;
    let builds = builds_of(tx, id).await?;
    let fallen = match &run.state {
        RunState::Building { .. } => {
            let against = base::against(tx, &run).await?;
            judge(run.problem.as_ref(), &builds, &against)
        }
        RunState::AwaitingApproval
        | RunState::Requested
        | RunState::Evaluating { .. }
        | RunState::Ended { .. } => None,
    };
    for build in builds.into_iter().filter(is_open) {
        ledger.build(tx, build, BuildStep::End(ending.clone())).await?;
    }
    if run.state.is_open() {
        ledger.run(tx, run, RunStep::End(fallen.unwrap_or(verdict))).await?;
    }
    Ok(())
}

fn is_open(build: &Build) -> bool {
    !matches!(build.state, BuildState::Ended { .. })
}
