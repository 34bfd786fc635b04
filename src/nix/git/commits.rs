//! What is read from commits of a mirror; and commits that exist on this machine only, made without
//! a working tree: merges of two, and one with another file.
use std::path::Path;

use tokio_util::sync::CancellationToken;

use crate::domain::id::{CommitSha, RepositoryId};
use crate::nix::git::command::{Git, PlainHttp};
use crate::nix::git::failure::GitError;
use crate::nix::git::{Mirror, Mirrors, disk};

/// Who is said to have made a commit that exists on this machine only.
const MAKER: (&str, &str) = ("fleetcheck", "fleetcheck@localhost");

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
        let message = format!("Merge {head} into {base}");
        let commit = commit_tree(&mirror, &tree, (&[base, head], &message), stop).await?;
        hold(&mirror, &commit, stop).await?;
        Ok(Merged::Commit(commit))
    }

    /// A commit after `base`, which the mirror must have, that has `content` as the plain file
    /// `path`. The same three give the same commit, by whomever and whenever it is made.
    ///
    /// # Errors
    /// When git fails on the mirror, or cannot have a file of this name.
    pub async fn with_file(
        &self,
        repository: RepositoryId,
        base: &CommitSha,
        (path, content): (&str, &str),
        stop: &CancellationToken,
    ) -> Result<CommitSha, GitError> {
        let place = self.place(repository);
        let (mirror, _one_at_a_time) = tokio::select! {
            taken = async { (self.share(repository).await, place.known.lock().await) } => taken,
            () = stop.cancelled() => return Err(GitError::Cancelled),
        };
        let git = mirror.git();
        let stdin = Some(content.as_bytes().to_vec());
        let blob = git.run(&["hash-object", "-w", "--stdin"], stdin, stop).await;
        let blob = word(&blob.map_err(|(error, _)| error)?);
        // An index of its own, in the mirror: what a kill leaves of it is tidied up as a lock.
        let index = mirror.directory.join("with-file.lock");
        let place = index.to_string_lossy();
        let env = [("GIT_INDEX_FILE", place.as_ref())];
        let info = format!("100644,{blob},{path}");
        let steps: [&[&str]; 3] = [
            &["read-tree", base.as_str()],
            &["update-index", "--add", "--replace", "--cacheinfo", &info],
            &["write-tree"],
        ];
        let mut tree = String::new();
        for step in steps {
            let said = git.with_env(step, &env, stop).await;
            tree = word(&said.map_err(|(error, _)| error)?);
        }
        tokio::fs::remove_file(&index).await.map_err(disk)?;
        let message = format!("{path} as fleetcheck tries it");
        let commit = commit_tree(&mirror, &tree, (&[base], &message), stop).await?;
        hold(&mirror, &commit, stop).await?;
        Ok(commit)
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

/// A commit of a tree with these parents, at the time of the latest.
async fn commit_tree(
    mirror: &Mirror,
    tree: &str,
    (parents, message): (&[&CommitSha], &str),
    stop: &CancellationToken,
) -> Result<CommitSha, GitError> {
    let git = mirror.git();
    let mut times = vec!["log", "--no-walk", "--format=%ct"];
    times.extend(parents.iter().map(|it| it.as_str()));
    times.push("--");
    let times = git.run(&times, None, stop).await.map_err(|(error, _)| error)?;
    let times = String::from_utf8_lossy(&times);
    let time = times.lines().filter_map(|it| it.trim().parse::<u64>().ok()).max().unwrap_or(0);
    let mut args = vec!["commit-tree", tree, "-m", message];
    args.extend(parents.iter().flat_map(|it| ["-p", it.as_str()]));
    let date = format!("{time} +0000");
    let (name, email) = MAKER;
    let env = [
        ("GIT_AUTHOR_NAME", name),
        ("GIT_AUTHOR_EMAIL", email),
        ("GIT_AUTHOR_DATE", &date),
        ("GIT_COMMITTER_NAME", name),
        ("GIT_COMMITTER_EMAIL", email),
        ("GIT_COMMITTER_DATE", &date),
    ];
    let made = git.with_env(&args, &env, stop).await.map_err(|(error, _)| error)?;
    let made = word(&made);
    made.parse().map_err(|_| {
        GitError::Operator(format!("`git commit-tree` answered `{}`", made.escape_debug()))
    })
}

/// Makes a commit of ours one that the mirror has, like those that were fetched.
async fn hold(
    mirror: &Mirror,
    commit: &CommitSha,
    stop: &CancellationToken,
) -> Result<(), GitError> {
    let name = format!("refs/fleetcheck/{commit}");
    let update = ["update-ref", name.as_str(), commit.as_str()];
    mirror.git().run(&update, None, stop).await.map(drop).map_err(|(error, _)| error)
}

fn word(said: &[u8]) -> String {
    String::from_utf8_lossy(said).trim().to_owned()
}
