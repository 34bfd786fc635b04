//! What changes on a host: all of it that is kept.
use maud::{Markup, html};

use crate::domain::insight::{Changes, Insight, Names, Units, headline, reboot, sizes, unknown};
use crate::domain::text::clean;

/// The part of a build's page.
pub(super) fn render(insight: &Insight) -> Markup {
    html! {
        h2 { "What changes" }
        p { "Compared with " code { (insight.base().short()) } ": " (clean(&headline(insight))) "." }
        @match insight {
            Insight::Changed { changes, .. } => (changed(changes)),
            Insight::RevisionOnly { units: Some(units), .. } => dl { (unit_lists(units)) },
            Insight::RevisionOnly { units: None, .. }
            | Insight::Unchanged { .. }
            | Insight::Absent { .. } => {},
        }
    }
}

fn changed(changes: &Changes) -> Markup {
    html! {
        dl {
            @if !changes.reboot.is_empty() {
                dt { "reboot" } dd { "needed: " (clean(&reboot(&changes.reboot))) }
            }
            dt { "closure" } dd { (sizes(changes)) }
            @if changes.files > 0 { dt { "configuration" } dd { (changes.files) " files" } }
            (list("rebuilt", &changes.rebuilt))
            @if let Some(units) = &changes.units { (unit_lists(units)) }
        }
        @if let Some(words) = unknown(changes) { p.dim { (words) "." } }
        @if changes.package_count() > 0 {
            ul.rows {
                @for it in &changes.packages {
                    li {
                        span.name { (clean(&it.name)) }
                        span.more {
                            (clean(&it.before.join(", "))) " → " (clean(&it.after.join(", ")))
                        }
                    }
                }
                @if changes.more_packages > 0 { li { "and " (changes.more_packages) " more" } }
            }
        }
    }
}

fn unit_lists(units: &Units) -> Markup {
    let Units { restarted, reloaded, left_alone, added, removed } = units;
    html! {
        (list("units restarted", restarted))
        (list("units reloaded", reloaded))
        (list("units left running", left_alone))
        (list("units added", added))
        (list("units removed", removed))
    }
}

fn list(what: &str, names: &Names) -> Markup {
    html! {
        @if !names.is_empty() { dt { (what) } dd { (clean(&names.listed(usize::MAX))) } }
    }
}
