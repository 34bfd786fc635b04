//! `GET /`: the newest runs of public repositories, and how it stands with the updates of their lock
//! files: those on their way, what came of the newest, and what should have happened and did not.
use axum::response::Response;
use maud::{Markup, html};

use crate::domain::Timestamp;
use crate::domain::incoming::{Repository, Visibility};
use crate::domain::link::Links;
use crate::domain::page::{RunView, gate_check, gate_title};
use crate::domain::text::{clean, plain_title};
use crate::domain::update::life::UpdateState;
use crate::domain::update::tracking::{Silence, UpdateFacts, silences};
use crate::http::pages::{Change, lock_remark, moment, page, pill, reason};
use crate::store::overview::UpdateLine;

/// The longest end of an update, in characters.
const MOST_WORDS: usize = 300;

/// What the page is about.
pub(in crate::http) struct Home {
    pub(in crate::http) runs: Vec<RunView>,
    pub(in crate::http) updates: Vec<UpdateLine>,
    pub(in crate::http) facts: Vec<(Repository, UpdateFacts)>,
}

/// The page. Private repositories are left out whatever the caller passes.
pub(in crate::http) fn render(home: &Home, links: &Links, now: Timestamp) -> Response {
    let is_public = |it: &Repository| it.visibility == Visibility::Public;
    let public: Vec<&RunView> = home.runs.iter().filter(|it| is_public(&it.repository)).collect();
    let updates: Vec<&UpdateLine> =
        home.updates.iter().filter(|it| is_public(&it.repository)).collect();
    let facts = home.facts.iter().filter(|(repository, _)| is_public(repository));
    let silences: Vec<(&Repository, Silence)> = facts
        .flat_map(|(repository, facts)| {
            silences(facts, now).into_iter().map(move |it| (repository, it))
        })
        .collect();
    let main = html! {
        h1 { "Recent runs" }
        @if public.is_empty() {
            p.dim {
                "No run of a public repository yet. Runs of private repositories are opened from "
                "their checks on GitHub."
            }
        } @else {
            ul.rows {
                @for view in public {
                    li {
                        a.name href=(links.path(&format!("/runs/{}", view.run.id), Visibility::Public)) {
                            (view.repository.owner) "/" (view.repository.name)
                        }
                        span.result { (pill(gate_check(view))) }
                        span.more {
                            code { (view.run.sha.short()) } " · " (reason(&view.run)) " · "
                            (moment(view.run.created_at)) br; (clean(&gate_title(view)))
                        }
                    }
                }
            }
        }
        @if !updates.is_empty() || !silences.is_empty() {
            h2 { "Updates" }
            ul {
                @for line in updates { li { (named(&line.repository, &line.group)) (update(line, links)) } }
                @for (repository, silence) in silences {
                    li { (named(repository, "")) (silent(&silence, now)) }
                }
            }
        }
    };
    page("recent runs", Change::Over, &main)
}

/// `acme/fleet: `, with the group of inputs where there are several.
fn named(repository: &Repository, group: &str) -> Markup {
    html! {
        (repository.owner) "/" (repository.name)
        @if !matches!(group, "" | "all") { " (" (clean(group)) ")" }
        ": "
    }
}

/// How it stands with an update.
fn update(line: &UpdateLine, links: &Links) -> Markup {
    let UpdateLine { update, tries, group: _, repository: _ } = line;
    let since = moment(update.created_at);
    let stands = match &update.state {
        UpdateState::Requested => html! { "an update is wanted since " (since) },
        UpdateState::Searching => html! {
            "tries lock files since " (since)
            @if let Some(run) = tries.last() {
                ", "
                a href=(links.path(&format!("/runs/{run}"), Visibility::Public)) {
                    (tries.len()) " tried"
                }
            }
        },
        UpdateState::Proposing => html! { "what may move becomes a pull request" },
        UpdateState::Merging { number } => {
            html! { "pull request " (number) " is merged as soon as it may be" }
        }
        UpdateState::Ended { outcome, at } => html! {
            "an update has ended " (moment(*at)) ": " (plain_title(&outcome.words(), MOST_WORDS))
        },
    };
    html! {
        (stands)
        @if let Some(note) = &update.note { "; " (plain_title(note, MOST_WORDS)) }
    }
}

/// What should have happened.
fn silent(silence: &Silence, now: Timestamp) -> Markup {
    match silence {
        Silence::StaleLock(lock) => {
            lock_remark(&lock.remark(now).unwrap_or_else(|| silence.line(now)))
        }
        Silence::NotEnded { .. } | Silence::NotFired { .. } | Silence::Waiting { .. } => {
            html! { (silence.line(now)) }
        }
    }
}
