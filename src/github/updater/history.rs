//! The commits of a repository on GitHub between two revisions.
use std::collections::HashMap;

use http::Method;
use serde::Deserialize;

use crate::domain::id::{CommitSha, Owner, RepositoryName};
use crate::domain::incoming::Repository;
use crate::domain::lock::history::{Commit, MOST_COMMITS};
use crate::github::client::{Call, GithubError, Purpose};
use crate::github::updater::Updater;

/// The most that GitHub puts on a page.
const PER_PAGE: usize = 100;

/// A page of `GET /compare`: the commits of all branches that were merged on the way, the oldest
/// first.
#[derive(Deserialize)]
struct Page {
    total_commits: usize,
    commits: Vec<Wire>,
}

#[derive(Deserialize)]
struct Wire {
    sha: CommitSha,
    commit: Facts,
    parents: Vec<Parent>,
}

#[derive(Deserialize)]
struct Facts {
    committer: Option<Committer>,
}

#[derive(Deserialize)]
struct Committer {
    date: Option<String>,
}

#[derive(Deserialize)]
struct Parent {
    sha: CommitSha,
}

impl Updater {
    /// The commits after `from` up to `to` of a repository on GitHub, any public one, along first
    /// parents, the oldest first; `None` where that way does not lead from one to the other, GitHub
    /// does not tell, or there are more than [`MOST_COMMITS`] with those that were merged on it.
    ///
    /// # Errors
    /// When GitHub does not answer, or not to us.
    pub async fn history(
        &self,
        via: &Repository,
        (owner, name): (&str, &str),
        from: &CommitSha,
        to: &CommitSha,
    ) -> Result<Option<Vec<Commit>>, GithubError> {
        // What a lock file says may be no name at all.
        let (Ok(owner), Ok(name)) = (owner.parse::<Owner>(), name.parse::<RepositoryName>()) else {
            return Ok(None);
        };
        let mut known = HashMap::new();
        for page in 1.. {
            let query = format!("per_page={PER_PAGE}&page={page}");
            let asked = Call {
                operation: "compare",
                about: format!("read the history of {owner}/{name}"),
                method: Method::GET,
                path: format!("/repos/{owner}/{name}/compare/{from}...{to}?{query}"),
                body: None,
            };
            let answer = match self.send_for(Purpose::Fetch, via, asked).await {
                Ok(answer) => answer,
                Err(GithubError::Gone(_) | GithubError::Rejected { .. }) => return Ok(None),
                Err(error) => return Err(error),
            };
            let Page { total_commits, commits } = answer.read()?;
            if total_commits > MOST_COMMITS {
                return Ok(None);
            }
            let is_last = commits.is_empty();
            known.extend(commits.into_iter().map(|it| (it.sha.clone(), it)));
            if is_last || known.len() >= total_commits {
                break;
            }
        }
        Ok(first_parents(known, from, to))
    }
}

fn first_parents(
    mut known: HashMap<CommitSha, Wire>,
    from: &CommitSha,
    to: &CommitSha,
) -> Option<Vec<Commit>> {
    let mut found = Vec::new();
    let mut next = to.clone();
    while next != *from {
        // Whoever was there is taken out, so that it ends whatever GitHub says.
        let Wire { sha, commit, parents } = known.remove(&next)?;
        let at = commit.committer.and_then(|it| it.date?.parse::<jiff::Timestamp>().ok());
        let at = at.map(jiff::Timestamp::as_second);
        found.push(Commit { id: sha, at });
        next = parents.into_iter().next()?.sha;
    }
    found.reverse();
    (!found.is_empty()).then_some(found)
}
