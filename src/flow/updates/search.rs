//! One lock file after the other is tried, until it is known which inputs may move.
use std::collections::BTreeSet;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::domain::id::AttrPath;
use crate::domain::incoming::Repository;
use crate::domain::lock::Lock;
use crate::domain::lock::moved::InputPath;
use crate::domain::policy::{Open, UpdatePolicy};
use crate::domain::run::{Approval, Reason, Run, RunState, Skip, Trust};
use crate::domain::update::answer::{self, Wanted};
use crate::domain::update::bisect::Probe;
use crate::domain::update::life::{MOST_ROUNDS, Outcome, Plan, Update};
use crate::domain::update::search::{Found, Hosts, Search, Step, Trial};
use crate::flow::new_id;
use crate::flow::update::aim;
use crate::flow::update::copy::CopyError;
use crate::flow::updates::{Halted, Next, Updates, words};
use crate::store::trials::{NewTrial, TrialFacts, Tried};

/// What the weather kept from being known is tried again after this time.
const AFTER_WEATHER: Duration = Duration::from_mins(30);

type Inputs = BTreeSet<InputPath>;

/// A lock file to be tried.
pub(super) struct Attempt {
    pub(super) moved: Inputs,
    pub(super) hosts: Hosts<AttrPath>,
    pub(super) lock: Lock,
    /// The commit that one input is at, where it is on its way.
    pub(super) probe: Option<Probe>,
}

/// What is known of an update's inputs.
pub(super) struct Searched {
    pub(super) tried: Vec<Tried>,
    /// Lock files that the update has ever tried, in other rounds too.
    count: usize,
    /// Trials of single commits, of which the search knows nothing.
    pub(super) probed: Vec<(Probe, Tried)>,
    pub(super) wanted: Wanted,
    pub(super) step: Step<InputPath, AttrPath>,
}

impl Searched {
    /// The run of all hosts with these inputs moved.
    pub(super) fn whole(&self, moved: &Inputs) -> Option<&Tried> {
        self.tried.iter().rfind(|it| it.trial.moved == *moved && it.hosts.is_none())
    }
}

/// What the pull request is about: what may move, and where the policy opens one whatever breaks,
/// everything.
pub(super) fn candidate(
    found: &Found<InputPath, AttrPath>,
    plan: &Plan,
    policy: &UpdatePolicy,
) -> Inputs {
    match policy.open {
        Open::Always if found.moved.is_empty() => plan.moving.clone(),
        Open::Green | Open::Evaluated | Open::Always => found.moved.clone(),
    }
}

impl Attempt {
    fn of(plan: &Plan, moved: &Inputs, hosts: Hosts<AttrPath>) -> Self {
        let lock = plan.old.with(&plan.new, moved);
        Self { moved: moved.clone(), hosts, lock, probe: None }
    }
}

impl Updates {
    pub(super) async fn search(
        &self,
        update: Update,
        plan: &Plan,
        repository: &Repository,
        stop: &CancellationToken,
    ) -> Result<Next, Halted> {
        let policies = self.policy(plan, repository, stop).await?;
        let policy = &policies.update;
        let searched = self.searched(&update, plan, policy).await?;
        let found = match &searched.step {
            Step::Try(Trial { moved, hosts }) => {
                let attempt = Attempt::of(plan, moved, hosts.clone());
                return self.begin(update, plan, (attempt, &searched), repository, stop).await;
            }
            Step::Done(found) => found,
        };
        if !found.unknown.is_empty() && policy.open != Open::Always {
            let hosts =
                found.unknown.iter().map(|it| it.label().unwrap_or_else(|_| it.to_string()));
            let hosts = hosts.collect::<Vec<_>>().join(", ");
            let what = format!("the weather kept it from being known what becomes of {hosts}");
            if update.round < MOST_ROUNDS {
                return Ok(Next::with(update.again(what)?).after(AFTER_WEATHER));
            }
            return Err(Halted::Cannot(what));
        }
        let (known, by) = ((&searched, found), (&policies, repository));
        if let Some(next) = self.bisect(&update, plan, known, by, stop).await? {
            return Ok(next);
        }
        let moved = candidate(found, plan, policy);
        if moved.is_empty() {
            let report = words::report(plan, &searched, found);
            let ended = update.end(Outcome::HeldBack, self.now())?;
            return Ok(Next::with(ended).report(report));
        }
        if searched.whole(&moved).is_none() {
            // For the pull request: what changes on every host, also on those that nobody requires.
            let attempt = Attempt::of(plan, &moved, Hosts::All);
            return self.begin(update, plan, (attempt, &searched), repository, stop).await;
        }
        Ok(Next::with(update.propose()?))
    }

    /// Goes through everything that was tried so far.
    pub(super) async fn searched(
        &self,
        update: &Update,
        plan: &Plan,
        policy: &UpdatePolicy,
    ) -> Result<Searched, Halted> {
        let all = self.shared.store.trials(&update.id).await?;
        let count = all.len();
        let (mut tried, mut probed) = (Vec::new(), Vec::new());
        for it in all.into_iter().filter(|it| it.trial.round == update.round) {
            match it.trial.probe.clone() {
                None => tried.push(it),
                Some(probe) => probed.push((probe, it)),
            }
        }
        let wanted = match policy.open {
            Open::Evaluated => Wanted::Evaluated,
            Open::Green | Open::Always => Wanted::Built,
        };
        let mut search = Search::new(plan.moving.clone(), aim(policy.hold_back));
        for it in &tried {
            let asked = it.hosts.as_ref().unwrap_or(&plan.required);
            let answers = answer::of_run(&it.run, &it.builds, asked, wanted);
            let answers = answers.into_iter().map(|(host, (outcome, _))| (host, outcome)).collect();
            let hosts = match &it.hosts {
                Some(hosts) => Hosts::These(hosts.clone()),
                None if it.trial.moved == plan.moving => Hosts::All,
                None => Hosts::These(plan.required.clone()),
            };
            search.learn(Trial { moved: it.trial.moved.clone(), hosts }, answers);
        }
        let step = search.next();
        Ok(Searched { tried, count, probed, wanted, step })
    }

    /// A run of this lock file.
    pub(super) async fn begin(
        &self,
        update: Update,
        plan: &Plan,
        (attempt, searched): (Attempt, &Searched),
        repository: &Repository,
        stop: &CancellationToken,
    ) -> Result<Next, Halted> {
        let Attempt { moved, hosts, lock, probe } = attempt;
        let lock = lock.text().map_err(CopyError::from)?;
        self.commits.fetch(repository, &plan.base, stop).await?;
        let file = (plan.path.as_str(), lock.as_str());
        let sha = self.commits.with_file(repository, (&plan.base, file), stop).await?;
        let nth = u32::try_from(searched.count).unwrap_or(u32::MAX).saturating_add(1);
        let now = self.now();
        let run = Run {
            id: new_id(),
            repository: update.repository,
            sha,
            reason: Reason::Update { update: update.id.clone(), nth },
            base: Some(plan.base.clone()),
            occurred_at: now,
            created_at: now,
            problem: None,
            waits: None,
            trust: Trust::Trusted,
            approval: Approval::NotNeeded,
            base_branch: None,
            merge: None,
            skip: Skip::Heeded,
            lock: None,
            note: None,
            state: RunState::Requested,
        };
        let mut names: Vec<String> = moved.iter().map(ToString::to_string).collect();
        names.extend(probe.iter().map(|it| format!("{} at {}", it.input, it.commit.short())));
        tracing::info!(
            update.id = %update.id,
            run.id = %run.id,
            "update {} tries {} in run {}, after {} others",
            update.id,
            if names.is_empty() { "nothing moved".to_owned() } else { names.join(", ") },
            run.id,
            searched.count
        );
        let facts = TrialFacts {
            base: plan.base.clone(),
            path: plan.path.clone(),
            lock,
            hosts: match hosts {
                Hosts::All => None,
                Hosts::These(hosts) => Some(hosts),
            },
        };
        let trial = NewTrial { nth, round: update.round, moved, probe };
        let update = Update { note: None, tries: 0, ..update };
        Ok(Next { trial: Some((run, trial, facts)), ..Next::with(update) })
    }
}
