//! `POST /webhook`: a signed delivery is on the disk before it is acknowledged.
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use crate::domain::id::{DeliveryId, InstallationId, RepositoryId};
use crate::github::webhook::{Disposition, Peeked, VerifiedBody, peek};
use crate::http::limits::{Memory, Refusals, Unread};
use crate::http::{Front, retry_later};
use crate::store::intake::{Accepted, Arrival, NewDelivery, Writer};
use crate::store::{Body, StoreError};
use crate::telemetry::DELIVERIES;

/// The longest name of an event that is kept; GitHub's are at most 40 characters.
const LONGEST_EVENT: usize = 64;

/// What the door keeps besides the service's own parts.
pub(super) struct Door {
    pub(super) front: Arc<Front>,
    writer: Writer,
    memory: Memory,
    refusals: Refusals,
}

impl Door {
    pub(super) fn new(front: Arc<Front>, writer: Writer) -> Self {
        Self { front, writer, memory: Memory::new(), refusals: Refusals::new() }
    }
}

/// Takes a delivery in.
pub(super) async fn receive(
    State(door): State<Arc<Door>>,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let announced = parts.headers.get(header::CONTENT_LENGTH);
    let announced = announced.and_then(|it| it.to_str().ok()).and_then(|it| it.parse().ok());
    let body = match door.memory.read(body, announced).await {
        Ok(body) => body,
        Err(unread) => return refuse_unread(unread),
    };
    let signature = parts.headers.get("x-hub-signature-256").map(HeaderValue::as_bytes);
    match door.front.secrets.verify(body.bytes.clone(), signature) {
        // `body` is kept until the answer is made: it holds the share of the memory.
        Ok(verified) => accept(&door, &parts.headers, verified).await,
        Err(_) if door.refusals.is_too_many(address) => {
            count("limited");
            (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, "10")], "too many requests\n")
                .into_response()
        }
        Err(unverified) => {
            count("unsigned");
            (StatusCode::UNAUTHORIZED, format!("{unverified}\n")).into_response()
        }
    }
}

fn refuse_unread(unread: Unread) -> Response {
    match unread {
        Unread::TooLarge => {
            count("too_large");
            (StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than GitHub's limit of 25 MiB\n")
                .into_response()
        }
        Unread::NoMemory => {
            count("unavailable");
            retry_later("too many deliveries at once\n")
        }
        Unread::Broken => {
            count("broken");
            (StatusCode::REQUEST_TIMEOUT, "the body did not come to its end\n").into_response()
        }
    }
}

async fn accept(door: &Door, headers: &HeaderMap, verified: VerifiedBody) -> Response {
    let (guid, event) = match names(headers) {
        Ok(names) => names,
        Err(reason) => {
            count("nameless");
            return (StatusCode::BAD_REQUEST, reason).into_response();
        }
    };
    match peek(&event, &verified, door.front.app_id, &door.front.owners) {
        Ok(Peeked { disposition: Disposition::Ping, .. }) => {
            count("ping");
            "pong\n".into_response()
        }
        Ok(Peeked { disposition: Disposition::Echo, .. }) => {
            count("echo");
            (StatusCode::ACCEPTED, "dropped: an echo of our own check\n").into_response()
        }
        Ok(Peeked {
            disposition: Disposition::Ignore(reason),
            action,
            repository,
            installation,
        }) => {
            let answer = (StatusCode::ACCEPTED, format!("ignored: {reason}\n"));
            let standing = Arrival::Ignored(reason);
            let about = About { guid, event, action, repository, installation, standing };
            keep(door, about, verified, "ignored", answer).await
        }
        Ok(Peeked { disposition: Disposition::Act, action, repository, installation }) => {
            let answer = (StatusCode::ACCEPTED, "accepted\n".to_owned());
            let digest = Sha256::digest(verified.bytes());
            let standing = Arrival::Received { body_sha256: hex::encode(digest) };
            let about = About { guid, event, action, repository, installation, standing };
            keep(door, about, verified, "accepted", answer).await
        }
        Err(not_json) => {
            let answer = (StatusCode::BAD_REQUEST, format!("{not_json}\n"));
            let standing = Arrival::Unreadable(not_json.reason);
            let (action, repository, installation) = (None, None, None);
            let about = About { guid, event, action, repository, installation, standing };
            keep(door, about, verified, "not_json", answer).await
        }
    }
}

/// A delivery without its body.
struct About {
    guid: DeliveryId,
    event: String,
    action: Option<String>,
    repository: Option<RepositoryId>,
    installation: Option<InstallationId>,
    standing: Arrival,
}

/// Commits a delivery and then gives this answer; nothing is acknowledged that is not kept.
async fn keep(
    door: &Door,
    about: About,
    verified: VerifiedBody,
    outcome: &'static str,
    answer: (StatusCode, String),
) -> Response {
    let bytes = verified.into_bytes();
    let About { guid, event, action, repository, installation, standing } = about;
    let shown = guid.clone();
    let body = match Body::pack(&bytes) {
        Ok(body) => body,
        Err(error) => return unavailable(&shown, &error),
    };
    let wants_decision = matches!(standing, Arrival::Received { .. });
    let delivery = NewDelivery {
        guid,
        event,
        action,
        repository,
        installation,
        received_at: (door.front.clock)(),
        standing,
        body,
    };
    match door.writer.submit(delivery).await {
        Ok(Accepted::New) => {
            count(outcome);
            if wants_decision {
                (door.front.arrived)();
            }
            answer.into_response()
        }
        Ok(Accepted::Known) => {
            count("duplicate");
            (answer.0, "known: this delivery came before\n").into_response()
        }
        Err(error) => unavailable(&shown, &error),
    }
}

fn unavailable(delivery: &DeliveryId, error: &StoreError) -> Response {
    count("unavailable");
    tracing::warn!(%delivery, %error, "delivery {delivery} could not be kept; GitHub is told so");
    retry_later("the store is not available\n")
}

/// The delivery's GUID and event, which GitHub puts into headers.
fn names(headers: &HeaderMap) -> Result<(DeliveryId, String), String> {
    let header = |name: &str| headers.get(name).and_then(|it| it.to_str().ok());
    let guid = header("x-github-delivery").ok_or("the header X-GitHub-Delivery is missing\n")?;
    let guid = guid.parse().map_err(|error| format!("X-GitHub-Delivery: {error}\n"))?;
    let event = header("x-github-event").ok_or("the header X-GitHub-Event is missing\n")?;
    if event.is_empty() || event.len() > LONGEST_EVENT {
        return Err(format!("X-GitHub-Event must have 1 to {LONGEST_EVENT} characters\n"));
    }
    Ok((guid, event.to_owned()))
}

fn count(outcome: &'static str) {
    metrics::counter!(DELIVERIES, "outcome" => outcome).increment(1);
}
