//! GitHub's own word on when to call again: law for a whole installation, whoever calls.
use std::time::Duration;

use dashmap::DashMap;
use http::{HeaderMap, StatusCode};

use crate::domain::Timestamp;
use crate::domain::id::InstallationId;
use crate::github::client::Github;
use crate::github::error::{self, header, pause};

/// The longest wait between tries of a limit that does not say how long it lasts.
const MOST_DOUBLINGS: u32 = 4;

/// What GitHub said last about one installation.
#[derive(Clone, Copy, Debug, Default)]
struct Standing {
    until: Timestamp,
    /// Refusals since the last success.
    strikes: u32,
    /// Secondary limits since the start of this process.
    secondary: u64,
}

/// What GitHub said about each installation.
#[derive(Debug, Default)]
pub(super) struct Limits(DashMap<InstallationId, Standing>);

impl Limits {
    /// Until when nothing is to be asked of an installation; `None` when anything may.
    pub(super) fn closed_until(
        &self,
        installation: InstallationId,
        now: Timestamp,
    ) -> Option<Timestamp> {
        self.0.get(&installation).map(|it| it.until).filter(|until| *until > now)
    }

    /// How often GitHub's secondary limits refused a call so far.
    pub(super) fn secondary(&self, installation: InstallationId) -> u64 {
        self.0.get(&installation).map_or(0, |it| it.secondary)
    }

    /// An answer that is none of a limit: what is left is looked at.
    pub(super) fn answered(
        &self,
        installation: InstallationId,
        headers: &HeaderMap,
        now: Timestamp,
    ) {
        let used_up = is_used_up(headers);
        if !used_up && !self.0.contains_key(&installation) {
            return;
        }
        let mut standing = self.0.entry(installation).or_default();
        standing.strikes = 0;
        if used_up {
            standing.until = standing.until.max(now.plus(millis(pause(headers, now))));
        }
    }

    /// GitHub asks to be left alone for so long.
    pub(super) fn close(&self, installation: InstallationId, wait: Duration, now: Timestamp) {
        let mut standing = self.0.entry(installation).or_default();
        standing.until = standing.until.max(now.plus(millis(wait)));
    }

    /// A limit refused a call; gives how long nothing is to be asked. Without a `retry-after` or a
    /// reset GitHub wants a minute at least, and more each time.
    pub(super) fn refused(
        &self,
        installation: InstallationId,
        headers: &HeaderMap,
        now: Timestamp,
    ) -> Duration {
        let mut standing = self.0.entry(installation).or_default();
        let mut wait = pause(headers, now);
        if !is_used_up(headers) {
            standing.secondary += 1;
            if !headers.contains_key("retry-after") {
                wait *= 1 << standing.strikes.min(MOST_DOUBLINGS);
            }
        }
        standing.strikes += 1;
        standing.until = standing.until.max(now.plus(millis(wait)));
        wait
    }
}

impl Github {
    /// Until when GitHub wants nothing asked of an installation; `None` when anything may be.
    pub fn closed_until(&self, installation: InstallationId) -> Option<Timestamp> {
        self.limits.closed_until(installation, self.now())
    }

    /// How often GitHub's secondary rate limits refused a call of this installation so far.
    pub fn secondary_limits(&self, installation: InstallationId) -> u64 {
        self.limits.secondary(installation)
    }

    /// What GitHub says about its limits holds for whoever calls through this installation.
    pub(super) fn note_limits(
        &self,
        installation: InstallationId,
        status: StatusCode,
        headers: &HeaderMap,
        body: &str,
    ) {
        if error::is_limit(status, headers, body) {
            self.limits.refused(installation, headers, self.now());
        } else if let Some(asked) = error::seconds(headers, "retry-after") {
            self.limits.close(installation, asked, self.now());
        } else {
            self.limits.answered(installation, headers, self.now());
        }
    }
}

fn is_used_up(headers: &HeaderMap) -> bool {
    header(headers, "x-ratelimit-remaining") == Some("0")
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_790_000_000_000);
    const ACME: InstallationId = InstallationId(7);

    fn headers(all: &[(&'static str, &str)]) -> HeaderMap {
        all.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn one_installation_is_closed_and_no_other() {
        let limits = Limits::default();
        limits.refused(ACME, &headers(&[("retry-after", "17")]), NOW);
        assert_eq!(limits.closed_until(ACME, NOW), Some(NOW.plus(17_000)));
        assert_eq!(limits.closed_until(InstallationId(8), NOW), None);
        assert_eq!(limits.closed_until(ACME, NOW.plus(17_000)), None);
    }

    #[test]
    fn a_limit_without_a_time_is_waited_out_longer_each_time_until_an_answer_comes() {
        let limits = Limits::default();
        let waits = (0..7).map(|_| limits.refused(ACME, &headers(&[]), NOW).as_secs());
        assert_eq!(waits.collect::<Vec<_>>(), [60, 120, 240, 480, 960, 960, 960]);
        limits.answered(ACME, &headers(&[]), NOW);
        assert_eq!(limits.refused(ACME, &headers(&[]), NOW).as_secs(), 60);
        assert_eq!(limits.secondary(ACME), 8);
    }

    #[test]
    fn an_answer_that_uses_up_the_last_call_closes_until_the_reset() {
        let limits = Limits::default();
        let last = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1790000030")];
        limits.answered(ACME, &headers(&last), NOW);
        assert_eq!(limits.closed_until(ACME, NOW), Some(NOW.plus(31_000)));
        assert_eq!(limits.secondary(ACME), 0);
    }
}
