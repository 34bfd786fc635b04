//! The service on `PostgreSQL`.
#![expect(clippy::unwrap_used, reason = "tests may panic")]
use insta::assert_snapshot;

use crate::server::Server;
use crate::world::World;
use crate::world::fleet::Host;

/// A world whose store is a schema of its own.
pub(crate) async fn world(schema: &str) -> World {
    on(Server::get(), schema).await
}

async fn on(server: &Server, schema: &str) -> World {
    sqlx::any::install_default_drivers();
    let url = server.url(schema);
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

#[tokio::test]
async fn a_database_that_goes_away_is_waited_for_and_nothing_is_lost() {
    let mut server = Server::start();
    let mut world = on(&server, "away").await;
    let mut hold = world.hold("orion");
    world.start().await;
    let hosts = [Host::held_by("orion", &hold.script()), Host::broken("viper")];
    let sha = world.push(&hosts, &[]).await;
    hold.runs().await;
    world.concluded(&sha, "fleet / viper", "failure").await;

    server.stop();
    world.logged("will try again").await;
    // What GitHub sends meanwhile is not acknowledged, so that it is asked for again.
    let topic = world.commit("topic", &[Host::good("orion", "2")], &[]);
    let acknowledged = world.github.push(&world.repo, "topic", &topic).await;
    assert_ne!(acknowledged, Some(202));
    // The build goes on, and ends while nobody can be told.
    hold.let_go();
    hold.is_over().await;
    server.start_again();
    world.announce("topic", &topic).await;

    world.concluded(&sha, "fleet / orion", "success").await;
    world.settled(&sha, &["fleet", "fleet / orion", "fleet / viper"]).await;
    world.assert_nothing_doubled(&sha);
    assert!(world.stop().await.success());
}
