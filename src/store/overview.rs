//! Updates of lock files as people look at them: those on their way, and what came of the newest.
use std::collections::HashMap;

use sqlx::AnyConnection;
use sqlx::Row;

use crate::domain::id::{RunId, UpdateId};
use crate::domain::incoming::Repository;
use crate::domain::update::life::Update;
use crate::store::Store;
use crate::store::error::Result;
use crate::store::rows::{self, repository_columns};
use crate::store::updates::{self, update_columns};

/// An update in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdateLine {
    /// Without its plan, which is long.
    pub update: Update,
    /// Its group of inputs; empty before the newest revisions were looked up.
    pub group: String,
    pub repository: Repository,
    /// The runs of the lock files that it tries, in order.
    pub tries: Vec<RunId>,
}

/// Updates of which this is true, and the runs of these.
macro_rules! lines {
    ($where:literal) => {
        (
            concat!(
                "SELECT ",
                update_columns!(),
                ", ",
                repository_columns!(),
                " FROM lock_update u JOIN repository p ON p.id = u.repository_id WHERE ",
                $where,
                " ORDER BY CASE WHEN u.state = 'ended' THEN 1 ELSE 0 END, u.created_at DESC, \
                 u.id DESC LIMIT $1"
            ),
            concat!(
                "SELECT t.update_id AS update_id, t.run_id AS run_id FROM lock_trial t \
                 JOIN lock_update u ON u.id = t.update_id \
                 JOIN repository p ON p.id = u.repository_id WHERE $1 > 0 AND ",
                $where,
                " ORDER BY t.update_id, t.nth"
            ),
        )
    };
}

impl Store {
    /// The updates of public repositories that are on their way, and then the newest of each that
    /// has ended.
    pub async fn public_updates(&self, limit: i64) -> Result<Vec<UpdateLine>> {
        const LINES: (&str, &str) = lines!(
            "p.visibility = 'public' AND (u.state <> 'ended' OR NOT EXISTS \
             (SELECT 1 FROM lock_update n WHERE n.repository_id = u.repository_id \
             AND n.state = 'ended' AND (n.created_at > u.created_at \
             OR (n.created_at = u.created_at AND n.id > u.id))))"
        );
        let mut tx = self.read().await?;
        let lines = sqlx::query(LINES.0).bind(limit).fetch_all(&mut *tx).await?;
        let tries = sqlx::query(LINES.1).bind(limit).fetch_all(&mut *tx).await?;
        read(&lines, &tries)
    }

    /// The updates of a repository by its name, those on their way first; GitHub's names do not
    /// differ in case alone.
    pub async fn updates_of(&self, owner: &str, name: &str, limit: i64) -> Result<Vec<UpdateLine>> {
        const LINES: (&str, &str) =
            lines!("LOWER(p.owner) = LOWER($2) AND LOWER(p.name) = LOWER($3)");
        let mut tx = self.read().await?;
        let (owner, name) = (rows::text(owner.to_owned()), rows::text(name.to_owned()));
        let query = async |tx: &mut AnyConnection, text: &'static str| {
            sqlx::query(text).bind(limit).bind(&*owner).bind(&*name).fetch_all(tx).await
        };
        let lines = query(&mut tx, LINES.0).await?;
        let tries = query(&mut tx, LINES.1).await?;
        read(&lines, &tries)
    }
}

fn read(lines: &[sqlx::any::AnyRow], tries: &[sqlx::any::AnyRow]) -> Result<Vec<UpdateLine>> {
    let mut runs: HashMap<UpdateId, Vec<RunId>> = HashMap::new();
    for row in tries {
        runs.entry(rows::parsed(row, "update_id")?).or_default().push(rows::parsed(row, "run_id")?);
    }
    let line = |row| {
        let update = updates::read_outline(row)?;
        Ok(UpdateLine {
            tries: runs.remove(&update.id).unwrap_or_default(),
            update,
            group: row.try_get("u_group")?,
            repository: rows::repository(row)?,
        })
    };
    lines.iter().map(line).collect()
}
