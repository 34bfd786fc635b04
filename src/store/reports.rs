//! What GitHub shows compared with what is known. A report is one thing that GitHub shows: a
//! run's gate, a host's check, a commit status. Whatever moves bumps the revision that is wanted;
//! showing it notes the revision that was shown.
use sqlx::AnyConnection;
use sqlx::Row;
use sqlx::any::AnyRow;

use crate::domain::Timestamp;
use crate::domain::budget::Urgency;
use crate::domain::id::{BuildId, InstallationId, NodeId, RepositoryId, RunId};
use crate::store::error::{Result, StoreError};
use crate::store::rows::{self, active};
use crate::store::{Store, bump};

/// A report's own id, the first half of a check run's `external_id`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReportId(String);

impl ReportId {
    /// The gate of a run.
    pub fn gate(run: &RunId) -> Self {
        Self(format!("gate-{run}"))
    }

    /// The check of a host.
    pub fn host(build: &BuildId) -> Self {
        Self(format!("host-{build}"))
    }

    /// The commit status of a run.
    pub fn status(run: &RunId) -> Self {
        Self(format!("status-{run}"))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for ReportId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a report is shown as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReportKind {
    Gate,
    Host,
    Status,
}

/// A report whose newest revision GitHub does not show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Behind {
    pub report: ReportId,
    pub kind: ReportKind,
    pub run: RunId,
    /// Of a host's report.
    pub build: Option<BuildId>,
    pub repository: RepositoryId,
    pub installation: InstallationId,
    pub urgency: Urgency,
    /// Since when GitHub does not show what is known.
    pub since: Timestamp,
    /// To be given back to [`Store::shown`].
    pub revision: i64,
    /// Counts the check runs that were begun for this report, answered or not; 0 before the first.
    pub serial: i64,
    /// The check run that shows it, once there is one.
    pub github_id: Option<i64>,
    /// The same check run's name in the GraphQL API.
    pub node_id: Option<NodeId>,
    /// Annotations that it has; `None` when GitHub has to be asked.
    pub annotations: Option<usize>,
    pub shown_status: Option<String>,
    pub shown_digest: Option<String>,
    /// When it was last shown.
    pub shown_at: Timestamp,
    /// Failed calls since the last that succeeded.
    pub tries: u32,
}

impl Behind {
    /// GitHub shows a check run of it, as far as we know.
    pub fn has_check(&self) -> bool {
        self.github_id.is_some() || self.node_id.is_some()
    }

    /// A check run of it was begun: GitHub may show it although no answer was noted.
    pub fn is_begun(&self) -> bool {
        self.serial > 0 || self.has_check()
    }
}

/// What GitHub shows now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// [`Behind::revision`] of what was shown.
    pub revision: i64,
    /// [`Behind::serial`] of the check run that shows it: the answer of a check run that has a
    /// successor by now is not written down.
    pub serial: i64,
    /// `None` of a commit status, and where GitHub told the node id alone.
    pub github_id: Option<i64>,
    pub node_id: Option<NodeId>,
    /// Annotations that the check run has now.
    pub annotations: usize,
    /// GitHub's `status` of the check run, or `state` of the commit status.
    pub status: String,
    /// Of the whole page, so that the same is not sent again.
    pub digest: String,
}

/// How many reports of one run [`Store::behind_of`] gives: a request's worth, and one more.
const OF_A_RUN: i64 = 26;

/// True of a report whose ending GitHub shows. A cancelled check, and one that waits for approval,
/// may get another ending yet.
macro_rules! ending_shown {
    () => {
        "COALESCE(o.shown_status, '') IN \
         ('completed:success', 'completed:failure', 'completed:timed_out')"
    };
}

/// How urgent a report is. An ending that GitHub shows is only amended, when what changes on its
/// host became known later: that is as urgent as progress.
macro_rules! urgency_rank {
    () => {
        concat!("CASE WHEN o.rank = 0 AND ", ending_shown!(), " THEN 3 ELSE o.rank END")
    };
}

pub(super) use ending_shown;

macro_rules! behind_columns {
    () => {
        concat!(
            "o.id AS id, o.kind AS kind, o.run_id AS run_id, o.build_id AS build_id, \
             o.wanted AS wanted, o.serial AS serial, o.github_id AS github_id, \
             o.node_id AS node_id, o.annotations AS annotations, ",
            urgency_rank!(),
            " AS rank, o.since AS since, o.shown_status AS shown_status, \
             o.shown_digest AS shown_digest, o.shown_at AS shown_at, o.tries AS tries, \
             r.repository_id AS repository_id, p.installation_id AS installation_id"
        )
    };
}

macro_rules! behind_from {
    () => {
        "FROM report o JOIN run r ON r.id = o.run_id JOIN repository p ON p.id = r.repository_id \
         WHERE o.wanted > o.shown AND o.not_before <= $1 AND "
    };
}

/// Along the reports that are behind, never along all that ever were shown.
pub(super) const BEHIND_OF: &str = concat!(
    "SELECT * FROM (SELECT ",
    behind_columns!(),
    ", ROW_NUMBER() OVER (PARTITION BY o.run_id ORDER BY ",
    urgency_rank!(),
    ", o.since, o.id) AS place ",
    behind_from!(),
    active!(),
    " AND p.installation_id = $2) placed WHERE place <= $3 ORDER BY rank, since, id"
);

impl Store {
    /// Reports that GitHub does not show as they are known, and that are due: the most urgent
    /// first, then by their age. None of an installation through which GitHub does not let us act.
    pub async fn behind(&self, now: Timestamp, limit: i64) -> Result<Vec<Behind>> {
        let found = sqlx::query(concat!(
            "SELECT ",
            behind_columns!(),
            " ",
            behind_from!(),
            active!(),
            " ORDER BY o.rank, o.since, o.id LIMIT $2"
        ))
        .bind(now.0)
        .bind(limit)
        .fetch_all(&self.reader)
        .await?;
        found.iter().map(behind).collect()
    }

    /// Installations that [`Store::behind_of`] has something of.
    pub async fn installations_behind(&self, now: Timestamp) -> Result<Vec<InstallationId>> {
        let found = sqlx::query(concat!(
            "SELECT DISTINCT p.installation_id AS installation_id ",
            behind_from!(),
            active!()
        ))
        .bind(now.0)
        .fetch_all(&self.reader)
        .await?;
        found.iter().map(|row| Ok(InstallationId(row.try_get("installation_id")?))).collect()
    }

    /// As [`Store::behind`] of one installation; of each run no more than a request holds, so that
    /// a large run does not hide the others.
    pub async fn behind_of(
        &self,
        installation: InstallationId,
        now: Timestamp,
    ) -> Result<Vec<Behind>> {
        let found = sqlx::query(BEHIND_OF)
            .bind(now.0)
            .bind(installation.0)
            .bind(OF_A_RUN)
            .fetch_all(&self.reader)
            .await?;
        found.iter().map(behind).collect()
    }

    /// When the next report becomes due that is not due yet.
    pub async fn next_behind(&self, now: Timestamp) -> Result<Option<Timestamp>> {
        let at: Option<i64> = sqlx::query_scalar(
            "SELECT MIN(not_before) FROM report WHERE wanted > shown AND not_before > $1",
        )
        .bind(now.0)
        .fetch_one(&self.reader)
        .await?;
        Ok(at.map(Timestamp))
    }

    /// Check runs with the external ids `REPORT:SERIAL` may exist from now on; those before them
    /// are history.
    pub async fn creating(&self, all: &[(&ReportId, i64)]) -> Result<()> {
        if all.is_empty() {
            return Ok(());
        }
        let mut tx = self.write().await?;
        for (report, serial) in all {
            sqlx::query(
                "UPDATE report SET serial = $2, github_id = NULL, node_id = NULL, \
                 annotations = NULL, shown_status = NULL, shown_digest = NULL WHERE id = $1",
            )
            .bind(report.as_str())
            .bind(*serial)
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// GitHub shows this revision. What moved in the meantime is due at its own pace.
    pub async fn shown(&self, report: &ReportId, shown: Shown, now: Timestamp) -> Result<()> {
        self.all_shown(vec![(report.clone(), shown)], now).await
    }

    /// As [`Store::shown`], many in one transaction.
    pub async fn all_shown(&self, all: Vec<(ReportId, Shown)>, now: Timestamp) -> Result<()> {
        let mut tx = self.write().await?;
        for (report, shown) in all {
            note_shown(&mut tx, &report, shown, now).await?;
            bump::repace(&mut tx, &report, now).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// These hosts are in the gate's table alone, as long as they stand as they do: their
    /// revisions count as shown.
    pub async fn pass_over(&self, all: &[(ReportId, i64)]) -> Result<()> {
        let mut tx = self.write().await?;
        for (report, revision) in all {
            sqlx::query("UPDATE report SET shown = $2, tries = 0 WHERE id = $1")
                .bind(report.as_str())
                .bind(revision)
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// The call failed; the report is tried again at this time.
    pub async fn report_failed(
        &self,
        report: &ReportId,
        error: &str,
        not_before: Timestamp,
    ) -> Result<()> {
        sqlx::query(
            "UPDATE report SET tries = tries + 1, last_error = $2, not_before = $3, \
             annotations = NULL WHERE id = $1",
        )
        .bind(report.as_str())
        .bind(rows::text(error.to_owned()))
        .bind(not_before.0)
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    /// GitHub will never take this revision; the next one is tried again.
    pub async fn give_up_report(&self, report: &ReportId, revision: i64, note: &str) -> Result<()> {
        sqlx::query("UPDATE report SET shown = $2, tries = 0, last_error = $3 WHERE id = $1")
            .bind(report.as_str())
            .bind(revision)
            .bind(rows::text(note.to_owned()))
            .execute(&self.writer)
            .await?;
        Ok(())
    }
}

async fn note_shown(
    tx: &mut AnyConnection,
    report: &ReportId,
    shown: Shown,
    now: Timestamp,
) -> Result<()> {
    let Shown { revision, serial, github_id, node_id, annotations, status, digest } = shown;
    sqlx::query(
        "UPDATE report SET shown = $2, github_id = COALESCE($3, github_id), \
         shown_status = $4, shown_digest = $5, shown_at = $6, since = $6, \
         times_shown = times_shown + 1, tries = 0, last_error = NULL, \
         node_id = COALESCE($7, node_id), annotations = $8 WHERE id = $1 AND serial = $9",
    )
    .bind(report.as_str())
    .bind(revision)
    .bind(github_id)
    .bind(status)
    .bind(digest)
    .bind(now.0)
    .bind(node_id.as_ref().map(NodeId::as_str))
    .bind(i64::try_from(annotations).unwrap_or(i64::MAX))
    .bind(serial)
    .execute(tx)
    .await?;
    Ok(())
}

pub(super) fn kind(row: &AnyRow) -> Result<ReportKind> {
    match row.try_get::<&str, _>("kind")? {
        "gate" => Ok(ReportKind::Gate),
        "host" => Ok(ReportKind::Host),
        "status" => Ok(ReportKind::Status),
        other => Err(rows::unknown("report.kind", other)),
    }
}

fn behind(row: &AnyRow) -> Result<Behind> {
    Ok(Behind {
        report: ReportId(row.try_get("id")?),
        kind: kind(row)?,
        run: rows::parsed(row, "run_id")?,
        build: rows::maybe_parsed(row, "build_id")?,
        repository: RepositoryId(row.try_get("repository_id")?),
        installation: InstallationId(row.try_get("installation_id")?),
        urgency: bump::urgency(row.try_get("rank")?),
        since: rows::time(row, "since")?,
        revision: row.try_get("wanted")?,
        serial: row.try_get("serial")?,
        github_id: row.try_get("github_id")?,
        node_id: rows::maybe_parsed(row, "node_id")?,
        annotations: row
            .try_get::<Option<i64>, _>("annotations")?
            .and_then(|it| usize::try_from(it).ok()),
        shown_status: row.try_get("shown_status")?,
        shown_digest: row.try_get("shown_digest")?,
        shown_at: rows::time(row, "shown_at")?,
        tries: rows::count(row, "tries")?,
    })
}

impl From<ReportId> for String {
    fn from(id: ReportId) -> Self {
        id.0
    }
}

impl std::str::FromStr for ReportId {
    type Err = StoreError;

    /// Any text: an id that is none finds nothing.
    fn from_str(text: &str) -> Result<Self> {
        Ok(Self(rows::text(text.to_owned())))
    }
}
