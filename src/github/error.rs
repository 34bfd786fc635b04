//! What GitHub's refusals mean for whoever called.
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use serde::Deserialize;

use crate::domain::Timestamp;
use crate::github::webhook::shown;

/// GitHub asks for at least this long after a secondary rate limit without a `retry-after`.
const SECONDARY_LIMIT_PAUSE: Duration = Duration::from_mins(1);

/// A clock that is this far off makes our tokens invalid: GitHub accepts JWTs issued at most now
/// and expiring within ten minutes, and ours leave a minute on either side.
const CLOCK_TOLERANCE_MS: i64 = 45_000;

const CLOCK_DIFFERS: &str = "this machine's clock differs from GitHub's";

/// Why a call had no success, by what can be done about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GithubError {
    /// Nobody's fault: time-outs, 5xx, rate limits. The call may or may not have had its effect;
    /// `retry_after` is how long GitHub asks us to wait.
    #[error("{what}")]
    Weather { what: String, retry_after: Option<Duration> },
    /// The repository, commit, check or installation is not there, or not for us.
    #[error("{0}")]
    Gone(String),
    /// The installation is suspended or lacks a permission.
    #[error("{0}")]
    Forbidden(String),
    /// GitHub finds our request wrong: our mistake, trying again changes nothing.
    #[error("{message}")]
    Rejected { status: u16, message: String },
    /// GitHub does not believe that we are the App: the key, the app id or the clock.
    #[error("{what}")]
    Unauthenticated { what: String },
    /// The settings do not allow a client to be made.
    #[error("{0}")]
    Setup(String),
}

impl GithubError {
    pub(super) fn weather(what: String) -> Self {
        Self::Weather { what, retry_after: None }
    }

    /// Refused because of this machine's clock, not of a key.
    pub(super) fn is_clock(&self) -> bool {
        matches!(self, Self::Unauthenticated { what } if what.contains(CLOCK_DIFFERS))
    }

    /// A word for the metric.
    pub(super) fn outcome(&self) -> &'static str {
        match self {
            Self::Weather { .. } => "weather",
            Self::Gone(_) => "gone",
            Self::Forbidden(_) => "forbidden",
            Self::Rejected { .. } => "rejected",
            Self::Unauthenticated { .. } => "unauthenticated",
            Self::Setup(_) => "setup",
        }
    }
}

/// GitHub's error document; `errors` holds objects or strings.
#[derive(Debug, Default, Deserialize)]
struct Refusal {
    #[serde(default)]
    message: String,
    #[serde(default)]
    errors: Vec<serde_json::Value>,
}

/// What an answer that is not 2xx means. `about` says what was asked, for the text.
pub(super) fn classify(
    about: &str,
    status: StatusCode,
    headers: &HeaderMap,
    body: &str,
    now: Timestamp,
) -> GithubError {
    let said = said(body);
    let answer = format!("{about}: GitHub answered {}", status.as_u16());
    let what = if said.is_empty() { answer } else { format!("{answer}: {said}") };
    let limited = is_rate_limit(status, headers, &said);
    match status.as_u16() {
        _ if limited => GithubError::Weather { what, retry_after: Some(pause(headers, now)) },
        408 | 500..=599 => {
            GithubError::Weather { what, retry_after: seconds(headers, "retry-after") }
        }
        401 => GithubError::Unauthenticated { what: unauthenticated(what, headers, now) },
        403 => GithubError::Forbidden(what),
        301 | 302 | 307 | 308 | 404 | 410 => GithubError::Gone(what),
        status => GithubError::Rejected { status, message: what },
    }
}

/// GitHub's own words on one line, with the details that a 422 lists.
fn said(body: &str) -> String {
    let refusal: Refusal = serde_json::from_str(body).unwrap_or_default();
    let details = refusal.errors.iter().map(|error| {
        let text = error.as_str().or_else(|| error.get("message")?.as_str());
        text.map_or_else(|| error.to_string(), str::to_owned)
    });
    let parts: Vec<String> = std::iter::once(refusal.message)
        .chain(details)
        .filter(|part| !part.is_empty())
        .take(5)
        .map(|part| part.chars().take(300).filter(|c| !c.is_control()).collect())
        .collect();
    parts.join("; ")
}

/// Whether an answer is one of GitHub's limits, primary or secondary.
pub(super) fn is_limit(status: StatusCode, headers: &HeaderMap, body: &str) -> bool {
    !status.is_success() && is_rate_limit(status, headers, &said(body))
}

fn is_rate_limit(status: StatusCode, headers: &HeaderMap, said: &str) -> bool {
    match status.as_u16() {
        429 => true,
        403 => {
            headers.contains_key("retry-after")
                || headers.get("x-ratelimit-remaining").is_some_and(|it| it == "0")
                || said.to_ascii_lowercase().contains("rate limit")
        }
        _ => false,
    }
}

/// How long to wait, in GitHub's order: `retry-after`, the reset of a used-up limit, a minute.
pub(super) fn pause(headers: &HeaderMap, now: Timestamp) -> Duration {
    if let Some(asked) = seconds(headers, "retry-after") {
        return asked;
    }
    let used_up = headers.get("x-ratelimit-remaining").is_some_and(|it| it == "0");
    let reset = header(headers, "x-ratelimit-reset").and_then(|it| it.parse::<i64>().ok());
    match reset {
        // One more second: the reset is in whole seconds of GitHub's clock.
        Some(at) if used_up => {
            let wait = Timestamp(at.saturating_add(1).saturating_mul(1000)).since(now);
            Duration::from_millis(wait.unsigned_abs())
        }
        Some(_) | None => SECONDARY_LIMIT_PAUSE,
    }
}

/// The likeliest reason for a 401 that a person can mend is the clock.
fn unauthenticated(what: String, headers: &HeaderMap, now: Timestamp) -> String {
    match clock_offset(headers, now) {
        Some(offset) if offset.abs() > CLOCK_TOLERANCE_MS => format!(
            "{what}; {CLOCK_DIFFERS} by {} s: set it (NTP)",
            // `Date` has whole seconds and was on its way: not more exact than it is.
            (offset.abs() + 5_000) / 10_000 * 10
        ),
        Some(_) | None => what,
    }
}

/// GitHub's clock minus ours in milliseconds, by the `Date` of an answer (whole seconds).
pub(super) fn clock_offset(headers: &HeaderMap, now: Timestamp) -> Option<i64> {
    let date = header(headers, "date")?;
    let theirs = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(date).ok()?;
    Some(theirs.as_millisecond() - now.0)
}

pub(super) fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

pub(super) fn seconds(headers: &HeaderMap, name: &str) -> Option<Duration> {
    // An hour is the longest that GitHub's limits last; a day would be a mistake of someone's.
    let longest = Duration::from_hours(24);
    header(headers, name)?.parse().ok().map(|it| Duration::from_secs(it).min(longest))
}

/// An error of the transport, in the words of its innermost cause, without addresses of memory or
/// backtraces.
pub(super) fn transport(about: &str, error: &octocrab::Error) -> GithubError {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    let text: String = innermost.to_string().chars().take(200).collect();
    GithubError::weather(format!("{about}: no answer from GitHub: {}", shown_line(&text)))
}

fn shown_line(text: &str) -> String {
    text.lines().next().map(shown).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_790_000_000_000);

    fn answer(status: u16, headers: &[(&'static str, &str)], message: &str) -> GithubError {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        let body = serde_json::json!({ "message": message }).to_string();
        classify("update check 7 of acme/fleet", status.try_into().unwrap(), &map, &body, NOW)
    }

    fn wait(error: &GithubError) -> Option<u64> {
        let GithubError::Weather { retry_after, .. } = error else { panic!("{error:?}") };
        retry_after.map(|it| it.as_secs())
    }

    #[test]
    fn githubs_limits_are_weather_with_githubs_own_pause() {
        let secondary = "You have exceeded a secondary rate limit.";
        assert_eq!(wait(&answer(403, &[("retry-after", "17")], secondary)), Some(17));
        assert_eq!(wait(&answer(403, &[], secondary)), Some(60));
        assert_eq!(wait(&answer(429, &[], "")), Some(60));
        let used_up = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1790000030")];
        assert_eq!(wait(&answer(403, &used_up, "API rate limit exceeded")), Some(31));
        assert_eq!(wait(&answer(502, &[], "")), None);
        assert_eq!(wait(&answer(503, &[("retry-after", "5")], "")), Some(5));
    }

    #[test]
    fn a_missing_permission_is_not_weather() {
        let error = answer(403, &[("x-ratelimit-remaining", "4999")], "Resource not accessible");
        assert_eq!(
            error,
            GithubError::Forbidden(
                "update check 7 of acme/fleet: GitHub answered 403: Resource not accessible".into()
            )
        );
    }

    #[test]
    fn a_wrong_clock_is_named_with_its_error() {
        let error = answer(401, &[("date", "Mon, 21 Sep 2026 15:13:20 GMT")], "'exp' is too far");
        assert_eq!(
            error.to_string(),
            "update check 7 of acme/fleet: GitHub answered 401: 'exp' is too far; \
             this machine's clock differs from GitHub's by 3600 s: set it (NTP)"
        );
        let right = answer(401, &[("date", "Mon, 21 Sep 2026 14:13:21 GMT")], "Bad credentials");
        assert!(!right.to_string().contains("clock"), "{right}");
    }

    #[test]
    fn a_422_says_what_github_finds_wrong() {
        let body = r#"{"message":"Validation Failed","errors":[{"field":"x","message":"No commit found for SHA: ab"},"plain"]}"#;
        assert_eq!(said(body), "Validation Failed; No commit found for SHA: ab; plain");
        assert_eq!(said("<html>"), "");
    }
}
