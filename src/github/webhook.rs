//! From bytes on a socket to what happened.
//!
//! Three steps, each as late as possible: [`Secrets::verify`] proves that GitHub sent the body,
//! [`peek`] looks at the few fields that decide what becomes of it (one pass, nothing copied), and
//! [`read`] understands a stored delivery in full. Headers are not signed: the event's name is
//! only ever compared and shown, shortened and escaped.
use crate::domain::id::{InstallationId, RepositoryId};
use crate::domain::incoming::Command;
use crate::github::wire::{ChangesGlance, CheckGlance, CommentGlance, Glance};
use crate::github::{ISSUE_COMMENT, MERGE_GROUP, PULL_REQUEST, PUSH, REPOSITORY, repositories};

pub use crate::github::read::{Unreadable, read};
pub use crate::github::signature::{Secrets, Unverified, VerifiedBody};

/// What the first look at a delivery tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peeked {
    /// The action, at most 60 characters, fit to be shown.
    pub action: Option<String>,
    pub repository: Option<RepositoryId>,
    pub installation: Option<InstallationId>,
    pub disposition: Disposition,
}

/// What becomes of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// Worth reading in full.
    Act,
    /// Remembered, with this reason, and nothing else.
    Ignore(String),
    /// GitHub telling us about our own check run or suite.
    Echo,
    /// GitHub trying whether we are there.
    Ping,
}

/// A signed body that is not a JSON object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the delivery is not a JSON object: {reason}")]
pub struct NotJson {
    /// What the parser said, with line and column.
    pub reason: String,
}

/// Looks at what decides about a delivery, without reading the rest of it.
///
/// `owners` are the accounts whose repositories are built, in lower case.
///
/// # Errors
/// When the body is not a JSON object. An object of an unexpected shape is ignored with a reason.
pub fn peek(
    event: &str,
    body: &VerifiedBody,
    app_id: u64,
    owners: &[String],
) -> Result<Peeked, NotJson> {
    // Text that is known to be UTF-8 as a whole is not checked again name by name.
    let glance = match std::str::from_utf8(body.bytes()) {
        Ok(text) => serde_json::from_str(text),
        Err(_) => serde_json::from_slice(body.bytes()),
    };
    let glance: Glance<'_> = match glance {
        Ok(glance) => glance,
        Err(error) => return misshapen(event, body.bytes(), &error),
    };
    let action = glance.action.as_ref().map(|text| text.0.as_ref());
    let account = match (&glance.repository, &glance.installation) {
        (Some(repository), _) => repository.owner.as_ref(),
        (None, Some(installation)) => installation.account.as_ref(),
        (None, None) => None,
    };
    let ids = Ids {
        repository: glance.repository.as_ref().and_then(|it| it.id).map(RepositoryId),
        installation: glance.installation.as_ref().and_then(|it| it.id).map(InstallationId),
    };
    let owner = account.and_then(|it| it.login());
    let disposition = match wanted(event, action, body.bytes(), app_id) {
        // It may have been ours until now.
        Disposition::Act
            if (event, action) == (REPOSITORY, Some("transferred"))
                && ids.installation.is_some() =>
        {
            Disposition::Act
        }
        Disposition::Act => admit(event, &ids, owner, owners),
        other @ (Disposition::Ignore(_) | Disposition::Echo | Disposition::Ping) => other,
    };
    Ok(Peeked {
        action: action.map(shown),
        repository: ids.repository,
        installation: ids.installation,
        disposition,
    })
}

struct Ids {
    repository: Option<RepositoryId>,
    installation: Option<InstallationId>,
}

/// Whether deliveries of this event and action may be acted on, so that none of them may be lost.
pub fn may_act(event: &str, action: Option<&str>) -> bool {
    // Of these only the body tells.
    let may = matches!(
        (event, action),
        (PULL_REQUEST, Some("edited"))
            | (ISSUE_COMMENT, Some("created"))
            | ("check_run", Some("rerequested" | "requested_action"))
            | ("check_suite", Some("rerequested"))
    );
    may || wanted(event, action, b"{}", 0) == Disposition::Act
}

/// What an event and its action ask for, whoever they concern.
fn wanted(event: &str, action: Option<&str>, body: &[u8], app_id: u64) -> Disposition {
    match (event, action) {
        ("ping", _) => Disposition::Ping,
        (PUSH, _)
        | (PULL_REQUEST, Some("opened" | "reopened" | "synchronize"))
        | (MERGE_GROUP, Some("checks_requested" | "destroyed"))
        | (
            "installation",
            Some("created" | "deleted" | "suspend" | "unsuspend" | "new_permissions_accepted"),
        )
        | ("installation_repositories", Some("added" | "removed")) => Disposition::Act,
        (REPOSITORY, Some(action)) if repositories::ACTIONS.contains(&action) => Disposition::Act,
        (PULL_REQUEST, Some("edited")) => edited(body),
        ("check_run" | "check_suite", Some("created" | "completed")) if is_ours(body, app_id) => {
            Disposition::Echo
        }
        ("check_run", Some("rerequested" | "requested_action"))
        | ("check_suite", Some("rerequested"))
            if is_ours(body, app_id) =>
        {
            Disposition::Act
        }
        (ISSUE_COMMENT, Some("created")) => commented(body),
        (_, action) => Disposition::Ignore(reason(event, action)),
    }
}

/// Why an event or action is not acted on.
fn reason(event: &str, action: Option<&str>) -> String {
    let name = match action {
        Some(action) => format!("{}.{}", shown(event), shown(action)),
        None => shown(event),
    };
    match (event, action) {
        ("check_suite", Some("requested")) => {
            format!("{name}: the push or pull request itself is acted on")
        }
        (
            "check_run" | "check_suite",
            Some("created" | "completed" | "rerequested" | "requested_action"),
        ) => {
            format!("{name}: a check of another App")
        }
        (ISSUE_COMMENT, Some("edited" | "deleted" | "pinned" | "unpinned")) => {
            format!("{name}: only new comments are read")
        }
        (REPOSITORY, Some("created")) | ("github_app_authorization", Some("revoked")) => {
            format!("{name}: nothing to do")
        }
        (PULL_REQUEST, Some(known)) if IDLE_PULL_REQUEST_ACTIONS.contains(&known) => {
            format!("{name}: its head and base are as before")
        }
        (
            PULL_REQUEST
            | "installation"
            | "installation_repositories"
            | "check_run"
            | "check_suite"
            | MERGE_GROUP
            | ISSUE_COMMENT
            | REPOSITORY
            | "github_app_authorization",
            Some(action),
        ) => format!("unknown action `{}` of event `{}`", shown(action), shown(event)),
        (
            PULL_REQUEST
            | "installation"
            | "installation_repositories"
            | "check_run"
            | "check_suite"
            | MERGE_GROUP
            | ISSUE_COMMENT
            | REPOSITORY
            | "github_app_authorization",
            None,
        ) => format!("event `{}` without an action", shown(event)),
        _ => format!("unknown event `{}`", shown(event)),
    }
}

/// Actions of `pull_request` that change neither its head nor its base.
const IDLE_PULL_REQUEST_ACTIONS: [&str; 18] = [
    "assigned",
    "auto_merge_disabled",
    "auto_merge_enabled",
    "closed",
    "converted_to_draft",
    "demilestoned",
    "dequeued",
    "edited",
    "enqueued",
    "labeled",
    "locked",
    "milestoned",
    "ready_for_review",
    "review_request_removed",
    "review_requested",
    "unassigned",
    "unlabeled",
    "unlocked",
];

fn edited(body: &[u8]) -> Disposition {
    match serde_json::from_slice::<ChangesGlance>(body) {
        Ok(ChangesGlance { changes: Some(changes) }) if changes.base.is_some() => Disposition::Act,
        Ok(_) => Disposition::Ignore(reason(PULL_REQUEST, Some("edited"))),
        Err(error) => Disposition::Ignore(format!(
            "pull_request.edited cannot be read: {}",
            shown(&error.to_string())
        )),
    }
}

/// People comment often and give orders rarely.
fn commented(body: &[u8]) -> Disposition {
    let ignore = |why: &str| Disposition::Ignore(format!("issue_comment.created: {why}"));
    let CommentGlance { issue, comment } = match serde_json::from_slice(body) {
        Ok(glance) => glance,
        Err(error) => return ignore(&format!("cannot be read: {}", shown(&error.to_string()))),
    };
    let Some(comment) = comment else { return ignore("no `comment` in it") };
    let is_bot = comment.user.and_then(|it| it.kind).is_some_and(|kind| kind == "Bot");
    let Some(command) = Command::read(&comment.body.unwrap_or_default()) else {
        return ignore("not a command");
    };
    if command.is_of_pull_request() && issue.and_then(|it| it.pull_request).is_none() {
        return ignore("not on a pull request");
    }
    if is_bot { ignore("bots give no commands") } else { Disposition::Act }
}

fn is_ours(body: &[u8], app_id: u64) -> bool {
    serde_json::from_slice::<CheckGlance>(body)
        .ok()
        .and_then(|glance| glance.check_run?.app)
        .is_some_and(|app| app.id == app_id)
}

/// Whether a delivery that is worth acting on is from where we act, and names what we act through.
fn admit(event: &str, ids: &Ids, owner: Option<&str>, owners: &[String]) -> Disposition {
    let event = shown(event);
    if ids.installation.is_none() {
        return Disposition::Ignore(format!(
            "{event}: no `installation` in it, so it was not sent to a GitHub App"
        ));
    }
    if ids.repository.is_none() && !event.starts_with("installation") {
        return Disposition::Ignore(format!("{event}: no `repository` in it"));
    }
    match owner {
        Some(owner) if owners.iter().any(|it| it.eq_ignore_ascii_case(owner)) => Disposition::Act,
        Some(owner) => Disposition::Ignore(format!("{} is not in github.owners", shown(owner))),
        None => {
            Disposition::Ignore(format!("{event}: it does not say whose repository it is about"))
        }
    }
}

/// JSON of an unexpected shape is remembered as ignored; what is not JSON is refused.
fn misshapen(event: &str, body: &[u8], error: &serde_json::Error) -> Result<Peeked, NotJson> {
    if error.is_data() {
        match serde_json::from_slice::<serde::de::IgnoredAny>(body) {
            Ok(_) if body.trim_ascii_start().first() == Some(&b'{') => {
                return Ok(Peeked {
                    action: None,
                    repository: None,
                    installation: None,
                    disposition: Disposition::Ignore(format!(
                        "{} cannot be read: {}",
                        shown(event),
                        shown(&error.to_string())
                    )),
                });
            }
            Ok(_) => {}
            Err(error) => return Err(NotJson { reason: shown(&error.to_string()) }),
        }
    }
    Err(NotJson { reason: shown(&error.to_string()) })
}

/// Text from outside, shortened and without anything that does not print.
pub(super) fn shown(text: &str) -> String {
    const LONGEST: usize = 60;
    if text.len() <= LONGEST && text.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'_') {
        // As every name that GitHub has given so far.
        return text.to_owned();
    }
    let mut out: String = text.chars().take(LONGEST).flat_map(char::escape_debug).collect();
    if text.chars().nth(LONGEST).is_some() {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const APP: u64 = 12345;

    fn look(event: &str, body: &str) -> Result<Peeked, NotJson> {
        let body = crate::github::signature::tests::verified(body);
        peek(event, &body, APP, &["acme".to_owned()])
    }

    fn ignored(event: &str, body: &str) -> String {
        match look(event, body).unwrap().disposition {
            Disposition::Ignore(reason) => reason,
            other @ (Disposition::Act | Disposition::Echo | Disposition::Ping) => {
                panic!("{event} {body}: {other:?}")
            }
        }
    }

    #[test]
    fn what_is_not_an_object_is_not_json_to_us() {
        for body in ["", "payload=%7B%7D", "{\"action\":", "[1]", "7", "{\"action\":5,]", "null"] {
            assert!(look("push", body).is_err(), "{body}");
        }
    }

    #[test]
    fn an_object_of_another_shape_is_remembered_as_ignored() {
        for body in ["{\"action\":5}", "{\"repository\":\"x\"}", "{\"repository\":{\"id\":\"7\"}}"]
        {
            assert!(ignored("push", body).starts_with("push cannot be read: "), "{body}");
        }
    }

    #[test]
    fn a_header_from_outside_is_shortened_and_escaped() {
        let hostile = format!("{}\r\n\u{202e}", "x".repeat(55));
        assert_eq!(
            ignored(&hostile, "{}"),
            format!("unknown event `{}\\r\\n\\u{{202e}}`", "x".repeat(55))
        );
        let body = format!("{{\"action\":\"{}\"}}", "y".repeat(10_000));
        let action = look("push", &body).unwrap().action.unwrap();
        assert_eq!(action, format!("{}…", "y".repeat(60)));
    }

    #[test]
    fn what_must_be_acted_on_needs_an_installation_and_a_repository_of_ours() {
        let body = |owner: &str| {
            format!(
                r#"{{"installation":{{"id":3}},"repository":{{"id":7,"owner":{{"login":"{owner}"}}}}}}"#
            )
        };
        assert_eq!(look("push", &body("ACME")).unwrap().disposition, Disposition::Act);
        assert_eq!(ignored("push", &body("acme2")), "acme2 is not in github.owners");
        assert!(ignored("push", "{}").contains("no `installation`"));
        assert!(ignored("push", r#"{"installation":{"id":3}}"#).contains("no `repository`"));
    }

    #[test]
    fn only_checks_of_our_own_are_echoes() {
        let check = |kind: &str, action: &str, app: u64| {
            format!(r#"{{"action":"{action}","{kind}":{{"id":1,"app":{{"id":{app}}}}}}}"#)
        };
        for kind in ["check_run", "check_suite"] {
            for action in ["created", "completed"] {
                let ours = look(kind, &check(kind, action, APP)).unwrap();
                assert_eq!(ours.disposition, Disposition::Echo, "{kind} {action}");
                let theirs = ignored(kind, &check(kind, action, APP + 1));
                assert!(theirs.ends_with("a check of another App"), "{theirs}");
            }
            // What is asked of ours is looked at further.
            let rerun = ignored(kind, &check(kind, "rerequested", APP));
            assert!(rerun.contains("no `installation`"), "{rerun}");
            let theirs = ignored(kind, &check(kind, "rerequested", APP + 1));
            assert!(theirs.ends_with("a check of another App"), "{theirs}");
        }
    }
}
