//! What may move becomes a commit that GitHub makes and signs, and a pull request.
//!
//! The commit is made on a scratch branch, and the pull request's branch is moved to it in one step,
//! from where it is known to be: a person's commit on it is never moved over. What was done before a
//! crash is found again: the branch where it is, the pull request by its branch.
use std::collections::BTreeSet;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use crate::domain::id::{Branch, CommitSha};
use crate::domain::incoming::Repository;
use crate::domain::lock::moved::InputPath;
use crate::domain::policy::{MergeBy, UpdatePolicy};
use crate::domain::run::RunState;
use crate::domain::update::life::{MOST_ROUNDS, Made, Outcome, Plan, Update};
use crate::domain::update::search::Step;
use crate::flow::update::copy::CopyError;
use crate::flow::updates::search::candidate;
use crate::flow::updates::{Halted, Next, Updates, words};
use crate::github::client::GithubError;
use crate::github::updater::{BranchMoved, NewCommit, NewPull, Pull, PullState};
use crate::store::pulls::{GroupPull, PullStanding};
use crate::store::trials::Tried;
use crate::store::updates::UpdateClaim;

/// What changes on each host is waited for so long after the run has ended, in milliseconds.
const CHANGES_WAIT_MS: i64 = 60_000;
/// And looked for again so soon.
const CHANGES_AGAIN: Duration = Duration::from_secs(2);

/// Between two pull requests that are opened.
const APART: Duration = Duration::from_secs(1);

/// What is to be on GitHub in the end.
pub(super) struct Aim<'a> {
    pub(super) repository: &'a Repository,
    pub(super) plan: &'a Plan,
    pub(super) policy: &'a UpdatePolicy,
    /// The lock file's text, and its hash.
    lock: String,
    hash: String,
}

impl<'a> Aim<'a> {
    fn of(
        repository: &'a Repository,
        plan: &'a Plan,
        policy: &'a UpdatePolicy,
        moved: &BTreeSet<InputPath>,
    ) -> Result<Self, Halted> {
        let lock = plan.old.with(&plan.new, moved).text().map_err(CopyError::from)?;
        let hash = hex::encode(Sha256::digest(lock.as_bytes()));
        Ok(Self { repository, plan, policy, lock, hash })
    }
}

impl Updates {
    pub(super) async fn propose(
        &self,
        claim: &UpdateClaim,
        update: Update,
        plan: &Plan,
        repository: &Repository,
        stop: &CancellationToken,
    ) -> Result<Next, Halted> {
        let tip = self.commits.tip(repository, &repository.default_branch, stop).await?;
        if tip != plan.base && update.round < MOST_ROUNDS {
            // What was tried was tried on another commit; most of it is known already.
            let why = format!("{} has moved on to {}", repository.default_branch, tip.short());
            return Ok(Next::with(update.again(why)?));
        }
        let policy = self.policy(plan, repository, stop).await?.update;
        let searched = self.searched(&update, plan, &policy).await?;
        let Step::Done(found) = &searched.step else {
            return Err(Halted::Cannot("what was tried is no longer known".to_owned()));
        };
        let moved = candidate(found, plan, &policy);
        let Some(whole) = searched.whole(&moved) else {
            return Err(Halted::Cannot("what was tried is no longer known".to_owned()));
        };
        if self.is_comparing(whole).await? {
            return Ok(Next::with(update).after(CHANGES_AGAIN));
        }
        let aim = Aim::of(repository, plan, &policy, &moved)?;
        let report = words::report(plan, &searched, found);
        let known = self.shared.store.group_pull(repository.id, &plan.group).await?;
        let known = self.brought_up_to_date(&aim, known).await?;
        if let Some(known) = &known
            && known.standing == PullStanding::Closed
            && known.lock_hash == aim.hash
        {
            let number = known.number.unwrap_or_default();
            let ended = update.end(Outcome::StaysClosed { number }, self.now())?;
            return Ok(Next::with(ended).report(report));
        }
        let texts = self.texts(&aim, (&searched, found, whole), None).await?;
        let placed = self.place(claim, &update, &aim, (known.as_ref(), &texts.message)).await?;
        let made = match placed {
            Placed::Ours(made) => made,
            Placed::Foreign(head) => {
                self.stand_back(&aim, known, &head).await?;
                let branch = plan.branch.clone();
                let ended = update.end(Outcome::StoodBack { branch }, self.now())?;
                return Ok(Next::with(ended).report(report));
            }
        };
        let (Pull { number, .. }, mistake) = self.show(&aim, known, &made, &texts).await?;
        if let Some(note) = &mistake {
            self.tell(&update, (plan, number), repository, (&policy, note)).await?;
        }
        let update = Update { made: Some(made), note: mistake, ..update };
        let next = match policy.merge {
            MergeBy::Manual => update.end(Outcome::Opened { number }, self.now())?,
            MergeBy::Auto | MergeBy::Direct if !is_green(whole) => {
                update.end(Outcome::Opened { number }, self.now())?
            }
            MergeBy::Auto | MergeBy::Direct => update.merge(number)?,
        };
        Ok(Next::with(next).report(report))
    }

    /// The open pull request says this too.
    pub(super) async fn tell(
        &self,
        update: &Update,
        (plan, number): (&Plan, i64),
        repository: &Repository,
        (policy, note): (&UpdatePolicy, &str),
    ) -> Result<(), Halted> {
        let searched = self.searched(update, plan, policy).await?;
        let Step::Done(found) = &searched.step else { return Ok(()) };
        let moved = candidate(found, plan, policy);
        let Some(whole) = searched.whole(&moved) else { return Ok(()) };
        let aim = Aim::of(repository, plan, policy, &moved)?;
        let Texts { title, body, message: _ } =
            self.texts(&aim, (&searched, found, whole), Some(note)).await?;
        self.updater.edit_pull(repository, number, &title, &body).await?;
        Ok(())
    }

    /// Whether it is about to be known what changes on the run's hosts.
    async fn is_comparing(&self, whole: &Tried) -> Result<bool, Halted> {
        let RunState::Ended { at, .. } = &whole.run.state else { return Ok(false) };
        let is_late = self.now().since(*at) > CHANGES_WAIT_MS;
        Ok(!is_late && self.shared.store.is_comparing(&whole.run.id).await?)
    }

    /// How the group's pull request stands at GitHub now.
    async fn brought_up_to_date(
        &self,
        aim: &Aim<'_>,
        known: Option<GroupPull>,
    ) -> Result<Option<GroupPull>, Halted> {
        let Some(known) = known else { return Ok(None) };
        let (Some(number), PullStanding::Open) = (known.number, known.standing) else {
            return Ok(Some(known));
        };
        let standing = match self.updater.pull(aim.repository, number).await {
            Ok(pull) => standing(pull.state),
            // Of a repository that was made anew under the same number.
            Err(GithubError::Gone(_)) => PullStanding::Closed,
            Err(error) => return Err(error.into()),
        };
        let known = GroupPull { standing, checked_at: self.now(), ..known };
        self.shared.store.note_pull(&known).await?;
        Ok(Some(known))
    }

    /// Puts the commit on the branch, unless it is there.
    async fn place(
        &self,
        claim: &UpdateClaim,
        update: &Update,
        aim: &Aim<'_>,
        (known, message): (Option<&GroupPull>, &str),
    ) -> Result<Placed, Halted> {
        let Aim { repository, plan, lock, hash, .. } = aim;
        let scratch = scratch(&plan.branch, update)?;
        if update.made.is_some() {
            // A step before this one may not have come to its end.
            self.updater.delete_branch(repository, &scratch).await?;
        }
        let there = self.updater.head(repository, &plan.branch).await?;
        let known = known.map(|it| Made {
            commit: it.head.clone(),
            base: it.base.clone(),
            lock_hash: it.lock_hash.clone(),
        });
        if let Some(head) = &there {
            let Some(ours) =
                update.made.as_ref().into_iter().chain(&known).find(|it| it.commit == *head)
            else {
                return Ok(Placed::Foreign(head.clone()));
            };
            if ours.base == plan.base && ours.lock_hash == *hash {
                return Ok(Placed::Ours(ours.clone()));
            }
        }
        let new = NewCommit { base: &plan.base, message, path: &plan.path, content: lock };
        let commit = self.updater.commit(repository, &scratch, &new).await?;
        let made = Made { commit, base: plan.base.clone(), lock_hash: hash.clone() };
        self.shared.store.note_made(claim, &made, self.now()).await?;
        let to = &made.commit;
        let moved = self.updater.move_branch(repository, &plan.branch, there.as_ref(), to).await?;
        self.updater.delete_branch(repository, &scratch).await?;
        match moved {
            BranchMoved::Done => Ok(Placed::Ours(made)),
            BranchMoved::Elsewhere => {
                let foreign = self.updater.head(repository, &plan.branch).await?;
                Ok(Placed::Foreign(foreign.unwrap_or(made.commit)))
            }
        }
    }

    /// A person's commit is on the branch: they are told once, where there is a place for it.
    async fn stand_back(
        &self,
        aim: &Aim<'_>,
        known: Option<GroupPull>,
        head: &CommitSha,
    ) -> Result<(), Halted> {
        let Aim { repository, plan, .. } = aim;
        let Some(known) = known else { return Ok(()) };
        if known.stood_back.as_ref() == Some(head) {
            return Ok(());
        }
        if let (Some(number), PullStanding::Open) = (known.number, known.standing) {
            let text = format!(
                "Commit {} on `{}` is not fleetcheck's, so the branch stays as it is and this \
                 update is yours now. To let fleetcheck go on, merge or close this pull request \
                 and delete the branch.",
                head.short(),
                plan.branch
            );
            self.updater.comment(repository, number, &text).await?;
        }
        let known = GroupPull { stood_back: Some(head.clone()), ..known };
        self.shared.store.note_pull(&known).await?;
        Ok(())
    }

    /// Opens the pull request, or makes the open one say what is on its branch now; says what of the
    /// policy's labels and reviewers GitHub does not know.
    async fn show(
        &self,
        aim: &Aim<'_>,
        known: Option<GroupPull>,
        made: &Made,
        texts: &Texts,
    ) -> Result<(Pull, Option<String>), Halted> {
        let Aim { repository, plan, policy, .. } = aim;
        let Texts { title, body, message: _ } = texts;
        let now = self.now();
        let is_open = known.as_ref().is_some_and(|it| it.standing == PullStanding::Open);
        let mut noted = GroupPull {
            repository: repository.id,
            group: plan.group.clone(),
            branch: plan.branch.clone(),
            number: known.as_ref().filter(|_| is_open).and_then(|it| it.number),
            standing: PullStanding::Open,
            head: made.commit.clone(),
            base: made.base.clone(),
            lock_hash: made.lock_hash.clone(),
            opened_at: known.as_ref().filter(|_| is_open).map_or(now, |it| it.opened_at),
            checked_at: now,
            stood_back: None,
            green_since: known.filter(|it| it.head == made.commit).and_then(|it| it.green_since),
        };
        // The commit is known as ours, whatever comes next.
        self.shared.store.note_pull(&noted).await?;
        let found = self.updater.find_pull(repository, &plan.branch).await?;
        let pull = if let Some(pull) = found.filter(|it| it.state == PullState::Open) {
            self.updater.edit_pull(repository, pull.number, title, body).await?;
            pull
        } else {
            noted.opened_at = now;
            let base = &repository.default_branch;
            let new = NewPull { branch: &plan.branch, base, title, body };
            let _alone = self.opening.lock().await;
            let pull = self.updater.open_pull(repository, &new).await?;
            tokio::time::sleep(APART).await;
            pull
        };
        let mut mistakes = Vec::new();
        let mut heed = |done: Result<(), GithubError>| match done {
            // What the policy names is not there: the pull request is none the worse.
            Err(GithubError::Rejected { status: _, message }) => {
                mistakes.push(message);
                Ok(())
            }
            done => done,
        };
        if !policy.labels.is_empty() {
            heed(self.updater.label(repository, pull.number, &policy.labels).await)?;
        }
        if noted.number != Some(pull.number) && !policy.reviewers.is_empty() {
            let reviewers = &policy.reviewers;
            heed(self.updater.request_reviews(repository, pull.number, reviewers).await)?;
        }
        noted.number = Some(pull.number);
        self.shared.store.note_pull(&noted).await?;
        Ok((pull, (!mistakes.is_empty()).then(|| mistakes.join("; "))))
    }
}

/// What is on the branch.
enum Placed {
    /// Our commit.
    Ours(Made),
    /// A person's.
    Foreign(CommitSha),
}

/// What the pull request and its commit say.
pub(super) struct Texts {
    pub(super) title: String,
    pub(super) body: String,
    pub(super) message: String,
}

/// A branch of this update alone, for as long as its commit is made.
fn scratch(branch: &Branch, update: &Update) -> Result<Branch, Halted> {
    let name = format!("{branch}-scratch-{}", update.id);
    name.parse().map_err(|_| Halted::Cannot(format!("update.branch: `{branch}` is too long")))
}

fn standing(state: PullState) -> PullStanding {
    match state {
        PullState::Open => PullStanding::Open,
        PullState::Merged => PullStanding::Merged,
        PullState::Closed => PullStanding::Closed,
    }
}

fn is_green(whole: &Tried) -> bool {
    use crate::domain::verdict::Verdict;
    matches!(whole.run.state, RunState::Ended { verdict: Verdict::Passed, .. })
}
