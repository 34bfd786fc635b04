//! GraphQL's own way of saying what went wrong: an answer of 200 may hold refusals, of the whole
//! request or of one alias, beside what succeeded.
use std::collections::HashMap;

use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::domain::id::{InstallationId, RepositoryId};
use crate::github::client::{Call, Github, GithubError, Purpose};

/// What an alias of a mutation gave.
pub(super) type Answers = HashMap<String, Result<Value, GithubError>>;

/// A request with everything but who sends it.
pub(super) struct Mutation {
    /// For metrics.
    pub(super) operation: &'static str,
    /// What is asked, for people.
    pub(super) about: String,
    pub(super) query: String,
    pub(super) variables: Value,
}

#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    data: Option<HashMap<String, Value>>,
    #[serde(default)]
    errors: Vec<Refusal>,
}

#[derive(Deserialize)]
struct Refusal {
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    message: String,
    /// Names of fields and numbers of list items.
    #[serde(default)]
    path: Vec<Value>,
}

/// Where the GraphQL API is, for a REST API at `api_url`: beside GitHub Enterprise's `/api/v3`,
/// below github.com's root.
pub(super) fn url(api_url: &str) -> String {
    match api_url.strip_suffix("/api/v3") {
        Some(host) => format!("{host}/api/graphql"),
        None => format!("{api_url}/graphql"),
    }
}

impl Github {
    /// Sends a mutation for one purpose in one repository. Every alias has an answer of its own; an
    /// alias that GitHub says nothing about may have had its effect.
    ///
    /// # Errors
    /// When the request as a whole had no success; any alias may have had its effect all the same
    /// where the error is weather. [`GithubError::Gone`] when there is no GraphQL API here.
    pub(super) async fn mutate(
        &self,
        purpose: Purpose,
        (installation, repository): (InstallationId, RepositoryId),
        mutation: Mutation,
    ) -> Result<Answers, GithubError> {
        let Mutation { operation, about, query, variables } = mutation;
        let call = Call {
            operation,
            about: about.clone(),
            method: Method::POST,
            path: self.graphql_url.clone(),
            body: Some(json!({ "query": query, "variables": variables })),
        };
        let answer = self.through(purpose, installation, repository, call).await?;
        let document: Document = answer.read()?;
        if let Some(limited) = document.errors.iter().find(|it| it.is_limit()) {
            let wait = self.limits.refused(installation, &answer.headers, self.now());
            let what = format!("{about}: GitHub answered: {}", limited.said());
            return Err(GithubError::Weather { what, retry_after: Some(wait) });
        }
        judge(&about, document)
    }
}

fn judge(about: &str, document: Document) -> Result<Answers, GithubError> {
    let Document { data, errors } = document;
    let Some(data) = data else {
        let said = errors.first().map_or_else(String::new, Refusal::said);
        let what = format!("{about}: GitHub answered: {said}");
        let missing = errors.iter().any(Refusal::is_missing_feature);
        // One check's variable refuses the whole request: each has to go by itself.
        let invalid = errors.iter().any(|it| it.message.starts_with("Variable $"));
        return Err(match (missing, invalid) {
            (true, _) => GithubError::Gone(what),
            (false, true) => GithubError::Rejected { status: 422, message: what },
            (false, false) => GithubError::weather(what),
        });
    };
    let mut answers = Answers::new();
    for (alias, value) in data {
        let refusal = errors.iter().find(|it| it.alias() == Some(alias.as_str()));
        let answer = match (value.is_null(), refusal) {
            // A field within it may be refused all the same: what it is about was done.
            (false, _) => Ok(value),
            (true, Some(refusal)) => Err(refusal.meaning(about)),
            (true, None) => Err(GithubError::weather(format!("{about}: no answer for {alias}"))),
        };
        answers.insert(alias, answer);
    }
    Ok(answers)
}

impl Refusal {
    fn alias(&self) -> Option<&str> {
        self.path.first()?.as_str()
    }

    fn said(&self) -> String {
        self.message.chars().take(300).filter(|c| !c.is_control()).collect()
    }

    fn is_limit(&self) -> bool {
        self.kind.as_deref() == Some("RATE_LIMITED")
            || self.message.to_ascii_lowercase().contains("secondary rate limit")
    }

    /// An older GitHub Enterprise Server may not have these mutations.
    fn is_missing_feature(&self) -> bool {
        self.message.contains("doesn't exist on type") || self.message.contains("isn't a defined")
    }

    fn meaning(&self, about: &str) -> GithubError {
        let what = format!("{about}: GitHub answered: {}", self.said());
        match self.kind.as_deref() {
            Some("NOT_FOUND") => GithubError::Gone(what),
            Some("FORBIDDEN" | "INSUFFICIENT_SCOPES") => GithubError::Forbidden(what),
            // GraphQL has no statuses; this is the one that REST gives to the same mistake.
            Some("UNPROCESSABLE" | "VALIDATION" | "ARGUMENT_ERROR") => {
                GithubError::Rejected { status: 422, message: what }
            }
            // What the request expected a branch to be is not what it is.
            Some("STALE_DATA") => GithubError::Rejected { status: 409, message: what },
            Some(_) | None => GithubError::weather(what),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(document: &Value) -> Result<Answers, GithubError> {
        judge("update checks", serde_json::from_value(document.clone()).unwrap())
    }

    #[test]
    fn enterprise_has_its_graphql_beside_its_rest() {
        assert_eq!(url("https://api.github.com"), "https://api.github.com/graphql");
        assert_eq!(url("https://ghe.example.org/api/v3"), "https://ghe.example.org/api/graphql");
    }

    #[test]
    fn every_alias_is_judged_alone() {
        let answers = judged(&json!({
            "data": { "a": { "checkRun": { "id": "CR_1" } }, "b": null, "c": null, "d": null, "e": null },
            "errors": [
                { "type": "NOT_FOUND", "path": ["b"], "message": "no such node" },
                { "type": "UNPROCESSABLE", "path": ["c", "x"], "message": "No commit found" },
                { "path": ["d"], "message": "Something went wrong" },
            ],
        }))
        .unwrap();
        assert_eq!(answers["a"].as_ref().unwrap()["checkRun"]["id"], "CR_1");
        assert!(matches!(answers["b"], Err(GithubError::Gone(_))));
        assert!(matches!(answers["c"], Err(GithubError::Rejected { status: 422, .. })));
        assert!(matches!(answers["d"], Err(GithubError::Weather { .. })));
        assert!(matches!(answers["e"], Err(GithubError::Weather { .. })));
    }

    #[test]
    fn a_mutation_that_github_does_not_know_is_gone_and_a_mishap_is_weather() {
        let unknown = json!({ "errors": [{ "message": "Field 'createCheckRun' doesn't exist on type 'Mutation'" }] });
        assert!(matches!(judged(&unknown), Err(GithubError::Gone(_))));
        let invalid = json!({ "errors": [{ "message": "Variable $c3 of type CreateCheckRunInput! was provided invalid value for output.title" }] });
        assert!(matches!(judged(&invalid), Err(GithubError::Rejected { status: 422, .. })));
        let mishap = json!({ "errors": [{ "message": "Something went wrong while executing your query." }] });
        assert!(matches!(judged(&mishap), Err(GithubError::Weather { .. })));
    }

    #[test]
    fn a_field_that_cannot_be_told_does_not_undo_what_was_done() {
        let answers = judged(&json!({
            "data": { "a": { "checkRun": { "id": "CR_1", "databaseId": null } } },
            "errors": [{ "path": ["a", "checkRun", "databaseId"], "message": "too large for Int" }],
        }));
        assert!(answers.unwrap()["a"].is_ok());
    }
}
