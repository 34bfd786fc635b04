//! One cause, one headline: hosts that fail for the same reason are told together.
use std::cmp::Reverse;
use std::fmt::Write;

use crate::domain::base::Compared;
use crate::domain::build::{BuildState, Ending, EvaluationFailure, SourcePlace};
use crate::domain::cause::Reason;
use crate::domain::link::Links;
use crate::domain::page::gate::table::{in_order, is_required, names};
use crate::domain::page::words::{self, Standing, host_name, remark, standing};
use crate::domain::page::{BuildView, RunView};
use crate::domain::text::{clean, cut_lines, fence, inline, plain_title, tail};

/// What stops hosts, and whom.
pub(super) struct Cause<'v> {
    reason: Reason<'v>,
    /// At least one, in the order of the table.
    pub(super) hosts: Vec<&'v BuildView>,
}

/// Why hosts of a run fail: what fails the gate before what does not, the required before others,
/// what is newly broken before what was red, and of those what stops the most first.
pub(super) fn causes(view: &RunView) -> Vec<Cause<'_>> {
    let mut causes: Vec<Cause<'_>> = Vec::new();
    for it in in_order(view).into_iter().filter(|it| standing(it) == Standing::Bad) {
        let reason = Reason::of(it.build.state.ending());
        match causes.iter_mut().find(|cause| cause.reason.is_same(&reason)) {
            Some(cause) => cause.hosts.push(it),
            None => causes.push(Cause { reason, hosts: vec![it] }),
        }
    }
    causes.sort_by_cached_key(|cause| {
        let blocks = cause.hosts.iter().any(|it| is_required(it) && !is_excused(view, it));
        let required = cause.hosts.iter().any(|it| is_required(it));
        let new = cause.hosts.iter().any(|it| compared(view, it) == Compared::NewlyBroken);
        (!blocks, !required, !new, Reverse(cause.hosts.len()))
    });
    causes
}

/// Whether a host's failure is let pass because the base commit fails there too.
pub(super) fn is_excused(view: &RunView, it: &BuildView) -> bool {
    let ending = it.build.state.ending();
    ending.is_some_and(|ending| view.against.blocks(&it.build.attr, ending) == Some(false))
}

/// A failing host compared with the base commit.
pub(super) fn compared(view: &RunView, it: &BuildView) -> Compared {
    let ending = it.build.state.ending();
    ending.map_or(Compared::Unknown, |ending| view.against.compare(&it.build.attr, ending))
}

/// Of one host, in two or three words; empty when nothing is known.
pub(super) fn compared_words(view: &RunView, it: &BuildView) -> &'static str {
    match compared(view, it) {
        Compared::NewlyBroken => "newly broken",
        Compared::RedBefore if is_excused(view, it) => "red before this change, does not block",
        Compared::RedBefore => "red before this change",
        Compared::Unknown => "",
    }
}

impl Cause<'_> {
    /// One line of plain text: what failed, and whom it stops.
    pub(super) fn headline(&self, view: &RunView) -> String {
        let [first, more @ ..] = self.hosts.as_slice() else { return String::new() };
        if more.is_empty() {
            let mut notes = Vec::new();
            if !is_required(first) {
                notes.push("not required");
            }
            notes.push(compared_words(view, first));
            notes.retain(|it| !it.is_empty());
            let notes =
                if notes.is_empty() { String::new() } else { format!(" ({})", notes.join(", ")) };
            let reason = plain_title(&remark(first), 120);
            return format!("{}{notes}: {reason}", host_name(first));
        }
        let said = self.reason.stops(&super::nouns(view, self.hosts.len()));
        format!("{said}{}", self.compared(view))
    }

    fn compared(&self, view: &RunView) -> String {
        let count = |what| self.hosts.iter().filter(|it| compared(view, it) == what).count();
        let (new, before, all) =
            (count(Compared::NewlyBroken), count(Compared::RedBefore), self.hosts.len());
        match (new, before) {
            (0, 0) => String::new(),
            (new, _) if new == all => ", newly broken".to_owned(),
            (_, before) if before == all => ", red before this change".to_owned(),
            (0, before) => format!(", {before} of them red before this change"),
            (new, _) => format!(", {new} of them newly broken"),
        }
    }

    /// What a row of the table says of each of several hosts.
    pub(super) fn short(&self) -> String {
        match self.reason {
            Reason::Failed(drv) | Reason::TimedOut(drv, _) => format!("needs {}", drv.name()),
            Reason::Error(failure) => plain_title(&failure.headline, 80),
            Reason::NoAnswer(what) => plain_title(what, 80),
            Reason::Own => String::new(),
        }
    }

    /// Everything about it, once for all its hosts.
    fn section(&self, view: &RunView, links: &Links) -> String {
        let names = names(self.hosts.iter().copied());
        let mut out = format!("**{}**\n\n{}", inline(&self.headline(view)), inline(&names));
        let Some(first) = self.hosts.first() else { return out };
        match first.build.state.ending() {
            Some(Ending::BuildFailed(failure)) => {
                let _ = write!(out, "\n\n`{}`: {}", failure.derivation, inline(&failure.headline));
                out.push_str(&log(view, first, &failure.log_tail, links));
            }
            Some(Ending::TimedOut(late)) => {
                let _ = write!(out, "\n\n{}", inline(&words::timed_out(late)));
                out.push_str(&log(view, first, &late.log_tail, links));
            }
            Some(Ending::EvaluationFailed(failure)) => {
                out.push_str(&place(failure.place.as_ref()));
                let trace = cut_lines(&clean(&failure.trace), MOST_TRACE, "… (cut)");
                if !trace.trim().is_empty() {
                    let _ = write!(out, "\n\n{}", fence(&trace));
                }
            }
            Some(
                Ending::Reused
                | Ending::Built { .. }
                | Ending::Superseded { .. }
                | Ending::Cancelled { .. }
                | Ending::Skipped { .. }
                | Ending::Transient { .. }
                | Ending::Internal { .. },
            )
            | None => {}
        }
        out
    }
}

fn place(place: Option<&SourcePlace>) -> String {
    place.map_or_else(String::new, |it| format!("\n\nin {}, line {}", inline(&it.path), it.line))
}

fn log(view: &RunView, it: &BuildView, said: &[String], links: &Links) -> String {
    let url = links.log(&it.build.id, view.repository.visibility);
    if said.is_empty() {
        return format!("\n\n[Log]({url})");
    }
    format!("\n\n{}\n\n[The whole log]({url})", fence(&tail(said, LOG_LINES)))
}

/// What stops several hosts, each with its log, for the gate's text. What stops one is told by
/// that host's own check.
pub(super) fn text(view: &RunView, links: &Links) -> String {
    let causes = causes(view);
    let shared = causes.iter().filter(|it| it.hosts.len() > 1).take(MOST_CAUSES);
    shared.map(|it| it.section(view, links)).collect::<Vec<_>>().join("\n\n")
}

/// Whether a build has ended in a way that is a failure of its own.
pub(super) fn evaluation_failure(it: &BuildView) -> Option<&EvaluationFailure> {
    match &it.build.state {
        BuildState::Ended { ending: Ending::EvaluationFailed(failure), .. } => Some(failure),
        BuildState::Ended { .. }
        | BuildState::Listed { .. }
        | BuildState::Waiting { .. }
        | BuildState::Building { .. } => None,
    }
}

/// Causes that the gate tells in full; more have their line in the table.
const MOST_CAUSES: usize = 8;
/// Lines of a log in the gate; the host's own check has more.
const LOG_LINES: usize = 25;
/// Bytes of Nix's trace in the gate.
const MOST_TRACE: usize = 6_000;
