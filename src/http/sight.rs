//! Who gets to see what: a run or build by its id, if the key in the link opens it.
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::domain::build::BuildState;
use crate::domain::id::{BuildId, RunId};
use crate::domain::incoming::{Repository, Visibility};
use crate::domain::page::{BuildView, RunLine, RunView};
use crate::flow::shared::tell_counts;
use crate::http::pages::build::{Log, LogPart};
use crate::http::pages::home::Home;
use crate::http::pages::{self, home};
use crate::http::{Front, logs, retry_later};
use crate::store::StoreError;
use crate::store::views::{AttemptView, Before, BuildDetail};

/// Runs on the front page.
const RECENT: usize = 30;

/// Updates on the front page.
const UPDATES: i64 = 50;

/// How long a list of them is good enough.
const FRESH: Duration = Duration::from_secs(2);

/// Rows that are looked through for them, in portions.
const PORTION: i64 = 100;
const PORTIONS: usize = 5;

/// Bytes of a log on a build's page: its end.
const SHOWN_LOG: u64 = 128 << 10;

/// The key of a link.
#[derive(Debug, Deserialize)]
pub(super) struct Key {
    pub(super) key: Option<String>,
}

/// Why something is not shown.
pub(super) enum Unseen {
    /// There is none of this id, or it is private and the key is not its own: the same to callers.
    Unknown,
    Unavailable,
    /// The log that was asked for is in a bucket, or with another instance, that does not answer.
    LogAway,
}

impl From<StoreError> for Unseen {
    fn from(error: StoreError) -> Self {
        tracing::warn!(%error, "a page could not be made: the store does not answer");
        Self::Unavailable
    }
}

impl IntoResponse for Unseen {
    fn into_response(self) -> Response {
        match self {
            Self::Unknown => not_found(),
            Self::Unavailable => retry_later("the store does not answer; try again\n"),
            Self::LogAway => retry_later("this log cannot be reached now; try again\n"),
        }
    }
}

/// The answer for whatever is not there, or not for the caller.
pub(super) fn not_found() -> Response {
    (
        StatusCode::NOT_FOUND,
        "not found: the address is wrong, or the page is of a private repository and its link \
         lacks the key. Links with a key stand in the checks on GitHub.\n",
    )
        .into_response()
}

fn admit(front: &Front, repository: &Repository, uri: &Uri, key: &Key) -> Result<(), Unseen> {
    let opens = front.links.opens(uri.path(), repository.visibility, key.key.as_deref());
    if opens { Ok(()) } else { Err(Unseen::Unknown) }
}

/// Who asks for what is about every repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reader {
    /// Has the key of the address, which stands in the service's log.
    Operator,
    Stranger,
}

/// Who asks for this address.
pub(super) fn reader(front: &Front, uri: &Uri, key: &Key) -> Reader {
    let opens = front.links.opens(uri.path(), Visibility::Private, key.key.as_deref());
    if opens { Reader::Operator } else { Reader::Stranger }
}

/// The run of this id, if the request may see it.
pub(super) async fn find_run(
    front: &Front,
    id: &str,
    uri: &Uri,
    key: &Key,
) -> Result<RunView, Unseen> {
    let id: RunId = id.parse().map_err(|_| Unseen::Unknown)?;
    let mut view = front.store.run_view(&id).await?.ok_or(Unseen::Unknown)?;
    tell_counts(&front.progress, &mut view);
    admit(front, &view.repository, uri, key)?;
    Ok(view)
}

/// A build with its run, which holds no other.
pub(super) struct Found {
    pub(super) run: RunView,
    pub(super) build: BuildView,
    /// At its derivation, the newest first.
    pub(super) attempts: Vec<AttemptView>,
}

/// The build of this id, if the request may see it.
pub(super) async fn find_build(
    front: &Front,
    id: &str,
    uri: &Uri,
    key: &Key,
) -> Result<Found, Unseen> {
    let id: BuildId = id.parse().map_err(|_| Unseen::Unknown)?;
    let BuildDetail { mut view, attempts } =
        front.store.build_detail(&id).await?.ok_or(Unseen::Unknown)?;
    admit(front, &view.repository, uri, key)?;
    tell_counts(&front.progress, &mut view);
    let build = view.builds.first().cloned().ok_or(Unseen::Unknown)?;
    Ok(Found { run: view, build, attempts })
}

/// The newest runs that everyone may see, whole: a list says of a run what its check says.
async fn recent(front: &Front) -> Result<Vec<RunView>, Unseen> {
    let mut views = Vec::with_capacity(RECENT);
    for line in recent_lines(front).await? {
        views.extend(front.store.run_view(&line.run.id).await?);
    }
    Ok(views)
}

async fn recent_lines(front: &Front) -> Result<Vec<RunLine>, Unseen> {
    let mut seen: Vec<RunLine> = Vec::new();
    let mut before = None;
    for _ in 0..PORTIONS {
        let lines = front.store.recent_runs(PORTION, before.as_ref()).await?;
        before =
            lines.last().map(|it| Before { created_at: it.run.created_at, id: it.run.id.clone() });
        let public = |it: &RunLine| it.repository.visibility == Visibility::Public;
        seen.extend(lines.into_iter().filter(public));
        if before.is_none() || seen.len() >= RECENT {
            break;
        }
    }
    seen.truncate(RECENT);
    Ok(seen)
}

/// What the front page shows, for everyone who asks within a moment: each run is read whole, and
/// anybody may ask.
#[derive(Default)]
pub(super) struct Recent(Mutex<Option<Known>>);

struct Known {
    at: Instant,
    home: Home,
}

/// `GET /`.
pub(super) async fn home(front: &Front, kept: &Recent) -> Result<Response, Unseen> {
    let mut kept = kept.0.lock().await;
    let now = (front.clock)();
    let fresh = kept.take().filter(|it| it.at.elapsed() < FRESH);
    let known = match fresh {
        Some(fresh) => fresh,
        None => Known {
            at: Instant::now(),
            home: Home {
                runs: recent(front).await?,
                updates: front.store.public_updates(UPDATES).await?,
                facts: front.store.update_facts().await?,
            },
        },
    };
    Ok(home::render(&kept.insert(known).home, &front.links, now))
}

/// `GET /runs/{id}`.
pub(super) async fn run(
    State(front): State<Arc<Front>>,
    Path(id): Path<String>,
    Query(key): Query<Key>,
    uri: Uri,
) -> Result<Response, Unseen> {
    let view = find_run(&front, &id, &uri, &key).await?;
    Ok(pages::run::render(&view, &front.links))
}

/// `GET /builds/{id}`.
pub(super) async fn build(
    State(front): State<Arc<Front>>,
    Path(id): Path<String>,
    Query(key): Query<Key>,
    uri: Uri,
) -> Result<Response, Unseen> {
    let found = find_build(&front, &id, &uri, &key).await?;
    let log = match last_part(&front, &found).await {
        Ok(Some(part)) => Log::End(part),
        Ok(None) => Log::Nothing,
        // The rest of the page is worth reading all the same.
        Err(Unseen::LogAway) => Log::OutOfReach,
        Err(unseen @ (Unseen::Unknown | Unseen::Unavailable)) => return Err(unseen),
    };
    Ok(pages::build::render(&found, &log, &front.links))
}

/// The end of a build's log; `None` when it has none.
async fn last_part(front: &Front, found: &Found) -> Result<Option<LogPart>, Unseen> {
    let Some(attempt) = &found.build.attempt else { return Ok(None) };
    let growth = logs::growth(&found.build);
    let end = logs::read(front, attempt, u64::MAX, growth).await?;
    let from = end.map_or(0, |it| it.end.saturating_sub(SHOWN_LOG));
    Ok(logs::read(front, attempt, from, growth).await?.map(|part| LogPart {
        text: logs::from_a_line(&part.text, from).to_owned(),
        from,
        follow_from: matches!(found.build.build.state, BuildState::Building { .. })
            .then_some(part.next),
    }))
}
