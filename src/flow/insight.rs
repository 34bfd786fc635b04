//! A build that ended well → what changes on its host, against the commit before.
//!
//! Nothing waits for this stage: a gate has its verdict and a check its conclusion without it, and
//! what it finds out is added to them. It reads Nix's stores alone, this machine's and its builders';
//! of an unchanged host, or one whose base was never built, the store of rows knows the answer by
//! itself.
mod stores;

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::domain::closure::{self, Closure, Difference};
use crate::domain::id::{CommitSha, StorePath};
use crate::domain::insight::{Absent, Base, Changes, Insight, Seen};
use crate::domain::run::{Merge, Reason};
use crate::flow::insight::stores::{FETCH, Place, Stores};
use crate::flow::look::Builders;
use crate::flow::shared::Shared;
use crate::flow::source::{Commits, SourceError};
use crate::flow::{Stage, Step};
use crate::nix::Nix;
use crate::nix::closure::{ClosureError, Closures, MOST_PATHS, Paths};
use crate::nix::git::Mirror;
use crate::nix::revision::{self, Own, Revision};
use crate::nix::system;
use crate::nix::worker::{Fetched, WorkerError};
use crate::store::StoreError;
use crate::store::facts::RunFacts;
use crate::store::insights::{Origin, Wanted};

/// Tries before it is said that it cannot be told.
const MOST_TRIES: u32 = 4;
/// A base that is being built is looked at again after this time.
const BASE_IS_BUILDING_MS: i64 = 15_000;
/// Hosts whose answers are written in one transaction, unless they take longer than this.
const AT_ONCE: i64 = 25;
const LONGEST: Duration = Duration::from_millis(200);
/// Answers that are kept while there is work: hosts of a fleet may have the same system.
const MOST_KEPT: usize = 1_000;
/// The base of a pull request is fetched within this time, or taken as GitHub named it.
const MERGE_BASE: Duration = Duration::from_secs(30);

/// Compares hosts with what they were, one at a time.
pub struct Compare {
    shared: Arc<Shared>,
    commits: Commits,
    kept: Mutex<Kept>,
}

/// What is kept from one host to the next; let go when nothing is left to do.
struct Kept {
    stores: Stores,
    closures: Closures,
    answers: HashMap<[String; 4], Insight>,
    /// When commits were made; `None` of one that is not in its mirror.
    times: HashMap<CommitSha, Option<i64>>,
}

/// Why it cannot be told what changes.
#[derive(Debug, thiserror::Error)]
enum Untold {
    #[error("the base's system is not fetched yet")]
    Late,
    #[error(transparent)]
    Worker(#[from] WorkerError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Closure(ClosureError),
    #[error("the store cannot be read: {0}")]
    Files(#[from] io::Error),
}

impl Compare {
    pub fn new(shared: Arc<Shared>, nix: Nix, builders: Arc<Builders>, commits: Commits) -> Self {
        let kept = Kept {
            stores: Stores::new(nix, builders),
            closures: Closures::default(),
            answers: HashMap::new(),
            times: HashMap::new(),
        };
        Self { shared, commits, kept: Mutex::new(kept) }
    }
}

impl Stage for Compare {
    const NAME: &'static str = "insight";
    type Error = StoreError;

    async fn step(&self, stop: &CancellationToken) -> Result<Step, StoreError> {
        let mut kept = self.kept.lock().await;
        let store = &self.shared.store;
        let all = store.insights_wanted(self.shared.clock.now(), AT_ONCE).await?;
        if all.is_empty() {
            kept.let_go().await;
            return Ok(Step::Idle);
        }
        let begun = Instant::now();
        let mut known = Vec::with_capacity(all.len());
        for wanted in &all {
            // The next start begins with what is left.
            let found = tokio::select! {
                found = self.insight(&mut kept, wanted) => found?,
                () = stop.cancelled() => break,
            };
            known.extend(found.map(|insight| (wanted, insight)));
            if begun.elapsed() > LONGEST {
                break;
            }
        }
        let moved = store.set_insights(&known, self.shared.clock.now()).await?;
        self.shared.wakeups.tell(&moved);
        Ok(if stop.is_cancelled() { Step::Idle } else { Step::Worked })
    }
}

impl Kept {
    async fn let_go(&mut self) {
        let Self { stores, closures, answers, times } = self;
        stores.let_go().await;
        *closures = Closures::default();
        answers.clear();
        times.clear();
    }
}

impl Compare {
    /// What changes on one host; `None` when it is tried again.
    async fn insight(
        &self,
        kept: &mut Kept,
        wanted: &Wanted,
    ) -> Result<Option<Insight>, StoreError> {
        match &wanted.base {
            Base::Same => Ok(Some(Insight::Unchanged { base: wanted.base_commit.clone() })),
            Base::Absent(why) => Ok(Some(absent(wanted, why.clone()))),
            Base::Open => {
                let later = self.shared.clock.now().plus(BASE_IS_BUILDING_MS);
                self.shared.store.insight_later(wanted, wanted.tries, later).await?;
                Ok(None)
            }
            Base::System(base) => {
                let compared = self.compare(kept, wanted, base).await;
                self.told(wanted, compared).await
            }
        }
    }

    /// What is to be shown; `None` when it is tried again.
    async fn told(
        &self,
        wanted: &Wanted,
        compared: Result<Insight, Untold>,
    ) -> Result<Option<Insight>, StoreError> {
        let (build, tries) = (&wanted.build, wanted.tries + 1);
        let error = match compared {
            Ok(insight) => return Ok(Some(insight)),
            Err(Untold::Closure(ClosureError::TooLarge)) => {
                return Ok(Some(absent(wanted, Absent::TooLarge { most: MOST_PATHS as u64 })));
            }
            Err(error) => error,
        };
        if tries < MOST_TRIES {
            let wait = 10_000_i64 << tries;
            let later = self.shared.clock.now().plus(wait);
            tracing::info!(build.id = %build, "build {build} will be compared again with what was before: {error}");
            self.shared.store.insight_later(wanted, tries, later).await?;
            return Ok(None);
        }
        tracing::warn!(build.id = %build, "build {build} is not compared with what was before: {error}");
        let why = match error {
            Untold::Late => Absent::Late { seconds: FETCH.as_secs() * u64::from(tries) },
            Untold::Worker(_) | Untold::Store(_) | Untold::Closure(_) | Untold::Files(_) => {
                Absent::Unreadable
            }
        };
        Ok(Some(absent(wanted, why)))
    }

    async fn compare(
        &self,
        kept: &mut Kept,
        wanted: &Wanted,
        base: &StorePath,
    ) -> Result<Insight, Untold> {
        let key = [base.as_str(), wanted.out.as_str()];
        let key = [key[0], key[1], wanted.base_commit.as_str(), wanted.commit.as_str()];
        let key = key.map(str::to_owned);
        if let Some(known) = kept.answers.get(&key) {
            return Ok(known.clone());
        }
        let Some(head_at) = kept.stores.find(&wanted.out, &self.shared.store).await? else {
            return Ok(absent(wanted, Absent::Elsewhere));
        };
        let base_at = match kept.stores.find(base, &self.shared.store).await? {
            Some(place) => place,
            None => match kept.stores.fetch(base).await? {
                Fetched::Valid => Place::Here,
                Fetched::Late => return Err(Untold::Late),
                Fetched::NotFound => return Ok(absent(wanted, Absent::Gone)),
            },
        };
        let insight = self.look(kept, wanted, [(base, &base_at), (&wanted.out, &head_at)]).await?;
        if kept.answers.len() >= MOST_KEPT {
            kept.answers.clear();
        }
        kept.answers.insert(key, insight.clone());
        Ok(insight)
    }

    /// Both are valid, and stay so.
    async fn look(
        &self,
        kept: &mut Kept,
        wanted: &Wanted,
        [base, head]: [(&StorePath, &Place); 2],
    ) -> Result<Insight, Untold> {
        let Kept { stores, closures, .. } = kept;
        closures.begin();
        let before = stores.closure(closures, base).await?;
        let after = stores.closure(closures, head).await?;
        let difference = closure::compare(
            &Closure { toplevel: base.0, paths: closures.paths(&before) },
            &Closure { toplevel: head.0, paths: closures.paths(&after) },
        );
        match (base.1, head.1) {
            (Place::Here, Place::Here) => {
                self.read(kept, wanted, [(base.0, before), (head.0, after)], difference).await
            }
            // Files are read here alone.
            (Place::There(_), _) | (_, Place::There(_)) => {
                let changes = Changes::of(difference, vec![], None);
                let changes = Box::new(Changes { seen: Seen::Paths, ..changes });
                Ok(Insight::Changed { base: wanted.base_commit.clone(), changes })
            }
        }
    }

    /// What their files say besides.
    async fn read(
        &self,
        kept: &mut Kept,
        wanted: &Wanted,
        [(base, before), (head, after)]: [(&StorePath, Paths); 2],
        difference: Difference,
    ) -> Result<Insight, Untold> {
        let mirror = self.commits.as_it_is(wanted.repository);
        let Kept { closures, times, .. } = kept;
        let (known, source) = (wanted.base_committed_at, wanted.base_source.as_ref());
        let base_revision = revision(&mirror, times, (&wanted.base_commit, known), source).await;
        let (known, source) = (wanted.committed_at, wanted.source.as_ref());
        let revision = revision(&mirror, times, (&wanted.commit, known), source).await;
        let own_before = Own::of(closures, (base, &before), &after, &base_revision);
        let own_after = Own::of(closures, (head, &after), &before, &revision);
        let (base, head) = (base.clone(), head.clone());
        let read = tokio::task::spawn_blocking(move || -> io::Result<_> {
            let is_revision = match (own_before, own_after) {
                (Some(before), Some(after)) => revision::is_all(&before, &after)?,
                (None, _) | (_, None) => false,
            };
            Ok((is_revision, system::compare(&base, &head)?))
        });
        let (is_revision, switch) = read.await.map_err(io::Error::other)??;
        let base = wanted.base_commit.clone();
        Ok(if is_revision {
            Insight::RevisionOnly { base, units: switch.units }
        } else {
            let changes = Changes::of(difference, switch.reboot, switch.units);
            Insight::Changed { base, changes: Box::new(changes) }
        })
    }
}

fn absent(wanted: &Wanted, why: Absent) -> Insight {
    Insight::Absent { base: wanted.base_commit.clone(), why }
}

async fn revision(
    mirror: &Mirror,
    times: &mut HashMap<CommitSha, Option<i64>>,
    (commit, known): (&CommitSha, Option<i64>),
    source: Option<&StorePath>,
) -> Revision {
    let committed_at = if known.is_some() {
        known
    } else if let Some(known) = times.get(commit) {
        *known
    } else {
        // What cannot be asked is left out: then a difference in it counts as one.
        let asked = mirror.committed_at(commit, &CancellationToken::new()).await;
        let asked = asked.unwrap_or_default();
        times.insert(commit.clone(), asked);
        asked
    };
    Revision { commit: commit.clone(), committed_at, source: source.cloned() }
}

/// What a run is compared with: the commit before on its branch; of a pull request the commit that
/// it left the base branch at, so that what the branch did since is not taken for its own, and of
/// its merge the commit that it is merged into.
///
/// # Errors
/// When it was told to stop. What cannot be fetched does not hold up the evaluation.
pub async fn origin(
    commits: &Commits,
    facts: &RunFacts,
    (merge, source): (Option<&Merge>, Option<StorePath>),
    stop: &CancellationToken,
) -> Result<Origin, SourceError> {
    let compared_with = match (&facts.run.base, &facts.run.reason) {
        // What the base branch did is in it.
        (_, Reason::PullRequest(_)) if merge.is_some() => merge.map(|it| it.base.clone()),
        (Some(base), Reason::PullRequest(_)) => {
            let common = merge_base(commits, facts, base, stop);
            let found = match timeout(MERGE_BASE, common).await {
                Ok(Err(SourceError::Cancelled)) => return Err(SourceError::Cancelled),
                Ok(Ok(found)) => found,
                Ok(Err(_)) | Err(_) => None,
            };
            Some(found.unwrap_or_else(|| base.clone()))
        }
        (
            base,
            Reason::Push(_)
            | Reason::PullRequest(_)
            | Reason::MergeGroup(_)
            | Reason::Update { .. },
        ) => base.clone(),
    };
    let mirror = commits.as_it_is(facts.repository.id);
    let tested = merge.map_or(&facts.run.sha, |it| &it.commit);
    let committed_at = mirror.committed_at(tested, stop).await.unwrap_or_default();
    Ok(Origin { source, compared_with, committed_at })
}

async fn merge_base(
    commits: &Commits,
    facts: &RunFacts,
    base: &CommitSha,
    stop: &CancellationToken,
) -> Result<Option<CommitSha>, SourceError> {
    let mirror = commits.fetch(&facts.repository, base, stop).await?;
    mirror.merge_base(&facts.run.sha, base, stop).await.map_err(|_| SourceError::Cancelled)
}
