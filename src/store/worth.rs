//! What decides how much of a run GitHub is shown.
use std::collections::HashMap;

use sqlx::Row;

use crate::domain::id::{AttrPath, RunId};
use crate::store::Store;
use crate::store::error::Result;
use crate::store::renew::begun;
use crate::store::reports::ending_shown;
use crate::store::rows;

/// What a run's reports are like, all in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunReports {
    /// Hosts, whether they have a check or not.
    pub hosts: usize,
    /// Hosts that have a check on GitHub.
    pub shown: usize,
    /// Hosts that have one or may have: it was begun, and no answer was noted.
    pub begun: usize,
    /// Hosts that are in the gate's table alone, as they stand.
    pub passed_over: usize,
    /// Checks, the gate's included, whose ending GitHub does not show; those that are passed over
    /// are not among them.
    pub owed: usize,
}

impl Store {
    /// What a run's reports are like, all in all.
    pub async fn run_reports(&self, run: &RunId) -> Result<RunReports> {
        let found = sqlx::query(concat!(
            "SELECT CASE WHEN o.kind = 'host' THEN 1 ELSE 0 END AS is_host, \
                 CASE WHEN o.github_id IS NOT NULL OR o.node_id IS NOT NULL THEN 1 ELSE 0 END \
                 AS has_check, CASE WHEN ",
            begun!(),
            " THEN 1 ELSE 0 END AS is_begun, \
                 CASE WHEN o.wanted > o.shown THEN 1 ELSE 0 END AS is_behind, CASE WHEN ",
            ending_shown!(),
            " OR (o.wanted = o.shown AND o.shown_status LIKE 'completed%') \
                 THEN 1 ELSE 0 END AS is_over, COUNT(*) AS n \
                 FROM report o WHERE o.run_id = $1 AND o.kind <> 'status' GROUP BY 1, 2, 3, 4, 5",
        ))
        .bind(run.as_str())
        .fetch_all(&self.reader)
        .await?;
        let mut all = RunReports::default();
        for row in &found {
            let is = |column| row.try_get::<i64, _>(column).map(|it| it != 0);
            let count = rows::count(row, "n")? as usize;
            let (host, check, behind) = (is("is_host")?, is("has_check")?, is("is_behind")?);
            if host {
                all.hosts += count;
                all.shown += if check { count } else { 0 };
                all.begun += if is("is_begun")? { count } else { 0 };
                all.passed_over += if check || behind { 0 } else { count };
            }
            // An ending that is shown may be amended; it is not owed any more.
            all.owed += if is("is_over")? || (!check && !behind) { 0 } else { count };
        }
        Ok(all)
    }

    /// Where the hosts of a run's base commit were, by their attribute: the derivation, or `None`
    /// of one that has none (yet). `None` when nothing is known of the base commit.
    pub async fn base_derivations(
        &self,
        run: &RunId,
    ) -> Result<Option<HashMap<AttrPath, Option<String>>>> {
        let found = sqlx::query(
            "SELECT b.attr AS attr, b.drv AS drv FROM build b WHERE b.run_id = (SELECT o.id \
             FROM run r JOIN run o ON o.repository_id = r.repository_id \
             AND o.sha = COALESCE(r.compared, r.base) \
             WHERE r.id = $1 AND o.id <> r.id \
             AND EXISTS (SELECT 1 FROM build x WHERE x.run_id = o.id) \
             ORDER BY o.created_at DESC, o.id DESC LIMIT 1)",
        )
        .bind(run.as_str())
        .fetch_all(&self.reader)
        .await?;
        if found.is_empty() {
            return Ok(None);
        }
        let pairs = found.iter().map(|row| Ok((rows::json(row, "attr")?, row.try_get("drv")?)));
        pairs.collect::<Result<_>>().map(Some)
    }
}
