//! Deliveries: made of what happened, signed, sent once.
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};

use super::payload::{self, Moved, NOTHING};
use super::pulls::Pull;
use super::recover::Between;
use super::repository::git;
use super::state::Delivered;
use super::{APP_ID, FakeGitHub, From, RepoHandle, SECRET, World};

/// `X-Hub-Signature-256` of a body.
pub fn signature(secret: &str, body: &[u8]) -> String {
    let mac = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    format!("sha256={}", hex::encode(mac.chain_update(body).finalize().into_bytes()))
}

impl World {
    /// Sends what is due, one after the other.
    pub(super) async fn send_due(&self) {
        loop {
            let next = {
                let mut state = self.state();
                if state.due.is_empty() { None } else { Some(state.due.remove(0)) }
            };
            let Some((event, body)) = next else { return };
            self.deliver(event, &body).await;
        }
    }

    /// Signs and sends; the answer's status.
    pub(super) async fn deliver(&self, event: &str, body: &Value) -> Option<u16> {
        let body = body.to_string();
        let guid = uuid::Uuid::now_v7().to_string();
        let signature = signature(SECRET, body.as_bytes());
        self.send(event, body, &guid, Some(&signature)).await
    }

    /// Sends once more what was sent, under the same GUID, as GitHub does on request.
    pub(super) async fn redeliver(&self, delivered: &Delivered) -> Option<u16> {
        let Delivered { guid, event, body, .. } = delivered;
        let signature = signature(SECRET, body.as_bytes());
        self.send(event, body.clone(), guid, Some(&signature)).await
    }

    async fn send(
        &self,
        event: &str,
        body: String,
        guid: &str,
        signature: Option<&str>,
    ) -> Option<u16> {
        let (url, at) = {
            let mut state = self.state();
            let url = state.webhook.clone()?;
            let status = match state.between {
                Between::Nothing => None,
                Between::Outage => Some(None),
                Between::Sink => Some(Some(204)),
            };
            let redelivery = state.deliveries.iter().any(|it| it.guid == guid);
            let id = state.next_id();
            state.deliveries.push(Delivered {
                id,
                at: self.now(),
                redelivery,
                guid: guid.into(),
                event: event.into(),
                body: body.clone(),
                status: status.flatten(),
            });
            if let Some(status) = status {
                drop(state);
                self.changed();
                return status;
            }
            (url, state.deliveries.len() - 1)
        };
        let mut request = self
            .http
            .post(url)
            .header("content-type", "application/json")
            .header("user-agent", "GitHub-Hookshot/0abcdef")
            .header("x-github-event", event)
            .header("x-github-delivery", guid)
            .header("x-github-hook-id", "42")
            .header("x-github-hook-installation-target-type", "integration")
            .header("x-github-hook-installation-target-id", APP_ID.to_string());
        if let Some(signature) = signature {
            request = request.header("x-hub-signature-256", signature);
        }
        let status = request.body(body).send().await.ok().map(|it| it.status().as_u16());
        self.state().deliveries[at].status = status;
        self.changed();
        status
    }
}

impl FakeGitHub {
    /// Delivers any body, signed.
    pub async fn deliver(&self, event: &str, body: &Value) -> Option<u16> {
        self.world.deliver(event, body).await
    }

    /// Delivers bytes as they are under this GUID, with this signature or none.
    pub async fn deliver_raw(
        &self,
        event: &str,
        body: &str,
        guid: &str,
        signature: Option<&str>,
    ) -> Option<u16> {
        self.world.send(event, body.to_owned(), guid, signature).await
    }

    /// Delivers once more what was delivered, under the same GUID, as GitHub does on request.
    pub async fn redeliver(&self, delivered: &Delivered) -> Option<u16> {
        self.world.redeliver(delivered).await
    }

    /// A branch moves to a commit; the delivery's answer. A commit that git does not know is
    /// announced all the same, as after a force push.
    pub async fn push(&self, repo: &RepoHandle, branch: &str, sha: &str) -> Option<u16> {
        let git_ref = format!("refs/heads/{branch}");
        if self.has(repo, sha) {
            git(&repo.git, &["update-ref", &git_ref, sha], b"");
        }
        let body = {
            let now = self.world.now();
            let mut state = self.world.state();
            let repository = state.repository_mut(repo.id);
            repository.pushed_at = now;
            let before = repository.branches.insert(branch.to_owned(), sha.to_owned());
            let before = before.unwrap_or_else(|| NOTHING.to_owned());
            let forced = before != NOTHING && !self.descends(repo, &before, sha);
            let moved = Moved { git_ref: &git_ref, before: &before, after: sha, forced };
            payload::push(repository, &moved)
        };
        let told = self.deliver("push", &body).await;
        self.follow(repo.id, branch, Some(sha)).await;
        told
    }

    /// A branch is deleted.
    pub async fn delete_branch(&self, repo: &RepoHandle, branch: &str) -> Option<u16> {
        let git_ref = format!("refs/heads/{branch}");
        git(&repo.git, &["update-ref", "-d", &git_ref], b"");
        let body = {
            let now = self.world.now();
            let mut state = self.world.state();
            let repository = state.repository_mut(repo.id);
            repository.pushed_at = now;
            // One that was made over the API was not announced by hand.
            let before = repository.branches.remove(branch).unwrap_or_else(|| NOTHING.to_owned());
            let moved = Moved { git_ref: &git_ref, before: &before, after: NOTHING, forced: false };
            payload::push(repository, &moved)
        };
        let told = self.deliver("push", &body).await;
        self.follow(repo.id, branch, None).await;
        told
    }

    /// A tag is pushed.
    pub async fn push_tag(&self, repo: &RepoHandle, tag: &str, sha: &str) -> Option<u16> {
        let git_ref = format!("refs/tags/{tag}");
        let body = {
            let state = self.world.state();
            let moved = Moved { git_ref: &git_ref, before: NOTHING, after: sha, forced: false };
            payload::push(state.repository(repo.id), &moved)
        };
        self.deliver("push", &body).await
    }

    /// A pull request against `main` is opened.
    pub async fn open_pull_request(
        &self,
        repo: &RepoHandle,
        number: i64,
        head: &str,
        from: From,
    ) -> Option<u16> {
        self.pull_request(repo, "opened", number, head, from).await
    }

    /// Something happens to a pull request against `main`: `synchronize`, `reopened`, `closed`.
    pub async fn pull_request(
        &self,
        repo: &RepoHandle,
        action: &str,
        number: i64,
        head: &str,
        from: From,
    ) -> Option<u16> {
        if self.has(repo, head) {
            let git_ref = format!("refs/pull/{number}/head");
            git(&repo.git, &["update-ref", &git_ref, head], b"");
        }
        let base = repo.head("main").unwrap_or_else(|| head.to_owned());
        let updated_at = self.world.now();
        let body = {
            let mut state = self.world.state();
            let is_it = |it: &Pull| (it.repository, it.number) == (repo.id, number);
            let before = state.pulls.iter().find(|it| is_it(it)).map(|it| it.head.clone());
            state.pulls.retain(|it| !is_it(it));
            let mut pull = Pull::by_a_person(repo.id, number, (head, &base), from);
            pull.updated_at = updated_at;
            let body = pull.event(state.repository(repo.id), action, before.as_deref());
            if action != "closed" {
                state.pulls.push(pull);
            }
            body
        };
        self.deliver("pull_request", &body).await
    }

    /// A merge queue makes a group of `main` and a head that it has pushed to a branch of its own,
    /// or dissolves it: `checks_requested`, `destroyed`.
    pub async fn merge_group(
        &self,
        repo: &RepoHandle,
        action: &str,
        branch: &str,
        head: &str,
    ) -> Option<u16> {
        let base = repo.head("main").unwrap();
        let group = payload::Group { action, branch, head, base: &base };
        let body = {
            let state = self.world.state();
            payload::merge_group(state.repository(repo.id), &group, self.world.now())
        };
        self.deliver("merge_group", &body).await
    }

    /// The App's installation changes: `suspend`, `unsuspend`, `deleted`.
    pub async fn installation(&self, repo: &RepoHandle, action: &str) -> Option<u16> {
        let body = json!({
            "action": action,
            "installation": {
                "id": repo.installation,
                "account": { "login": repo.owner, "id": 99, "type": "Organization" },
                "app_id": APP_ID,
            },
            "repositories": [],
            "sender": payload::sender(),
        });
        self.deliver("installation", &body).await
    }

    fn has(&self, repo: &RepoHandle, sha: &str) -> bool {
        let object = format!("{sha}\n");
        !git(&repo.git, &["cat-file", "--batch-check"], object.as_bytes()).ends_with("missing")
    }

    fn descends(&self, repo: &RepoHandle, before: &str, after: &str) -> bool {
        self.has(repo, before)
            && self.has(repo, after)
            && git(&repo.git, &["merge-base", before, after], b"") == before
    }
}
