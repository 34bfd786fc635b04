//! The gate: one check for the whole run. It fails closed.
mod annotations;
mod causes;
mod comparison;
mod table;
mod title;

use std::fmt::Write;

use crate::domain::Timestamp;
use crate::domain::build::{BuildState, Required};
use crate::domain::link::Links;
use crate::domain::page::insight::fleet_section;
use crate::domain::page::people;
use crate::domain::page::provenance::{provenance, stale_lock};
use crate::domain::page::{
    BuildView, CheckPage, CheckStatus, MOST_MARKDOWN, MOST_TITLE, RunView, StatusPage, StatusState,
    noun,
};
use crate::domain::run::RunState;
use crate::domain::text::{cut_lines, inline, plain_title};
use crate::domain::verdict::{Conclusion, Problem, Verdict, judge};

pub(super) use annotations::line as warning_line;
pub use comparison::{Comparison, comparison};
pub use table::{in_order, notes};
pub use title::gate_title;

/// What a fork's author reads.
const PARKED: &str = "This commit comes from a fork. Nothing of it has been evaluated or built: \
    evaluating it runs its author's code on this fleet's builders, so a person with write access \
    to this repository has to say so first.\n\nTo build it, such a person presses \"Approve and \
    build\" on this check. That holds for this commit alone: after another push it is asked again.";

pub(super) fn page(view: &RunView, check_name: &str, links: &Links) -> CheckPage {
    let url = links.run(&view.run.id, view.repository.visibility);
    let more = format!("[The rest is on the run's page]({url})");
    let problem = problem(view);
    CheckPage {
        name: check_name.to_owned(),
        status: gate_check(view),
        title: plain_title(&gate_title(view), MOST_TITLE),
        summary: cut_lines(
            &(people::above_gate(&view.run) + &summary(view, links)),
            MOST_MARKDOWN,
            &more,
        ),
        text: cut_lines(&text(view, problem, links), MOST_MARKDOWN, &more),
        annotations: annotations::annotations(view, problem),
        actions: people::gate_actions(view),
        details_url: url,
    }
}

pub(super) fn status(view: &RunView, links: &Links) -> StatusPage {
    let state = match gate_check(view) {
        CheckStatus::Queued | CheckStatus::InProgress { .. } => StatusState::Pending,
        CheckStatus::Completed { conclusion, .. } => match conclusion {
            // Statuses know no "skipped" either; a check that is passes, and so does this.
            Conclusion::Success | Conclusion::Skipped => StatusState::Success,
            // Statuses know no "waits for a person"; it is not decided, and blocks.
            Conclusion::ActionRequired => StatusState::Pending,
            Conclusion::Cancelled => StatusState::Error,
            Conclusion::TimedOut | Conclusion::Failure => StatusState::Failure,
        },
    };
    StatusPage {
        state,
        description: plain_title(&gate_title(view), 140),
        target_url: links.run(&view.run.id, view.repository.visibility),
    }
}

/// The verdict as far as it is known: it falls with the last required host.
fn verdict(view: &RunView) -> Option<Verdict> {
    match &view.run.state {
        RunState::AwaitingApproval | RunState::Requested => None,
        RunState::Evaluating { .. } => {
            view.run.problem.clone().map(|problem| Verdict::Broken { problem })
        }
        RunState::Building { .. } => {
            judge(view.run.problem.as_ref(), view.builds.iter().map(|it| &it.build), &view.against)
        }
        RunState::Ended { verdict, .. } => Some(verdict.clone()),
    }
}

/// Where the gate stands for GitHub.
#[must_use]
pub fn gate_check(view: &RunView) -> CheckStatus {
    match (&view.run.state, verdict(view)) {
        (RunState::AwaitingApproval, _) => CheckStatus::Completed {
            conclusion: Conclusion::ActionRequired,
            at: view.run.created_at,
        },
        (_, Some(verdict)) => {
            CheckStatus::Completed { conclusion: verdict.conclusion(), at: decided_at(view) }
        }
        (RunState::Requested, None) => CheckStatus::Queued,
        (
            RunState::Evaluating { .. } | RunState::Building { .. } | RunState::Ended { .. },
            None,
        ) => CheckStatus::InProgress { since: view.run.created_at },
    }
}

/// When the last required host ended: the same before and after the run as a whole has ended.
fn decided_at(view: &RunView) -> Timestamp {
    if view.run.problem.is_some() {
        // It was decided as soon as the hosts were listed, whatever they do since.
        return view.run.created_at;
    }
    let required = view.builds.iter().filter(|it| it.build.required == Required::Required);
    match (&view.run.state, required.filter_map(ended_at).max()) {
        (
            RunState::Ended {
                verdict:
                    Verdict::Superseded { .. }
                    | Verdict::Cancelled { .. }
                    | Verdict::Skipped { .. }
                    | Verdict::Broken { .. },
                at,
            },
            _,
        )
        | (RunState::Ended { at, .. }, None) => *at,
        (RunState::Building { since }, None) => *since,
        (_, Some(last)) => last,
        (RunState::AwaitingApproval | RunState::Requested | RunState::Evaluating { .. }, None) => {
            view.run.created_at
        }
    }
}

fn ended_at(it: &BuildView) -> Option<Timestamp> {
    match &it.build.state {
        BuildState::Ended { at, .. } => Some(*at),
        BuildState::Listed { .. } | BuildState::Waiting { .. } | BuildState::Building { .. } => {
            None
        }
    }
}

/// What stops several hosts, in one line each, as plain text.
#[must_use]
pub fn shared_causes(view: &RunView) -> Vec<String> {
    let causes = causes::causes(view);
    causes.iter().filter(|it| it.hosts.len() > 1).map(|it| it.headline(view)).collect()
}

fn summary(view: &RunView, links: &Links) -> String {
    if view.run.state == RunState::AwaitingApproval {
        return PARKED.to_owned();
    }
    let mut out = String::new();
    if let RunState::Ended { verdict: Verdict::Superseded { by }, .. } = &view.run.state {
        let _ = write!(out, "A newer commit, {by}, took this one's place.\n\n");
    }
    if let RunState::Ended { verdict: Verdict::Cancelled { by }, .. } = &view.run.state {
        let _ = write!(out, "Cancelled by {}.\n\n", inline(by));
    }
    if let RunState::Ended { verdict: Verdict::Skipped { .. }, .. } = &view.run.state {
        out.push_str("Nothing of this commit was built.\n\n");
    }
    if let Some(problem) = problem(view) {
        let _ = write!(out, "**{}**\n\n", inline(&problem.headline));
    }
    for sentence in provenance(&view.run) {
        let _ = write!(out, "{}\n\n", inline(&sentence));
    }
    if let Some(remark) = stale_lock(&view.run) {
        let _ = write!(
            out,
            "`flake.lock` {}. `fleetcheck update` finds out which inputs can move.\n\n",
            inline(&remark)
        );
    }
    if view.builds.is_empty() {
        let url = links.run(&view.run.id, view.repository.visibility);
        let _ = write!(out, "[The run's page]({url})");
        return out;
    }
    out.push_str(&fleet_section(view));
    out.push_str(&table::table(view, links));
    out.push_str(&comparison::section(view));
    out
}

fn text(view: &RunView, problem: Option<&Problem>, links: &Links) -> String {
    let detail = problem.map_or_else(String::new, |it| annotations::detail(it, MOST_MARKDOWN / 2));
    let mut parts = vec![detail, causes::text(view, links), annotations::warnings_text(view)];
    parts.retain(|it| !it.is_empty());
    parts.join("\n\n")
}

fn nouns(view: &RunView, count: usize) -> String {
    format!("{count} {}", noun(view, count))
}

/// What is wrong with the run as a whole.
#[must_use]
pub fn problem(view: &RunView) -> Option<&Problem> {
    match &view.run.state {
        RunState::Ended { verdict: Verdict::Broken { problem }, .. } => Some(problem),
        RunState::Ended {
            verdict:
                Verdict::Superseded { .. } | Verdict::Cancelled { .. } | Verdict::Skipped { .. },
            ..
        } => None,
        RunState::Ended {
            verdict: Verdict::Passed | Verdict::Failed | Verdict::TimedOut, ..
        }
        | RunState::AwaitingApproval
        | RunState::Requested
        | RunState::Evaluating { .. }
        | RunState::Building { .. } => view.run.problem.as_ref(),
    }
}
