//! What people did and may do: the buttons on a check, and the answers to those who pressed them.
use crate::domain::build::{BuildState, Ending};
use crate::domain::button::Button;
use crate::domain::page::{Action, BuildView, CheckStatus, RunView, gate_check};
use crate::domain::run::{Approval, Run, RunState};
use crate::domain::text::inline;

/// What stands above the summary of a run: who approved it, and why a click was refused.
pub(super) fn above_gate(run: &Run) -> String {
    let approved = match &run.approval {
        Approval::Given { by } => format!("Approved by {}.\n\n", inline(&format!("@{by}"))),
        Approval::NotNeeded | Approval::Needed => String::new(),
    };
    format!("{}{approved}", above(run.note.as_deref()))
}

/// What stands above the summary of a host.
pub(super) fn above(note: Option<&str>) -> String {
    note.map_or_else(String::new, |note| format!("{}\n\n", inline(note)))
}

/// Buttons are seen on completed checks alone.
pub(super) fn gate_actions(view: &RunView) -> Vec<Action> {
    if !matches!(gate_check(view), CheckStatus::Completed { .. }) {
        return vec![];
    }
    if view.run.state == RunState::AwaitingApproval {
        return vec![Button::Approve.action()];
    }
    let open = |it: &BuildView| !matches!(it.build.state, BuildState::Ended { .. });
    if view.builds.iter().any(open) { vec![Button::Cancel.action()] } else { vec![] }
}

pub(super) fn host_actions(view: &RunView, build: &BuildView) -> Vec<Action> {
    let BuildState::Ended { derivation, ending, .. } = &build.build.state else { return vec![] };
    let rebuild = match ending {
        Ending::Reused
        | Ending::Built { .. }
        | Ending::Superseded { .. }
        | Ending::Skipped { .. }
        | Ending::Cancelled { .. } => return vec![],
        Ending::EvaluationFailed(_) => false,
        Ending::BuildFailed(_)
        | Ending::TimedOut(_)
        | Ending::Transient { .. }
        | Ending::Internal { .. } => derivation.is_some(),
    };
    let cancel = view.run.state.is_open();
    [(rebuild, Button::Rebuild), (cancel, Button::Cancel)]
        .into_iter()
        .filter(|(meaningful, _)| *meaningful)
        .map(|(_, button)| button.action())
        .collect()
}
