//! Deliveries about repositories themselves: their names, who may see them, whether we may act.
use serde::Deserialize;

use crate::domain::id::{InstallationId, RepositoryId};
use crate::domain::incoming::{
    Incoming, RepositoryChange, RepositoryFacts, RepositoryNow, Visibility,
};
use crate::github::read::{Parsed, moment, named};
use crate::github::webhook::shown;
use crate::github::wire::{Account, Installation, Moment};

/// Actions of `repository` after which its name, owner or visibility may be another.
pub(super) const ACTIONS: [&str; 8] = [
    "archived",
    "deleted",
    "edited",
    "privatized",
    "publicized",
    "renamed",
    "transferred",
    "unarchived",
];

/// `repository`.
#[derive(Debug, Deserialize)]
pub(super) struct RepositoryEvent<'a> {
    action: String,
    #[serde(borrow)]
    repository: Repository<'a>,
    installation: Option<Installation>,
}

#[derive(Debug, Deserialize)]
struct Repository<'a> {
    id: i64,
    name: String,
    #[serde(borrow)]
    owner: Account<'a>,
    private: Option<bool>,
    default_branch: Option<String>,
    archived: Option<bool>,
    updated_at: Option<Moment>,
    pushed_at: Option<Moment>,
}

/// `installation_repositories`.
#[derive(Debug, Deserialize)]
pub(super) struct MembershipEvent<'a> {
    #[serde(borrow)]
    installation: InstallationDetail<'a>,
    #[serde(default)]
    repositories_added: Vec<Short>,
    #[serde(default)]
    repositories_removed: Vec<Short>,
}

#[derive(Debug, Deserialize)]
struct InstallationDetail<'a> {
    id: i64,
    #[serde(borrow)]
    account: Option<Account<'a>>,
}

/// A repository as installations list it.
#[derive(Debug, Deserialize)]
struct Short {
    id: i64,
    name: String,
    private: Option<bool>,
}

/// What is not said to be public is private.
pub(super) fn visibility(private: Option<bool>) -> Visibility {
    match private {
        Some(false) => Visibility::Public,
        Some(true) | None => Visibility::Private,
    }
}

pub(super) fn repository(event: RepositoryEvent<'_>) -> Parsed<Incoming> {
    let RepositoryEvent { action, repository, installation } = event;
    if !ACTIONS.contains(&action.as_str()) {
        return Ok(Incoming::Ignored(format!("repository.{}: nothing to do", shown(&action))));
    }
    let installation =
        installation.ok_or("no `installation` in it, so it was not sent to a GitHub App")?;
    let owner = repository.owner.login().ok_or("`repository.owner.login` is missing")?;
    let facts = RepositoryFacts {
        owner: named(owner)?,
        name: named(&repository.name)?,
        visibility: visibility(repository.private),
        default_branch: repository.default_branch.as_deref().map(named).transpose()?,
    };
    // What changes a repository is dated by neither alone.
    let times = [&repository.updated_at, &repository.pushed_at];
    let times: Vec<_> = times.into_iter().flatten().map(moment).collect::<Result<_, _>>()?;
    let now = if action == "deleted" {
        RepositoryNow::Lost
    } else if repository.archived == Some(true) {
        RepositoryNow::Archived(facts)
    } else {
        RepositoryNow::Here(facts)
    };
    Ok(Incoming::Repositories(vec![RepositoryChange {
        id: RepositoryId(repository.id),
        installation: InstallationId(installation.id),
        occurred_at: times.into_iter().max(),
        now,
    }]))
}

pub(super) fn membership(event: &MembershipEvent<'_>) -> Parsed<Incoming> {
    let MembershipEvent { installation, repositories_added, repositories_removed } = event;
    let account = installation.account.as_ref().and_then(Account::login);
    let account = account.ok_or("`installation.account.login` is missing")?;
    let change = |id, now| RepositoryChange {
        id: RepositoryId(id),
        installation: InstallationId(installation.id),
        occurred_at: None,
        now,
    };
    let mut changes = Vec::new();
    for it in repositories_removed {
        changes.push(change(it.id, RepositoryNow::Removed));
    }
    for it in repositories_added {
        let facts = RepositoryFacts {
            owner: named(account)?,
            name: named(&it.name)?,
            visibility: visibility(it.private),
            default_branch: None,
        };
        changes.push(change(it.id, RepositoryNow::Here(facts)));
    }
    Ok(Incoming::Repositories(changes))
}
