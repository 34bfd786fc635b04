//! The pages that people read: rendered here, whole without JavaScript, narrow enough for a phone.
//!
//! Everything that comes from a repository is escaped by maud; logs by
//! [`colour`](crate::http::colour).
pub(super) mod build;
pub(super) mod builders;
mod changes;
pub(super) mod deliveries;
pub(super) mod home;
pub(super) mod run;

use std::sync::LazyLock;

use axum::http::header;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest, Sha256};

use crate::domain::Timestamp;
use crate::domain::page::CheckStatus;
use crate::domain::run::{Reason, Run};
use crate::domain::text::clean;
use crate::domain::verdict::Conclusion;

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("live.js");

/// Nothing is loaded but this page's own style and script, and nothing is sent anywhere else.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = |text: &str| STANDARD.encode(Sha256::digest(text));
    format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; connect-src 'self'; \
         img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        hash(STYLE),
        hash(SCRIPT)
    )
});

const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 \
    16'%3E%3Ccircle cx='8' cy='8' r='7' fill='%232da44e'/%3E%3Cpath d='M4.5 8.5l2.5 2.5 5-5' \
    stroke='white' stroke-width='2' fill='none'/%3E%3C/svg%3E";

/// Whether a page will change by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    /// Looked at again every few seconds.
    Expected,
    Over,
}

/// A whole page around `main`.
fn page(title: &str, change: Change, main: &Markup) -> Response {
    let live = match change {
        Change::Expected => Some("page"),
        Change::Over => None,
    };
    let document = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="robots" content="noindex";
                title { (title) " · fleetcheck" }
                link rel="icon" href=(ICON);
                style { (PreEscaped(STYLE)) }
            }
            body {
                header { a href="/" { "fleetcheck" } " · " a href="/builders" { "builders" } }
                main data-live=[live] { (main) }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    let policy = [(header::CONTENT_SECURITY_POLICY, POLICY.as_str())];
    (policy, document).into_response()
}

/// A check's status as a coloured word.
fn pill(status: CheckStatus) -> Markup {
    let word = match status {
        CheckStatus::Queued => "queued",
        CheckStatus::InProgress { .. } => "in progress",
        CheckStatus::Completed { conclusion, .. } => match conclusion {
            Conclusion::Success => "success",
            Conclusion::Skipped => "skipped",
            Conclusion::Cancelled => "cancelled",
            Conclusion::ActionRequired => "action required",
            Conclusion::TimedOut => "timed out",
            Conclusion::Failure => "failure",
        },
    };
    html! { span class={ "pill " (colour_of(status)) } { (word) } }
}

/// The class that colours a status.
fn colour_of(status: CheckStatus) -> &'static str {
    match status {
        CheckStatus::Queued | CheckStatus::InProgress { .. } => "open",
        CheckStatus::Completed { conclusion, .. } => match conclusion {
            Conclusion::Success => "good",
            Conclusion::Skipped | Conclusion::Cancelled => "gone",
            Conclusion::ActionRequired => "open",
            Conclusion::TimedOut | Conclusion::Failure => "bad",
        },
    }
}

fn change(status: CheckStatus) -> Change {
    match status {
        CheckStatus::Queued | CheckStatus::InProgress { .. } => Change::Expected,
        CheckStatus::Completed { .. } => Change::Over,
    }
}

/// `push to main`, `pull request 7`.
fn reason(run: &Run) -> String {
    match &run.reason {
        Reason::Push(branch) => format!("push to {branch}"),
        Reason::PullRequest(number) => format!("pull request {number}"),
        Reason::MergeGroup(branch) => format!("merge group {branch}"),
        Reason::Update { nth, .. } => format!("update of flake.lock, try {nth}"),
    }
}

/// What is said of a lock file that has not moved for long.
fn lock_remark(remark: &str) -> Markup {
    html! {
        code { "flake.lock" } " " (clean(remark)) ". " code { "fleetcheck update" }
        " finds out which inputs can move."
    }
}

/// A moment as people read it and as machines do.
fn moment(at: Timestamp) -> Markup {
    let text = rfc3339(at);
    let shown = format!("{} {} UTC", text.get(..10).unwrap_or(""), text.get(11..16).unwrap_or(""));
    html! { time datetime=(text) { (shown) } }
}

/// A moment as in RFC 3339, in UTC.
pub(super) fn rfc3339(at: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(at.0).map_or_else(|_| String::new(), |it| it.to_string())
}
