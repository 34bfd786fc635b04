//! When a repository's inputs are updated: a cron expression in a time zone.
//!
//! The zones' rules are those that were compiled in: a file is understood the same way on every
//! machine, and nothing is read to find out.
use std::cmp::Ordering;
use std::fmt;
use std::time::Duration;

use croner::Cron;
use croner::errors::CronError;
use croner::parser::{CronParser, Seconds, Year};
use croner::time::{CivilDate, CivilDateTime, CivilTime, CronDateTime, Resolution, Weekday};
use jiff::tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, ZonedDateTime, civil};

use crate::domain::Timestamp;
use crate::domain::id::RepositoryId;

/// The longest expression that is read.
const LONGEST: usize = 100;

/// Over how much time the repositories of one schedule are spread.
const SPREAD_MS: u64 = 600_000;

/// The moments at which updates are due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// As it was written, with single spaces.
    text: String,
    cron: Cron,
    zone: TimeZone,
    /// The zone's name as the database has it.
    timezone: String,
}

/// Why two texts are no schedule, in words that follow the quoted text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotASchedule {
    /// About the time zone.
    #[error(
        "is no time zone; give a name of the IANA database, such as \"Europe/Berlin\" or \"UTC\""
    )]
    Zone,
    /// About the expression.
    #[error(
        "is no cron expression ({0}); give minute, hour, day of month, month and day of week, \
         such as \"0 4 * * 0\", or \"@daily\", \"@weekly\""
    )]
    Unreadable(String),
    #[error(
        "is due more than once an hour; an update builds every host: once an hour at most, so \
         give one minute, such as \"0 4 * * 0\""
    )]
    TooOften,
    #[error("is never due: no month that it names has such a day; mend the day or the month")]
    Never,
}

impl Schedule {
    /// The zone where none is given.
    pub const UTC: &'static str = "UTC";

    /// Reads a cron expression of five fields, or a nickname such as `@daily`.
    ///
    /// # Errors
    /// What is wrong with one of the two texts.
    pub fn parse(cron: &str, timezone: &str) -> Result<Self, NotASchedule> {
        let zone = TimeZoneDatabase::bundled().get(timezone).map_err(|_| NotASchedule::Zone)?;
        let timezone = zone.iana_name().unwrap_or(timezone).to_owned();
        let text = cron.split_whitespace().collect::<Vec<_>>().join(" ");
        if text.len() > LONGEST {
            let reason = format!("it is longer than {LONGEST} characters");
            return Err(NotASchedule::Unreadable(reason));
        }
        // Said here: croner's own words are about fields that nobody has heard of.
        let fields = text.split_whitespace().count();
        if !text.starts_with('@') && fields != 5 {
            let reason =
                if fields == 1 { "it has 1 field" } else { &format!("it has {fields} fields") };
            return Err(NotASchedule::Unreadable(reason.to_owned()));
        }
        let parser =
            CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let cron = parser.parse(&text).map_err(|it| NotASchedule::Unreadable(reason(&it)))?;
        // One minute in the hour: then two hours are an hour apart.
        if cron.pattern.minutes.values().len() > 1 {
            return Err(NotASchedule::TooOften);
        }
        let schedule = Self { text, cron, zone, timezone };
        // No year can be named, so what is due at all is due again within some decades.
        if schedule.next(Timestamp(0)).is_none() {
            return Err(NotASchedule::Never);
        }
        Ok(schedule)
    }

    /// Both texts as one, from which [`Schedule::from_key`] reads it again.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{} {}", self.timezone, self.text)
    }

    /// The schedule of a key; `None` where this version cannot read it any more.
    #[must_use]
    pub fn from_key(key: &str) -> Option<Self> {
        let (timezone, cron) = key.split_once(' ')?;
        Self::parse(cron, timezone).ok()
    }

    /// The first moment after `after` at which it is due; `None` at the end of time.
    ///
    /// A time that the clocks leave out in spring is due when they go on; one that they show twice
    /// in autumn is due the first time.
    #[must_use]
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let after = jiff::Timestamp::from_millisecond(after.0).ok()?;
        let after = Local(after.to_zoned_datetime(self.zone.clone()));
        let next = self.cron.find_next_occurrence(&after, false).ok()?;
        Some(Timestamp(next.0.timestamp().as_millisecond()))
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.text, self.timezone)
    }
}

/// How much later than its schedule says a repository is updated: up to ten minutes, always the
/// same, so that a hundred repositories do not begin at four o'clock sharp.
#[must_use]
pub fn jitter(repository: RepositoryId) -> Duration {
    // SplitMix64's last steps: ids that follow each other end up far apart.
    let mut mixed = u64::from_ne_bytes(repository.0.to_ne_bytes());
    mixed = mixed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    Duration::from_millis((mixed ^ (mixed >> 31)) % SPREAD_MS)
}

/// What croner has against an expression, in one line.
fn reason(error: &CronError) -> String {
    let said = match error {
        CronError::EmptyPattern => "it is empty".to_owned(),
        CronError::InvalidPattern(said)
        | CronError::IllegalCharacters(said)
        | CronError::ComponentError(said) => said.clone(),
        CronError::InvalidDate | CronError::InvalidTime | CronError::TimeSearchLimitExceeded => {
            error.to_string()
        }
    };
    let shown: String = said.chars().take(LONGEST).flat_map(char::escape_debug).collect();
    shown.trim_end_matches('.').replace("\\\"", "\"").replace("\\'", "'")
}

/// A moment as the clocks of a zone show it. croner searches through any type that is one; its own
/// for jiff are for another release of jiff than ours.
#[derive(Clone)]
struct Local(ZonedDateTime);

impl CronDateTime for Local {
    fn to_civil(&self) -> CivilDateTime {
        // What jiff shows is in range, and never negative but for the year.
        let part = |it: i8| u32::from(it.unsigned_abs());
        let it = self.0.datetime();
        CivilDateTime::new(
            CivilDate::from_parts_unchecked(i32::from(it.year()), part(it.month()), part(it.day())),
            CivilTime::from_parts_unchecked(part(it.hour()), part(it.minute()), part(it.second())),
        )
    }

    fn civil_weekday(&self) -> Weekday {
        let days = self.0.weekday().to_sunday_zero_offset();
        Weekday::from_days_from_sunday(u32::from(days.unsigned_abs()))
    }

    fn resolve_civil(&self, civil: CivilDateTime) -> Result<Resolution<Self>, CronError> {
        let there = self.0.time_zone().to_ambiguous_zoned_datetime(to_jiff(civil)?);
        let wrong = |_| CronError::InvalidTime;
        Ok(match there.offset() {
            AmbiguousOffset::Gap { .. } => Resolution::Gap,
            AmbiguousOffset::Unambiguous { .. } => {
                Resolution::Single(Self(there.unambiguous().map_err(wrong)?))
            }
            AmbiguousOffset::Fold { .. } => {
                let earlier = there.clone().earlier().map_err(wrong)?;
                Resolution::Ambiguous(Self(earlier), Self(there.later().map_err(wrong)?))
            }
        })
    }

    fn checked_add_seconds(&self, seconds: i64) -> Option<Self> {
        self.0.checked_add(SignedDuration::from_secs(seconds)).ok().map(Self)
    }

    fn cmp_instant(&self, other: &Self) -> Ordering {
        self.0.timestamp().cmp(&other.0.timestamp())
    }
}

fn to_jiff(it: CivilDateTime) -> Result<civil::DateTime, CronError> {
    let part = |it: u32| i8::try_from(it).map_err(|_| CronError::InvalidDate);
    let year = i16::try_from(it.year()).map_err(|_| CronError::InvalidDate)?;
    let (month, day) = (part(it.month())?, part(it.day())?);
    let (hour, minute, second) = (part(it.hour())?, part(it.minute())?, part(it.second())?);
    civil::DateTime::new(year, month, day, hour, minute, second, 0)
        .map_err(|_| CronError::InvalidDate)
}

#[cfg(test)]
mod tests;
