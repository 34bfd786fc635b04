//! What is known of each repository's updates: what should have happened by now, what is held back
//! and what failed; and what its tracking issue says of that.
//!
//! What a group's newest report says holds until the newest revisions are looked up and the group
//! has none, be it that all is up to date or that the policy has other groups. What failed is told
//! until the updates of a later look have ended.
use std::collections::HashMap;

use sqlx::AnyConnection;
use sqlx::Row;
use sqlx::any::AnyRow;

use crate::domain::Timestamp;
use crate::domain::id::RepositoryId;
use crate::domain::incoming::Repository;
use crate::domain::update::life::Outcome;
use crate::domain::update::schedule::Schedule;
use crate::domain::update::tracking::UpdateFacts;
use crate::store::Store;
use crate::store::error::Result;
use crate::store::pulls::{self, TrackingIssue};
use crate::store::rows::{self, active, repository_columns};

/// A repository with what its tracking issue is to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tracked {
    pub repository: Repository,
    pub facts: UpdateFacts,
    /// What is held back: the group's name and Markdown.
    pub held_back: Vec<(String, String)>,
    /// Why updates of the last look came to nothing, as plain text.
    pub failed: Option<String>,
    /// The issue, if there ever was one.
    pub issue: Option<TrackingIssue>,
}

/// True of a `repository p` that has anything to do with updates.
macro_rules! has_updates {
    () => {
        "(p.update_schedule IS NOT NULL \
         OR EXISTS (SELECT 1 FROM lock_update u WHERE u.repository_id = p.id) \
         OR EXISTS (SELECT 1 FROM lock_pull l WHERE l.repository_id = p.id AND l.state = 'open') \
         OR EXISTS (SELECT 1 FROM lock_issue i WHERE i.repository_id = p.id))"
    };
}

macro_rules! facts_rows {
    ($where:expr) => {
        concat!(
            "SELECT ",
            repository_columns!(),
            ", p.lock_moved_at AS lock_moved_at, p.lock_stale_at AS lock_stale_at, \
             p.update_schedule AS update_schedule, p.update_due_at AS update_due_at \
             FROM repository p WHERE ",
            active!(),
            " AND ",
            $where,
            " ORDER BY p.owner, p.name, p.id"
        )
    };
}

/// The newest report of each group, where it holds.
const HELD_BACK: &str = "SELECT u.repository_id AS repository_id, u.group_name AS group_name, \
     u.report AS report FROM lock_update u \
     WHERE u.state = 'ended' AND u.report IS NOT NULL AND u.report <> '' \
     AND NOT EXISTS (SELECT 1 FROM lock_update n WHERE n.repository_id = u.repository_id \
     AND n.group_name = u.group_name AND n.state = 'ended' AND n.report IS NOT NULL \
     AND (n.created_at > u.created_at OR (n.created_at = u.created_at AND n.id > u.id))) \
     AND NOT EXISTS (SELECT 1 FROM lock_update l WHERE l.repository_id = u.repository_id \
     AND l.beside IS NULL AND l.created_at > u.created_at \
     AND (l.plan IS NOT NULL OR l.outcome = $1) \
     AND NOT EXISTS (SELECT 1 FROM lock_update g WHERE g.repository_id = u.repository_id \
     AND g.group_name = u.group_name AND (g.id = l.id OR g.beside = l.id))) \
     ORDER BY u.repository_id, u.group_name";

/// What ended and is not outdated, by a later look whose updates have all ended or by the same group.
const NEWEST_ENDS: &str = "SELECT u.repository_id AS repository_id, u.group_name AS group_name, \
     u.outcome AS outcome FROM lock_update u WHERE u.state = 'ended' \
     AND NOT EXISTS (SELECT 1 FROM lock_update n WHERE n.repository_id = u.repository_id \
     AND n.state = 'ended' AND n.created_at > u.created_at AND (n.group_name = u.group_name \
     OR (COALESCE(n.beside, n.id) <> COALESCE(u.beside, u.id) \
     AND NOT EXISTS (SELECT 1 FROM lock_update o WHERE o.repository_id = u.repository_id \
     AND o.state IN ('requested', 'searching', 'proposing') \
     AND COALESCE(o.beside, o.id) = COALESCE(n.beside, n.id))))) \
     ORDER BY u.repository_id, u.created_at, u.group_name";

impl Store {
    /// What is known of every repository's updates and its lock file, where the App acts.
    pub async fn update_facts(&self) -> Result<Vec<(Repository, UpdateFacts)>> {
        let mut tx = self.read().await?;
        let text = facts_rows!(concat!("(p.lock_stale_at IS NOT NULL OR ", has_updates!(), ")"));
        facts(&mut tx, text).await
    }

    /// What the tracking issue of each repository is to tell that has anything to do with updates.
    pub async fn tracked(&self) -> Result<Vec<Tracked>> {
        let mut tx = self.read().await?;
        let known = facts(&mut tx, facts_rows!(has_updates!())).await?;
        let mut held_back = held_back(&mut tx).await?;
        let mut failed = failed(&mut tx).await?;
        let found = sqlx::query("SELECT * FROM lock_issue").fetch_all(&mut *tx).await?;
        let issues = found.iter().map(|row| {
            let issue = pulls::issue(row)?;
            Ok((issue.repository, issue))
        });
        let mut issues = issues.collect::<Result<HashMap<_, _>>>()?;
        let tracked = |(repository, facts): (Repository, UpdateFacts)| Tracked {
            held_back: held_back.remove(&repository.id).unwrap_or_default(),
            failed: failed.remove(&repository.id),
            issue: issues.remove(&repository.id),
            repository,
            facts,
        };
        Ok(known.into_iter().map(tracked).collect())
    }
}

async fn facts(
    tx: &mut AnyConnection,
    text: &'static str,
) -> Result<Vec<(Repository, UpdateFacts)>> {
    let mut open: HashMap<RepositoryId, Vec<(String, Timestamp)>> = HashMap::new();
    let found = sqlx::query(
        "SELECT repository_id, group_name, created_at FROM lock_update WHERE state <> 'ended' \
         ORDER BY repository_id, created_at, id",
    )
    .fetch_all(&mut *tx)
    .await?;
    for row in &found {
        let what = named(row.try_get("group_name")?);
        open.entry(repository(row)?).or_default().push((what, rows::time(row, "created_at")?));
    }
    let mut green: HashMap<RepositoryId, Vec<(i64, Timestamp)>> = HashMap::new();
    let found = sqlx::query(
        "SELECT repository_id, number, green_since FROM lock_pull WHERE state = 'open' \
         AND number IS NOT NULL AND green_since IS NOT NULL ORDER BY repository_id, number",
    )
    .fetch_all(&mut *tx)
    .await?;
    for row in &found {
        let pull = (row.try_get("number")?, rows::time(row, "green_since")?);
        green.entry(repository(row)?).or_default().push(pull);
    }
    let found = sqlx::query(text).fetch_all(&mut *tx).await?;
    let mut all = Vec::with_capacity(found.len());
    for row in &found {
        let repository = rows::repository(row)?;
        let schedule: Option<String> = row.try_get("update_schedule")?;
        let facts = UpdateFacts {
            lock: rows::last_move(row, ("lock_moved_at", "lock_stale_at"))?,
            open: open.remove(&repository.id).unwrap_or_default(),
            due_at: row.try_get::<Option<i64>, _>("update_due_at")?.map(Timestamp),
            schedule: schedule.map(|it| Schedule::from_key(&it).map_or(it, |it| it.to_string())),
            green_pulls: green.remove(&repository.id).unwrap_or_default(),
        };
        all.push((repository, facts));
    }
    Ok(all)
}

async fn held_back(tx: &mut AnyConnection) -> Result<HashMap<RepositoryId, Vec<(String, String)>>> {
    let found =
        sqlx::query(HELD_BACK).bind(rows::to_json(&Outcome::UpToDate)?).fetch_all(&mut *tx).await?;
    let mut all: HashMap<RepositoryId, Vec<_>> = HashMap::new();
    for row in &found {
        let report = (row.try_get("group_name")?, row.try_get("report")?);
        all.entry(repository(row)?).or_default().push(report);
    }
    Ok(all)
}

async fn failed(tx: &mut AnyConnection) -> Result<HashMap<RepositoryId, String>> {
    let found = sqlx::query(NEWEST_ENDS).fetch_all(&mut *tx).await?;
    let mut all: HashMap<RepositoryId, String> = HashMap::new();
    for row in &found {
        let Outcome::Failed { why } = rows::json(row, "outcome")? else { continue };
        let text = match row.try_get::<&str, _>("group_name")? {
            "" | ALL => why,
            group => format!("{group}: {why}"),
        };
        let known = all.entry(repository(row)?).or_default();
        if !known.is_empty() {
            known.push_str("\n\n");
        }
        known.push_str(&text);
    }
    Ok(all)
}

/// The group of a policy that has but one.
const ALL: &str = "all";

/// What an update is, in words.
fn named(group: &str) -> String {
    match group {
        "" => "the update".to_owned(),
        ALL => "the update of all inputs".to_owned(),
        group => format!("the update of {group}"),
    }
}

fn repository(row: &AnyRow) -> Result<RepositoryId> {
    Ok(RepositoryId(row.try_get("repository_id")?))
}
