//! `GET /builders`: how it stands with each builder, and what runs there.
use axum::response::Response;
use maud::{Markup, html};

use crate::domain::builder::Builder;
use crate::domain::incoming::Visibility;
use crate::domain::page::{bytes, duration};
use crate::domain::text::clean;
use crate::http::Front;
use crate::http::pages::{Change, moment, page};
use crate::http::sight::Reader;
use crate::store::builders::Running;

/// The page as this reader may see it.
pub(in crate::http) fn render(
    builders: &[Builder],
    running: &[Running],
    reader: Reader,
    front: &Front,
) -> Response {
    let main = html! {
        h1 { "Builders" }
        @if builders.is_empty() {
            p.dim { "None is known yet." }
        }
        @for it in builders {
            h2 { (it.name) " " (pill(it)) }
            p {
                (state(it, reader)) "."
                @for remark in it.remarks() { " " (clean(&remark)) "." }
            }
            p.dim { (about(it)) " · looked at " (moment(it.looked_at)) }
            (work(it, running, reader, front))
        }
    };
    page("builders", Change::Expected, &main)
}

fn pill(it: &Builder) -> Markup {
    let colour = match (it.takes_work(), it.drained_at) {
        (true, _) => "good",
        (false, Some(_)) => "gone",
        (false, None) => "bad",
    };
    html! { span class={ "pill " (colour) } { (it.word()) } }
}

/// What a machine or ssh said may name what strangers need not know.
fn state(it: &Builder, reader: Reader) -> String {
    match reader {
        Reader::Operator => clean(&it.sentence()),
        Reader::Stranger => clean(&it.outline()),
    }
}

fn about(it: &Builder) -> String {
    let mut parts = vec![it.capability.systems.join(", ")];
    let features = [&it.capability.features[..], &it.capability.mandatory[..]].concat();
    if !features.is_empty() {
        parts.push(features.join(", "));
    }
    parts.push(format!("{} slots", it.slots));
    if let Some(version) = &it.facts.version {
        parts.push(format!("Nix {}", clean(version)));
    }
    if let (Some(free), Some(size)) = (it.facts.free, it.facts.size) {
        parts.push(format!("{} of {} free", bytes(free), bytes(size)));
    }
    if let Some(load) = &it.facts.load {
        parts.push(format!("load {}", clean(load)));
    }
    parts.join(" · ")
}

fn work(it: &Builder, running: &[Running], reader: Reader, front: &Front) -> Markup {
    let here: Vec<&Running> = running.iter().filter(|one| one.builder == it.name).collect();
    let may_see =
        |one: &&&Running| reader == Reader::Operator || one.visibility == Visibility::Public;
    let shown: Vec<&&Running> = here.iter().filter(may_see).collect();
    let hidden = here.len() - shown.len();
    let now = (front.clock)();
    html! {
        @if here.is_empty() {
            p.dim { "Nothing runs here." }
        } @else {
            ul.rows {
                @for one in shown {
                    li {
                        a.name href=(front.links.path(&format!("/builds/{}", one.build), one.visibility)) {
                            (clean(&one.attr))
                        }
                        span.more {
                            (one.owner) "/" (one.name) " · for "
                            (duration(now.since(one.since)))
                            @if let Some(counts) = &one.counts {
                                " · " (counts.done) " of " (counts.expected) " derivations"
                                @if let Some(at) = &counts.at { ", at " (at.name()) }
                            }
                        }
                    }
                }
                @if hidden > 0 {
                    li { span.name { (hidden) " of private repositories" } }
                }
            }
        }
    }
}
