//! `GET /`: the newest runs of public repositories, and those whose lock file has not moved for long.
use axum::response::Response;
use maud::html;

use crate::domain::Timestamp;
use crate::domain::incoming::{Repository, Visibility};
use crate::domain::link::Links;
use crate::domain::page::{RunView, gate_check, gate_title};
use crate::domain::text::clean;
use crate::http::pages::{Change, lock_remark, moment, page, pill, reason};
use crate::store::locks::StaleLock;

/// The page. Private repositories are left out whatever the caller passes.
pub(in crate::http) fn render(
    runs: &[RunView],
    locks: &[StaleLock],
    links: &Links,
    now: Timestamp,
) -> Response {
    let is_public = |it: &Repository| it.visibility == Visibility::Public;
    let public: Vec<&RunView> = runs.iter().filter(|it| is_public(&it.repository)).collect();
    let locks: Vec<(&Repository, String)> = locks
        .iter()
        .filter(|it| is_public(&it.repository))
        .filter_map(|it| it.moved.remark(now).map(|remark| (&it.repository, remark)))
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
        @if !locks.is_empty() {
            h2 { "Lock files" }
            ul {
                @for (repository, remark) in locks {
                    li { (repository.owner) "/" (repository.name) ": " (lock_remark(&remark)) }
                }
            }
        }
    };
    page("recent runs", Change::Over, &main)
}
