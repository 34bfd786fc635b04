//! Speaks GitHub. The only module that knows its wire and its client.
//!
//! - [`webhook`]: bytes on a socket become a [`webhook::VerifiedBody`], a glance
//!   ([`webhook::peek`]) and at last an [`Incoming`](crate::domain::incoming::Incoming).
//! - [`client`]: installation tokens for one purpose each, time-outs, what an answer means.
//! - `signed`: by whom a call is made, and with which key or token.
//! - `people`: what an account may do, and the answer to a comment.
//! - [`deliveries`]: what GitHub tried to send; [`heads`]: what there is; [`recovered`]: that as
//!   deliveries of our own, shaped like GitHub's.
//! - [`checks`]: a page becomes a check run or a status, safe to repeat; [`batch`]: many of them
//!   in one request, over `graphql`.
//! - [`updater`]: commits, branches, pull requests and issues of updates.
//! - `limits`: GitHub's word on when to call again, law for a whole installation.
//!
//! What the App asks of an account is said once, here: [`EVENTS`] and [`PERMISSIONS`] are what the
//! code uses, and `app-manifest.json` must ask for exactly that.
mod app;
pub mod batch;
pub mod checks;
pub mod client;
pub mod deliveries;
mod error;
mod graphql;
pub mod heads;
mod limits;
mod people;
mod read;
pub mod recovered;
mod repositories;
mod signature;
mod signed;
mod token;
pub mod updater;
pub mod webhook;
mod wire;

/// A branch or tag moved.
pub(crate) const PUSH: &str = "push";
/// A pull request changed.
pub(crate) const PULL_REQUEST: &str = "pull_request";
/// A repository got another name, owner or visibility, or was archived.
pub(crate) const REPOSITORY: &str = "repository";

/// A merge queue made a group of pull requests, or dissolved one.
pub(crate) const MERGE_GROUP: &str = "merge_group";
/// Somebody commented on an issue or a pull request.
pub(crate) const ISSUE_COMMENT: &str = "issue_comment";

/// The events that the App subscribes to.
///
/// GitHub sends `installation`, `installation_repositories`, `github_app_authorization` and, with
/// `checks: write`, `check_run` and `check_suite` to every App without being asked.
pub const EVENTS: [&str; 5] = [PUSH, PULL_REQUEST, MERGE_GROUP, ISSUE_COMMENT, REPOSITORY];

/// What a token for reporting may do.
pub(crate) const REPORT_PERMISSIONS: &[(&str, &str)] =
    &[("checks", "write"), ("metadata", "read"), ("statuses", "write")];

/// What a token for git may do.
pub(crate) const FETCH_PERMISSIONS: &[(&str, &str)] = &[("contents", "read")];

/// What a token for reactions to comments may do.
pub(crate) const REACT_PERMISSIONS: &[(&str, &str)] = &[("issues", "write"), ("metadata", "read")];

/// What a token for looking at what there is may do: branches need `contents`.
pub(crate) const RECOVER_PERMISSIONS: &[(&str, &str)] =
    &[("contents", "read"), ("metadata", "read"), ("pull_requests", "read")];

/// What a token for update pull requests may do. It is nothing that checks need: an App of its own
/// (`deploy/app-manifest-updater.json`) can have it instead.
pub const UPDATE_PERMISSIONS: &[(&str, &str)] =
    &[("contents", "write"), ("issues", "write"), ("metadata", "read"), ("pull_requests", "write")];

/// What GitHub wants before it sends the [`EVENTS`]: `push` needs `contents`, `merge_group` needs
/// `merge_queues`.
pub(crate) const EVENT_PERMISSIONS: &[(&str, &str)] =
    &[("contents", "read"), ("merge_queues", "read"), ("pull_requests", "read")];

/// Every permission that the App of checks needs, with its level: what its tokens are minted with and what
/// its events need. A permission may occur more than once, always with the same level.
pub const PERMISSIONS: [&[(&str, &str)]; 5] = [
    REPORT_PERMISSIONS,
    FETCH_PERMISSIONS,
    REACT_PERMISSIONS,
    RECOVER_PERMISSIONS,
    EVENT_PERMISSIONS,
];
