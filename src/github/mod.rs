//! Speaks GitHub. The only module that knows its wire and its client.
//!
//! - [`webhook`]: bytes on a socket become a [`webhook::VerifiedBody`], a glance
//!   ([`webhook::peek`]) and at last an [`Incoming`](crate::domain::incoming::Incoming).
//! - [`client`]: installation tokens for one purpose each, time-outs, what an answer means.
//! - `people`: what an account may do, and the answer to a comment.
//! - [`checks`]: a page becomes a check run or a status, safe to repeat; [`batch`]: many of them
//!   in one request, over `graphql`.
//! - `limits`: GitHub's word on when to call again, law for a whole installation.
//!
//! What the App asks of an account is said once, here: [`EVENTS`] and [`PERMISSIONS`] are what the
//! code uses, and `app-manifest.json` must ask for exactly that.
mod app;
pub mod batch;
pub mod checks;
pub mod client;
mod error;
mod graphql;
mod limits;
mod people;
mod read;
mod signature;
mod token;
pub mod webhook;
mod wire;

/// A branch or tag moved.
pub(crate) const PUSH: &str = "push";
/// A pull request changed.
pub(crate) const PULL_REQUEST: &str = "pull_request";

/// A merge queue made a group of pull requests, or dissolved one.
pub(crate) const MERGE_GROUP: &str = "merge_group";
/// Somebody commented on an issue or a pull request.
pub(crate) const ISSUE_COMMENT: &str = "issue_comment";

/// The events that the App subscribes to.
///
/// GitHub sends `installation`, `installation_repositories`, `github_app_authorization` and, with
/// `checks: write`, `check_run` and `check_suite` to every App without being asked.
pub const EVENTS: [&str; 4] = [PUSH, PULL_REQUEST, MERGE_GROUP, ISSUE_COMMENT];

/// What a token for reporting may do.
pub(crate) const REPORT_PERMISSIONS: &[(&str, &str)] =
    &[("checks", "write"), ("metadata", "read"), ("statuses", "write")];

/// What a token for git may do.
pub(crate) const FETCH_PERMISSIONS: &[(&str, &str)] = &[("contents", "read")];

/// What a token for reactions to comments may do.
pub(crate) const REACT_PERMISSIONS: &[(&str, &str)] = &[("issues", "write"), ("metadata", "read")];

/// What GitHub wants before it sends the [`EVENTS`]: `push` needs `contents`, `merge_group` needs
/// `merge_queues`.
pub(crate) const EVENT_PERMISSIONS: &[(&str, &str)] =
    &[("contents", "read"), ("merge_queues", "read"), ("pull_requests", "read")];

/// Every permission that the App needs, with its level: what its tokens are minted with and what
/// its events need. A permission may occur more than once, always with the same level.
pub const PERMISSIONS: [&[(&str, &str)]; 4] =
    [REPORT_PERMISSIONS, FETCH_PERMISSIONS, REACT_PERMISSIONS, EVENT_PERMISSIONS];
