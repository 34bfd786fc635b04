//! A life's new state, as a row.
use sqlx::AnyConnection;

use crate::domain::Timestamp;
use crate::domain::build::{Build, BuildState};
use crate::domain::run::{Run, RunState};
use crate::store::error::Result;
use crate::store::rows;

pub(super) async fn save_build(
    tx: &mut AnyConnection,
    build: &Build,
    now: Timestamp,
) -> Result<()> {
    let mut waiting = None;
    let mut held = (0, Timestamp(0));
    let mut attempt = None;
    let mut ending = None;
    let mut new_derivation = None;
    match &build.state {
        BuildState::Listed { .. } => {}
        BuildState::Waiting { derivation, for_what, .. } => {
            waiting = Some(rows::to_json(for_what)?);
            held = rows::held_until(for_what);
            new_derivation = Some(derivation);
        }
        BuildState::Building { attempt: id, .. } => attempt = Some(id.as_str()),
        BuildState::Ended { derivation, ending: how, .. } => {
            ending = Some(rows::to_json(how)?);
            new_derivation = derivation.as_ref();
        }
    }
    let ended_at = ending.is_some().then_some(now.0);
    sqlx::query(
        "UPDATE build SET state = $2, since = $3, system = COALESCE($4, system), \
         drv = COALESCE($5, drv), derivation = COALESCE($6, derivation), waiting = $7, held = $8, \
         not_before = $9, attempts = $10, attempt_id = COALESCE($11, attempt_id), ending = $12, \
         ended_at = $13, features = COALESCE($14, features) WHERE id = $1",
    )
    .bind(build.id.as_str())
    .bind(build.state.name())
    .bind(now.0)
    .bind(new_derivation.map(|it| it.system.as_str()))
    .bind(new_derivation.map(|it| it.path.as_str()))
    .bind(new_derivation.map(rows::to_json).transpose()?)
    .bind(waiting)
    .bind(held.0)
    .bind(held.1.0)
    .bind(i64::from(build.attempts))
    .bind(attempt)
    .bind(ending)
    .bind(ended_at)
    .bind(new_derivation.map(|it| rows::features_key(&it.features)))
    .execute(tx)
    .await?;
    Ok(())
}

pub(super) async fn save_run(tx: &mut AnyConnection, run: &Run, now: Timestamp) -> Result<()> {
    let verdict = match &run.state {
        RunState::Ended { verdict, .. } => Some(rows::to_json(verdict)?),
        RunState::AwaitingApproval
        | RunState::Requested
        | RunState::Evaluating { .. }
        | RunState::Building { .. } => None,
    };
    sqlx::query(
        "UPDATE run SET state = $2, state_at = $3, verdict = $4, waits = NULL, not_before = 0 \
         WHERE id = $1",
    )
    .bind(run.id.as_str())
    .bind(run.state.name())
    .bind(now.0)
    .bind(verdict)
    .execute(tx)
    .await?;
    Ok(())
}
