//! The history of an input that breaks hosts is looked through for its first bad commit.
//!
//! One host is tried, that of which the trial costs the least. Its run builds the whole host, in
//! which the derivation that fails comes before whatever needs it: to ask for that one alone would
//! build no less. What was read of a history is kept in the plan, so that whoever goes on tries the
//! same commits; the answers are the trials' runs.
use std::collections::{BTreeMap, BTreeSet};

use tokio_util::sync::CancellationToken;

use crate::domain::id::{AttrPath, CommitSha};
use crate::domain::incoming::Repository;
use crate::domain::lock::Lock;
use crate::domain::lock::history::{Commit, History, MOST_COMMITS, Place, reference};
use crate::domain::lock::moved::InputPath;
use crate::domain::lock::revision::Revision;
use crate::domain::policy::Policy;
use crate::domain::update::answer;
use crate::domain::update::bisect::{self, Cost, Found, MOST_INPUTS, Probe, Step};
use crate::domain::update::life::{Plan, Update};
use crate::domain::update::outcome::FirstBad;
use crate::domain::update::search::{self, Hosts, Outcome, Why};
use crate::flow::evaluate::Interrupted;
use crate::flow::source::SourceError;
use crate::flow::updates::search::{Attempt, Searched};
use crate::flow::updates::{Halted, Next, Updates, words};
use crate::github::client::GithubError;
use crate::nix::eval::EvalError;
use crate::nix::git::{self, GitError};

type Inputs = BTreeSet<InputPath>;
type Answer = search::Found<InputPath, AttrPath>;

/// So often the weather is waited for. The update is good without the first bad commit, and others
/// wait for it.
const MOST_TRIES: u32 = 4;

/// An input that breaks hosts, and how a commit of it is judged.
pub(super) struct Suspect<'f> {
    pub(super) input: &'f InputPath,
    /// What moves beside it; without any of these it breaks nothing.
    with: &'f Inputs,
    host: AttrPath,
    /// Where its commits are, or why they are out of reach.
    place: Result<Place, String>,
    range: (CommitSha, CommitSha),
}

impl<'f> Suspect<'f> {
    /// The inputs whose history is worth to be looked through.
    pub(super) fn all(plan: &Plan, searched: &Searched, found: &'f Answer) -> Vec<Self> {
        let all = found.held_back.iter().filter_map(|it| Self::of(plan, searched, (found, it)));
        all.take(MOST_INPUTS).collect()
    }

    fn of(
        plan: &Plan,
        searched: &Searched,
        (found, held): (&Answer, &'f search::HeldBack<InputPath, AttrPath>),
    ) -> Option<Self> {
        let Why::Breaks { with, hosts } = &held.why else { return None };
        // Where all moves or nothing does, nobody knows which one it is.
        if !with.is_subset(&found.moved) {
            return None;
        }
        let input = &held.input;
        let moved = words::moved(plan, input);
        let commit = |it: &Revision| it.commit.as_deref()?.parse::<CommitSha>().ok();
        let range = (commit(&moved.from)?, commit(&moved.to)?);
        let place = Place::of(plan.new.input(input)?)?;
        if range.0 == range.1 {
            return None;
        }
        let mut all = with.clone();
        all.insert(input.clone());
        let host = bisect::cheapest(&words::reasons(searched, hosts, &all))?.clone();
        Some(Self { input, with, host, place, range })
    }

    /// What came of the commits that were tried, and what that has cost.
    fn answers(&self, searched: &Searched) -> BTreeMap<CommitSha, (Outcome, Cost)> {
        let asked = BTreeSet::from([self.host.clone()]);
        let of = |(probe, it): &(Probe, crate::store::trials::Tried)| {
            let answers = answer::of_run(&it.run, &it.builds, &asked, searched.wanted);
            let (outcome, broken) = answers.into_values().next()?;
            Some((probe.commit.clone(), (outcome, bisect::cost(broken.as_ref()))))
        };
        searched.probed.iter().filter(|(it, _)| it.input == *self.input).filter_map(of).collect()
    }

    /// What comes next with this budget of builds.
    fn next(
        &self,
        (commits, unusable): (&[Commit], &BTreeSet<CommitSha>),
        searched: &Searched,
        budget: u32,
    ) -> Step {
        let answers = self.answers(searched);
        let spent = answers.values().map(|(_, cost)| *cost);
        let left = bisect::left(budget, spent.chain(unusable.iter().map(|_| Cost::Evaluation)));
        let answer = |at: usize| {
            let commit = &commits.get(at)?.id;
            let unusable = unusable.contains(commit).then_some(Outcome::Unknown);
            unusable.or_else(|| answers.get(commit).map(|(outcome, _)| *outcome))
        };
        bisect::next(commits.len(), answer, left)
    }

    /// What is known by now of the first bad commit; `None` when nobody looks for it.
    pub(super) fn first_bad(&self, plan: &Plan, searched: &Searched) -> Option<FirstBad> {
        let (commits, unusable) = match plan.history(self.input)? {
            History::Read { commits, unusable } => (commits, unusable),
            History::Unreadable(why) => return Some(FirstBad::Unreadable(why.clone())),
        };
        let Step::Done(found) = self.next((commits, unusable), searched, 0) else { return None };
        let moved = words::moved(plan, self.input);
        let revision = |it: &Commit| Revision {
            commit: Some(it.id.to_string()),
            modified: it.at,
            page: moved.to.page.clone(),
            ..Revision::default()
        };
        let Found { first, last } = found;
        let bad = revision(commits.get(last)?);
        if found.count() == 1 {
            return Some(FirstBad::Commit(bad));
        }
        let before = first.checked_sub(1).and_then(|it| commits.get(it));
        let after = before.map_or(moved.from, revision);
        Some(FirstBad::OneOf { count: found.count(), after, last: bad })
    }
}

impl Updates {
    /// Goes on with the histories of what is held back; `None` when there is no more to be tried.
    pub(super) async fn bisect(
        &self,
        update: &Update,
        plan: &Plan,
        (searched, found): (&Searched, &Answer),
        (policy, repository): (&Policy, &Repository),
        stop: &CancellationToken,
    ) -> Result<Option<Next>, Halted> {
        let Some(budget) = policy.update.bisect else { return Ok(None) };
        for suspect in Suspect::all(plan, searched, found) {
            let Some(history) = plan.history(suspect.input) else {
                let history = self.history(update, &suspect, repository, stop).await?;
                return Ok(Some(kept(update, plan, suspect.input, history)));
            };
            let History::Read { commits, unusable } = history else { continue };
            let Step::Try(at) = suspect.next((commits, unusable), searched, budget) else {
                continue;
            };
            let Some(Commit { id, .. }) = commits.get(at) else { continue };
            let wish = (&suspect, id);
            let next = match self.at(update, plan, wish, (policy, repository), stop).await? {
                Ok(lock) => {
                    let attempt = Attempt {
                        moved: suspect.with.clone(),
                        hosts: Hosts::These(BTreeSet::from([suspect.host.clone()])),
                        lock,
                        probe: Some(Probe { input: suspect.input.clone(), commit: id.clone() }),
                    };
                    self.begin(update.clone(), plan, (attempt, searched), repository, stop).await?
                }
                Err(why) => {
                    let (input, commit) = (suspect.input, id.short());
                    tracing::info!(update.id = %update.id, "commit {commit} of {input} is left out: {why}");
                    let mut unusable = unusable.clone();
                    unusable.insert(id.clone());
                    let history = History::Read { commits: commits.clone(), unusable };
                    kept(update, plan, input, history)
                }
            };
            return Ok(Some(next));
        }
        Ok(None)
    }

    /// Reads an input's history.
    async fn history(
        &self,
        update: &Update,
        suspect: &Suspect<'_>,
        via: &Repository,
        stop: &CancellationToken,
    ) -> Result<History, Halted> {
        let (old, new) = &suspect.range;
        let waits = update.tries < MOST_TRIES;
        let read = match &suspect.place {
            Err(why) => Err(why.clone()),
            Ok(Place::GitHub { owner, name }) => {
                match self.updater.history(via, (owner, name), old, new).await {
                    Err(error @ GithubError::Weather { .. }) if waits => return Err(error.into()),
                    read => read.map_err(|it| it.to_string()),
                }
            }
            Ok(Place::Git { url }) => {
                match git::commits_between(&self.scratch, url, (old, new), stop).await {
                    Err(GitError::Cancelled) => return Err(Interrupted::Stopped.into()),
                    Err(error @ GitError::Weather(_)) if waits => {
                        return Err(weather(error.to_string()));
                    }
                    read => read.map_err(|it| it.to_string()),
                }
            }
        };
        let none = || {
            let shown = match suspect.place {
                Ok(Place::GitHub { .. }) => "GitHub shows",
                Ok(Place::Git { .. }) | Err(_) => "there is",
            };
            let (old, new) = (old.short(), new.short());
            format!("{shown} no straight way of at most {MOST_COMMITS} commits from {old} to {new}")
        };
        Ok(match read.and_then(|it| it.ok_or_else(none)) {
            Ok(commits) => History::Read { commits, unusable: BTreeSet::new() },
            Err(why) => {
                let input = suspect.input;
                tracing::info!(update.id = %update.id, "the history of {input} could not be read: {why}");
                History::Unreadable(why)
            }
        })
    }

    /// The lock file with an input at a commit; the inner error is why Nix has none.
    async fn at(
        &self,
        update: &Update,
        plan: &Plan,
        (suspect, commit): (&Suspect<'_>, &CommitSha),
        (policy, repository): (&Policy, &Repository),
        stop: &CancellationToken,
    ) -> Result<Result<Lock, String>, Halted> {
        let Suspect { input, with, .. } = suspect;
        let mut moved = (*with).clone();
        moved.insert((*input).clone());
        let newest = plan.old.with(&plan.new, &moved);
        let told = newest.input(input).ok_or_else(String::new);
        let told = match told.and_then(|it| reference(it, commit)) {
            Ok(told) => told,
            Err(why) => return Ok(Err(why)),
        };
        let (dir, evaluator) = (&policy.build.flake, &self.tools.evaluator);
        let mirror = self.commits.fetch(repository, &plan.base, stop).await?;
        let flake = mirror.flake(&plan.base, dir);
        let pinned = evaluator.pin(&flake, Some(&plan.base), stop).await?;
        let Some(files) = pinned.source else {
            return Ok(Err("Nix does not say where the flake's files are".to_owned()));
        };
        let copy = self.copy(files, dir.clone()).await?;
        copy.set_lock(&newest)?;
        match evaluator.lock_at(copy.flake(), (input, &told), stop).await {
            Ok(()) => {}
            Err(error @ EvalError::Weather(_)) if update.tries < MOST_TRIES => {
                return Err(error.into());
            }
            Err(
                error @ (EvalError::Flake(_)
                | EvalError::Limit(_)
                | EvalError::Memory(_)
                | EvalError::Weather(_)),
            ) => return Ok(Err(error.to_string())),
            Err(
                error @ (EvalError::AnotherCommit { .. }
                | EvalError::Cancelled
                | EvalError::Operator(_)),
            ) => return Err(error.into()),
        }
        let lock = newest.at(&copy.lock()?, input, &plan.moving);
        Ok(lock.ok_or_else(|| "the new flake.lock does not have it".to_owned()))
    }
}

/// The update, with what is known of a history.
fn kept(update: &Update, plan: &Plan, input: &InputPath, history: History) -> Next {
    let plan = plan.clone().with_history(input, history);
    Next::with(Update { plan: Some(plan), note: None, tries: 0, ..update.clone() })
}

fn weather(what: String) -> Halted {
    Halted::Interrupted(SourceError::Weather { what, retry_after: None }.into())
}
