//! People: who may do what, what they press, what they write.
use serde_json::{Value, json};

use super::answer::Answer;
use super::payload;
use super::state::{Repository, State};
use super::{CheckRunView, FakeGitHub, RepoHandle};

/// `POST /issues/comments/{id}/reactions`: one reaction of a kind.
pub(super) fn react(state: &mut State, comment: i64, body: &Value) -> Answer {
    let content = body["content"].as_str().unwrap_or_default().to_owned();
    let Some((_, reactions)) = state.comments.iter_mut().find(|(id, _)| *id == comment) else {
        return Answer::not_found();
    };
    if reactions.contains(&content) {
        return Answer::new(200, json!({ "id": 1, "content": content }));
    }
    reactions.push(content.clone());
    Answer::new(201, json!({ "id": 1, "content": content }))
}

/// What every event of somebody's doing has.
fn event(repository: &Repository, action: &str, login: &str) -> Value {
    json!({
        "action": action,
        "repository": payload::repository(repository),
        "sender": { "login": login, "id": 4711, "type": "User", "site_admin": false },
        "installation": payload::installation(repository),
    })
}

/// `GET /collaborators/{username}/permission`. Who was given nothing may read what is public, and
/// is not known in a private repository.
pub(super) fn permission(state: &State, repository: i64, login: &str) -> Answer {
    let login = login.replace("%5B", "[").replace("%5D", "]");
    let given = state.permissions.get(&(repository, login.to_lowercase()));
    let permission = match given {
        Some(given) => given.as_str(),
        None if state.repository(repository).is_private => return Answer::not_found(),
        None => "read",
    };
    Answer::new(
        200,
        json!({
            "permission": permission,
            "role_name": permission,
            "user": { "login": login, "id": 1, "type": "User" },
        }),
    )
}

impl FakeGitHub {
    /// An account may do this from now on: `admin`, `write`, `read` or `none`.
    pub fn set_permission(&self, repo: &RepoHandle, login: &str, permission: &str) {
        let key = (repo.id, login.to_lowercase());
        self.world.state().permissions.insert(key, permission.to_owned());
    }

    /// Somebody presses "Re-run" next to a check.
    pub async fn press_rerun(&self, repo: &RepoHandle, check: &CheckRunView) -> Option<u16> {
        let body = self.rerun(repo, check);
        self.deliver("check_run", &body).await
    }

    /// What GitHub delivers then.
    pub fn rerun(&self, repo: &RepoHandle, check: &CheckRunView) -> Value {
        let state = self.world.state();
        let mut body = event(state.repository(repo.id), "rerequested", "octo-fleet");
        body["check_run"] = document(&state, check);
        body
    }

    /// Somebody presses "Re-run all checks", at this second.
    pub async fn press_rerun_all(&self, repo: &RepoHandle, sha: &str, at: i64) -> Option<u16> {
        let body = {
            let state = self.world.state();
            let mut body = event(state.repository(repo.id), "rerequested", "octo-fleet");
            body["check_suite"] = json!({
                "id": 31,
                "head_branch": null,
                "head_sha": sha,
                "status": "queued",
                "conclusion": null,
                "before": null,
                "after": null,
                "pull_requests": [],
                "app": { "id": super::APP_ID, "slug": "fleetcheck" },
                "created_at": payload::iso(0),
                "updated_at": payload::iso(at * 1000),
            });
            body
        };
        self.deliver("check_suite", &body).await
    }

    /// Somebody presses a button of ours.
    ///
    /// # Panics
    /// When the check has no such button: GitHub shows those of completed checks alone.
    pub async fn press_button(
        &self,
        repo: &RepoHandle,
        check: &CheckRunView,
        identifier: &str,
        login: &str,
    ) -> Option<u16> {
        let body = {
            let state = self.world.state();
            let run = state.runs.iter().find(|it| it.id == check.id).unwrap();
            let actions = run.fields["actions"].as_array().cloned().unwrap_or_default();
            let shown = actions.iter().any(|it| it["identifier"] == identifier);
            assert!(shown && run.conclusion.is_some(), "no button {identifier} on {}", run.line());
            let mut body = event(state.repository(repo.id), "requested_action", login);
            body["check_run"] = document(&state, check);
            body["requested_action"] = json!({ "identifier": identifier });
            body
        };
        self.deliver("check_run", &body).await
    }

    /// Somebody comments on a pull request; the comment's id.
    pub async fn comment(&self, repo: &RepoHandle, number: i64, login: &str, text: &str) -> i64 {
        let (id, body) = {
            let mut state = self.world.state();
            let id = state.next_id();
            state.comments.push((id, Vec::new()));
            let mut body = event(state.repository(repo.id), "created", login);
            body["issue"] = json!({ "number": number });
            if !state.has_issue(repo.id, number) {
                body["issue"]["pull_request"] = json!({ "url": "https://github.invalid/pulls" });
            }
            body["comment"] = json!({ "id": id, "body": text, "user": body["sender"] });
            (id, body)
        };
        assert_eq!(self.deliver("issue_comment", &body).await, Some(202));
        id
    }

    /// The reactions that a comment has.
    pub fn reactions(&self, comment: i64) -> Vec<String> {
        let state = self.world.state();
        let found = state.comments.iter().find(|(id, _)| *id == comment);
        found.map(|(_, reactions)| reactions.clone()).unwrap_or_default()
    }
}

fn document(state: &State, check: &CheckRunView) -> Value {
    state.runs.iter().find(|it| it.id == check.id).unwrap().document()
}
