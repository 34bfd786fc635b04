//! What became of the deliveries that were kept.
use sqlx::AnyConnection;
use sqlx::Row;
use sqlx::any::AnyRow;

use crate::domain::Timestamp;
use crate::domain::id::{DeliveryId, RepositoryId};
use crate::store::Store;
use crate::store::body::Body;
use crate::store::error::Result;
use crate::store::rows;

/// A delivery that wants its decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredDelivery {
    pub guid: DeliveryId,
    pub event: String,
    /// The bytes as they came.
    pub body: Vec<u8>,
    pub body_sha256: String,
    pub received_at: Timestamp,
}

/// Where a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryState {
    /// Kept, and not yet decided.
    Received,
    /// GitHub or the repository must be asked before it can be decided.
    Asks,
    /// It changed something.
    Decided,
    /// It changes nothing.
    Ignored,
    /// It could not be understood.
    Unreadable,
}

/// Packed, unless the first version kept it.
fn body(row: &AnyRow) -> Result<Vec<u8>> {
    match row.try_get::<Option<Vec<u8>>, _>("packed")? {
        Some(packed) => Body::from_packed(packed).unpack(),
        None => Ok(row.try_get::<String, _>("body")?.into_bytes()),
    }
}

fn delivery(row: &AnyRow) -> Result<StoredDelivery> {
    Ok(StoredDelivery {
        guid: rows::parsed(row, "guid")?,
        event: row.try_get("event")?,
        body: body(row)?,
        body_sha256: row.try_get("body_sha256")?,
        received_at: rows::time(row, "received_at")?,
    })
}

/// A delivery that was decided is decided anew: what came since says more of it.
pub(super) async fn reopen(
    tx: &mut AnyConnection,
    guid: &DeliveryId,
    now: Timestamp,
) -> Result<()> {
    sqlx::query(
        "UPDATE delivery SET state = 'arrived', note = NULL, changed_at = $2 \
         WHERE guid = $1 AND state IN ('decided', 'ignored')",
    )
    .bind(guid.as_str())
    .bind(now.0)
    .execute(tx)
    .await?;
    Ok(())
}

/// A delivery's record, without its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryRecord {
    pub guid: DeliveryId,
    pub event: String,
    pub action: Option<String>,
    pub received_at: Timestamp,
    pub state: DeliveryState,
    /// Why it was ignored, or what is wrong with it.
    pub note: Option<String>,
}

impl DeliveryState {
    pub(super) const ALL: [Self; 5] =
        [Self::Received, Self::Asks, Self::Decided, Self::Ignored, Self::Unreadable];

    /// Its name on pages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Asks => "asks",
            Self::Decided => "decided",
            Self::Ignored => "ignored",
            Self::Unreadable => "unreadable",
        }
    }

    /// As the store keeps it: seven letters each (see the migration).
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::Received => "arrived",
            Self::Asks => "waiting",
            Self::Decided => "decided",
            Self::Ignored => "ignored",
            Self::Unreadable => "invalid",
        }
    }

    pub(super) fn read(row: &AnyRow) -> Result<Self> {
        Ok(match row.try_get::<&str, _>("state")? {
            "arrived" => Self::Received,
            "waiting" => Self::Asks,
            "decided" => Self::Decided,
            "ignored" => Self::Ignored,
            "invalid" => Self::Unreadable,
            other => return Err(rows::unknown("delivery.state", other)),
        })
    }
}

impl Store {
    /// Deliveries to be decided, the oldest first.
    pub async fn undecided(&self, limit: i64) -> Result<Vec<StoredDelivery>> {
        self.stored("arrived", Timestamp(i64::MAX), limit).await
    }

    /// Deliveries that wait for an answer, and may be looked at again now.
    pub async fn asking(&self, now: Timestamp, limit: i64) -> Result<Vec<StoredDelivery>> {
        self.stored("waiting", now, limit).await
    }

    async fn stored(
        &self,
        state: &'static str,
        until: Timestamp,
        limit: i64,
    ) -> Result<Vec<StoredDelivery>> {
        let found = sqlx::query(
            "SELECT guid, event, packed, body, body_sha256, received_at FROM delivery \
             WHERE state = $1 AND changed_at <= $2 ORDER BY changed_at LIMIT $3",
        )
        .bind(state)
        .bind(until.0)
        .bind(limit)
        .fetch_all(&self.reader)
        .await?;
        found.iter().map(delivery).collect()
    }

    /// The newest deliveries of an event of a repository that came since, decided or not.
    pub async fn told_since(
        &self,
        repository: RepositoryId,
        event: &str,
        since: Timestamp,
        limit: i64,
    ) -> Result<Vec<StoredDelivery>> {
        let found = sqlx::query(
            "SELECT guid, event, packed, body, body_sha256, received_at FROM delivery \
             WHERE state IN ('arrived', 'waiting', 'decided', 'ignored') AND changed_at >= $1 \
             AND repository_id = $2 AND event = $3 ORDER BY received_at DESC LIMIT $4",
        )
        .bind(since.0)
        .bind(repository.0)
        .bind(rows::text(event.to_owned()))
        .bind(limit)
        .fetch_all(&self.reader)
        .await?;
        found.iter().map(delivery).collect()
    }

    /// The same body came before, under another GUID: GitHub sends a delivery again under its old
    /// GUID, so somebody replays it. Of two, the one with the smaller time and GUID is the first.
    pub async fn replayed(&self, delivery: &StoredDelivery) -> Result<bool> {
        let found = sqlx::query(
            "SELECT guid FROM delivery WHERE body_sha256 = $1 AND state <> 'ignored' AND guid <> $2 \
             AND (received_at < $3 OR (received_at = $3 AND guid < $2)) LIMIT 1",
        )
        .bind(delivery.body_sha256.as_str())
        .bind(delivery.guid.as_str())
        .bind(delivery.received_at.0)
        .fetch_optional(&self.reader)
        .await?;
        Ok(found.is_some())
    }

    /// A delivery's record.
    pub async fn delivery(&self, guid: &DeliveryId) -> Result<Option<DeliveryRecord>> {
        let row = sqlx::query(
            "SELECT event, action, received_at, state, note FROM delivery WHERE guid = $1",
        )
        .bind(guid.as_str())
        .fetch_optional(&self.reader)
        .await?;
        row.map(|row| {
            Ok(DeliveryRecord {
                guid: guid.clone(),
                event: row.try_get("event")?,
                action: row.try_get("action")?,
                received_at: rows::time(&row, "received_at")?,
                state: DeliveryState::read(&row)?,
                note: row.try_get("note")?,
            })
        })
        .transpose()
    }

    /// Forgets deliveries that were settled before this moment; says how many. A body that is
    /// replayed later still starts nothing: its commit has been tested.
    pub async fn delete_old(&self, before: Timestamp) -> Result<u64> {
        let mut deleted = 0;
        for state in [DeliveryState::Decided, DeliveryState::Ignored, DeliveryState::Unreadable] {
            // In small portions, so that no delivery waits long for the writer.
            loop {
                let done = sqlx::query(
                    "DELETE FROM delivery WHERE guid IN (SELECT guid FROM delivery \
                     WHERE state = $1 AND changed_at < $2 LIMIT 200)",
                )
                .bind(state.code())
                .bind(before.0)
                .execute(&self.writer)
                .await?;
                deleted += done.rows_affected();
                if done.rows_affected() < 200 {
                    break;
                }
            }
        }
        // No delivery of before will come any more.
        sqlx::query("DELETE FROM gone WHERE noted_at < $1")
            .bind(before.0)
            .execute(&self.writer)
            .await?;
        Ok(deleted)
    }
}
