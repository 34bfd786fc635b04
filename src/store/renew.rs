//! A report that goes on with a check run of its own: the one before is history.
use sqlx::AnyConnection;

use crate::domain::id::{BuildId, RunId};
use crate::store::error::Result;

/// True of a report that GitHub shows a check run of, or may: it was begun.
macro_rules! begun {
    () => {
        "(serial > 0 OR github_id IS NOT NULL OR node_id IS NOT NULL)"
    };
}

pub(super) use begun;

/// The check run that shows a report is history: the next one is its successor, whatever it says,
/// and is shown however many hosts the run has, since the old one is seen until then. Where none was
/// begun there is nothing to follow.
macro_rules! renew {
    ($where:literal) => {
        concat!(
            "UPDATE report SET serial = CASE WHEN ",
            begun!(),
            " THEN serial + 1 ELSE serial END, github_id = NULL, node_id = NULL, \
             annotations = NULL, shown_status = NULL, shown_digest = NULL, times_shown = 0, \
             tries = 0 WHERE ",
            $where
        )
    };
}

/// A host's check is shown anew.
pub(super) async fn host(tx: &mut AnyConnection, build: &BuildId) -> Result<()> {
    sqlx::query(renew!("build_id = $1")).bind(build.as_str()).execute(tx).await?;
    Ok(())
}

/// A run's gate is shown anew.
pub(super) async fn gate(tx: &mut AnyConnection, run: &RunId) -> Result<()> {
    let text = renew!("run_id = $1 AND kind = 'gate'");
    sqlx::query(text).bind(run.as_str()).execute(tx).await?;
    Ok(())
}
