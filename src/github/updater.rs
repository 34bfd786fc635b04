//! Writes in repositories: branches, pull requests, issues; with tokens that nobody else gets.
//!
//! Nothing is cloned and nothing pushed: commits are GitHub's own, which it signs. Whoever calls
//! does one thing after the other, and not faster than one a second: GitHub throttles nothing as
//! much as what notifies people.
mod branches;
mod history;
mod issues;
mod merge;
mod pulls;

use std::fmt;
use std::sync::Arc;

use dashmap::DashMap;
use http::Method;
use serde::Deserialize;
use serde_json::Value;

use crate::config;
use crate::domain::id::{InstallationId, RepositoryId};
use crate::domain::incoming::Repository;
use crate::github::client::{Answer, Call, Clock, Github, GithubError, Purpose, get};
use crate::github::graphql::Mutation;

pub use crate::github::updater::branches::{BranchMoved, NewCommit};
pub use crate::github::updater::issues::IssueStanding;
pub use crate::github::updater::merge::{AutoMerge, MergeAnswer};
pub use crate::github::updater::pulls::{NewPull, Pull, PullState};

/// Writes in repositories: branches, pull requests, issues; with tokens that nobody else gets.
#[derive(Clone)]
pub struct Updater {
    github: Arc<Github>,
    app: App,
}

/// Whose permissions are used.
#[derive(Clone)]
enum App {
    /// Those of the App that reports: its installation is known with the repository.
    Own,
    /// Those of an App of its own, with its installations as far as they were looked up.
    Apart(Arc<DashMap<RepositoryId, InstallationId>>),
}

impl fmt::Debug for Updater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { github, app: _ } = self;
        f.debug_struct("Updater").field("github", github).finish_non_exhaustive()
    }
}

impl Updater {
    /// As the settings say: with an App of its own where they name one, or else with `own`.
    ///
    /// # Errors
    /// When the App of its own cannot have a client: its key is none, or the address.
    pub fn from_config(
        config: &config::Github,
        own: Arc<Github>,
        clock: Clock,
    ) -> Result<Self, GithubError> {
        match &config.updater {
            None => Ok(Self::own(own)),
            Some(app) => {
                Github::for_updates(app, config, clock).map(|it| Self::apart(Arc::new(it)))
            }
        }
    }

    /// With the permissions of the App that reports.
    #[must_use]
    pub fn own(github: Arc<Github>) -> Self {
        Self { github, app: App::Own }
    }

    /// With an App of its own, which `github` speaks for.
    #[must_use]
    pub fn apart(github: Arc<Github>) -> Self {
        Self { github, app: App::Apart(Arc::default()) }
    }

    async fn installation(&self, repo: &Repository) -> Result<InstallationId, GithubError> {
        #[derive(Deserialize)]
        struct Wire {
            id: i64,
        }
        let App::Apart(known) = &self.app else { return Ok(repo.installation) };
        if let Some(found) = known.get(&repo.id) {
            return Ok(*found);
        }
        let Repository { owner, name, .. } = repo;
        let about = format!("look for the App of updates in {owner}/{name}");
        let path = format!("/repos/{owner}/{name}/installation");
        let call = get("repository_installation", &about, path);
        let answer = self.github.as_app(call).await.map_err(|error| match error {
            GithubError::Gone(said) => GithubError::Forbidden(format!(
                "the App of updates (github.updater_app_id) is not installed in {owner}/{name}: \
                 install it there; {said}"
            )),
            other @ (GithubError::Weather { .. }
            | GithubError::Forbidden(_)
            | GithubError::Rejected { .. }
            | GithubError::Unauthenticated { .. }
            | GithubError::Setup(_)) => other,
        })?;
        let Wire { id } = answer.read()?;
        known.insert(repo.id, InstallationId(id));
        Ok(InstallationId(id))
    }

    /// The installation, once it is known that it gives a token.
    async fn admitted(
        &self,
        purpose: Purpose,
        repo: &Repository,
    ) -> Result<InstallationId, GithubError> {
        let installation = self.installation(repo).await?;
        if let Err(error) = self.github.token(purpose, installation, repo.id).await {
            // It may have been installed anew since it was looked up.
            if let App::Apart(known) = &self.app {
                known.remove(&repo.id);
            }
            return Err(explained(purpose, repo, error));
        }
        Ok(installation)
    }

    async fn send(&self, repo: &Repository, call: Call) -> Result<Answer, GithubError> {
        self.send_for(Purpose::Update, repo, call).await
    }

    async fn send_for(
        &self,
        purpose: Purpose,
        repo: &Repository,
        call: Call,
    ) -> Result<Answer, GithubError> {
        let installation = self.admitted(purpose, repo).await?;
        let sent = self.github.through(purpose, installation, repo.id, call).await;
        sent.map_err(|error| explained(purpose, repo, error))
    }

    /// Sends a mutation of one field, whose alias is [`ALIAS`].
    async fn mutate(&self, repo: &Repository, mutation: Mutation) -> Result<Value, GithubError> {
        let about = mutation.about.clone();
        let purpose = Purpose::Update;
        let installation = self.admitted(purpose, repo).await?;
        let sent = self.github.mutate(purpose, (installation, repo.id), mutation).await;
        let mut answers = sent.map_err(|error| explained(purpose, repo, error))?;
        let answer = answers.remove(ALIAS).unwrap_or_else(|| {
            Err(GithubError::weather(format!(
                "{about}: GitHub's answer does not say what was done"
            )))
        });
        answer.map_err(|error| explained(purpose, repo, error))
    }
}

/// What the one field of a mutation is called in its answer.
const ALIAS: &str = "done";

/// A call below a repository.
fn call(
    repo: &Repository,
    (operation, verb): (&'static str, &str),
    (method, path): (Method, &str),
    body: Option<Value>,
) -> Call {
    let Repository { owner, name, .. } = repo;
    Call {
        operation,
        about: format!("{verb} of {owner}/{name}"),
        method,
        path: format!("/repos/{owner}/{name}{path}"),
        body,
    }
}

/// A permission that is missing is the likeliest mistake, since updates need more than checks do.
fn explained(purpose: Purpose, repo: &Repository, error: GithubError) -> GithubError {
    let Repository { owner, name, .. } = repo;
    match error {
        GithubError::Forbidden(said)
            if purpose == Purpose::Update
                && (said.contains("ermission")
                    || said.contains("not accessible by integration")) =>
        {
            GithubError::Forbidden(format!(
                "the App may not write contents, pull requests and issues in {owner}/{name}: \
                 grant it these permissions (deploy/app-manifest-updater.json) and let the \
                 account's owner accept them; {said}"
            ))
        }
        other @ (GithubError::Weather { .. }
        | GithubError::Gone(_)
        | GithubError::Forbidden(_)
        | GithubError::Rejected { .. }
        | GithubError::Unauthenticated { .. }
        | GithubError::Setup(_)) => other,
    }
}

/// GitHub's own words in a refusal, without ours.
fn githubs_words(message: &str) -> String {
    let said = message.split_once(": GitHub answered").and_then(|(_, said)| said.split_once(": "));
    said.map_or(message, |(_, words)| words).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn githubs_words_are_told_without_ours() {
        for (message, words) in [
            (
                "merge #7 of a/b: GitHub answered 405: At least 1 review: no",
                "At least 1 review: no",
            ),
            ("merge #7 of a/b: GitHub answered: is in clean status", "is in clean status"),
            ("merge #7 of a/b: GitHub answered 409", "merge #7 of a/b: GitHub answered 409"),
        ] {
            assert_eq!(githubs_words(message), words);
        }
    }
}
