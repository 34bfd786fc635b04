//! Who may do what, by token.
use axum::http::{Method, Uri};
use serde_json::Value;

use super::World;
use super::answer::Answer;
use super::git_http::Access;
use super::route::{Named, Route};
use super::state::{Call, Fault, Operation, State, Token};

/// Whether a token may do this with that repository: the repository's id and the calls left.
pub(super) fn admit(
    state: &mut State,
    world: &World,
    route: &Route,
    token: &str,
    uri: &Uri,
) -> Result<(i64, u32), Answer> {
    let (token, left) = spend(state, token, world.now())?;
    let named = route.repository.as_ref();
    let found = state.repositories.iter().find(|it| match named {
        Some(Named::By(owner, name)) => it.is(owner, name) || it.was(owner, name),
        Some(Named::Id(id)) => it.id == *id,
        None => false,
    });
    let Some(repository) = found.filter(|it| {
        let is_given = token.covers(it.id) && it.is_reached_by(token.installation);
        // What is public may be read by whoever has a token at all.
        is_given || (route.operation == Operation::Compare && !it.is_private && !it.is_deleted)
    }) else {
        return Err(Answer::not_found());
    };
    if let Some(Named::By(owner, name)) = named
        && !repository.is(owner, name)
    {
        // Moved for ever; a method that writes must be kept, which 301 does not promise.
        let status = if route.method == Method::GET { 301 } else { 307 };
        let query = uri.query().map(|it| format!("?{it}")).unwrap_or_default();
        let location =
            format!("{}/repositories/{}/{}{query}", world.api_url(), repository.id, route.rest);
        return Err(Answer::refused(status, "Moved Permanently").with("location", location));
    }
    let (permission, level) = match route.operation {
        Operation::CreateCheck | Operation::UpdateCheck => ("checks", "write"),
        Operation::GetCheck | Operation::ListChecks => ("checks", "read"),
        Operation::SetStatus => ("statuses", "write"),
        Operation::Pulls | Operation::GetPull | Operation::PullFiles => ("pull_requests", "read"),
        Operation::CreatePull | Operation::EditPull | Operation::RequestReviewers => {
            ("pull_requests", "write")
        }
        Operation::ListIssues => ("issues", "read"),
        Operation::Branches | Operation::GetRef | Operation::Compare => ("contents", "read"),
        Operation::CreateRef
        | Operation::UpdateRef
        | Operation::DeleteRef
        | Operation::MergePull => ("contents", "write"),
        Operation::React
        | Operation::CreateIssue
        | Operation::EditIssue
        | Operation::AddLabels
        | Operation::CreateComment => ("issues", "write"),
        _ => ("metadata", "read"),
    };
    if !token.may(permission, level) {
        return Err(Answer::refused(403, "Resource not accessible by integration"));
    }
    Ok((repository.id, left))
}

/// A live token, and the calls that its installation has left.
pub(super) fn spend(state: &mut State, token: &str, now: i64) -> Result<(Token, u32), Answer> {
    let token = live_token(state, token, now)?;
    let installation =
        state.installations.iter_mut().find(|it| it.id == token.installation).unwrap();
    installation.calls_left = installation.calls_left.saturating_sub(1);
    Ok((token, installation.calls_left))
}

pub(super) fn live_token(state: &State, token: &str, now: i64) -> Result<Token, Answer> {
    let known = state.tokens.get(token).filter(|it| it.expires_at > now);
    let Some(token) = known else { return Err(Answer::refused(401, "Bad credentials")) };
    match state.installation(token.installation) {
        Some(it) if it.is_suspended => {
            Err(Answer::refused(403, "This installation has been suspended"))
        }
        Some(_) => Ok(token.clone()),
        None => Err(Answer::refused(401, "Bad credentials")),
    }
}

/// Whether git may read a repository with a token, or without one.
pub(super) fn authorise_git(world: &World, owner: &str, name: &str, token: Option<&str>) -> Access {
    let mut state = world.state();
    let access = match state.take_fault(Operation::Git) {
        Some(Fault::Status(401)) => Access::Unauthorized,
        Some(Fault::Status(403)) => Access::Forbidden,
        Some(Fault::Status(404)) => Access::NotFound,
        Some(_) => Access::Unavailable,
        None => git_access(&state, owner, name, token, world.now()),
    };
    let status = match access {
        Access::Allowed => 200,
        Access::Unauthorized => 401,
        Access::Forbidden => 403,
        Access::NotFound => 404,
        Access::Unavailable => 503,
    };
    state.calls.push(Call {
        operation: Operation::Git,
        method: "GIT".into(),
        path: format!("/{owner}/{name}.git"),
        status,
        body: Value::Null,
        at: tokio::time::Instant::now(),
    });
    drop(state);
    world.changed();
    access
}

fn git_access(state: &State, owner: &str, name: &str, token: Option<&str>, now: i64) -> Access {
    let repository = state.repositories.iter().find(|it| it.is(owner, name) && !it.is_deleted);
    let Some(token) = token else {
        return match repository {
            Some(it) if !it.is_private => Access::Allowed,
            // Without a name to the door, GitHub does not say whether there is a room behind it.
            Some(_) | None => Access::Unauthorized,
        };
    };
    match (live_token(state, token, now), repository) {
        (Err(refusal), _) if refusal.status == 403 => Access::Forbidden,
        (Err(_), _) => Access::Unauthorized,
        (Ok(token), Some(it)) if token.covers(it.id) && token.may("contents", "read") => {
            Access::Allowed
        }
        (Ok(_), _) => Access::NotFound,
    }
}
