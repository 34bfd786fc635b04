//! How `SQLite` goes about the statements that run for every step of a stage: along an index, whose
//! length is what is open now, and never along all that there ever was.
use sqlx::Row as _;

use crate::store::archived::{UNARCHIVED, UNSHOWN};
use crate::store::bump::REFRESH_HOSTS;
use crate::store::queue::{CANDIDATES, KINDS};
use crate::store::reports::BEHIND_OF;
use crate::store::{Result, Store};

/// The steps of a statement's plan, one a line.
async fn plan(statement: &str) -> Result<String> {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&format!("sqlite:{}/fleet.db", directory.path().display())).await?;
    let explained = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"));
    let rows = sqlx::raw_sql(explained).fetch_all(&store.reader).await?;
    let steps: Vec<String> =
        rows.iter().map(|row| row.try_get("detail")).collect::<std::result::Result<_, _>>()?;
    Ok(steps.join("\n"))
}

/// Scans of tables or of whole indexes; those of what is open only, and of what was found, are none.
fn scans(plan: &str) -> Vec<&str> {
    let open = ["build_queue", "build_open", "report_behind"];
    let is_scan =
        |it: &&str| it.contains("SCAN") && !it.contains("SCAN placed") && !it.contains("SCAN (");
    plan.lines().filter(is_scan).filter(|it| !open.iter().any(|name| it.contains(name))).collect()
}

#[tokio::test]
async fn the_queue_is_read_along_its_index() {
    let plan = plan(CANDIDATES).await.unwrap();
    assert!(plan.contains("USING INDEX build_queue"), "{plan}");
    assert!(!plan.contains("TEMP B-TREE"), "{plan}");
    assert_eq!(scans(&plan), [""; 0], "{plan}");
}

#[tokio::test]
async fn the_kinds_of_what_waits_are_read_along_its_index() {
    let plan = plan(KINDS).await.unwrap();
    let along = "USING COVERING INDEX build_queue_at_home (home=? AND system=?";
    assert_eq!(plan.matches(along).count(), 2, "{plan}");
}

#[tokio::test]
async fn what_is_behind_is_found_without_what_was_shown() {
    let plan = plan(BEHIND_OF).await.unwrap();
    assert!(plan.contains("USING INDEX report_behind"), "{plan}");
    assert_eq!(scans(&plan), [""; 0], "{plan}");
}

#[tokio::test]
async fn progress_is_looked_for_among_what_is_open() {
    let plan = plan(REFRESH_HOSTS).await.unwrap();
    assert_eq!(scans(&plan), [""; 0], "{plan}");
}

#[tokio::test]
async fn logs_are_carried_to_and_from_the_bucket_along_an_index() {
    for (statement, index) in [(UNARCHIVED, "attempt_unarchived"), (UNSHOWN, "attempt_archived")] {
        let plan = plan(statement).await.unwrap();
        assert!(plan.contains(&format!("INDEX {index} (")), "{plan}");
        assert!(!plan.contains("TEMP B-TREE"), "{plan}");
        assert_eq!(scans(&plan), [""; 0], "{plan}");
    }
}
