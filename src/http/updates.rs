//! `GET /api/v1/updates?repo=OWNER/NAME`: `{"updates": […]}`, those on their way first and then the
//! newest, at most 100. A private repository's list is empty, as an unknown one's. Fields are only
//! ever added.
//!
//! An **update**: `id`; `repository` (`owner`, `name`); `group` of inputs, `null` before the newest
//! revisions were looked up; `cause` (`kind`: `schedule`, `command`, or `comment` with `by`);
//! `created_at`; `state` (`requested`, `searching`, `proposing`, `merging`, `ended`); `outcome`, as the
//! service keeps it (`outcome`: `up_to_date`, `held_back`, `opened`, `auto_merge`, `merged`,
//! `stays_closed`, `stood_back`, `failed`, with what belongs to it), `null` while it has not ended;
//! `title`, the same in words, one line; `note`, why it does not go on at the moment or what is to be known of
//! its end, or `null`; `pull_request`, its number, or `null`; `ended_at`; `tries`, the runs of the
//! lock files that it tries, in order (`run`, `url` of its page).
use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use crate::domain::id::RunId;
use crate::domain::incoming::Visibility;
use crate::domain::link::Links;
use crate::domain::text::plain_title;
use crate::domain::update::life::{Cause, Outcome, UpdateState};
use crate::http::Front;
use crate::http::api::{Failed, RepositoryJson, repository_named};
use crate::http::pages::rfc3339;
use crate::http::sight::Unseen;
use crate::store::overview::UpdateLine;

/// The longest title, in characters.
const MOST_WORDS: usize = 300;

/// Updates in one list.
const MOST: i64 = 100;

#[derive(Debug, Serialize)]
struct UpdateJson<'v> {
    id: &'v str,
    repository: RepositoryJson<'v>,
    group: Option<&'v str>,
    cause: CauseJson<'v>,
    created_at: String,
    state: &'static str,
    outcome: Option<&'v Outcome>,
    title: Option<String>,
    note: Option<&'v str>,
    pull_request: Option<i64>,
    ended_at: Option<String>,
    tries: Vec<TryJson<'v>>,
}

#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum CauseJson<'v> {
    Schedule,
    Comment { by: &'v str },
    Command,
}

#[derive(Debug, Serialize)]
struct TryJson<'v> {
    run: &'v str,
    url: String,
}

/// What a request for the list may say.
#[derive(Debug, Deserialize)]
pub(super) struct Wanted {
    repo: Option<String>,
}

/// `GET /api/v1/updates`.
pub(super) async fn json(
    State(front): State<Arc<Front>>,
    Query(wanted): Query<Wanted>,
) -> Response {
    match list(&front, &wanted).await {
        Ok(lines) => {
            let updates: Vec<UpdateJson<'_>> =
                lines.iter().map(|it| update_json(it, &front.links)).collect();
            Json(serde_json::json!({ "updates": updates })).into_response()
        }
        Err(failed) => failed.into_response(),
    }
}

async fn list(front: &Front, wanted: &Wanted) -> Result<Vec<UpdateLine>, Failed> {
    let (owner, name) = repository_named(wanted.repo.as_deref())?;
    let mut lines = front.store.updates_of(owner, name, MOST).await.map_err(Unseen::from)?;
    lines.retain(|it| it.repository.visibility == Visibility::Public);
    Ok(lines)
}

fn update_json<'v>(line: &'v UpdateLine, links: &Links) -> UpdateJson<'v> {
    let UpdateLine { update, group, repository, tries } = line;
    let (outcome, ended_at, number) = match &update.state {
        UpdateState::Ended { outcome, at } => (Some(outcome), Some(*at), outcome.pull()),
        UpdateState::Merging { number } => (None, None, Some(*number)),
        UpdateState::Requested | UpdateState::Searching | UpdateState::Proposing => {
            (None, None, None)
        }
    };
    let tried =
        |run: &'v RunId| TryJson { run: run.as_str(), url: links.run(run, repository.visibility) };
    UpdateJson {
        id: update.id.as_str(),
        repository: RepositoryJson::of(repository),
        group: Some(group.as_str()).filter(|it| !it.is_empty()),
        cause: match &update.cause {
            Cause::Schedule => CauseJson::Schedule,
            Cause::Comment { by } => CauseJson::Comment { by: by.as_str() },
            Cause::Command => CauseJson::Command,
        },
        created_at: rfc3339(update.created_at),
        state: update.state.name(),
        outcome,
        title: outcome.map(|it| plain_title(&it.words(), MOST_WORDS)),
        note: update.note.as_deref(),
        pull_request: number,
        ended_at: ended_at.map(rfc3339),
        tries: tries.iter().map(tried).collect(),
    }
}
