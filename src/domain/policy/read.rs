//! From TOML with places to a [`Policy`], and mistakes in words for their author.
mod update;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use crate::domain::base::ExistingFailures;
use crate::domain::id::AttrPath;
use crate::domain::policy::pattern::{check_glob, split};
use crate::domain::policy::{
    Approvals, AttrPattern, BuildPolicy, Forks, GatePolicy, Policy, PolicyError, PullRequests,
    TrustPolicy,
};

type Key<'i> = Spanned<DeString<'i>>;
type Value<'i> = Spanned<DeValue<'i>>;

/// Reads a whole file.
pub(super) fn policy(file: &str, text: &str) -> Result<Policy, PolicyError> {
    let reader = Reader { file, text };
    let document = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        reader.wrong(at, format!("is not valid TOML: {}", one_line(error.message())))
    })?;
    let mut policy = Policy::default();
    for (key, value) in in_order(document.get_ref()) {
        match key.get_ref().as_ref() {
            "build" => policy.build = reader.build(reader.table(key, value)?)?,
            "gate" => policy.gate = reader.gate(reader.table(key, value)?)?,
            "trust" => policy.trust = reader.trust(reader.table(key, value)?)?,
            "update" => policy.update = reader.update(reader.table(key, value)?)?,
            _ => return Err(reader.unknown(key, "", &["build", "gate", "trust", "update"])),
        }
    }
    Ok(policy)
}

/// The line, counted from 1, of a byte offset.
pub(super) fn line_at(bytes: &[u8], at: usize) -> u32 {
    let before = bytes.get(..at).unwrap_or(bytes);
    let newlines = before.split(|b| *b == b'\n').count();
    u32::try_from(newlines).unwrap_or(u32::MAX)
}

struct Reader<'t> {
    file: &'t str,
    text: &'t str,
}

impl Reader<'_> {
    fn wrong(&self, at: usize, reason: String) -> PolicyError {
        PolicyError { file: self.file.to_owned(), line: line_at(self.text.as_bytes(), at), reason }
    }

    fn build(&self, table: &DeTable<'_>) -> Result<BuildPolicy, PolicyError> {
        let mut build = BuildPolicy::default();
        for (key, value) in in_order(table) {
            match key.get_ref().as_ref() {
                "outputs" => build.outputs = self.outputs(key, value)?,
                "exclude" => {
                    build.exclude = self.each("build.exclude", key, value, |text| {
                        text.parse::<AttrPattern>().map_err(|error| error.to_string())
                    })?;
                }
                "branches" => build.branches = self.globs("build.branches", key, value)?,
                "flake" => build.flake = self.folder(key, value)?,
                "pull_requests" => build.pull_requests = self.pull_requests(key, value)?,
                _ => {
                    let known = ["outputs", "exclude", "branches", "flake", "pull_requests"];
                    return Err(self.unknown(key, "build", &known));
                }
            }
        }
        Ok(build)
    }

    fn outputs(&self, key: &Key<'_>, value: &Value<'_>) -> Result<Vec<AttrPattern>, PolicyError> {
        let outputs = self.each("build.outputs", key, value, |text| {
            let pattern = text.parse::<AttrPattern>().map_err(|error| error.to_string())?;
            match pattern.misfit() {
                None => Ok(pattern),
                Some(misfit) => Err(format!("cannot be built: {misfit}")),
            }
        })?;
        if outputs.is_empty() {
            return Err(self.wrong(
                key.span().start,
                "`build.outputs` is empty, so nothing would be built; name an output, such as \
                 \"nixosConfigurations.*\", or leave the key out"
                    .to_owned(),
            ));
        }
        Ok(outputs)
    }

    fn gate(&self, table: &DeTable<'_>) -> Result<GatePolicy, PolicyError> {
        let mut required = None;
        let mut required_from = None;
        let mut existing_failures = ExistingFailures::default();
        for (key, value) in in_order(table) {
            match key.get_ref().as_ref() {
                "required" => required = Some(self.required(key, value)?),
                "required_from" => required_from = Some(self.output(key, value)?),
                "existing_failures" => existing_failures = self.existing(key, value)?,
                _ => {
                    let known = ["required", "required_from", "existing_failures"];
                    return Err(self.unknown(key, "gate", &known));
                }
            }
            if required.is_some() && required_from.is_some() {
                return Err(self.wrong(
                    key.span().start,
                    "`gate.required` and `gate.required_from` are both given; keep one of them"
                        .to_owned(),
                ));
            }
        }
        let required = match (required, &required_from) {
            (None, None) => GatePolicy::default().required,
            (required, _) => required.unwrap_or_default(),
        };
        Ok(GatePolicy { required, required_from, existing_failures })
    }

    fn existing(&self, key: &Key<'_>, value: &Value<'_>) -> Result<ExistingFailures, PolicyError> {
        const NAME: &str = "gate.existing_failures";
        let text = self.string(NAME, key, value)?;
        match text {
            "fail" => Ok(ExistingFailures::Fail),
            "ignore" => Ok(ExistingFailures::Ignore),
            _ => Err(self.value_wrong(NAME, text, value, "must be \"fail\" or \"ignore\"")),
        }
    }

    fn required(&self, key: &Key<'_>, value: &Value<'_>) -> Result<Vec<String>, PolicyError> {
        let globs = self.globs("gate.required", key, value)?;
        if globs.is_empty() {
            return Err(self.wrong(
                key.span().start,
                "`gate.required` is empty, so the gate could never pass; name the hosts that \
                 must build, such as \"*\" for all, or leave the key out"
                    .to_owned(),
            ));
        }
        Ok(globs)
    }

    fn output(&self, key: &Key<'_>, value: &Value<'_>) -> Result<AttrPath, PolicyError> {
        let text = self.string("gate.required_from", key, value)?;
        let components = split(text).and_then(|components| {
            if components.iter().any(|it| it.contains('*')) {
                return Err("has a `*`; name one output, such as \"tiers.tier1\"".to_owned());
            }
            Ok(components)
        });
        components.map(AttrPath::new).map_or_else(
            |reason| Err(self.value_wrong("gate.required_from", text, value, &reason)),
            |path| {
                path.ok_or_else(|| self.value_wrong("gate.required_from", text, value, "is empty"))
            },
        )
    }

    fn pull_requests(&self, key: &Key<'_>, value: &Value<'_>) -> Result<PullRequests, PolicyError> {
        match self.string("build.pull_requests", key, value)? {
            "head" => Ok(PullRequests::Head),
            "merge" => Ok(PullRequests::Merge),
            text => {
                let wanted = "must be \"head\" or \"merge\"";
                Err(self.value_wrong("build.pull_requests", text, value, wanted))
            }
        }
    }

    fn trust(&self, table: &DeTable<'_>) -> Result<TrustPolicy, PolicyError> {
        let mut trust = TrustPolicy::default();
        for (key, value) in in_order(table) {
            match key.get_ref().as_ref() {
                "forks" => trust.forks = self.forks(key, value)?,
                "sticky" => {
                    let sticky = self.switch("trust.sticky", key, value)?;
                    trust.approvals =
                        if sticky { Approvals::Sticky } else { Approvals::OfOneCommit };
                }
                "comments" => trust.comments = self.switch("trust.comments", key, value)?,
                _ => return Err(self.unknown(key, "trust", &["forks", "sticky", "comments"])),
            }
        }
        Ok(trust)
    }

    fn forks(&self, key: &Key<'_>, value: &Value<'_>) -> Result<Forks, PolicyError> {
        match self.string("trust.forks", key, value)? {
            "approve" => Ok(Forks::Approve),
            "never" => Ok(Forks::Never),
            "build" => Ok(Forks::Build),
            text => {
                let wanted = "must be \"approve\", \"never\" or \"build\"";
                Err(self.value_wrong("trust.forks", text, value, wanted))
            }
        }
    }

    fn switch(&self, name: &str, key: &Key<'_>, value: &Value<'_>) -> Result<bool, PolicyError> {
        value.get_ref().as_bool().ok_or_else(|| self.wrong_type(name, "true or false", key, value))
    }

    /// A folder of the repository, made canonical; it becomes part of a URL, hence the alphabet.
    fn folder(&self, key: &Key<'_>, value: &Value<'_>) -> Result<String, PolicyError> {
        let text = self.string("build.flake", key, value)?;
        let wrong = |reason| Err(self.value_wrong("build.flake", text, value, reason));
        if text.starts_with('/') {
            return wrong("is absolute; give the folder relative to the repository's root");
        }
        if text.split('/').any(|part| part == "..") {
            return wrong("leaves its folder with `..`; give a folder of this repository");
        }
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._-+/".contains(&b);
        if text.is_empty() || text.len() > 200 || !text.bytes().all(allowed) {
            return wrong("must be a folder: letters, digits and `.`, `_`, `-`, `+`, `/`");
        }
        let parts: Vec<&str> =
            text.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
        Ok(parts.join("/"))
    }

    fn globs(
        &self,
        name: &str,
        key: &Key<'_>,
        value: &Value<'_>,
    ) -> Result<Vec<String>, PolicyError> {
        self.each(name, key, value, |text| check_glob(text).map(|()| text.to_owned()))
    }

    /// A list of texts, each made into something; `make`'s error follows the quoted text.
    fn each<T>(
        &self,
        name: &str,
        key: &Key<'_>,
        value: &Value<'_>,
        make: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Vec<T>, PolicyError> {
        let Some(items) = value.get_ref().as_array() else {
            return Err(self.wrong_type(name, "a list of texts", key, value));
        };
        items
            .iter()
            .map(|item| {
                let Some(text) = item.get_ref().as_str() else {
                    return Err(self.wrong_type(name, "a list of texts", key, item));
                };
                make(text).map_err(|reason| self.value_wrong(name, text, item, &reason))
            })
            .collect()
    }

    fn string<'v>(
        &self,
        name: &str,
        key: &Key<'_>,
        value: &'v Value<'_>,
    ) -> Result<&'v str, PolicyError> {
        value.get_ref().as_str().ok_or_else(|| self.wrong_type(name, "a text", key, value))
    }

    fn table<'v, 'i>(
        &self,
        key: &Key<'_>,
        value: &'v Value<'i>,
    ) -> Result<&'v DeTable<'i>, PolicyError> {
        let name = key.get_ref().as_ref();
        value.get_ref().as_table().ok_or_else(|| {
            self.wrong_type(name, &format!("a table, begun with [{name}]"), key, value)
        })
    }

    fn wrong_type(
        &self,
        name: &str,
        wanted: &str,
        key: &Key<'_>,
        value: &Value<'_>,
    ) -> PolicyError {
        // A table made by a dotted key or header has no place of its own.
        let at = value.span().start.max(key.span().start);
        let found = match value.get_ref().type_str() {
            "string" => "a text",
            "integer" | "float" => "a number",
            "boolean" => "true or false",
            "array" => "a list",
            "table" => "a table",
            _ => "a date or time",
        };
        self.wrong(at, format!("`{name}` must be {wanted}; found {found}"))
    }

    fn value_wrong(&self, name: &str, text: &str, value: &Value<'_>, reason: &str) -> PolicyError {
        self.wrong(value.span().start, format!("`{name}`: \"{}\" {reason}", one_line(text)))
    }

    fn unknown(&self, key: &Key<'_>, section: &str, known: &[&str]) -> PolicyError {
        let found = key.get_ref();
        let place = if section.is_empty() { "the file".to_owned() } else { format!("[{section}]") };
        let mended =
            nearest(found, known).map_or_else(String::new, |it| format!("; did you mean `{it}`?"));
        let reason =
            format!("unknown key `{}`{mended} (in {place}: {})", one_line(found), known.join(", "));
        self.wrong(key.span().start, reason)
    }
}

/// A table's entries as they stand in the file, so that the first mistake is the one told.
fn in_order<'t, 'i>(table: &'t DeTable<'i>) -> Vec<(&'t Key<'i>, &'t Value<'i>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

fn one_line(text: &str) -> String {
    let mut shown: String = text.chars().take(80).collect::<String>().escape_debug().collect();
    if text.chars().nth(80).is_some() {
        shown.push('…');
    }
    shown.replace("\\\"", "\"").replace("\\'", "'")
}

/// The known key that `found` was most probably meant to be.
fn nearest<'k>(found: &str, known: &[&'k str]) -> Option<&'k str> {
    known
        .iter()
        .map(|key| (distance(&found.to_lowercase(), key), *key))
        .filter(|(distance, key)| *distance <= key.len().div_ceil(2).min(4))
        .min()
        .map(|(_, key)| key)
}

/// Levenshtein's distance, over at most 40 characters.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().take(40).collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.chars().take(40).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in right.iter().enumerate() {
            let substituted = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}
