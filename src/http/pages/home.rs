//! `GET /`: the newest runs of public repositories.
use axum::response::Response;
use maud::html;

use crate::domain::incoming::Visibility;
use crate::domain::link::Links;
use crate::domain::page::RunLine;
use crate::http::pages::{Change, moment, page, pill, reason};

/// The page. Runs of private repositories are left out whatever the caller passes.
pub(in crate::http) fn render(runs: &[RunLine], links: &Links) -> Response {
    let public: Vec<&RunLine> =
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
                @for line in public {
                    li {
                        a.name href=(links.path(&format!("/runs/{}", line.run.id), Visibility::Public)) {
                            (line.repository.owner) "/" (line.repository.name)
                        }
                        span.result { (pill(line.check())) }
                        span.more {
                            code { (line.run.sha.short()) } " · " (reason(&line.run)) " · "
                            (moment(line.run.created_at)) br; (line.title())
                        }
                    }
                }
            }
        }
    };
    page("recent runs", Change::Over, &main)
}
