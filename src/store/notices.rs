//! What one instance moved, and the others are told: `PostgreSQL`'s LISTEN and NOTIFY. A notice
//! says no more than "look", and may be lost: every stage looks by itself now and then.
use std::collections::BTreeSet;
use std::time::Duration;

use sqlx::postgres::PgListener;
use tokio_util::sync::CancellationToken;

use crate::store::error::Result;
use crate::store::moves::Event;
use crate::store::{Database, Store};

/// One for a database; whoever has a schema of its own there is told a little too much.
const CHANNEL: &str = "fleetcheck";
/// Between two tries to listen.
const AGAIN: Duration = Duration::from_secs(2);

impl Store {
    /// Tells the other instances of this store to look. With `SQLite` there are none.
    ///
    /// # Errors
    /// When they were not told.
    pub async fn announce(&self, by: &str, events: &BTreeSet<Event>) -> Result<()> {
        match self.database {
            Database::Sqlite { .. } => Ok(()),
            Database::Postgres { .. } => {
                let names: Vec<&str> = events.iter().map(|it| it.name()).collect();
                sqlx::query("SELECT pg_notify($1, $2)")
                    .bind(CHANNEL)
                    .bind(format!("{by} {}", names.join(",")))
                    .execute(&self.writer)
                    .await?;
                Ok(())
            }
        }
    }

    /// Hears what the others announce until `stop`. Whatever may have been missed, while there was
    /// no connection, is told too.
    pub async fn listen(&self, by: &str, told: impl Fn(Event), stop: CancellationToken) {
        let Database::Postgres { notices } = &self.database else {
            return stop.cancelled().await;
        };
        while !stop.is_cancelled() {
            let heard = async {
                let mut listener = PgListener::connect_with(notices).await?;
                listener.listen(CHANNEL).await?;
                Event::all().for_each(&told);
                hear(&mut listener, by, &told).await
            };
            let lost = tokio::select! {
                lost = heard => lost,
                () = stop.cancelled() => return,
            };
            if let Err(error) = lost {
                tracing::warn!(
                    "the connection that tells of other instances' work is lost, and made again; \
                     until then their work is found by looking: {error}"
                );
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(AGAIN) => {}
            }
        }
    }
}

/// Until the connection is lost for good.
async fn hear(
    listener: &mut PgListener,
    by: &str,
    told: &impl Fn(Event),
) -> std::result::Result<(), sqlx::Error> {
    loop {
        let Some(notice) = listener.try_recv().await? else {
            tracing::warn!(
                "the connection that tells of other instances' work was lost, and is made again"
            );
            Event::all().for_each(told);
            continue;
        };
        let Some((who, names)) = notice.payload().split_once(' ') else { continue };
        if who != by {
            names.split(',').filter_map(Event::named).for_each(told);
        }
    }
}
