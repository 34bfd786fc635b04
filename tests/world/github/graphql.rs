//! The GraphQL API, as far as it is about check runs: the same rules as REST, alias by alias.
use serde_json::{Map, Value, json};

use super::access;
use super::answer::Answer;
use super::schema::Alias;
use super::state::{Fault, Operation};
use super::{World, checks, limits, repository};

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
            let run = &answer.body;
            let fields = alias.asked.iter().map(|it| (it.clone(), field(run, it)));
            json!({ "checkRun": Value::Object(fields.collect()) })
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
        422 => Some("UNPROCESSABLE"),
        _ => None,
    }
}

fn field(run: &Value, name: &str) -> Value {
    match name {
        "id" => run["node_id"].clone(),
        // Not told: an `Int` has 32 bits, and GitHub's ids have more by now.
        "databaseId" => Value::Null,
        other => panic!("{other} of a check run is not needed so far"),
    }
}

async fn one(world: &World, token: &super::state::Token, alias: &Alias) -> Answer {
    let node = alias.input["repositoryId"].as_str().unwrap_or_default();
    let id = {
        let state = world.state();
        let id = node.strip_prefix("R_").and_then(|it| it.parse::<i64>().ok());
        let covered = |id: &i64| {
            let ours = |it: &&super::state::Repository| it.id == *id && !it.is_deleted;
            let found = state.repositories.iter().find(ours);
            found.is_some_and(|it| token.covers(it.id) && token.installation == it.installation)
        };
        let Some(id) = id.filter(covered) else { return Answer::not_found() };
        if !token.may("checks", "write") {
            return Answer::refused(403, "Resource not accessible by integration");
        }
        id
    };
    let body = as_rest(&alias.input);
    if alias.field == "updateCheckRun" {
        let run = alias.input["checkRunId"].as_str().and_then(|it| it.strip_prefix("CR_"));
        let run = run.and_then(|it| it.parse().ok()).unwrap_or(0);
        return checks::update(&mut world.state(), id, run, &body);
    }
    let commit = body["head_sha"].as_str().unwrap_or_default();
    if !repository::has_commit(world, id, commit).await {
        return Answer::refused(422, &format!("No commit found for SHA: {commit}"));
    }
    checks::create(&mut world.state(), id, &body)
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
