//! A lock file that has not moved for long: updates that never land are silent otherwise.
use std::time::Duration;

use crate::domain::Timestamp;

const DAY_MS: i64 = 86_400_000;

/// When a lock file last moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastMove {
    /// When the newest commit was made that changed it.
    pub at: Timestamp,
    /// From when on it is told that it has not moved since; `None` for never.
    pub stale_at: Option<Timestamp>,
}

impl LastMove {
    /// A move whose silence is told after this time; without one it never is.
    #[must_use]
    pub fn new(at: Timestamp, stale_after: Option<Duration>) -> Self {
        let millis = |after: Duration| i64::try_from(after.as_millis()).unwrap_or(i64::MAX);
        Self { at, stale_at: stale_after.map(|after| at.plus(millis(after))) }
    }

    /// What is said of it at this moment, to follow the file's name, as plain text; `None` while it
    /// is young enough.
    #[must_use]
    pub fn remark(&self, now: Timestamp) -> Option<String> {
        let Self { at, stale_at } = self;
        if stale_at.is_none_or(|stale| now < stale) {
            return None;
        }
        let days = match now.since(*at) / DAY_MS {
            1 => "1 day".to_owned(),
            days => format!("{days} days"),
        };
        let of =
            day(*at).map_or_else(String::new, |day| format!(": its newest change is of {day}"));
        Some(format!("has not moved for {days}{of}"))
    }
}

/// The day, in UTC.
#[must_use]
pub fn day(at: Timestamp) -> Option<String> {
    let at = jiff::Timestamp::from_millisecond(at.0).ok()?;
    Some(at.strftime("%Y-%m-%d").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Timestamp = Timestamp(1_767_312_000_000);

    fn after(days: u64) -> LastMove {
        LastMove::new(AT, Some(Duration::from_hours(24 * days)))
    }

    #[test]
    fn a_lock_file_is_spoken_of_from_its_last_day_on() {
        let said = |moved: LastMove, days: i64| moved.remark(AT.plus(days * DAY_MS));
        assert_eq!(said(after(14), 13), None);
        assert_eq!(after(14).remark(AT.plus(14 * DAY_MS - 1)), None);
        let text = "has not moved for 14 days: its newest change is of 2026-01-02";
        assert_eq!(said(after(14), 14).as_deref(), Some(text));
        let text = "has not moved for 1 day: its newest change is of 2026-01-02";
        assert_eq!(said(after(1), 1).as_deref(), Some(text));
        assert_eq!(said(LastMove::new(AT, None), 4000), None, "nobody wants to know");
    }

    #[test]
    fn a_commit_of_any_time_makes_no_trouble() {
        for at in [i64::MIN, -1, 0, i64::MAX] {
            for after in [Duration::ZERO, Duration::MAX] {
                let _ = LastMove::new(Timestamp(at), Some(after)).remark(AT);
            }
        }
        assert_eq!(after(14).remark(Timestamp(0)), None, "made in the future");
    }
}
