//! Requests in, answers out: who may, what goes wrong on demand, what GitHub would say.
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Query, Request};
use axum::http::{HeaderMap, HeaderValue, Response, Uri, header};
use axum::routing::any;
use serde_json::{Value, json};

use super::access::{admit, authorise_git};
use super::answer::Answer;
use super::git_http;
use super::route::Route;
use super::state::{Call, Fault, Operation};
use super::{
    Echoes, World, checks, graphql, limits, people, pulls, recover, repository, rules, second,
    updates,
};

pub(super) fn router(world: &Arc<World>) -> Router {
    let at_git = Arc::clone(world);
    let git = git_http::router(world.root.clone(), move |owner, name, token| {
        authorise_git(&at_git, owner, name, token)
    });
    let world = Arc::clone(world);
    let api = any(move |request: Request| {
        let world = Arc::clone(&world);
        async move { handle(world, request).await }
    });
    Router::new()
        .route("/app", api.clone())
        .route("/app/{*rest}", api.clone())
        .route("/installation/repositories", api.clone())
        .route("/repos/{*rest}", api.clone())
        .route("/repositories/{*rest}", api.clone())
        .route("/graphql", api.clone())
        .route("/api/{*rest}", api)
        .fallback_service(git)
}

async fn handle(world: Arc<World>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let bytes = axum::body::to_bytes(body, 25 << 20).await.unwrap();
    let body = if bytes.is_empty() { Ok(Value::Null) } else { serde_json::from_slice(&bytes) };
    let mut route = Route::of(&parts.method, parts.uri.path(), world.shape);
    if let (Operation::Graphql, Ok(body)) = (route.operation, &body) {
        route.operation = graphql::operation(body);
    }
    let route = route;
    let log = |status: u16| {
        world.state().calls.push(Call {
            operation: route.operation,
            method: parts.method.to_string(),
            path: parts.uri.to_string(),
            status,
            body: body.as_ref().cloned().unwrap_or_default(),
            at: tokio::time::Instant::now(),
        });
        world.changed();
    };
    let fault = world.state().take_fault(route.operation);
    let prevented = match &fault {
        Some(Fault::Dropped) => hang_up(|| log(0)),
        Some(Fault::Delay(time)) => {
            tokio::time::sleep(*time).await;
            None
        }
        Some(Fault::Status(status)) => Some(Answer::refused(*status, "as the test asked for")),
        Some(Fault::GraphqlLimit) => Some(graphql::limited(world.now())),
        Some(Fault::GraphqlUnknown) => Some(graphql::unknown()),
        Some(Fault::GraphqlInvalid) => Some(graphql::invalid()),
        Some(Fault::SecondaryRateLimit { retry_after }) => Some(
            Answer::refused(403, "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.")
                .with("retry-after", retry_after),
        ),
        Some(Fault::RateLimitUsedUp { resets_in }) => Some(
            Answer::refused(403, "API rate limit exceeded for installation.")
                .with("x-ratelimit-remaining", 0)
                .with("x-ratelimit-reset", world.now() / 1000 + resets_in),
        ),
        Some(Fault::AnswerLost) | None => None,
    };
    let answer = match (prevented, &body) {
        (Some(answer), _) => answer,
        (None, Err(_)) => Answer::refused(400, "Problems parsing JSON"),
        (None, Ok(body)) => act(&world, &route, &parts.headers, &parts.uri, body).await,
    };
    if let Some(violation) = &answer.violation {
        world.state().violations.push(format!("{} {}: {violation}", parts.method, parts.uri));
    }
    if matches!(fault, Some(Fault::AnswerLost)) {
        hang_up(|| log(0));
    }
    log(answer.status);
    match world.echoes {
        Echoes::Sent => echo(&world),
        Echoes::Silent => world.state().echoes.clear(),
    }
    let due = Arc::clone(&world);
    tokio::spawn(async move { due.send_due().await });
    answer.into_response(world.now())
}

/// Ends the connection without an answer: a panic that nobody reports closes it.
fn hang_up(log: impl FnOnce()) -> Option<Answer> {
    log();
    std::panic::resume_unwind(Box::new("the connection was ended as the test asked for"))
}

/// GitHub tells an App about the check runs that the App itself created or completed.
fn echo(world: &Arc<World>) {
    let runs = std::mem::take(&mut world.state().echoes);
    for (action, id) in runs {
        let body = {
            let state = world.state();
            let run = state.runs.iter().find(|it| it.id == id).unwrap();
            let repository = state.repository(run.repository);
            json!({
                "action": action,
                "check_run": run.document(),
                "repository": super::payload::repository(repository),
                "installation": super::payload::installation(repository),
                "sender": super::payload::sender(),
            })
        };
        let world = Arc::clone(world);
        tokio::spawn(async move { world.deliver("check_run", &body).await });
    }
}

async fn act(
    world: &Arc<World>,
    route: &Route,
    headers: &HeaderMap,
    uri: &Uri,
    body: &Value,
) -> Answer {
    if headers.get(header::USER_AGENT).is_none_or(HeaderValue::is_empty) {
        return Answer::violation("Request forbidden by administrative rules: no User-Agent");
    }
    let Some(token) = bearer(headers) else {
        return Answer::refused(401, "Requires authentication");
    };
    match route.operation {
        Operation::Unknown | Operation::Git | Operation::GraphqlAlias => Answer::not_found(),
        Operation::App
        | Operation::Installations
        | Operation::MintToken
        | Operation::Deliveries
        | Operation::RepositoryInstallation
        | Operation::Redeliver => {
            let keys = world.state().keys_of_apps();
            let app = match rules::app_of(token, &keys, world.now()) {
                Ok(app) => app,
                Err(refusal) => return refusal,
            };
            match route.objection(world, body) {
                Some(answer) => answer,
                None => as_app(world, app, route, (uri, body)),
            }
        }
        Operation::Repositories => recover::repositories(world, token, &query(uri)),
        Operation::Repository
        | Operation::CreateCheck
        | Operation::UpdateCheck
        | Operation::GetCheck
        | Operation::ListChecks
        | Operation::SetStatus
        | Operation::Pulls
        | Operation::Branches
        | Operation::Permission
        | Operation::React
        | Operation::GetRef
        | Operation::CreateRef
        | Operation::UpdateRef
        | Operation::DeleteRef
        | Operation::Compare
        | Operation::GetPull
        | Operation::CreatePull
        | Operation::EditPull
        | Operation::PullFiles
        | Operation::MergePull
        | Operation::RequestReviewers
        | Operation::ListIssues
        | Operation::CreateIssue
        | Operation::EditIssue
        | Operation::AddLabels
        | Operation::CreateComment => as_installation(world, route, token, uri, body).await,
        Operation::Graphql
        | Operation::CreateCommit
        | Operation::UpdateRefs
        | Operation::EnableAutoMerge => graphql::act(world, token, body).await,
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    value.strip_prefix("Bearer ").or_else(|| value.strip_prefix("token "))
}

fn query(uri: &Uri) -> Vec<(String, String)> {
    Query::<Vec<(String, String)>>::try_from_uri(uri).map(|it| it.0).unwrap_or_default()
}

fn as_app(world: &Arc<World>, app: u64, route: &Route, (uri, body): (&Uri, &Value)) -> Answer {
    let mut state = world.state();
    match route.operation {
        Operation::App => Answer::new(200, second::app(&state, app)),
        Operation::Installations => Answer::new(200, second::installations(&state, app)),
        Operation::RepositoryInstallation => second::installation(world, &state, app, route),
        Operation::Deliveries => recover::deliveries(world, &state, &query(uri)),
        Operation::Redeliver => {
            match recover::attempt(&state, route.argument.parse().unwrap_or(0)) {
                Some(delivered) => {
                    let world = Arc::clone(world);
                    tokio::spawn(async move { world.redeliver(&delivered).await });
                    Answer::new(202, json!({}))
                }
                None => Answer::not_found(),
            }
        }
        _ => repository::mint(&mut state, app, (&route.argument, body), world.now()),
    }
}

async fn as_installation(
    world: &World,
    route: &Route,
    token: &str,
    uri: &Uri,
    body: &Value,
) -> Answer {
    let (id, left, installation) = {
        let mut state = world.state();
        let (id, left) = match admit(&mut state, world, route, token, uri) {
            Ok(admitted) => admitted,
            Err(refusal) => return refusal,
        };
        let creates = u64::from(matches!(
            route.operation,
            Operation::CreateCheck
                | Operation::SetStatus
                | Operation::CreatePull
                | Operation::CreateIssue
                | Operation::CreateComment
        ));
        let of = state.tokens[token].installation;
        if let Some(refusal) =
            limits::refusal(&mut state, of, route.operation, creates, world.now())
        {
            return refusal;
        }
        (id, left, of)
    };
    if let Some(refusal) = route.objection(world, body) {
        return refusal;
    }
    let commit = match route.operation {
        Operation::CreateCheck => body["head_sha"].as_str().unwrap_or_default(),
        Operation::SetStatus | Operation::ListChecks => &route.argument,
        _ => "",
    };
    if !commit.is_empty() && !repository::has_commit(world, id, commit).await {
        return Answer::refused(422, &format!("No commit found for SHA: {commit}"));
    }
    let number = route.argument.parse().unwrap_or(0);
    let query = query(uri);
    let mut state = world.state();
    let answer = match route.operation {
        Operation::CreateCheck => checks::create(&mut state, id, body),
        Operation::UpdateCheck => checks::update(&mut state, id, number, body),
        Operation::GetCheck => checks::get(&state, id, number),
        Operation::ListChecks => checks::list(&state, id, &route.argument, &query),
        Operation::SetStatus => checks::set_status(&mut state, id, &route.argument, body),
        Operation::Pulls => pulls::list(&state, id, &query),
        Operation::Branches => {
            let of = state.repository(id);
            let wanted = Some(route.argument.as_str()).filter(|it| !it.is_empty());
            recover::branches(world, (&of.owner, &of.name), wanted, &query)
        }
        Operation::Permission => people::permission(&state, id, &route.argument),
        Operation::React => people::react(&mut state, number, body),
        Operation::Repository => updates::repository(&state, id, token),
        _ => {
            let by = state.bot(installation);
            updates::act(world, &mut state, (id, &by), route, (&query, body))
        }
    };
    answer
        .with("x-ratelimit-limit", 5000)
        .with("x-ratelimit-remaining", left)
        .with("x-ratelimit-reset", world.now() / 1000 + 3600)
}
