//! Pull requests: found, opened, described.
use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::domain::id::{Branch, CommitSha, NodeId, RepositoryId};
use crate::domain::incoming::Repository;
use crate::github::checks::{cut, first_characters, percent_encoded};
use crate::github::client::{GithubError, PER_PAGE};
use crate::github::updater::{Updater, call};

/// Characters of a title; GitHub takes 256.
const LONGEST_TITLE: usize = 250;

/// A pull request as GitHub has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pull {
    pub number: i64,
    pub node_id: NodeId,
    /// The head of its branch; of one that is closed, as it was then.
    pub head: CommitSha,
    pub base_branch: Branch,
    pub state: PullState,
    /// Its page, for people.
    pub url: String,
}

/// How a pull request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullState {
    Open,
    Merged,
    /// Without having been merged.
    Closed,
}

/// A pull request to be opened.
#[derive(Clone, Copy, Debug)]
pub struct NewPull<'a> {
    pub branch: &'a Branch,
    pub base: &'a Branch,
    pub title: &'a str,
    /// Markdown.
    pub body: &'a str,
}

#[derive(Deserialize)]
struct Wire {
    number: i64,
    node_id: NodeId,
    state: String,
    merged_at: Option<String>,
    html_url: String,
    head: Side,
    base: Side,
}

#[derive(Deserialize)]
struct Side {
    sha: CommitSha,
    #[serde(rename = "ref")]
    branch: Branch,
    repo: Option<Home>,
}

#[derive(Deserialize)]
struct Home {
    id: i64,
}

impl Wire {
    fn is_from(&self, repository: RepositoryId) -> bool {
        self.head.repo.as_ref().is_some_and(|it| it.id == repository.0)
    }

    fn pull(self) -> Pull {
        let Self { number, node_id, state, merged_at, html_url, head, base } = self;
        let state = match (state.as_str(), merged_at) {
            ("open", _) => PullState::Open,
            (_, Some(_)) => PullState::Merged,
            (_, None) => PullState::Closed,
        };
        Pull { number, node_id, head: head.sha, base_branch: base.branch, state, url: html_url }
    }
}

impl Updater {
    /// The newest pull request with this head branch: one that is open, or else one that was.
    ///
    /// # Errors
    /// On any failure to ask.
    pub async fn find_pull(
        &self,
        repo: &Repository,
        branch: &Branch,
    ) -> Result<Option<Pull>, GithubError> {
        let mut pulls = self.pulls_of(repo, branch).await?;
        let open = pulls.iter().position(|it| it.state == PullState::Open);
        let at = open.unwrap_or(0);
        Ok(if pulls.is_empty() { None } else { Some(pulls.swap_remove(at)) })
    }

    /// A pull request by its number.
    ///
    /// # Errors
    /// On any failure to ask; [`GithubError::Gone`] when there is none of this number.
    pub async fn pull(&self, repo: &Repository, number: i64) -> Result<Pull, GithubError> {
        let path = format!("/pulls/{number}");
        let verb = format!("read #{number}");
        let asked = call(repo, ("get_pull", &verb), (Method::GET, &path), None);
        self.send(repo, asked).await?.read::<Wire>().map(Wire::pull)
    }

    /// Opens a pull request. Where one between these branches is open already, as after an answer
    /// that was lost, that one gets the title and the text.
    ///
    /// # Errors
    /// When GitHub refuses it (there is nothing between the branches) or does not answer; it is
    /// safe to call again.
    pub async fn open_pull(
        &self,
        repo: &Repository,
        new: &NewPull<'_>,
    ) -> Result<Pull, GithubError> {
        let NewPull { branch, base, title, body } = new;
        let document = json!({
            "head": branch,
            "base": base,
            "title": first_characters(title, LONGEST_TITLE),
            "body": cut(body),
        });
        let names = ("open_pull", "open a pull request");
        let asked = call(repo, names, (Method::POST, "/pulls"), Some(document));
        let refused = match self.send(repo, asked).await {
            Ok(answer) => return answer.read::<Wire>().map(Wire::pull),
            Err(error) => error,
        };
        if !matches!(&refused, GithubError::Rejected { status: 422, message }
            if message.contains("already exists"))
        {
            return Err(refused);
        }
        let is_it = |it: &Pull| it.state == PullState::Open && it.base_branch == **base;
        let Some(pull) = self.pulls_of(repo, branch).await?.into_iter().find(is_it) else {
            return Err(refused);
        };
        self.edit_pull(repo, pull.number, title, body).await?;
        Ok(pull)
    }

    /// Gives a pull request another title and text.
    ///
    /// # Errors
    /// On any failure; it is safe to call again.
    pub async fn edit_pull(
        &self,
        repo: &Repository,
        number: i64,
        title: &str,
        body: &str,
    ) -> Result<(), GithubError> {
        let title = first_characters(title, LONGEST_TITLE);
        let document = json!({ "title": title, "body": cut(body) });
        let path = format!("/pulls/{number}");
        let verb = format!("edit #{number}");
        let asked = call(repo, ("edit_pull", &verb), (Method::PATCH, &path), Some(document));
        self.send(repo, asked).await.map(drop)
    }

    /// Asks people, and teams (`org/team`), for their review.
    ///
    /// # Errors
    /// On any failure; [`GithubError::Rejected`] when one of them is no collaborator.
    pub async fn request_reviews(
        &self,
        repo: &Repository,
        number: i64,
        reviewers: &[String],
    ) -> Result<(), GithubError> {
        if reviewers.is_empty() {
            return Ok(());
        }
        let (mut people, mut teams) = (Vec::new(), Vec::new());
        for it in reviewers {
            match it.split_once('/') {
                Some((_, team)) => teams.push(team),
                None => people.push(it.as_str()),
            }
        }
        let document = json!({ "reviewers": people, "team_reviewers": teams });
        let path = format!("/pulls/{number}/requested_reviewers");
        let verb = format!("ask for reviews of #{number}");
        let asked = call(repo, ("request_reviews", &verb), (Method::POST, &path), Some(document));
        self.send(repo, asked).await.map(drop)
    }

    /// The paths that a pull request changes: the first 100 files, which is enough to know that it
    /// is not one alone. A file that was moved counts by both its names.
    ///
    /// # Errors
    /// On any failure to ask.
    pub async fn changed_files(
        &self,
        repo: &Repository,
        number: i64,
    ) -> Result<Vec<String>, GithubError> {
        #[derive(Deserialize)]
        struct File {
            filename: String,
            previous_filename: Option<String>,
        }
        let path = format!("/pulls/{number}/files?per_page={PER_PAGE}");
        let verb = format!("list the files of #{number}");
        let asked = call(repo, ("pull_files", &verb), (Method::GET, &path), None);
        let files: Vec<File> = self.send(repo, asked).await?.read()?;
        let names = |it: File| std::iter::once(it.filename).chain(it.previous_filename);
        Ok(files.into_iter().flat_map(names).collect())
    }

    /// Every pull request of a head branch, the newest first.
    async fn pulls_of(&self, repo: &Repository, branch: &Branch) -> Result<Vec<Pull>, GithubError> {
        // A branch of this name in a fork is somebody else's.
        let head = percent_encoded(&format!("{}:{branch}", repo.owner));
        let path =
            format!("/pulls?head={head}&state=all&sort=created&direction=desc&per_page={PER_PAGE}");
        let verb = format!("look for the pull request of {branch}");
        let asked = call(repo, ("find_pull", &verb), (Method::GET, &path), None);
        let found: Vec<Value> = self.send(repo, asked).await?.read()?;
        // One that is not of the documented form is left alone.
        let read = |it| serde_json::from_value::<Wire>(it).ok();
        let found = found.into_iter().filter_map(read);
        let ours = found.filter(|it| it.is_from(repo.id) && it.head.branch == *branch);
        Ok(ours.map(Wire::pull).collect())
    }
}
