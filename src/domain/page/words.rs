//! Numbers, times and states in words.
use crate::domain::Timestamp;
use crate::domain::build::{BuildState, Ending, TimedOut, Waiting};
use crate::domain::id::{AttrPath, DrvPath};
use crate::domain::page::BuildView;
use crate::domain::page::outlook::{self, Outlook};
use crate::domain::text::plain_title;

/// A length of time: `0.4 s`, `12 s`, `2 min 3 s`, `1 h 5 min`.
#[must_use]
pub fn duration(milliseconds: i64) -> String {
    let ms = milliseconds.max(0);
    let seconds = ms / 1000;
    match seconds {
        0 => format!("{}.{} s", seconds, ms % 1000 / 100),
        1..60 => format!("{seconds} s"),
        60..3600 => two(seconds / 60, "min", seconds % 60, "s"),
        _ => two(seconds / 3600, "h", seconds % 3600 / 60, "min"),
    }
}

fn two(large: i64, large_unit: &str, small: i64, small_unit: &str) -> String {
    if small == 0 {
        format!("{large} {large_unit}")
    } else {
        format!("{large} {large_unit} {small} {small_unit}")
    }
}

pub(super) fn seconds(seconds: u64) -> String {
    duration(i64::try_from(seconds).unwrap_or(i64::MAX / 1000).saturating_mul(1000))
}

/// An amount of memory: `1.4 GiB`, `312 MiB`.
#[must_use]
pub fn bytes(bytes: u64) -> String {
    const MIB: u64 = 1 << 20;
    if bytes >= 1 << 30 {
        let tenths = (bytes / MIB * 10 + 512) / 1024;
        format!("{}.{} GiB", tenths / 10, tenths % 10)
    } else {
        format!("{} MiB", bytes.div_ceil(MIB))
    }
}

/// A time of day, `14:02 UTC`.
#[must_use]
pub fn clock(at: Timestamp) -> String {
    let minutes = at.0.div_euclid(60_000).rem_euclid(24 * 60);
    format!("{:02}:{:02} UTC", minutes / 60, minutes % 60)
}

/// What people call a host, as plain text; one without a label by its attribute path.
#[must_use]
pub fn host_name(view: &BuildView) -> String {
    attr_name(&view.build.attr)
}

/// What people call an output of a flake, as plain text.
#[must_use]
pub fn attr_name(attr: &AttrPath) -> String {
    attr.label().unwrap_or_else(|_| plain_title(&attr.to_string(), 60))
}

/// Where a build stands, declared in the order in which people want to read them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    Bad,
    Open,
    Good,
}

pub(super) fn standing(view: &BuildView) -> Standing {
    match view.build.state.ending() {
        None => Standing::Open,
        Some(ending) if ending.is_good() => Standing::Good,
        // Not to be built is what was asked for.
        Some(Ending::Skipped { .. }) => Standing::Good,
        Some(_) => Standing::Bad,
    }
}

/// The state in a word or two, for a table.
#[must_use]
pub fn result(state: &BuildState) -> &'static str {
    match state {
        BuildState::Listed { .. } => "⏳ evaluation",
        BuildState::Waiting { .. } => "⏳ waiting",
        BuildState::Building { .. } => "🔨 building",
        BuildState::Ended { ending, .. } => match ending {
            Ending::Reused => "✅ reused",
            Ending::Built { .. } => "✅ built",
            Ending::Superseded { .. } => "🚫 superseded",
            Ending::Cancelled { .. } => "🚫 cancelled",
            Ending::Skipped { .. } => "⏭️ skipped",
            Ending::EvaluationFailed(_) => "❌ does not evaluate",
            Ending::BuildFailed(_) => "❌ does not build",
            Ending::TimedOut(_) => "❌ timed out",
            Ending::Transient { .. } => "❌ no answer",
            Ending::Internal { .. } => "❌ our fault",
        },
    }
}

/// What there is to know besides, as plain text; empty when the result says it all.
#[must_use]
pub fn remark(view: &BuildView) -> String {
    let outlook = &view.outlook;
    let estimate = || outlook::estimate(outlook.build_ms);
    match &view.build.state {
        BuildState::Listed { .. } => outlook::estimate(outlook.evaluation_ms).unwrap_or_default(),
        BuildState::Waiting { derivation, for_what, .. } => {
            joined([Some(turn_or(outlook, for_what, &derivation.system)), estimate()])
        }
        BuildState::Building { since, .. } => joined([
            Some(started(*since, outlook.builder.as_deref())),
            outlook::progress(outlook),
            estimate(),
        ]),
        BuildState::Ended { derivation, ending, .. } => match ending {
            Ending::Reused => "was built before".to_owned(),
            Ending::Built { .. } => String::new(),
            Ending::Superseded { by } => format!("superseded by {}", by.short()),
            Ending::Cancelled { by } => format!("cancelled by {by}"),
            Ending::Skipped { by } => format!("skipped by {by}"),
            Ending::EvaluationFailed(failure) => failure.headline.clone(),
            Ending::BuildFailed(failure) => {
                let own = derivation.as_ref().is_some_and(|it| it.path == failure.derivation);
                if own {
                    failure.headline.clone()
                } else {
                    format!("needs {}: {}", failure.derivation.name(), failure.headline)
                }
            }
            Ending::TimedOut(late) => timed_out(late),
            Ending::Transient { what } => format!("nobody's fault: {what}"),
            Ending::Internal { number } => internal(number),
        },
    }
}

/// When and where an attempt began: `since 14:02 UTC on basestar`.
fn started(since: Timestamp, builder: Option<&str>) -> String {
    let on = builder.map(|it| format!(" on {it}")).unwrap_or_default();
    format!("since {}{on}", clock(since))
}

/// The derivation that an attempt is at: `linux-6.12.1`. It changes with every one of a closure, so
/// pages tell it and checks do not.
#[must_use]
pub fn at(view: &BuildView) -> Option<&str> {
    match &view.build.state {
        BuildState::Building { .. } => view.outlook.counts.as_ref()?.at.as_ref().map(DrvPath::name),
        BuildState::Listed { .. } | BuildState::Waiting { .. } | BuildState::Ended { .. } => None,
    }
}

fn joined<const N: usize>(parts: [Option<String>; N]) -> String {
    parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
}

/// What a build waits for, and where it stands in the queue once that is known.
pub(super) fn turn_or(outlook: &Outlook, for_what: &Waiting, system: &str) -> String {
    match (for_what, outlook.turn) {
        (Waiting::Slot | Waiting::Retry { .. }, _) if outlook.held.is_some() => {
            outlook.held.clone().unwrap_or_default()
        }
        (Waiting::Slot, Some(turn)) => format!("{turn} for {system}"),
        (
            Waiting::Slot
            | Waiting::NoBuilder { .. }
            | Waiting::NoFeatures { .. }
            | Waiting::Retry { .. },
            _,
        ) => waiting(for_what, system),
    }
}

/// What a build of this system waits for.
#[must_use]
pub fn waiting(for_what: &Waiting, system: &str) -> String {
    match for_what {
        Waiting::Slot => format!("a free slot on a builder of {system}"),
        Waiting::NoBuilder { system } => format!("no builder for {system} in the settings"),
        Waiting::NoFeatures { system, features } => {
            format!("no builder for {system} has {}", features.join(", "))
        }
        Waiting::Retry { after, not_before } => {
            format!("tried again at {}, after: {after}", clock(*not_before))
        }
    }
}

pub(super) fn timed_out(late: &TimedOut) -> String {
    let limit = seconds(late.seconds);
    let what = match (&late.derivation, late.setting.ends_with("silence_timeout")) {
        (Some(drv), true) => format!("{} was silent for {limit}", drv.name()),
        (Some(drv), false) => format!("{} was still building after {limit}", drv.name()),
        (None, true) => format!("silent for {limit}"),
        (None, false) => format!("not done after {limit}"),
    };
    format!("{what} ({})", late.setting)
}

pub(super) fn internal(number: &str) -> String {
    format!("a fault of fleetcheck's own, number {number}; its operator has the log")
}
