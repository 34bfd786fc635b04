//! Whether the service is alive, whether it can do its work, and its numbers.
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::domain::Timestamp;
use crate::http::Front;

/// A stage that has not been heard of for this long is stuck.
const LONGEST_SILENCE_MS: i64 = 120_000;

/// When each stage was last heard of. A stage beats whenever it has looked for work, whether it
/// found any or not.
#[derive(Debug, Default)]
pub struct Readiness {
    beats: Mutex<BTreeMap<&'static str, Timestamp>>,
}

impl Readiness {
    /// A stage looked for work at this moment.
    pub fn beat(&self, stage: &'static str, now: Timestamp) {
        self.beats.lock().unwrap_or_else(PoisonError::into_inner).insert(stage, now);
    }

    /// The stages that should have been heard of since.
    pub fn silent(&self, now: Timestamp) -> Vec<&'static str> {
        let beats = self.beats.lock().unwrap_or_else(PoisonError::into_inner);
        beats
            .iter()
            .filter(|(_, beat)| now.since(**beat) > LONGEST_SILENCE_MS)
            .map(|(stage, _)| *stage)
            .collect()
    }
}

/// `GET /healthz`: the process answers.
pub(super) async fn healthz() -> &'static str {
    "alive\n"
}

/// `GET /readyz`: the store answers and every stage is at work.
pub(super) async fn readyz(State(front): State<Arc<Front>>) -> Response {
    let silent = front.readiness.silent((front.clock)());
    let store = front.store.ping().await;
    if let Err(error) = &store {
        tracing::warn!(%error, "not ready: the store does not answer");
    }
    match (store, silent.as_slice()) {
        (Ok(()), []) => "ready\n".into_response(),
        (Ok(()), stages) => {
            let text = format!("not ready: no sign of life from {}\n", stages.join(", "));
            (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
        }
        // What the database says is for the log: it may name hosts and paths.
        (Err(_), _) => {
            let text = "not ready: the store does not answer; the log says why\n";
            (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
        }
    }
}

/// `GET /metrics`, in Prometheus' text format. Numbers only: no names of repositories or hosts.
pub(super) async fn metrics(State(front): State<Arc<Front>>) -> Response {
    let format = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (format, front.metrics.render()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_that_falls_silent_is_named() {
        let readiness = Readiness::default();
        readiness.beat("intake", Timestamp(0));
        readiness.beat("report", Timestamp(100_000));
        assert!(readiness.silent(Timestamp(120_000)).is_empty());
        assert_eq!(readiness.silent(Timestamp(120_001)), ["intake"]);
    }
}
