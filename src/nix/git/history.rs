//! Where commits of a mirror come from. Nothing is fetched.
use tokio_util::sync::CancellationToken;

use crate::domain::id::CommitSha;
use crate::nix::git::{GitError, Mirror};

impl Mirror {
    /// The newest commit that both come from; `None` when there is none, or one of them is not
    /// in the mirror.
    ///
    /// # Errors
    /// When it was told to stop.
    pub async fn merge_base(
        &self,
        one: &CommitSha,
        other: &CommitSha,
        stop: &CancellationToken,
    ) -> Result<Option<CommitSha>, GitError> {
        self.word(&["merge-base", one.as_str(), other.as_str()], stop).await
    }

    /// When a commit was made, in seconds since the epoch: `lastModified` of its flake. `None`
    /// when it is not in the mirror.
    ///
    /// # Errors
    /// When it was told to stop.
    pub async fn committed_at(
        &self,
        commit: &CommitSha,
        stop: &CancellationToken,
    ) -> Result<Option<i64>, GitError> {
        self.word(&["show", "--no-patch", "--format=%ct", commit.as_str()], stop).await
    }

    /// When the newest commit was made that changed a file, in seconds since the epoch. `None` when
    /// this commit has no such file, or is not in the mirror.
    ///
    /// # Errors
    /// When it was told to stop.
    pub async fn changed_at(
        &self,
        commit: &CommitSha,
        path: &str,
        stop: &CancellationToken,
    ) -> Result<Option<i64>, GitError> {
        // The newest change of one that is gone would be its removal.
        let file = format!("{commit}:{path}");
        let there = ["rev-parse", "--verify", "--quiet", file.as_str()];
        if self.word::<String>(&there, stop).await?.is_none() {
            return Ok(None);
        }
        self.word(&["log", "-1", "--format=%ct", commit.as_str(), "--", path], stop).await
    }

    /// The first word that git prints, if it succeeds and the word is one.
    async fn word<T: std::str::FromStr>(
        &self,
        args: &[&str],
        stop: &CancellationToken,
    ) -> Result<Option<T>, GitError> {
        match self.git().run(args, None, stop).await {
            Ok(printed) => {
                let printed = String::from_utf8_lossy(&printed);
                Ok(printed.split_whitespace().next().and_then(|it| it.parse().ok()))
            }
            Err((GitError::Cancelled, _)) => Err(GitError::Cancelled),
            Err(_) => Ok(None),
        }
    }
}
