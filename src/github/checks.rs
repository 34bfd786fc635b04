//! Makes check runs and statuses say what a page says, safe to repeat.
//!
//! GitHub has no way to create a check run only once: a caller that does not know whether an
//! earlier try had its effect asks [`Github::find_check`] by the `external_id` it sent. Annotations
//! are appended by GitHub, so an update sends only those that are not there yet.
use std::collections::HashMap;

use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::domain::Timestamp;
use crate::domain::id::{CommitSha, InstallationId, NodeId, Owner, RepositoryId, RepositoryName};
use crate::domain::page::{Action, Annotation, CheckPage, CheckStatus, StatusPage};
use crate::github::client::{Call, Github, GithubError, PER_PAGE, get};

/// GitHub takes this many annotations at a time, and appends them.
pub(super) const ANNOTATIONS: usize = 50;
/// Bytes of Markdown; GitHub refuses more than 65,535 characters.
const LONGEST_TEXT: usize = 60_000;
/// Characters of a title of an annotation, and of ours.
const LONGEST_TITLE: usize = 255;
/// Characters of a status's description.
const LONGEST_DESCRIPTION: usize = 140;

/// A commit to report on, and the way to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub installation: InstallationId,
    pub repository: RepositoryId,
    /// The repository's name in the GraphQL API, where it is known.
    pub node_id: Option<NodeId>,
    pub owner: Owner,
    pub name: RepositoryName,
    pub sha: CommitSha,
}

impl Target {
    fn call(&self, operation: &'static str, verb: &str, method: Method, path: &str) -> Call {
        let Self { installation: _, repository: _, node_id: _, owner, name, sha: _ } = self;
        Call {
            operation,
            about: format!("{verb} of {owner}/{name}"),
            method,
            path: format!("/repos/{owner}/{name}{path}"),
            body: None,
        }
    }
}

/// A check run by its two names; REST knows the first, GraphQL the second.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// `None` where GraphQL did not tell it.
    pub id: Option<i64>,
    /// `None` where an older GitHub Enterprise Server did not tell it.
    pub node_id: Option<NodeId>,
}

/// A check run that GitHub has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub check: Check,
    /// GitHub's `status`; of a completed one `completed:` and its conclusion.
    pub status: String,
    /// Annotations that it has.
    pub annotations: usize,
}

#[derive(Deserialize)]
struct Created {
    id: i64,
    node_id: Option<String>,
}

impl Created {
    fn check(self) -> Check {
        let Self { id, node_id } = self;
        Check { id: Some(id), node_id: node_id.and_then(|it| it.parse().ok()) }
    }
}

/// A check run of a list.
#[derive(Deserialize)]
struct Listed {
    #[serde(flatten)]
    created: Created,
    external_id: Option<String>,
    status: String,
    conclusion: Option<String>,
    output: Output,
}

#[derive(Deserialize)]
struct Output {
    annotations_count: usize,
}

impl Listed {
    fn found(self) -> (Option<String>, Found) {
        let Self { created, external_id, status, conclusion, output } = self;
        let status = match conclusion {
            Some(conclusion) => format!("{status}:{conclusion}"),
            None => status,
        };
        let annotations = output.annotations_count;
        (external_id, Found { check: created.check(), status, annotations })
    }
}

impl Github {
    /// Creates a check run.
    ///
    /// # Errors
    /// On any failure; the check run may exist all the same, with this `external_id`.
    pub async fn create_check(
        &self,
        target: &Target,
        external_id: &str,
        page: &CheckPage,
    ) -> Result<Check, GithubError> {
        let mut call = target.call("create_check", "create a check", Method::POST, "/check-runs");
        let mut body = document(page, 0);
        body["name"] = json!(page.name);
        body["head_sha"] = json!(target.sha);
        body["external_id"] = json!(external_id);
        call.body = Some(body);
        let answer = self.as_reporter(target.installation, target.repository, call).await?;
        let created: Created = answer.read()?;
        self.append_annotations(target, created.id, page, ANNOTATIONS).await?;
        Ok(created.check())
    }

    /// Makes an existing check run say what the page says. `there` is how many of its annotations
    /// it has; GitHub is asked where that is not known and matters.
    ///
    /// # Errors
    /// On any failure; it is safe to call again without `there`.
    pub async fn update_check(
        &self,
        target: &Target,
        id: i64,
        page: &CheckPage,
        there: Option<usize>,
    ) -> Result<(), GithubError> {
        let there = match there {
            Some(there) => there,
            None if page.annotations.is_empty() => 0,
            None => self.annotations(target, id).await?,
        };
        self.patch_check(target, id, document(page, there)).await?;
        self.append_annotations(target, id, page, there.saturating_add(ANNOTATIONS)).await
    }

    /// The newest check run of this name that we created with this `external_id`.
    ///
    /// # Errors
    /// On any failure to ask.
    pub async fn find_check(
        &self,
        target: &Target,
        name: &str,
        external_id: &str,
    ) -> Result<Option<Found>, GithubError> {
        let query = format!("check_name={}&", percent_encoded(name));
        Ok(self.list(target, &query).await?.remove(external_id))
    }

    /// Every check run of the commit that we created, by its `external_id`; of one external id the
    /// newest.
    ///
    /// # Errors
    /// On any failure to ask.
    pub async fn list_checks(
        &self,
        target: &Target,
    ) -> Result<HashMap<String, Found>, GithubError> {
        self.list(target, "").await
    }

    async fn list(
        &self,
        target: &Target,
        query: &str,
    ) -> Result<HashMap<String, Found>, GithubError> {
        #[derive(Deserialize)]
        struct Page {
            check_runs: Vec<Listed>,
        }
        let mut all: HashMap<String, Found> = HashMap::new();
        for page in 1.. {
            let path = format!(
                "/commits/{}/check-runs?{query}app_id={}&filter=all&per_page={PER_PAGE}&page={page}",
                target.sha, self.app_id,
            );
            let call = target.call("list_checks", "look for checks", Method::GET, &path);
            let answer = self.as_reporter(target.installation, target.repository, call).await?;
            let Page { check_runs } = answer.read()?;
            let full = check_runs.len() >= PER_PAGE;
            for (external_id, found) in check_runs.into_iter().map(Listed::found) {
                let Some(external_id) = external_id else { continue };
                let newer = all.get(&external_id).is_none_or(|it| it.check.id < found.check.id);
                if newer {
                    all.insert(external_id, found);
                }
            }
            if !full {
                break;
            }
        }
        Ok(all)
    }

    /// Sets the commit status of a context.
    ///
    /// # Errors
    /// On any failure; it is safe to call again.
    pub async fn set_status(
        &self,
        target: &Target,
        context: &str,
        page: &StatusPage,
    ) -> Result<(), GithubError> {
        let StatusPage { state, description, target_url } = page;
        let path = format!("/statuses/{}", target.sha);
        let mut call = target.call("set_status", "set the status", Method::POST, &path);
        call.body = Some(json!({
            "state": state.as_str(),
            "description": first_characters(description, LONGEST_DESCRIPTION),
            "target_url": target_url,
            "context": context,
        }));
        self.as_reporter(target.installation, target.repository, call).await.map(drop)
    }

    async fn patch_check(&self, target: &Target, id: i64, body: Value) -> Result<(), GithubError> {
        let path = format!("/check-runs/{id}");
        let mut call = target.call("update_check", "update a check", Method::PATCH, &path);
        call.body = Some(body);
        self.as_reporter(target.installation, target.repository, call).await.map(drop)
    }

    /// How many annotations a check run has.
    ///
    /// # Errors
    /// On any failure to ask.
    pub async fn annotations(&self, target: &Target, id: i64) -> Result<usize, GithubError> {
        #[derive(Deserialize)]
        struct Run {
            output: Output,
        }
        let path = format!("/repos/{}/{}/check-runs/{id}", target.owner, target.name);
        let call =
            get("get_check", &format!("read a check of {}/{}", target.owner, target.name), path);
        let answer = self.as_reporter(target.installation, target.repository, call).await?;
        answer.read::<Run>().map(|run| run.output.annotations_count)
    }

    /// Sends what is left of the annotations from the one at `from` on.
    async fn append_annotations(
        &self,
        target: &Target,
        id: i64,
        page: &CheckPage,
        from: usize,
    ) -> Result<(), GithubError> {
        for at in (from..page.annotations.len()).step_by(ANNOTATIONS) {
            self.patch_check(target, id, json!({ "output": output(page, at) })).await?;
        }
        Ok(())
    }
}

/// What create and update have in common, with the annotations from the one at `from` on.
pub(super) fn document(page: &CheckPage, from: usize) -> Value {
    let mut body = json!({ "details_url": page.details_url, "output": output(page, from) });
    match page.status {
        CheckStatus::Queued => body["status"] = json!("queued"),
        CheckStatus::InProgress { since } => {
            body["status"] = json!("in_progress");
            body["started_at"] = json!(iso(since));
        }
        CheckStatus::Completed { conclusion, at } => {
            // Also when there are none: those of before must go.
            body["actions"] = page.actions.iter().map(action).collect();
            body["status"] = json!("completed");
            body["conclusion"] = json!(conclusion.as_str());
            body["completed_at"] = json!(iso(at));
        }
    }
    body
}

fn output(page: &CheckPage, from: usize) -> Value {
    let title = first_characters(&page.title, LONGEST_TITLE);
    // GitHub wants a summary; one that is empty says no more than the title.
    let summary = if page.summary.is_empty() { title } else { cut(&page.summary) };
    let mut output = json!({ "title": title, "summary": summary });
    if !page.text.is_empty() {
        output["text"] = json!(cut(&page.text));
    }
    let annotations: Vec<Value> =
        page.annotations.iter().skip(from).take(ANNOTATIONS).map(annotation).collect();
    if !annotations.is_empty() {
        output["annotations"] = Value::Array(annotations);
    }
    output
}

fn action(action: &Action) -> Value {
    let Action { label, description, identifier } = action;
    json!({ "label": label, "description": description, "identifier": identifier })
}

fn annotation(annotation: &Annotation) -> Value {
    let Annotation { level, path, line, title, message } = annotation;
    // Lines count from one; a place that has none is shown on the first.
    let line = (*line).max(1);
    let message = if message.is_empty() { title } else { message };
    json!({
        "path": path,
        "start_line": line,
        "end_line": line,
        "annotation_level": level.as_str(),
        "title": first_characters(title, LONGEST_TITLE),
        "message": cut(message),
    })
}

/// Pages are within the limits already; a page that is not shall not stay unseen for ever.
pub(super) fn cut(text: &str) -> &str {
    if text.len() <= LONGEST_TEXT {
        return text;
    }
    let head = &text[..text.floor_char_boundary(LONGEST_TEXT)];
    head.rfind('\n').map_or(head, |end| &head[..end])
}

pub(super) fn first_characters(text: &str, most: usize) -> &str {
    text.char_indices().nth(most).map_or(text, |(end, _)| &text[..end])
}

fn iso(at: Timestamp) -> Option<String> {
    // GitHub's times have whole seconds.
    jiff::Timestamp::from_second(at.0.div_euclid(1000)).ok().map(|at| at.to_string())
}

pub(super) fn percent_encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}
