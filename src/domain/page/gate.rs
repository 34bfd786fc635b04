//! The gate: one check for the whole run. It fails closed.
use std::collections::BTreeMap;
use std::fmt::Write;

use crate::domain::Timestamp;
use crate::domain::build::{BuildState, Ending, Required, Waiting};
use crate::domain::link::Links;
use crate::domain::page::provenance::{as_merged, provenance};
use crate::domain::page::words::{self, Standing, duration, host_name, remark, result, standing};
use crate::domain::page::{
    Annotation, BuildView, CheckPage, CheckStatus, MOST_MARKDOWN, MOST_TITLE, RunView, StatusPage,
    StatusState,
};
use crate::domain::run::RunState;
use crate::domain::text::{clean, cut_lines, fence, inline, plain_title};
use crate::domain::verdict::{Conclusion, Problem, Verdict, judge};

/// What a fork's author reads.
const PARKED: &str = "This commit comes from a fork. Nothing of it has been evaluated or built: \
    evaluating it runs its author's code on this fleet's builders, so a person with write access \
    to this repository has to say so first.\n\nTo build it now, such a person pushes the commit \
    to a branch of this repository and opens a pull request from there.";

pub(super) fn page(view: &RunView, check_name: &str, links: &Links) -> CheckPage {
    let url = links.run(&view.run.id, view.repository.visibility);
    let more = format!("[The rest is on the run's page]({url})");
    let problem = problem(view);
    let text = problem.map_or_else(String::new, detail);
    CheckPage {
        name: check_name.to_owned(),
        status: gate_check(view),
        title: plain_title(&gate_title(view), MOST_TITLE),
        summary: cut_lines(&summary(view, links), MOST_MARKDOWN, &more),
        text: cut_lines(&text, MOST_MARKDOWN, &more),
        annotations: problem.and_then(annotation).into_iter().collect(),
        actions: vec![],
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
            judge(view.run.problem.as_ref(), view.builds.iter().map(|it| &it.build))
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

/// What a person needs to know of a run, in one line of plain text.
#[must_use]
pub fn gate_title(view: &RunView) -> String {
    match (&view.run.state, verdict(view)) {
        (RunState::AwaitingApproval, _) => {
            "waits for approval: this commit comes from a fork".to_owned()
        }
        (_, Some(verdict)) => decided_title(view, &verdict),
        (RunState::Requested | RunState::Evaluating { .. }, None) if view.run.waits.is_some() => {
            let what = view.run.waits.as_deref().unwrap_or_default();
            plain_title(&format!("waits: {what}; it will be tried again"), 255)
        }
        (RunState::Requested, None) => "waits for its evaluation".to_owned(),
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
            format!("{}{}", building_title(view), failures(view))
        }
    }
}

fn building_title(view: &RunView) -> String {
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
        None => format!("{progress}, {waiting} waiting"),
    }
}

/// What those wait for that no slot will ever take: `no builder for aarch64-linux (pegasus)`.
fn blocked(view: &RunView) -> Option<String> {
    let mut reasons: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for it in &view.builds {
        let BuildState::Waiting { for_what, .. } = &it.build.state else { continue };
        let reason = match for_what {
            Waiting::Slot => return None,
            Waiting::NoBuilder { system } => format!("no builder for {system}"),
            Waiting::NoFeatures { .. } | Waiting::Retry { .. } => words::waiting(for_what, ""),
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

fn decided_title(view: &RunView, verdict: &Verdict) -> String {
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

/// `; raider: gtk-engine-murrine was removed and 2 more`, required hosts before others.
fn failures(view: &RunView) -> String {
    let bad: Vec<&BuildView> =
        in_order(view).into_iter().filter(|it| standing(it) == Standing::Bad).collect();
    let Some(first) = bad.first() else { return String::new() };
    let optional = if is_required(first) { "" } else { " (not required)" };
    let more = match bad.len() - 1 {
        0 => String::new(),
        more => format!("; {more} more {}", if more == 1 { "fails" } else { "fail" }),
    };
    let reason = plain_title(&remark(&first.build.state), 120);
    format!("; {}{optional}: {reason}{more}", host_name(first))
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
    if view.builds.is_empty() {
        let url = links.run(&view.run.id, view.repository.visibility);
        let _ = write!(out, "[The run's page]({url})");
        return out;
    }
    out.push_str("| host | result | time | what to know |\n| --- | --- | --- | --- |\n");
    for it in in_order(view) {
        out.push_str(&row(view, it, links));
    }
    out.truncate(out.trim_end().len());
    out
}

fn row(view: &RunView, it: &BuildView, links: &Links) -> String {
    let url = links.build(&it.build.id, view.repository.visibility);
    let mut remarks = Vec::new();
    if it.build.attr.label().is_err() {
        remarks.push("this name cannot be the name of a check".to_owned());
    }
    if !is_required(it) {
        remarks.push("not required".to_owned());
    }
    if it.build.attempts > 1 {
        remarks.push(format!("attempt {}", it.build.attempts));
    }
    let remark = remark(&it.build.state);
    if !remark.is_empty() {
        remarks.push(plain_title(&remark, 200));
    }
    format!(
        "| [{}]({url}) | {} | {} | {} |\n",
        inline(&host_name(it)),
        result(&it.build.state),
        time(it),
        inline(&remarks.join("; "))
    )
}

/// What took the time: the build, or the evaluation of a host that was not built.
fn time(it: &BuildView) -> String {
    match it.build.state.ending() {
        Some(Ending::Built { seconds }) => words::seconds(*seconds),
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

fn is_required(it: &BuildView) -> bool {
    it.build.required == Required::Required
}

fn nouns(view: &RunView, count: usize) -> String {
    format!("{count} {}", noun(view, count))
}

/// Hosts are `nixosConfigurations`; as soon as anything else is built they are all outputs.
fn noun(view: &RunView, count: usize) -> &'static str {
    let hosts = view.builds.iter().all(|it| it.build.attr.output() == "nixosConfigurations");
    match (hosts, count) {
        (true, 1) => "host",
        (true, _) => "hosts",
        (false, 1) => "output",
        (false, _) => "outputs",
    }
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

fn detail(problem: &Problem) -> String {
    let detail = cut_lines(&clean(&problem.detail), MOST_MARKDOWN / 2, "… (cut)");
    if detail.trim().is_empty() { String::new() } else { fence(&detail) }
}

fn annotation(problem: &Problem) -> Option<Annotation> {
    super::annotation(problem.place.as_ref()?, "nothing could be built", &problem.headline)
}
