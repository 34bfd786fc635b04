//! `GET /`: the newest runs of public repositories.
use axum::response::Response;
use maud::html;

use crate::domain::incoming::Visibility;
use crate::domain::link::Links;
use crate::domain::page::{RunView, gate_check, gate_title};
use crate::domain::text::clean;
use crate::http::pages::{Change, moment, page, pill, reason};

/// The page. Runs of private repositories are left out whatever the caller passes.
pub(in crate::http) fn render(runs: &[RunView], links: &Links) -> Response {
    let public: Vec<&RunView> =
        runs.iter().filter(|it| it.repository.visibility == Visibility::Public).collect();
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
    };
    page("recent runs", Change::Over, &main)
}
