//! What one instance tells the others.
use std::collections::BTreeSet;

use fleetcheck::store::{Event, Store};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::postgres::Server;

#[tokio::test]
async fn what_moves_on_one_instance_is_heard_on_the_other_also_after_a_lost_connection() {
    sqlx::any::install_default_drivers();
    let url = Server::get().url("notices");
    let pool = sqlx::AnyPool::connect(&url).await.unwrap();
    sqlx::raw_sql("CREATE SCHEMA notices").execute(&pool).await.unwrap();
    let (one, other) = (Store::open(&url).await.unwrap(), Store::open(&url).await.unwrap());
    let (sender, mut heard) = mpsc::unbounded_channel();
    let stop = CancellationToken::new();
    let mut tasks = JoinSet::new();
    let stopped = stop.clone();
    tasks.spawn(async move {
        other.listen("other", |event| sender.send(event).unwrap(), stopped).await;
    });
    let all: BTreeSet<Event> = Event::all().collect();
    for round in ["at first", "after the connection was lost"] {
        // Whatever may have been missed before.
        let mut missed = BTreeSet::new();
        while missed != all {
            missed.insert(heard.recv().await.unwrap());
        }
        one.announce("other", &[Event::RunEnded].into()).await.unwrap();
        one.announce("one", &[Event::RunRequested, Event::BuildWaiting].into()).await.unwrap();
        let both = [heard.recv().await.unwrap(), heard.recv().await.unwrap()];
        assert_eq!(both, [Event::RunRequested, Event::BuildWaiting], "{round}: not its own");
        sqlx::query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'",
        )
        .execute(&pool)
        .await
        .unwrap();
    }
    stop.cancel();
    tasks.join_all().await;
}
