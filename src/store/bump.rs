//! How soon a report must show what moved: what is decided at once, progress now and then, to
//! spare calls.
use sqlx::AnyConnection;
use sqlx::Row;

use crate::domain::Timestamp;
use crate::domain::budget::Urgency;
use crate::domain::id::{BuildId, RunId};
use crate::store::error::Result;
use crate::store::moves::{Event, Moved};
use crate::store::reports::{ReportId, ReportKind, kind};

/// How soon a move is to be shown; the greater, the sooner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Pace {
    /// The life goes on: shown now and then, to spare calls.
    Progress,
    /// The life has ended, and what changed with it is about to be known: shown with that.
    Awaited,
    /// The life has ended: shown at once.
    Decided,
    /// The life begins again: shown like a new one.
    Revived,
}

/// A host's check is made when the build has lasted this long: of a build that is reused at once
/// only the ending is shown.
const FIRST_SHOW_MS: i64 = 2_000;
/// A host's ending is shown at the latest after this time without what changes on the host: one
/// call for both, almost always.
const INSIGHT_WAIT_MS: i64 = 3_000;
/// What is found out about a host after its ending was shown.
const INSIGHT_MS: i64 = 5_000;
/// Between "queued" and "in progress" of a host.
const HOST_PROGRESS_MS: i64 = 10_000;

// Ranks: which of the reports that are behind goes first.
const FINAL: i64 = 0;
const GATE: i64 = 1;
const NEW: i64 = 2;
const PROGRESS: i64 = 3;

/// What a rank means.
pub(super) fn urgency(rank: i64) -> Urgency {
    match rank {
        FINAL => Urgency::Final,
        GATE => Urgency::Gate,
        NEW => Urgency::New,
        _ => Urgency::Progress,
    }
}

/// Takes the earlier of what is due and of `$4`; a report that failed keeps its patience.
macro_rules! bump {
    ($not_before:literal, $where:literal) => {
        concat!(
            "UPDATE report SET wanted = wanted + 1, \
             since = CASE WHEN wanted > shown THEN since ELSE $2 END, \
             rank = CASE WHEN wanted > shown AND rank < $3 THEN rank ELSE $3 END, \
             not_before = CASE WHEN tries > 0 THEN not_before \
             WHEN wanted > shown AND not_before < ",
            $not_before,
            " THEN not_before ELSE ",
            $not_before,
            " END WHERE ",
            $where
        )
    };
}

/// The longer a run lasts, the more rarely its gate shows progress: 15 s apart at first, then up
/// to 5 minutes; an hour's run takes about 20 calls.
macro_rules! progress_at {
    ($of:literal) => {
        concat!(
            $of,
            "shown_at + CASE WHEN ",
            $of,
            "times_shown < 3 THEN 15000 WHEN ",
            $of,
            "times_shown < 5 THEN 30000 WHEN ",
            $of,
            "times_shown < 7 THEN 60000 WHEN ",
            $of,
            "times_shown < 9 THEN 120000 ELSE 300000 END"
        )
    };
}

macro_rules! gate_progress_at {
    () => {
        progress_at!("")
    };
}

/// A host's state moved.
pub(super) async fn bump_host(
    tx: &mut AnyConnection,
    build: &BuildId,
    pace: Pace,
    now: Timestamp,
) -> Result<()> {
    let (rank, at) = host_pace(pace, now);
    sqlx::query(bump!("$4", "build_id = $1"))
        .bind(build.as_str())
        .bind(now.0)
        .bind(rank)
        .bind(at.0)
        .execute(tx)
        .await?;
    Ok(())
}

fn host_pace(pace: Pace, now: Timestamp) -> (i64, Timestamp) {
    match pace {
        Pace::Progress => (PROGRESS, now.plus(HOST_PROGRESS_MS)),
        Pace::Awaited => (FINAL, now.plus(INSIGHT_WAIT_MS)),
        Pace::Decided => (FINAL, now),
        Pace::Revived => (NEW, now.plus(FIRST_SHOW_MS)),
    }
}

/// A run's state moved, or one of its builds'. The commit status only mirrors the verdict.
pub(super) async fn bump_run(
    tx: &mut AnyConnection,
    run: &RunId,
    pace: Pace,
    now: Timestamp,
) -> Result<()> {
    let (kinds, rank): (&[&str], i64) = match pace {
        Pace::Progress | Pace::Awaited => {
            return bump_gate_progress(tx, run, now).await;
        }
        Pace::Decided => (&["gate", "status"], FINAL),
        Pace::Revived => (&["gate", "status"], GATE),
    };
    for kind in kinds {
        sqlx::query(bump!("$4", "run_id = $1 AND kind = $5"))
            .bind(run.as_str())
            .bind(now.0)
            .bind(rank)
            .bind(now.0)
            .bind(*kind)
            .execute(&mut *tx)
            .await?;
    }
    Ok(())
}

/// What changes on a host is known: an ending that is shown is amended soon.
pub(super) async fn bump_host_insight(
    tx: &mut AnyConnection,
    build: &BuildId,
    now: Timestamp,
) -> Result<()> {
    sqlx::query(bump!("CASE WHEN wanted > shown THEN not_before ELSE $4 END", "build_id = $1"))
        .bind(build.as_str())
        .bind(now.0)
        .bind(PROGRESS)
        .bind(now.plus(INSIGHT_MS).0)
        .execute(tx)
        .await?;
    Ok(())
}

/// What changes on some of a run's hosts is known. Endings that wait for that are shown with the
/// run's last answer, in one request with the gate.
pub(super) async fn bump_run_insight(
    tx: &mut AnyConnection,
    run: &RunId,
    now: Timestamp,
) -> Result<()> {
    let more = sqlx::query(
        "SELECT 1 AS one FROM insight i WHERE i.run_id = $1 AND i.state = 'wanted' LIMIT 1",
    )
    .bind(run.as_str())
    .fetch_optional(&mut *tx)
    .await?;
    if more.is_some() {
        return bump_gate_progress(tx, run, now).await;
    }
    sqlx::query(
        "UPDATE report SET not_before = $2 WHERE run_id = $1 AND kind = 'host' \
         AND wanted > shown AND rank = $3 AND tries = 0 AND not_before > $2",
    )
    .bind(run.as_str())
    .bind(now.0)
    .bind(FINAL)
    .execute(&mut *tx)
    .await?;
    let ended = sqlx::query("SELECT 1 AS one FROM run WHERE id = $1 AND state = 'ended'")
        .bind(run.as_str())
        .fetch_optional(&mut *tx)
        .await?;
    if ended.is_none() {
        return bump_gate_progress(tx, run, now).await;
    }
    sqlx::query(bump!("$4", "run_id = $1 AND kind = 'gate'"))
        .bind(run.as_str())
        .bind(now.0)
        .bind(PROGRESS)
        .bind(now.0)
        .execute(tx)
        .await?;
    Ok(())
}

async fn bump_gate_progress(tx: &mut AnyConnection, run: &RunId, now: Timestamp) -> Result<()> {
    let text = concat!(
        "UPDATE report SET wanted = wanted + 1, \
         since = CASE WHEN wanted > shown THEN since ELSE $2 END, \
         rank = CASE WHEN wanted > shown AND rank < $3 THEN rank ELSE $3 END, \
         not_before = CASE WHEN tries > 0 OR wanted > shown THEN not_before ELSE ",
        gate_progress_at!(),
        " END WHERE run_id = $1 AND kind = 'gate'"
    );
    sqlx::query(text).bind(run.as_str()).bind(now.0).bind(PROGRESS).execute(tx).await?;
    Ok(())
}

/// The buttons on a failed host's check depend on whether its run is open.
pub(super) async fn bump_failed_hosts(
    tx: &mut AnyConnection,
    run: &RunId,
    now: Timestamp,
) -> Result<()> {
    let (rank, at) = host_pace(Pace::Progress, now);
    let text = bump!(
        "$4",
        "run_id = $1 AND kind = 'host' AND build_id IN (SELECT b.id FROM build b \
         WHERE b.run_id = $1 AND b.state = 'ended' AND b.ending NOT LIKE '{\"ending\":\"built\"%' \
         AND b.ending NOT LIKE '{\"ending\":\"reused\"%' \
         AND b.ending NOT LIKE '{\"ending\":\"superseded\"%' \
         AND b.ending NOT LIKE '{\"ending\":\"skipped\"%' \
         AND b.ending NOT LIKE '{\"ending\":\"cancelled\"%')"
    );
    sqlx::query(text).bind(run.as_str()).bind(now.0).bind(rank).bind(at.0).execute(tx).await?;
    Ok(())
}

/// The gate and the commit status of a new run: they go before everything but endings.
pub(super) async fn create_for_run(
    tx: &mut AnyConnection,
    run: &RunId,
    now: Timestamp,
) -> Result<()> {
    let gate = New { id: ReportId::gate(run), kind: "gate", run, build: None, rank: GATE };
    create(tx, gate, now, now).await?;
    let status = New { id: ReportId::status(run), kind: "status", run, build: None, rank: GATE };
    create(tx, status, now, now).await
}

/// The check of a host that was listed.
pub(super) async fn create_for_host(
    tx: &mut AnyConnection,
    run: &RunId,
    build: &BuildId,
    now: Timestamp,
) -> Result<()> {
    let id = ReportId::host(build);
    let host = New { id, kind: "host", run, build: Some(build), rank: NEW };
    create(tx, host, now.plus(FIRST_SHOW_MS), now).await
}

struct New<'a> {
    id: ReportId,
    kind: &'static str,
    run: &'a RunId,
    build: Option<&'a BuildId>,
    rank: i64,
}

async fn create(
    tx: &mut AnyConnection,
    new: New<'_>,
    not_before: Timestamp,
    now: Timestamp,
) -> Result<()> {
    let New { id, kind, run, build, rank } = new;
    sqlx::query(
        "INSERT INTO report (id, run_id, build_id, kind, wanted, shown, rank, since, not_before, \
         serial, shown_at, times_shown, tries) \
         VALUES ($1, $2, $3, $4, 1, 0, $5, $6, $7, 0, 0, 0, 0)",
    )
    .bind(id.as_str())
    .bind(run.as_str())
    .bind(build.map(BuildId::as_str))
    .bind(kind)
    .bind(rank)
    .bind(now.0)
    .bind(not_before.0)
    .execute(tx)
    .await?;
    Ok(())
}

/// Hosts that are not done and whose checks are due to say how far they are. CROSS: `SQLite` would
/// begin with the reports, and there are as many as there ever were hosts.
pub(super) const REFRESH_HOSTS: &str = concat!(
    "UPDATE report SET wanted = wanted + 1, rank = $2, since = $1, not_before = $1 \
     WHERE id IN (SELECT o.id FROM build b CROSS JOIN report o \
     WHERE o.build_id = b.id AND b.state <> 'ended' AND b.state IN ('waiting', 'building') \
     AND o.wanted = o.shown AND o.times_shown > 0 AND ",
    progress_at!("o."),
    " <= $1 ORDER BY b.state, o.shown_at, b.rank LIMIT $3)"
);

/// Reports of what is not done, shown as last known, are looked at again at the pace of progress.
pub(super) async fn refresh(tx: &mut AnyConnection, now: Timestamp, limit: i64) -> Result<Moved> {
    let gates = concat!(
        "UPDATE report SET wanted = wanted + 1, rank = $2, since = $1, not_before = $1 \
         WHERE id IN (SELECT o.id FROM run r JOIN report o ON o.run_id = r.id AND o.kind = 'gate' \
         WHERE r.state <> 'ended' AND r.state IN ('requested', 'evaluating', 'building') \
         AND o.wanted = o.shown AND o.times_shown > 0 AND ",
        progress_at!("o."),
        " <= $1)"
    );
    let done = sqlx::query(gates).bind(now.0).bind(PROGRESS).execute(&mut *tx).await?;
    let more =
        sqlx::query(REFRESH_HOSTS).bind(now.0).bind(PROGRESS).bind(limit).execute(&mut *tx).await?;
    let mut moved = Moved::default();
    if done.rows_affected() + more.rows_affected() > 0 {
        moved.note(Event::ReportBehind);
    }
    Ok(moved)
}

/// A report that moved while it was being shown was bumped at the pace of what was due before.
pub(super) async fn repace(
    tx: &mut AnyConnection,
    report: &ReportId,
    now: Timestamp,
) -> Result<()> {
    let row = sqlx::query(
        "SELECT o.kind AS kind, r.state AS run_state, b.state AS build_state \
         FROM report o JOIN run r ON r.id = o.run_id LEFT JOIN build b ON b.id = o.build_id \
         WHERE o.id = $1 AND o.wanted > o.shown",
    )
    .bind(report.as_str())
    .fetch_optional(&mut *tx)
    .await?;
    let Some(row) = row else { return Ok(()) };
    let ended = |column: &str| -> Result<bool> {
        Ok(row.try_get::<Option<String>, _>(column)?.as_deref() == Some("ended"))
    };
    let (rank, at) = match kind(&row)? {
        ReportKind::Host if ended("build_state")? => host_pace(Pace::Decided, now),
        ReportKind::Host => host_pace(Pace::Progress, now),
        ReportKind::Gate if !ended("run_state")? => {
            let text = concat!(
                "UPDATE report SET rank = $2, not_before = ",
                gate_progress_at!(),
                " WHERE id = $1"
            );
            sqlx::query(text).bind(report.as_str()).bind(PROGRESS).execute(tx).await?;
            return Ok(());
        }
        ReportKind::Status if !ended("run_state")? => (GATE, now),
        ReportKind::Gate | ReportKind::Status => (FINAL, now),
    };
    sqlx::query("UPDATE report SET rank = $2, not_before = $3 WHERE id = $1")
        .bind(report.as_str())
        .bind(rank)
        .bind(at.0)
        .execute(tx)
        .await?;
    Ok(())
}
