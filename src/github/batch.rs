//! Many checks in one request: a GraphQL mutation with an alias for each.
use std::fmt::Write as _;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::domain::id::{CommitSha, NodeId};
use crate::domain::page::CheckPage;
use crate::github::checks::{ANNOTATIONS, Check, Target, document};
use crate::github::client::{Github, GithubError, Purpose};
use crate::github::graphql::Mutation;

/// Bytes of one request's checks; more would not be answered within GitHub's ten seconds.
const LONGEST_BATCH: usize = 1 << 20;

/// One check of a batch.
#[derive(Debug)]
pub struct Change<'a> {
    pub page: &'a CheckPage,
    pub to: To<'a>,
}

/// What a check of a batch is written to.
#[derive(Debug)]
pub enum To<'a> {
    /// A new check run.
    New { sha: &'a CommitSha, external_id: &'a str },
    /// A check run that has so many of its annotations already.
    Existing { node_id: &'a NodeId, annotations: usize },
}

impl Change<'_> {
    /// Whether one request is enough for it: GitHub takes 50 annotations at a time.
    #[must_use]
    pub fn fits(&self) -> bool {
        let there = match self.to {
            To::New { .. } => 0,
            To::Existing { annotations, .. } => annotations,
        };
        self.page.annotations.len().saturating_sub(there) <= ANNOTATIONS
    }

    fn is_new(&self) -> bool {
        matches!(self.to, To::New { .. })
    }

    /// GitHub's `CreateCheckRunInput` or `UpdateCheckRunInput`.
    fn input(&self, repository: &NodeId) -> Value {
        let mut input = match &self.to {
            To::New { sha, external_id } => {
                let mut input = renamed(document(self.page, 0));
                input["headSha"] = json!(sha);
                input["name"] = json!(self.page.name);
                input["externalId"] = json!(external_id);
                input
            }
            To::Existing { node_id, annotations } => {
                let mut input = renamed(document(self.page, *annotations));
                input["checkRunId"] = json!(node_id);
                input
            }
        };
        input["repositoryId"] = json!(repository);
        input
    }
}

/// The same in GraphQL's spelling: names in camel case, words of enumerations in capitals, and an
/// annotation's lines in a place of their own.
fn renamed(body: Value) -> Value {
    let Value::Object(fields) = body else { return body };
    let mut out = serde_json::Map::new();
    for (key, value) in fields {
        let value = match (key.as_str(), value) {
            ("status" | "conclusion" | "annotation_level", Value::String(word)) => {
                json!(word.to_ascii_uppercase())
            }
            ("annotations", Value::Array(all)) => all.into_iter().map(annotation).collect(),
            (_, value @ Value::Object(_)) => renamed(value),
            (_, value) => value,
        };
        out.insert(camel(&key), value);
    }
    Value::Object(out)
}

fn annotation(body: Value) -> Value {
    let mut out = renamed(body);
    let (start, end) = (out["startLine"].take(), out["endLine"].take());
    if let Value::Object(fields) = &mut out {
        fields.remove("startLine");
        fields.remove("endLine");
    }
    out["location"] = json!({ "startLine": start, "endLine": end });
    out
}

fn camel(key: &str) -> String {
    let mut out = String::with_capacity(key.len());
    for (at, part) in key.split('_').enumerate() {
        let (head, tail) = part.split_at(part.len().min(1));
        out.push_str(if at == 0 { head } else { "" });
        if at > 0 {
            out.push_str(&head.to_ascii_uppercase());
        }
        out.push_str(tail);
    }
    out
}

impl Github {
    /// Writes many checks of one repository with one request, and gives what became of each, in
    /// their order. Of more than fits into a request the rest has no answer at all: the list that
    /// is given may be shorter than `changes`, and has one at least.
    ///
    /// # Errors
    /// When the request as a whole had no success; where the error is weather, any of the checks
    /// may have been written. [`GithubError::Gone`] when there is no GraphQL API here.
    pub async fn write_checks(
        &self,
        target: &Target,
        repository: &NodeId,
        changes: &[Change<'_>],
    ) -> Result<Vec<Result<Check, GithubError>>, GithubError> {
        let mut variables = serde_json::Map::new();
        let (mut names, mut fields, mut bytes) = (String::new(), String::new(), 0);
        for (at, change) in changes.iter().enumerate() {
            let input = change.input(repository);
            bytes += input.to_string().len();
            if bytes > LONGEST_BATCH && at > 0 {
                break;
            }
            let (kind, field) = if change.is_new() {
                ("CreateCheckRunInput", "createCheckRun")
            } else {
                ("UpdateCheckRunInput", "updateCheckRun")
            };
            // Writing into a `String` cannot fail.
            let _ = write!(names, "$c{at}: {kind}!, ");
            let _ = writeln!(
                fields,
                "  c{at}: {field}(input: $c{at}) {{ checkRun {{ id databaseId }} }}"
            );
            variables.insert(format!("c{at}"), input);
        }
        let sent = variables.len();
        let about = format!("write {sent} checks of {}/{}", target.owner, target.name);
        let mutation = Mutation {
            operation: "write_checks",
            about: about.clone(),
            query: format!("mutation({}) {{\n{fields}}}", names.trim_end_matches(", ")),
            variables: Value::Object(variables),
        };
        let of = (target.installation, target.repository);
        let mut answers = self.mutate(Purpose::Report, of, mutation).await?;
        let judged = (0..sent).map(|at| {
            let answer = answers.remove(&format!("c{at}"));
            answer.map_or_else(|| Err(unread(&about)), |it| it.and_then(|it| check(&about, it)))
        });
        Ok(judged.collect())
    }
}

fn check(about: &str, answer: Value) -> Result<Check, GithubError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Payload {
        check_run: Wire,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Wire {
        id: NodeId,
        // An `Int` by GitHub's description, too small for the ids of today: may be null.
        database_id: Option<i64>,
    }
    let payload: Payload = serde_json::from_value(answer).map_err(|_| unread(about))?;
    let Wire { id, database_id } = payload.check_run;
    Ok(Check { id: database_id, node_id: Some(id) })
}

fn unread(about: &str) -> GithubError {
    GithubError::weather(format!("{about}: GitHub's answer does not say what became of one"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_spelt_as_graphql_has_them() {
        assert_eq!(camel("details_url"), "detailsUrl");
        assert_eq!(camel("name"), "name");
        let body = json!({
            "status": "in_progress",
            "output": { "title": "in_progress", "annotations": [{
                "path": "flake.nix", "start_line": 3, "end_line": 3,
                "annotation_level": "failure", "message": "no",
            }] },
            "actions": [{ "label": "Rebuild", "description": "d", "identifier": "rebuild" }],
        });
        assert_eq!(
            renamed(body),
            json!({
                "status": "IN_PROGRESS",
                "output": { "title": "in_progress", "annotations": [{
                    "path": "flake.nix", "location": { "startLine": 3, "endLine": 3 },
                    "annotationLevel": "FAILURE", "message": "no",
                }] },
                "actions": [{ "label": "Rebuild", "description": "d", "identifier": "rebuild" }],
            })
        );
    }
}
