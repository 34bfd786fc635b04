//! The GraphQL API: the same rules as REST, alias by alias.
use serde_json::{Map, Value, json};

use super::access;
use super::answer::Answer;
use super::schema::Alias;
use super::state::{Fault, Operation, Token};
use super::{World, checks, limits, merging, refs, repository};

/// Carries out every alias of a request, each by itself.
pub(super) async fn act(world: &World, token: &str, body: &Value) -> Answer {
    let (token, left) = {
        let mut state = world.state();
        match access::spend(&mut state, token, world.now()) {
            Ok(spent) => spent,
            Err(refusal) => return refusal,
        }
    };
    let aliases = match world.schema.read(body) {
        Ok(aliases) => aliases,
        Err(wrong) => {
            let mut answer = Answer::new(200, json!({ "errors": [{ "message": wrong }] }));
            answer.violation = Some(wrong);
            return answer;
        }
    };
    let creates = aliases.iter().filter(|it| it.field == "createCheckRun").count() as u64;
    let refusal = {
        let (now, of) = (world.now(), token.installation);
        limits::refusal(&mut world.state(), of, Operation::Graphql, creates, now)
    };
    if let Some(refusal) = refusal {
        return refusal;
    }
    let (mut data, mut errors, mut violation) = (Map::new(), Vec::new(), None);
    for alias in &aliases {
        let fault = world.state().take_fault(Operation::GraphqlAlias);
        let answer = match fault {
            Some(Fault::Status(status)) => Answer::refused(status, "as the test asked for"),
            Some(other) => panic!("an alias cannot fail by {other:?}"),
            None => one(world, &token, alias).await,
        };
        let value = if answer.status < 300 {
            let fields = alias.asked.iter().map(|(name, inner)| {
                let value = &answer.body[name];
                assert!(inner.is_empty() || value.is_object(), "{name} is not needed so far");
                let picked = inner.iter().map(|it| (it.clone(), value[it].clone()));
                let picked = Value::Object(picked.collect());
                (name.clone(), if inner.is_empty() { value.clone() } else { picked })
            });
            Value::Object(fields.collect())
        } else {
            let said = answer.body["errors"][0]["message"].as_str();
            let said = said.or(answer.body["message"].as_str()).unwrap_or_default();
            let mut error = json!({ "message": said, "path": [alias.name] });
            if let Some(kind) = kind(answer.status) {
                error["type"] = json!(kind);
            }
            errors.push(error);
            Value::Null
        };
        violation = violation.or(answer.violation);
        data.insert(alias.name.clone(), value);
    }
    let mut document = json!({ "data": data });
    if !errors.is_empty() {
        document["errors"] = Value::Array(errors);
    }
    let mut answer = Answer::new(200, document);
    answer.violation = violation;
    answer
        .with("x-ratelimit-limit", 5000)
        .with("x-ratelimit-remaining", left)
        .with("x-ratelimit-reset", world.now() / 1000 + 3600)
        .with("x-ratelimit-resource", "graphql")
}

/// The primary limit, said with 200.
pub(super) fn limited(now: i64) -> Answer {
    let said = "API rate limit exceeded for installation.";
    Answer::new(200, json!({ "errors": [{ "type": "RATE_LIMITED", "message": said }] }))
        .with("x-ratelimit-remaining", 0)
        .with("x-ratelimit-reset", now / 1000 + 3)
}

/// An older GitHub Enterprise Server.
pub(super) fn unknown() -> Answer {
    let said = "Field 'updateRefs' doesn't exist on type 'Mutation' (as the test asked for)";
    Answer::new(200, json!({ "errors": [{ "message": said }] }))
}

/// One variable that is not valid refuses the whole request.
pub(super) fn invalid() -> Answer {
    let said = "Variable $c1 of type CreateCheckRunInput! was provided invalid value for \
                output.title (as the test asked for)";
    Answer::new(200, json!({ "errors": [{ "message": said }] }))
}

fn kind(status: u16) -> Option<&'static str> {
    match status {
        404 => Some("NOT_FOUND"),
        403 => Some("FORBIDDEN"),
        409 => Some("STALE_DATA"),
        422 => Some("UNPROCESSABLE"),
        _ => None,
    }
}

/// What of a check run a payload has.
fn payload(answer: Answer) -> Answer {
    if answer.status >= 300 {
        return answer;
    }
    // `databaseId` is not told: an `Int` has 32 bits, and GitHub's ids have more by now.
    let run = json!({ "id": answer.body["node_id"], "databaseId": null });
    Answer::new(answer.status, json!({ "checkRun": run }))
}

async fn one(world: &World, token: &Token, alias: &Alias) -> Answer {
    let node = match alias.field.as_str() {
        "createCommitOnBranch" => alias.input["branch"]["id"].as_str(),
        "enablePullRequestAutoMerge" => alias.input["pullRequestId"].as_str(),
        _ => alias.input["repositoryId"].as_str(),
    };
    let id = {
        let state = world.state();
        // `R_7`, `PR_7_3` and `REF_7_refs/heads/main`: the repository's number comes second.
        let id = node.and_then(|it| it.split('_').nth(1)).and_then(|it| it.parse::<i64>().ok());
        let covered = |id: &i64| {
            let found = state.repositories.iter().find(|it| it.id == *id);
            found.is_some_and(|it| token.covers(it.id) && it.is_reached_by(token.installation))
        };
        let Some(id) = id.filter(covered) else { return Answer::not_found() };
        let permission = match alias.field.as_str() {
            "createCommitOnBranch" | "updateRefs" => "contents",
            "enablePullRequestAutoMerge" => "pull_requests",
            _ => "checks",
        };
        if !token.may(permission, "write") {
            return Answer::refused(403, "Resource not accessible by integration");
        }
        id
    };
    if !alias.field.ends_with("CheckRun") {
        let mut state = world.state();
        let by = state.bot(token.installation);
        return match alias.field.as_str() {
            "createCommitOnBranch" => refs::commit(world, &mut state, (id, &by), &alias.input),
            "updateRefs" => refs::update_all(world, &mut state, (id, &by), &alias.input),
            _ => merging::enable_auto(world, &mut state, (id, &by), &alias.input),
        };
    }
    let body = as_rest(&alias.input);
    if alias.field == "updateCheckRun" {
        let run = alias.input["checkRunId"].as_str().and_then(|it| it.strip_prefix("CR_"));
        let run = run.and_then(|it| it.parse().ok()).unwrap_or(0);
        return payload(checks::update(&mut world.state(), id, run, &body));
    }
    let commit = body["head_sha"].as_str().unwrap_or_default();
    if !repository::has_commit(world, id, commit).await {
        return Answer::refused(422, &format!("No commit found for SHA: {commit}"));
    }
    payload(checks::create(&mut world.state(), id, &body))
}

/// What a request does, for faults and counts: the first of the mutations that it names.
pub(super) fn operation(body: &Value) -> Operation {
    let query = body["query"].as_str().unwrap_or_default();
    if query.contains("createCommitOnBranch") {
        Operation::CreateCommit
    } else if query.contains("updateRefs") {
        Operation::UpdateRefs
    } else if query.contains("enablePullRequestAutoMerge") {
        Operation::EnableAutoMerge
    } else {
        Operation::Graphql
    }
}

/// An input in the words of the REST API, so that the same rules hold.
fn as_rest(input: &Value) -> Value {
    let mut out = Map::new();
    for (key, value) in input.as_object().unwrap() {
        let value = match (key.as_str(), value) {
            ("repositoryId" | "checkRunId", _) => continue,
            ("status" | "conclusion" | "annotationLevel", Value::String(word)) => {
                json!(word.to_ascii_lowercase())
            }
            ("location", place) => {
                out.insert("start_line".into(), place["startLine"].clone());
                out.insert("end_line".into(), place["endLine"].clone());
                continue;
            }
            (_, Value::Object(_)) => as_rest(value),
            ("annotations", Value::Array(all)) => all.iter().map(as_rest).collect(),
            (_, value) => value.clone(),
        };
        out.insert(snake(key), value);
    }
    Value::Object(out)
}

fn snake(key: &str) -> String {
    let mut out = String::new();
    for c in key.chars() {
        if c.is_ascii_uppercase() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}
