//! `GET /builders` and the same as JSON: how it stands with each. What runs there is named to
//! whoever may see it: everyone sees public repositories, the rest needs the page's own key.
use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::domain::builder::Builder;
use crate::domain::text::clean;
use crate::http::Front;
use crate::http::pages::{builders as shown, rfc3339};
use crate::http::sight::{Key, Reader, Unseen, reader};
use crate::store::builders::Running;

/// `GET /builders`.
pub(super) async fn page(
    State(front): State<Arc<Front>>,
    Query(key): Query<Key>,
    uri: Uri,
) -> Result<Response, Unseen> {
    let (builders, running) = seen(&front).await?;
    let reader = reader(&front, &uri, &key);
    Ok(shown::render(&builders, &running, reader, &front))
}

/// `GET /api/v1/builders`.
pub(super) async fn json(
    State(front): State<Arc<Front>>,
    Query(key): Query<Key>,
    uri: Uri,
) -> Response {
    match seen(&front).await {
        Ok((builders, running)) => {
            let reader = reader(&front, &uri, &key);
            let all = builders.iter().map(|it| document(it, &running, reader));
            Json(Document { builders: all.collect() }).into_response()
        }
        Err(error) => crate::http::api::Failed::from(error).into_response(),
    }
}

async fn seen(front: &Front) -> Result<(Vec<Builder>, Vec<Running>), Unseen> {
    let mut running = front.store.running().await?;
    for one in &mut running {
        if let Some(counts) = front.progress.get(&one.attempt) {
            one.counts = Some(counts.clone());
        }
    }
    Ok((front.store.builders().await?, running))
}

#[derive(Serialize)]
struct Document {
    builders: Vec<BuilderJson>,
}

#[derive(Serialize)]
struct BuilderJson {
    name: String,
    systems: Vec<String>,
    features: Vec<String>,
    mandatory_features: Vec<String>,
    slots: u32,
    /// Attempts that run there.
    running: usize,
    state: &'static str,
    takes_work: bool,
    since: String,
    looked_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    drained_at: Option<String>,
    /// In words; what ssh said is the operator's alone.
    sentence: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    nix: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    free_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    load: Option<String>,
}

fn document(it: &Builder, running: &[Running], reader: Reader) -> BuilderJson {
    BuilderJson {
        name: it.name.clone(),
        systems: it.capability.systems.clone(),
        features: it.capability.features.clone(),
        mandatory_features: it.capability.mandatory.clone(),
        slots: it.slots,
        running: running.iter().filter(|one| one.builder == it.name).count(),
        state: it.word(),
        takes_work: it.takes_work(),
        since: rfc3339(it.since),
        looked_at: rfc3339(it.looked_at),
        drained_at: it.drained_at.map(rfc3339),
        sentence: clean(&if reader == Reader::Operator { it.sentence() } else { it.outline() }),
        nix: it.facts.version.as_deref().map(clean),
        free_bytes: it.facts.free,
        load: it.facts.load.as_deref().map(clean),
    }
}
