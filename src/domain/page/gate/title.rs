//! The gate's one line that says it all.
use std::collections::BTreeMap;

use crate::domain::build::{BuildState, Waiting};
use crate::domain::page::gate::causes::causes;
use crate::domain::page::gate::table::is_required;
use crate::domain::page::gate::{comparison, nouns, verdict};
use crate::domain::page::provenance::as_merged;
use crate::domain::page::words::{self, Standing, host_name, standing};
use crate::domain::page::{BuildView, RunView, noun};
use crate::domain::run::RunState;
use crate::domain::text::plain_title;
use crate::domain::verdict::Verdict;

/// What a person needs to know of a run, in one line of plain text.
#[must_use]
pub fn gate_title(view: &RunView) -> String {
    match (&view.run.state, verdict(view)) {
        (RunState::AwaitingApproval, _) => {
            "waits for approval: this commit comes from a fork".to_owned()
        }
        (_, Some(verdict)) => decided(view, &verdict),
        (RunState::Requested | RunState::Evaluating { .. }, None) if view.run.waits.is_some() => {
            let what = view.run.waits.as_deref().unwrap_or_default();
            plain_title(&format!("waits: {what}; it will be tried again"), 255)
        }
        (RunState::Requested, None) => match view.turn.filter(|it| it.of > 1) {
            Some(turn) => format!("waits for its evaluation: {turn}"),
            None => "waits for its evaluation".to_owned(),
        },
        (RunState::Evaluating { .. }, None) if view.builds.is_empty() => {
            "looking for hosts".to_owned()
        }
        (RunState::Evaluating { .. }, None) => {
            let open = |it: &&BuildView| matches!(it.build.state, BuildState::Listed { .. });
            let listed = view.builds.iter().filter(open).count();
            let done = view.builds.len() - listed;
            format!("evaluating {done} of {}{}", nouns(view, view.builds.len()), failures(view))
        }
        (RunState::Building { .. } | RunState::Ended { .. }, None) => {
            format!("{}{}", building(view), failures(view))
        }
    }
}

fn building(view: &RunView) -> String {
    if let Some(base) = comparison::waits_for(view) {
        return format!("waits for the base commit {}, which is being tested", base.sha.short());
    }
    let all = view.builds.len();
    let done = view.builds.iter().filter(|it| standing(it) != Standing::Open).count();
    let building = view
        .builds
        .iter()
        .filter(|it| matches!(it.build.state, BuildState::Building { .. }))
        .count();
    let waiting = all - done - building;
    let progress = format!("{done} of {} done", nouns(view, all));
    if building > 0 {
        let waiting = if waiting > 0 { format!(", {waiting} waiting") } else { String::new() };
        return format!("{progress}, {building} building{waiting}");
    }
    let prefix = if done > 0 { format!("{progress}; ") } else { String::new() };
    match blocked(view) {
        Some(reason) => format!("{prefix}waiting: {reason}"),
        None => format!("{progress}, {waiting} waiting{}", turn(view)),
    }
}

/// The best place that any of them has in a queue.
fn turn(view: &RunView) -> String {
    let turns = view.builds.iter().filter_map(|it| {
        let BuildState::Waiting { derivation, .. } = &it.build.state else { return None };
        Some((it.outlook.turn?, derivation.system.as_str()))
    });
    let first = turns.min_by_key(|(turn, _)| turn.place);
    first.map_or_else(String::new, |(turn, system)| format!(": {turn} for {system}"))
}

/// What those wait for that no slot will ever take: `no builder for aarch64-linux (pegasus)`.
fn blocked(view: &RunView) -> Option<String> {
    let mut reasons: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for it in &view.builds {
        let BuildState::Waiting { for_what, .. } = &it.build.state else { continue };
        let reason = match (for_what, &it.outlook.held) {
            (Waiting::Slot | Waiting::Retry { .. }, Some(held)) => held.clone(),
            (Waiting::Slot, None) => return None,
            (Waiting::NoBuilder { system }, _) => format!("no builder for {system}"),
            (Waiting::NoFeatures { .. } | Waiting::Retry { .. }, _) => words::waiting(for_what, ""),
        };
        reasons.entry(reason).or_default().push(host_name(it));
    }
    let parts = reasons.into_iter().map(|(reason, names)| {
        let shown = names.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
        let rest = names.len().saturating_sub(3);
        let rest = if rest > 0 { format!(" and {rest} more") } else { String::new() };
        format!("{reason} ({shown}{rest})")
    });
    let text = parts.collect::<Vec<_>>().join("; ");
    (!text.is_empty()).then_some(text)
}

fn decided(view: &RunView, verdict: &Verdict) -> String {
    match verdict {
        Verdict::Broken { problem } => problem.headline.clone(),
        Verdict::Superseded { by } => format!("superseded by {}", by.short()),
        Verdict::Cancelled { by } => format!("cancelled by {by}"),
        Verdict::Skipped { by } => format!("skipped by {by} in the commit's message"),
        Verdict::Passed | Verdict::Failed | Verdict::TimedOut => {
            let required: Vec<&BuildView> =
                view.builds.iter().filter(|it| is_required(it)).collect();
            if required.is_empty() {
                return "no required host was found; a gate without hosts does not pass".to_owned();
            }
            let good = required.iter().filter(|it| standing(it) == Standing::Good).count();
            let word = if required.len() == view.builds.len() { "" } else { "required " };
            let all = required.len();
            let noun = noun(view, all);
            let verb = if all == 1 { "builds" } else { "build" };
            let count = if good == all {
                format!("{all} {word}{noun} {verb}")
            } else {
                format!("{good} of {all} {word}{noun} {verb}")
            };
            format!("{count}{}{}", as_merged(&view.run), failures(view))
        }
    }
}

/// `; raider: gtk-engine-murrine was removed; 2 more fail`: the cause that matters most.
fn failures(view: &RunView) -> String {
    let causes = causes(view);
    let Some(first) = causes.first() else { return String::new() };
    let more: usize = causes[1..].iter().map(|it| it.hosts.len()).sum();
    let more = match more {
        0 => String::new(),
        1 => "; 1 more fails".to_owned(),
        more => format!("; {more} more fail"),
    };
    format!("; {}{more}", first.headline(view))
}
