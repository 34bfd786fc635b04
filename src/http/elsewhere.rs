//! Logs that another instance wrote: asked of that one, piece by piece, under a key that only
//! instances on the same store can make. Whoever is asked looks in its own logs alone, so nothing
//! goes in circles.
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use reqwest::{Client, StatusCode, redirect};
use serde::Deserialize;

use crate::domain::id::AttemptId;
use crate::domain::incoming::Visibility;
use crate::http::sight::Unseen;
use crate::http::{Front, logs};
use crate::nix::log::Chunk;

/// An instance is near, and a reader waits.
const CONNECT: Duration = Duration::from_secs(3);
const ANSWER: Duration = Duration::from_secs(10);

/// A piece, and the line about what was left out before it.
const LONGEST: u64 = (logs::PIECE + 1024) as u64;

/// Where what was asked for goes on, and where the log ended.
const NEXT: &str = "x-next";
const END: &str = "x-end";

static CLIENT: LazyLock<reqwest::Result<Client>> = LazyLock::new(|| {
    // An answer that leads elsewhere is none of an instance's.
    let client = Client::builder().connect_timeout(CONNECT).timeout(ANSWER).no_proxy();
    client.redirect(redirect::Policy::none()).build()
});

/// What went wrong on the way; for the service's log.
#[derive(Debug, thiserror::Error)]
enum Unheard {
    #[error("{0}")]
    Http(String),
    #[error("the answer had status {0}")]
    Status(StatusCode),
    #[error("the answer was no piece of a log")]
    Garbled,
}

impl From<&reqwest::Error> for Unheard {
    fn from(error: &reqwest::Error) -> Self {
        // The address holds a key, and reqwest's own text ends before the reason.
        let mut reason: &dyn std::error::Error = error;
        while let Some(source) = reason.source() {
            reason = source;
        }
        Self::Http(reason.to_string())
    }
}

/// What the instance that wrote this log has from a place on; `None` when it has no such log, or
/// this one is it.
pub(super) async fn read(
    front: &Front,
    attempt: &AttemptId,
    from: u64,
) -> Result<Option<Chunk>, Unseen> {
    let Some(writer) = front.store.log_writer(attempt).await? else { return Ok(None) };
    if writer.url.is_empty() {
        tracing::warn!(%attempt, instance = %writer.owner, "the log of attempt {attempt} is with instance {}, whose settings have no http.instance_url", writer.owner);
        return Err(Unseen::LogAway);
    }
    let path = front.links.path(&path_of(attempt), Visibility::Private);
    ask(&format!("{}{path}&from={from}", writer.url)).await.map_err(|error| {
        tracing::warn!(%attempt, instance = %writer.owner, url = %writer.url, %error, "instance {} at {} does not give the log of attempt {attempt}: {error}", writer.owner, writer.url);
        Unseen::LogAway
    })
}

fn path_of(attempt: &AttemptId) -> String {
    format!("/logs/{attempt}")
}

async fn ask(url: &str) -> Result<Option<Chunk>, Unheard> {
    let client = CLIENT.as_ref().map_err(Unheard::from)?;
    let mut answer = client.get(url).send().await.map_err(|it| Unheard::from(&it))?;
    match answer.status() {
        StatusCode::OK => {}
        StatusCode::NOT_FOUND => return Ok(None),
        other => return Err(Unheard::Status(other)),
    }
    let place = |name| answer.headers().get(name)?.to_str().ok()?.parse::<u64>().ok();
    let (next, end) = place(NEXT).zip(place(END)).ok_or(Unheard::Garbled)?;
    let mut bytes = Vec::new();
    while let Some(more) = answer.chunk().await.map_err(|it| Unheard::from(&it))? {
        bytes.extend_from_slice(&more);
        if bytes.len() as u64 > LONGEST {
            return Err(Unheard::Garbled);
        }
    }
    Ok(Some(Chunk { bytes, next, end }))
}

/// What another instance may say.
#[derive(Debug, Deserialize)]
pub(super) struct Wanted {
    from: u64,
    key: Option<String>,
}

/// `GET /logs/{attempt}`: a piece of a log of this instance's, for another.
pub(super) async fn give(
    State(front): State<Arc<Front>>,
    Path(attempt): Path<String>,
    Query(Wanted { from, key }): Query<Wanted>,
    uri: Uri,
) -> Result<Response, Unseen> {
    if !front.links.opens(uri.path(), Visibility::Private, key.as_deref()) {
        return Err(Unseen::Unknown);
    }
    let attempt = attempt.parse().map_err(|_| Unseen::Unknown)?;
    let Chunk { bytes, next, end } =
        logs::here(&front.logs, &attempt, from).await?.ok_or(Unseen::Unknown)?;
    Ok(([(NEXT, next.to_string()), (END, end.to_string())], bytes).into_response())
}
