//! The one issue per repository that says which updates do not land, and why.
//!
//! Its text changes when what it tells is another, never with the day: every edit of an issue is
//! news to those who watch it, so there are dates in it and no ages.
use crate::domain::Timestamp;
use crate::domain::lock::stale::{LastMove, day};
use crate::domain::page::MOST_MARKDOWN;
use crate::domain::text::{cut_lines, fence, inline, plain_title};

/// The title.
pub const TITLE: &str = "Updates held back";

/// How long an update may take before it is told that it has not ended: a night of builds is
/// common, a day is not.
pub const NOT_ENDED_AFTER_MS: i64 = 24 * HOUR_MS;
/// How late an update may begin: repositories are spread over ten minutes, and a restart takes some.
pub const OVERDUE_AFTER_MS: i64 = HOUR_MS;
/// How long a pull request may be green before it is told that nobody merges it.
pub const WAITING_AFTER_MS: i64 = 7 * 24 * HOUR_MS;

const HOUR_MS: i64 = 3_600_000;

/// The longest failure, in bytes; the run's page has the rest.
const MOST_FAILURE: usize = 4_000;

/// What the issue tells.
#[derive(Clone, Copy, Debug)]
pub struct Tracked<'a> {
    /// What is held back of each group, its name and Markdown
    /// ([`held_back_markdown`](crate::domain::update::proposal::held_back_markdown)); empty for
    /// nothing.
    pub held_back: &'a [(String, String)],
    pub silences: &'a [Silence],
    /// Why the last update came to nothing, as plain text.
    pub failed: Option<&'a str>,
}

/// What is known of a repository's updates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpdateFacts {
    pub lock: Option<LastMove>,
    /// Updates that have not ended: what each is, and since when it runs.
    pub open: Vec<(String, Timestamp)>,
    /// When the next update should begin, or should have begun.
    pub due_at: Option<Timestamp>,
    /// Its schedule in words; without one nothing is due.
    pub schedule: Option<String>,
    /// Open pull requests of ours that are green: the number, and since when.
    pub green_pulls: Vec<(i64, Timestamp)>,
}

/// Something that should have happened and did not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Silence {
    /// The lock file has not moved for long.
    StaleLock(LastMove),
    /// An update began and did not end.
    NotEnded { what: String, since: Timestamp },
    /// An update was due and did not begin.
    NotFired { due: Timestamp, schedule: String },
    /// A pull request is green, and waits for a person.
    Waiting { number: i64, since: Timestamp },
}

/// What should have happened by now and did not.
#[must_use]
pub fn silences(facts: &UpdateFacts, now: Timestamp) -> Vec<Silence> {
    let UpdateFacts { lock, open, due_at, schedule, green_pulls } = facts;
    let is_over = |since: Timestamp, most: i64| since.plus(most) <= now;
    let mut found = Vec::new();
    found.extend(lock.filter(|it| it.remark(now).is_some()).map(Silence::StaleLock));
    let late = due_at.filter(|it| is_over(*it, OVERDUE_AFTER_MS)).zip(schedule.clone());
    found.extend(late.map(|(due, schedule)| Silence::NotFired { due, schedule }));
    let open = open.iter().filter(|(_, since)| is_over(*since, NOT_ENDED_AFTER_MS));
    found.extend(open.map(|(what, since)| Silence::NotEnded { what: what.clone(), since: *since }));
    let waiting = green_pulls.iter().filter(|(_, since)| is_over(*since, WAITING_AFTER_MS));
    found
        .extend(waiting.map(|(number, since)| Silence::Waiting { number: *number, since: *since }));
    found
}

/// The text; `None` when there is nothing to tell, and the issue is closed.
#[must_use]
pub fn body(tracked: &Tracked<'_>) -> Option<String> {
    let Tracked { held_back, silences, failed } = tracked;
    let groups: Vec<&(String, String)> =
        held_back.iter().filter(|(_, text)| !text.is_empty()).collect();
    if groups.is_empty() && silences.is_empty() && failed.is_none() {
        return None;
    }
    let mut parts = Vec::new();
    if let Some(text) = failed {
        let text = cut_lines(text, MOST_FAILURE, "… (cut)");
        parts.push(format!("### The last update failed\n\n{}", fence(&text)));
    }
    if !silences.is_empty() {
        let lines: Vec<String> = silences.iter().map(|it| format!("- {}", it.markdown())).collect();
        parts.push(format!("### What should have happened\n\n{}", lines.join("\n")));
    }
    let single = groups.len() == 1;
    parts.extend(groups.into_iter().map(|(name, text)| {
        // The name of the only group is of no news.
        let of = if single { String::new() } else { format!(" of {}", inline(name)) };
        format!("### Held back{of}\n\n{text}")
    }));
    let end = "---\n\nfleetcheck keeps this issue: it is edited when something changes, and closed \
               when all of it is over.";
    let room = MOST_MARKDOWN - end.len() - 2;
    let main = cut_lines(&parts.join("\n\n"), room, "There is more than fits here.");
    Some(format!("{main}\n\n{end}"))
}

/// The text of an issue that is over and closed.
#[must_use]
pub fn over() -> String {
    "No update is held back any more. fleetcheck opens this issue again when one is.".to_owned()
}

impl Silence {
    /// The kind of a lock file that has not moved.
    pub const STALE_LOCK: &str = "stale_lock";
    /// The kinds, by the names that the metric has for them.
    pub const KINDS: [&str; 4] = [Self::STALE_LOCK, "not_ended", "not_fired", "waiting"];

    /// Of which of [`Silence::KINDS`] it is.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::StaleLock(_) => Self::STALE_LOCK,
            Self::NotEnded { .. } => "not_ended",
            Self::NotFired { .. } => "not_fired",
            Self::Waiting { .. } => "waiting",
        }
    }

    /// One line of plain text, for a page of this moment.
    #[must_use]
    pub fn line(&self, now: Timestamp) -> String {
        match self {
            Self::StaleLock(lock) => {
                let remark = lock.remark(now).unwrap_or_else(|| not_moved(*lock));
                format!("flake.lock {remark}")
            }
            Self::NotEnded { .. } | Self::NotFired { .. } | Self::Waiting { .. } => self.dated(),
        }
    }

    /// The same without an age.
    fn dated(&self) -> String {
        let at = |at: &Timestamp| moment(*at).unwrap_or_else(|| "an unknown time".to_owned());
        let line = match self {
            Self::StaleLock(lock) => format!("flake.lock {}", not_moved(*lock)),
            Self::NotEnded { what, since } => {
                format!("{what} began at {} and has not ended", at(since))
            }
            Self::NotFired { due, schedule } => {
                format!(
                    "by the schedule {schedule} an update was due at {}; it has not begun",
                    at(due)
                )
            }
            Self::Waiting { number, since } => {
                format!(
                    "pull request {number} has been green since {} and is not merged",
                    at(since)
                )
            }
        };
        plain_title(&line, 300)
    }

    fn markdown(&self) -> String {
        match self {
            // A reference, which GitHub makes a link of.
            Self::Waiting { number, .. } => inline(&self.dated()).replacen(
                &format!("request {number} "),
                &format!("request #{number} "),
                1,
            ),
            Self::StaleLock(_) | Self::NotEnded { .. } | Self::NotFired { .. } => {
                inline(&self.dated())
            }
        }
    }
}

fn not_moved(lock: LastMove) -> String {
    match day(lock.at) {
        Some(day) => format!("has not moved since {day}"),
        None => "has not moved for long".to_owned(),
    }
}

/// `2026-01-04 04:00 UTC`.
fn moment(at: Timestamp) -> Option<String> {
    let at = jiff::Timestamp::from_millisecond(at.0).ok()?;
    Some(at.strftime("%Y-%m-%d %H:%M UTC").to_string())
}

#[cfg(test)]
mod tests;
