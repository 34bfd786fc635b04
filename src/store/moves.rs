//! The one place that writes a life's new state, and notes who must hear of it.
mod relisted;
mod written;

use std::collections::{BTreeMap, BTreeSet};

use sqlx::AnyConnection;

use crate::domain::Timestamp;
use crate::domain::build::{Build, BuildState, Derivation, Ending, Waiting};
use crate::domain::id::{AttemptId, BuildId, RunId};
use crate::domain::run::{Run, RunState};
use crate::domain::verdict::{Verdict, judge};
use crate::store::base;
use crate::store::bump::{self, Pace};
use crate::store::error::{Result, StoreError};
use crate::store::insights::{self, Outlook};
use crate::store::moves::written::{save_build, save_run};
use crate::store::rows::{self, build_columns, run_columns};

pub use crate::store::event::{Event, Moved};

/// A move of a build's life.
pub(super) enum BuildStep {
    Wait(Derivation, Waiting),
    Reuse(Derivation),
    Start(AttemptId),
    Retry(Waiting),
    End(Ending),
}

/// A move of a run's life.
pub(super) enum RunStep {
    Evaluate,
    Evaluated,
    End(Verdict),
    Revive,
    /// Somebody asked for it.
    Again,
    /// Its base changed.
    Rejudge,
    Approve,
    /// Its repository is back.
    Resume,
    /// Some of its builds wait where nobody builds them.
    Elsewhere,
}

/// The moves of one transaction. [`Ledger::close`] draws the consequences: runs whose last
/// required build ended get their verdict, and every report that shows something moved is bumped.
pub(super) struct Ledger {
    now: Timestamp,
    builds: BTreeMap<BuildId, Pace>,
    runs: BTreeMap<RunId, Pace>,
    /// Runs whose hosts, or which themselves, have an ending now: others are compared with them.
    answered: BTreeSet<RunId>,
    ended: BTreeSet<RunId>,
    moved: Moved,
}

impl Ledger {
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            now,
            builds: BTreeMap::new(),
            runs: BTreeMap::new(),
            answered: BTreeSet::new(),
            ended: BTreeSet::new(),
            moved: Moved::default(),
        }
    }

    pub(super) fn note(&mut self, event: Event) {
        self.moved.note(event);
    }

    /// The run's page says something new.
    pub(super) fn touch(&mut self, run: &RunId, pace: Pace) {
        let entry = self.runs.entry(run.clone()).or_insert(pace);
        *entry = (*entry).max(pace);
    }

    /// Moves a build and writes its new state.
    pub(super) async fn build(
        &mut self,
        tx: &mut AnyConnection,
        mut build: Build,
        step: BuildStep,
    ) -> Result<Build> {
        let now = self.now;
        let was_building = matches!(build.state, BuildState::Building { .. });
        let (state, _) = match step {
            BuildStep::Wait(derivation, for_what) => build.state.wait(derivation, for_what, now),
            BuildStep::Reuse(derivation) => build.state.reuse(derivation, now),
            BuildStep::Start(attempt) => {
                build.attempts += 1;
                build.state.start(attempt, now)
            }
            BuildStep::Retry(for_what) => build.state.retry(for_what, now),
            BuildStep::End(ending) => build.state.end(ending, now),
        }?;
        build.state = state;
        save_build(tx, &build, now).await?;
        let pace = match &build.state {
            BuildState::Waiting { .. } => {
                self.note(Event::BuildWaiting);
                Pace::Progress
            }
            BuildState::Listed { .. } | BuildState::Building { .. } => Pace::Progress,
            BuildState::Ended {
                ending: Ending::Superseded { .. } | Ending::Cancelled { .. },
                ..
            } if was_building => {
                self.note(Event::AttemptUnwanted);
                Pace::Decided
            }
            BuildState::Ended { derivation: Some(derivation), ending, .. } if ending.is_good() => {
                self.note(Event::InsightWanted);
                match insights::ended_well(tx, &build, derivation, now).await? {
                    Outlook::Soon => Pace::Awaited,
                    Outlook::Now => Pace::Decided,
                }
            }
            BuildState::Ended { .. } => Pace::Decided,
        };
        if matches!(build.state, BuildState::Ended { .. }) {
            self.answered.insert(build.run.clone());
        }
        self.builds.insert(build.id.clone(), pace);
        self.touch(&build.run, Pace::Progress);
        Ok(build)
    }

    /// A waiting build waits for something else, for as long as before.
    pub(super) async fn rewait(
        &mut self,
        tx: &mut AnyConnection,
        build: Build,
        for_what: Waiting,
    ) -> Result<()> {
        let (held, not_before) = rows::held_until(&for_what);
        build.state.wait_for(for_what.clone())?;
        sqlx::query(
            "UPDATE build SET waiting = $2, held = $3, not_before = $4 \
             WHERE id = $1 AND state = 'waiting'",
        )
        .bind(build.id.as_str())
        .bind(rows::to_json(&for_what)?)
        .bind(held)
        .bind(not_before.0)
        .execute(tx)
        .await?;
        self.note(Event::BuildWaiting);
        self.touch(&build.run, Pace::Progress);
        self.builds.insert(build.id, Pace::Progress);
        Ok(())
    }

    /// A host's check says something new at once.
    pub(super) fn show_host(&mut self, build: &BuildId) {
        self.builds.insert(build.clone(), Pace::Decided);
    }

    /// Moves a run and writes its new state.
    pub(super) async fn run(
        &mut self,
        tx: &mut AnyConnection,
        mut run: Run,
        step: RunStep,
    ) -> Result<Run> {
        let now = self.now;
        let overrules = matches!(step, RunStep::Again) && is_skipped(&run.state);
        let is_quiet = matches!(step, RunStep::Rejudge | RunStep::Elsewhere);
        let was_open = run.state.is_open();
        let (state, _) = match step {
            RunStep::Evaluate => run.state.evaluate(now),
            RunStep::Evaluated => run.state.evaluated(now),
            RunStep::End(verdict) => run.state.end(verdict, now),
            RunStep::Revive => run.state.revive(&run.approval),
            RunStep::Again | RunStep::Rejudge | RunStep::Resume | RunStep::Elsewhere => {
                Ok(RunState::again(&run.approval))
            }
            RunStep::Approve => run.state.approve(),
        }?;
        if overrules {
            overrule_skip(tx, &run.id).await?;
        }
        run.state = state;
        save_run(tx, &run, now).await?;
        let pace = match &run.state {
            // What was judged before is shown until it is judged anew.
            RunState::Requested if is_quiet => {
                self.note(Event::RunRequested);
                Pace::Progress
            }
            RunState::Requested => {
                self.note(Event::RunRequested);
                Pace::Revived
            }
            RunState::AwaitingApproval => Pace::Revived,
            RunState::Ended { .. } => {
                self.note(Event::RunEnded);
                self.answered.insert(run.id.clone());
                self.ended.insert(run.id.clone());
                Pace::Decided
            }
            RunState::Evaluating { .. } | RunState::Building { .. } => Pace::Progress,
        };
        self.touch(&run.id, pace);
        if was_open != run.state.is_open() {
            bump::bump_failed_hosts(tx, &run.id, now).await?;
        }
        Ok(run)
    }

    /// Draws the consequences and says what moved.
    pub(super) async fn close(mut self, tx: &mut AnyConnection) -> Result<Moved> {
        let touched: Vec<RunId> = self.runs.keys().cloned().collect();
        for id in &touched {
            self.judge(tx, id).await?;
        }
        for id in std::mem::take(&mut self.answered) {
            for waiting in base::waiting_for(tx, &id).await? {
                self.judge(tx, &waiting).await?;
            }
        }
        for id in std::mem::take(&mut self.ended) {
            for other in base::compared_with(tx, &id).await? {
                self.touch(&other, Pace::Progress);
            }
        }
        for (build, pace) in &self.builds {
            bump::bump_host(tx, build, *pace, self.now).await?;
        }
        for (run, pace) in &self.runs {
            bump::bump_run(tx, run, *pace, self.now).await?;
        }
        if !self.runs.is_empty() {
            self.note(Event::ReportBehind);
        }
        Ok(self.moved)
    }

    /// Ends a run whose verdict has fallen.
    async fn judge(&mut self, tx: &mut AnyConnection, id: &RunId) -> Result<()> {
        if let Some((run, verdict)) = fallen_verdict(tx, id).await? {
            self.run(tx, run, RunStep::End(verdict)).await?;
        }
        Ok(())
    }
}

fn is_skipped(state: &RunState) -> bool {
    matches!(state, RunState::Ended { verdict: Verdict::Skipped { .. }, .. })
}

/// A skipped run is wanted after all.
async fn overrule_skip(tx: &mut AnyConnection, run: &RunId) -> Result<()> {
    sqlx::query("UPDATE run SET skip_overruled = 1 WHERE id = $1")
        .bind(run.as_str())
        .execute(tx)
        .await?;
    Ok(())
}

/// The verdict of a run that waits for nothing but its builds, once it has fallen.
async fn fallen_verdict(tx: &mut AnyConnection, id: &RunId) -> Result<Option<(Run, Verdict)>> {
    let run = run_by_id(tx, id).await?;
    if !matches!(run.state, RunState::Building { .. }) {
        return Ok(None);
    }
    // Asked first, because it is cheap: of 500 builds, 499 endings do not end the run.
    let open = sqlx::query(
        "SELECT 1 AS one FROM build \
         WHERE run_id = $1 AND required = 'required' AND state <> 'ended' LIMIT 1",
    )
    .bind(id.as_str())
    .fetch_optional(&mut *tx)
    .await?;
    if open.is_some() {
        return Ok(None);
    }
    let builds = builds_of(tx, id).await?;
    let against = base::against(tx, &run).await?;
    let verdict = judge(run.problem.as_ref(), &builds, &against);
    Ok(verdict.map(|verdict| (run, verdict)))
}

pub(super) async fn build_by_id(tx: &mut AnyConnection, id: &BuildId) -> Result<Build> {
    let row = sqlx::query(concat!("SELECT ", build_columns!(), " FROM build b WHERE b.id = $1"))
        .bind(id.as_str())
        .fetch_optional(tx)
        .await?;
    row.as_ref().map(rows::build).ok_or_else(|| StoreError::Missing(format!("build {id}")))?
}

pub(super) async fn run_by_id(tx: &mut AnyConnection, id: &RunId) -> Result<Run> {
    let row = sqlx::query(concat!("SELECT ", run_columns!(), " FROM run r WHERE r.id = $1"))
        .bind(id.as_str())
        .fetch_optional(tx)
        .await?;
    row.as_ref().map(rows::run).ok_or_else(|| StoreError::Missing(format!("run {id}")))?
}

/// In the order in which people read them: the required first, and as the flake lists them.
pub(super) async fn builds_of(tx: &mut AnyConnection, run: &RunId) -> Result<Vec<Build>> {
    let found = sqlx::query(concat!(
        "SELECT ",
        build_columns!(),
        " FROM build b WHERE b.run_id = $1 ORDER BY b.required DESC, b.id"
    ))
    .bind(run.as_str())
    .fetch_all(tx)
    .await?;
    found.iter().map(rows::build).collect()
}
