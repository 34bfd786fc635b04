//! Branches and the commits that GitHub makes and signs on them.
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::domain::id::{Branch, CommitSha, NodeId, Owner, RepositoryName};
use crate::domain::incoming::Repository;
use crate::github::checks::percent_encoded;
use crate::github::client::{Call, GithubError, Purpose};
use crate::github::graphql::Mutation;
use crate::github::heads::encoded;
use crate::github::updater::{ALIAS, Updater, call};

/// A commit to be made: one file of its base is another.
#[derive(Clone, Copy, Debug)]
pub struct NewCommit<'a> {
    pub base: &'a CommitSha,
    /// The first line is the headline.
    pub message: &'a str,
    /// From the repository's root.
    pub path: &'a str,
    pub content: &'a str,
}

/// What became of a branch that was to be moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BranchMoved {
    Done,
    /// It was not where it was believed to be, and is where it was.
    Elsewhere,
}

#[derive(Deserialize)]
struct Object {
    sha: CommitSha,
}

impl Updater {
    /// The head of a branch; `None` when there is no such branch.
    ///
    /// # Errors
    /// When the repository is out of reach or GitHub does not answer.
    pub async fn head(
        &self,
        repo: &Repository,
        branch: &Branch,
    ) -> Result<Option<CommitSha>, GithubError> {
        #[derive(Deserialize)]
        struct Wire {
            object: Object,
        }
        let path = format!("/git/ref/heads/{}", encoded(branch.as_str()));
        let verb = format!("look at branch {branch}");
        let asked = call(repo, ("get_ref", &verb), (Method::GET, &path), None);
        match self.send(repo, asked).await {
            Ok(answer) => answer.read::<Wire>().map(|it| Some(it.object.sha)),
            // GitHub's way to say that a repository is empty is a conflict.
            Err(GithubError::Gone(_) | GithubError::Rejected { status: 409, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes a commit that GitHub signs, as the head of a scratch branch, and gives it. A scratch
    /// branch that a crash left is removed first; the one that is made is the caller's to delete,
    /// once another branch holds the commit.
    ///
    /// # Errors
    /// When GitHub does not know the base, takes no such commit or does not answer; it is safe to
    /// call again.
    pub async fn commit(
        &self,
        repo: &Repository,
        scratch: &Branch,
        new: &NewCommit<'_>,
    ) -> Result<CommitSha, GithubError> {
        #[derive(Deserialize)]
        struct Payload {
            commit: Commit,
        }
        #[derive(Deserialize)]
        struct Commit {
            oid: CommitSha,
        }
        let NewCommit { base, message, path, content } = new;
        let branch = self.scratch(repo, scratch, base).await?;
        let (headline, body) = message.split_once('\n').unwrap_or((message, ""));
        let about = format!("make a commit in {}/{}", repo.owner, repo.name);
        let answer = self
            .mutate(
                repo,
                Mutation {
                    operation: "create_commit",
                    about: about.clone(),
                    query: format!(
                        "mutation($input: CreateCommitOnBranchInput!) {{\n  \
                         {ALIAS}: createCommitOnBranch(input: $input) {{ commit {{ oid }} }}\n}}"
                    ),
                    variables: json!({ "input": {
                        // By its id: that stays what it is when the repository is renamed.
                        "branch": { "id": branch },
                        "expectedHeadOid": base,
                        "message": { "headline": headline.trim(), "body": body.trim() },
                        "fileChanges": {
                            "additions": [{ "path": path, "contents": STANDARD.encode(content) }],
                        },
                    } }),
                },
            )
            .await?;
        let made: Payload = serde_json::from_value(answer).map_err(|_| {
            GithubError::weather(format!("{about}: GitHub does not name the commit"))
        })?;
        Ok(made.commit.oid)
    }

    /// Moves a branch from exactly `from` (`None`: it must not exist) to `to` in one step, so that
    /// nothing of somebody else's is ever moved over.
    ///
    /// # Errors
    /// When GitHub refuses it for another reason or does not answer; it is safe to call again.
    pub async fn move_branch(
        &self,
        repo: &Repository,
        branch: &Branch,
        from: Option<&CommitSha>,
        to: &CommitSha,
    ) -> Result<BranchMoved, GithubError> {
        let refused = match self.update_refs(repo, branch, from, to).await {
            Ok(()) => return Ok(BranchMoved::Done),
            // An older GitHub Enterprise Server.
            Err(GithubError::Gone(_)) => return self.move_by_rest(repo, branch, from, to).await,
            Err(error) => error,
        };
        // Words for this refusal are documented nowhere: the branch itself is asked, which also
        // knows what became of an answer that was lost.
        match &refused {
            GithubError::Rejected { .. } | GithubError::Weather { retry_after: None, .. } => {}
            GithubError::Weather { retry_after: Some(_), .. }
            | GithubError::Gone(_)
            | GithubError::Forbidden(_)
            | GithubError::Unauthenticated { .. }
            | GithubError::Setup(_) => return Err(refused),
        }
        match self.head(repo, branch).await? {
            Some(head) if head == *to => Ok(BranchMoved::Done),
            head if head.as_ref() == from => Err(refused),
            Some(_) | None => Ok(BranchMoved::Elsewhere),
        }
    }

    /// Deletes a branch; one that is gone already is no mistake.
    ///
    /// # Errors
    /// When GitHub does not allow it or does not answer.
    pub async fn delete_branch(
        &self,
        repo: &Repository,
        branch: &Branch,
    ) -> Result<(), GithubError> {
        let path = format!("/git/refs/heads/{}", encoded(branch.as_str()));
        let verb = format!("delete branch {branch}");
        let asked = call(repo, ("delete_ref", &verb), (Method::DELETE, &path), None);
        match self.send(repo, asked).await {
            Ok(_) | Err(GithubError::Gone(_)) => Ok(()),
            Err(GithubError::Rejected { status: 422, message }) if is_missing_ref(&message) => {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// How many commits lie between two revisions of a repository on GitHub, any public one;
    /// `None` where GitHub does not tell.
    ///
    /// # Errors
    /// When GitHub does not answer, or not to us.
    pub async fn commits_between(
        &self,
        via: &Repository,
        (owner, name): (&str, &str),
        from: &str,
        to: &str,
    ) -> Result<Option<u64>, GithubError> {
        #[derive(Deserialize)]
        struct Wire {
            total_commits: u64,
        }
        // What a lock file says may be no name at all.
        let (Ok(owner), Ok(name)) = (owner.parse::<Owner>(), name.parse::<RepositoryName>()) else {
            return Ok(None);
        };
        if from.is_empty() || to.is_empty() {
            return Ok(None);
        }
        // The first page has the changes of up to 300 files beside the number.
        let range = format!("{}...{}", percent_encoded(from), percent_encoded(to));
        let asked = Call {
            operation: "compare",
            about: format!("compare revisions of {owner}/{name}"),
            method: Method::GET,
            path: format!("/repos/{owner}/{name}/compare/{range}?per_page=1&page=2"),
            body: None,
        };
        match self.send_for(Purpose::Fetch, via, asked).await {
            Ok(answer) => answer.read::<Wire>().map(|it| Some(it.total_commits)),
            Err(GithubError::Gone(_) | GithubError::Rejected { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes the scratch branch and gives its name in the GraphQL API.
    async fn scratch(
        &self,
        repo: &Repository,
        scratch: &Branch,
        base: &CommitSha,
    ) -> Result<NodeId, GithubError> {
        match self.create_branch(repo, scratch, base).await {
            Err(GithubError::Rejected { status: 422, message }) if is_taken(&message) => {
                self.delete_branch(repo, scratch).await?;
                self.create_branch(repo, scratch, base).await
            }
            other => other,
        }
    }

    async fn create_branch(
        &self,
        repo: &Repository,
        branch: &Branch,
        at: &CommitSha,
    ) -> Result<NodeId, GithubError> {
        #[derive(Deserialize)]
        struct Wire {
            node_id: NodeId,
        }
        let body = json!({ "ref": format!("refs/heads/{branch}"), "sha": at });
        let verb = format!("make branch {branch}");
        let asked = call(repo, ("create_ref", &verb), (Method::POST, "/git/refs"), Some(body));
        let Wire { node_id } = self.send(repo, asked).await?.read()?;
        Ok(node_id)
    }

    async fn update_refs(
        &self,
        repo: &Repository,
        branch: &Branch,
        from: Option<&CommitSha>,
        to: &CommitSha,
    ) -> Result<(), GithubError> {
        let repository = match &repo.node_id {
            Some(known) => known.clone(),
            None => self.node_id(repo).await?,
        };
        let nothing = "0".repeat(40);
        let update = json!({
            "name": format!("refs/heads/{branch}"),
            "beforeOid": from.map_or(nothing.as_str(), CommitSha::as_str),
            "afterOid": to,
            "force": true,
        });
        let mutation = Mutation {
            operation: "update_refs",
            about: format!("move branch {branch} of {}/{}", repo.owner, repo.name),
            query: format!(
                "mutation($input: UpdateRefsInput!) {{\n  \
                 {ALIAS}: updateRefs(input: $input) {{ clientMutationId }}\n}}"
            ),
            variables: json!({ "input": { "repositoryId": repository, "refUpdates": [update] } }),
        };
        self.mutate(repo, mutation).await.map(drop)
    }

    /// In two steps, as well as it can be done: a push between them is moved over.
    async fn move_by_rest(
        &self,
        repo: &Repository,
        branch: &Branch,
        from: Option<&CommitSha>,
        to: &CommitSha,
    ) -> Result<BranchMoved, GithubError> {
        let head = self.head(repo, branch).await?;
        if head.as_ref() == Some(to) {
            return Ok(BranchMoved::Done);
        }
        if head.as_ref() != from {
            return Ok(BranchMoved::Elsewhere);
        }
        let moved = if from.is_none() {
            self.create_branch(repo, branch, to).await.map(drop)
        } else {
            let path = format!("/git/refs/heads/{}", encoded(branch.as_str()));
            let body = json!({ "sha": to, "force": true });
            let verb = format!("move branch {branch}");
            let asked = call(repo, ("update_ref", &verb), (Method::PATCH, &path), Some(body));
            self.send(repo, asked).await.map(drop)
        };
        match moved {
            Ok(()) => Ok(BranchMoved::Done),
            Err(GithubError::Rejected { status: 422, message })
                if is_taken(&message) || is_missing_ref(&message) =>
            {
                Ok(BranchMoved::Elsewhere)
            }
            Err(error) => Err(error),
        }
    }

    async fn node_id(&self, repo: &Repository) -> Result<NodeId, GithubError> {
        #[derive(Deserialize)]
        struct Wire {
            node_id: NodeId,
        }
        let Wire { node_id } =
            serde_json::from_value(self.settings(repo).await?).map_err(|_| {
                let Repository { owner, name, .. } = repo;
                GithubError::weather(format!("GitHub does not tell the node id of {owner}/{name}"))
            })?;
        Ok(node_id)
    }

    /// The repository as GitHub describes it to whoever may write in it.
    pub(super) async fn settings(&self, repo: &Repository) -> Result<Value, GithubError> {
        let asked = call(repo, ("get_repository", "read the settings"), (Method::GET, ""), None);
        self.send(repo, asked).await?.read()
    }
}

/// GitHub's words for a branch that is to be made and is there.
fn is_taken(message: &str) -> bool {
    message.contains("Reference already exists")
}

/// GitHub's words for a branch that is not there, where it does not say 404.
fn is_missing_ref(message: &str) -> bool {
    message.contains("Reference does not exist")
}
