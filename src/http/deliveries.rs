//! `GET /deliveries` and the same as JSON. Everyone sees how many there are and those of public
//! repositories; the rest, and what GitHub said, needs the key of the page's own address.
use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::http::Front;
use crate::http::pages::{deliveries as shown, rfc3339};
use crate::http::sight::{Key, Reader, Unseen, reader};
use crate::store::looks::Overview;

/// Rows of each kind.
const SHOWN: i64 = 50;

/// `GET /deliveries`.
pub(super) async fn page(
    State(front): State<Arc<Front>>,
    Query(key): Query<Key>,
    uri: Uri,
) -> Result<Response, Unseen> {
    let overview = front.store.overview(SHOWN).await?;
    Ok(shown::render(&overview, reader(&front, &uri, &key), (front.clock)()))
}

/// `GET /api/v1/deliveries`.
pub(super) async fn json(
    State(front): State<Arc<Front>>,
    Query(key): Query<Key>,
    uri: Uri,
) -> Response {
    match front.store.overview(SHOWN).await {
        Ok(overview) => Json(document(overview, reader(&front, &uri, &key))).into_response(),
        Err(error) => crate::http::api::Failed::from(Unseen::from(error)).into_response(),
    }
}

#[derive(Serialize)]
struct Document {
    counts: std::collections::BTreeMap<String, i64>,
    looks: Vec<LookJson>,
    missed: Vec<MissedJson>,
    deliveries: Vec<DeliveryJson>,
}

#[derive(Serialize)]
struct LookJson {
    kind: &'static str,
    at: String,
    looked: i64,
    missed: i64,
    asked: i64,
    given_up: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

#[derive(Serialize)]
struct MissedJson {
    guid: String,
    event: String,
    action: Option<String>,
    repository: Option<String>,
    delivered_at: String,
    state: &'static str,
    asked: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

#[derive(Serialize)]
struct DeliveryJson {
    guid: String,
    event: String,
    action: Option<String>,
    repository: Option<String>,
    received_at: String,
    state: &'static str,
    note: Option<String>,
}

fn document(overview: Overview, reader: Reader) -> Document {
    let Overview { looks, missed, deliveries, counts } = overview;
    let for_operators = |note: Option<String>| note.filter(|_| reader == Reader::Operator);
    let looks = looks.into_iter().map(|it| LookJson {
        kind: it.kind.as_str(),
        at: rfc3339(it.at),
        looked: it.looked,
        missed: it.missed,
        asked: it.asked,
        given_up: it.given_up,
        note: for_operators(it.note),
    });
    let missed = missed.into_iter().map(|it| MissedJson {
        guid: it.missed.guid.to_string(),
        event: it.missed.event,
        action: it.missed.action,
        repository: shown::named(it.whose.as_ref(), reader),
        delivered_at: rfc3339(it.missed.delivered_at),
        state: it.missed.state.as_str(),
        asked: it.missed.asked,
        note: for_operators(it.missed.note),
    });
    let deliveries = deliveries.into_iter().filter(|it| shown::shows(it, reader));
    let deliveries = deliveries.map(|it| DeliveryJson {
        guid: it.guid.to_string(),
        event: it.event,
        action: it.action,
        repository: shown::named(it.whose.as_ref(), reader),
        received_at: rfc3339(it.received_at),
        state: it.state.as_str(),
        note: it.note,
    });
    Document {
        counts,
        looks: looks.collect(),
        missed: missed.collect(),
        deliveries: deliveries.collect(),
    }
}
