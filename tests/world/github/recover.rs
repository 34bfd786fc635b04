//! What an App looks up instead of being told: its deliveries, repositories and branches.
use serde_json::{Value, json};

use super::access::live_token;
use super::answer::Answer;
use super::payload;
use super::repository::{self, git};
use super::state::{Delivered, State};
use super::{FakeGitHub, RepoHandle, World};

/// What stands between this GitHub and the service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Between {
    #[default]
    Nothing,
    /// Nobody is there: every delivery fails.
    Outage,
    /// Something answers 204 and loses what it took.
    Sink,
}

fn number(query: &[(String, String)], name: &str, default: usize) -> usize {
    let given = query.iter().find(|(key, _)| key == name);
    given.and_then(|(_, value)| value.parse().ok()).unwrap_or(default)
}

pub(super) fn page(all: Vec<Value>, query: &[(String, String)]) -> Vec<Value> {
    let size = number(query, "per_page", 30).clamp(1, 100);
    let from = (number(query, "page", 1) - 1) * size;
    all.into_iter().skip(from).take(size).collect()
}

/// `GET /app/hook/deliveries`: paged along the `Link` header alone.
pub(super) fn deliveries(world: &World, state: &State, query: &[(String, String)]) -> Answer {
    let size = number(query, "per_page", 30).clamp(1, 100);
    let cursor = query.iter().find(|(key, _)| key == "cursor").map(|(_, it)| it.as_str());
    let before: i64 = match cursor.map(|it| it.strip_prefix("v1_").and_then(|it| it.parse().ok())) {
        None => i64::MAX,
        Some(Some(id)) => id,
        Some(None) => return Answer::violation("Invalid cursor"),
    };
    let kept = state.deliveries.iter().rev().filter(|it| it.id > state.forgotten);
    let mut rest = kept.filter(|it| it.id < before);
    let shown: Vec<&Delivered> = rest.by_ref().take(size).collect();
    let answer = Answer::new(200, shown.iter().map(|it| listed(it)).collect());
    match (shown.last(), rest.next()) {
        (Some(last), Some(_)) => {
            let url = world.api_url();
            answer.with(
                "link",
                format!(
                    "<{url}/app/hook/deliveries?per_page={size}&cursor=v1_{}>; rel=\"next\"",
                    last.id
                ),
            )
        }
        (_, _) => answer,
    }
}

fn listed(it: &Delivered) -> Value {
    let body: Value = serde_json::from_str(&it.body).unwrap_or_default();
    let (text, code) = match it.status {
        Some(code @ 200..=299) => ("OK", code),
        Some(code) => ("Invalid HTTP Response", code),
        None => ("failed to connect to host", 502),
    };
    json!({
        "id": it.id,
        "guid": it.guid,
        "delivered_at": payload::iso(it.at),
        "redelivery": it.redelivery,
        "duration": 0.02,
        "status": text,
        "status_code": code,
        "event": it.event,
        "action": body["action"],
        "installation_id": body["installation"]["id"],
        "repository_id": body["repository"]["id"],
        "throttled_at": null,
    })
}

/// `POST /app/hook/deliveries/{id}/attempts`: what is to be sent again.
pub(super) fn attempt(state: &State, id: i64) -> Option<Delivered> {
    state.deliveries.iter().find(|it| it.id == id && it.id > state.forgotten).cloned()
}

/// `GET /installation/repositories`.
pub(super) fn repositories(world: &World, token: &str, query: &[(String, String)]) -> Answer {
    let state = world.state();
    let token = match live_token(&state, token, world.now()) {
        Ok(token) => token,
        Err(refusal) => return refusal,
    };
    if !token.may("metadata", "read") {
        return Answer::refused(403, "Resource not accessible by integration");
    }
    let reached = state
        .repositories
        .iter()
        .filter(|it| it.is_reached_by(token.installation) && token.covers(it.id));
    let all: Vec<Value> = reached.map(payload::repository).collect();
    let count = all.len();
    Answer::new(200, json!({ "total_count": count, "repositories": page(all, query) }))
}

/// `GET /repos/{owner}/{repo}/branches` and `…/branches/{branch}`.
pub(super) fn branches(
    world: &World,
    (owner, name): (&str, &str),
    wanted: Option<&str>,
    query: &[(String, String)],
) -> Answer {
    let directory = repository::path(&world.root, owner, name);
    let format = "--format=%(objectname) %(refname:lstrip=2)";
    let found = git(&directory, &["for-each-ref", format, "refs/heads"], b"");
    let branch = |line: &str| {
        let (sha, name) = line.split_once(' ').unwrap();
        json!({ "name": name, "commit": { "sha": sha, "url": "https://github.invalid" }, "protected": false })
    };
    let all: Vec<Value> = found.lines().map(branch).collect();
    match wanted {
        None => Answer::new(200, Value::Array(page(all, query))),
        Some(wanted) => all
            .into_iter()
            .find(|it| it["name"] == wanted)
            .map_or_else(|| Answer::refused(404, "Branch not found"), |it| Answer::new(200, it)),
    }
}

impl FakeGitHub {
    /// From now on this stands between GitHub and the service.
    pub fn put_between(&self, between: Between) {
        self.world.state().between = between;
    }

    /// GitHub's own log of deliveries is gone, as after three days.
    pub fn forget_deliveries(&self) {
        let mut state = self.world.state();
        state.forgotten = state.last_id + 80_000_000_000;
    }

    /// GitHub's clock moves on by so much, so that what happens next is later by its whole seconds.
    pub fn later(&self, seconds: i64) {
        self.world.skip.fetch_add(seconds * 1000, std::sync::atomic::Ordering::Relaxed);
    }

    /// GitHub's clock moves on to the begin of a second: what happens next has one time, unless this
    /// machine takes a second for it.
    pub fn whole_second(&self) {
        let left = 1000 - self.world.now().rem_euclid(1000);
        self.world.skip.fetch_add(left, std::sync::atomic::Ordering::Relaxed);
    }

    /// These keys of the App are accepted from now on, as PEM of their public halves.
    pub fn accept_keys(&self, keys: &[&'static str]) {
        self.world.state().keys = keys.to_vec();
    }

    /// A change of the repository itself is announced: `renamed`, `privatized`, `archived`.
    pub async fn repository_event(&self, repo: &RepoHandle, action: &str) -> Option<u16> {
        let now = self.world.now();
        let body = {
            let mut state = self.world.state();
            let repository = state.repository_mut(repo.id);
            repository.updated_at = now;
            json!({
                "action": action,
                "repository": payload::repository(repository),
                "sender": payload::sender(),
                "installation": payload::installation(repository),
            })
        };
        self.deliver("repository", &body).await
    }

    /// The App's installation reaches a repository or no longer does: `added`, `removed`.
    pub async fn membership(&self, repo: &RepoHandle, action: &str) -> Option<u16> {
        let body = {
            let state = self.world.state();
            let repository = state.repository(repo.id);
            let short = json!([{
                "id": repo.id,
                "node_id": format!("R_{}", repo.id),
                "name": repo.name,
                "full_name": format!("{}/{}", repo.owner, repo.name),
                "private": repository.is_private,
            }]);
            let (added, removed) =
                if action == "added" { (short, json!([])) } else { (json!([]), short) };
            json!({
                "action": action,
                "installation": {
                    "id": repo.installation,
                    "account": { "login": repo.owner, "id": 99, "type": "Organization" },
                },
                "repository_selection": "selected",
                "repositories_added": added,
                "repositories_removed": removed,
                "sender": payload::sender(),
            })
        };
        self.deliver("installation_repositories", &body).await
    }

    /// A repository that was deleted or removed is there again.
    pub fn restore_repository(&self, repo: &RepoHandle) {
        self.world.state().repository_mut(repo.id).is_deleted = false;
    }

    pub fn set_private(&self, repo: &RepoHandle, is_private: bool) {
        self.world.state().repository_mut(repo.id).is_private = is_private;
    }

    pub fn set_archived(&self, repo: &RepoHandle, is_archived: bool) {
        self.world.state().repository_mut(repo.id).is_archived = is_archived;
    }

    /// The App is installed in an account without repositories of it yet.
    pub fn install(&self, account: &str) -> i64 {
        let name = format!("unused-{}", self.world.now());
        let repo = self.create_repository(account, &name, false);
        self.delete_repository(&repo);
        repo.installation
    }

    /// The App is taken out of an account; its tokens are void.
    pub fn uninstall(&self, installation: i64) {
        self.world.state().installations.retain(|it| it.id != installation);
    }

    /// The handle's installation reaches the repository from now on.
    pub fn reinstall(&self, repo: &RepoHandle) {
        self.world.state().repository_mut(repo.id).installation = repo.installation;
    }

    /// The repository becomes another account's, and that account's installation reaches it; 0 for
    /// an account without one. Calls for the old name are redirected.
    pub fn transfer(&self, repo: &mut RepoHandle, owner: &str, installation: i64) {
        let to = repository::path(&self.world.root, owner, &repo.name);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::rename(&repo.git, &to).unwrap();
        let mut state = self.world.state();
        let repository = state.repository_mut(repo.id);
        owner.clone_into(&mut repository.owner);
        repository.installation = installation;
        owner.clone_into(&mut repo.owner);
        repo.installation = installation;
        repo.git = to;
    }
}
