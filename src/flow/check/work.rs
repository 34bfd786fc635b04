//! The hosts of a check on their way: evaluated, placed, built in slots, ended.
mod result;

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::Path;
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::domain::Timestamp;
use crate::domain::build::{
    self, Attempted, Build, BuildState, Derivation, Ending, Rebuild, Waiting, Warning,
};
use crate::domain::evaluation;
use crate::domain::id::{AttrPath, DrvPath, RunId, StorePath};
use crate::domain::plan::{self, Planned};
use crate::flow::check::{CheckEvent, CheckRequest};
use crate::flow::evaluate::Tools;
use crate::flow::hosts::{Evaluation, HostOutcome};
use crate::flow::new_id;
use crate::nix::eval::Evaluated;
use crate::nix::flake::Pinned;
use crate::nix::log::LogStore;
use crate::nix::machine::Machine;
use crate::nix::realise::{self, Progress, Wanted};
use crate::nix::worker::{BuildLimits, Worker, WorkerError};

/// The hosts under way.
pub(in crate::flow) struct Work<'a> {
    tools: &'a Tools,
    builds: Vec<Build>,
    labels: HashMap<AttrPath, Option<String>>,
    elapsed_ms: HashMap<AttrPath, i64>,
    warnings: HashMap<AttrPath, Vec<Warning>>,
    /// Who wants a derivation that is queued or being built: it is built once for all of them.
    wanted: HashMap<DrvPath, Vec<AttrPath>>,
    running: HashSet<DrvPath>,
    /// Derivations that are known not to build.
    failed: HashMap<DrvPath, Ending>,
    queue: VecDeque<Derivation>,
    slots: usize,
    machine: Machine,
    limits: BuildLimits,
    /// Attempts after the first.
    retries: u32,
    logs: Arc<LogStore>,
    idle: Vec<Worker>,
}

/// What comes back from a slot: the worker if it lives, the answer, milliseconds.
type Built = (Derivation, Option<Worker>, Attempted, i64);
/// Of a derivation: dependencies done, of so many.
type Counts = (DrvPath, u64, u64);

impl<'a> Work<'a> {
    pub(in crate::flow) fn new(
        request: &CheckRequest,
        tools: &'a Tools,
        logs: &Path,
        planned: Vec<Planned>,
    ) -> Self {
        let labels = planned.iter().map(|it| (it.attr.clone(), it.label.clone())).collect();
        let run: RunId = new_id();
        let builds = planned.into_iter().map(|it| Build {
            id: new_id(),
            run: run.clone(),
            attr: it.attr,
            required: it.required,
            attempts: 0,
            rebuild: Rebuild::IfMissing,
            state: BuildState::Listed { known: None },
        });
        Self {
            tools,
            builds: builds.collect(),
            labels,
            elapsed_ms: HashMap::new(),
            warnings: HashMap::new(),
            wanted: HashMap::new(),
            running: HashSet::new(),
            failed: HashMap::new(),
            queue: VecDeque::new(),
            slots: request.builders.iter().map(|it| it.slots).sum::<usize>().max(1),
            machine: request.machine(&tools.nix),
            limits: BuildLimits::from(&request.nix),
            retries: request.nix.retries,
            logs: Arc::new(LogStore::new(logs)),
            idle: Vec::new(),
        }
    }

    /// These derivations did not build; they are not tried again.
    pub(in crate::flow) fn knows(&mut self, failed: &HashMap<DrvPath, Ending>) {
        self.failed.clone_from(failed);
    }

    pub(in crate::flow) async fn run(
        &mut self,
        flake: &Pinned,
        events: &mut (dyn FnMut(CheckEvent) + Send),
        stop: &CancellationToken,
    ) {
        let attrs = self.builds.iter().map(|it| (it.attr.clone(), None));
        let evaluator = &self.tools.evaluator;
        let batches = evaluation::batches(attrs, evaluator.limits());
        let mut evaluation = Evaluation::new(evaluator, flake, batches, stop);
        let mut building = FuturesUnordered::new();
        let (counts, mut counted) = mpsc::unbounded_channel();
        let mut evaluated = false;
        loop {
            for attr in evaluation.started() {
                events(CheckEvent::Evaluating(attr));
            }
            while building.len() < self.slots && !stop.is_cancelled() {
                let Some(derivation) = self.queue.pop_front() else { break };
                for attr in self.wanted.get(&derivation.path).into_iter().flatten() {
                    events(CheckEvent::Building(attr.clone()));
                }
                self.running.insert(derivation.path.clone());
                building.push(self.start(derivation, counts.clone(), stop.clone()));
            }
            if evaluated && building.is_empty() {
                break;
            }
            tokio::select! {
                next = evaluation.next(), if !evaluated => match next {
                    None | Some(Err(_)) => evaluated = true,
                    Some(Ok(outcomes)) => self.evaluated(outcomes, events).await,
                },
                Some(built) = building.next(), if !building.is_empty() => {
                    self.built(built, events, stop);
                }
                Some((drv, done, expected)) = counted.recv() => {
                    for attr in self.wanted.get(&drv).into_iter().flatten() {
                        events(CheckEvent::Counts { attr: attr.clone(), done, expected });
                    }
                }
            }
        }
        for worker in self.idle.drain(..) {
            worker.stop().await;
        }
    }

    /// One derivation in one slot.
    fn start(
        &mut self,
        derivation: Derivation,
        counts: mpsc::UnboundedSender<Counts>,
        stop: CancellationToken,
    ) -> impl Future<Output = Built> + use<> {
        let mut idle = self.idle.pop();
        let (machine, logs, limits) = (self.machine.clone(), self.logs.clone(), self.limits);
        async move {
            let since = Instant::now();
            let elapsed = || i64::try_from(since.elapsed().as_millis()).unwrap_or(i64::MAX);
            let weather = |what: String| Attempted::Weather(what);
            let mut worker = match machine.worker(&mut idle).await {
                Ok(worker) => worker,
                Err(error) => {
                    return (derivation, None, weather(machine.told(&error)), elapsed());
                }
            };
            if let Err(words) = machine.bring(std::iter::once(&derivation.path), &stop).await {
                return (derivation, Some(worker), weather(words), elapsed());
            }
            let log = match logs.create(&new_id()) {
                Ok(log) => log,
                Err(error) => {
                    return (derivation, Some(worker), weather(error.to_string()), elapsed());
                }
            };
            let mut observe = |progress: Progress<'_>| {
                if let Progress::Counts { done, expected, .. } = progress {
                    // The receiver lives as long as any slot does.
                    counts.send((derivation.path.clone(), done, expected)).unwrap_or_default();
                }
            };
            let wanted = vec![Wanted { derivation: derivation.clone(), log }];
            let answers = realise::realise(&mut worker, wanted, &limits, &mut observe, &stop).await;
            let answer = answers.into_iter().next().map(|(_, it)| it);
            let mut answer = answer.unwrap_or_else(|| weather("no answer".to_owned()));
            if matches!(&answer, Attempted::Answered(ending) if ending.is_good()) {
                let outputs: Vec<StorePath> = derivation.outputs.values().cloned().collect();
                if let Err(words) = machine.take_back(&outputs, &mut None, &stop).await {
                    answer = weather(words);
                }
            }
            if worker.is_alive() {
                return (derivation, Some(worker), answer, elapsed());
            }
            worker.stop().await;
            (derivation, None, answer, elapsed())
        }
    }

    async fn evaluated(
        &mut self,
        outcomes: Vec<HostOutcome>,
        events: &mut (dyn FnMut(CheckEvent) + Send),
    ) {
        for outcome in outcomes {
            match outcome {
                HostOutcome::Failed { attr, ending, warnings } => {
                    self.warnings.insert(attr.clone(), warnings);
                    self.end(&attr, ending, 0, events);
                }
                HostOutcome::Evaluated(Evaluated {
                    attr,
                    derivation,
                    elapsed_ms,
                    warnings,
                    ..
                }) => {
                    self.warnings.insert(attr.clone(), warnings);
                    let elapsed_ms = i64::try_from(elapsed_ms).unwrap_or(i64::MAX);
                    *self.elapsed_ms.entry(attr.clone()).or_default() += elapsed_ms;
                    events(CheckEvent::Evaluated(attr.clone(), derivation.clone(), elapsed_ms));
                    self.place(attr, derivation, events).await;
                }
            }
        }
    }

    /// Reuses what is built, queues what can be, and leaves the rest waiting with its reason.
    async fn place(
        &mut self,
        attr: AttrPath,
        derivation: Derivation,
        events: &mut (dyn FnMut(CheckEvent) + Send),
    ) {
        if let Some(ending) = self.failed.get(&derivation.path).cloned() {
            return self.end(&attr, ending, 0, events);
        }
        let waiting = plan::placement(&derivation, &self.tools.builders.capabilities());
        self.step(&attr, |state| {
            state.wait(derivation.clone(), waiting.clone(), Timestamp::default())
        });
        match self.is_built(&derivation).await {
            Ok(true) => return self.end(&attr, Ending::Reused, 0, events),
            Ok(false) => events(CheckEvent::Waiting(attr.clone(), waiting.clone())),
            Err(error) => {
                let what = format!("the Nix store did not answer: {error}");
                return self.end(&attr, Ending::Transient { what }, 0, events);
            }
        }
        match waiting {
            Waiting::Slot | Waiting::Retry { .. } => self.want(attr, derivation, events),
            // No time brings a builder here: it is shown with its reason.
            Waiting::NoBuilder { .. } | Waiting::NoFeatures { .. } => {}
        }
    }

    async fn is_built(&mut self, derivation: &Derivation) -> Result<bool, WorkerError> {
        let mut worker = self.machine.worker(&mut self.idle.pop()).await?;
        let outputs: Vec<StorePath> = derivation.outputs.values().cloned().collect();
        let valid = worker.valid_paths(&outputs).await?;
        self.idle.push(worker);
        Ok(!outputs.is_empty() && outputs.iter().all(|it| valid.contains(it)))
    }

    fn want(
        &mut self,
        attr: AttrPath,
        derivation: Derivation,
        events: &mut (dyn FnMut(CheckEvent) + Send),
    ) {
        if self.running.contains(&derivation.path) {
            events(CheckEvent::Building(attr.clone()));
        }
        let wanted = self.wanted.entry(derivation.path.clone()).or_default();
        wanted.push(attr);
        if wanted.len() == 1 {
            self.queue.push_back(derivation);
        }
    }

    fn built(
        &mut self,
        (derivation, worker, answer, elapsed_ms): Built,
        events: &mut (dyn FnMut(CheckEvent) + Send),
        stop: &CancellationToken,
    ) {
        self.idle.extend(worker);
        self.running.remove(&derivation.path);
        let attrs = self.wanted.remove(&derivation.path).unwrap_or_default();
        for attr in &attrs {
            *self.elapsed_ms.entry(attr.clone()).or_default() += elapsed_ms;
        }
        match answer {
            Attempted::Answered(ending) => {
                for attr in &attrs {
                    self.end(attr, ending.clone(), elapsed_ms, events);
                }
            }
            Attempted::Weather(_) if stop.is_cancelled() => {}
            Attempted::Weather(what) => self.again(derivation, attrs, &what, elapsed_ms, events),
        }
    }

    /// Weather: another attempt for each host that has not had its share.
    fn again(
        &mut self,
        derivation: Derivation,
        attrs: Vec<AttrPath>,
        what: &str,
        elapsed_ms: i64,
        events: &mut (dyn FnMut(CheckEvent) + Send),
    ) {
        let mut left = Vec::new();
        for attr in attrs {
            let build = self.builds.iter_mut().find(|it| it.attr == attr);
            let attempts = build.map_or(u32::MAX, |it| {
                it.attempts += 1;
                it.attempts
            });
            if attempts <= self.retries {
                events(CheckEvent::Note(format!("{attr}: {what}; trying again")));
                left.push(attr);
            } else {
                self.end(&attr, Ending::Transient { what: what.to_owned() }, elapsed_ms, events);
            }
        }
        if !left.is_empty() {
            self.wanted.insert(derivation.path.clone(), left);
            self.queue.push_back(derivation);
        }
    }

    fn end(
        &mut self,
        attr: &AttrPath,
        ending: Ending,
        elapsed_ms: i64,
        events: &mut (dyn FnMut(CheckEvent) + Send),
    ) {
        events(CheckEvent::Ended(attr.clone(), ending.clone(), elapsed_ms));
        self.step(attr, |state| state.end(ending, Timestamp::default()));
    }

    fn step(
        &mut self,
        attr: &AttrPath,
        step: impl FnOnce(BuildState) -> Result<(BuildState, build::BuildEvent), build::Refused>,
    ) {
        if let Some(build) = self.builds.iter_mut().find(|it| it.attr == *attr)
            && let Ok((state, _)) = step(build.state.clone())
        {
            build.state = state;
        }
    }
}
