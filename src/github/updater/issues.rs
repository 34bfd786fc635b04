//! Issues, and what pull requests have in common with them: labels and comments.
use http::Method;
use serde::Deserialize;
use serde_json::json;

use crate::domain::incoming::Repository;
use crate::github::checks::{cut, first_characters};
use crate::github::client::GithubError;
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
