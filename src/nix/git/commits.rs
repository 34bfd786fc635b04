//! What is read from commits of a mirror, and merges of two of them, made without a working tree.
use std::path::Path;

use tokio_util::sync::CancellationToken;

use crate::domain::id::{CommitSha, RepositoryId};
use crate::nix::git::command::{Git, PlainHttp};
use crate::nix::git::failure::GitError;
use crate::nix::git::{Mirror, Mirrors};

/// Who is said to have made a merge that exists on this machine only.
const MERGER: (&str, &str) = ("fleetcheck", "fleetcheck@localhost");

/// Files in conflict that are named.
const MOST_CONFLICTS: usize = 200;

/// What came of merging two commits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Merged {
    /// The merge, in the mirror like any commit that was fetched.
    Commit(CommitSha),
    /// The files that both have changed, and that a person has to merge; sorted.
    Conflict { files: Vec<String> },
}

impl Mirror {
    /// A commit's message, as UTF-8.
    ///
    /// # Errors
    /// When git fails on the mirror, or the message is larger than anything we read.
    pub async fn message(
        &self,
        commit: &CommitSha,
        stop: &CancellationToken,
    ) -> Result<String, GitError> {
        let args = ["log", "-1", "--format=%B", "--encoding=UTF-8", commit.as_str(), "--"];
        let said = self.git().run(&args, None, stop).await.map_err(|(error, _)| error)?;
        Ok(String::from_utf8_lossy(&said).into_owned())
    }
}

impl Mirrors {
    /// Merges `head` into `base`, both of which the mirror must have. The same two give the same
    /// commit, by whomever and whenever it is made. Nothing of the repository runs: a bare
    /// repository has no hooks to merge with, and merge drivers are named in git's settings, which
    /// are ours.
    ///
    /// # Errors
    /// When git fails on the mirror, as it does for commits without a common history.
    pub async fn merge(
        &self,
        repository: RepositoryId,
        base: &CommitSha,
        head: &CommitSha,
        stop: &CancellationToken,
    ) -> Result<Merged, GitError> {
        let place = self.place(repository);
        let (mirror, _one_at_a_time) = tokio::select! {
            taken = async { (self.share(repository).await, place.known.lock().await) } => taken,
            () = stop.cancelled() => return Err(GitError::Cancelled),
        };
        let tree = match merge_tree(&mirror.directory, base, head, stop).await? {
            Ok(tree) => tree,
            Err(files) => return Ok(Merged::Conflict { files }),
        };
        let commit = commit_tree(&mirror, &tree, (base, head), stop).await?;
        let name = format!("refs/fleetcheck/{commit}");
        let update = ["update-ref", name.as_str(), commit.as_str()];
        mirror.git().run(&update, None, stop).await.map_err(|(error, _)| error)?;
        Ok(Merged::Commit(commit))
    }
}

/// The merged tree, or the files in conflict.
async fn merge_tree(
    directory: &Path,
    base: &CommitSha,
    head: &CommitSha,
    stop: &CancellationToken,
) -> Result<Result<String, Vec<String>>, GitError> {
    let git = Git { directory, credential: None, plain_http: PlainHttp::Never };
    let options = ["merge-tree", "--write-tree", "--name-only", "--no-messages", "-z"];
    let args: Vec<&str> = options.into_iter().chain([base.as_str(), head.as_str()]).collect();
    // 0 is a clean merge, 1 one with conflicts: the tree, then the files, each ended by a zero.
    let (code, said) = git.answer(&args, &[0, 1], stop).await.map_err(|(error, _)| error)?;
    let said = String::from_utf8_lossy(&said);
    let mut parts = said.split('\0').filter(|it| !it.is_empty());
    let tree = parts.next().unwrap_or_default().trim().to_owned();
    if code == 0 {
        return Ok(Ok(tree));
    }
    let mut files: Vec<String> = parts.take(MOST_CONFLICTS).map(str::to_owned).collect();
    files.sort();
    files.dedup();
    Ok(Err(files))
}

/// A commit of a tree with two parents, at the time of the later one.
async fn commit_tree(
    mirror: &Mirror,
    tree: &str,
    (base, head): (&CommitSha, &CommitSha),
    stop: &CancellationToken,
) -> Result<CommitSha, GitError> {
    let git = mirror.git();
    let times = ["log", "--no-walk", "--format=%ct", base.as_str(), head.as_str(), "--"];
    let times = git.run(&times, None, stop).await.map_err(|(error, _)| error)?;
    let times = String::from_utf8_lossy(&times);
    let time = times.lines().filter_map(|it| it.trim().parse::<u64>().ok()).max().unwrap_or(0);
    let message = format!("Merge {head} into {base}");
    let args =
        ["commit-tree", tree, "-p", base.as_str(), "-p", head.as_str(), "-m", message.as_str()];
    let date = format!("{time} +0000");
    let (name, email) = MERGER;
    let env = [
        ("GIT_AUTHOR_NAME", name),
        ("GIT_AUTHOR_EMAIL", email),
        ("GIT_AUTHOR_DATE", &date),
        ("GIT_COMMITTER_NAME", name),
        ("GIT_COMMITTER_EMAIL", email),
        ("GIT_COMMITTER_DATE", &date),
    ];
    let made = git.with_env(&args, &env, stop).await.map_err(|(error, _)| error)?;
    let made = String::from_utf8_lossy(&made);
    made.trim().parse().map_err(|_| {
        GitError::Operator(format!("`git commit-tree` answered `{}`", made.escape_debug()))
    })
}
