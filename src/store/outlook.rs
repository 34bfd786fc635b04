//! How it goes on with what is not done: its turn, and when its check is looked at again.
use std::collections::HashMap;

use sqlx::AnyConnection;
use sqlx::Row;
use sqlx::any::AnyRow;

use crate::domain::Timestamp;
use crate::domain::build::{BuildState, Waiting};
use crate::domain::builder;
use crate::domain::id::BuildId;
use crate::domain::page::{BuildView, Turn};
use crate::domain::run::{Run, RunState};
use crate::store::Store;
use crate::store::builders::{self, BUILDERS};
use crate::store::bump;
use crate::store::error::Result;
use crate::store::moves::Moved;
use crate::store::rows::{self, active};

/// True of a repository through which GitHub does not let us act now: nobody's turn comes after
/// those of a suspended installation. They are few or none, and looked up once for a question.
macro_rules! out_of_reach {
    ($repository:literal) => {
        concat!($repository, " IN (SELECT p.id FROM repository p WHERE NOT (", active!(), "))")
    };
}

/// True of a build of such a repository.
macro_rules! of_no_turn {
    ($build:literal) => {
        concat!(
            $build,
            ".run_id IN (SELECT r.id FROM run r WHERE ",
            out_of_reach!("r.repository_id"),
            ")"
        )
    };
}

impl Store {
    /// Looks again at the checks of what is not done: its turn or its progress may have moved,
    /// which no life's move tells. At most `limit` hosts at a time, those that run first, and each
    /// at the pace of its progress; what says the same as before costs no call.
    pub async fn refresh(&self, now: Timestamp, limit: i64) -> Result<Moved> {
        let mut tx = self.write().await?;
        let moved = bump::refresh(&mut tx, now, limit).await?;
        tx.commit().await?;
        Ok(moved)
    }
}

/// A run's turn among those that want their evaluation.
pub(super) async fn turn_of_run(tx: &mut AnyConnection, run: &Run) -> Result<Option<Turn>> {
    if run.state != RunState::Requested {
        return Ok(None);
    }
    let row = sqlx::query(concat!(
        "SELECT COUNT(*) AS total, COALESCE(SUM(CASE WHEN created_at < $1 \
         OR (created_at = $1 AND id <= $2) THEN 1 ELSE 0 END), 0) AS place \
         FROM run r WHERE state <> 'ended' AND state = 'requested' AND NOT ",
        out_of_reach!("r.repository_id"),
        " AND NOT EXISTS (SELECT 1 FROM run own WHERE own.id = $2 AND ",
        out_of_reach!("own.repository_id"),
        ")"
    ))
    .bind(run.created_at.0)
    .bind(run.id.as_str())
    .fetch_one(tx)
    .await?;
    turn(&row)
}

/// Tells each of a run's builds that wait for a builder why none takes it, or its turn.
pub(super) async fn tell_turns(tx: &mut AnyConnection, builds: &mut [BuildView]) -> Result<()> {
    tell_held(tx, builds).await?;
    let [first, more @ ..] = builds else { return Ok(()) };
    if more.is_empty() {
        if waits(first) {
            first.outlook.turn = turn_of_build(tx, &first.build.id).await?;
        }
        return Ok(());
    }
    if !builds.iter().any(waits) {
        return Ok(());
    }
    let found = sqlx::query(concat!(
        "SELECT q.id AS id, q.place AS place, q.total AS total FROM \
         (SELECT id, run_id, ROW_NUMBER() OVER (PARTITION BY system ORDER BY rank, since, id) \
         AS place, COUNT(*) OVER (PARTITION BY system) AS total \
         FROM build b WHERE state = 'waiting' AND held = 0 AND NOT ",
        of_no_turn!("b"),
        ") q WHERE q.run_id = $1"
    ))
    .bind(builds[0].build.run.as_str())
    .fetch_all(tx)
    .await?;
    let mut turns: HashMap<String, Turn> = HashMap::with_capacity(found.len());
    for row in &found {
        if let Some(turn) = turn(row)? {
            turns.insert(row.try_get("id")?, turn);
        }
    }
    for it in builds.iter_mut().filter(|it| waits(it)) {
        it.outlook.turn = turns.get(it.build.id.as_str()).copied();
    }
    Ok(())
}

async fn tell_held(tx: &mut AnyConnection, builds: &mut [BuildView]) -> Result<()> {
    let wants_builder = |it: &BuildView| match &it.build.state {
        BuildState::Waiting { for_what: Waiting::Slot | Waiting::Retry { .. }, .. } => true,
        BuildState::Waiting {
            for_what: Waiting::NoBuilder { .. } | Waiting::NoFeatures { .. },
            ..
        }
        | BuildState::Listed { .. }
        | BuildState::Building { .. }
        | BuildState::Ended { .. } => false,
    };
    if !builds.iter().any(wants_builder) {
        return Ok(());
    }
    let found = sqlx::query(BUILDERS).fetch_all(tx).await?;
    let builders = found.iter().map(builders::builder).collect::<Result<Vec<_>>>()?;
    for it in builds.iter_mut().filter(|it| wants_builder(it)) {
        let Some(derivation) = it.build.state.derivation() else { continue };
        it.outlook.held = builder::held(&derivation.system, &derivation.features, &builders);
    }
    Ok(())
}

fn waits(it: &BuildView) -> bool {
    matches!(it.build.state, BuildState::Waiting { for_what: Waiting::Slot, .. })
}

async fn turn_of_build(tx: &mut AnyConnection, build: &BuildId) -> Result<Option<Turn>> {
    let row = sqlx::query(concat!(
        "SELECT COUNT(*) AS total, COALESCE(SUM(CASE WHEN o.rank < b.rank OR (o.rank = b.rank \
         AND (o.since < b.since OR (o.since = b.since AND o.id <= b.id))) THEN 1 ELSE 0 END), 0) \
         AS place FROM build b JOIN build o ON o.system = b.system \
         WHERE b.id = $1 AND o.state = 'waiting' AND o.held = 0 AND NOT ",
        of_no_turn!("o"),
        " AND NOT ",
        of_no_turn!("b")
    ))
    .bind(build.as_str())
    .fetch_one(tx)
    .await?;
    turn(&row)
}

/// `None` of what is not in the queue itself.
fn turn(row: &AnyRow) -> Result<Option<Turn>> {
    let turn = Turn { place: rows::count(row, "place")?, of: rows::count(row, "total")? };
    Ok((turn.of > 0).then_some(turn))
}
