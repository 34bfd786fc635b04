//! `GET /deliveries`: what GitHub sent, what did not reach us, and when that was looked at.
use axum::response::Response;
use maud::{Markup, html};

use crate::domain::Timestamp;
use crate::domain::incoming::Visibility;
use crate::domain::page::duration;
use crate::http::pages::{Change, moment, page};
use crate::http::sight::Reader;
use crate::store::looks::{DeliveryLine, Look, LookKind, MissedLine, Overview, Whose};
use crate::store::recover::MissedState;

/// The page as this reader may see it.
pub(in crate::http) fn render(seen: &Overview, reader: Reader, now: Timestamp) -> Response {
    let main = html! {
        h1 { "Deliveries" }
        p.dim { (summary(seen)) }
        @if reader == Reader::Stranger {
            p.dim {
                "Only public repositories are named here. The address with its key stands in the "
                "service's log, at its start."
            }
        }
        h2 { "Looks at GitHub" }
        (looks(&seen.looks, reader))
        h2 { "Did not reach us" }
        @if seen.missed.is_empty() {
            p.dim { "Nothing in the last eight days." }
        } @else {
            ul.rows { @for it in &seen.missed { (missed(it, reader, now)) } }
        }
        h2 { "Newest" }
        ul.rows { @for it in seen.deliveries.iter().filter(|it| shows(it, reader)) { (line(it, reader, now)) } }
    };
    page("deliveries", Change::Over, &main)
}

/// Whether a reader may see a delivery at all: strangers see public repositories' only.
pub(in crate::http) fn shows(it: &DeliveryLine, reader: Reader) -> bool {
    reader == Reader::Operator || it.whose.as_ref().is_some_and(is_public)
}

/// Whose it is, as far as this reader may know.
pub(in crate::http) fn named(whose: Option<&Whose>, reader: Reader) -> Option<String> {
    whose
        .filter(|it| reader == Reader::Operator || is_public(it))
        .map(|it| format!("{}/{}", it.owner, it.name))
}

fn is_public(whose: &Whose) -> bool {
    whose.visibility == Visibility::Public
}

fn summary(seen: &Overview) -> String {
    if seen.counts.is_empty() {
        return "None was kept yet.".to_owned();
    }
    let parts: Vec<String> = seen
        .counts
        .iter()
        .map(|(state, count)| format!("{count} {}", state.replace('_', " ")))
        .collect();
    format!("Kept for eight days: {}.", parts.join(", "))
}

fn looks(looks: &[Look], reader: Reader) -> Markup {
    html! {
        @if looks.is_empty() {
            p.dim { "None yet." }
        } @else {
            ul.rows {
                @for it in looks {
                    li {
                        span.name { (look_title(it)) }
                        span.more {
                            (moment(it.at))
                            // GitHub's words may name what is private.
                            @if let Some(note) = it.note.as_ref().filter(|_| reader == Reader::Operator) {
                                br; (note)
                            }
                        }
                    }
                }
            }
        }
    }
}

/// What a look found, in one line.
fn look_title(it: &Look) -> String {
    match it.kind {
        LookKind::Deliveries => format!(
            "{} deliveries looked at, {} missing, {} asked for again, {} given up",
            it.looked, it.missed, it.asked, it.given_up
        ),
        LookKind::Heads => {
            format!("heads of {} repositories compared, {} things found", it.looked, it.missed)
        }
    }
}

fn event(name: &str, action: Option<&String>) -> String {
    action.map_or_else(|| name.to_owned(), |action| format!("{name}.{action}"))
}

fn missed(it: &MissedLine, reader: Reader, now: Timestamp) -> Markup {
    let state = match it.missed.state {
        MissedState::Missing => format!("asked for {} times so far", it.missed.asked),
        MissedState::Arrived => format!("asked for {} times, and came", it.missed.asked),
        MissedState::GivenUp => format!("asked for {} times, and given up", it.missed.asked),
    };
    let note = it.missed.note.as_ref().filter(|_| reader == Reader::Operator);
    html! {
        li {
            span.name { (event(&it.missed.event, it.missed.action.as_ref())) }
            span.more {
                @if let Some(name) = named(it.whose.as_ref(), reader) { (name) " · " }
                code { (it.missed.guid) } " · " (age(it.missed.delivered_at, now)) br; (state)
                @if let Some(note) = note { ": " (note) }
            }
        }
    }
}

fn line(it: &DeliveryLine, reader: Reader, now: Timestamp) -> Markup {
    html! {
        li {
            span.name { (event(&it.event, it.action.as_ref())) }
            span.more {
                @if let Some(name) = named(it.whose.as_ref(), reader) { (name) " · " }
                code { (it.guid) } " · " (age(it.received_at, now)) br;
                (it.state.as_str().replace('_', " "))
                @if let Some(note) = &it.note { ": " (note) }
            }
        }
    }
}

fn age(at: Timestamp, now: Timestamp) -> Markup {
    html! { (moment(at)) ", " (duration(now.since(at))) " ago" }
}
