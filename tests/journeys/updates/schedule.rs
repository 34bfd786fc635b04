//! An update begins by itself.
use sqlx::AnyPool;

use super::fleet::Fleet;

const POLICY: &str = "schedule = \"0 4 * * 0\"\ntimezone = \"Europe/Berlin\"\n";
const HOSTS: [(&str, &str); 1] = [("raider", "echo ${a.v}")];

async fn pool(fleet: &Fleet) -> AnyPool {
    sqlx::any::install_default_drivers();
    let file = fleet.world.directory().join("fleetcheck.db");
    AnyPool::connect(&format!("sqlite:{}", file.display())).await.unwrap()
}

/// When the repositories' updates are due, in milliseconds.
async fn due(pool: &AnyPool) -> Vec<Option<i64>> {
    let text = "SELECT update_due_at FROM repository ORDER BY id";
    sqlx::query_scalar(text).fetch_all(pool).await.unwrap()
}

#[tokio::test]
async fn updates_that_were_missed_are_made_up_once() {
    let mut fleet = Fleet::new(&["a"], &HOSTS, POLICY).await;
    fleet.inputs().commit("a", "v = \"2\";");
    let pool = pool(&fleet).await;
    let next = due(&pool).await;
    let now = jiff::Timestamp::now().as_millisecond();
    assert!(next[0].is_some_and(|it| it > now && it < now + 8 * 86_400_000), "{next:?}");
    fleet.world.stop().await;
    // Three weeks went by without anybody.
    let past = "UPDATE repository SET update_due_at = update_due_at - 21 * 86400000";
    sqlx::query(past).execute(&pool).await.unwrap();
    fleet.world.start().await;
    assert_eq!(fleet.ended(1).await, ["pull request 1 waits for a person"]);
    assert_eq!(due(&pool).await, next);
    let begun: i64 =
        sqlx::query_scalar("SELECT COUNT(*) FROM lock_update").fetch_one(&pool).await.unwrap();
    assert_eq!(begun, 1);
}

#[tokio::test]
async fn a_schedule_that_is_taken_out_of_the_policy_fires_no_more() {
    let mut fleet = Fleet::new(&["a"], &HOSTS, POLICY).await;
    let pool = pool(&fleet).await;
    assert!(due(&pool).await[0].is_some());
    fleet.set_policy("");
    fleet.push().await;
    assert_eq!(due(&pool).await, [None]);
}

#[tokio::test]
async fn two_repositories_of_the_same_minute_are_both_updated() {
    let fleet = Fleet::new(&["a"], &HOSTS, POLICY).await;
    let other = fleet.beside("other").await;
    fleet.inputs().commit("a", "v = \"2\";");
    let pool = pool(&fleet).await;
    let next = due(&pool).await;
    assert_ne!(next[0], next[1], "a few minutes apart");
    sqlx::query("UPDATE repository SET update_due_at = 1").execute(&pool).await.unwrap();
    let ends = fleet.ended(2).await;
    assert_eq!(ends, ["pull request 1 waits for a person", "pull request 1 waits for a person"]);
    for repo in [&fleet.world.repo, &other] {
        assert_eq!(fleet.world.github.pulls(repo).len(), 1, "{}", repo.name);
    }
}
