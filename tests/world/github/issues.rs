//! Issues, labels, and what is written below issues and pull requests.
use serde_json::{Value, json};

use super::answer::Answer;
use super::payload;
use super::pulls::{Standing, change};
use super::recover::page;
use super::second::{app_called, bot};
use super::state::State;
use super::{FakeGitHub, RepoHandle, World};

#[derive(Clone, Debug)]
pub(super) struct Issue {
    pub(super) repository: i64,
    pub(super) number: i64,
    pub(super) title: String,
    pub(super) body: String,
    pub(super) is_open: bool,
    /// The bot that opened it.
    pub(super) by: String,
    pub(super) labels: Vec<String>,
}

/// A comment that was written over the API.
#[derive(Clone, Debug)]
pub(super) struct Note {
    pub(super) repository: i64,
    pub(super) number: i64,
    pub(super) body: String,
}

/// What a person sees of an issue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssueView {
    pub number: i64,
    pub title: String,
    pub body: String,
    pub is_open: bool,
    pub labels: Vec<String>,
    pub comments: Vec<String>,
}

impl Issue {
    fn document(&self) -> Value {
        json!({
            "id": 6_000_000_000_i64 + self.number,
            "number": self.number,
            "title": self.title,
            "body": self.body,
            "user": bot(&self.by),
            "performed_via_github_app": { "id": app_called(&self.by) },
            "state": if self.is_open { "open" } else { "closed" },
            "labels": self.labels.iter().map(|it| json!({ "name": it })).collect::<Value>(),
        })
    }
}

impl State {
    pub(super) fn comments_on(&self, repository: i64, number: i64) -> Vec<String> {
        let on = self.notes.iter().filter(|it| (it.repository, it.number) == (repository, number));
        on.map(|it| it.body.clone()).collect()
    }

    pub(super) fn has_issue(&self, repository: i64, number: i64) -> bool {
        self.issues.iter().any(|it| (it.repository, it.number) == (repository, number))
    }

    fn issue(&mut self, repository: i64, number: i64) -> Option<&mut Issue> {
        self.issues.iter_mut().find(|it| (it.repository, it.number) == (repository, number))
    }
}

/// `GET /issues`, the newest first: pull requests are issues too.
pub(super) fn list(state: &State, repository: i64, query: &[(String, String)]) -> Answer {
    let wants = query.iter().find(|(key, _)| key == "state").map(|(_, it)| it.as_str());
    let is_wanted = |is_open: bool| match wants.unwrap_or("open") {
        "all" => true,
        wanted => (wanted == "open") == is_open,
    };
    let issues = state.issues.iter().filter(|it| it.repository == repository);
    let issues = issues.filter(|it| is_wanted(it.is_open)).map(Issue::document);
    let pulls = state.pulls.iter().filter(|it| it.repository == repository);
    let pulls = pulls.filter(|it| is_wanted(it.standing == Standing::Open)).map(|it| {
        json!({
            "number": it.number,
            "title": it.title,
            "pull_request": { "url": "https://github.invalid/pulls" },
            "performed_via_github_app": it.by.as_deref().map(|by| json!({ "id": app_called(by) })),
        })
    });
    let mut all: Vec<Value> = issues.chain(pulls).collect();
    all.sort_by_key(|it| std::cmp::Reverse(it["number"].as_i64()));
    Answer::new(200, Value::Array(page(all, query)))
}

/// `POST /issues`.
pub(super) fn create(state: &mut State, (repository, by): (i64, &str), body: &Value) -> Answer {
    if !state.repository(repository).settings.has_issues {
        return Answer::refused(410, "Issues are disabled for this repo");
    }
    let text = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
    let number = state.next_number(repository);
    let (title, body) = (text("title"), text("body"));
    let (by, labels) = (by.to_owned(), vec![]);
    let issue = Issue { repository, number, title, body, is_open: true, by, labels };
    let document = issue.document();
    state.issues.push(issue);
    Answer::new(201, document)
}

/// `PATCH /issues/{number}`.
pub(super) fn edit(state: &mut State, repository: i64, number: i64, body: &Value) -> Answer {
    let Some(issue) = state.issue(repository, number) else { return Answer::not_found() };
    if let Some(title) = body["title"].as_str() {
        title.clone_into(&mut issue.title);
    }
    if let Some(body) = body["body"].as_str() {
        body.clone_into(&mut issue.body);
    }
    if let Some(state) = body["state"].as_str() {
        issue.is_open = state == "open";
    }
    Answer::new(200, issue.document())
}

/// `POST /issues/{number}/labels`, of a pull request too.
pub(super) fn label(
    world: &World,
    state: &mut State,
    (id, by): (i64, &str),
    (number, body): (i64, &Value),
) -> Answer {
    let wanted: Vec<String> = serde_json::from_value(body["labels"].clone()).unwrap_or_default();
    let has_pull = state.pulls.iter().any(|it| it.is(id, number));
    for label in &wanted {
        if has_pull {
            change(state, (id, by), (number, "labeled", world.now()), |pull| {
                if !pull.labels.contains(label) {
                    pull.labels.push(label.clone());
                }
            });
        } else {
            let Some(issue) = state.issue(id, number) else { return Answer::not_found() };
            if !issue.labels.contains(label) {
                issue.labels.push(label.clone());
            }
        }
    }
    Answer::new(200, wanted.iter().map(|it| json!({ "name": it })).collect())
}

/// `POST /issues/{number}/comments`, of a pull request too.
pub(super) fn comment(
    state: &mut State,
    (id, by): (i64, &str),
    (number, body): (i64, &Value),
) -> Answer {
    let is_pull = state.pulls.iter().any(|it| it.is(id, number));
    if !is_pull && state.issue(id, number).is_none() {
        return Answer::not_found();
    }
    let text = body["body"].as_str().unwrap_or_default().to_owned();
    let comment = state.next_id();
    let of = state.repository(id);
    let mut issue = json!({ "number": number });
    if is_pull {
        issue["pull_request"] = json!({ "url": "https://github.invalid/pulls" });
    }
    let event = json!({
        "action": "created",
        "issue": issue,
        "comment": { "id": comment, "body": text, "user": bot(by) },
        "repository": payload::repository(of),
        "sender": bot(by),
        "installation": payload::installation(of),
    });
    state.due.push(("issue_comment", event));
    state.notes.push(Note { repository: id, number, body: text.clone() });
    Answer::new(201, json!({ "id": comment, "body": text }))
}

impl FakeGitHub {
    /// The repository's issues, the oldest first.
    pub fn issues(&self, repo: &RepoHandle) -> Vec<IssueView> {
        let state = self.world.state();
        let view = |it: &Issue| IssueView {
            number: it.number,
            title: it.title.clone(),
            body: it.body.clone(),
            is_open: it.is_open,
            labels: it.labels.clone(),
            comments: state.comments_on(repo.id, it.number),
        };
        state.issues.iter().filter(|it| it.repository == repo.id).map(view).collect()
    }

    /// An issue is deleted, as its owner may do.
    pub fn delete_issue(&self, repo: &RepoHandle, number: i64) {
        let mut state = self.world.state();
        state.issues.retain(|it| (it.repository, it.number) != (repo.id, number));
    }

    /// A person closes an issue; the App does not hear of issues.
    pub fn close_issue(&self, repo: &RepoHandle, number: i64) {
        self.world.state().issue(repo.id, number).unwrap().is_open = false;
    }
}
