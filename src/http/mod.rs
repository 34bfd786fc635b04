//! Answers: GitHub's deliveries, people's pages, machines' JSON, and whether all is well.
//!
//! Reads what the store and the logs hold; the only thing it changes is that a delivery is kept.
//!
//! - [`webhook`]: `POST /webhook`.
//! - `pages`: what people read. [`api`]: the same as JSON.
//! - `builders`: the machines, and what runs there.
//! - `deliveries`: what GitHub sent, and what did not reach us.
//! - `updates`: how it stands with the updates of a repository's lock file.
//! - `logs`: an attempt's log, whole or as it grows; `archived` and `elsewhere`: one that another
//!   instance wrote, from the bucket or from that instance.
//! - [`health`]: `/healthz`, `/readyz`, `/metrics`.
//! - `limits`: what keeps strangers from using up our memory and time.
pub mod api;
mod archived;
mod builders;
mod colour;
mod deliveries;
mod elsewhere;
pub mod health;
mod limits;
mod logs;
mod pages;
mod sight;
mod updates;
pub mod webhook;

use std::fmt;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{
    CACHE_CONTROL, HeaderName, REFERRER_POLICY, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use dashmap::DashMap;
use metrics_exporter_prometheus::PrometheusHandle;

use crate::domain::Timestamp;
use crate::domain::id::AttemptId;
use crate::domain::link::Links;
use crate::domain::page::Counts;
use crate::github::webhook::Secrets;
use crate::http::health::Readiness;
use crate::http::webhook::Door;
use crate::nix::log::LogStore;
use crate::nix::log::archive::Archive;
use crate::store::Store;
use crate::store::intake::Writer;

/// What answering needs of the service.
pub struct Front {
    pub secrets: Secrets,
    /// Our App: deliveries about its own checks are echoes.
    pub app_id: u64,
    /// Accounts whose repositories are built, in lower case.
    pub owners: Vec<String>,
    /// Keeps deliveries; without it there is no `/webhook` here.
    pub writer: Option<Writer>,
    /// Told of every new delivery that wants a decision.
    pub arrived: Arc<dyn Fn() + Send + Sync>,
    pub store: Store,
    pub logs: LogStore,
    /// Where logs are that other instances have written.
    pub archive: Option<Arc<Archive>>,
    /// How far the attempts are that run now.
    pub progress: Arc<DashMap<AttemptId, Counts>>,
    pub links: Links,
    pub readiness: Arc<Readiness>,
    pub metrics: PrometheusHandle,
    /// The service's clock.
    pub clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
}

impl fmt::Debug for Front {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Front").field("owners", &self.owners).finish_non_exhaustive()
    }
}

/// The service's front. It must be served with the peers' addresses:
/// `into_make_service_with_connect_info::<SocketAddr>()`.
pub fn router(front: Arc<Front>) -> Router {
    let door = front.writer.clone().map(|writer| Door::new(Arc::clone(&front), writer));
    let door = door.map_or_else(Router::new, |door| {
        Router::new().route("/webhook", post(webhook::receive)).with_state(Arc::new(door))
    });
    let recent = Arc::new(sight::Recent::default());
    let home = async move |State(front): State<Arc<Front>>| sight::home(&front, &recent).await;
    let pages = Router::new()
        .route("/", get(home))
        .route("/builders", get(builders::page))
        .route("/deliveries", get(deliveries::page))
        .route("/runs/{id}", get(sight::run))
        .route("/builds/{id}", get(sight::build))
        .route("/builds/{id}/log", get(logs::log))
        .route("/logs/{attempt}", get(elsewhere::give))
        .route("/api/v1/builders", get(builders::json))
        .route("/api/v1/deliveries", get(deliveries::json))
        .route("/api/v1/updates", get(updates::json))
        .route("/api/v1/runs", get(api::runs))
        .route("/api/v1/runs/{id}", get(api::run))
        .route("/api/v1/builds/{id}", get(api::build))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(health::metrics))
        .with_state(front);
    pages.fallback(async || sight::not_found()).layer(middleware::from_fn(guard)).merge(door)
}

/// Headers that every answer to a browser has.
async fn guard(request: Request, next: Next) -> Response {
    /// Links hold keys, so they are told to nobody and kept by nobody.
    const HEADERS: [(HeaderName, &str); 4] = [
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-store"),
    ];
    let mut response = next.run(request).await;
    for (name, value) in HEADERS {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// What cannot be done now may be asked for again.
fn retry_later(text: &'static str) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "5")], text).into_response()
}
