//! What of a run is evaluated: its commit or the merge of it, by which policy, with which rights.
use tokio_util::sync::CancellationToken;

use crate::domain::id::CommitSha;
use crate::domain::lock::Lock;
use crate::domain::lock::stale::LastMove;
use crate::domain::policy::{Policy, PullRequests};
use crate::domain::run::{Merge, Reason, Skip, Trust};
use crate::domain::skip;
use crate::domain::verdict::Problem;
use crate::flow::evaluate::{Interrupted, Listed};
use crate::flow::source::{self, Commits, SourceError};
use crate::nix::eval::{EvalError, Evaluator, Untrusted};
use crate::nix::flake::{FlakeRef, Pinned};
use crate::nix::git::{Merged, Mirror};
use crate::store::facts::RunFacts;

/// What is evaluated for a run.
pub(super) struct Subject {
    pub(super) policy: Policy,
    pub(super) flake: Pinned,
    /// Where the flake is: nothing of it goes while this is held.
    pub(super) mirror: Mirror,
    /// What is tested in the place of the run's commit.
    pub(super) merge: Option<Merge>,
    /// What its flake has of what the policy wants, where that could be found out in the meantime.
    pub(super) listed: Option<Listed>,
    /// The words of the commit's message that ask not to build it, where they count.
    pub(super) skip: Option<&'static str>,
    /// When the lock file of the default branch's commit last moved.
    pub(super) lock: Option<LastMove>,
}

/// Finds a run's [`Subject`].
pub(super) struct Finder<'a> {
    pub(super) commits: &'a Commits,
    pub(super) evaluator: &'a Evaluator,
    pub(super) stop: &'a CancellationToken,
}

impl Finder<'_> {
    /// Fetches what is needed and pins the flake.
    pub(super) async fn find(&self, facts: &RunFacts) -> Result<Subject, Interrupted> {
        let RunFacts { run, repository, .. } = facts;
        let mirror = match &facts.trial {
            None => self.commits.fetch(repository, &run.sha, self.stop).await?,
            Some(trial) => {
                let base = self.commits.fetch(repository, &trial.base, self.stop).await?;
                let file = (trial.path.as_str(), trial.lock.as_str());
                self.commits.with_file(repository, (&trial.base, file), self.stop).await?;
                base
            }
        };
        let mut policy = source::policy(&mirror, &run.sha).await?;
        let skip = match &run.reason {
            _ if run.skip == Skip::Overruled => None,
            Reason::MergeGroup(_) | Reason::Update { .. } => None,
            Reason::Push(branch) if *branch == repository.default_branch => None,
            Reason::Push(_) | Reason::PullRequest(_) => {
                let message = source::message(&mirror, &run.sha, self.stop).await?;
                skip::asked(&message)
            }
        };
        let merge = match policy.build.pull_requests {
            PullRequests::Head => None,
            PullRequests::Merge => self.merge(facts).await?,
        };
        if let Some(merge) = &merge {
            policy = source::policy(&mirror, &merge.commit).await?;
        }
        let commit = merge.as_ref().map_or(&run.sha, |it| &it.commit);
        let dir = &policy.build.flake;
        let flake = async {
            match run.trust {
                Trust::Trusted => {
                    let reference = mirror.flake(commit, dir);
                    Ok(self.pin_and_list(&reference, commit, &policy).await?)
                }
                Trust::Untrusted => {
                    let base = merge.as_ref().map(|it| &it.base).or(run.base.as_ref());
                    Ok((self.confine(facts, &mirror, (commit, dir), base).await?, None))
                }
            }
        };
        let ((flake, listed), lock) = tokio::try_join!(flake, self.lock(facts, &mirror, &policy))?;
        Ok(Subject { policy, flake, mirror, merge, listed, skip, lock })
    }

    /// The default branch's lock file; what others bring is not landed yet.
    async fn lock(
        &self,
        facts: &RunFacts,
        mirror: &Mirror,
        policy: &Policy,
    ) -> Result<Option<LastMove>, Interrupted> {
        let RunFacts { run, repository, .. } = facts;
        match &run.reason {
            Reason::Push(branch) if *branch == repository.default_branch => {
                let flake = (&run.sha, policy.build.flake.as_str());
                let at = source::lock_moved_at(mirror, flake, self.stop).await?;
                Ok(at.map(|at| LastMove::new(at, policy.update.stale_after)))
            }
            Reason::Push(_)
            | Reason::PullRequest(_)
            | Reason::MergeGroup(_)
            | Reason::Update { .. } => Ok(None),
        }
    }

    /// A commit is the same whoever looks, so that listing it need not wait until it is pinned. A flake
    /// that cannot be listed is listed again: where its error is, only the pinned flake can tell.
    async fn pin_and_list(
        &self,
        reference: &FlakeRef,
        commit: &CommitSha,
        policy: &Policy,
    ) -> Result<(Pinned, Option<Listed>), EvalError> {
        let ahead = Pinned::of_commit(reference.clone(), commit.clone());
        let (outputs, exclude) = (&policy.build.outputs, &policy.build.exclude);
        let listed = self.evaluator.list(&ahead, outputs, exclude, self.stop);
        let pinned = self.evaluator.pin(reference, Some(commit), self.stop);
        tokio::try_join!(pinned, async {
            let listed = listed.await;
            Ok(Some(listed).filter(|it| !matches!(it, Err(EvalError::Flake(_)))))
        })
    }

    /// A pull request's head, merged into the base branch as it is now.
    async fn merge(&self, facts: &RunFacts) -> Result<Option<Merge>, Interrupted> {
        let RunFacts { run, repository, .. } = facts;
        let (Reason::PullRequest(_), Some(branch)) = (&run.reason, &run.base_branch) else {
            return Ok(None);
        };
        // What was tested of it before stays comparable: the base of then, until all is tested anew.
        let base = match &run.merge {
            Some(before) if before.branch == *branch => before.base.clone(),
            Some(_) | None => self.commits.tip(repository, branch, self.stop).await?,
        };
        self.commits.fetch(repository, &base, self.stop).await?;
        match self.commits.merge(repository, (&base, &run.sha), self.stop).await? {
            Merged::Commit(commit) => Ok(Some(Merge { commit, branch: branch.clone(), base })),
            Merged::Conflict { files } => {
                let named = files.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
                let more = match files.len().saturating_sub(3) {
                    0 => String::new(),
                    more => format!(" and {more} more"),
                };
                Err(SourceError::Author(Problem {
                    headline: format!(
                        "cannot be merged into {branch} at {}: conflicts in {named}{more}",
                        base.short()
                    ),
                    detail: format!(
                        "Nothing was built: build.pull_requests is \"merge\", and git cannot merge \
                         this commit by itself. Merge or rebase it, and push. In conflict:\n\n{}",
                        files.join("\n")
                    ),
                    place: None,
                })
                .into())
            }
        }
    }

    /// An untrusted flake, with the inputs that it may have beside those of its base.
    async fn confine(
        &self,
        facts: &RunFacts,
        mirror: &Mirror,
        (commit, dir): (&CommitSha, &str),
        base: Option<&CommitSha>,
    ) -> Result<Pinned, Interrupted> {
        let lock = source::lock(mirror, commit, dir).await?.unwrap_or_else(Lock::none);
        let trusted = match base {
            None => None,
            Some(base) => match self.commits.fetch(&facts.repository, base, self.stop).await {
                // Gone, or without a lock file that can be read: then nothing is trusted.
                Err(SourceError::Author(_)) => None,
                Err(error) => return Err(error.into()),
                Ok(mirror) => match source::lock(&mirror, base, dir).await {
                    Err(SourceError::Author(_)) => None,
                    read => read?,
                },
            },
        };
        let inputs =
            lock.admit(trusted.as_ref()).map_err(|error| source::not_allowed(error.to_string()))?;
        let untrusted = Untrusted { commit, dir, lock: &lock, inputs: &inputs };
        let reference = mirror.flake(commit, dir);
        Ok(self.evaluator.confine(&reference, untrusted, self.stop).await?)
    }
}
