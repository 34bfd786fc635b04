//! Where things stand at GitHub, compared with what is known: installations, repositories, and the
//! heads of open pull requests and of built branches.
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::domain::Timestamp;
use crate::domain::id::{Branch, CommitSha, InstallationId, RepositoryId};
use crate::domain::incoming::{InstallationStanding, Repository, RepositoryStanding};
use crate::domain::policy::Policy;
use crate::domain::recover::{Head, became_head};
use crate::domain::run::{Reason, Run};
use crate::flow::recover::{Interrupted, Recover, measured};
use crate::flow::{Step, source};
use crate::github::client::{GithubError, InstallationFacts};
use crate::github::heads::{ListedBranch, ListedRepository};
use crate::github::recovered::{self, PushedHead};
use crate::store::StoreError;
use crate::store::looks::{Look, LookKind};
use crate::store::recover::{KnownRepository, Mark};

/// Heads are compared this often, whatever GitHub sends.
const PERIOD_MS: i64 = 60 * 60_000;

/// GitHub needs a moment until it answers as it told.
const SETTLE_MS: i64 = 1_000;

/// Repositories that are compared in one step, so that the stage is heard of in between.
const PORTION: usize = 10;

/// How long a repository's policy is waited for, which git may have to fetch.
const POLICY_PATIENCE: Duration = Duration::from_mins(1);

/// A look that is under way.
pub(super) struct Pending {
    began: Timestamp,
    look: Look,
    /// Still to be compared, with its standing known here.
    repositories: Vec<ListedRepository>,
    /// Something could not be asked and may be answered later.
    failed: bool,
    /// What came back is compared after that is decided.
    again: bool,
}

impl Recover {
    /// Begins a look when one is due, and does the next part of it.
    pub(super) async fn step_heads(&self, stop: &CancellationToken) -> Result<Step, StoreError> {
        let mut pending = self.pending.lock().await;
        if pending.is_none() {
            if !self.heads_are_due().await? {
                return Ok(Step::Idle);
            }
            *pending = match self.begin().await {
                Ok(begun) => Some(begun),
                Err(Interrupted::Store(error)) => return Err(error),
                Err(Interrupted::Github(error)) => {
                    self.put_off(&error);
                    let note = Some(error.to_string());
                    self.shared.store.looked(&self.look(LookKind::Heads, note), &[]).await?;
                    return Ok(Step::Idle);
                }
            };
        }
        let Some(look) = pending.as_mut() else { return Ok(Step::Idle) };
        for _ in 0..PORTION {
            if stop.is_cancelled() {
                return Ok(Step::Idle);
            }
            let Some(next) = look.repositories.pop() else { break };
            self.compare_noting(look, &next, stop).await?;
        }
        if look.repositories.is_empty()
            && let Some(done) = pending.take()
        {
            self.finish(done).await?;
        }
        Ok(Step::Worked)
    }

    async fn heads_are_due(&self) -> Result<bool, StoreError> {
        let now = self.now();
        if self.heads_at.load(Ordering::Relaxed) > now.0 {
            return Ok(false);
        }
        let store = &self.shared.store;
        // Nothing is compared before the first look at deliveries has said since when.
        let Some(last) = store.mark(Mark::Heads).await? else { return Ok(false) };
        let asked = store.mark(Mark::HeadsAsked).await?.filter(|it| *it >= last);
        let is_asked = asked.is_some_and(|it| now.since(it) >= SETTLE_MS);
        Ok(is_asked || now.since(last) >= PERIOD_MS)
    }

    fn put_off(&self, error: &GithubError) {
        tracing::warn!(
            "where things stand at GitHub could not be looked at; it is tried again: {error}"
        );
        self.heads_at.store(self.now().plus(self.interval).0, Ordering::Relaxed);
    }

    async fn finish(&self, done: Pending) -> Result<(), StoreError> {
        let Pending { began, look, repositories: _, failed, again } = done;
        let store = &self.shared.store;
        if failed {
            self.heads_at.store(self.now().plus(self.interval).0, Ordering::Relaxed);
            return store.looked(&look, &[]).await;
        }
        let mut marks = vec![(Mark::Heads, began.plus(1))];
        if again {
            marks.push((Mark::HeadsAsked, self.now()));
        }
        store.looked(&look, &marks).await?;
        measured(LookKind::Heads, look.at);
        Ok(())
    }

    /// Compares installations and repositories, and says of which repositories to compare heads.
    async fn begin(&self) -> Result<Pending, Interrupted> {
        let mut begun = Pending {
            began: self.now(),
            look: self.look(LookKind::Heads, None),
            repositories: Vec::new(),
            failed: false,
            again: false,
        };
        let known = self.shared.store.known_repositories().await?;
        let installations = self.github.installations().await?;
        self.compare_installations(&mut begun, &known, &installations).await?;
        let is_ours =
            |it: &&InstallationFacts| self.owners.contains(&it.account.to_ascii_lowercase());
        for it in installations.iter().filter(is_ours).filter(|it| !it.suspended) {
            match self.github.installation_repositories(it.id).await {
                Ok(listed) => self.compare_repositories(&mut begun, it, &known, listed).await?,
                Err(error) => trouble(&mut begun, &error),
            }
        }
        Ok(begun)
    }

    async fn compare_installations(
        &self,
        begun: &mut Pending,
        known: &[KnownRepository],
        found: &[InstallationFacts],
    ) -> Result<(), StoreError> {
        let told = self.shared.store.installations().await?;
        let told =
            |id: InstallationId| told.get(&id).copied().unwrap_or(InstallationStanding::Active);
        let mut differ = Vec::new();
        for it in found {
            let now = if it.suspended {
                InstallationStanding::Suspended
            } else {
                InstallationStanding::Active
            };
            if told(it.id) != now {
                differ.push((it.id, it.account.clone(), now));
            }
        }
        let of = |it: &KnownRepository| (it.repository.installation, it.repository.owner.clone());
        let known: BTreeMap<_, _> = known.iter().map(of).collect();
        for (id, owner) in known {
            let is_there = found.iter().any(|it| it.id == id);
            if !is_there && told(id) != InstallationStanding::Deleted {
                differ.push((id, owner.to_string(), InstallationStanding::Deleted));
            }
        }
        for (id, account, standing) in differ {
            let delivery = recovered::installation(id, &account, standing, begun.began);
            self.deliver(&mut begun.look, delivery).await?;
        }
        Ok(())
    }

    async fn compare_repositories(
        &self,
        begun: &mut Pending,
        installation: &InstallationFacts,
        known: &[KnownRepository],
        listed: Vec<ListedRepository>,
    ) -> Result<(), StoreError> {
        let is_here = |it: &&KnownRepository| {
            it.repository.installation == installation.id && it.standing != RepositoryStanding::Gone
        };
        for it in known.iter().filter(is_here) {
            let Repository { id, owner, name, .. } = &it.repository;
            if !listed.iter().any(|one| one.id == *id) {
                let delivery = recovered::removed(installation.id, (*id, owner, name), begun.began);
                self.deliver(&mut begun.look, delivery).await?;
            }
        }
        let since = self.shared.store.mark(Mark::Begun).await?.unwrap_or(begun.began);
        for it in listed {
            let known = known.iter().find(|one| one.repository.id == it.id);
            if known.is_some_and(|known| differs(known, &it)) {
                begun.again |= known.is_some_and(|known| known.standing != standing_of(&it));
                self.deliver(&mut begun.look, recovered::repository(&it)).await?;
                continue;
            }
            let is_due = if let Some(known) = known {
                begun.began.since(known.heads_at) >= PERIOD_MS
            } else {
                // Nothing is known of it, but something happened there since we began.
                let quiet = self.quiet.get(&it.id).map(|at| *at);
                it.pushed_at.is_some_and(|at| at >= since) && it.pushed_at != quiet
            };
            if is_due && !it.is_archived {
                begun.repositories.push(it);
            }
        }
        Ok(())
    }

    async fn compare_noting(
        &self,
        pending: &mut Pending,
        next: &ListedRepository,
        stop: &CancellationToken,
    ) -> Result<(), StoreError> {
        pending.look.looked += 1;
        match self.compare(&mut pending.look, next, stop).await {
            Ok(()) => self.shared.store.heads_compared(next.id, pending.began).await,
            Err(Interrupted::Store(error)) => Err(error),
            Err(Interrupted::Github(error)) => {
                trouble(pending, &error);
                Ok(())
            }
        }
    }

    /// Compares the heads of one repository with the newest runs.
    async fn compare(
        &self,
        look: &mut Look,
        of: &ListedRepository,
        stop: &CancellationToken,
    ) -> Result<(), Interrupted> {
        let store = &self.shared.store;
        let began = store.mark(Mark::Begun).await?.unwrap_or_default();
        // Read before GitHub is asked: a head that differs from these is newer than they are.
        let newest: HashMap<Reason, Run> =
            store.newest_runs(of.id).await?.into_iter().map(|it| (it.reason.clone(), it)).collect();
        for pull in self.github.open_pulls(of).await? {
            let reason = Reason::PullRequest(pull.number);
            if pull.updated_at < began {
                continue;
            }
            if let Some(at) = self.untested(of.id, &reason, &newest, &pull.head()).await? {
                self.deliver(look, recovered::pull_request(of, &pull, at)).await?;
            }
        }
        let Some(pushed_at) = of.pushed_at.filter(|it| *it >= began) else { return Ok(()) };
        if self.quiet.get(&of.id).is_some_and(|it| *it == pushed_at) {
            return Ok(());
        }
        for ListedBranch { branch, head } in self.built_branches(of, &newest, stop).await? {
            let reason = Reason::Push(branch.clone());
            let dated = Head { sha: &head, at: pushed_at, seen_at: of.seen_at };
            if let Some(at) = self.untested(of.id, &reason, &newest, &dated).await? {
                let before = newest.get(&reason).map(|it| &it.sha);
                let pushed = PushedHead { branch: &branch, head: &head, before, at };
                self.deliver(look, recovered::push(of, &pushed)).await?;
            }
        }
        self.quiet.insert(of.id, pushed_at);
        Ok(())
    }

    /// When a head without a run became the head.
    async fn untested(
        &self,
        repository: RepositoryId,
        reason: &Reason,
        newest: &HashMap<Reason, Run>,
        head: &Head<'_>,
    ) -> Result<Option<Timestamp>, StoreError> {
        let newest = newest.get(reason);
        if newest.is_some_and(|it| it.sha == *head.sha) {
            return Ok(None);
        }
        let same = self.shared.store.standing(repository, reason, head.sha).await?.same;
        Ok(became_head(head, newest, same.as_ref()))
    }

    /// The default branch, those that its policy names, and those that were tested before.
    async fn built_branches(
        &self,
        of: &ListedRepository,
        newest: &HashMap<Reason, Run>,
        stop: &CancellationToken,
    ) -> Result<Vec<ListedBranch>, Interrupted> {
        let default = &of.default_branch;
        let Some(found) = self.github.branch(of, default).await? else { return Ok(vec![]) };
        let policy = self.policy(of, &found.head, stop).await;
        let is_tested = |branch: &Branch| newest.contains_key(&Reason::Push(branch.clone()));
        let others = newest.keys().any(|it| match it {
            Reason::Push(branch) => branch != default,
            Reason::PullRequest(_) | Reason::MergeGroup(_) | Reason::Update { .. } => false,
        });
        let mut built = vec![found];
        if others || !policy.build.branches.is_empty() {
            let wanted = |it: &ListedBranch| {
                is_tested(&it.branch) || policy.builds_branch(&it.branch, default)
            };
            let all = self.github.branches(of).await?;
            built.extend(all.into_iter().filter(|it| it.branch != *default).filter(wanted));
        }
        Ok(built)
    }

    /// The policy at the default branch's head; the default one where it cannot be read now.
    async fn policy(
        &self,
        of: &ListedRepository,
        head: &CommitSha,
        stop: &CancellationToken,
    ) -> Policy {
        let repository = Repository {
            id: of.id,
            node_id: None,
            owner: of.facts.owner.clone(),
            name: of.facts.name.clone(),
            default_branch: of.default_branch.clone(),
            visibility: of.facts.visibility,
            installation: of.installation,
        };
        let read = async {
            let mirror = self.commits.fetch(&repository, head, stop).await?;
            source::policy(&mirror, head).await
        };
        match tokio::time::timeout(POLICY_PATIENCE, read).await {
            Ok(Ok(policy)) => policy,
            Ok(Err(_)) | Err(_) => Policy::default(),
        }
    }
}

/// What could not be asked is noted; what may be answered later is asked again.
fn trouble(pending: &mut Pending, error: &GithubError) {
    tracing::warn!("a part of what stands at GitHub could not be looked at: {error}");
    pending.look.note.get_or_insert_with(|| error.to_string());
    pending.failed |= match error {
        GithubError::Weather { .. } | GithubError::Unauthenticated { .. } => true,
        GithubError::Gone(_)
        | GithubError::Forbidden(_)
        | GithubError::Rejected { .. }
        | GithubError::Setup(_) => false,
    };
}

fn standing_of(listed: &ListedRepository) -> RepositoryStanding {
    if listed.is_archived { RepositoryStanding::Archived } else { RepositoryStanding::Active }
}

/// Whether what is known of a repository is no longer true.
fn differs(known: &KnownRepository, listed: &ListedRepository) -> bool {
    let Repository { id: _, node_id: _, owner, name, default_branch, visibility, installation } =
        &known.repository;
    known.standing != standing_of(listed)
        || *installation != listed.installation
        || *owner != listed.facts.owner
        || *name != listed.facts.name
        || *visibility != listed.facts.visibility
        || *default_branch != listed.default_branch
}
