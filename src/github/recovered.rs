//! What GitHub answered when we asked, as the deliveries that it would have sent: the ordinary
//! intake decides them.
use serde_json::{Value, json};

use crate::domain::Timestamp;
use crate::domain::id::{Branch, CommitSha, InstallationId, Owner, RepositoryId, RepositoryName};
use crate::domain::incoming::InstallationStanding;
use crate::github::heads::{ListedRepository, OpenPull};
use crate::github::{PULL_REQUEST, PUSH, REPOSITORY};

/// A delivery that GitHub did not send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoveredDelivery {
    pub event: &'static str,
    pub action: Option<&'static str>,
    pub repository: Option<RepositoryId>,
    pub installation: InstallationId,
    /// What it is about: two with the same are one.
    pub subject: String,
    pub body: String,
}

/// A branch's head that is not tested.
#[derive(Clone, Copy, Debug)]
pub struct PushedHead<'a> {
    pub branch: &'a Branch,
    pub head: &'a CommitSha,
    /// The head before, as far as it is known here.
    pub before: Option<&'a CommitSha>,
    pub at: Timestamp,
}

/// The push that made a branch's head.
#[must_use]
pub fn push(of: &ListedRepository, pushed: &PushedHead<'_>) -> RecoveredDelivery {
    let PushedHead { branch, head, before, at } = pushed;
    let nothing = "0".repeat(40);
    let mut repository = of.document.clone();
    repository["pushed_at"] = json!(iso(*at));
    let body = json!({
        "ref": format!("refs/heads/{branch}"),
        "before": before.map_or(nothing.as_str(), CommitSha::as_str),
        "after": head,
        "base_ref": null,
        "created": before.is_none(),
        "deleted": false,
        "forced": false,
        "commits": [],
        "head_commit": null,
        "repository": repository,
        "pusher": { "name": of.facts.owner },
        "sender": of.document["owner"],
        "installation": { "id": of.installation },
    });
    let subject = format!("push {} {branch} {head} {}", of.id.0, at.0);
    delivery(of, (PUSH, None), subject, &body)
}

/// A pull request whose head was pushed at this time. Nobody knows by whom, so it is said to be
/// reopened: whoever pushes may do more with a fork's commit.
#[must_use]
pub fn pull_request(of: &ListedRepository, pull: &OpenPull, at: Timestamp) -> RecoveredDelivery {
    let mut document = pull.document.clone();
    document["updated_at"] = json!(iso(at));
    let body = json!({
        "action": "reopened",
        "number": pull.number,
        "sender": pull.document["user"],
        "pull_request": document,
        "repository": of.document,
        "installation": { "id": of.installation },
    });
    let subject = format!("pull_request {} {} {} {}", of.id.0, pull.number, pull.head, at.0);
    delivery(of, (PULL_REQUEST, Some("reopened")), subject, &body)
}

/// A repository as it stands; what it is called here may be out of date.
#[must_use]
pub fn repository(of: &ListedRepository) -> RecoveredDelivery {
    let mut document = of.document.clone();
    // Not dated: it was looked at after everything that is known here.
    document["updated_at"] = Value::Null;
    document["pushed_at"] = Value::Null;
    let action = if of.is_archived { "archived" } else { "edited" };
    let body = json!({
        "action": action,
        "repository": document,
        "sender": of.document["owner"],
        "installation": { "id": of.installation },
    });
    let subject = format!("repository {} {} {}", of.id.0, of.installation.0, of.seen_at.0);
    delivery(of, (REPOSITORY, Some(action)), subject, &body)
}

/// A repository that an installation no longer reaches.
#[must_use]
pub fn removed(
    installation: InstallationId,
    (id, owner, name): (RepositoryId, &Owner, &RepositoryName),
    at: Timestamp,
) -> RecoveredDelivery {
    let body = json!({
        "action": "removed",
        "installation": { "id": installation, "account": { "login": owner } },
        "repositories_added": [],
        "repositories_removed": [
            { "id": id, "name": name, "full_name": format!("{owner}/{name}") },
        ],
    });
    RecoveredDelivery {
        event: "installation_repositories",
        action: Some("removed"),
        repository: Some(id),
        installation,
        subject: format!("removed {} {} {}", id.0, installation.0, at.0),
        body: body.to_string(),
    }
}

/// An installation that stands otherwise than we were told.
#[must_use]
pub fn installation(
    id: InstallationId,
    account: &str,
    standing: InstallationStanding,
    at: Timestamp,
) -> RecoveredDelivery {
    let action = match standing {
        InstallationStanding::Active => "unsuspend",
        InstallationStanding::Suspended => "suspend",
        InstallationStanding::Deleted => "deleted",
    };
    let body = json!({
        "action": action,
        "installation": { "id": id, "account": { "login": account } },
        "repositories": [],
    });
    RecoveredDelivery {
        event: "installation",
        action: Some(action),
        repository: None,
        installation: id,
        subject: format!("installation {} {action} {}", id.0, at.0),
        body: body.to_string(),
    }
}

fn delivery(
    of: &ListedRepository,
    (event, action): (&'static str, Option<&'static str>),
    subject: String,
    body: &Value,
) -> RecoveredDelivery {
    RecoveredDelivery {
        event,
        action,
        repository: Some(of.id),
        installation: of.installation,
        subject,
        body: body.to_string(),
    }
}

fn iso(at: Timestamp) -> Option<String> {
    jiff::Timestamp::from_millisecond(at.0).ok().map(|at| at.to_string())
}
