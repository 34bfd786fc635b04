//! A commit's files: fetched into the repository's mirror, and the policy read from them.
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::domain::Timestamp;
use crate::domain::build::SourcePlace;
use crate::domain::id::{Branch, CommitSha, RepositoryId};
use crate::domain::incoming::Repository;
use crate::domain::lock::Lock;
use crate::domain::policy::Policy;
use crate::domain::verdict::Problem;
use crate::flow::fault;
use crate::github::client::{Github, GithubError, Purpose};
use crate::nix::git::{GitError, Merged, Mirror, Mirrors, Source};

/// Fetches commits; shared by the stages that read repositories.
#[derive(Clone)]
pub struct Commits {
    github: Arc<Github>,
    mirrors: Arc<Mirrors>,
}

/// Why a commit's files or its policy could not be had, by whom it concerns.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error("{}", .0.headline)]
    Author(Problem),
    #[error("{what}")]
    Weather { what: String, retry_after: Option<Duration> },
    #[error("stopped")]
    Cancelled,
    /// Logged under this number.
    #[error("fault {number}")]
    Internal { number: String },
}

impl Commits {
    pub fn new(github: Arc<Github>, mirrors: Arc<Mirrors>) -> Self {
        Self { github, mirrors }
    }

    /// A repository's mirror as it is now: nothing is fetched.
    pub fn as_it_is(&self, repository: RepositoryId) -> Mirror {
        self.mirrors.as_it_is(repository)
    }

    /// Makes sure that the mirror has the commit.
    pub async fn fetch(
        &self,
        repository: &Repository,
        sha: &CommitSha,
        stop: &CancellationToken,
    ) -> Result<Mirror, SourceError> {
        let mut fetched = self.fetch_with_token(repository, sha, stop).await?;
        if let Err(GitError::Refused(_)) = &fetched {
            // A token that was revoked is replaced; a second refusal is meant.
            fetched = self.fetch_with_token(repository, sha, stop).await?;
        }
        fetched.map_err(|error| from_git(error, &commit(sha)))
    }

    /// The commit that a branch is at now.
    pub async fn tip(
        &self,
        repository: &Repository,
        branch: &Branch,
        stop: &CancellationToken,
    ) -> Result<CommitSha, SourceError> {
        let mut found = self.tip_with_token(repository, branch, stop).await?;
        if let Err(GitError::Refused(_)) = &found {
            found = self.tip_with_token(repository, branch, stop).await?;
        }
        found.map_err(|error| from_git(error, &format!("branch {branch}")))
    }

    async fn tip_with_token(
        &self,
        repository: &Repository,
        branch: &Branch,
        stop: &CancellationToken,
    ) -> Result<Result<CommitSha, GitError>, SourceError> {
        let source = self.source(repository).await?;
        let found = self.mirrors.tip(&source, branch, stop).await;
        self.forget_if_refused(repository, source, found.as_ref().err()).await;
        Ok(found)
    }

    /// Two commits that were fetched, merged.
    pub async fn merge(
        &self,
        repository: &Repository,
        (base, head): (&CommitSha, &CommitSha),
        stop: &CancellationToken,
    ) -> Result<Merged, SourceError> {
        let merged = self.mirrors.merge(repository.id, base, head, stop).await;
        merged.map_err(|error| from_git(error, &commit(head)))
    }

    /// A fetched commit with another file in it: a commit of ours alone, in the mirror.
    pub async fn with_file(
        &self,
        repository: &Repository,
        (base, file): (&CommitSha, (&str, &str)),
        stop: &CancellationToken,
    ) -> Result<CommitSha, SourceError> {
        let made = self.mirrors.with_file(repository.id, base, file, stop).await;
        made.map_err(|error| from_git(error, &commit(base)))
    }

    /// What git says.
    async fn fetch_with_token(
        &self,
        repository: &Repository,
        sha: &CommitSha,
        stop: &CancellationToken,
    ) -> Result<Result<Mirror, GitError>, SourceError> {
        let source = self.source(repository).await?;
        let fetched = self.mirrors.fetch(&source, sha, stop).await;
        self.forget_if_refused(repository, source, fetched.as_ref().err()).await;
        Ok(fetched)
    }

    async fn source(&self, repository: &Repository) -> Result<Source, SourceError> {
        let (installation, id) = (repository.installation, repository.id);
        let token = self.github.token(Purpose::Fetch, installation, id).await;
        Ok(Source {
            repository: id,
            owner: repository.owner.clone(),
            name: repository.name.clone(),
            token: Some(token.map_err(from_github)?),
        })
    }

    /// A token that git refuses is not used again.
    async fn forget_if_refused(
        &self,
        repository: &Repository,
        source: Source,
        error: Option<&GitError>,
    ) {
        if let (Some(GitError::Refused(_)), Some(token)) = (error, source.token) {
            let (installation, id) = (repository.installation, repository.id);
            self.github.forget_token(Purpose::Fetch, installation, id, &token).await;
        }
    }
}

/// The policy at a commit; the default where the repository has none.
pub async fn policy(mirror: &Mirror, sha: &CommitSha) -> Result<Policy, SourceError> {
    for file in Policy::FILES {
        let text = mirror.read(sha, file).await.map_err(|error| from_git(error, &commit(sha)))?;
        if let Some(text) = text {
            return Policy::parse_bytes(file, &text).map_err(|error| {
                SourceError::Author(Problem {
                    headline: error.to_string(),
                    detail: "Nothing was built: a policy that cannot be read is never replaced by \
                             a default. Correct the file."
                        .to_owned(),
                    place: Some(SourcePlace { path: error.file, line: error.line }),
                })
            });
        }
    }
    Ok(Policy::default())
}

/// A commit's message.
pub(super) async fn message(
    mirror: &Mirror,
    sha: &CommitSha,
    stop: &CancellationToken,
) -> Result<String, SourceError> {
    mirror.message(sha, stop).await.map_err(|error| from_git(error, &commit(sha)))
}

/// The lock file of the flake in a folder of a commit, if it has one.
pub(super) async fn lock(
    mirror: &Mirror,
    sha: &CommitSha,
    dir: &str,
) -> Result<Option<Lock>, SourceError> {
    let text = match mirror.read(sha, &lock_file(dir)).await {
        Err(GitError::File { path, reason }) => {
            return Err(not_allowed(format!("{path} {reason}")));
        }
        read => read.map_err(|error| from_git(error, &commit(sha)))?,
    };
    text.map(|text| Lock::parse(&text)).transpose().map_err(|error| not_allowed(error.to_string()))
}

/// When the lock file of the flake in a folder of a commit last moved; `None` without one.
pub(super) async fn lock_moved_at(
    mirror: &Mirror,
    (sha, dir): (&CommitSha, &str),
    stop: &CancellationToken,
) -> Result<Option<Timestamp>, SourceError> {
    let found = mirror.changed_at(sha, &lock_file(dir), stop).await;
    let seconds = found.map_err(|error| from_git(error, &commit(sha)))?;
    Ok(seconds.map(|it| Timestamp(it.saturating_mul(1000))))
}

pub(super) fn lock_file(dir: &str) -> String {
    if dir.is_empty() { "flake.lock".to_owned() } else { format!("{dir}/flake.lock") }
}

/// An untrusted commit brings something that it may not.
pub(super) fn not_allowed(headline: String) -> SourceError {
    SourceError::Author(Problem {
        headline,
        detail: "Nothing was built. A fork's commit is evaluated without network: its inputs are \
                 fetched before that, as flake.lock names them. A person with write access to the \
                 repository can push the commit to a branch of it instead."
            .to_owned(),
        place: None,
    })
}

pub(super) fn from_github(error: GithubError) -> SourceError {
    match error {
        GithubError::Weather { what, retry_after } => SourceError::Weather { what, retry_after },
        // Suspended, or not (yet) permitted: it may be mended on GitHub's side at any time.
        GithubError::Forbidden(what) | GithubError::Gone(what) => SourceError::Weather {
            what: format!("GitHub does not let fleetcheck read the repository: {what}"),
            retry_after: Some(Duration::from_mins(10)),
        },
        error @ (GithubError::Rejected { .. }
        | GithubError::Unauthenticated { .. }
        | GithubError::Setup(_)) => {
            SourceError::Internal { number: fault::number("fetching a commit", &error) }
        }
    }
}

fn commit(sha: &CommitSha) -> String {
    format!("commit {}", sha.short())
}

/// `what` is the commit or branch that was asked for.
fn from_git(error: GitError, what: &str) -> SourceError {
    let author = |headline: String, detail: &str| {
        SourceError::Author(Problem { headline, detail: detail.to_owned(), place: None })
    };
    match error {
        GitError::CommitGone => author(
            format!("{what} is gone"),
            "It was force-pushed away before it could be fetched. Push again, or test the commit \
             that took its place.",
        ),
        GitError::RepositoryGone => author(
            "the repository is gone".to_owned(),
            "GitHub no longer has it under this name, or the App has lost access to it.",
        ),
        GitError::File { path, reason } => author(
            format!("{path} {reason}"),
            "The policy must be a plain file of the repository. Correct it and push again.",
        ),
        GitError::Refused(what) => SourceError::Weather {
            what: format!("GitHub refused the fetch: {what}"),
            retry_after: Some(Duration::from_mins(1)),
        },
        error @ (GitError::Weather(_) | GitError::Disk(_)) => {
            SourceError::Weather { what: error.to_string(), retry_after: None }
        }
        GitError::Cancelled => SourceError::Cancelled,
        error @ GitError::Operator(_) => {
            SourceError::Internal { number: fault::number("fetching a commit", &error) }
        }
    }
}
