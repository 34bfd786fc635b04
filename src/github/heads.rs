//! What there is at GitHub: the repositories of an installation, open pull requests, branches.
//!
//! Nothing is asked for with `If-None-Match`: GitHub's `ETag` is of the token as much as of the
//! answer, and both a token and the time between two looks last an hour, so it would never match.
//! What spares calls is `pushed_at`: branches are asked for where something was pushed alone.
use serde::Deserialize;
use serde_json::Value;

use crate::domain::Timestamp;
use crate::domain::id::{Branch, CommitSha, InstallationId, RepositoryId};
use crate::domain::incoming::RepositoryFacts;
use crate::domain::recover::Head;
use crate::github::client::{Github, GithubError, PER_PAGE, get};
use crate::github::read::{moment, named};
use crate::github::repositories::visibility;
use crate::github::wire::{Account, Moment};

/// Pages that are read at most of one list: 1,000 branches or pull requests, 10,000 repositories.
const PAGES: usize = 10;
const REPOSITORY_PAGES: usize = 100;

/// A repository that an installation reaches.
#[derive(Clone, Debug)]
pub struct ListedRepository {
    pub id: RepositoryId,
    pub installation: InstallationId,
    pub facts: RepositoryFacts,
    pub default_branch: Branch,
    pub is_archived: bool,
    /// GitHub's time of the newest push to any branch; `None` while it is empty.
    pub pushed_at: Option<Timestamp>,
    /// GitHub's time when it said so.
    pub seen_at: Timestamp,
    /// As GitHub sent it.
    pub(super) document: Value,
}

/// An open pull request.
#[derive(Clone, Debug)]
pub struct OpenPull {
    pub number: i64,
    pub head: CommitSha,
    pub updated_at: Timestamp,
    pub seen_at: Timestamp,
    pub(super) document: Value,
}

impl OpenPull {
    /// Its head, dated.
    pub fn head(&self) -> Head<'_> {
        Head { sha: &self.head, at: self.updated_at, seen_at: self.seen_at }
    }
}

/// A branch and its head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedBranch {
    pub branch: Branch,
    pub head: CommitSha,
}

#[derive(Deserialize)]
struct RepositoryWire<'a> {
    id: i64,
    name: String,
    #[serde(borrow)]
    owner: Account<'a>,
    private: Option<bool>,
    default_branch: String,
    archived: Option<bool>,
    disabled: Option<bool>,
    pushed_at: Option<Moment>,
}

#[derive(Deserialize)]
struct Commit {
    sha: String,
}

#[derive(Deserialize)]
struct PullWire {
    number: i64,
    head: Commit,
    updated_at: Moment,
}

#[derive(Deserialize)]
struct BranchWire {
    name: String,
    commit: Commit,
}

impl Github {
    /// The repositories that an installation reaches.
    ///
    /// # Errors
    /// When it is suspended or gone, or GitHub does not answer.
    pub async fn installation_repositories(
        &self,
        installation: InstallationId,
    ) -> Result<Vec<ListedRepository>, GithubError> {
        #[derive(Deserialize)]
        struct Page {
            repositories: Vec<Value>,
        }
        let about = format!("list the repositories of installation {}", installation.0);
        let mut all = Vec::new();
        for page in 1..=REPOSITORY_PAGES {
            let path = format!("/installation/repositories?per_page={PER_PAGE}&page={page}");
            let call = get("list_repositories", &about, path);
            let answer = self.as_recoverer(installation, call).await?;
            let Page { repositories } = answer.read()?;
            let is_full = repositories.len() >= PER_PAGE;
            let seen_at = answer.date(self.now());
            let listed = |document| listed_repository(installation, document, seen_at);
            all.extend(repositories.into_iter().filter_map(listed));
            if !is_full {
                break;
            }
        }
        Ok(all)
    }

    /// The open pull requests of a repository, the newest changed first.
    ///
    /// # Errors
    /// When the installation does not reach it or GitHub does not answer.
    pub async fn open_pulls(&self, of: &ListedRepository) -> Result<Vec<OpenPull>, GithubError> {
        let query = "pulls?state=open&sort=updated&direction=desc";
        let (documents, seen_at) = self.pages("list_pulls", of, query).await?;
        Ok(documents.into_iter().filter_map(|it| open_pull(it, seen_at)).collect())
    }

    /// The branches of a repository.
    ///
    /// # Errors
    /// As [`Github::open_pulls`].
    pub async fn branches(&self, of: &ListedRepository) -> Result<Vec<ListedBranch>, GithubError> {
        let (documents, _) = self.pages("list_branches", of, "branches?").await?;
        Ok(documents.into_iter().filter_map(listed_branch).collect())
    }

    /// One branch with its head; `None` when there is no such branch.
    ///
    /// # Errors
    /// As [`Github::open_pulls`].
    pub async fn branch(
        &self,
        of: &ListedRepository,
        branch: &Branch,
    ) -> Result<Option<ListedBranch>, GithubError> {
        let RepositoryFacts { owner, name, .. } = &of.facts;
        let path = format!("/repos/{owner}/{name}/branches/{}", encoded(branch.as_str()));
        let call = get("get_branch", &format!("look at {branch} of {owner}/{name}"), path);
        match self.as_recoverer(of.installation, call).await {
            Ok(answer) => answer.read().map(listed_branch),
            Err(GithubError::Gone(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn pages(
        &self,
        operation: &'static str,
        of: &ListedRepository,
        list: &str,
    ) -> Result<(Vec<Value>, Timestamp), GithubError> {
        let RepositoryFacts { owner, name, .. } = &of.facts;
        let about = format!("{} of {owner}/{name}", operation.replace('_', " "));
        let mut all = Vec::new();
        let mut seen_at = of.seen_at;
        for page in 1..=PAGES {
            let path = format!("/repos/{owner}/{name}/{list}&per_page={PER_PAGE}&page={page}");
            let answer = self.as_recoverer(of.installation, get(operation, &about, path)).await?;
            if page == 1 {
                seen_at = answer.date(self.now());
            }
            let found: Vec<Value> = answer.read()?;
            let is_full = found.len() >= PER_PAGE;
            all.extend(found);
            if !is_full {
                break;
            }
        }
        Ok((all, seen_at))
    }
}

/// A slash in a branch's name is part of the path's last piece.
pub(super) fn encoded(branch: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    branch
        .bytes()
        .map(|it| if plain(it) { char::from(it).to_string() } else { format!("%{it:02X}") })
        .collect()
}

/// One that is not of the documented form, or disabled by GitHub, is left alone.
fn listed_repository(
    installation: InstallationId,
    document: Value,
    seen_at: Timestamp,
) -> Option<ListedRepository> {
    let wire = RepositoryWire::deserialize(&document).ok()?;
    if wire.disabled == Some(true) {
        return None;
    }
    let default_branch: Branch = named(&wire.default_branch).ok()?;
    let facts = RepositoryFacts {
        owner: named(wire.owner.login()?).ok()?,
        name: named(&wire.name).ok()?,
        visibility: visibility(wire.private),
        default_branch: Some(default_branch.clone()),
    };
    let pushed_at = wire.pushed_at.as_ref().and_then(|it| moment(it).ok());
    let (id, is_archived) = (RepositoryId(wire.id), wire.archived == Some(true));
    Some(ListedRepository {
        id,
        installation,
        facts,
        default_branch,
        is_archived,
        pushed_at,
        seen_at,
        document,
    })
}

fn open_pull(document: Value, seen_at: Timestamp) -> Option<OpenPull> {
    let wire = PullWire::deserialize(&document).ok()?;
    let head = named(&wire.head.sha).ok()?;
    let updated_at = moment(&wire.updated_at).ok()?;
    Some(OpenPull { number: wire.number, head, updated_at, seen_at, document })
}

fn listed_branch(document: Value) -> Option<ListedBranch> {
    let wire = BranchWire::deserialize(document).ok()?;
    Some(ListedBranch { branch: named(&wire.name).ok()?, head: named(&wire.commit.sha).ok()? })
}
