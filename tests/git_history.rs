//! The commits of an input between two revisions: real git, repositories of this machine.
#![expect(clippy::unwrap_used, reason = "a test: it may panic")]
use std::process::Command;

use fleetcheck::domain::id::CommitSha;
use fleetcheck::domain::lock::history::Commit;
use fleetcheck::nix::git::{GitError, commits_between};
use tokio_util::sync::CancellationToken;

struct Repository(tempfile::TempDir);

impl Repository {
    fn new() -> Self {
        let repository = Self(tempfile::tempdir().unwrap());
        repository.git(&["init", "--quiet", "--initial-branch=main"]);
        repository
    }

    fn git(&self, args: &[&str]) -> String {
        let mut git = Command::new("git");
        git.arg("-C").arg(self.0.path()).args(["-c", "user.name=A", "-c", "user.email=a@b.c"]);
        git.env("GIT_COMMITTER_DATE", "1767312000 +0000").env("GIT_CONFIG_GLOBAL", "/dev/null");
        let output = git.args(args).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn commit(&self, message: &str) -> CommitSha {
        std::fs::write(self.0.path().join("file"), message).unwrap();
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message", message]);
        self.git(&["rev-parse", "HEAD"]).parse().unwrap()
    }

    fn url(&self) -> String {
        format!("file://{}", self.0.path().display())
    }

    async fn between(
        &self,
        old: &CommitSha,
        new: &CommitSha,
    ) -> Result<Option<Vec<CommitSha>>, GitError> {
        let found = between(&self.url(), (old, new)).await?;
        Ok(found.map(|it| it.into_iter().map(|it| it.id).collect()))
    }
}

async fn between(
    url: &str,
    range: (&CommitSha, &CommitSha),
) -> Result<Option<Vec<Commit>>, GitError> {
    let scratch = tempfile::tempdir().unwrap();
    let found = commits_between(scratch.path(), url, range, &CancellationToken::new()).await;
    let left = std::fs::read_dir(scratch.path()).unwrap().count();
    assert_eq!(left, 0, "nothing is left behind");
    found
}

#[tokio::test]
async fn a_history_is_read_from_the_old_revision_to_the_new_one() {
    let repository = Repository::new();
    let all: Vec<CommitSha> = ["1", "2", "3", "4"].map(|it| repository.commit(it)).into();
    for filter in ["false", "true"] {
        repository.git(&["config", "uploadpack.allowFilter", filter]);
        let found = between(&repository.url(), (&all[0], &all[2])).await.unwrap().unwrap();
        assert_eq!(found.iter().map(|it| &it.id).collect::<Vec<_>>(), [&all[1], &all[2]]);
        assert!(found.iter().all(|it| it.at == Some(1_767_312_000)), "{found:?}");
    }
}

#[tokio::test]
async fn what_was_merged_is_one_commit_of_its_history() {
    let repository = Repository::new();
    let old = repository.commit("1");
    repository.git(&["checkout", "--quiet", "-b", "topic"]);
    let aside = repository.commit("aside");
    repository.git(&["checkout", "--quiet", "main"]);
    let next = repository.commit("2");
    repository.git(&["merge", "--quiet", "--no-ff", "--strategy=ours", "topic"]);
    let merge: CommitSha = repository.git(&["rev-parse", "HEAD"]).parse().unwrap();
    assert_eq!(repository.between(&old, &merge).await.unwrap(), Some(vec![next, merge.clone()]));
    assert_eq!(repository.between(&aside, &merge).await.unwrap(), None, "it was merged");
}

#[tokio::test]
async fn a_history_that_was_written_anew_leads_nowhere() {
    let repository = Repository::new();
    repository.commit("1");
    let old = repository.commit("2");
    repository.git(&["tag", "kept"]);
    repository.git(&["reset", "--quiet", "--hard", "HEAD~1"]);
    let new = repository.commit("3");
    assert_eq!(repository.between(&old, &new).await.unwrap(), None);
    assert_eq!(repository.between(&new, &new).await.unwrap(), None);
}

#[tokio::test]
async fn a_repository_that_is_away_or_asks_who_we_are_is_an_error() {
    let repository = Repository::new();
    let (old, new) = (repository.commit("1"), repository.commit("2"));
    let none: CommitSha = "1".repeat(40).parse().unwrap();
    let gone = repository.between(&none, &new).await;
    assert!(matches!(gone, Err(GitError::CommitGone)), "{gone:?}");
    let range = (&old, &new);
    for url in ["file:///nonexistent", "ssh://git@example.org/x", "ext::sh -c true"] {
        let error = between(url, range).await.unwrap_err();
        assert!(!matches!(error, GitError::Weather(_)), "{url}: {error}");
    }
}
