//! `GET /deliveries`: what GitHub sent, what did not reach us, and when that was looked at.
use axum::response::Response;
use maud::{Markup, html};

use crate::domain::Timestamp;
use crate::domain::incoming::Visibility;
use crate::domain::page::duration;
use crate::domain::text::clean;
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
        (newest(&seen.deliveries, reader, now))
    };
    page("deliveries", Change::Over, &main)
}

fn newest(deliveries: &[DeliveryLine], reader: Reader, now: Timestamp) -> Markup {
    let shown: Vec<&DeliveryLine> = deliveries.iter().filter(|it| shows(it, reader)).collect();
    html! {
        @if shown.is_empty() {
            p.dim { "None that may be shown here." }
        } @else {
            ul.rows { @for it in shown { (line(it, reader, now)) } }
        }
    }
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
                                br; (clean(note))
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
            "{} looked at, {} missing, {} asked for again, {} given up",
            counted(it.looked, "delivery", "deliveries"),
            it.missed,
            it.asked,
            it.given_up
        ),
        LookKind::Heads => format!(
            "heads of {} compared, {} found that nobody told of",
            counted(it.looked, "repository", "repositories"),
            counted(it.missed, "change", "changes")
        ),
    }
}

fn counted(count: i64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

fn event(name: &str, action: Option<&String>) -> String {
    clean(&action.map_or_else(|| name.to_owned(), |action| format!("{name}.{action}")))
}

fn missed(it: &MissedLine, reader: Reader, now: Timestamp) -> Markup {
    let asked = match it.missed.asked {
        0 => "not asked for".to_owned(),
        1 => "asked for once".to_owned(),
        more => format!("asked for {more} times"),
    };
    let state = match it.missed.state {
        MissedState::Missing => format!("{asked} so far"),
        MissedState::Arrived => format!("{asked}, and came"),
        MissedState::GivenUp => format!("{asked}, and given up"),
    };
    let note = it.missed.note.as_ref().filter(|_| reader == Reader::Operator);
    html! {
        li {
            span.name { (event(&it.missed.event, it.missed.action.as_ref())) }
            span.more {
                @if let Some(name) = named(it.whose.as_ref(), reader) { (name) " · " }
                code { (it.missed.guid) } " · " (age(it.missed.delivered_at, now)) br; (state)
                @if let Some(note) = note { ": " (clean(note)) }
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
                @if let Some(note) = &it.note { ": " (clean(note)) }
            }
        }
    }
}

fn age(at: Timestamp, now: Timestamp) -> Markup {
    html! { (moment(at)) ", " (duration(now.since(at))) " ago" }
}
