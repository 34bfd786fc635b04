//! The check of one host.
use crate::domain::Timestamp;
use crate::domain::build::{
    BuildFailure, BuildState, Ending, EvaluationFailure, Remembered, Required, TimedOut,
};
use crate::domain::id::{AttrPath, DrvPath};
use crate::domain::link::Links;
use crate::domain::page::gate::warning_line;
use crate::domain::page::insight::{change, insight, section};
use crate::domain::page::outlook;
use crate::domain::page::people;
use crate::domain::page::provenance::CONFINED;
use crate::domain::page::words::{bytes, clock, duration, internal, seconds, timed_out, turn_or};
use crate::domain::page::{
    BuildView, CheckPage, CheckStatus, Earlier, MOST_MARKDOWN, MOST_TITLE, RunView,
};
use crate::domain::run::Trust;
use crate::domain::text::{clean, cut_lines, fence, inline, plain_title, tail};
use crate::domain::verdict::conclusion;

/// Lines of a log that a check shows.
const LOG_LINES: usize = 40;

/// Bytes of Nix's trace that a check shows; the page has the rest.
const MOST_TRACE: usize = 30_000;

pub(super) fn page(
    view: &RunView,
    build: &BuildView,
    check_name: &str,
    links: &Links,
) -> Option<CheckPage> {
    let label = build.build.attr.label().ok()?;
    let visibility = view.repository.visibility;
    let url = links.build(&build.build.id, visibility);
    let more = format!("[The rest is on the build's page]({url})");
    let log = build.attempt.as_ref().map(|_| links.log(&build.build.id, visibility));
    let mut parts = vec![insight(build).map_or_else(String::new, section), text(build)];
    parts.retain(|it| !it.is_empty());
    let text = parts.join("\n\n");
    Some(CheckPage {
        name: format!("{check_name} / {label}"),
        status: host_check(build),
        title: plain_title(&host_title(build), MOST_TITLE),
        summary: cut_lines(
            &(people::above(build.note.as_deref())
                + &summary(build, view.run.trust, (&url, log.as_deref()))),
            MOST_MARKDOWN,
            &more,
        ),
        text: cut_lines(&text, MOST_MARKDOWN, &more),
        // On lines of the repository the gate speaks, once for all hosts.
        annotations: vec![],
        actions: people::host_actions(view, build),
        details_url: url,
    })
}

/// Where a host's check stands for GitHub.
#[must_use]
pub fn host_check(view: &BuildView) -> CheckStatus {
    match &view.build.state {
        BuildState::Ended { ending, at, .. } => {
            CheckStatus::Completed { conclusion: conclusion(ending), at: *at }
        }
        BuildState::Building { since, .. } => CheckStatus::InProgress { since: *since },
        // A check that was in progress stays so while it waits for its next attempt; one that was
        // asked for again has had none yet.
        BuildState::Waiting { since, .. } if view.attempt.is_some() => {
            CheckStatus::InProgress { since: view.started_at.unwrap_or(*since) }
        }
        BuildState::Listed { .. } | BuildState::Waiting { .. } => CheckStatus::Queued,
    }
}

/// What a person needs to know of a build, in one line of plain text.
#[must_use]
pub fn host_title(view: &BuildView) -> String {
    let attempts = view.build.attempts;
    let title = match &view.build.state {
        BuildState::Listed { known: None } => return "waits for its evaluation".to_owned(),
        BuildState::Listed { known: Some(_) } => return "waits to be built again".to_owned(),
        BuildState::Waiting { derivation, for_what, .. } => {
            let what = turn_or(&view.outlook, for_what, &derivation.system);
            return if attempts == 0 {
                format!("waits for a builder: {what}")
            } else {
                format!("waits for attempt {}: {what}", attempts + 1)
            };
        }
        BuildState::Building { since, .. } => {
            let progress = outlook::progress(&view.outlook);
            let progress = progress.map(|it| format!(", {it}")).unwrap_or_default();
            let after = view.history.earlier.as_ref();
            let after = after.map(|it| format!(", after {}", earlier(it))).unwrap_or_default();
            format!("building since {}{progress}{after}", clock(*since))
        }
        BuildState::Ended { ending, .. } => ended_title(ending),
    };
    let title = match change(view) {
        Some(change) => format!("{title}; {change}"),
        None => title,
    };
    if attempts > 1 { format!("attempt {attempts}: {title}") } else { title }
}

/// How a build ended, in one line of plain text.
#[must_use]
pub fn ended_title(ending: &Ending) -> String {
    match ending {
        Ending::Reused => "reused: already built".to_owned(),
        Ending::Built { seconds: took, .. } => format!("built in {}", seconds(*took)),
        Ending::Superseded { by } => format!("superseded by {}", by.short()),
        Ending::Cancelled { by } => format!("cancelled by {by}"),
        Ending::Skipped { by } => format!("skipped by {by}"),
        Ending::EvaluationFailed(failure) => failure.headline.clone(),
        Ending::BuildFailed(failure) => {
            let before = if failure.before.is_some() { "; failed before" } else { "" };
            format!("{} failed to build: {}{before}", failure.derivation.name(), failure.headline)
        }
        Ending::TimedOut(late) => format!("timed out: {}", timed_out(late)),
        Ending::Transient { what } => format!("no answer, and nobody's fault: {what}"),
        Ending::Internal { number } => internal(number),
    }
}

fn summary(view: &BuildView, trust: Trust, (url, log): (&str, Option<&str>)) -> String {
    let build = &view.build;
    let mut rows = vec![("attribute", attribute(&build.attr))];
    if let Some(derivation) = build.state.derivation() {
        rows.push(("derivation", code(&derivation.path)));
        let features = derivation.features.join(", ");
        let features = if features.is_empty() { features } else { format!(" with {features}") };
        rows.push(("system", inline(&format!("{}{features}", derivation.system))));
    }
    if let Some(cost) = view.evaluation {
        let took = duration(cost.elapsed_ms);
        rows.push(("evaluation", format!("{took}, {}", bytes(cost.peak_memory))));
    }
    rows.extend(outlook(view));
    if build.attempts > 0 {
        let before = view.history.earlier.as_ref().filter(|_| build.attempts > 1);
        let before = before.map(|it| format!("; the one before {}", earlier(it)));
        let attempts = format!("{}{}", build.attempts, before.unwrap_or_default());
        rows.push(("attempts", inline(&attempts)));
    }
    if let Some(Ending::Built { without, .. }) = build.state.ending()
        && !without.is_empty()
    {
        let servers = without.join(", ");
        rows.push(("built without", inline(&format!("{servers}, which did not answer"))));
    }
    if let (1.., Some(at)) = (view.history.flaky, view.history.flaky_at) {
        rows.push(("flaky", flaky(view.history.flaky, at)));
    }
    if trust == Trust::Untrusted {
        rows.push(("trust", CONFINED.to_owned()));
    }
    if build.required == Required::Optional {
        rows.push(("gate", "not required: its failure does not fail the gate".to_owned()));
    }
    let table: Vec<String> =
        rows.into_iter().map(|(name, value)| format!("| {name} | {value} |")).collect();
    let log = log.map(|log| format!(" · [Log]({log})")).unwrap_or_default();
    format!("| | |\n| --- | --- |\n{}\n\n[Build]({url}){log}", table.join("\n"))
}

/// How the attempt before ended: `on basestar: the connection to nix-daemon was lost`.
fn earlier(it: &Earlier) -> String {
    format!("on {}: {}", it.builder, it.what)
}

/// `2 times failed and then passed with the same derivation, last at 14:02 UTC`.
fn flaky(count: u32, at: Timestamp) -> String {
    let times = if count == 1 { "once".to_owned() } else { format!("{count} times") };
    format!("{times} failed and then passed with the same derivation, last at {}", clock(at))
}

/// How it goes on with a host that is not done.
fn outlook(view: &BuildView) -> Vec<(&'static str, String)> {
    let outlook = &view.outlook;
    let (queue, last) = match &view.build.state {
        BuildState::Ended { .. } => return vec![],
        BuildState::Listed { .. } => (None, outlook.evaluation_ms),
        BuildState::Waiting { derivation, .. } => {
            (outlook.turn.map(|it| format!("{it} for {}", derivation.system)), outlook.build_ms)
        }
        BuildState::Building { .. } => (None, outlook.build_ms),
    };
    let rows = [
        ("queue", queue),
        ("progress", outlook::progress(outlook)),
        ("estimate", outlook::estimate(last)),
    ];
    rows.into_iter().filter_map(|(name, value)| Some((name, inline(&value?)))).collect()
}

fn attribute(attr: &AttrPath) -> String {
    inline(&attr.to_string())
}

/// A store path holds no character that could end its code.
fn code(drv: &DrvPath) -> String {
    format!("`{drv}`")
}

fn text(view: &BuildView) -> String {
    let mut parts = vec![ending_text(&view.build.state), warnings(view)];
    parts.retain(|it| !it.is_empty());
    parts.join("\n\n")
}

fn warnings(view: &BuildView) -> String {
    if view.warnings.is_empty() {
        return String::new();
    }
    let lines = view.warnings.iter().map(|it| format!("- {}", warning_line(it)));
    format!("Nix warned while it evaluated this host:\n\n{}", lines.collect::<Vec<_>>().join("\n"))
}

fn ending_text(state: &BuildState) -> String {
    let Some(ending) = state.ending() else { return String::new() };
    match ending {
        Ending::Reused
        | Ending::Built { .. }
        | Ending::Superseded { .. }
        | Ending::Cancelled { .. }
        | Ending::Skipped { .. } => String::new(),
        Ending::EvaluationFailed(failure) => evaluation_text(failure),
        Ending::BuildFailed(failure) => build_text(failure),
        Ending::TimedOut(late) => timeout_text(late),
        Ending::Transient { what } => format!(
            "Nothing in this commit is known to be wrong. What happened is the weather, and \
             trying again did not mend it:\n\n{}",
            fence(what)
        ),
        Ending::Internal { number } => format!(
            "Nothing in this commit is known to be wrong: fleetcheck itself failed. Its operator \
             finds the reason in the service's log under the number {}.",
            inline(number)
        ),
    }
}

fn evaluation_text(failure: &EvaluationFailure) -> String {
    let place = failure.place.as_ref().map_or_else(String::new, |place| {
        format!("\n\nin {}, line {}", inline(&place.path), place.line)
    });
    let limit = failure.limit.as_ref().map_or_else(String::new, |setting| {
        format!("\n\nThe limit is `{}` in the settings of fleetcheck.", inline(setting))
    });
    let trace = cut_lines(&clean(&failure.trace), MOST_TRACE, "… (cut)");
    let trace = if trace.trim().is_empty() {
        String::new()
    } else {
        format!("\n\nWhat Nix said:\n\n{}", fence(&trace))
    };
    format!("**{}**{place}{limit}{trace}", inline(&failure.headline))
}

fn build_text(failure: &BuildFailure) -> String {
    let before = failure.before.as_ref().map(|it| format!("\n\n{}", failed_before(it)));
    format!(
        "**{}**{}\n\nThe derivation that failed:\n\n{}{}",
        inline(&failure.headline),
        before.unwrap_or_default(),
        code(&failure.derivation),
        log_text(&failure.log_tail)
    )
}

/// Why nothing was built, and what to do if it should be.
fn failed_before(before: &Remembered) -> String {
    let of = before.commit.as_ref().map(|it| format!(" for {}", it.short())).unwrap_or_default();
    format!(
        "It failed before, at {}{of}, and was not built again; re-run to try again.",
        clock(before.at)
    )
}

fn timeout_text(late: &TimedOut) -> String {
    let running = late.derivation.as_ref().map_or_else(String::new, |drv| {
        format!("\n\nThe derivation that was running:\n\n{}", code(drv))
    });
    format!(
        "**{}**\n\nThe limit is `{}` in the settings of fleetcheck.{running}{}",
        inline(&timed_out(late)),
        late.setting,
        log_text(&late.log_tail)
    )
}

fn log_text(lines: &[String]) -> String {
    if lines.is_empty() {
        return "\n\nIt wrote no log.".to_owned();
    }
    let shown = lines.len().min(LOG_LINES);
    let what = if shown == 1 { "line" } else { "lines" };
    format!("\n\nThe last {shown} {what} of its log:\n\n{}", fence(&tail(lines, LOG_LINES)))
}
