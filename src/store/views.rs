//! What pages and checks are made of.
use sqlx::AnyConnection;
use sqlx::Row;
use sqlx::any::AnyRow;

use crate::domain::Timestamp;
use crate::domain::base::Against;
use crate::domain::id::{AttemptId, BuildId, CommitSha, DrvPath, RunId};
use crate::domain::incoming::Repository;
use crate::domain::page::{BuildView, EvaluationCost, History, Outlook, RunLine, RunView};
use crate::domain::run::Run;
use crate::store::Store;
use crate::store::attempts::AttemptOutcome;
use crate::store::base;
use crate::store::error::Result;
use crate::store::insights;
use crate::store::outlook;
use crate::store::rows::{self, build_columns, repository_columns, run_columns};

/// One build with the attempts at its derivation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildDetail {
    /// Its run, with this build alone.
    pub view: RunView,
    /// The newest first.
    pub attempts: Vec<AttemptView>,
}

/// An attempt to realise a derivation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptView {
    pub id: AttemptId,
    pub drv: DrvPath,
    pub builder: String,
    pub started_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    /// `None` while it runs.
    pub outcome: Option<AttemptOutcome>,
    /// Of its log, uncompressed.
    pub log_bytes: i64,
}

/// An instance that wrote a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogWriter {
    pub owner: String,
    /// Where other instances reach it; empty when its settings do not say, or it is forgotten.
    pub url: String,
}

/// Where a list of runs goes on: the run that was shown last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Before {
    pub created_at: Timestamp,
    pub id: RunId,
}

macro_rules! run_rows {
    ($where:literal) => {
        concat!(
            "SELECT ",
            run_columns!(),
            ", ",
            repository_columns!(),
            ", (SELECT COUNT(*) FROM build b WHERE b.run_id = r.id) AS builds, \
             (SELECT COUNT(*) FROM build b WHERE b.run_id = r.id AND b.state = 'ended') AS ended \
             FROM run r JOIN repository p ON p.id = r.repository_id WHERE ",
            $where,
            " ORDER BY r.created_at DESC, r.id DESC LIMIT $1"
        )
    };
}

macro_rules! build_rows {
    ($where:literal) => {
        concat!(
            "SELECT ",
            build_columns!(),
            ", a.started_at AS a_started_at, a.builder AS a_builder, a.progress AS a_progress, b.warnings AS b_warnings, b.earlier AS b_earlier, \
             m.flaky AS m_flaky, m.flaky_at AS m_flaky_at, \
             m.build_ms AS m_build_ms, m.evaluation_ms AS m_evaluation_ms, \
             i.version AS i_version, i.result AS i_result \
             FROM build b JOIN run r ON r.id = b.run_id \
             LEFT JOIN attempt a ON a.id = b.attempt_id \
             LEFT JOIN memory m ON m.repository_id = r.repository_id AND m.attr_key = b.attr_key \
             LEFT JOIN insight i ON i.build_id = b.id WHERE ",
            $where,
            " ORDER BY b.required DESC, b.id"
        )
    };
}

impl Store {
    /// A run with its builds; `None` when there is none of this id.
    pub async fn run_view(&self, id: &RunId) -> Result<Option<RunView>> {
        let mut tx = self.read().await?;
        let Some((run, repository)) = run_and_repository(&mut tx, id).await? else {
            return Ok(None);
        };
        let found =
            sqlx::query(build_rows!("b.run_id = $1")).bind(id.as_str()).fetch_all(&mut *tx).await?;
        let mut builds = found.iter().map(build_view).collect::<Result<Vec<_>>>()?;
        outlook::tell_turns(&mut tx, &mut builds).await?;
        let turn = outlook::turn_of_run(&mut tx, &run).await?;
        let against = base::against(&mut tx, &run).await?;
        Ok(Some(RunView { run, repository, builds, against, turn }))
    }

    /// A build's run with that build alone; `None` when there is none of this id.
    pub async fn build_view(&self, id: &BuildId) -> Result<Option<RunView>> {
        view_of_build(&mut *self.read().await?, id).await
    }

    /// A build with its attempts; `None` when there is none of this id.
    pub async fn build_detail(&self, id: &BuildId) -> Result<Option<BuildDetail>> {
        let mut tx = self.read().await?;
        let Some(view) = view_of_build(&mut tx, id).await? else { return Ok(None) };
        let derivation = view.builds.first().and_then(|it| it.build.state.derivation());
        let attempts = match derivation {
            Some(derivation) => attempts_at(&mut tx, &derivation.path).await?,
            None => Vec::new(),
        };
        Ok(Some(BuildDetail { view, attempts }))
    }

    /// An attempt; `None` when there is none of this id.
    pub async fn attempt(&self, id: &AttemptId) -> Result<Option<AttemptView>> {
        let row = sqlx::query(
            "SELECT id, drv, builder, started_at, ended_at, outcome, log_bytes \
             FROM attempt WHERE id = $1",
        )
        .bind(id.as_str())
        .fetch_optional(&self.reader)
        .await?;
        row.as_ref().map(attempt).transpose()
    }

    /// The other instance that wrote an attempt's log; `None` when this one did.
    pub async fn log_writer(&self, id: &AttemptId) -> Result<Option<LogWriter>> {
        if !self.is_shared() {
            return Ok(None);
        }
        let row = sqlx::query(
            "SELECT a.claimed_by AS owner, COALESCE(i.url, '') AS url FROM attempt a \
             LEFT JOIN instance i ON i.owner = a.claimed_by \
             WHERE a.id = $1 AND a.claimed_by <> $2",
        )
        .bind(id.as_str())
        .bind(&*self.owner)
        .fetch_optional(&self.reader)
        .await?;
        let writer =
            |row: AnyRow| Ok(LogWriter { owner: row.try_get("owner")?, url: row.try_get("url")? });
        row.map(writer).transpose()
    }

    /// The newest runs of all repositories, from where the last list ended.
    pub async fn recent_runs(&self, limit: i64, before: Option<&Before>) -> Result<Vec<RunLine>> {
        let (time, id) = before.map_or((i64::MAX, ""), |it| (it.created_at.0, it.id.as_str()));
        let found =
            sqlx::query(run_rows!("r.created_at < $2 OR (r.created_at = $2 AND r.id < $3)"))
                .bind(limit)
                .bind(time)
                .bind(id)
                .fetch_all(&self.reader)
                .await?;
        found.iter().map(run_line).collect()
    }

    /// The newest runs of a repository by its name, of one commit or of all; GitHub's names do
    /// not differ in case alone.
    pub async fn runs_of(
        &self,
        owner: &str,
        name: &str,
        sha: Option<&CommitSha>,
        limit: i64,
    ) -> Result<Vec<RunLine>> {
        let found = sqlx::query(run_rows!(
            "LOWER(p.owner) = LOWER($2) AND LOWER(p.name) = LOWER($3) AND ($4 = '' OR r.sha = $4)"
        ))
        .bind(limit)
        .bind(rows::text(owner.to_owned()))
        .bind(rows::text(name.to_owned()))
        .bind(sha.map_or("", CommitSha::as_str))
        .fetch_all(&self.reader)
        .await?;
        found.iter().map(run_line).collect()
    }
}

async fn view_of_build(tx: &mut AnyConnection, id: &BuildId) -> Result<Option<RunView>> {
    let found =
        sqlx::query(build_rows!("b.id = $1")).bind(id.as_str()).fetch_optional(&mut *tx).await?;
    let Some(found) = found else { return Ok(None) };
    let mut builds = vec![build_view(&found)?];
    outlook::tell_turns(tx, &mut builds).await?;
    let Some(build) = builds.first() else { return Ok(None) };
    let found = run_and_repository(tx, &build.build.run).await?;
    // A host's page is about the host alone; the gate's compares.
    let view = |(run, repository)| RunView {
        run,
        repository,
        builds,
        against: Against::default(),
        turn: None,
    };
    Ok(found.map(view))
}

pub(super) async fn run_and_repository(
    tx: &mut AnyConnection,
    id: &RunId,
) -> Result<Option<(Run, Repository)>> {
    let row = sqlx::query(concat!(
        "SELECT ",
        run_columns!(),
        ", ",
        repository_columns!(),
        " FROM run r JOIN repository p ON p.id = r.repository_id WHERE r.id = $1"
    ))
    .bind(id.as_str())
    .fetch_optional(tx)
    .await?;
    row.map(|row| Ok((rows::run(&row)?, rows::repository(&row)?))).transpose()
}

fn run_line(row: &AnyRow) -> Result<RunLine> {
    Ok(RunLine {
        run: rows::run(row)?,
        repository: rows::repository(row)?,
        builds: row.try_get("builds")?,
        ended: row.try_get("ended")?,
    })
}

fn build_view(row: &AnyRow) -> Result<BuildView> {
    let elapsed_ms: Option<i64> = row.try_get("b_evaluation_ms")?;
    let peak: Option<i64> = row.try_get("b_evaluation_peak")?;
    let cost = |(elapsed_ms, peak)| EvaluationCost {
        elapsed_ms,
        peak_memory: u64::try_from(peak).unwrap_or_default(),
    };
    Ok(BuildView {
        build: rows::build(row)?,
        evaluation: elapsed_ms.zip(peak).map(cost),
        attempt: rows::maybe_parsed(row, "b_attempt")?,
        started_at: row.try_get::<Option<i64>, _>("a_started_at")?.map(Timestamp),
        note: row.try_get("b_note")?,
        warnings: rows::maybe_json(row, "b_warnings")?.unwrap_or_default(),
        outlook: Outlook {
            held: None,
            turn: None,
            builder: row.try_get("a_builder")?,
            counts: rows::maybe_json(row, "a_progress")?,
            build_ms: row.try_get("m_build_ms")?,
            evaluation_ms: row.try_get("m_evaluation_ms")?,
        },
        insight: insights::insight(row)?,
        history: History {
            earlier: rows::maybe_json(row, "b_earlier")?,
            flaky: u32::try_from(row.try_get::<Option<i64>, _>("m_flaky")?.unwrap_or_default())
                .unwrap_or(u32::MAX),
            flaky_at: row.try_get::<Option<i64>, _>("m_flaky_at")?.map(Timestamp),
        },
    })
}

async fn attempts_at(tx: &mut AnyConnection, drv: &DrvPath) -> Result<Vec<AttemptView>> {
    let found = sqlx::query(
        "SELECT id, drv, builder, started_at, ended_at, outcome, log_bytes FROM attempt \
         WHERE drv = $1 ORDER BY started_at DESC, id DESC LIMIT 20",
    )
    .bind(drv.as_str())
    .fetch_all(tx)
    .await?;
    found.iter().map(attempt).collect()
}

fn attempt(row: &AnyRow) -> Result<AttemptView> {
    Ok(AttemptView {
        id: rows::parsed(row, "id")?,
        drv: rows::parsed(row, "drv")?,
        builder: row.try_get("builder")?,
        started_at: rows::time(row, "started_at")?,
        ended_at: row.try_get::<Option<i64>, _>("ended_at")?.map(Timestamp),
        outcome: rows::maybe_json(row, "outcome")?,
        log_bytes: row.try_get("log_bytes")?,
    })
}
