//! One set of inputs moved, and what becomes of the hosts.
use std::collections::{BTreeMap, BTreeSet, HashMap};

use tokio_util::sync::CancellationToken;

use crate::domain::build::{Ending, Required};
use crate::domain::id::{AttrPath, DrvPath};
use crate::domain::lock::Lock;
use crate::domain::lock::moved::InputPath;
use crate::domain::lock::revision::Revision;
use crate::domain::plan::Plan;
use crate::domain::policy::Policy;
use crate::domain::update::answer::{self, Wanted};
use crate::domain::update::outcome::{Broken, Held, HeldBack, Move};
use crate::domain::update::search::{Found, Hosts, Outcome, Trial, Why};
use crate::flow::check::work::Work;
use crate::flow::check::{self, CheckEvent, CheckRequest, CheckedHost};
use crate::flow::evaluate::Tools;
use crate::flow::update::copy::{Copy, CopyError};
use crate::flow::update::{UpdateError, UpdateEvent, UpdateReport};
use crate::nix::eval::EvalError;
use crate::nix::flake::Pinned;

/// Tries sets of inputs, and remembers what came of them.
pub(super) struct Trials<'a> {
    request: &'a CheckRequest,
    tools: &'a Tools,
    policy: &'a Policy,
    copy: &'a Copy,
    locks: (&'a Lock, &'a Lock),
    required: BTreeSet<AttrPath>,
    /// Derivations that did not build: another set that has them too need not try again.
    failed: HashMap<DrvPath, Ending>,
    /// Why hosts were not whole, by what had moved.
    reasons: BTreeMap<(AttrPath, BTreeSet<InputPath>), Broken>,
    only_evaluated: BTreeMap<AttrPath, String>,
    tries: usize,
}

impl<'a> Trials<'a> {
    pub(super) fn new(
        request: &'a CheckRequest,
        tools: &'a Tools,
        policy: &'a Policy,
        copy: &'a Copy,
        locks: (&'a Lock, &'a Lock),
    ) -> Self {
        Self {
            request,
            tools,
            policy,
            copy,
            locks,
            required: BTreeSet::new(),
            failed: HashMap::new(),
            reasons: BTreeMap::new(),
            only_evaluated: BTreeMap::new(),
            tries: 0,
        }
    }

    /// Lists the hosts that decide: those that the flake requires with nothing moved.
    pub(super) async fn list(&mut self, stop: &CancellationToken) -> Result<(), UpdateError> {
        let planned = self.plan(&BTreeSet::new(), stop).await?;
        let (_, plan) = planned.map_err(|error| check::of_flake(&self.request.flake, error))?;
        if let Some(problem) = plan.problem {
            return Err(UpdateError::Gate(problem.headline));
        }
        let required = plan.builds.into_iter().filter(|it| it.required == Required::Required);
        self.required = required.map(|it| it.attr).collect();
        Ok(())
    }

    /// What becomes of every host that was asked for.
    pub(super) async fn run(
        &mut self,
        trial: &Trial<InputPath, AttrPath>,
        events: &mut (dyn FnMut(UpdateEvent) + Send),
        stop: &CancellationToken,
    ) -> Result<BTreeMap<AttrPath, Outcome>, UpdateError> {
        let Trial { moved, hosts } = trial;
        let wanted = match hosts {
            Hosts::All => &self.required,
            Hosts::These(hosts) => hosts,
        };
        let wanted = wanted.clone();
        self.tries += 1;
        let (nth, hosts) = (self.tries, wanted.len());
        events(UpdateEvent::Trying { nth, moved: moved.clone(), hosts });
        let (pinned, mut plan) = match self.plan(moved, stop).await? {
            Ok(planned) => planned,
            // Nothing can be listed: whatever it is, it is so for each host.
            Err(EvalError::Cancelled) => return Err(UpdateError::Stopped),
            Err(error) => {
                let outcome = match &error {
                    EvalError::Flake(_) | EvalError::Limit(_) | EvalError::Memory(_) => {
                        Outcome::Failed
                    }
                    EvalError::AnotherCommit { .. }
                    | EvalError::Weather(_)
                    | EvalError::Cancelled
                    | EvalError::Operator(_) => Outcome::Unknown,
                };
                let why = Broken::Said(error.to_string());
                return Ok(wanted
                    .into_iter()
                    .map(|it| {
                        self.reasons.insert((it.clone(), moved.clone()), why.clone());
                        (it, outcome)
                    })
                    .collect());
            }
        };
        plan.builds.retain(|it| wanted.contains(&it.attr));
        let report = self.check(&pinned, plan, events, stop).await?;
        let mut results = BTreeMap::new();
        for attr in wanted {
            let host = report.iter().find(|it| it.attr == attr);
            let (outcome, why) = self.judge(&attr, host);
            if let Some(why) = why {
                self.reasons.insert((attr.clone(), moved.clone()), why);
            }
            results.insert(attr, outcome);
        }
        Ok(results)
    }

    /// Evaluates and builds hosts.
    async fn check(
        &mut self,
        pinned: &Pinned,
        plan: Plan,
        events: &mut (dyn FnMut(UpdateEvent) + Send),
        stop: &CancellationToken,
    ) -> Result<Vec<CheckedHost>, UpdateError> {
        let mut tell = |it| events(UpdateEvent::Check(it));
        let listed = plan.builds.iter().map(|it| (it.attr.clone(), it.label.clone(), it.required));
        tell(CheckEvent::Listed(listed.collect()));
        let scratch = &self.request.scratch;
        let logs = tempfile::tempdir_in(scratch)
            .map_err(|source| CopyError::Io { path: scratch.clone(), source })?;
        let mut work = Work::new(self.request, self.tools, logs.path(), plan.builds);
        work.knows(&self.failed);
        work.run(pinned, &mut tell, stop).await;
        let report = work.report(&self.request.flake, None, None, stop);
        if stop.is_cancelled() {
            return Err(UpdateError::Stopped);
        }
        for host in &report.hosts {
            if let (
                Some(derivation),
                Some(ending @ (Ending::BuildFailed(_) | Ending::TimedOut(_))),
            ) = (&host.derivation, &host.ending)
            {
                self.failed.insert(derivation.path.clone(), ending.clone());
            }
        }
        Ok(report.hosts)
    }

    /// What a host says about the inputs that had moved, and why it is not whole.
    fn judge(&mut self, attr: &AttrPath, host: Option<&CheckedHost>) -> (Outcome, Option<Broken>) {
        let Some(host) = host else {
            return (Outcome::Failed, Some(Broken::Said("the flake has it no more".to_owned())));
        };
        match (&host.ending, &host.waiting) {
            // No builder of this machine does its system: that it evaluates is all there is to know.
            (None, Some(_)) => {
                let system = host.system.clone().unwrap_or_default();
                self.only_evaluated.insert(attr.clone(), system);
                (Outcome::Passed, None)
            }
            (None, None) => (Outcome::Unknown, Some(Broken::Said("it was not done".to_owned()))),
            (Some(ending), _) => {
                let outcome = answer::outcome(ending, Wanted::Built);
                (outcome, (outcome != Outcome::Passed).then(|| Broken::Ended(ending.clone())))
            }
        }
    }

    /// The hosts with these inputs moved; an inner error is the flake's or the weather's.
    async fn plan(
        &self,
        moved: &BTreeSet<InputPath>,
        stop: &CancellationToken,
    ) -> Result<Result<(Pinned, Plan), EvalError>, UpdateError> {
        let (old, new) = self.locks;
        self.copy.set_lock(&old.with(new, moved))?;
        let planned = async {
            let flake = self.copy.flake().flake();
            let pinned = self.tools.evaluator.pin(&flake, None, stop).await?;
            let plan = self.tools.plan((&pinned, None), self.policy, &[], stop).await?;
            Ok((pinned, plan))
        };
        Ok(planned.await)
    }

    pub(super) fn report(self, flake: &str, found: Found<InputPath, AttrPath>) -> UpdateReport {
        let Found { moved, held_back, broken_before, unknown } = found;
        let none = BTreeSet::new();
        let with_reason = |hosts: &BTreeSet<AttrPath>, moved: &BTreeSet<InputPath>| {
            let named = |it: &AttrPath| (it.clone(), self.reason(it, moved));
            hosts.iter().map(named).collect::<Vec<_>>()
        };
        let held_back = held_back.into_iter().map(|it| {
            let (held, with, hosts) = match it.why {
                Why::Breaks { with, hosts } => (Held::Guilty, with, hosts),
                Why::Unknown { hosts } => (Held::Unknown, BTreeSet::new(), hosts),
            };
            let mut all = with.clone();
            all.insert(it.input.clone());
            HeldBack {
                moved: self.moved(it.input),
                held,
                with: with.into_iter().collect(),
                hosts: with_reason(&hosts, &all),
                first_bad: None,
            }
        });
        UpdateReport {
            flake: flake.to_owned(),
            held_back: held_back.collect(),
            broken_before: with_reason(&broken_before, &none),
            unknown: with_reason(&unknown, &moved),
            moved: moved.into_iter().map(|it| self.moved(it)).collect(),
            not_found: vec![],
            left: vec![],
            only_evaluated: self.only_evaluated.clone().into_iter().collect(),
            tries: self.tries,
            written: None,
        }
    }

    fn moved(&self, input: InputPath) -> Move {
        let (old, new) = self.locks;
        let of = |lock: &Lock| lock.input(&input).map(Revision::of).unwrap_or_default();
        let (from, to) = (of(old), of(new));
        Move::new(input, from, to)
    }

    /// Why a host was not whole with these inputs moved, or with whatever else it was seen with.
    fn reason(&self, host: &AttrPath, moved: &BTreeSet<InputPath>) -> Broken {
        let exact = self.reasons.get(&(host.clone(), moved.clone()));
        let any = || self.reasons.iter().find(|((it, _), _)| it == host).map(|(_, why)| why);
        exact.or_else(any).cloned().unwrap_or_else(|| Broken::Said(String::new()))
    }
}
