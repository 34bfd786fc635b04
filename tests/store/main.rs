//! One contract for the store, run on `SQLite` and on a throw-away `PostgreSQL`.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends there")]

/// Every sentence is a test on each database.
macro_rules! contract {
    ($(async fn $name:ident($world:ident) $body:block)*) => {$(
        async fn $name($world: crate::world::World) $body

        mod $name {
            use crate::world::World;

            #[tokio::test]
            async fn on_sqlite() {
                super::$name(World::sqlite().await).await;
            }

            #[tokio::test]
            async fn on_postgres() {
                super::$name(World::postgres().await).await;
            }
        }
    )*};
}

mod archived;
mod attempts;
mod builders;
mod claims;
mod compared;
mod deciding;
mod failures;
mod forgetting;
mod insights;
mod instances;
mod intake;
mod locks;
mod missed;
mod notices;
mod opening;
mod people;
mod postgres;
mod pulls;
mod reports;
mod schedules;
mod tracked;
mod trust;
mod updates;
mod views;
mod world;
