//! Pull requests merged: by GitHub once it may be, or now.
use std::time::Duration;

use http::Method;
use serde::Deserialize;
use serde_json::json;

use crate::domain::id::CommitSha;
use crate::domain::incoming::Repository;
use crate::github::client::GithubError;
use crate::github::graphql::Mutation;
use crate::github::updater::pulls::Pull;
use crate::github::updater::{ALIAS, Updater, call, githubs_words};

/// Right after a pull request was opened GitHub does not know yet how it stands.
const UNSTABLE_PAUSES: [Duration; 3] =
    [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)];

/// What became of the wish that GitHub merges by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AutoMerge {
    On,
    /// Nothing that is required is missing: it is to be merged, not waited for.
    Clean,
    /// In GitHub's words: the repository's settings do not allow it, or the head is another.
    Refused(String),
}

/// What became of a merge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MergeAnswer {
    Merged,
    /// In GitHub's words: something required is missing, or the head is another.
    Refused(String),
}

/// The ways to merge that a repository allows; GitHub tells them to whoever may write.
#[derive(Deserialize)]
struct Allowed {
    #[serde(rename = "allow_merge_commit")]
    merge: Option<bool>,
    #[serde(rename = "allow_squash_merge")]
    squash: Option<bool>,
    #[serde(rename = "allow_rebase_merge")]
    rebase: Option<bool>,
}

impl Allowed {
    /// The first of what is allowed that keeps GitHub's signed commit as it is, or else the next.
    fn first(&self) -> &'static str {
        let Self { merge, squash, rebase } = self;
        let ways = [("merge", merge), ("squash", squash), ("rebase", rebase)];
        ways.iter().find(|(_, allowed)| **allowed == Some(true)).map_or("merge", |(way, _)| way)
    }
}

impl Updater {
    /// Has GitHub merge a pull request once everything that is required is there, if its head is
    /// this one.
    ///
    /// # Errors
    /// When GitHub does not answer, or not to us; it is safe to call again.
    pub async fn enable_auto_merge(
        &self,
        repo: &Repository,
        pull: &Pull,
        head: &CommitSha,
    ) -> Result<AutoMerge, GithubError> {
        let way = self.merge_method(repo).await?.to_ascii_uppercase();
        let mut pauses = UNSTABLE_PAUSES.iter();
        loop {
            let mutation = Mutation {
                operation: "enable_auto_merge",
                about: format!(
                    "switch on auto-merge of #{} of {}/{}",
                    pull.number, repo.owner, repo.name
                ),
                query: format!(
                    "mutation($input: EnablePullRequestAutoMergeInput!) {{\n  {ALIAS}: \
                     enablePullRequestAutoMerge(input: $input) {{ pullRequest {{ id }} }}\n}}"
                ),
                variables: json!({ "input": {
                    "pullRequestId": pull.node_id,
                    "mergeMethod": way,
                    "expectedHeadOid": head,
                } }),
            };
            let refused = match self.mutate(repo, mutation).await {
                Ok(_) => return Ok(AutoMerge::On),
                Err(GithubError::Rejected { message, .. }) => githubs_words(&message),
                Err(error) => return Err(error),
            };
            if refused.contains("clean status") {
                return Ok(AutoMerge::Clean);
            }
            let is_early =
                refused.contains("unstable status") || refused.contains("unknown status");
            match pauses.next() {
                Some(pause) if is_early => tokio::time::sleep(*pause).await,
                Some(_) | None => return Ok(AutoMerge::Refused(refused)),
            }
        }
    }

    /// Merges a pull request now, if its head is this one.
    ///
    /// # Errors
    /// When GitHub does not answer, or not to us: it may have been merged all the same.
    pub async fn merge(
        &self,
        repo: &Repository,
        number: i64,
        head: &CommitSha,
    ) -> Result<MergeAnswer, GithubError> {
        let document = json!({ "sha": head, "merge_method": self.merge_method(repo).await? });
        let path = format!("/pulls/{number}/merge");
        let verb = format!("merge #{number}");
        let asked = call(repo, ("merge_pull", &verb), (Method::PUT, &path), Some(document));
        match self.send(repo, asked).await {
            Ok(_) => Ok(MergeAnswer::Merged),
            Err(GithubError::Rejected { status: 405 | 409 | 422, message }) => {
                Ok(MergeAnswer::Refused(githubs_words(&message)))
            }
            Err(error) => Err(error),
        }
    }

    async fn merge_method(&self, repo: &Repository) -> Result<&'static str, GithubError> {
        let settings = self.settings(repo).await?;
        let allowed: Allowed = serde_json::from_value(settings).map_err(|error| {
            let Repository { owner, name, .. } = repo;
            GithubError::weather(format!("the settings of {owner}/{name} cannot be read: {error}"))
        })?;
        Ok(allowed.first())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_way_that_is_allowed_is_taken() {
        let first = |settings| serde_json::from_value::<Allowed>(settings).unwrap().first();
        assert_eq!(
            first(json!({ "allow_merge_commit": true, "allow_squash_merge": true })),
            "merge"
        );
        assert_eq!(
            first(json!({ "allow_merge_commit": false, "allow_squash_merge": true })),
            "squash"
        );
        assert_eq!(first(json!({ "allow_rebase_merge": true })), "rebase");
        // GitHub's own default, where it does not tell.
        assert_eq!(first(json!({})), "merge");
    }
}
