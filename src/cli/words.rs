//! The words for hosts, endings and times that progress, table and document share.
use crate::domain::build::{Ending, Waiting};
use crate::domain::id::AttrPath;
use crate::domain::text;
use crate::flow::check::CheckedHost;

/// The host as people call it, safe for a terminal: a name that cannot be a check's is spelt out.
pub(super) fn name(attr: &AttrPath, label: Option<&str>) -> String {
    label.map_or_else(|| text::clean(&attr.to_string()).replace(['\n', '\t'], " "), str::to_owned)
}

/// `0.8s`, `42s`, `3m 02s`, `1h 05m`.
pub(super) fn elapsed(milliseconds: i64) -> String {
    let seconds = milliseconds.max(0) / 1000;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, few @ 0..10) => format!("{few}.{}s", milliseconds.max(0) / 100 % 10),
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m {seconds:02}s"),
        (hours, minutes, _) => format!("{hours}h {minutes:02}m"),
    }
}

/// How a host stands in two or three words.
pub(super) fn standing(host: &CheckedHost) -> &'static str {
    if host.waiting.is_some() { "waiting" } else { result(host.ending.as_ref()) }
}

/// An ending in two or three words.
pub(super) fn result(ending: Option<&Ending>) -> &'static str {
    match ending {
        None => "not done",
        Some(Ending::Reused) => "reused",
        Some(Ending::Built { .. }) => "built",
        Some(Ending::Superseded { .. }) => "superseded",
        Some(Ending::Cancelled { .. }) => "cancelled",
        Some(Ending::Skipped { .. }) => "skipped",
        Some(Ending::EvaluationFailed(_)) => "evaluation failed",
        Some(Ending::BuildFailed(_)) => "build failed",
        Some(Ending::TimedOut(_)) => "timed out",
        Some(Ending::Transient { .. }) => "gave up",
        Some(Ending::Internal { .. }) => "internal error",
    }
}

/// Why a host is not good, in one line; `None` for a good one.
pub(super) fn headline(ending: &Ending) -> Option<String> {
    let line = match ending {
        Ending::Reused | Ending::Built { .. } => return None,
        Ending::Superseded { by } => format!("{} took its place", by.short()),
        Ending::Cancelled { by } => format!("cancelled by {by}"),
        Ending::Skipped { by } => format!("skipped by {by}"),
        Ending::EvaluationFailed(failure) => failure.headline.clone(),
        Ending::BuildFailed(failure) => {
            format!("{}: {}", failure.derivation.name(), failure.headline)
        }
        Ending::TimedOut(late) => {
            let limit = elapsed(i64::try_from(late.seconds).unwrap_or(i64::MAX / 1000) * 1000);
            let what = late.derivation.as_ref().map_or("nothing was running", |drv| drv.name());
            format!("`{}` ({limit}) ended it; running: {what}", late.setting)
        }
        Ending::Transient { what } => format!("nobody's fault, try again: {what}"),
        Ending::Internal { number } => format!("our fault, number {number}"),
    };
    Some(text::clean(&line).replace(['\n', '\t'], " "))
}

/// What a host waits for, in words that follow "waiting for".
pub(super) fn waiting(for_what: &Waiting) -> String {
    match for_what {
        Waiting::Slot => "a free slot".to_owned(),
        Waiting::NoBuilder { system } => {
            let system = text::clean(system).replace('\n', " ");
            format!("a builder: none of the settings does {system}")
        }
        Waiting::NoFeatures { system, features } => {
            text::clean(&format!("a builder: none for {system} has {}", features.join(", ")))
                .replace('\n', " ")
        }
        Waiting::Retry { after, .. } => {
            format!("another try after {}", text::clean(after).replace('\n', " "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short_and_sort_of_exact() {
        let said = [0, 850, 9_990, 42_000, 182_000, 3_900_000].map(elapsed);
        assert_eq!(said, ["0.0s", "0.8s", "9.9s", "42s", "3m 02s", "1h 05m"]);
    }

    #[test]
    fn a_hostile_name_cannot_move_the_cursor() {
        let attr = AttrPath::host("evil\u{1b}[2Jname\r\n\u{202e}x");
        let shown = name(&attr, None);
        assert!(!shown.contains(char::is_control) && !shown.contains('\u{202e}'), "{shown:?}");
    }
}
