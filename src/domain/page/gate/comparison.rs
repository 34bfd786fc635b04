//! The run against its base commit: what is new, what was red before, who came and who went.
use std::collections::BTreeSet;
use std::fmt::Write;

use crate::domain::base::{Answer, Base, Compared, ExistingFailures, Tested};
use crate::domain::build::{BuildState, Ending};
use crate::domain::id::AttrPath;
use crate::domain::page::gate::causes::compared;
use crate::domain::page::gate::table::{in_order, is_required, listed, names};
use crate::domain::page::words::attr_name;
use crate::domain::page::{BuildView, RunView};
use crate::domain::run::RunState;
use crate::domain::text::inline;
use crate::domain::verdict::Verdict;

/// The run against its base commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// What is compared, or why nothing is: one sentence of plain text.
    pub with: String,
    /// What is different: a word or two, and the hosts that it is true of, as plain text.
    pub parts: Vec<(&'static str, String)>,
}

/// The run against its base commit; `None` when there is nothing to compare.
#[must_use]
pub fn comparison(view: &RunView) -> Option<Comparison> {
    if view.builds.is_empty() || was_stopped(view) {
        return None;
    }
    let base = view.against.base.as_ref()?;
    let short = base.sha.short();
    let with = match base.tested {
        Tested::Not => format!("The base commit {short} was not tested here."),
        Tested::Whole if base.hosts.is_empty() => {
            format!(
                "The base commit {short} was tested here, and none of its hosts could be judged."
            )
        }
        Tested::Partly if base.hosts.is_empty() => {
            format!("The base commit {short} was not tested here: its run was stopped.")
        }
        Tested::Partly => {
            format!("The base commit {short} was not tested here to the end: its run was stopped.")
        }
        Tested::Running => format!("The base commit {short} is still being tested here."),
        Tested::Whole => format!("Against the base commit {short}:"),
    };
    let parts = if base.hosts.is_empty() { vec![] } else { parts(view, base) };
    if parts.is_empty() && base.tested == Tested::Whole && !base.hosts.is_empty() {
        let with =
            format!("Against the base commit {short}: the same hosts, and none broken or mended.");
        return Some(Comparison { with, parts });
    }
    Some(Comparison { with, parts })
}

fn parts(view: &RunView, base: &Base) -> Vec<(&'static str, String)> {
    let failing = |what| {
        let all = in_order(view).into_iter();
        names(all.filter(|it| is_failing(it) && compared(view, it) == what))
    };
    let before = match view.against.existing {
        ExistingFailures::Fail => "red before this change",
        ExistingFailures::Ignore => {
            "red before this change (does not block: gate.existing_failures is \"ignore\")"
        }
    };
    let mended = in_order(view).into_iter().filter(|it| {
        let is_good = it.build.state.ending().is_some_and(Ending::is_good);
        is_good && base.answer(&it.build.attr) == Some(Answer::Red)
    });
    let here: BTreeSet<&AttrPath> = view.builds.iter().map(|it| &it.build.attr).collect();
    let appeared = in_order(view).into_iter().filter(|it| !base.hosts.contains_key(&it.build.attr));
    let gone = base.hosts.keys().filter(|attr| !here.contains(attr)).map(attr_name);
    let mut parts = vec![
        ("newly broken", failing(Compared::NewlyBroken)),
        (before, failing(Compared::RedBefore)),
        ("mended", names(mended)),
        ("appeared", names(appeared)),
        ("vanished", listed(gone.collect())),
    ];
    parts.retain(|(_, names)| !names.is_empty());
    parts
}

fn is_failing(it: &BuildView) -> bool {
    it.build.state.ending().is_some_and(|ending| !ending.is_good())
}

fn was_stopped(view: &RunView) -> bool {
    matches!(
        view.run.state,
        RunState::Ended {
            verdict: Verdict::Superseded { .. }
                | Verdict::Cancelled { .. }
                | Verdict::Skipped { .. },
            ..
        }
    )
}

/// The same as Markdown, for the gate's summary.
pub(super) fn section(view: &RunView) -> String {
    let Some(Comparison { with, parts }) = comparison(view) else { return String::new() };
    let mut out = format!("\n\n{}", inline(&with));
    if !parts.is_empty() {
        out.push('\n');
    }
    for (what, names) in parts {
        let _ = write!(out, "\n- {}: {}", inline(what), inline(&names));
    }
    out
}

/// The base commit, when nothing but its answers is missing: a required host failed that may have
/// been red before.
pub(super) fn waits_for(view: &RunView) -> Option<&Base> {
    let mut required = view.builds.iter().filter(|it| is_required(it));
    let all_ended = required.clone().all(|it| matches!(it.build.state, BuildState::Ended { .. }));
    let undecided = |it: &BuildView| {
        let ending = it.build.state.ending().filter(|it| !it.is_good());
        ending.is_some_and(|ending| view.against.blocks(&it.build.attr, ending).is_none())
    };
    view.against.base.as_ref().filter(|_| all_ended && required.any(undecided))
}
