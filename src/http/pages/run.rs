//! `GET /runs/{id}`: one commit, and how each host stands.
use axum::response::Response;
use maud::{Markup, html};

use crate::domain::build::{BuildState, Ending};
use crate::domain::link::Links;
use crate::domain::page::{
    BuildView, CheckStatus, Comparison, RunView, at, change as change_of, changes, comparison,
    duration, gate_check, gate_title, host_check, host_name, in_order, notes, provenance, remark,
    result, shared_causes, stale_lock,
};
use crate::domain::run::RunState;
use crate::domain::text::clean;
use crate::domain::verdict::Verdict;
use crate::http::pages::{Change, change, colour_of, lock_remark, moment, page, pill, reason};

/// The page.
pub(in crate::http) fn render(view: &RunView, links: &Links) -> Response {
    let title = gate_title(view);
    let check = gate_check(view);
    let (run, repository) = (&view.run, &view.repository);
    let json = links.path(&format!("/api/v1/runs/{}", run.id), repository.visibility);
    let main = html! {
        p.dim {
            (repository.owner) "/" (repository.name) " · " code { (run.sha.short()) } " · "
            (reason(run)) " · " (moment(run.created_at))
        }
        h1 { (clean(&title)) }
        p { (pill(check)) " " a href=(json) { "JSON" } }
        (problem(view))
        (tested(view))
        (what_changes(view))
        @if !view.builds.is_empty() {
            (causes(view))
            h2 { "Hosts" }
            ul.rows { @for build in in_order(view) { (row(view, build, links)) } }
            (compared(view))
        }
    };
    // The gate does not wait for optional hosts; the page does.
    let open = |it: &BuildView| !matches!(host_check(it), CheckStatus::Completed { .. });
    let live = if view.builds.iter().any(open) { Change::Expected } else { change(check) };
    page(&title, live, &main)
}

fn tested(view: &RunView) -> Markup {
    html! {
        @for sentence in provenance(&view.run) { p.dim { (clean(&sentence)) } }
        @if let Some(remark) = stale_lock(&view.run) { p { (lock_remark(&remark)) } }
    }
}

fn what_changes(view: &RunView) -> Markup {
    let lines = changes(view);
    html! {
        @if !lines.is_empty() {
            h2 { "What changes" }
            ul { @for line in lines { li { (clean(&line)) } } }
        }
    }
}

fn problem(view: &RunView) -> Markup {
    match &view.run.state {
        RunState::Ended { verdict: Verdict::Broken { problem }, .. } => html! {
            @if !problem.detail.trim().is_empty() { pre { (clean(&problem.detail)) } }
        },
        RunState::Ended { verdict: Verdict::Superseded { by }, .. } => html! {
            p { "A newer commit, " code { (by) } ", took this one's place." }
        },
        RunState::Ended { verdict: Verdict::Cancelled { by }, .. } => html! {
            p { "Cancelled by " (clean(by)) "." }
        },
        RunState::Ended { verdict: Verdict::Skipped { by }, .. } => html! {
            p { "The commit's message says " code { (clean(by)) } ": nothing of it was built." }
        },
        RunState::AwaitingApproval => html! {
            p {
                "Nothing of this commit has been evaluated or built. A person with write access "
                "to the repository has to say so first."
            }
        },
        RunState::Ended {
            verdict: Verdict::Passed | Verdict::Failed | Verdict::TimedOut, ..
        }
        | RunState::Requested
        | RunState::Evaluating { .. }
        | RunState::Building { .. } => html! {},
    }
}

/// What stops several hosts, once for all of them.
fn causes(view: &RunView) -> Markup {
    let causes = shared_causes(view);
    html! {
        @if !causes.is_empty() {
            h2 { "Shared causes" }
            ul { @for cause in causes { li { (clean(&cause)) } } }
        }
    }
}

fn compared(view: &RunView) -> Markup {
    let Some(Comparison { with, parts }) = comparison(view) else { return html! {} };
    html! {
        h2 { "Compared" }
        p { (with) }
        @if !parts.is_empty() {
            ul { @for (what, names) in parts { li { (what) ": " (names) } } }
        }
    }
}

/// The result without its sign, for which not every reader has a letter; its colour says the same.
fn word(build: &BuildView) -> Markup {
    let result = result(&build.build.state);
    let word = result.split_once(' ').map_or(result, |(_, word)| word);
    html! { span class={ "result " (colour_of(host_check(build))) } { (word) } }
}

fn row(view: &RunView, build: &BuildView, links: &Links) -> Markup {
    let path = format!("/builds/{}", build.build.id);
    let mut more = notes(view, build);
    if let BuildState::Ended { ending: Ending::Built { seconds, .. }, .. } = &build.build.state {
        let ms = i64::try_from(*seconds).unwrap_or(i64::MAX / 1000).saturating_mul(1000);
        more.push(duration(ms));
    }
    let remark = clean(&change_of(build).unwrap_or_else(|| remark(build)));
    if !remark.is_empty() {
        more.push(remark);
    }
    more.extend(at(build).map(|it| format!("at {}", clean(it))));
    html! {
        li {
            a.name href=(links.path(&path, view.repository.visibility)) { (host_name(build)) }
            (word(build))
            @if !more.is_empty() { span.more { (more.join(" · ")) } }
        }
    }
}
