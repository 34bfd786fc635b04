//! Where settings come from: one TOML file and the environment, merged without judging them.
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use figment::value::{Dict, Map, Tag, Value};
use figment::{Figment, Metadata, Profile, Provider};
use toml::de::{DeTable, DeValue};

use crate::config::mistake::{Mistake, Place};

/// Environment variables that begin so are settings; `__` stands between section and key.
pub(super) const PREFIX: &str = "FLEETCHECK__";
/// Names the settings file when `--config` does not.
pub const FILE_VARIABLE: &str = "FLEETCHECK_CONFIG";
/// Read when it exists and nothing else is named.
pub const DEFAULT_FILE: &str = "/etc/fleetcheck.toml";

const FILE: &str = "file";
const ENVIRONMENT: &str = "environment";

/// Environment variables as a value, so that loading settings depends on its arguments alone.
#[derive(Clone, Debug, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// The variables of this process. Bytes that are no text become `U+FFFD`.
    #[must_use]
    pub fn of_process() -> Self {
        std::env::vars_os()
            .map(|(name, value)| {
                (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned())
            })
            .collect()
    }

    /// The variable's value; `None` when it is not set or empty.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(variables: I) -> Self {
        Self(variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

/// One step on the way to a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

/// `builder[1].slots`.
pub(super) fn spell(path: &[Step]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Key(key) if text.is_empty() => text.push_str(key),
            Step::Key(key) => text.extend([".", key]),
            Step::Index(index) => text.extend(["[", &index.to_string(), "]"]),
        }
    }
    text
}

/// `FLEETCHECK__GITHUB__APP_ID`; items of a list stand in the list's own variable.
pub(super) fn variable(path: &[Step]) -> String {
    let keys: Vec<String> = path
        .iter()
        .map_while(|step| match step {
            Step::Key(key) => Some(key.to_uppercase()),
            Step::Index(_) => None,
        })
        .collect();
    format!("{PREFIX}{}", keys.join("__"))
}

/// The raw settings, and where each came from.
pub(super) struct Sources {
    merged: Figment,
    file: Option<File>,
}

struct File {
    path: PathBuf,
    text: String,
}

impl Sources {
    /// Reads the file and the environment. A file that cannot be read or is no TOML is all that
    /// can be said about it.
    pub(super) fn read(path: Option<&Path>, env: &Environment) -> Result<Self, Vec<Mistake>> {
        let path = path
            .map(Path::to_owned)
            .or_else(|| env.get(FILE_VARIABLE).map(PathBuf::from))
            .or_else(|| Some(PathBuf::from(DEFAULT_FILE)).filter(|file| file.exists()));
        let file = match path {
            Some(path) => Some(read_file(path)?),
            None => None,
        };
        let mut merged = Figment::new();
        if let Some(file) = &file {
            merged = merged.merge(Layer { name: FILE, values: parse(file)? });
        }
        merged = merged.merge(Layer { name: ENVIRONMENT, values: nest(env) });
        Ok(Self { merged, file })
    }

    /// Everything that was given.
    pub(super) fn values(&self) -> Dict {
        self.merged.extract().unwrap_or_default()
    }

    /// Whether the value came from the environment. What was read out of a variable's text has no
    /// metadata of its own.
    pub(super) fn is_from_environment(&self, tag: Tag) -> bool {
        self.merged.get_metadata(tag).is_none_or(|metadata| metadata.name == ENVIRONMENT)
    }

    /// Where a value that was given stands.
    pub(super) fn place(&self, path: &[Step], tag: Tag) -> Place {
        if self.is_from_environment(tag) {
            return Place::Variable(variable(path));
        }
        match &self.file {
            Some(file) => Place::File { path: file.path.clone(), line: line_of(&file.text, path) },
            None => Place::Nowhere,
        }
    }

    /// Where a value that was not given would stand.
    pub(super) fn missing(&self, path: &[Step]) -> Place {
        match &self.file {
            Some(file) => {
                // A key that is missing from a `[[builder]]` is missing there, at a known line.
                let parent = &path[..path.len().saturating_sub(1)];
                let line = match parent.last() {
                    Some(Step::Index(_)) => line_of(&file.text, parent),
                    Some(Step::Key(_)) | None => None,
                };
                Place::File { path: file.path.clone(), line }
            }
            None => Place::Nowhere,
        }
    }
}

/// A provider of values that are there already; its name tells the layers apart afterwards.
struct Layer {
    name: &'static str,
    values: Dict,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name)
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Map::from([(Profile::Default, self.values.clone())]))
    }
}

fn read_file(path: PathBuf) -> Result<File, Vec<Mistake>> {
    match read_limited(&path).map(String::from_utf8) {
        Ok(Ok(text)) => Ok(File { path, text }),
        Ok(Err(_)) => Err(vec![about_file(path, None, "bytes that are not UTF-8 text")]),
        Err(error) => Err(vec![Mistake {
            remedy: "name another file with --config, or make this one readable".to_owned(),
            ..about_file(path, None, &format!("a file that cannot be read ({error})"))
        }]),
    }
}

/// A file's bytes, at most 1 MiB: no settings, key or secret is longer.
pub(super) fn read_limited(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(1 << 20).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn about_file(path: PathBuf, line: Option<usize>, found: &str) -> Mistake {
    Mistake {
        place: Place::File { path, line },
        key: String::new(),
        found: found.to_owned(),
        wanted: "settings in TOML".to_owned(),
        remedy: String::new(),
    }
}

fn parse(file: &File) -> Result<Dict, Vec<Mistake>> {
    let wrong = |line, message: &str| {
        about_file(file.path.clone(), line, &format!("text that is not TOML ({message})"))
    };
    let (_, mut errors) = DeTable::parse_recoverable(&file.text);
    if !errors.is_empty() {
        errors.sort_by_key(|error| error.span().map(|span| span.start));
        let mistakes = errors.iter().map(|error| {
            let line = error.span().map(|span| line_at(&file.text, span.start));
            wrong(line, &error.message().replace('\n', ", "))
        });
        return Err(mistakes.collect());
    }
    let table: toml::Table =
        toml::from_str(&file.text).map_err(|error| vec![wrong(None, error.message())])?;
    let value = Value::serialize(table).map_err(|error| vec![wrong(None, &error.to_string())])?;
    Ok(value.into_dict().unwrap_or_default())
}

/// Variables as they are: text. What type is wanted, and so how to read it, is known later.
fn nest(env: &Environment) -> Dict {
    let mut values = Dict::new();
    for (name, text) in &env.0 {
        if let Some(key) = name.strip_prefix(PREFIX) {
            let parts: Vec<String> = key.split("__").map(str::to_lowercase).collect();
            insert(&mut values, &parts, text);
        }
    }
    values
}

fn insert(into: &mut Dict, parts: &[String], text: &str) {
    match parts {
        [] => {}
        [last] => {
            into.entry(last.clone()).or_insert_with(|| Value::from(text));
        }
        [first, rest @ ..] => {
            let inner = into.entry(first.clone()).or_insert_with(|| Value::from(Dict::new()));
            if let Value::Dict(_, dict) = inner {
                insert(dict, rest, text);
            }
        }
    }
}

fn line_at(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

/// The line where the key of this path is written.
fn line_of(text: &str, path: &[Step]) -> Option<usize> {
    let table = DeTable::parse(text).ok()?;
    let mut here = DeValue::Table(table.into_inner());
    let mut at = None;
    for step in path {
        let (span, next) = match (here, step) {
            (DeValue::Table(table), Step::Key(wanted)) => {
                let (key, value) = table.into_iter().find(|(key, _)| key.get_ref() == wanted)?;
                (key.span(), value.into_inner())
            }
            (DeValue::Array(items), Step::Index(index)) => {
                let item = items.into_iter().nth(*index)?;
                (item.span(), item.into_inner())
            }
            (_, Step::Key(_) | Step::Index(_)) => return None,
        };
        at = Some(span.start);
        here = next;
    }
    at.map(|offset| line_at(text, offset))
}
