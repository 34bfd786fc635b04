//! The service on `PostgreSQL`.
#![expect(clippy::unwrap_used, reason = "tests may panic")]
use insta::assert_snapshot;

use crate::server::Server;
use crate::world::World;
use crate::world::fleet::Host;

async fn world(schema: &str) -> World {
    sqlx::any::install_default_drivers();
    let url = Server::get().url(schema);
    let pool = sqlx::AnyPool::connect(&url).await.unwrap();
    let text = sqlx::AssertSqlSafe(format!("CREATE SCHEMA {schema}"));
    sqlx::raw_sql(text).execute(&pool).await.unwrap();
    pool.close().await;
    World::new().await.store(url)
}

#[tokio::test]
async fn a_push_becomes_checks_on_postgresql_too_and_a_crash_loses_nothing() {
    let mut world = world("journey").await;
    let mut hold = world.hold("orion");
    world.start().await;
    let hosts = [Host::held_by("orion", &hold.script()), Host::broken("viper")];
    let sha = world.push(&hosts, &[]).await;
    hold.runs().await;
    world.kill().await;
    hold.is_over().await;
    world.start().await;
    hold.runs().await;
    hold.let_go();
    world.settled(&sha, &["fleet", "fleet / orion", "fleet / viper"]).await;
    assert_snapshot!(world.check(&sha, "fleet").title, @"1 of 2 hosts build; viper: builder failed with exit code 3");
    world.assert_nothing_doubled(&sha);
    assert!(world.stop().await.success());
}
