//! `GET /builds/{id}`: one host, and its log as it comes.
use axum::response::Response;
use maud::{Markup, html};

use crate::domain::build::{BuildState, Ending, EvaluationFailure, Required, Warning};
use crate::domain::link::Links;
use crate::domain::page::{
    BuildView, RunView, at, bytes, duration, host_check, host_name, host_title, insight,
    provenance, remark,
};
use crate::domain::text::clean;
use crate::http::colour;
use crate::http::pages::changes;
use crate::http::pages::{change, moment, page, pill, reason};
use crate::http::sight::Found;
use crate::store::attempts::AttemptOutcome;
use crate::store::views::AttemptView;

/// The part of a log that a page shows.
pub(in crate::http) struct LogPart {
    /// As the builder wrote it.
    pub(in crate::http) text: String,
    /// Where it begins in the whole log; 0 when it is not cut.
    pub(in crate::http) from: u64,
    /// Where what follows begins, while more is to come.
    pub(in crate::http) follow_from: Option<u64>,
}

/// What there is to show of a log.
pub(in crate::http) enum Log {
    /// No attempt has begun, or it has written none.
    Nothing,
    End(LogPart),
    /// It is with another instance, which does not answer.
    OutOfReach,
}

/// The page.
pub(in crate::http) fn render(found: &Found, log: &Log, links: &Links) -> Response {
    let Found { run, build, attempts } = found;
    let title = clean(&host_title(build));
    let check = host_check(build);
    let name = host_name(build);
    let more = clean(&remark(build));
    let visibility = run.repository.visibility;
    let run_path = links.path(&format!("/runs/{}", run.run.id), visibility);
    let main = html! {
        p.dim {
            a href=(run_path) {
                (run.repository.owner) "/" (run.repository.name) " "
                code { (run.run.sha.short()) }
            }
            " · " (reason(&run.run))
        }
        h1 { (name) ": " (title) }
        p {
            (pill(check))
            @if build.build.state.ending().is_none() && !title.contains(&more) { " " (more) }
        }
        (facts(run, build, links))
        (failure(&build.build.state))
        @if let Some(insight) = insight(build) { (changes::render(insight)) }
        (warnings(&build.warnings))
        @if attempts.len() > 1 { (history(attempts)) }
        @match log {
            Log::Nothing => {},
            Log::End(log) => (log_part(run, build, log, links)),
            Log::OutOfReach => { h2 { "Log" } p.dim { "It cannot be reached now; look again in a while." } },
        }
    };
    page(&format!("{name}: {title}"), change(check), &main)
}

fn facts(run: &RunView, view: &BuildView, links: &Links) -> Markup {
    let build = &view.build;
    let json = links.path(&format!("/api/v1/builds/{}", build.id), run.repository.visibility);
    html! {
        dl {
            dt { "attribute" } dd { code { (clean(&build.attr.to_string())) } }
            @if let Some(derivation) = build.state.derivation() {
                dt { "derivation" } dd { code { (derivation.path) } }
                dt { "system" }
                dd {
                    (clean(&derivation.system))
                    @for feature in &derivation.features { ", " (clean(feature)) }
                }
            }
            @if let Some(cost) = view.evaluation {
                dt { "evaluation" } dd { (duration(cost.elapsed_ms)) ", " (bytes(cost.peak_memory)) }
            }
            @if build.attempts > 0 { dt { "attempts" } dd { (build.attempts) } }
            @if let (1.., Some(at)) = (view.history.flaky, view.history.flaky_at) {
                dt { "flaky" }
                dd { (view.history.flaky) ", failed and then passed, last " (moment(at)) }
            }
            @for sentence in provenance(&run.run) { dt { "tested" } dd { (clean(&sentence)) } }
            @if build.required == Required::Optional {
                dt { "gate" } dd { "not required" }
            }
            @if let Some(at) = at(view) { dt { "at" } dd { code { (clean(at)) } } }
            @if let Some(start) = view.started_at { dt { "began" } dd { (moment(start)) } }
            @if let BuildState::Ended { at, .. } = &build.state {
                dt { "ended" } dd { (moment(*at)) }
            }
            dt { "data" } dd { a href=(json) { "JSON" } }
        }
    }
}

fn failure(state: &BuildState) -> Markup {
    match state.ending() {
        Some(Ending::EvaluationFailed(failure)) => evaluation(failure),
        Some(Ending::BuildFailed(failure)) => html! {
            p { "The derivation that failed: " code { (failure.derivation) } }
            @if let Some(before) = &failure.before {
                p {
                    "It failed before, " (moment(before.at))
                    @if let Some(commit) = &before.commit { ", for " (commit.short()) }
                    ", and was not built again; re-run to try again."
                }
            }
        },
        Some(Ending::TimedOut(late)) => html! {
            p { "The limit is " code { (late.setting) } " in the settings of fleetcheck." }
            @if let Some(drv) = &late.derivation {
                p { "The derivation that was running: " code { (drv) } }
            }
        },
        Some(Ending::Transient { .. } | Ending::Internal { .. }) => html! {
            p { "Nothing in this commit is known to be wrong." }
        },
        Some(
            Ending::Reused
            | Ending::Built { .. }
            | Ending::Superseded { .. }
            | Ending::Cancelled { .. }
            | Ending::Skipped { .. },
        )
        | None => html! {},
    }
}

/// What Nix warned of while it evaluated the host.
fn warnings(warnings: &[Warning]) -> Markup {
    html! {
        @if !warnings.is_empty() {
            h2 { "Warnings of the evaluation" }
            ul {
                @for warning in warnings {
                    li {
                        @if let Some(place) = &warning.place {
                            code { (clean(&place.path)) ":" (place.line) } " "
                        }
                        (clean(&warning.message))
                    }
                }
            }
        }
    }
}

/// The attempts at the derivation, for whichever run they were made.
fn history(attempts: &[AttemptView]) -> Markup {
    html! {
        h2 { "Attempts" }
        ul.rows {
            @for attempt in attempts {
                li {
                    span.name { (moment(attempt.started_at)) }
                    span.result { "on " (clean(&attempt.builder)) }
                    span.more { (outcome(attempt.outcome.as_ref())) }
                }
            }
        }
    }
}

fn outcome(outcome: Option<&AttemptOutcome>) -> String {
    match outcome {
        None => "running".to_owned(),
        Some(AttemptOutcome::Answered(ending)) if ending.is_good() => "built".to_owned(),
        Some(AttemptOutcome::Answered(_)) => "failed".to_owned(),
        Some(AttemptOutcome::Weather(what)) => format!("nobody's fault: {}", clean(what)),
        Some(AttemptOutcome::Lost) => "lost: the service was stopped meanwhile".to_owned(),
    }
}

fn evaluation(failure: &EvaluationFailure) -> Markup {
    html! {
        @if let Some(place) = &failure.place {
            p { "in " code { (clean(&place.path)) ":" (place.line) } }
        }
        @if let Some(setting) = &failure.limit {
            p { "The limit is " code { (setting) } " in the settings of fleetcheck." }
        }
        @if !failure.trace.trim().is_empty() { pre { (clean(&failure.trace)) } }
    }
}

fn log_part(run: &RunView, build: &BuildView, log: &LogPart, links: &Links) -> Markup {
    let path = format!("/builds/{}/log", build.build.id);
    let url = links.path(&path, run.repository.visibility);
    html! {
        h2 { "Log" }
        p { a href=(url) { "whole log as text" } }
        @if log.from > 0 { p.dim { "The end of the log; its beginning is left out here." } }
        pre #log data-url=(url) data-next=[log.follow_from] { (colour::html(&log.text)) }
    }
}
