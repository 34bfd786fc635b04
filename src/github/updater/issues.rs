//! Issues, and what pull requests have in common with them: labels and comments.
use http::Method;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use crate::domain::incoming::Repository;
use crate::github::checks::{cut, first_characters};
use crate::github::client::{GithubError, PER_PAGE};
use crate::github::updater::{Updater, call};

/// Characters of a title; GitHub takes 256.
const LONGEST_TITLE: usize = 250;

/// Whether an issue is still one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IssueStanding {
    Open,
    Closed,
}

impl Updater {
    /// Opens an issue and gives its number.
    ///
    /// # Errors
    /// On any failure: it may have been opened all the same. [`GithubError::Gone`] where the
    /// repository has no issues.
    pub async fn open_issue(
        &self,
        repo: &Repository,
        title: &str,
        body: &str,
    ) -> Result<i64, GithubError> {
        #[derive(Deserialize)]
        struct Wire {
            number: i64,
        }
        let title = first_characters(title, LONGEST_TITLE);
        let document = json!({ "title": title, "body": cut(body) });
        let names = ("open_issue", "open an issue");
        let asked = call(repo, names, (Method::POST, "/issues"), Some(document));
        let Wire { number } = self.send(repo, asked).await?.read()?;
        Ok(number)
    }

    /// The newest open issue of ours with this title: an answer of [`Updater::open_issue`] may have
    /// been lost. Of the 100 newest that are open.
    ///
    /// # Errors
    /// On any failure to ask.
    pub async fn find_issue(
        &self,
        repo: &Repository,
        title: &str,
    ) -> Result<Option<i64>, GithubError> {
        #[derive(Deserialize)]
        struct Wire {
            number: i64,
            title: String,
            /// Pull requests are issues too.
            pull_request: Option<IgnoredAny>,
            performed_via_github_app: Option<App>,
        }
        #[derive(Deserialize)]
        struct App {
            id: u64,
        }
        let path = format!("/issues?state=open&sort=created&direction=desc&per_page={PER_PAGE}");
        let names = ("list_issues", "look for the issue");
        let asked = call(repo, names, (Method::GET, &path), None);
        let found: Vec<Value> = self.send(repo, asked).await?.read()?;
        // One that is not of the documented form is left alone.
        let mut found = found.into_iter().filter_map(|it| serde_json::from_value::<Wire>(it).ok());
        let title = first_characters(title, LONGEST_TITLE);
        let ours = found.find(|it| {
            let by = it.performed_via_github_app.as_ref().map(|app| app.id);
            it.title == title && it.pull_request.is_none() && by == Some(self.github.app_id)
        });
        Ok(ours.map(|it| it.number))
    }

    /// Makes an issue say this, open or closed.
    ///
    /// # Errors
    /// On any failure; it is safe to call again.
    pub async fn edit_issue(
        &self,
        repo: &Repository,
        number: i64,
        body: &str,
        standing: IssueStanding,
    ) -> Result<(), GithubError> {
        let mut document = json!({ "body": cut(body) });
        match standing {
            IssueStanding::Open => document["state"] = json!("open"),
            IssueStanding::Closed => {
                document["state"] = json!("closed");
                document["state_reason"] = json!("completed");
            }
        }
        let path = format!("/issues/{number}");
        let verb = format!("edit issue #{number}");
        let asked = call(repo, ("edit_issue", &verb), (Method::PATCH, &path), Some(document));
        self.send(repo, asked).await.map(drop)
    }

    /// Adds labels to an issue or a pull request; those that the repository lacks are made.
    ///
    /// # Errors
    /// On any failure; it is safe to call again.
    pub async fn label(
        &self,
        repo: &Repository,
        number: i64,
        labels: &[String],
    ) -> Result<(), GithubError> {
        if labels.is_empty() {
            return Ok(());
        }
        let path = format!("/issues/{number}/labels");
        let verb = format!("label #{number}");
        let document = json!({ "labels": labels });
        let asked = call(repo, ("label", &verb), (Method::POST, &path), Some(document));
        self.send(repo, asked).await.map(drop)
    }

    /// Comments on an issue or a pull request.
    ///
    /// # Errors
    /// On any failure: the comment may be there all the same.
    pub async fn comment(
        &self,
        repo: &Repository,
        number: i64,
        body: &str,
    ) -> Result<(), GithubError> {
        let path = format!("/issues/{number}/comments");
        let verb = format!("comment on #{number}");
        let document = json!({ "body": cut(body) });
        let asked = call(repo, ("comment", &verb), (Method::POST, &path), Some(document));
        self.send(repo, asked).await.map(drop)
    }
}
