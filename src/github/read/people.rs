//! Clicks on checks and comments, understood.
use crate::domain::button::Button;
use crate::domain::id::Login;
use crate::domain::incoming::{CheckRef, Command, Comment, Incoming, Press, Rerun, RerunOf};
use crate::github::read::{Parsed, moment, named, repository_of};
use crate::github::webhook::shown;
use crate::github::wire;

pub(super) fn check_run(event: wire::CheckRunEvent<'_>) -> Parsed<Incoming> {
    let wire::CheckRunEvent { check_run, requested_action, sender, repository, installation } =
        event;
    let repository = repository_of(&repository, installation.as_ref())?;
    let sha = named(&check_run.head_sha)?;
    let external_id = check_run.external_id.unwrap_or_default();
    let check = CheckRef { external_id, name: check_run.name };
    let Some(wire::RequestedAction { identifier }) = requested_action else {
        return Ok(Incoming::Rerun(Rerun { repository, sha, of: RerunOf::Check(check) }));
    };
    let Some(button) = Button::of(&identifier) else {
        return Ok(Incoming::Ignored(format!("`{}` is no button of ours", shown(&identifier))));
    };
    let by = account(sender)?;
    Ok(Incoming::Press(Press { repository, sha, check, button, by }))
}

pub(super) fn check_suite(event: &wire::CheckSuiteEvent<'_>) -> Parsed<Incoming> {
    let wire::CheckSuiteEvent { check_suite, repository, installation } = event;
    let at = check_suite.updated_at.as_ref().ok_or("`check_suite.updated_at` is null")?;
    Ok(Incoming::Rerun(Rerun {
        repository: repository_of(repository, installation.as_ref())?,
        sha: named(&check_suite.head_sha)?,
        of: RerunOf::Suite { at: moment(at)? },
    }))
}

pub(super) fn comment(event: wire::CommentEvent<'_>) -> Parsed<Incoming> {
    let wire::CommentEvent { issue, comment, repository, installation } = event;
    let Some(command) = Command::read(&comment.body.unwrap_or_default()) else {
        return Ok(Incoming::Ignored("issue_comment: not a command".to_owned()));
    };
    Ok(Incoming::Comment(Comment {
        repository: repository_of(&repository, installation.as_ref())?,
        id: comment.id,
        number: issue.number,
        by: account(comment.user)?,
        command,
    }))
}

/// Who did it; an account that has been deleted since is null.
fn account(user: Option<wire::User>) -> Parsed<Login> {
    named(&user.ok_or("the account that did it is gone")?.login)
}
