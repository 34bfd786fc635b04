//! The same as JSON, for machines. Fields are only ever added.
//!
//! - `GET /api/v1/runs?repo=OWNER/NAME[&sha=SHA]`: `{"runs": […]}`, the newest first, at most 100,
//!   without their builds. A private repository's list is empty, as an unknown one's.
//! - `GET /api/v1/runs/{id}`: one run with its `builds`.
//! - `GET /api/v1/builds/{id}`: one build.
//! - `GET /api/v1/deliveries`: see `http::deliveries`; `GET /api/v1/updates`: `http::updates`.
//!
//! A **run**: `id`; `repository` (`owner`, `name`); `sha`; `reason` (`kind`: `push` with `branch`, or
//! `pull_request` with `number`); `created_at`; `state` (`awaiting_approval`, `requested`,
//! `evaluating`, `building`, `ended`); `conclusion`, GitHub's word for the gate, `null` while it is
//! open; `title`, one line; `url` of its page; `builds` and, of a run that has one, `base`
//! (`sha`; `tested`: `not`, `partly`, `running`, `whole`), both absent in lists.
//!
//! A **build**: `id`; `run`; `attribute`, as Nix writes it; `name`, `null` when it cannot be the
//! name of a check; `required`; `state` (`listed`, `waiting`, `building`, `ended`); `conclusion`;
//! `title`; `system`, `derivation` and `outputs` (name to path), `null` before the evaluation;
//! `against_base` (`newly_broken`, `red_before`), `null` when the base commit says nothing, while the
//! host does not fail, and where a build is asked for by itself; `queue` (`place`, `of`) or `null`;
//! `progress` (`done`, `expected`: derivations) or `null`; `last_build_ms`, `last_evaluation_ms`, of
//! the host's last run, or `null`; `warnings` of its evaluation (`message`, `place`);
//! `attempts`; `flaky`, how often the host failed and then passed with the same derivation;
//! `evaluation` (`milliseconds`, `peak_memory` in bytes) or `null`; `started_at`,
//! `ended_at`; `ending`, as the service keeps it, or `null`; `changes`, what is another on the host
//! than at the commit before, or `null` while that is not known; `url`, `log_url`.
//!
//! **Changes**: `insight` and `base`, the commit compared with. `unchanged`: the same system.
//! `revision_only`: nothing but what names the commit, with `units`. `absent`: not compared, with
//! `why` (`why`: `never_built`, `new_host`, `base_failed`, `gone`, `elsewhere`, `late`,
//! `too_large`, `unreadable`). `changed`, with `changes`: `before` and `after`, bytes of the closure; `packages`
//! (`name`; `change`: `upgraded`, `downgraded`, `changed`, `added`, `removed`; versions `before`
//! and `after`) and `more_packages`, how many are left out; `rebuilt`, packages of the same version
//! with other content; `files`, how many files of the configuration differ; `reboot` (`part`:
//! `kernel`, `kernel_modules`, `kernel_parameters`, `initrd`, `systemd`; `before`, `after`), empty
//! when none is needed; `units` or `null`: `restarted`, `reloaded`, `left_alone`, `added`,
//! `removed`; `seen`, `paths` of a host on another machine, whose units and reboot are not known. A
//! list of names is `names` and `more`, how many are left out.
//!
//! Times are RFC 3339 in UTC. An error is `{"error": "…"}` with its HTTP status.
use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use crate::domain::base::{Compared, Tested};
use crate::domain::build::{BuildState, Ending, Required, Warning};
use crate::domain::id::{CommitSha, StorePath};
use crate::domain::incoming::{Repository, Visibility};
use crate::domain::insight::Insight;
use crate::domain::link::Links;
use crate::domain::page::{
    BuildView, CheckStatus, Counts, RunLine, RunView, Turn, gate_check, gate_title, host_check,
    host_title, insight,
};
use crate::domain::run::{Merge, Reason, Run, Trust};
use crate::http::Front;
use crate::http::pages::rfc3339;
use crate::http::sight::{Key, Unseen, find_build, find_run};

/// Runs in one list.
const MOST: i64 = 100;

#[derive(Debug, Serialize)]
struct RunJson<'v> {
    id: &'v str,
    repository: RepositoryJson<'v>,
    sha: &'v str,
    reason: ReasonJson<'v>,
    /// `untrusted` of a fork's commit, also once it is approved.
    trust: Trust,
    /// What is tested in the place of the commit.
    #[serde(skip_serializing_if = "Option::is_none")]
    merge: Option<&'v Merge>,
    created_at: String,
    state: &'static str,
    conclusion: Option<&'static str>,
    title: String,
    url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    base: Option<BaseJson<'v>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    builds: Option<Vec<BuildJson<'v>>>,
}

#[derive(Debug, Serialize)]
struct BaseJson<'v> {
    sha: &'v str,
    tested: Tested,
}

#[derive(Debug, Serialize)]
struct TurnJson {
    place: u32,
    of: u32,
}

#[derive(Debug, Serialize)]
pub(super) struct RepositoryJson<'v> {
    owner: &'v str,
    name: &'v str,
}

impl<'v> RepositoryJson<'v> {
    pub(super) fn of(it: &'v Repository) -> Self {
        Self { owner: it.owner.as_str(), name: it.name.as_str() }
    }
}

#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum ReasonJson<'v> {
    Push {
        branch: &'v str,
    },
    PullRequest {
        number: i64,
    },
    MergeGroup {
        branch: &'v str,
    },
    /// A lock file that an update tries, counted from 1.
    Update {
        update: &'v str,
        nth: u32,
    },
}

#[derive(Debug, Serialize)]
struct BuildJson<'v> {
    id: &'v str,
    run: &'v str,
    attribute: String,
    name: Option<String>,
    required: bool,
    /// `untrusted`: from a fork, evaluated without import from derivation and network.
    trust: Trust,
    state: &'static str,
    conclusion: Option<&'static str>,
    title: String,
    system: Option<&'v str>,
    derivation: Option<&'v str>,
    outputs: Option<&'v BTreeMap<String, StorePath>>,
    against_base: Option<Compared>,
    queue: Option<TurnJson>,
    builder: Option<&'v str>,
    progress: Option<&'v Counts>,
    last_build_ms: Option<i64>,
    last_evaluation_ms: Option<i64>,
    warnings: &'v [Warning],
    attempts: u32,
    flaky: u32,
    evaluation: Option<EvaluationJson>,
    started_at: Option<String>,
    ended_at: Option<String>,
    ending: Option<&'v Ending>,
    changes: Option<&'v Insight>,
    url: String,
    log_url: String,
}

#[derive(Debug, Serialize)]
struct EvaluationJson {
    milliseconds: i64,
    peak_memory: u64,
}

fn conclusion(status: CheckStatus) -> Option<&'static str> {
    match status {
        CheckStatus::Queued | CheckStatus::InProgress { .. } => None,
        CheckStatus::Completed { conclusion, .. } => Some(conclusion.as_str()),
    }
}

fn run_json<'v>(
    (run, repository): (&'v Run, &'v Repository),
    (check, title): (CheckStatus, String),
    builds: Option<Vec<BuildJson<'v>>>,
    links: &Links,
) -> RunJson<'v> {
    RunJson {
        id: run.id.as_str(),
        repository: RepositoryJson::of(repository),
        sha: run.sha.as_str(),
        reason: match &run.reason {
            Reason::Push(branch) => ReasonJson::Push { branch: branch.as_str() },
            Reason::PullRequest(number) => ReasonJson::PullRequest { number: *number },
            Reason::MergeGroup(branch) => ReasonJson::MergeGroup { branch: branch.as_str() },
            Reason::Update { update, nth } => {
                ReasonJson::Update { update: update.as_str(), nth: *nth }
            }
        },
        trust: run.trust,
        merge: run.merge.as_ref(),
        created_at: rfc3339(run.created_at),
        state: run.state.name(),
        conclusion: conclusion(check),
        title,
        url: links.run(&run.id, repository.visibility),
        base: None,
        builds,
    }
}

fn build_json<'v>(run: &RunView, view: &'v BuildView, links: &Links) -> BuildJson<'v> {
    let build = &view.build;
    let visibility = run.repository.visibility;
    let derivation = build.state.derivation();
    let ended_at = match &build.state {
        BuildState::Ended { at, .. } => Some(*at),
        BuildState::Listed { .. } | BuildState::Waiting { .. } | BuildState::Building { .. } => {
            None
        }
    };
    BuildJson {
        id: build.id.as_str(),
        run: build.run.as_str(),
        attribute: build.attr.to_string(),
        name: build.attr.label().ok(),
        required: build.required == Required::Required,
        trust: run.run.trust,
        state: build.state.name(),
        conclusion: conclusion(host_check(view)),
        title: host_title(view),
        system: derivation.map(|it| it.system.as_str()),
        derivation: derivation.map(|it| it.path.as_str()),
        outputs: derivation.map(|it| &it.outputs),
        against_base: None,
        queue: view.outlook.turn.map(|Turn { place, of }| TurnJson { place, of }),
        builder: view.outlook.builder.as_deref(),
        progress: view.outlook.counts.as_ref(),
        last_build_ms: view.outlook.build_ms,
        last_evaluation_ms: view.outlook.evaluation_ms,
        warnings: &view.warnings,
        attempts: build.attempts,
        flaky: view.history.flaky,
        evaluation: view.evaluation.map(|cost| EvaluationJson {
            milliseconds: cost.elapsed_ms,
            peak_memory: cost.peak_memory,
        }),
        started_at: view.started_at.map(rfc3339),
        ended_at: ended_at.map(rfc3339),
        ending: build.state.ending(),
        changes: insight(view),
        url: links.build(&build.id, visibility),
        log_url: links.log(&build.id, visibility),
    }
}

/// An answer that is an error.
pub(super) struct Failed(StatusCode, &'static str);

impl From<Unseen> for Failed {
    fn from(unseen: Unseen) -> Self {
        match unseen {
            Unseen::Unknown => Self(
                StatusCode::NOT_FOUND,
                "not found, or of a private repository and the link lacks its key",
            ),
            Unseen::Unavailable => {
                Self(StatusCode::SERVICE_UNAVAILABLE, "the store does not answer; try again")
            }
            Unseen::LogAway => {
                Self(StatusCode::SERVICE_UNAVAILABLE, "the log is not to be had now; try again")
            }
        }
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        (self.0, Json(serde_json::json!({ "error": self.1 }))).into_response()
    }
}

/// What a request for a list may say.
#[derive(Debug, Deserialize)]
pub(super) struct Wanted {
    repo: Option<String>,
    sha: Option<String>,
}

/// `GET /api/v1/runs`.
pub(super) async fn runs(
    State(front): State<Arc<Front>>,
    Query(wanted): Query<Wanted>,
) -> Response {
    match list(&front, &wanted).await {
        Ok(lines) => {
            let lines: Vec<RunJson<'_>> = lines
                .iter()
                .map(|it| {
                    let shown = (it.check(), it.title());
                    run_json((&it.run, &it.repository), shown, None, &front.links)
                })
                .collect();
            Json(serde_json::json!({ "runs": lines })).into_response()
        }
        Err(failed) => failed.into_response(),
    }
}

/// The owner and the name that a list is asked for.
pub(super) fn repository_named(repo: Option<&str>) -> Result<(&str, &str), Failed> {
    let named = repo.unwrap_or_default().split_once('/');
    named.ok_or(Failed(StatusCode::BAD_REQUEST, "give a repository: ?repo=OWNER/NAME"))
}

async fn list(front: &Front, wanted: &Wanted) -> Result<Vec<RunLine>, Failed> {
    let bad = |text| Failed(StatusCode::BAD_REQUEST, text);
    let (owner, name) = repository_named(wanted.repo.as_deref())?;
    let sha: Option<CommitSha> = match wanted.sha.as_deref() {
        None => None,
        Some(sha) => {
            Some(sha.parse().map_err(|_| bad("`sha` must be a full commit hash of 40 digits"))?)
        }
    };
    let mut lines =
        front.store.runs_of(owner, name, sha.as_ref(), MOST).await.map_err(Unseen::from)?;
    lines.retain(|it| it.repository.visibility == Visibility::Public);
    Ok(lines)
}

/// `GET /api/v1/runs/{id}`.
pub(super) async fn run(
    State(front): State<Arc<Front>>,
    Path(id): Path<String>,
    Query(key): Query<Key>,
    uri: Uri,
) -> Response {
    match find_run(&front, &id, &uri, &key).await {
        Ok(view) => Json(whole_run(&view, &front.links)).into_response(),
        Err(unseen) => Failed::from(unseen).into_response(),
    }
}

fn whole_run<'v>(view: &'v RunView, links: &Links) -> RunJson<'v> {
    let build =
        |it| BuildJson { against_base: against_base(view, it), ..build_json(view, it, links) };
    let builds = view.builds.iter().map(build).collect();
    let shown = (gate_check(view), gate_title(view));
    let base = view.against.base.as_ref();
    let base = base.map(|it| BaseJson { sha: it.sha.as_str(), tested: it.tested });
    RunJson { base, ..run_json((&view.run, &view.repository), shown, Some(builds), links) }
}

/// What the base commit says of a host that fails.
fn against_base(view: &RunView, it: &BuildView) -> Option<Compared> {
    let compared = view.against.compare(&it.build.attr, it.build.state.ending()?);
    match compared {
        Compared::NewlyBroken | Compared::RedBefore => Some(compared),
        Compared::Unknown => None,
    }
}

/// `GET /api/v1/builds/{id}`.
pub(super) async fn build(
    State(front): State<Arc<Front>>,
    Path(id): Path<String>,
    Query(key): Query<Key>,
    uri: Uri,
) -> Response {
    match find_build(&front, &id, &uri, &key).await {
        Ok(found) => Json(build_json(&found.run, &found.build, &front.links)).into_response(),
        Err(unseen) => Failed::from(unseen).into_response(),
    }
}
