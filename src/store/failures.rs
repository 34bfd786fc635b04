//! What attempts at a derivation came to before: a failure is not built again for another run,
//! and one that is followed by a success was no failure of the derivation alone.
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use crate::domain::Timestamp;
use crate::domain::build::{Build, BuildFailure, Ending, Remembered};
use crate::domain::id::{AttemptId, DrvPath};
use crate::domain::page::Earlier;
use crate::domain::run::Run;
use crate::store::Store;
use crate::store::attempts::AttemptOutcome;
use crate::store::error::Result;
use crate::store::moves::{BuildStep, Ledger};
use crate::store::rows;

/// A derivation that others need, and that failed to build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedNeed {
    /// What failed.
    pub derivation: DrvPath,
    /// The attempt, at something that needs it, in which it failed.
    pub attempt: AttemptId,
    /// What was built since that time: when it needs the derivation, it builds by now.
    pub built_since: Vec<DrvPath>,
}

/// No more than this many different ones are looked for among what new hosts need.
const MOST_NEEDS: usize = 20;

impl Store {
    /// The derivations that failed to build where something else needed them, as long as failures
    /// are remembered; the newest first, at most twenty.
    pub async fn failed_needs(&self, now: Timestamp) -> Result<Vec<FailedNeed>> {
        let since = now.plus(-self.patience.failure_memory_ms);
        let mut tx = self.read().await?;
        let mut needs: Vec<FailedNeed> = Vec::new();
        for row in ended_since(&mut tx, since, "build_failed").await? {
            let AttemptOutcome::Answered(Ending::BuildFailed(failure)) =
                rows::json(&row, "outcome")?
            else {
                continue;
            };
            let of_itself = failure.derivation == rows::parsed(&row, "drv")?;
            if of_itself || needs.iter().any(|it| it.derivation == failure.derivation) {
                continue;
            }
            needs.push(FailedNeed {
                derivation: failure.derivation,
                attempt: rows::parsed(&row, "id")?,
                built_since: ended_since(&mut tx, rows::time(&row, "ended_at")?, "built")
                    .await?
                    .iter()
                    .map(|row| rows::parsed(row, "drv"))
                    .collect::<Result<_>>()?,
            });
            if needs.len() == MOST_NEEDS {
                break;
            }
        }
        Ok(needs)
    }
}

/// Attempts that were answered so after a time, the newest first.
async fn ended_since(
    tx: &mut AnyConnection,
    since: Timestamp,
    ending: &str,
) -> Result<Vec<AnyRow>> {
    // As serde writes it: the tag comes first.
    let like = format!("{{\"answered\":{{\"ending\":\"{ending}\"%");
    let ended = sqlx::query(
        "SELECT id, drv, ended_at, outcome FROM attempt \
         WHERE state = 'ended' AND ended_at > $1 AND outcome LIKE $2 ORDER BY ended_at DESC",
    );
    Ok(ended.bind(since.0).bind(like).fetch_all(tx).await?)
}

/// A failure that is remembered, and the attempt whose log tells of it.
pub(super) struct Remembrance {
    ending: Ending,
    attempt: AttemptId,
}

/// The newest attempt at a derivation, if it failed by itself after `since`, for a build that
/// nobody asked for again.
pub(super) async fn remembered(
    tx: &mut AnyConnection,
    build: &Build,
    drv: &DrvPath,
    since: Timestamp,
) -> Result<Option<Remembrance>> {
    let found = sqlx::query(
        "SELECT a.id AS id, a.ended_at AS ended_at, a.outcome AS outcome, r.sha AS sha \
         FROM attempt a LEFT JOIN build b ON b.attempt_id = a.id LEFT JOIN run r ON r.id = b.run_id \
         AND r.repository_id = (SELECT o.repository_id FROM run o WHERE o.id = $3) \
         WHERE a.drv = $1 AND a.state = 'ended' \
         AND NOT EXISTS (SELECT 1 FROM attempt n WHERE n.drv = a.drv \
         AND (n.started_at > a.started_at OR n.started_at = a.started_at AND n.id > a.id)) \
         AND a.ended_at > $2 \
         AND EXISTS (SELECT 1 FROM build me WHERE me.id = $4 AND me.by_hand = 0) \
         ORDER BY CASE WHEN r.sha IS NULL THEN 1 ELSE 0 END, r.created_at LIMIT 1",
    )
    .bind(drv.as_str())
    .bind(since.0)
    .bind(build.run.as_str())
    .bind(build.id.as_str())
    .fetch_optional(tx)
    .await?;
    found.map_or(Ok(None), |row| failed(&row))
}

/// The attempt in which something failed that this build needs, too, unless somebody asked for the
/// build again.
pub(super) async fn of_a_need(
    tx: &mut AnyConnection,
    build: &Build,
    attempt: &AttemptId,
) -> Result<Option<Remembrance>> {
    let found = sqlx::query(
        "SELECT a.id AS id, a.ended_at AS ended_at, a.outcome AS outcome, r.sha AS sha \
         FROM attempt a LEFT JOIN build b ON b.attempt_id = a.id LEFT JOIN run r ON r.id = b.run_id \
         AND r.repository_id = (SELECT o.repository_id FROM run o WHERE o.id = $2) \
         WHERE a.id = $1 AND a.state = 'ended' \
         AND EXISTS (SELECT 1 FROM build me WHERE me.id = $3 AND me.by_hand = 0) \
         ORDER BY CASE WHEN r.sha IS NULL THEN 1 ELSE 0 END, r.created_at LIMIT 1",
    )
    .bind(attempt.as_str())
    .bind(build.run.as_str())
    .bind(build.id.as_str())
    .fetch_optional(tx)
    .await?;
    found.map_or(Ok(None), |row| failed(&row))
}

/// An attempt that failed by itself, with the commit that it was made for.
fn failed(row: &AnyRow) -> Result<Option<Remembrance>> {
    let outcome: AttemptOutcome = rows::json(row, "outcome")?;
    let AttemptOutcome::Answered(Ending::BuildFailed(failure)) = outcome else { return Ok(None) };
    let before =
        Remembered { at: rows::time(row, "ended_at")?, commit: rows::maybe_parsed(row, "sha")? };
    let ending = Ending::BuildFailed(BuildFailure { before: Some(before), ..failure });
    Ok(Some(Remembrance { ending, attempt: rows::parsed(row, "id")? }))
}

/// A waiting build ends as the attempt before did, and shows its log.
pub(super) async fn end_as_before(
    tx: &mut AnyConnection,
    ledger: &mut Ledger,
    build: Build,
    before: Remembrance,
) -> Result<()> {
    show_attempt(tx, &build, &before.attempt).await?;
    ledger.build(tx, build, BuildStep::End(before.ending)).await?;
    Ok(())
}

/// The log of a build that did not begin this attempt itself.
pub(super) async fn show_attempt(
    tx: &mut AnyConnection,
    build: &Build,
    attempt: &AttemptId,
) -> Result<()> {
    sqlx::query("UPDATE build SET attempt_id = $2 WHERE id = $1")
        .bind(build.id.as_str())
        .bind(attempt.as_str())
        .execute(tx)
        .await?;
    Ok(())
}

/// An attempt of this build ended as weather: the `weathers`-th, and why.
pub(super) async fn note_weather(
    tx: &mut AnyConnection,
    build: &Build,
    weathers: u32,
    earlier: &Earlier,
) -> Result<()> {
    sqlx::query("UPDATE build SET weathers = $2, earlier = $3 WHERE id = $1")
        .bind(build.id.as_str())
        .bind(i64::from(weathers))
        .bind(rows::text(rows::to_json(earlier)?))
        .execute(tx)
        .await?;
    Ok(())
}

/// The name of the builder that an attempt was made on.
pub(super) async fn builder_of(tx: &mut AnyConnection, attempt: &AttemptId) -> Result<String> {
    Ok(sqlx::query_scalar("SELECT builder FROM attempt WHERE id = $1")
        .bind(attempt.as_str())
        .fetch_one(tx)
        .await?)
}

/// Whether the attempt before this one at the same derivation failed by itself.
pub(super) async fn failed_before(
    tx: &mut AnyConnection,
    drv: &DrvPath,
    attempt: &AttemptId,
) -> Result<bool> {
    let before = sqlx::query(
        "SELECT outcome FROM attempt WHERE drv = $1 AND state = 'ended' AND id <> $2 \
         ORDER BY started_at DESC, id DESC LIMIT 1",
    )
    .bind(drv.as_str())
    .bind(attempt.as_str())
    .fetch_optional(tx)
    .await?;
    let outcome: Option<AttemptOutcome> =
        before.map(|row| rows::maybe_json(&row, "outcome")).transpose()?.flatten();
    Ok(matches!(outcome, Some(AttemptOutcome::Answered(Ending::BuildFailed(_)))))
}

/// A host passed with the derivation that had failed before.
pub(super) async fn note_flaky(
    tx: &mut AnyConnection,
    run: &Run,
    build: &Build,
    now: Timestamp,
) -> Result<()> {
    sqlx::query(
        "UPDATE memory SET flaky = flaky + 1, flaky_at = $3 \
         WHERE repository_id = $1 AND attr_key = $2",
    )
    .bind(run.repository.0)
    .bind(rows::attr_key(&build.attr)?)
    .bind(now.0)
    .execute(tx)
    .await?;
    Ok(())
}
