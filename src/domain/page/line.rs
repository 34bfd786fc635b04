//! A run in a list: what can be said of it without looking at its builds.
use crate::domain::incoming::Repository;
use crate::domain::page::CheckStatus;
use crate::domain::run::{Run, RunState};
use crate::domain::text::plain_title;
use crate::domain::verdict::{Conclusion, Verdict};

/// A run in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunLine {
    pub run: Run,
    pub repository: Repository,
    /// Hosts that were listed.
    pub builds: i64,
    /// Those of them that have an ending.
    pub ended: i64,
}

impl RunLine {
    /// Where the run stands.
    #[must_use]
    pub fn check(&self) -> CheckStatus {
        match &self.run.state {
            RunState::AwaitingApproval => CheckStatus::Completed {
                conclusion: Conclusion::ActionRequired,
                at: self.run.created_at,
            },
            RunState::Requested => CheckStatus::Queued,
            RunState::Evaluating { since } | RunState::Building { since } => {
                CheckStatus::InProgress { since: *since }
            }
            RunState::Ended { verdict, at } => {
                CheckStatus::Completed { conclusion: verdict.conclusion(), at: *at }
            }
        }
    }

    /// One line of plain text.
    #[must_use]
    pub fn title(&self) -> String {
        let done = || format!("{} of {} done", self.ended, self.builds);
        match &self.run.state {
            RunState::AwaitingApproval => "waits for approval".to_owned(),
            RunState::Requested => "waits for its evaluation".to_owned(),
            RunState::Evaluating { .. } => format!("evaluating, {}", done()),
            RunState::Building { .. } => format!("building, {}", done()),
            RunState::Ended { verdict, .. } => match verdict {
                Verdict::Passed => "every required host builds".to_owned(),
                Verdict::Failed => "a required host does not build".to_owned(),
                Verdict::TimedOut => "a required host ran into a time limit".to_owned(),
                Verdict::Broken { problem } => plain_title(&problem.headline, 200),
                Verdict::Superseded { by } => format!("superseded by {}", by.short()),
                Verdict::Cancelled { by } => plain_title(&format!("cancelled by {by}"), 200),
                Verdict::Skipped { by } => plain_title(&format!("skipped by {by}"), 200),
            },
        }
    }
}
