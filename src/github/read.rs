//! A stored delivery, understood in full.
mod people;

use std::str::FromStr;

use crate::domain::Timestamp;
use crate::domain::id::{Branch, CommitSha, InstallationId, RepositoryId};
use crate::domain::incoming::{
    GroupChange, Incoming, InstallationChange, InstallationStanding, MergeGroup, Origin,
    PullRequest, Push, PushTarget, Repository,
};
use crate::github::webhook::shown;
use crate::github::{
    ISSUE_COMMENT, MERGE_GROUP, PULL_REQUEST, PUSH, REPOSITORY, repositories, wire,
};

/// Branches on which a merge queue tries its groups; they come and go by themselves.
const MERGE_QUEUE: &str = "refs/heads/gh-readonly-queue/";

/// A delivery that lacks something we cannot do without, or has it in another shape.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{event}` cannot be read: {what}")]
pub struct Unreadable {
    /// The event, fit to be shown.
    pub event: String,
    /// What was found and what was wanted.
    pub what: String,
}

/// Understands a stored delivery that [`peek`](crate::github::webhook::peek) found worth it.
///
/// # Errors
/// When the body is not of the event's shape: a field is missing, or a name is not one.
pub fn read(event: &str, body: &[u8]) -> Result<Incoming, Unreadable> {
    let incoming = match event {
        PUSH => parse(body).and_then(push),
        PULL_REQUEST => parse(body).and_then(pull_request),
        MERGE_GROUP => parse(body).and_then(merge_group),
        "check_run" => parse(body).and_then(people::check_run),
        "check_suite" => parse(body).and_then(|event| people::check_suite(&event)),
        ISSUE_COMMENT => parse(body).and_then(people::comment),
        "installation" => parse(body).map(|change| installation(&change)),
        REPOSITORY => parse(body).and_then(repositories::repository),
        "installation_repositories" => {
            parse(body).and_then(|event| repositories::membership(&event))
        }
        other => Ok(Incoming::Ignored(format!("event `{}` is not acted on", shown(other)))),
    };
    incoming.map_err(|what| Unreadable { event: shown(event), what })
}

/// The reason, in words, is all that the record of a delivery needs.
pub(super) type Parsed<T> = Result<T, String>;

fn parse<'a, T: serde::Deserialize<'a>>(body: &'a [u8]) -> Parsed<T> {
    // Serde's message says the field or the place; it can quote a value, so it is made fit to show.
    serde_json::from_slice(body).map_err(|error| shown(&error.to_string()))
}

fn push(event: wire::Push<'_>) -> Parsed<Incoming> {
    let wire::Push { git_ref, before, after, deleted, repository, installation } = event;
    if git_ref.starts_with(MERGE_QUEUE) {
        return Ok(Incoming::Ignored("push: a merge queue's own branch".to_owned()));
    }
    let pushed_at = repository.pushed_at.as_ref().ok_or("`repository.pushed_at` is null")?;
    let occurred_at = moment(pushed_at)?;
    let target = target(&git_ref, &after, deleted)?;
    Ok(Incoming::Push(Push {
        repository: repository_of(&repository, installation.as_ref())?,
        target,
        // All zeros, GitHub's word for "no commit", is not a hash.
        before: before.parse().ok(),
        occurred_at,
    }))
}

/// An annotated tag's `after` is the tag object, no commit: tags are not looked at further.
fn target(git_ref: &str, after: &str, deleted: bool) -> Parsed<PushTarget> {
    if git_ref.starts_with("refs/tags/") {
        return Ok(PushTarget::Tag);
    }
    let branch: Branch = git_ref
        .strip_prefix("refs/heads/")
        .ok_or_else(|| format!("`ref` is `{}`, neither a branch nor a tag", shown(git_ref)))
        .and_then(named)?;
    if deleted || after.bytes().all(|b| b == b'0') {
        return Ok(PushTarget::DeletedBranch { branch });
    }
    Ok(PushTarget::Branch { branch, head: named(after)? })
}

fn pull_request(event: wire::PullRequestEvent<'_>) -> Parsed<Incoming> {
    let wire::PullRequestEvent {
        action,
        number,
        before,
        pull_request,
        repository,
        installation,
        sender,
    } = event;
    let wire::PullRequest { head, base, updated_at } = pull_request;
    let origin = match head.repo {
        Some(repo) if repo.id == repository.id => Origin::SameRepository,
        // A fork that has been deleted is null here.
        Some(_) | None => Origin::Fork,
    };
    let head: CommitSha = named(&head.sha)?;
    let pusher = match action.as_str() {
        "opened" | "synchronize" => sender.as_ref().and_then(|it| it.login()?.parse().ok()),
        _ => None,
    };
    Ok(Incoming::PullRequest(PullRequest {
        number,
        head,
        before: before.and_then(|it| it.parse().ok()),
        base: named(&base.sha)?,
        base_branch: named(&base.branch)?,
        origin,
        pusher,
        occurred_at: moment(&updated_at)?,
        repository: repository_of(&repository, installation.as_ref())?,
    }))
}

fn merge_group(event: wire::MergeGroupEvent<'_>) -> Parsed<Incoming> {
    let wire::MergeGroupEvent { action, reason, merge_group, repository, installation } = event;
    let wire::MergeGroup { head_sha, head_ref, base_sha, head_commit } = merge_group;
    let change = match action.as_str() {
        "checks_requested" => GroupChange::ChecksRequested,
        "destroyed" => GroupChange::Destroyed { reason: shown(&reason.unwrap_or_default()) },
        other => {
            let text = format!("unknown action `{}` of event `merge_group`", shown(other));
            return Ok(Incoming::Ignored(text));
        }
    };
    let time = head_commit.map(|it| it.timestamp).or_else(|| repository.pushed_at.clone());
    Ok(Incoming::MergeGroup(MergeGroup {
        branch: named(head_ref.strip_prefix("refs/heads/").unwrap_or(&head_ref))?,
        head: named(&head_sha)?,
        base: named(&base_sha)?,
        change,
        occurred_at: moment(&time.ok_or("neither `head_commit` nor `repository.pushed_at`")?)?,
        repository: repository_of(&repository, installation.as_ref())?,
    }))
}

fn installation(event: &wire::InstallationEvent) -> Incoming {
    let standing = match event.action.as_str() {
        "created" | "unsuspend" | "new_permissions_accepted" => InstallationStanding::Active,
        "suspend" => InstallationStanding::Suspended,
        "deleted" => InstallationStanding::Deleted,
        other => {
            let text = format!("unknown action `{}` of event `installation`", shown(other));
            return Incoming::Ignored(text);
        }
    };
    let installation = InstallationId(event.installation.id);
    Incoming::Installation(InstallationChange { installation, standing })
}

fn repository_of(
    repository: &wire::Repository<'_>,
    installation: Option<&wire::Installation>,
) -> Parsed<Repository> {
    let installation =
        installation.ok_or("no `installation` in it, so it was not sent to a GitHub App")?;
    let owner = repository.owner.login().ok_or("`repository.owner.login` is missing")?;
    Ok(Repository {
        id: RepositoryId(repository.id),
        // Without one, checks go one by one over the REST API.
        node_id: repository.node_id.as_deref().and_then(|it| it.parse().ok()),
        owner: named(owner)?,
        name: named(&repository.name)?,
        default_branch: named(&repository.default_branch)?,
        visibility: repositories::visibility(repository.private),
        installation: InstallationId(installation.id),
    })
}

pub(super) fn named<T: FromStr<Err: std::fmt::Display>>(text: &str) -> Parsed<T> {
    text.parse().map_err(|error: T::Err| error.to_string())
}

pub(super) fn moment(moment: &wire::Moment) -> Parsed<Timestamp> {
    match moment {
        wire::Moment::Seconds(seconds) => Ok(Timestamp(seconds.saturating_mul(1000))),
        wire::Moment::Iso(text) => text
            .parse::<jiff::Timestamp>()
            .map(|at| Timestamp(at.as_millisecond()))
            .map_err(|_| format!("`{}` is not a time (ISO 8601 was expected)", shown(text))),
    }
}
