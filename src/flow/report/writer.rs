//! Which request of an installation comes next, and what its requests have cost.
use std::collections::{HashMap, HashSet};

use crate::domain::Timestamp;
use crate::domain::budget::{Budget, Cost, Counting, Interface, Urgency};
use crate::domain::calls::{DueChecks, MOST_CHECKS, RunCalls};
use crate::domain::id::{RepositoryId, RunId};
use crate::store::reports::{Behind, ReportId, ReportKind};
use crate::store::worth::RunReports;

/// What is due of one run.
pub(super) struct RunDue {
    pub(super) run: RunId,
    pub(super) repository: RepositoryId,
    pub(super) reports: RunReports,
    /// The gate and hosts, the most urgent first.
    pub(super) checks: Vec<Behind>,
    pub(super) status: Option<Behind>,
}

impl RunDue {
    pub(super) fn new(row: &Behind) -> Self {
        Self {
            run: row.run.clone(),
            repository: row.repository,
            reports: RunReports::default(),
            checks: Vec::new(),
            status: None,
        }
    }

    fn due(&self) -> DueChecks {
        let mut due = DueChecks::default();
        for row in &self.checks {
            if row.urgency != Urgency::Progress {
                due.since = Some(due.since.map_or(row.since, |it| it.min(row.since)));
            }
            match (row.kind, row.urgency) {
                (ReportKind::Gate, Urgency::Final) => due.verdict = true,
                (ReportKind::Gate, Urgency::Gate) => due.gate = true,
                (ReportKind::Host | ReportKind::Status, Urgency::Final) => due.finals += 1,
                (ReportKind::Host | ReportKind::Status, Urgency::New | Urgency::Gate) => {
                    due.new += 1;
                }
                (ReportKind::Gate, Urgency::New)
                | (ReportKind::Gate | ReportKind::Host | ReportKind::Status, Urgency::Progress) => {
                    due.progress += 1;
                }
            }
        }
        due
    }
}

/// The next request.
pub(super) enum Next {
    Status(Box<Behind>),
    /// Of one repository; the first is the run's whose turn it is, others may ride along.
    Checks(Vec<Behind>),
}

/// What a run has cost.
#[derive(Clone, Copy)]
struct Spent {
    since: Timestamp,
    last: Timestamp,
    requests: usize,
    progress_at: Option<Timestamp>,
}

/// The memory of one installation's writer. It is a courtesy to GitHub: what must not be lost is
/// in the store.
#[derive(Default)]
pub(super) struct Writer {
    /// What was begun before may have been half done.
    pub(super) since: Timestamp,
    budget: Budget,
    counting: Counting,
    runs: HashMap<RunId, Spent>,
    /// There is no GraphQL API here before this.
    alone_until: Timestamp,
    /// Checks whose batch was refused as a whole: each goes by itself.
    pub(super) alone: HashSet<ReportId>,
}

/// A server without GraphQL is asked again whether it has it.
const ASK_AGAIN_MS: i64 = 3_600_000;
/// A run that has cost nothing for so long is forgotten, and would begin anew.
const FORGET_MS: i64 = 6 * 3_600_000;

impl Writer {
    /// GitHub's secondary limits refused so many calls so far.
    pub(super) fn learn(&mut self, refusals: u64) {
        if refusals > 0 && self.counting == Counting::Requests {
            self.counting = Counting::Checks;
            self.budget.count(self.counting);
            tracing::info!("GitHub's secondary limit was met: from now on every check counts");
        }
    }

    /// There is no GraphQL API here.
    pub(super) fn write_alone(&mut self, now: Timestamp) {
        self.alone_until = now.plus(ASK_AGAIN_MS);
    }

    pub(super) fn batches(&self, now: Timestamp) -> bool {
        now >= self.alone_until
    }

    /// The most urgent request that may go now; among equals that of the repository which has
    /// spent least.
    pub(super) fn next(&self, mut runs: Vec<RunDue>, now: Timestamp) -> Option<Next> {
        let mut ways: Vec<Way> = Vec::new();
        for (run, due) in runs.iter().enumerate() {
            let way = |row: &Behind, what, cost| Way {
                run,
                what,
                cost,
                urgency: row.urgency,
                share: self.budget.share_of(due.repository, now),
                since: row.since,
            };
            if let Some(first) = due.checks.first().filter(|_| self.not_before(due, now) <= now) {
                ways.push(way(first, What::Checks, self.cost(due, now)));
            }
            if let Some(status) = &due.status {
                ways.push(way(status, What::Status, Cost::write(Interface::Rest, 1)));
            }
        }
        ways.sort_by_key(|it| (it.urgency, it.share, it.since));
        let admitted = |it: &&Way| self.budget.admits(it.cost, it.urgency, now).is_ok();
        let Way { run, what, .. } = *ways.iter().find(admitted)?;
        match what {
            What::Status => runs.swap_remove(run).status.map(|it| Next::Status(Box::new(it))),
            What::Checks => Some(Next::Checks(self.request(runs, run, now))),
        }
    }

    /// The checks of a run, and of other runs of its repository where a batch has room.
    fn request(&self, mut runs: Vec<RunDue>, run: usize, now: Timestamp) -> Vec<Behind> {
        let first = runs.swap_remove(run);
        let mut rows = first.checks;
        if !self.batches(now) {
            rows.truncate(1);
            return rows;
        }
        // Where every check counts nobody rides for nothing; and a new gate waits for no page.
        let is_gate = rows.first().is_some_and(|it| it.urgency == Urgency::Gate);
        if self.counting == Counting::Requests && !is_gate {
            let others = runs.into_iter().filter(|it| it.repository == first.repository);
            let mut others: Vec<Behind> = others.flat_map(|it| it.checks).collect();
            others.sort_by_key(|it| (it.urgency, it.since));
            rows.extend(others);
        }
        rows.truncate(MOST_CHECKS);
        rows
    }

    fn not_before(&self, due: &RunDue, now: Timestamp) -> Timestamp {
        let spent = self.runs.get(&due.run);
        let calls = RunCalls {
            hosts: due.reports.hosts - due.reports.passed_over,
            owed: due.reports.owed,
            unshown: due.reports.hosts - due.reports.passed_over - due.reports.shown,
            spent: spent.map_or(0, |it| it.requests),
            since: spent.map(|it| it.since),
            progress_at: spent.and_then(|it| it.progress_at),
        };
        if self.batches(now) {
            calls.not_before(&due.due(), now)
        } else {
            calls.not_before_alone(&due.due(), now)
        }
    }

    fn cost(&self, due: &RunDue, now: Timestamp) -> Cost {
        let rows = due.checks.len().min(MOST_CHECKS);
        let new = due.checks.iter().take(MOST_CHECKS).filter(|it| !it.has_check()).count() as u64;
        if rows > 1 && self.batches(now) {
            Cost::write(Interface::Graphql, new)
        } else {
            Cost::write(Interface::Rest, new.min(1))
        }
    }

    /// A request was sent on behalf of a run.
    pub(super) fn spend(&mut self, row: &Behind, cost: Cost, now: Timestamp) {
        self.budget.spend(cost, row.repository, now);
        let fresh = Spent { since: now, last: now, requests: 0, progress_at: None };
        let spent = self.runs.entry(row.run.clone()).or_insert(fresh);
        spent.requests += 1;
        spent.last = now;
        self.runs.retain(|_, it| now.since(it.last) < FORGET_MS);
    }

    /// A request says how far a run is.
    pub(super) fn told_progress(&mut self, run: &RunId, now: Timestamp) {
        if let Some(spent) = self.runs.get_mut(run) {
            spent.progress_at = Some(now);
        }
    }
}

/// A request that may be the next.
#[derive(Clone, Copy)]
struct Way {
    /// Its place in the list.
    run: usize,
    what: What,
    cost: Cost,
    urgency: Urgency,
    /// What its repository has spent.
    share: u64,
    since: Timestamp,
}

#[derive(Clone, Copy)]
enum What {
    Checks,
    Status,
}
