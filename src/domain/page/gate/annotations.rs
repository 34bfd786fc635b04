//! What stands on lines of the repository: each place and message once, whatever the number of
//! hosts that it concerns.
//!
//! GitHub appends annotations and never takes one back. So they are said when every host is
//! evaluated, after which nothing about them changes, and by the gate alone.
use std::collections::BTreeMap;

use crate::domain::build::{BuildState, SourcePlace, Warning};
use crate::domain::page::gate::causes::evaluation_failure;
use crate::domain::page::gate::table::{in_order, listed, names};
use crate::domain::page::words::host_name;
use crate::domain::page::{Annotation, AnnotationLevel, BuildView, RunView, annotation};
use crate::domain::run::RunState;
use crate::domain::text::{fence, inline};
use crate::domain::verdict::{Problem, Verdict};

/// GitHub shows few at a time; a flood would hide the first.
const MOST: usize = 200;
/// Warnings that the gate's text lists.
const MOST_LISTED: usize = 20;

pub(super) fn annotations(view: &RunView, problem: Option<&Problem>) -> Vec<Annotation> {
    let of_run = problem.and_then(|problem| {
        let place = problem.place.as_ref()?;
        annotation(AnnotationLevel::Failure, place, ("nothing could be built", &problem.headline))
    });
    let mut all: Vec<Annotation> = of_run.into_iter().collect();
    if is_evaluated(view) {
        all.extend(errors(view));
        all.extend(warnings(view).into_iter().filter_map(|(warning, hosts)| {
            let title = format!("evaluation warning ({})", whom(view, &hosts));
            let message = said(&warning.message, &hosts);
            let place = warning.place.as_ref()?;
            annotation(AnnotationLevel::Warning, place, (&title, &message))
        }));
    }
    all.truncate(MOST);
    all
}

/// Every host has its derivation or its error, and nobody ended the run before.
fn is_evaluated(view: &RunView) -> bool {
    let over = match &view.run.state {
        RunState::Building { .. } => true,
        RunState::Ended { verdict, .. } => !matches!(
            verdict,
            Verdict::Superseded { .. } | Verdict::Cancelled { .. } | Verdict::Skipped { .. }
        ),
        RunState::AwaitingApproval | RunState::Requested | RunState::Evaluating { .. } => false,
    };
    over && !view.builds.iter().any(|it| matches!(it.build.state, BuildState::Listed { .. }))
}

fn errors(view: &RunView) -> Vec<Annotation> {
    let mut found: Vec<(&SourcePlace, &str, Vec<&BuildView>)> = Vec::new();
    for it in in_order(view) {
        let Some(failure) = evaluation_failure(it) else { continue };
        let Some(place) = &failure.place else { continue };
        let headline = failure.headline.as_str();
        match found.iter_mut().find(|(at, what, _)| *at == place && *what == headline) {
            Some((_, _, hosts)) => hosts.push(it),
            None => found.push((place, headline, vec![it])),
        }
    }
    let error = |(place, headline, hosts): (&SourcePlace, &str, Vec<&BuildView>)| {
        let verb = if hosts.len() == 1 { "does" } else { "do" };
        let title = format!("{} {verb} not evaluate", whom(view, &hosts));
        annotation(AnnotationLevel::Failure, place, (&title, &said(headline, &hosts)))
    };
    found.into_iter().filter_map(error).collect()
}

/// Each warning once, with the hosts whose evaluation gave it.
fn warnings(view: &RunView) -> Vec<(&Warning, Vec<&BuildView>)> {
    let mut order: Vec<(&Warning, Vec<&BuildView>)> = Vec::new();
    let mut known: BTreeMap<&Warning, usize> = BTreeMap::new();
    for it in in_order(view) {
        for warning in &it.warnings {
            let at = *known.entry(warning).or_insert_with(|| {
                order.push((warning, vec![]));
                order.len() - 1
            });
            order[at].1.push(it);
        }
    }
    order
}

/// `raider`, or `37 hosts`.
fn whom(view: &RunView, hosts: &[&BuildView]) -> String {
    match hosts {
        [one] => host_name(one),
        all => super::nouns(view, all.len()),
    }
}

fn said(message: &str, hosts: &[&BuildView]) -> String {
    if hosts.len() == 1 {
        return message.to_owned();
    }
    format!("{message} — on {}", names(hosts.iter().copied()))
}

/// What Nix warned of while it evaluated, each warning once, for the gate's text.
pub(super) fn warnings_text(view: &RunView) -> String {
    let all = warnings(view);
    if all.is_empty() || !is_evaluated(view) {
        return String::new();
    }
    let lines = all.iter().take(MOST_LISTED).map(|(warning, hosts)| {
        let names = listed(hosts.iter().map(|it| host_name(it)).collect());
        format!("- {} ({})", line(warning), inline(&names))
    });
    let lines = lines.collect::<Vec<_>>().join("\n");
    let more = all.len().saturating_sub(MOST_LISTED);
    let more = if more > 0 { format!("\n- {more} more") } else { String::new() };
    format!("**Warnings of the evaluation**\n\n{lines}{more}")
}

/// A warning as one line of Markdown.
pub(in crate::domain::page) fn line(warning: &Warning) -> String {
    let place = warning
        .place
        .as_ref()
        .map_or_else(String::new, |place| format!("{}:{}: ", inline(&place.path), place.line));
    format!("{place}{}", inline(&warning.message))
}

/// What is wrong with the run as a whole, in Nix's words or ours.
pub(super) fn detail(problem: &Problem, most: usize) -> String {
    use crate::domain::text::{clean, cut_lines};
    let detail = cut_lines(&clean(&problem.detail), most, "… (cut)");
    if detail.trim().is_empty() { String::new() } else { fence(&detail) }
}
