//! Deliveries shaped as GitHub's, built from what this GitHub knows.
use serde_json::{Value, json};

use super::state::Repository;

/// Where the commits of a pull request live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    SameRepository,
    Fork,
    /// A fork that has been deleted since: GitHub sends null.
    DeletedFork,
}

pub(super) fn iso(milliseconds: i64) -> String {
    jiff::Timestamp::from_second(milliseconds.div_euclid(1000)).unwrap().to_string()
}

pub(super) fn sender() -> Value {
    json!({ "login": "octo-fleet", "id": 1_234, "type": "User", "site_admin": false })
}

pub(super) fn installation(repository: &Repository) -> Value {
    json!({ "id": repository.installation, "node_id": "MDIzOkludGVncmF0aW9u" })
}

pub(super) fn repository(repository: &Repository) -> Value {
    let Repository { id, owner, name, is_private, pushed_at, updated_at, is_archived, .. } =
        repository;
    json!({
        "id": id,
        "node_id": format!("R_{id}"),
        "name": name,
        "full_name": format!("{owner}/{name}"),
        "private": is_private,
        "visibility": if *is_private { "private" } else { "public" },
        "owner": { "login": owner, "id": 99, "type": "Organization" },
        "html_url": format!("https://github.invalid/{owner}/{name}"),
        "description": null,
        "fork": false,
        "created_at": "2026-01-01T00:00:00Z",
        "updated_at": iso(*updated_at),
        "pushed_at": iso(*pushed_at),
        "default_branch": "main",
        "archived": is_archived,
        "disabled": false,
    })
}

/// What a push moved.
pub(super) struct Moved<'a> {
    /// `refs/heads/main`.
    pub(super) git_ref: &'a str,
    pub(super) before: &'a str,
    pub(super) after: &'a str,
    pub(super) forced: bool,
}

pub(super) const NOTHING: &str = "0000000000000000000000000000000000000000";

pub(super) fn push(from: &Repository, moved: &Moved<'_>) -> Value {
    let Moved { git_ref, before, after, forced } = moved;
    let commit = json!({
        "id": after,
        "tree_id": after,
        "message": "as the test wants it",
        "timestamp": iso(from.pushed_at),
        "author": { "name": "fleetcheck", "email": "fleetcheck@example.org" },
        "added": [], "removed": [], "modified": ["flake.nix"],
    });
    let deleted = *after == NOTHING;
    let mut in_push = repository(from);
    // In `push`, and only there, these are seconds.
    in_push["pushed_at"] = json!(from.pushed_at.div_euclid(1000));
    in_push["owner"]["name"] = json!(from.owner);
    json!({
        "ref": git_ref,
        "before": before,
        "after": after,
        "base_ref": null,
        "created": *before == NOTHING,
        "deleted": deleted,
        "forced": forced,
        "compare": format!("https://github.invalid/{}/{}/compare", from.owner, from.name),
        "commits": if deleted { json!([]) } else { json!([commit]) },
        "head_commit": if deleted { Value::Null } else { commit },
        "repository": in_push,
        "pusher": { "name": "octo-fleet", "email": "fleetcheck@example.org" },
        "sender": sender(),
        "installation": installation(from),
    })
}

/// A group that a merge queue tests.
pub(super) struct Group<'a> {
    pub(super) action: &'a str,
    /// `gh-readonly-queue/main/pr-7-…`.
    pub(super) branch: &'a str,
    pub(super) head: &'a str,
    pub(super) base: &'a str,
}

pub(super) fn merge_group(of: &Repository, group: &Group<'_>, now: i64) -> Value {
    let Group { action, branch, head, base } = group;
    let mut body = json!({
        "action": action,
        "merge_group": {
            "head_sha": head,
            "head_ref": format!("refs/heads/{branch}"),
            "base_sha": base,
            "base_ref": "refs/heads/main",
            "head_commit": {
                "id": head,
                "tree_id": head,
                "message": "as the test wants it",
                "timestamp": iso(now),
                "author": { "name": "fleetcheck", "email": "fleetcheck@example.org" },
                "committer": { "name": "fleetcheck", "email": "fleetcheck@example.org" },
            },
        },
        "repository": repository(of),
        "sender": sender(),
        "installation": installation(of),
    });
    if *action == "destroyed" {
        body["reason"] = json!("invalidated");
    }
    body
}

/// A pull request's state and what happened to it.
pub struct PullRequest<'a> {
    pub action: &'a str,
    pub number: i64,
    pub head: &'a str,
    /// The head before, of `synchronize`.
    pub before: Option<&'a str>,
    pub base: &'a str,
    pub from: From,
}

pub(super) fn pull_request(of: &Repository, pull: &PullRequest<'_>, now: i64) -> Value {
    let PullRequest { action, number, head, before, base, from } = pull;
    let here = repository(of);
    let head_repository = match from {
        From::SameRepository => here.clone(),
        From::Fork => {
            let mut fork = here.clone();
            fork["id"] = json!(of.id + 1_000_000);
            fork["owner"] = json!({ "login": "baltar", "id": 666, "type": "User" });
            fork["full_name"] = json!(format!("baltar/{}", of.name));
            fork["fork"] = json!(true);
            fork
        }
        From::DeletedFork => Value::Null,
    };
    let mut body = json!({
        "action": action,
        "number": number,
        "pull_request": {
            "id": 5_000_000_000_i64 + number,
            "number": number,
            "state": "open",
            "locked": false,
            "title": "as the test wants it",
            "user": sender(),
            "body": null,
            "created_at": iso(now),
            "updated_at": iso(now),
            "closed_at": null,
            "merged_at": null,
            "merge_commit_sha": null,
            "draft": false,
            "head": { "label": "x", "ref": "topic", "sha": head, "user": sender(), "repo": head_repository },
            "base": { "label": "x", "ref": "main", "sha": base, "user": sender(), "repo": here },
            "author_association": "CONTRIBUTOR",
            "mergeable": null,
            "commits": 1,
        },
        "repository": here,
        "sender": sender(),
        "installation": installation(of),
    });
    if let ("synchronize", Some(before)) = (*action, before) {
        body["before"] = json!(before);
        body["after"] = json!(head);
    }
    body
}
