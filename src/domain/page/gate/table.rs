//! The gate's table: every host, the required first.
use crate::domain::build::{Ending, Required};
use crate::domain::link::Links;
use crate::domain::page::gate::causes::{Cause, causes, compared_words};
use crate::domain::page::gate::ended_at;
use crate::domain::page::insight::change;
use crate::domain::page::words::{self, duration, host_name, remark, result, standing};
use crate::domain::page::{BuildView, RunView};
use crate::domain::text::{inline, plain_title};

pub(super) fn table(view: &RunView, links: &Links) -> String {
    let causes = causes(view);
    let mut out = "| host | result | time | what to know |\n| --- | --- | --- | --- |\n".to_owned();
    for it in in_order(view) {
        out.push_str(&row(view, it, &causes, links));
    }
    out.truncate(out.trim_end().len());
    out
}

fn row(view: &RunView, it: &BuildView, causes: &[Cause<'_>], links: &Links) -> String {
    let url = links.build(&it.build.id, view.repository.visibility);
    let cells = [
        format!("[{}]({url})", inline(&host_name(it))),
        result(&it.build.state).to_owned(),
        time(it),
        inline(&remarks(view, it, causes).join("; ")),
    ];
    format!("| {} |\n", cells.join(" | "))
}

/// What there is to know of a host, in the order of its weight.
fn remarks(view: &RunView, it: &BuildView, causes: &[Cause<'_>]) -> Vec<String> {
    let mut remarks = notes(view, it);
    let shared = causes.iter().find(|cause| {
        cause.hosts.len() > 1 && cause.hosts.iter().any(|host| host.build.attr == it.build.attr)
    });
    remarks.push(match shared {
        Some(cause) => cause.short(),
        None => plain_title(&change(it).unwrap_or_else(|| remark(it)), 200),
    });
    remarks.retain(|it| !it.is_empty());
    remarks
}

/// What a list of hosts says of one besides its result and its reason.
#[must_use]
pub fn notes(view: &RunView, it: &BuildView) -> Vec<String> {
    let mut notes = Vec::new();
    if it.build.attr.label().is_err() {
        notes.push("this name cannot be the name of a check".to_owned());
    }
    if !is_required(it) {
        notes.push("not required".to_owned());
    }
    let compared = compared_words(view, it);
    if !compared.is_empty() {
        notes.push(compared.to_owned());
    }
    if it.build.attempts > 1 {
        notes.push(format!("attempt {}", it.build.attempts));
    }
    notes
}

/// What took the time: the build, or the evaluation of a host that was not built.
fn time(it: &BuildView) -> String {
    match it.build.state.ending() {
        Some(Ending::Built { seconds, .. }) => words::seconds(*seconds),
        Some(Ending::EvaluationFailed(_)) => {
            it.evaluation.map_or_else(String::new, |cost| duration(cost.elapsed_ms))
        }
        Some(Ending::BuildFailed(_) | Ending::TimedOut(_)) => match (it.started_at, ended_at(it)) {
            (Some(start), Some(end)) => duration(end.since(start)),
            (None, _) | (_, None) => String::new(),
        },
        Some(
            Ending::Reused
            | Ending::Superseded { .. }
            | Ending::Cancelled { .. }
            | Ending::Skipped { .. }
            | Ending::Transient { .. }
            | Ending::Internal { .. },
        )
        | None => String::new(),
    }
}

/// Required hosts first, within them those that failed.
#[must_use]
pub fn in_order(view: &RunView) -> Vec<&BuildView> {
    let mut builds: Vec<&BuildView> = view.builds.iter().collect();
    builds.sort_by_cached_key(|it| (it.build.required, standing(it), host_name(it)));
    builds
}

pub(super) fn is_required(it: &BuildView) -> bool {
    it.build.required == Required::Required
}

/// The names of hosts as a list in a sentence, the first of them when there are many.
pub(super) fn names<'v>(hosts: impl IntoIterator<Item = &'v BuildView>) -> String {
    listed(hosts.into_iter().map(host_name).collect())
}

/// `a, b, c and 34 more`.
pub(super) fn listed(names: Vec<String>) -> String {
    let more = names.len().saturating_sub(MOST_NAMES);
    let shown = names.into_iter().take(MOST_NAMES).collect::<Vec<_>>().join(", ");
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}

/// Names in a list of names; the table has all.
const MOST_NAMES: usize = 40;
