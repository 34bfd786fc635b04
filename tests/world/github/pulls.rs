//! Pull requests: opened by tests as events, or over the API.
use serde_json::{Value, json};

use super::answer::Answer;
use super::payload::{self, From, PullRequest};
use super::recover::page;
use super::refs::{self, tip, try_git};
use super::second::bot;
use super::state::{Repository, State};
use super::{FakeGitHub, RepoHandle, World};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Open,
    Merged,
    Closed,
}

#[derive(Clone, Debug)]
pub(super) struct Pull {
    pub(super) repository: i64,
    pub(super) number: i64,
    pub(super) branch: String,
    pub(super) base_branch: String,
    pub(super) head: String,
    /// The base's commit.
    pub(super) base: String,
    pub(super) from: From,
    pub(super) title: String,
    pub(super) body: Option<String>,
    pub(super) standing: Standing,
    /// The bot that opened it over the API.
    pub(super) by: Option<String>,
    pub(super) labels: Vec<String>,
    pub(super) reviewers: Vec<String>,
    /// The way in which GitHub is to merge it once it may be.
    pub(super) auto_merge: Option<String>,
    pub(super) updated_at: i64,
}

/// What a person sees of a pull request that was opened over the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullView {
    pub number: i64,
    pub branch: String,
    pub base: String,
    pub head: String,
    pub title: String,
    pub body: String,
    /// `open`, `merged` or `closed`.
    pub state: &'static str,
    pub by: String,
    pub labels: Vec<String>,
    /// Teams as `team/NAME`.
    pub reviewers: Vec<String>,
    /// `MERGE`, `SQUASH` or `REBASE`, while GitHub is to merge it by itself.
    pub auto_merge: Option<String>,
    pub comments: Vec<String>,
}

impl Pull {
    /// One that a test announces: `topic` against `main`.
    pub(super) fn by_a_person(
        repository: i64,
        number: i64,
        (head, base): (&str, &str),
        from: From,
    ) -> Self {
        Self {
            repository,
            number,
            branch: "topic".into(),
            base_branch: "main".into(),
            head: head.into(),
            base: base.into(),
            from,
            title: "as the test wants it".into(),
            body: None,
            standing: Standing::Open,
            by: None,
            labels: vec![],
            reviewers: vec![],
            auto_merge: None,
            updated_at: 0,
        }
    }

    /// As GitHub delivers it.
    pub(super) fn event(&self, of: &Repository, action: &str, before: Option<&str>) -> Value {
        let (number, head, base) = (self.number, &self.head, &self.base);
        let pull = PullRequest { action, number, head, before, base, from: self.from };
        let mut event = payload::pull_request(of, &pull, self.updated_at);
        let closed = (self.standing != Standing::Open).then(|| payload::iso(self.updated_at));
        let mine = &mut event["pull_request"];
        mine["node_id"] = json!(format!("PR_{}_{number}", of.id));
        mine["html_url"] =
            json!(format!("https://github.invalid/{}/{}/pull/{number}", of.owner, of.name));
        mine["title"] = json!(self.title);
        mine["body"] = json!(self.body);
        mine["state"] = json!(if closed.is_none() { "open" } else { "closed" });
        mine["closed_at"] = json!(closed);
        mine["merged_at"] = json!(closed.filter(|_| self.standing == Standing::Merged));
        mine["merged"] = json!(self.standing == Standing::Merged);
        mine["head"]["ref"] = json!(self.branch);
        mine["head"]["label"] = json!(format!("{}:{}", of.owner, self.branch));
        mine["base"]["ref"] = json!(self.base_branch);
        mine["labels"] = self.labels.iter().map(|it| json!({ "name": it })).collect();
        if let Some(by) = &self.by {
            mine["user"] = bot(by);
        }
        event
    }

    fn document(&self, of: &Repository) -> Value {
        self.event(of, "", None)["pull_request"].take()
    }

    pub(super) fn is(&self, repository: i64, number: i64) -> bool {
        (self.repository, self.number) == (repository, number)
    }
}

/// Changes a pull request and has everybody told.
pub(super) fn change(
    state: &mut State,
    (id, by): (i64, &str),
    (number, action, now): (i64, &'static str, i64),
    change: impl FnOnce(&mut Pull),
) {
    let of = state.repository(id).clone();
    let pull = state.pulls.iter_mut().find(|it| it.is(id, number)).unwrap();
    pull.updated_at = now;
    change(pull);
    let mut event = pull.event(&of, action, None);
    event["sender"] = bot(by);
    state.due.push(("pull_request", event));
}

/// `GET /repos/{owner}/{repo}/pulls`.
pub(super) fn list(state: &State, repository: i64, query: &[(String, String)]) -> Answer {
    let of = state.repository(repository);
    let asked = |key: &str| query.iter().find(|(it, _)| it == key).map(|(_, it)| it.as_str());
    let head = asked("head").and_then(|it| it.split_once(':'));
    let mut found: Vec<&Pull> = state
        .pulls
        .iter()
        .filter(|it| it.repository == repository)
        .filter(|it| match asked("state").unwrap_or("open") {
            "all" => true,
            "open" => it.standing == Standing::Open,
            _ => it.standing != Standing::Open,
        })
        .filter(|it| {
            head.is_none_or(|(owner, branch)| {
                owner.eq_ignore_ascii_case(&of.owner) && branch == it.branch
            })
        })
        .collect();
    match asked("sort") {
        Some("updated") => found.sort_by_key(|it| it.updated_at),
        _ => found.sort_by_key(|it| it.number),
    }
    if asked("direction") != Some("asc") {
        found.reverse();
    }
    let all = found.into_iter().map(|it| it.document(of)).collect();
    Answer::new(200, Value::Array(page(all, query)))
}

/// `GET /pulls/{number}`.
pub(super) fn get(state: &State, id: i64, number: i64) -> Answer {
    let found = state.pulls.iter().find(|it| it.is(id, number));
    found.map_or_else(Answer::not_found, |it| Answer::new(200, it.document(state.repository(id))))
}

/// A 422 that names a field, or says something.
fn invalid(errors: &Value) -> Answer {
    let mut answer = Answer::refused(422, "Validation Failed");
    answer.body["errors"] = json!([errors]);
    answer
}

/// `POST /pulls`.
pub(super) fn create(
    world: &World,
    state: &mut State,
    (id, by): (i64, &str),
    body: &Value,
) -> Answer {
    let directory = refs::directory(world, state, id);
    let of = state.repository(id).clone();
    let (branch, base) = (body["head"].as_str().unwrap(), body["base"].as_str().unwrap());
    let mut tips = Vec::new();
    for (field, name) in [("head", branch), ("base", base)] {
        let Some(sha) = tip(&directory, &format!("refs/heads/{name}")) else {
            let error = json!({ "resource": "PullRequest", "field": field, "code": "invalid" });
            return invalid(&error);
        };
        tips.push(sha);
    }
    let says = |text: String| {
        invalid(&json!({ "resource": "PullRequest", "code": "custom", "message": text }))
    };
    if refs::descends(&directory, &tips[0], &tips[1]) {
        return says(format!("No commits between {base} and {branch}"));
    }
    let is_it = |it: &&Pull| {
        it.repository == id
            && it.standing == Standing::Open
            && (it.branch.as_str(), it.base_branch.as_str()) == (branch, base)
    };
    if state.pulls.iter().any(|it| is_it(&it)) {
        return says(format!("A pull request already exists for {}:{branch}.", of.owner));
    }
    let number = state.next_number(id);
    let name = format!("refs/pull/{number}/head");
    try_git(&directory, &["update-ref", &name, &tips[0]], "").unwrap();
    let mut pull = Pull::by_a_person(id, number, (&tips[0], &tips[1]), From::SameRepository);
    branch.clone_into(&mut pull.branch);
    base.clone_into(&mut pull.base_branch);
    body["title"].as_str().unwrap_or_default().clone_into(&mut pull.title);
    pull.body = body["body"].as_str().map(str::to_owned);
    pull.by = Some(by.to_owned());
    let document = pull.document(&of);
    state.pulls.push(pull);
    change(state, (id, by), (number, "opened", world.now()), |_| {});
    Answer::new(201, document)
}

/// `PATCH /pulls/{number}`.
pub(super) fn edit(
    world: &World,
    state: &mut State,
    (id, by): (i64, &str),
    (number, body): (i64, &Value),
) -> Answer {
    if !state.pulls.iter().any(|it| it.is(id, number)) {
        return Answer::not_found();
    }
    change(state, (id, by), (number, "edited", world.now()), |pull| {
        if let Some(title) = body["title"].as_str() {
            title.clone_into(&mut pull.title);
        }
        if let Some(body) = body["body"].as_str() {
            pull.body = Some(body.to_owned());
        }
    });
    get(state, id, number)
}

/// `GET /pulls/{number}/files`.
pub(super) fn files(
    world: &World,
    state: &State,
    (id, number): (i64, i64),
    query: &[(String, String)],
) -> Answer {
    let Some(pull) = state.pulls.iter().find(|it| it.is(id, number)) else {
        return Answer::not_found();
    };
    let range = format!("refs/heads/{}...{}", pull.base_branch, pull.head);
    let directory = refs::directory(world, state, id);
    let listed = try_git(&directory, &["diff", "--name-status", "-M", &range], "").unwrap();
    let file = |line: &str| {
        let parts: Vec<&str> = line.split('\t').collect();
        let mut file = json!({ "filename": parts.last(), "status": "modified" });
        if parts.len() == 3 {
            file["previous_filename"] = json!(parts[1]);
            file["status"] = json!("renamed");
        }
        file
    };
    Answer::new(200, Value::Array(page(listed.lines().map(file).collect(), query)))
}

/// `POST /pulls/{number}/requested_reviewers`.
pub(super) fn request_reviews(
    world: &World,
    state: &mut State,
    (id, by): (i64, &str),
    (number, body): (i64, &Value),
) -> Answer {
    if !state.pulls.iter().any(|it| it.is(id, number)) {
        return Answer::not_found();
    }
    let names = |key: &str| body[key].as_array().cloned().unwrap_or_default();
    let known = |it: &&Value| {
        let login = it.as_str().unwrap_or_default().to_lowercase();
        state.permissions.contains_key(&(id, login))
    };
    let (people, teams) = (names("reviewers"), names("team_reviewers"));
    if !people.iter().all(|it| known(&it)) {
        let of = state.repository(id);
        return Answer::refused(
            422,
            &format!(
                "Reviews may only be requested from collaborators. One or more of the users or teams \
             you specified is not a collaborator of the {}/{} repository.",
                of.owner, of.name
            ),
        );
    }
    let people = people.iter().map(|it| it.as_str().unwrap_or_default().to_owned());
    let teams = teams.iter().map(|it| format!("team/{}", it.as_str().unwrap_or_default()));
    let wanted: Vec<String> = people.chain(teams).collect();
    change(state, (id, by), (number, "review_requested", world.now()), |pull| {
        pull.reviewers.extend(wanted);
    });
    Answer::new(201, get(state, id, number).body)
}

impl FakeGitHub {
    /// The pull requests that were opened over the API, the oldest first.
    pub fn pulls(&self, repo: &RepoHandle) -> Vec<PullView> {
        let state = self.world.state();
        let opened = state.pulls.iter().filter(|it| it.repository == repo.id && it.by.is_some());
        let view = |it: &Pull| PullView {
            number: it.number,
            branch: it.branch.clone(),
            base: it.base_branch.clone(),
            head: it.head.clone(),
            title: it.title.clone(),
            body: it.body.clone().unwrap_or_default(),
            state: match it.standing {
                Standing::Open => "open",
                Standing::Merged => "merged",
                Standing::Closed => "closed",
            },
            by: it.by.clone().unwrap_or_default(),
            labels: it.labels.clone(),
            reviewers: it.reviewers.clone(),
            auto_merge: it.auto_merge.clone(),
            comments: state.comments_on(repo.id, it.number),
        };
        opened.map(view).collect()
    }

    /// A person closes a pull request that was opened over the API.
    pub async fn close_pull(&self, repo: &RepoHandle, number: i64) {
        let now = self.world.now();
        let by = (repo.id, "octo-fleet");
        change(&mut self.world.state(), by, (number, "closed", now), |pull| {
            pull.standing = Standing::Closed;
            pull.auto_merge = None;
        });
        self.world.send_due().await;
    }
}
