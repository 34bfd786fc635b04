//! Deliveries are kept before they are acknowledged: many of them in one transaction.
use std::collections::HashSet;
use std::sync::LazyLock;
use std::time::Duration;

use sqlx::AnyConnection;
use sqlx::Row;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::domain::Timestamp;
use crate::domain::id::{DeliveryId, InstallationId, RepositoryId};
use crate::store::body::Body;
use crate::store::error::{Result, StoreError};
use crate::store::rows;
use crate::store::{Database, Store};

/// A delivery as it came through the front door.
#[derive(Clone, Debug)]
pub struct NewDelivery {
    pub guid: DeliveryId,
    /// `X-GitHub-Event`.
    pub event: String,
    pub action: Option<String>,
    pub repository: Option<RepositoryId>,
    pub installation: Option<InstallationId>,
    pub received_at: Timestamp,
    /// What could be said about it without deciding anything.
    pub standing: Arrival,
    pub body: Body,
}

/// What the front door made of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// To be decided.
    Received {
        /// In hex; finds the same body under another GUID.
        body_sha256: String,
    },
    /// Understood, and nothing to do; says why.
    Ignored(String),
    /// Not what GitHub's documentation says; says what is wrong.
    Unreadable(String),
}

/// Whether a delivery is here for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    New,
    /// The same GUID was kept before; nothing was changed.
    Known,
}

/// Rows of one statement: few texts, so that each is prepared once.
const SIZES: [usize; 3] = [16, 4, 1];
/// Parameters of a row; the first version's column `body` stays empty.
const COLUMNS: usize = 11;

/// A parameter that has a name, and be it a number, `SQLite` looks up among all the others.
static SQLITE: LazyLock<[String; 3]> =
    LazyLock::new(|| SIZES.map(|rows| insert_text(rows, |_| "?".to_owned())));
static POSTGRES: LazyLock<[String; 3]> =
    LazyLock::new(|| SIZES.map(|rows| insert_text(rows, |number| format!("${number}"))));

fn insert_text(rows: usize, parameter: fn(usize) -> String) -> String {
    let row = |at: usize| {
        let parameters: Vec<String> =
            (1..=COLUMNS).map(|column| parameter(at * COLUMNS + column)).collect();
        format!("({}, '')", parameters.join(", "))
    };
    let values: Vec<String> = (0..rows).map(row).collect();
    format!(
        "INSERT INTO delivery (guid, event, action, repository_id, installation_id, received_at, \
         changed_at, state, note, body_sha256, packed, body) VALUES {} \
         ON CONFLICT (guid) DO NOTHING RETURNING guid",
        values.join(", ")
    )
}

impl Store {
    /// Keeps these deliveries, all or none, and says in their order which are new.
    ///
    /// # Errors
    /// When the store is not available; then none is kept.
    pub async fn accept(&self, deliveries: Vec<NewDelivery>) -> Result<Vec<Accepted>> {
        let guids: Vec<DeliveryId> = deliveries.iter().map(|it| it.guid.clone()).collect();
        let mut new = HashSet::new();
        let texts = match self.database {
            Database::Sqlite { .. } => &*SQLITE,
            Database::Postgres { .. } => &*POSTGRES,
        };
        if SIZES.contains(&deliveries.len()) {
            // One statement is a transaction already.
            let mut connection = self.writer.acquire().await?;
            insert(&mut connection, texts, deliveries, &mut new).await?;
        } else if !deliveries.is_empty() {
            let mut tx = self.writer.begin().await?;
            insert(&mut tx, texts, deliveries, &mut new).await?;
            tx.commit().await?;
        }
        let accepted = |guid: DeliveryId| {
            if new.remove(guid.as_str()) { Accepted::New } else { Accepted::Known }
        };
        Ok(guids.into_iter().map(accepted).collect())
    }
}

async fn insert(
    connection: &mut AnyConnection,
    texts: &'static [String; 3],
    deliveries: Vec<NewDelivery>,
    new: &mut HashSet<String>,
) -> Result<()> {
    let mut left = deliveries.len();
    let mut rest = deliveries.into_iter();
    for (size, text) in SIZES.iter().zip(texts) {
        while left >= *size {
            let mut query = sqlx::query(text.as_str());
            for delivery in rest.by_ref().take(*size) {
                query = bind(query, delivery);
            }
            for row in query.fetch_all(&mut *connection).await? {
                new.insert(row.try_get::<String, _>(0)?);
            }
            left -= size;
        }
    }
    Ok(())
}

type Query = sqlx::query::Query<'static, sqlx::Any, sqlx::any::AnyArguments>;

fn bind(query: Query, delivery: NewDelivery) -> Query {
    let NewDelivery { guid, event, action, repository, installation, received_at, standing, body } =
        delivery;
    let (state, note, body_sha256) = match standing {
        Arrival::Received { body_sha256 } => ("arrived", None, body_sha256),
        Arrival::Ignored(note) => ("ignored", Some(rows::text(note)), String::new()),
        Arrival::Unreadable(note) => ("invalid", Some(rows::text(note)), String::new()),
    };
    query
        .bind(String::from(guid))
        .bind(rows::text(event))
        .bind(action.map(rows::text))
        .bind(repository.map(|it| it.0))
        .bind(installation.map(|it| it.0))
        .bind(received_at.0)
        .bind(received_at.0)
        .bind(state)
        .bind(note)
        .bind(body_sha256)
        .bind(body.into_packed())
}

/// Deliveries that wait for the next transaction; more are refused.
const QUEUE: usize = 1024;
/// Deliveries in one transaction.
const BATCH: usize = 256;
/// Between the beginnings of two transactions. A delivery to an idle service waits for nothing; a
/// thousand a second share their commits about three to one, and with them the pages of the indexes
/// that each brings to the disk.
const APART: Duration = Duration::from_millis(3);

struct Waiting {
    delivery: NewDelivery,
    answer: oneshot::Sender<Result<Accepted>>,
}

/// Hands deliveries to the one task that commits them. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Writer {
    queue: mpsc::Sender<Waiting>,
}

impl std::fmt::Debug for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Waiting").field(&self.delivery.guid).finish()
    }
}

/// The other end of a [`Writer`]: whatever waits while one transaction is committed goes into
/// the next.
#[derive(Debug)]
pub struct Committer {
    store: Store,
    queue: mpsc::Receiver<Waiting>,
}

impl Store {
    /// A writer, and the task that commits for it.
    pub fn intake(&self) -> (Writer, Committer) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        (Writer { queue: sender }, Committer { store: self.clone(), queue: receiver })
    }
}

impl Writer {
    /// Keeps a delivery; when this returns, it is on the disk.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when it is not, or when too many wait: GitHub is to be told so.
    pub async fn submit(&self, delivery: NewDelivery) -> Result<Accepted> {
        let (answer, answered) = oneshot::channel();
        self.queue.try_send(Waiting { delivery, answer }).map_err(|error| {
            StoreError::unavailable(match error {
                mpsc::error::TrySendError::Full(_) => "too many deliveries wait to be kept",
                mpsc::error::TrySendError::Closed(_) => "the service is ending",
            })
        })?;
        answered.await.map_err(|_| StoreError::unavailable("the service is ending"))?
    }
}

impl Committer {
    /// Commits until `stop`, and then what is left.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut batch = Vec::with_capacity(BATCH);
        let mut next = Instant::now();
        loop {
            tokio::select! {
                () = sleep_until(next) => {}
                () = stop.cancelled() => {}
            }
            let received = tokio::select! {
                received = self.queue.recv_many(&mut batch, BATCH) => received,
                () = stop.cancelled(), if !self.queue.is_closed() => {
                    self.queue.close();
                    continue;
                }
            };
            if received == 0 {
                return;
            }
            next = Instant::now() + APART;
            self.commit(&mut batch).await;
        }
    }

    async fn commit(&self, batch: &mut Vec<Waiting>) {
        let (deliveries, answers): (Vec<_>, Vec<_>) =
            batch.drain(..).map(|it| (it.delivery, it.answer)).unzip();
        // A caller who has gone away does not need its answer; the delivery is kept anyway.
        match self.store.accept(deliveries).await {
            Ok(accepted) => {
                for (answer, accepted) in answers.into_iter().zip(accepted) {
                    let _ = answer.send(Ok(accepted));
                }
            }
            Err(error) => {
                tracing::warn!(%error, count = answers.len(), "deliveries could not be kept; GitHub is told so");
                for answer in answers {
                    let _ = answer.send(Err(StoreError::unavailable(&error)));
                }
            }
        }
    }
}
