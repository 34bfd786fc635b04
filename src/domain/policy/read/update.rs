//! `[update]`, from TOML with places.
use std::time::Duration;

use toml::de::DeTable;

use crate::domain::id::{Branch, Login};
use crate::domain::policy::read::{Key, Reader, Value, in_order, one_line};
use crate::domain::policy::{
    Group, HoldBack, MergeBy, NamedGroup, Open, PolicyError, UpdatePolicy,
};
use crate::domain::update::schedule::{NotASchedule, Schedule};

const KEYS: [&str; 15] = [
    "schedule",
    "timezone",
    "inputs",
    "exclude",
    "group",
    "open",
    "hold_back",
    "merge",
    "branch",
    "labels",
    "reviewers",
    "commit_message",
    "bisect",
    "bisect_builds",
    "stale_after",
];

/// Of a branch, in bytes: a group's name is put behind it.
const LONGEST_BRANCH: usize = 100;
/// Of a commit's first line, in characters.
const LONGEST_MESSAGE: usize = 200;
/// Of a label's name, in characters, as GitHub has it.
const LONGEST_LABEL: usize = 50;
/// The most builds that a search for a commit may be given.
const MOST_BUILDS: u32 = 100;

type Entry<'t, 'i> = (&'t Key<'i>, &'t Value<'i>);

/// Keys that mean something only together.
#[derive(Default)]
struct Pairs<'t, 'i> {
    schedule: Option<Entry<'t, 'i>>,
    timezone: Option<Entry<'t, 'i>>,
    bisect: Option<Entry<'t, 'i>>,
    builds: Option<Entry<'t, 'i>>,
}

impl Reader<'_> {
    pub(super) fn update(&self, table: &DeTable<'_>) -> Result<UpdatePolicy, PolicyError> {
        let mut update = UpdatePolicy::default();
        let mut pairs = Pairs::default();
        for (key, value) in in_order(table) {
            match key.get_ref().as_ref() {
                "schedule" => pairs.schedule = Some((key, value)),
                "timezone" => pairs.timezone = Some((key, value)),
                "inputs" => update.inputs = self.globs("update.inputs", key, value)?,
                "exclude" => update.exclude = self.globs("update.exclude", key, value)?,
                "group" => update.group = self.group(key, value)?,
                "open" => update.open = self.open(key, value)?,
                "hold_back" => {
                    let guilty = self.switch("update.hold_back", key, value)?;
                    update.hold_back = if guilty { HoldBack::Guilty } else { HoldBack::All };
                }
                "merge" => update.merge = self.merge(key, value)?,
                "branch" => update.branch = self.branch(key, value)?,
                "labels" => update.labels = self.each("update.labels", key, value, label)?,
                "reviewers" => {
                    update.reviewers = self.each("update.reviewers", key, value, reviewer)?;
                }
                "commit_message" => update.commit_message = self.message(key, value)?,
                "bisect" => pairs.bisect = Some((key, value)),
                "bisect_builds" => pairs.builds = Some((key, value)),
                "stale_after" => update.stale_after = self.patience(key, value)?,
                _ => return Err(self.unknown(key, "update", &KEYS)),
            }
        }
        update.schedule = self.schedule(&pairs)?;
        update.bisect = self.bisect(&pairs)?;
        Ok(update)
    }

    fn schedule(&self, pairs: &Pairs<'_, '_>) -> Result<Option<Schedule>, PolicyError> {
        const NAMES: [&str; 2] = ["update.schedule", "update.timezone"];
        let (key, value) = match (pairs.schedule, pairs.timezone) {
            (Some(entry), _) => entry,
            (None, None) => return Ok(None),
            (None, Some((key, _))) => {
                return Err(self.wrong(
                    key.span().start,
                    "`update.timezone` is given without `update.schedule`; give a schedule, such \
                     as \"0 4 * * 0\", or leave the key out"
                        .to_owned(),
                ));
            }
        };
        let cron = self.string(NAMES[0], key, value)?;
        let zone = pairs
            .timezone
            .map(|(key, value)| self.string(NAMES[1], key, value).map(|it| (it, value)))
            .transpose()?;
        let schedule = Schedule::parse(cron, zone.map_or(Schedule::UTC, |(it, _)| it));
        schedule.map(Some).map_err(|error| match (&error, zone) {
            (NotASchedule::Zone, Some((text, value))) => {
                self.value_wrong(NAMES[1], text, value, &error.to_string())
            }
            (
                NotASchedule::Zone
                | NotASchedule::Unreadable(_)
                | NotASchedule::TooOften
                | NotASchedule::Never,
                _,
            ) => self.value_wrong(NAMES[0], cron, value, &error.to_string()),
        })
    }

    fn bisect(&self, pairs: &Pairs<'_, '_>) -> Result<Option<u32>, PolicyError> {
        let mut builds = UpdatePolicy::BISECT_BUILDS;
        if let Some((key, value)) = pairs.builds {
            builds = self.builds(key, value)?;
            if pairs.bisect.is_none() {
                return Err(self.wrong(
                    key.span().start,
                    "`update.bisect_builds` is given without `update.bisect`; write `bisect = \
                     true`, or leave the key out"
                        .to_owned(),
                ));
            }
        }
        let Some((key, value)) = pairs.bisect else { return Ok(None) };
        Ok(self.switch("update.bisect", key, value)?.then_some(builds))
    }

    fn builds(&self, key: &Key<'_>, value: &Value<'_>) -> Result<u32, PolicyError> {
        const NAME: &str = "update.bisect_builds";
        let Some(number) = value.get_ref().as_integer() else {
            return Err(self.wrong_type(NAME, "a number", key, value));
        };
        let parsed = u32::from_str_radix(number.as_str(), number.radix()).ok();
        parsed.filter(|it| (1..=MOST_BUILDS).contains(it)).ok_or_else(|| {
            let found = one_line(number.as_str());
            let reason = format!("`{NAME}`: {found} must be from 1 to {MOST_BUILDS}");
            self.wrong(value.span().start, reason)
        })
    }

    fn group(&self, key: &Key<'_>, value: &Value<'_>) -> Result<Group, PolicyError> {
        const NAME: &str = "update.group";
        const WANTED: &str = "\"all\", \"each\" or a table of groups, such as \
                              { nixpkgs = [\"nixpkgs*\"] }";
        if let Some(table) = value.get_ref().as_table() {
            let groups = in_order(table).into_iter().map(|(name, globs)| self.named(name, globs));
            return groups.collect::<Result<_, _>>().map(Group::Named);
        }
        let Some(text) = value.get_ref().as_str() else {
            return Err(self.wrong_type(NAME, WANTED, key, value));
        };
        match text {
            "all" => Ok(Group::All),
            "each" => Ok(Group::Each),
            _ => Err(self.value_wrong(NAME, text, value, &format!("must be {WANTED}"))),
        }
    }

    fn named(&self, key: &Key<'_>, value: &Value<'_>) -> Result<NamedGroup, PolicyError> {
        let name = key.get_ref().as_ref();
        let wrong = |reason: &str| {
            let reason = format!("`update.group`: `{}` {reason}", one_line(name));
            Err(self.wrong(key.span().start, reason))
        };
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if name.is_empty() || name.len() > 50 || !name.bytes().all(plain) {
            return wrong(
                "is no name of a group; it becomes part of a branch: lower-case letters, digits \
                 and `-`, at most 50",
            );
        }
        if name == NamedGroup::REST {
            return wrong("is what the inputs of no group are called; give it another name");
        }
        let inputs = self.globs(&format!("update.group.{name}"), key, value)?;
        if inputs.is_empty() {
            return wrong("names no input; give globs, such as \"nixpkgs*\", or leave it out");
        }
        Ok(NamedGroup { name: name.to_owned(), inputs })
    }

    fn open(&self, key: &Key<'_>, value: &Value<'_>) -> Result<Open, PolicyError> {
        match self.string("update.open", key, value)? {
            "green" => Ok(Open::Green),
            "evaluated" => Ok(Open::Evaluated),
            "always" => Ok(Open::Always),
            text => {
                let wanted = "must be \"green\", \"evaluated\" or \"always\"";
                Err(self.value_wrong("update.open", text, value, wanted))
            }
        }
    }

    fn merge(&self, key: &Key<'_>, value: &Value<'_>) -> Result<MergeBy, PolicyError> {
        match self.string("update.merge", key, value)? {
            "manual" => Ok(MergeBy::Manual),
            "auto" => Ok(MergeBy::Auto),
            "direct" => Ok(MergeBy::Direct),
            text => {
                let wanted = "must be \"manual\", \"auto\" or \"direct\"";
                Err(self.value_wrong("update.merge", text, value, wanted))
            }
        }
    }

    fn branch(&self, key: &Key<'_>, value: &Value<'_>) -> Result<Branch, PolicyError> {
        const NAME: &str = "update.branch";
        let text = self.string(NAME, key, value)?;
        let branch = text.parse().ok().filter(|_| text.len() <= LONGEST_BRANCH);
        branch.ok_or_else(|| {
            let wanted = format!(
                "must be a branch that git allows, of at most {LONGEST_BRANCH} bytes, like \
                 \"fleetcheck/update\""
            );
            self.value_wrong(NAME, text, value, &wanted)
        })
    }

    fn message(&self, key: &Key<'_>, value: &Value<'_>) -> Result<String, PolicyError> {
        const NAME: &str = "update.commit_message";
        let text = self.string(NAME, key, value)?;
        let trimmed = text.trim();
        if trimmed.is_empty()
            || trimmed.contains(char::is_control)
            || trimmed.chars().count() > LONGEST_MESSAGE
        {
            let wanted = format!(
                "must be one line of text, at most {LONGEST_MESSAGE} characters, better 72; the \
                 inputs are listed below it"
            );
            return Err(self.value_wrong(NAME, text, value, &wanted));
        }
        Ok(trimmed.to_owned())
    }

    /// A time in days, or `never`.
    fn patience(&self, key: &Key<'_>, value: &Value<'_>) -> Result<Option<Duration>, PolicyError> {
        const NAME: &str = "update.stale_after";
        let text = self.string(NAME, key, value)?;
        if text == "never" {
            return Ok(None);
        }
        let time =
            humantime::parse_duration(text).ok().filter(|it| *it >= Duration::from_hours(24));
        let wanted = "must be a time of a day or more, like \"14d\", or \"never\"";
        time.map(Some).ok_or_else(|| self.value_wrong(NAME, text, value, wanted))
    }
}

/// A label as GitHub takes it.
fn label(text: &str) -> Result<String, String> {
    let is_name = !text.trim().is_empty()
        && !text.contains(char::is_control)
        && text.chars().count() <= LONGEST_LABEL;
    is_name.then(|| text.trim().to_owned()).ok_or_else(|| {
        format!("must be a label: one line of text, at most {LONGEST_LABEL} characters")
    })
}

/// A person, or a team of an organisation.
fn reviewer(text: &str) -> Result<String, String> {
    let is_name = |it: &str| it.parse::<Login>().is_ok() && !it.contains('[');
    let is_slug = |it: &str| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        (1..=100).contains(&it.len()) && it.bytes().all(plain)
    };
    let is_reviewer = match text.split_once('/') {
        None => is_name(text),
        Some((organisation, team)) => is_name(organisation) && is_slug(team),
    };
    is_reviewer.then(|| text.to_owned()).ok_or_else(|| {
        "must be a login, like \"octocat\", or a team, like \"acme/infra\"".to_owned()
    })
}
