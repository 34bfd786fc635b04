//! Takes settings one by one out of the raw values and writes down every mistake on the way.
use std::collections::BTreeMap;

use figment::value::{Dict, Value};

use crate::config::mistake::{ConfigErrors, Mistake, Place};
use crate::config::source::{Sources, Step, spell, variable};
use crate::config::value::{Given, Wrong, describe};

/// Every section and its keys: for suggestions, and for sections that a command does not need.
pub(super) const SECTIONS: &[(&str, &[&str])] = &[
    ("http", &["listen", "public_url", "instance_url"]),
    (
        "github",
        &[
            "app_id",
            "private_key_file",
            "private_key_files",
            "webhook_secret_files",
            "api_url",
            "git_url",
            "owners",
            "check_name",
            "checks_limit",
            "recover_interval",
            "updater_app_id",
            "updater_private_key_file",
            "updater_private_key_files",
        ],
    ),
    ("store", &["url", "directory"]),
    ("logs", &["url", "endpoint", "region", "access_key_id", "secret_access_key_file"]),
    (
        "nix",
        &[
            "program",
            "evaluations",
            "memory",
            "evaluation_memory",
            "evaluation_timeout",
            "build_timeout",
            "silence_timeout",
            "retries",
            "failure_memory",
            "unplaceable_after",
            "instance_store",
        ],
    ),
    (
        "builder",
        &[
            "name",
            "store",
            "ssh_options",
            "systems",
            "features",
            "mandatory_features",
            "slots",
            "speed",
            "min_free",
            "collect",
            "copy_back",
        ],
    ),
    ("builders", &["file"]),
];

/// The raw settings being read.
pub(super) struct Reader<'s> {
    sources: &'s Sources,
    values: Dict,
    mistakes: Vec<Mistake>,
    origins: BTreeMap<String, Place>,
}

impl<'s> Reader<'s> {
    /// Begins; sections that do not exist are mistakes already.
    pub(super) fn new(sources: &'s Sources) -> Self {
        let values = sources.values();
        let mut reader = Self { sources, values, mistakes: Vec::new(), origins: BTreeMap::new() };
        let unknown: Vec<(String, Value)> = reader
            .values
            .iter()
            .filter(|(name, _)| keys_of(name).is_empty())
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        for (name, value) in unknown {
            reader.unknown(name, &value);
        }
        reader
    }

    /// Every mistake so far, and where each setting that was given stands.
    pub(super) fn finish(self) -> (Vec<Mistake>, BTreeMap<String, Place>) {
        (self.mistakes, self.origins)
    }

    /// Whether a section is given.
    pub(super) fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// Mistakes in a file that the settings name.
    pub(super) fn add(&mut self, errors: ConfigErrors) {
        self.mistakes.extend(errors.0);
    }

    /// How many mistakes there are so far.
    pub(super) fn mistakes(&self) -> usize {
        self.mistakes.len()
    }

    /// Opens `[name]`; an absent section is an empty one.
    pub(super) fn section(&mut self, name: &'static str) -> Section<'_, 's> {
        let path = vec![Step::Key(name.to_owned())];
        let values = match self.values.remove(name) {
            None => Dict::new(),
            Some(Value::Dict(_, values)) => values,
            Some(other) => {
                self.wrong(&path, &other, Wrong::wanted(format!("a section, [{name}]")));
                Dict::new()
            }
        };
        Section { reader: self, path, values, keys: keys_of(name) }
    }

    /// Looks at the names of a section's keys alone: the command does not need it.
    pub(super) fn skip(&mut self, name: &'static str) {
        let mut section = self.section(name);
        for key in keys_of(name) {
            section.values.remove(*key);
        }
        section.finish();
    }

    /// The items of `[[name]]`; `None` when it is not there or not a list of tables.
    pub(super) fn items(&mut self, name: &'static str) -> Option<Vec<Value>> {
        let value = self.values.remove(name)?;
        let path = vec![Step::Key(name.to_owned())];
        let given = self.given(&value);
        match given.tables() {
            Ok(items) => {
                self.origins.insert(name.to_owned(), self.sources.place(&path, value.tag()));
                Some(items)
            }
            Err(wrong) => {
                self.wrong(&path, &value, wrong);
                None
            }
        }
    }

    /// Opens one item of a list of tables.
    pub(super) fn item(
        &mut self,
        name: &'static str,
        index: usize,
        value: &Value,
    ) -> Section<'_, 's> {
        let path = vec![Step::Key(name.to_owned()), Step::Index(index)];
        let values = value.clone().into_dict().unwrap_or_default();
        Section { reader: self, path, values, keys: keys_of(name) }
    }

    fn given<'v>(&self, value: &'v Value) -> Given<'v> {
        Given { value, is_variable: self.sources.is_from_environment(value.tag()) }
    }

    fn wrong(&mut self, path: &[Step], value: &Value, wrong: Wrong) {
        self.mistakes.push(Mistake {
            place: self.sources.place(path, value.tag()),
            key: spell(path),
            found: wrong.found.unwrap_or_else(|| describe(value)),
            wanted: wrong.wanted,
            remedy: wrong.remedy,
        });
    }

    /// A section that does not exist, key by key: a variable always names one.
    fn unknown(&mut self, name: String, value: &Value) {
        let path = vec![Step::Key(name)];
        match value.as_dict().filter(|inner| !inner.is_empty()) {
            None => self.note_unknown(&path, value),
            Some(inner) => {
                for (key, value) in inner {
                    let path = [path.clone(), vec![Step::Key(key.clone())]].concat();
                    self.note_unknown(&path, value);
                }
            }
        }
    }

    /// The value is not repeated: it may be a secret under a misspelt name.
    fn note_unknown(&mut self, path: &[Step], value: &Value) {
        let place = self.sources.place(path, value.tag());
        let remedy = match (nearest(path), &place) {
            (Some(near), Place::Variable(_)) => {
                format!("did you mean {}?", variable(&near))
            }
            (Some(near), Place::File { .. } | Place::Nowhere) => {
                format!("did you mean `{}`?", spell(&near))
            }
            (None, _) => "remove it".to_owned(),
        };
        self.mistakes.push(Mistake {
            place,
            key: spell(path),
            found: "a key that does not exist".to_owned(),
            wanted: String::new(),
            remedy,
        });
    }
}

/// One section being read.
pub(super) struct Section<'r, 's> {
    reader: &'r mut Reader<'s>,
    path: Vec<Step>,
    values: Dict,
    keys: &'static [&'static str],
}

impl Section<'_, '_> {
    /// Whether any of these settings is given.
    pub(super) fn has_any(&self, keys: &[&str]) -> bool {
        keys.iter().any(|it| self.values.contains_key(*it))
    }

    /// A setting that must be given; `example` shows how. `None` after a mistake.
    pub(super) fn required<T>(
        &mut self,
        key: &str,
        example: &str,
        read: impl FnOnce(&Given<'_>) -> Result<T, Wrong>,
    ) -> Option<T> {
        if self.values.contains_key(key) {
            return self.given(key, read);
        }
        let path = self.path_of(key);
        let place = self.reader.sources.missing(&path);
        let remedy = match &place {
            Place::Nowhere => format!("set {}, or write a settings file", variable(&path)),
            Place::File { .. } | Place::Variable(_) => format!("add `{key} = {example}`"),
        };
        self.reader.mistakes.push(Mistake {
            place,
            key: spell(&path),
            found: "nothing".to_owned(),
            wanted: "a value: this setting has no default".to_owned(),
            remedy,
        });
        None
    }

    /// A setting that must be given because another one, `beside` it, is; always `None`.
    pub(super) fn lacks<T>(&mut self, (key, example): (&str, &str), beside: &str) -> Option<T> {
        let path = self.path_of(key);
        self.reader.mistakes.push(Mistake {
            place: self.reader.sources.missing(&path),
            key: spell(&path),
            found: "nothing".to_owned(),
            wanted: format!("a value beside `{}`", spell(&self.path_of(beside))),
            remedy: format!("add `{key} = {example}`, or take `{beside}` away"),
        });
        None
    }

    /// Of two settings exactly one: the second under its own rule, else the first, which `example`
    /// shows. `None` after a mistake.
    pub(super) fn either<T>(
        &mut self,
        (key, example): (&str, &str),
        read: impl FnOnce(&Given<'_>) -> Result<T, Wrong>,
        (other, read_other): (&str, impl FnOnce(&Given<'_>) -> Result<T, Wrong>),
    ) -> Option<T> {
        let Some(value) = self.values.get(other).cloned() else {
            return self.required(key, example, read);
        };
        if self.values.remove(key).is_some() {
            let path = self.path_of(other);
            let wrong = Wrong::wanted(format!("only one of `{other}` and `{key}`"))
                .found(format!("`{key}` beside it"))
                .remedy(format!("take `{key}` away and name its file in `{other}`"));
            self.reader.wrong(&path, &value, wrong);
            self.values.remove(other);
            return None;
        }
        self.given(other, read_other)
    }

    /// A setting with a default. `None` after a mistake.
    pub(super) fn or<T>(
        &mut self,
        key: &str,
        default: T,
        read: impl FnOnce(&Given<'_>) -> Result<T, Wrong>,
    ) -> Option<T> {
        if self.values.contains_key(key) { self.given(key, read) } else { Some(default) }
    }

    /// Ends the section: what nobody took does not exist.
    pub(super) fn finish(self) {
        let Self { reader, path, values, keys } = self;
        for (key, value) in values {
            let path = [path.clone(), vec![Step::Key(key.clone())]].concat();
            if !keys.contains(&key.as_str()) {
                reader.note_unknown(&path, &value);
            }
        }
    }

    fn given<T>(
        &mut self,
        key: &str,
        read: impl FnOnce(&Given<'_>) -> Result<T, Wrong>,
    ) -> Option<T> {
        let value = self.values.remove(key)?;
        let path = self.path_of(key);
        match read(&self.reader.given(&value)) {
            Ok(read) => {
                let place = self.reader.sources.place(&path, value.tag());
                self.reader.origins.insert(spell(&path), place);
                Some(read)
            }
            Err(wrong) => {
                self.reader.wrong(&path, &value, wrong);
                None
            }
        }
    }

    fn path_of(&self, key: &str) -> Vec<Step> {
        [self.path.clone(), vec![Step::Key(key.to_owned())]].concat()
    }
}

fn keys_of(section: &str) -> &'static [&'static str] {
    SECTIONS.iter().find(|(name, _)| *name == section).map_or(&[], |(_, keys)| *keys)
}

/// The known key that was probably meant: the same name elsewhere, or a near one, here first.
fn nearest(path: &[Step]) -> Option<Vec<Step>> {
    let names: Vec<&str> = path
        .iter()
        .filter_map(|step| match step {
            Step::Key(key) => Some(key.as_str()),
            Step::Index(_) => None,
        })
        .collect();
    let (section, key) = match names.as_slice() {
        [key] => (*key, None),
        [section, key, ..] => (*section, Some(*key)),
        [] => return None,
    };
    let known =
        SECTIONS.iter().flat_map(|(section, keys)| keys.iter().map(move |k| (*section, *k)));
    let distance = |(to_section, to_key): &(&str, &str)| {
        let far = strsim::damerau_levenshtein;
        match key {
            Some(key) => far(key, to_key) * 2 + far(section, to_section).min(3),
            // A lone word is a misspelt section or a key outside its section.
            None => (far(section, to_key) * 2 + 1).min(far(section, to_section) * 2),
        }
    };
    let (near_section, near_key) = known.min_by_key(distance)?;
    let limit = key.unwrap_or(section).chars().count().div_ceil(3) * 2 + 3;
    if distance(&(near_section, near_key)) > limit {
        return None;
    }
    let is_section = key.is_none()
        && strsim::damerau_levenshtein(section, near_section) * 2
            <= strsim::damerau_levenshtein(section, near_key) * 2 + 1;
    let mut near = vec![Step::Key(near_section.to_owned())];
    if !is_section {
        near.extend(path.iter().filter(|step| matches!(step, Step::Index(_))).cloned());
        near.push(Step::Key(near_key.to_owned()));
    }
    Some(near)
}
