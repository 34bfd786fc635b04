//! One raw value becomes one good one, or words about what is wrong with it.
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use figment::value::Value;

use crate::config::{CopyBack, Sealed};
use crate::domain::builder::Speed;
use crate::domain::id::Owner;

/// What is wrong with a value.
#[derive(Debug)]
pub(super) struct Wrong {
    /// In place of the value itself, where that says more or the value may be secret.
    pub(super) found: Option<String>,
    pub(super) wanted: String,
    pub(super) remedy: String,
}

impl Wrong {
    pub(super) fn wanted(wanted: impl Into<String>) -> Self {
        Self { found: None, wanted: wanted.into(), remedy: String::new() }
    }

    pub(super) fn found(self, found: impl Into<String>) -> Self {
        Self { found: Some(found.into()), ..self }
    }

    pub(super) fn remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: remedy.into(), ..self }
    }
}

/// A value as it was given. Environment variables are text and read as what is wanted.
pub(super) struct Given<'v> {
    pub(super) value: &'v Value,
    pub(super) is_variable: bool,
}

impl Given<'_> {
    /// The value, where it is text.
    pub(super) fn text(&self) -> Option<&str> {
        self.value.as_str()
    }

    fn number(&self) -> Option<u64> {
        match self.text() {
            Some(text) if self.is_variable => text.trim().parse().ok(),
            Some(_) => None,
            None => whole(self.value).and_then(|number| u64::try_from(number).ok()),
        }
    }

    /// A list of texts; in a variable `a, b` or `["a", "b"]`.
    pub(super) fn list(&self) -> Option<Vec<String>> {
        let of = |items: &[Value]| items.iter().map(|it| it.as_str().map(str::to_owned)).collect();
        match (self.value, self.is_variable) {
            (Value::Array(_, items), _) => of(items),
            (Value::String(_, text), true) if text.trim_start().starts_with('[') => {
                match text.parse::<Value>() {
                    Ok(Value::Array(_, items)) => of(&items),
                    Ok(_) | Err(_) => None,
                }
            }
            (Value::String(_, text), true) => {
                Some(text.split(',').map(|item| item.trim().to_owned()).collect())
            }
            _ => None,
        }
    }

    /// The tables of `[[name]]`; in a variable `[{name = "a", slots = 2}]`.
    pub(super) fn tables(&self) -> Result<Vec<Value>, Wrong> {
        let wrong = || Wrong::wanted("a list of tables, each begun with [[builder]]");
        let parsed;
        let value = if let (true, Some(text)) = (self.is_variable, self.text()) {
            parsed = text.parse::<Value>().map_err(|_| wrong())?;
            &parsed
        } else {
            self.value
        };
        value
            .as_array()
            .filter(|items| items.iter().all(|item| item.as_dict().is_some()))
            .map(<[Value]>::to_vec)
            .ok_or_else(wrong)
    }
}

/// figment keeps signed and unsigned numbers apart; we do not.
fn whole(value: &Value) -> Option<i128> {
    value.to_i128().or_else(|| value.to_u128().and_then(|number| i128::try_from(number).ok()))
}

/// The value in words that follow "found"; text is shortened and made harmless.
pub(super) fn describe(value: &Value) -> String {
    match value {
        Value::String(_, text) if text.is_empty() => "an empty text".to_owned(),
        Value::String(_, text) => format!("\"{}\"", shorten(text)),
        Value::Char(_, c) => format!("\"{}\"", c.escape_debug()),
        Value::Bool(_, yes) => yes.to_string(),
        Value::Num(..) => match (whole(value), value.to_f64()) {
            (Some(whole), _) => format!("the number {whole}"),
            (None, Some(number)) => format!("the number {number}"),
            (None, None) => "a number".to_owned(),
        },
        Value::Empty(..) => "nothing".to_owned(),
        Value::Dict(..) => "a table".to_owned(),
        Value::Array(_, items) if items.is_empty() => "an empty list".to_owned(),
        Value::Array(..) => "a list".to_owned(),
    }
}

pub(super) fn shorten(text: &str) -> String {
    let short: String = text.chars().take(80).collect();
    let dots = if short.len() < text.len() { "…" } else { "" };
    format!("{}{dots}", short.escape_debug())
}

pub(super) fn app_id(given: &Given<'_>) -> Result<u64, Wrong> {
    given.number().filter(|id| *id > 0).ok_or_else(|| {
        Wrong::wanted("the App's number, a whole number above 0")
            .remedy("GitHub shows it as \"App ID\" on the App's settings page")
    })
}

pub(super) fn count(given: &Given<'_>) -> Result<usize, Wrong> {
    given
        .number()
        .filter(|count| (1..=256).contains(count))
        .and_then(|count| usize::try_from(count).ok())
        .ok_or_else(|| Wrong::wanted("a whole number from 1 to 256"))
}

/// A builder's speed beside the others.
pub(super) fn speed(given: &Given<'_>) -> Result<Speed, Wrong> {
    let text = match given.text() {
        Some(text) if given.is_variable => Some(text.trim().to_owned()),
        Some(_) => None,
        None => whole(given.value)
            .map(|it| it.to_string())
            .or_else(|| given.value.to_f64().map(|it| it.to_string())),
    };
    text.and_then(|it| it.parse().ok()).ok_or_else(|| {
        Wrong::wanted("a number from 0.001 to 1000 with at most three decimals, like 1.5")
    })
}

/// A share of a disk.
pub(super) fn percent(given: &Given<'_>) -> Result<u8, Wrong> {
    let text = given.text().and_then(|it| it.trim().strip_suffix('%'));
    let number = text.and_then(|it| it.trim().parse::<u8>().ok());
    number
        .filter(|it| (0..=90).contains(it))
        .ok_or_else(|| Wrong::wanted("a share from \"0%\" to \"90%\", like \"5%\""))
}

/// Yes or no.
pub(super) fn switch(given: &Given<'_>) -> Result<bool, Wrong> {
    let text = given.text().filter(|_| given.is_variable);
    let read = text.map_or_else(|| given.value.to_bool(), |it| it.trim().parse().ok());
    read.ok_or_else(|| Wrong::wanted("true or false"))
}

/// What comes back from a builder.
pub(super) fn copy_back(given: &Given<'_>) -> Result<CopyBack, Wrong> {
    match given.text() {
        Some("never") => Ok(CopyBack::Never),
        Some("toplevel") => Ok(CopyBack::Toplevel),
        Some("closure") => Ok(CopyBack::Closure),
        Some(_) | None => Err(Wrong::wanted("\"never\", \"toplevel\" or \"closure\"")),
    }
}

/// How many checks a run may have; GitHub itself has no use for more than a thousand.
pub(super) fn checks(given: &Given<'_>) -> Result<usize, Wrong> {
    given
        .number()
        .filter(|count| (1..=1000).contains(count))
        .and_then(|count| usize::try_from(count).ok())
        .ok_or_else(|| Wrong::wanted("a whole number from 1 to 1000"))
}

pub(super) fn address(given: &Given<'_>) -> Result<SocketAddr, Wrong> {
    given.text().and_then(|text| text.parse().ok()).ok_or_else(|| {
        Wrong::wanted("an IP address and a port, like \"127.0.0.1:8080\" or \"[::]:8080\"")
    })
}

pub(super) fn size(given: &Given<'_>) -> Result<u64, Wrong> {
    let wrong = || Wrong::wanted("a size above zero with its unit, like \"6 GiB\"");
    let text = given.text().filter(|text| text.contains(char::is_alphabetic)).ok_or_else(wrong)?;
    let size: bytesize::ByteSize = text.parse().map_err(|_| wrong())?;
    Some(size.as_u64()).filter(|bytes| *bytes > 0).ok_or_else(wrong)
}

pub(super) fn duration(given: &Given<'_>) -> Result<Duration, Wrong> {
    given
        .text()
        .and_then(|text| humantime::parse_duration(text).ok())
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| Wrong::wanted("a time above zero with its unit, like \"15m\" or \"2h\""))
}

/// Attempts after the first.
pub(super) fn retries(given: &Given<'_>) -> Result<u32, Wrong> {
    given
        .number()
        .filter(|count| (0..=20).contains(count))
        .and_then(|count| u32::try_from(count).ok())
        .ok_or_else(|| Wrong::wanted("a whole number from 0 to 20"))
}

/// A time that may be none at all.
pub(super) fn duration_or_zero(given: &Given<'_>) -> Result<Duration, Wrong> {
    let longest = Duration::from_hours(30 * 24);
    given
        .text()
        .and_then(|text| humantime::parse_duration(text).ok())
        .filter(|duration| *duration <= longest)
        .ok_or_else(|| Wrong::wanted("a time up to \"30d\", like \"1h\"; \"0s\" for none"))
}

/// Between two questions to GitHub.
pub(super) fn interval(given: &Given<'_>) -> Result<Duration, Wrong> {
    let limits = Duration::from_secs(1)..=Duration::from_hours(24);
    let wrong = || Wrong::wanted("a time from \"1s\" to \"24h\", like \"5m\"");
    duration(given).ok().filter(|it| limits.contains(it)).ok_or_else(wrong)
}

/// An absolute URL without query, fragment or user, its last slash trimmed.
fn url(given: &Given<'_>, example: &str) -> Result<reqwest::Url, Wrong> {
    given
        .text()
        .and_then(|text| text.parse::<reqwest::Url>().ok())
        .filter(|url| {
            matches!(url.scheme(), "http" | "https")
                && url.has_host()
                && url.username().is_empty()
                && url.password().is_none()
                && url.query().is_none()
                && url.fragment().is_none()
        })
        .ok_or_else(|| {
            let wrong = Wrong::wanted(format!("a whole address, like \"{example}\""));
            match given.text() {
                // A password may stand before the `@`.
                Some(text) if text.contains('@') => wrong.found("an address with a user in it"),
                Some(_) | None => wrong,
            }
        })
}

fn trimmed(url: &reqwest::Url) -> String {
    url.as_str().trim_end_matches('/').to_owned()
}

pub(super) fn public_url(given: &Given<'_>) -> Result<String, Wrong> {
    url(given, "https://fleet.example.org").map(|url| trimmed(&url))
}

/// Where one instance asks another, in a network of their own.
pub(super) fn instance_url(given: &Given<'_>) -> Result<String, Wrong> {
    url(given, "http://10.0.0.2:8080").map(|url| trimmed(&url))
}

/// An address that tokens are sent to: encrypted, or not leaving this machine.
pub(super) fn private_url(given: &Given<'_>, example: &str) -> Result<String, Wrong> {
    let url = url(given, example)?;
    if url.scheme() == "https" || is_loopback(&url) {
        return Ok(trimmed(&url));
    }
    Err(Wrong::wanted("https:// (http:// is for loopback addresses only)")
        .remedy("tokens are sent there: use the address with TLS"))
}

fn is_loopback(url: &reqwest::Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Account names in lower case, each once, in the order given.
pub(super) fn owners(given: &Given<'_>) -> Result<Vec<String>, Wrong> {
    let wrong = || Wrong::wanted("a list with at least one GitHub account, like [\"acme\"]");
    let names = words(given, |name| name.parse::<Owner>().is_ok(), wrong)?;
    Ok(each_once(names.into_iter().map(|name| name.to_lowercase())))
}

/// A word that can stand in a check's name.
pub(super) fn word(given: &Given<'_>) -> Result<String, Wrong> {
    given.text().filter(|text| is_word(text)).map(str::to_owned).ok_or_else(|| {
        Wrong::wanted("1 to 50 letters, digits, `.`, `_`, `-` and `+`, not beginning with a sign")
    })
}

pub(super) fn is_word(text: &str) -> bool {
    (1..=50).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-+".contains(&b))
        && text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
}

/// `sqlite:PATH` or `postgres://…`. It may hold a password, so it is never repeated.
pub(super) fn store_url(given: &Given<'_>) -> Result<Sealed, Wrong> {
    let wrong = Wrong::wanted("\"sqlite:/ABSOLUTE/PATH\" or \"postgres://USER@HOST/DATABASE\"");
    let Some(text) = given.text() else { return Err(wrong) };
    let file = text.strip_prefix("sqlite://").or_else(|| text.strip_prefix("sqlite:"));
    let is_postgres = ["postgres://", "postgresql://"].iter().any(|it| text.starts_with(it));
    match file {
        _ if is_postgres => Ok(Sealed::new(text.to_owned())),
        Some(file) if file.contains('?') => {
            Err(wrong.found("an address with parameters, which are not understood"))
        }
        Some(file) if file.starts_with('/') => Ok(Sealed::new(text.to_owned())),
        Some(file) if file.contains(":memory:") => Err(wrong
            .found("a store in memory")
            .remedy("what GitHub sent would be lost at every start: name a file")),
        Some(_) => Err(wrong.found("a file that is not named by its absolute path")),
        None => {
            let scheme = text.split_once(':').map(|(scheme, _)| shorten(scheme));
            Err(wrong.found(scheme.map_or_else(
                || "no address of a database".to_owned(),
                |scheme| format!("an address of the kind \"{scheme}:\""),
            )))
        }
    }
}

pub(super) fn directory(given: &Given<'_>) -> Result<PathBuf, Wrong> {
    given
        .text()
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .ok_or_else(|| Wrong::wanted("the absolute path of a folder"))
}

pub(super) fn file(given: &Given<'_>) -> Result<PathBuf, Wrong> {
    directory(given).map_err(|_| Wrong::wanted("the absolute path of a file"))
}

/// A program by its name on the PATH or by its absolute path.
pub(super) fn program(given: &Given<'_>) -> Result<PathBuf, Wrong> {
    given
        .text()
        .filter(|text| !text.is_empty())
        .map(PathBuf::from)
        .filter(|path| path.is_absolute() || path.components().count() == 1)
        .ok_or_else(|| Wrong::wanted("a program's name or its absolute path"))
}

pub(super) fn systems(given: &Given<'_>) -> Result<Vec<String>, Wrong> {
    let wrong = || Wrong::wanted("a list of systems, each ARCH-OS like \"x86_64-linux\"");
    words(given, is_system, wrong)
}

pub(super) fn features(given: &Given<'_>) -> Result<Vec<String>, Wrong> {
    let wrong = || Wrong::wanted("a list of Nix system features like [\"big-parallel\"]");
    match given.list() {
        Some(list) if list.is_empty() => Ok(Vec::new()),
        Some(_) | None => words(given, is_word, wrong),
    }
}

/// A list of at least one text, each of them good.
fn words(
    given: &Given<'_>,
    is_good: fn(&str) -> bool,
    wrong: impl Fn() -> Wrong,
) -> Result<Vec<String>, Wrong> {
    let items = given.list().filter(|items| !items.is_empty()).ok_or_else(&wrong)?;
    let bad: Vec<String> =
        items.iter().filter(|it| !is_good(it)).map(|it| format!("\"{}\"", shorten(it))).collect();
    if bad.is_empty() {
        Ok(each_once(items))
    } else {
        Err(wrong().found(format!("{} in the list", bad.join(" and "))))
    }
}

fn each_once(items: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    items.into_iter().filter(|item| seen.insert(item.clone())).collect()
}

fn is_system(text: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    text.len() <= 50 && text.split_once('-').is_some_and(|(arch, os)| part(arch) && part(os))
}
