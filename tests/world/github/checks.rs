//! Check runs and commit statuses: creating, updating, listing.
use serde_json::{Value, json};

use super::answer::Answer;
use super::rules;
use super::state::State;
use super::{APP_ID, FakeGitHub};

/// A check run as it stands.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) id: i64,
    pub(super) repository: i64,
    pub(super) sha: String,
    pub(super) name: String,
    pub(super) external_id: String,
    pub(super) status: String,
    pub(super) conclusion: Option<String>,
    /// Everything else that was sent, as it was sent.
    pub(super) fields: Value,
    pub(super) output: Value,
    pub(super) annotations: Vec<Value>,
}

/// What a person sees of a check run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckRunView {
    pub id: i64,
    pub name: String,
    pub status: String,
    pub conclusion: Option<String>,
    pub title: String,
    pub summary: String,
    pub text: String,
    /// `path:line: title`.
    pub annotations: Vec<String>,
    pub external_id: String,
    pub details_url: String,
    /// The labels of its buttons, which GitHub shows on a completed check.
    pub buttons: Vec<String>,
}

/// What a person sees of a commit status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusView {
    pub context: String,
    pub state: String,
    pub description: String,
    pub target_url: String,
}

#[derive(Clone, Debug)]
pub(super) struct Status {
    pub(super) repository: i64,
    pub(super) sha: String,
    pub(super) view: StatusView,
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

impl Run {
    /// One line about it.
    pub(super) fn line(&self) -> String {
        let Self { id, name, sha, status, conclusion, .. } = self;
        let state = conclusion.as_deref().unwrap_or(status);
        format!("{id} {name} of {:.7}: {state}: {}", sha, text(&self.output["title"]))
    }

    /// As GitHub answers.
    pub(super) fn document(&self) -> Value {
        json!({
            "id": self.id,
            "node_id": format!("CR_{}", self.id),
            "head_sha": self.sha,
            "external_id": self.external_id,
            "url": format!("https://api.github.invalid/check-runs/{}", self.id),
            "html_url": format!("https://github.invalid/runs/{}", self.id),
            "details_url": self.fields["details_url"],
            "name": self.name,
            "status": self.status,
            "conclusion": self.conclusion,
            "started_at": self.fields["started_at"],
            "completed_at": self.fields["completed_at"],
            "output": {
                "title": self.output["title"],
                "summary": self.output["summary"],
                "text": self.output["text"],
                "annotations_count": self.annotations.len(),
                "annotations_url": "",
            },
            "check_suite": { "id": self.id },
            "app": { "id": APP_ID, "slug": "fleetcheck", "name": "fleetcheck" },
            "pull_requests": [],
        })
    }

    fn view(&self) -> CheckRunView {
        let annotation = |it: &Value| {
            format!("{}:{}: {}", text(&it["path"]), it["start_line"], text(&it["title"]))
        };
        CheckRunView {
            id: self.id,
            name: self.name.clone(),
            status: self.status.clone(),
            conclusion: self.conclusion.clone(),
            title: text(&self.output["title"]),
            summary: text(&self.output["summary"]),
            text: text(&self.output["text"]),
            annotations: self.annotations.iter().map(annotation).collect(),
            external_id: self.external_id.clone(),
            details_url: text(&self.fields["details_url"]),
            buttons: self.buttons(),
        }
    }

    fn buttons(&self) -> Vec<String> {
        let actions = self.fields["actions"].as_array().map_or(&[][..], Vec::as_slice);
        actions.iter().map(|it| text(&it["label"])).collect()
    }

    /// Takes what a request says; annotations are appended.
    fn take(&mut self, body: &Value) {
        for (key, value) in body.as_object().unwrap() {
            match key.as_str() {
                "output" => {
                    let mut output = value.clone();
                    if let Some(Value::Array(more)) =
                        output.as_object_mut().unwrap().remove("annotations")
                    {
                        self.annotations.extend(more);
                    }
                    self.output = output;
                }
                "status" => self.status = text(value),
                "conclusion" => {
                    self.conclusion = Some(text(value));
                    self.status = "completed".into();
                }
                "external_id" => self.external_id = text(value),
                "name" => self.name = text(value),
                key => self.fields[key] = value.clone(),
            }
        }
    }
}

pub(super) fn create(state: &mut State, repository: i64, body: &Value) -> Answer {
    if let Some(wrong) = rules::check_run(body) {
        return Answer::violation(&wrong);
    }
    let mut run = Run {
        id: state.next_id(),
        repository,
        sha: text(&body["head_sha"]),
        name: String::new(),
        external_id: String::new(),
        status: "queued".into(),
        conclusion: None,
        fields: json!({}),
        output: json!({}),
        annotations: Vec::new(),
    };
    run.take(body);
    let action = if run.status == "completed" { "completed" } else { "created" };
    state.echoes.push((action, run.id));
    let answer = Answer::new(201, run.document());
    state.runs.push(run);
    answer
}

pub(super) fn update(state: &mut State, repository: i64, id: i64, body: &Value) -> Answer {
    let Some(run) = state.runs.iter_mut().find(|it| it.id == id && it.repository == repository)
    else {
        return Answer::not_found();
    };
    if let Some(wrong) = rules::check_run(body).or_else(|| rules::update(run, body)) {
        return Answer::violation(&wrong);
    }
    run.take(body);
    if run.status == "completed" {
        state.echoes.push(("completed", run.id));
    }
    Answer::new(200, run.document())
}

pub(super) fn get(state: &State, repository: i64, id: i64) -> Answer {
    let run = state.runs.iter().find(|it| it.id == id && it.repository == repository);
    run.map_or_else(Answer::not_found, |run| Answer::new(200, run.document()))
}

/// `GET /commits/{ref}/check-runs`, the newest first.
pub(super) fn list(
    state: &State,
    repository: i64,
    sha: &str,
    query: &[(String, String)],
) -> Answer {
    let asked = |key: &str| query.iter().find(|(it, _)| it == key).map(|(_, value)| value.as_str());
    let number = |key: &str, otherwise| {
        asked(key).and_then(|it| it.parse::<usize>().ok()).unwrap_or(otherwise)
    };
    let of_app = asked("app_id").is_none_or(|it| it == APP_ID.to_string());
    let mut found: Vec<&Run> = state
        .runs
        .iter()
        .rev()
        .filter(|it| of_app && it.repository == repository && it.sha == sha)
        .filter(|it| asked("check_name").is_none_or(|name| it.name == name))
        .collect();
    if asked("filter") != Some("all") {
        let mut names = std::collections::HashSet::new();
        found.retain(|it| names.insert(it.name.as_str()));
    }
    let (size, page) = (number("per_page", 30).min(100), number("page", 1).max(1));
    let runs: Vec<Value> =
        found.iter().skip((page - 1) * size).take(size).map(|it| it.document()).collect();
    Answer::new(200, json!({ "total_count": found.len(), "check_runs": runs }))
}

pub(super) fn set_status(state: &mut State, repository: i64, sha: &str, body: &Value) -> Answer {
    if let Some(wrong) = rules::status(body) {
        return Answer::violation(&wrong);
    }
    let view = StatusView {
        context: body["context"].as_str().unwrap_or("default").to_owned(),
        state: text(&body["state"]),
        description: text(&body["description"]),
        target_url: text(&body["target_url"]),
    };
    state.statuses.push(Status { repository, sha: sha.to_owned(), view });
    Answer::new(201, json!({ "id": state.next_id(), "state": body["state"] }))
}

impl FakeGitHub {
    /// Every check run of a commit, in the order of their creation.
    pub fn all_check_runs(&self, repository: i64, sha: &str) -> Vec<CheckRunView> {
        let state = self.world.state();
        let of = |it: &&Run| it.repository == repository && it.sha == sha;
        state.runs.iter().filter(of).map(Run::view).collect()
    }

    /// What GitHub shows: the newest check run of each name, by name.
    pub fn check_runs(&self, repository: i64, sha: &str) -> Vec<CheckRunView> {
        let newest: std::collections::BTreeMap<String, CheckRunView> = self
            .all_check_runs(repository, sha)
            .into_iter()
            .map(|it| (it.name.clone(), it))
            .collect();
        newest.into_values().collect()
    }

    /// The newest check run of a name.
    pub fn check_run(&self, repository: i64, sha: &str, name: &str) -> Option<CheckRunView> {
        self.all_check_runs(repository, sha).into_iter().rfind(|it| it.name == name)
    }

    /// The newest status of each context, by context.
    pub fn statuses(&self, repository: i64, sha: &str) -> Vec<StatusView> {
        let state = self.world.state();
        let newest: std::collections::BTreeMap<String, StatusView> = state
            .statuses
            .iter()
            .filter(|it| it.repository == repository && it.sha == sha)
            .map(|it| (it.view.context.to_lowercase(), it.view.clone()))
            .collect();
        newest.into_values().collect()
    }

    /// The check runs of a commit of any repository, and its statuses, as GitHub's API has them.
    pub fn checks_document(&self, sha: &str) -> Value {
        let state = self.world.state();
        let newest: std::collections::BTreeMap<&str, Value> = state
            .runs
            .iter()
            .filter(|it| it.sha == sha)
            .map(|it| (it.name.as_str(), it.document()))
            .collect();
        let statuses: std::collections::BTreeMap<&str, Value> = state
            .statuses
            .iter()
            .filter(|it| it.sha == sha)
            .map(|Status { view, .. }| {
                let StatusView { context, state, description, target_url } = view;
                let value = json!({ "context": context, "state": state, "description": description, "target_url": target_url });
                (context.as_str(), value)
            })
            .collect();
        json!({
            "check_runs": newest.into_values().collect::<Vec<_>>(),
            "statuses": statuses.into_values().collect::<Vec<_>>(),
        })
    }
}
