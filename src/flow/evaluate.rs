//! A run → its builds: the commit is fetched, its policy read, its hosts listed and evaluated.
mod interrupted;
mod skip;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::domain::build::{Build, BuildState, Derivation, Ending, Required, Warning};
use crate::domain::evaluation;
use crate::domain::id::{AttrPath, BuildId};
use crate::domain::plan::{self, Plan};
use crate::domain::policy::Policy;
use crate::domain::verdict::{Problem, Verdict};
pub(super) use crate::flow::evaluate::interrupted::Interrupted;
use crate::flow::hosts::Evaluation;
use crate::flow::look::Builders;
use crate::flow::place::{self, By, Placing};
use crate::flow::schedule;
use crate::flow::shared::Shared;
use crate::flow::source::{Commits, SourceError};
use crate::flow::subject::{Finder, Subject};
use crate::flow::{Stage, Step, insight, new_id};
use crate::nix::Nix;
use crate::nix::eval::{EvalError, Evaluator};
use crate::nix::flake::Pinned;
use crate::nix::roots::Roots;
use crate::store::facts::RunFacts;
use crate::store::runs::{self, EvaluationOutcome, NewBuild};
use crate::store::{RunClaim, StoreError};

/// A claim is renewed three times before it would be lost; work of whoever died is claimed again
/// within a minute, the sweep's period included.
pub const LEASE: Duration = Duration::from_secs(40);

/// What evaluations are made with; shared by the lanes, and by `check`.
pub struct Tools {
    pub nix: Nix,
    pub evaluator: Evaluator,
    pub builders: Arc<Builders>,
}

/// What a flake has of what the policy wants.
pub(super) type Listed = Result<Vec<AttrPath>, EvalError>;

/// One lane: evaluates a run at a time. The evaluator limits processes across lanes.
pub struct Evaluate {
    shared: Arc<Shared>,
    tools: Arc<Tools>,
    commits: Commits,
    placing: Placing,
}

impl Stage for Evaluate {
    const NAME: &'static str = "evaluate";
    type Error = StoreError;

    async fn step(&self, stop: &CancellationToken) -> Result<Step, StoreError> {
        let now = self.shared.clock.now();
        let claimed = self.shared.store.claim_run(&self.shared.owner, now, millis(LEASE)).await?;
        let Some((claim, moved)) = claimed else { return Ok(Step::Idle) };
        self.shared.wakeups.tell(&moved);
        let work = stop.child_token();
        let result = tokio::select! {
            result = self.evaluate(&claim, &work) => result,
            lost = self.keep_claim(&claim) => {
                // Dropping the evaluation ends its processes.
                work.cancel();
                lost
            }
        };
        match result {
            // Stopped: the next start finds the claim under our name and begins again.
            Ok(()) | Err(Interrupted::Stopped | Interrupted::Source(SourceError::Cancelled)) => {}
            Err(Interrupted::Store(StoreError::ClaimLost(_))) => {
                tracing::info!(run.id = %claim.run(), "run {} is no longer ours to evaluate", claim.run());
            }
            Err(Interrupted::Store(error)) => return Err(error),
            Err(Interrupted::Source(error)) => self.could_not(claim, error).await?,
        }
        Ok(Step::Worked)
    }
}

impl Evaluate {
    pub fn new(
        shared: Arc<Shared>,
        tools: Arc<Tools>,
        commits: Commits,
        roots: Arc<Roots>,
    ) -> Self {
        let placing = Placing::new(tools.clone(), roots);
        Self { shared, tools, commits, placing }
    }

    async fn evaluate(
        &self,
        claim: &RunClaim,
        stop: &CancellationToken,
    ) -> Result<(), Interrupted> {
        let store = &self.shared.store;
        let mut facts = store.run_facts(claim).await?;
        let (commits, evaluator) = (&self.commits, &self.tools.evaluator);
        let Subject { policy, flake: pinned, mirror: _held, merge, listed, skip, lock } =
            Finder { commits, evaluator, stop }.find(&facts).await?;
        let tested = (merge.as_ref(), pinned.source.clone());
        let origin = insight::origin(&self.commits, &facts, tested, stop).await?;
        let identity = evaluator.identity(&pinned).await?;
        let (repository, now) = (facts.run.repository, self.shared.clock.now());
        let schedule = policy.update.schedule.as_ref();
        let next_update = schedule.and_then(|it| schedule::next(it, repository, now));
        let subject = runs::Subject {
            merge: merge.as_ref(),
            compared_with: origin.compared_with.as_ref(),
            existing: policy.gate.existing_failures,
            evaluation: identity.as_deref(),
            lock,
            next_update: next_update.as_ref(),
        };
        store.set_subject(claim, &subject, self.shared.clock.now()).await?;
        store.set_origin(claim, &origin, self.shared.clock.now()).await?;
        let known = facts.against.base.as_ref().map(|it| &it.sha);
        if merge != facts.run.merge || origin.compared_with.as_ref() != known {
            // It is judged against what it is compared with.
            facts = store.run_facts(claim).await?;
        }
        self.placing.hold_sources(&pinned).await?;
        let of = (&pinned, listed);
        let plan = self.tools.plan(of, &policy, &facts.base_required(), stop).await;
        if let Some(by) = skip {
            return self.skip(claim, plan, by).await;
        }
        let mut plan = plan?;
        if let Some(hosts) = facts.trial.as_ref().and_then(|it| it.hosts.as_ref()) {
            // The others are not asked for, whatever the policy says of them.
            plan.builds.retain(|it| hosts.contains(&it.attr));
            plan.problem = None;
        }
        if plan.builds.is_empty() {
            // Ended at once: a gate that shows its end can be clicked, and a run that has not ended
            // is not begun again.
            return self.end_without_builds(claim, plan).await;
        }
        let moved =
            store.set_problem(claim, plan.problem.as_ref(), self.shared.clock.now()).await?;
        self.shared.wakeups.tell(&moved);
        let builds = plan.builds.into_iter().map(new_build).collect();
        let (builds, moved) = store.list_builds(claim, builds, self.shared.clock.now()).await?;
        self.shared.wakeups.tell(&moved);
        let since = Instant::now();
        self.evaluate_builds(claim, &facts, &pinned, &builds, stop).await?;
        tracing::info!(
            run.id = %claim.run(),
            duration_ms = since.elapsed().as_millis(),
            "evaluated {} hosts of {}/{} at {}",
            builds.len(),
            facts.repository.owner,
            facts.repository.name,
            facts.run.sha.short()
        );
        let moved = store.finish_evaluation(claim, self.shared.clock.now()).await?;
        self.shared.wakeups.tell(&moved);
        Ok(())
    }

    async fn end_without_builds(&self, claim: &RunClaim, plan: Plan) -> Result<(), Interrupted> {
        let verdict = plan.problem.map_or(Verdict::Failed, |problem| Verdict::Broken { problem });
        self.end(claim, verdict).await?;
        Ok(())
    }

    /// Ends a run that its builds do not decide.
    async fn end(&self, claim: &RunClaim, verdict: Verdict) -> Result<(), StoreError> {
        let left = Ending::Transient { what: "it was not evaluated: see the gate".to_owned() };
        let now = self.shared.clock.now();
        let moved = self.shared.store.end_run(claim, verdict, left, now).await?;
        self.shared.wakeups.tell(&moved);
        Ok(())
    }

    async fn evaluate_builds(
        &self,
        claim: &RunClaim,
        facts: &RunFacts,
        flake: &Pinned,
        builds: &[Build],
        stop: &CancellationToken,
    ) -> Result<(), Interrupted> {
        // After a crash some are evaluated already, and of those that are built again some are
        // known from before, as is what another run has evaluated.
        let listed = |it: &&Build| matches!(it.state, BuildState::Listed { .. });
        let (store, trust) = (&self.shared.store, facts.run.trust);
        let before = store.evaluated_before(claim).await?;
        let failed = store.failed_needs(self.shared.clock.now()).await?;
        let able = store.capabilities().await?;
        let by = By { trust, failed: &failed, able: &able };
        let known = builds.iter().filter(listed).filter_map(|it| known(it, &before)).collect();
        let known = self.placing.known(known, &by).await?;
        let placed: HashSet<&BuildId> = known.iter().map(|it| &it.build).collect();
        let todo = builds.iter().filter(listed).filter(|it| !placed.contains(&it.id));
        let todo: HashMap<&AttrPath, &Build> = todo.map(|it| (&it.attr, it)).collect();
        self.note(claim, known).await?;
        let attrs = builds.iter().map(|it| &it.attr).filter(|attr| todo.contains_key(*attr));
        let known = attrs.map(|attr| (attr.clone(), facts.known.get(attr).copied()));
        let evaluator = &self.tools.evaluator;
        let batches = evaluation::batches(known, evaluator.limits());
        let mut evaluation = Evaluation::new(evaluator, flake, batches, stop);
        while let Some(outcomes) = evaluation.next().await {
            let outcomes = outcomes.map_err(|_| Interrupted::Stopped)?;
            let failed = store.failed_needs(self.shared.clock.now()).await?;
            let able = store.capabilities().await?;
            let by = By { trust, failed: &failed, able: &able };
            let placed = self.placing.look_up(outcomes, &todo, &by).await?;
            self.note(claim, placed).await?;
        }
        Ok(())
    }

    async fn note(
        &self,
        claim: &RunClaim,
        outcomes: Vec<EvaluationOutcome>,
    ) -> Result<(), StoreError> {
        if !outcomes.is_empty() {
            let now = self.shared.clock.now();
            self.shared.wakeups.tell(&self.shared.store.evaluated(claim, outcomes, now).await?);
        }
        Ok(())
    }

    /// Renews the claim until it is lost: superseded, or taken over.
    async fn keep_claim(&self, claim: &RunClaim) -> Result<(), Interrupted> {
        loop {
            let cancelled = self.shared.wakeups.cancelled.notified();
            self.shared.store.renew_run(claim, self.shared.clock.now()).await?;
            tokio::select! {
                () = cancelled => {}
                () = tokio::time::sleep(LEASE / 3) => {}
            }
        }
    }

    /// The run as a whole could not be evaluated: its author is told, or it is tried again.
    async fn could_not(&self, claim: RunClaim, error: SourceError) -> Result<(), StoreError> {
        let now = self.shared.clock.now();
        let store = &self.shared.store;
        let problem = match error {
            SourceError::Cancelled => return Ok(()),
            SourceError::Weather { what, retry_after } => {
                let patience = Duration::from_secs(5 << claim.tries().min(6));
                let wait = retry_after.unwrap_or(patience);
                tracing::warn!(run.id = %claim.run(), "run {} will be evaluated again in {wait:?}: {what}", claim.run());
                let moved = store.release_run(claim, &what, now.plus(millis(wait)), now).await?;
                self.shared.wakeups.tell(&moved);
                return Ok(());
            }
            SourceError::Author(problem) => problem,
            SourceError::Internal { number } => Problem {
                headline: format!("a fault of fleetcheck's own, number {number}"),
                detail: "Nothing is wrong with this commit as far as is known; the operator of \
                         this fleetcheck finds the cause under that number in its log."
                    .to_owned(),
                place: None,
            },
        };
        self.end(&claim, Verdict::Broken { problem }).await
    }
}

impl Tools {
    /// Lists what the flake has of what the policy wants, unless that is known, and plans its builds.
    pub async fn plan(
        &self,
        (flake, listed): (&Pinned, Option<Listed>),
        policy: &Policy,
        base: &[String],
        stop: &CancellationToken,
    ) -> Result<Plan, EvalError> {
        let (outputs, exclude) = (&policy.build.outputs, &policy.build.exclude);
        let listed = match listed {
            Some(listed) => listed,
            None => self.evaluator.list(flake, outputs, exclude, stop).await,
        }?;
        let required = match &policy.gate.required_from {
            Some(attr) => {
                let names = self.evaluator.names(flake, attr, stop).await;
                Some(names.map_err(of_required_from)?)
            }
            None => None,
        };
        Ok(plan::make(&listed, policy, required.as_deref(), base))
    }
}

impl RunFacts {
    /// The labels that the commit before had and required.
    fn base_required(&self) -> Vec<String> {
        let hosts = self.against.base.iter().flat_map(|it| &it.hosts);
        hosts
            .filter(|(_, it)| it.required == Required::Required)
            .filter_map(|(attr, _)| attr.label().ok())
            .collect()
    }
}

/// The derivation of a build, and what it warned of where that is not noted yet.
fn known<'a>(
    build: &'a Build,
    before: &'a HashMap<AttrPath, (Derivation, Vec<Warning>)>,
) -> Option<place::Known<'a>> {
    match &build.state {
        BuildState::Listed { known: Some(derivation) } => Some((build, derivation, &[])),
        BuildState::Listed { known: None } => {
            before.get(&build.attr).map(|(derivation, warnings)| (build, derivation, &warnings[..]))
        }
        BuildState::Waiting { .. } | BuildState::Building { .. } | BuildState::Ended { .. } => None,
    }
}

fn new_build(planned: plan::Planned) -> NewBuild {
    let plan::Planned { attr, label, required } = planned;
    NewBuild { id: new_id(), attr, label, required }
}

pub(super) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// An error of the flake, with the key of the policy that asked.
fn of_required_from(error: EvalError) -> EvalError {
    match error {
        EvalError::Flake(mut failure) => {
            failure.headline = format!("gate.required_from: {}", failure.headline);
            EvalError::Flake(failure)
        }
        error @ (EvalError::Limit(_)
        | EvalError::Memory(_)
        | EvalError::AnotherCommit { .. }
        | EvalError::Weather(_)
        | EvalError::Cancelled
        | EvalError::Operator(_)) => error,
    }
}
