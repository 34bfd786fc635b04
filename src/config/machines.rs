//! `[builders] file`: machines in Nix's own format, as `/etc/nix/machines` has them.
//!
//! A machine a line, up to eight words: store, systems, ssh key, jobs, speed, features, mandatory
//! features, host key; `-` for what is left out. `;` ends a machine too, `#` begins a remark, and
//! `@FILE` stands for another file's, if there is one.
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use figment::value::Value;

use crate::config::builders::{MIN_FREE, this_machine};
use crate::config::mistake::{ConfigErrors, Mistake, Place};
use crate::config::source::read_limited;
use crate::config::value::{self, Given, Wrong, shorten};
use crate::config::{Builder, BuilderStore, CopyBack, stores};
use crate::domain::builder::Speed;

/// More of Nix's fields there are not.
const FIELDS: usize = 8;
const MOST_JOBS: usize = 256;

/// The file of `[builders]`, which is read again when it changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachinesFile {
    pub path: PathBuf,
}

impl MachinesFile {
    /// The builders as the file has them now, and this machine where none of them builds for it.
    ///
    /// # Errors
    /// Every mistake in it, with its line.
    pub fn read(&self) -> Result<Vec<Builder>, ConfigErrors> {
        let mut found = Found::default();
        found.file(&self.path, Missing::IsWrong);
        if !found.mistakes.is_empty() {
            return Err(ConfigErrors(found.mistakes));
        }
        let here = this_machine();
        let is_done = |system| found.builders.iter().any(|it| it.systems.contains(system));
        if !here.systems.iter().all(is_done) {
            let name = found.unused("local");
            found.builders.push(Builder { name, ..here });
        }
        Ok(found.builders)
    }
}

/// What a file that is not there means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Missing {
    IsWrong,
    /// As to Nix, where another file names it.
    IsEmpty,
}

#[derive(Default)]
struct Found {
    builders: Vec<Builder>,
    mistakes: Vec<Mistake>,
    files: BTreeSet<PathBuf>,
}

impl Found {
    fn file(&mut self, path: &Path, missing: Missing) {
        // One that names itself would have no end.
        if !self.files.insert(path.to_owned()) {
            return;
        }
        let text = match read_limited(path).map(String::from_utf8) {
            Ok(Ok(text)) => text,
            Err(error) if error.kind() == ErrorKind::NotFound && missing == Missing::IsEmpty => {
                return;
            }
            Ok(Err(_)) => return self.unreadable(path, "bytes that are not UTF-8 text"),
            Err(error) => {
                return self.unreadable(path, &format!("a file that cannot be read ({error})"));
            }
        };
        for (index, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default();
            for entry in line.split(';').map(str::trim).filter(|it| !it.is_empty()) {
                if let Some(other) = entry.strip_prefix('@') {
                    let beside = path.parent().unwrap_or(path).join(other.trim());
                    self.file(&beside, Missing::IsEmpty);
                    continue;
                }
                match machine(entry) {
                    Ok(builder) => self.add(builder),
                    Err((field, wrong)) => self.mistakes.push(Mistake {
                        place: Place::File { path: path.to_owned(), line: Some(index + 1) },
                        key: String::new(),
                        found: wrong.found.unwrap_or_else(|| format!("\"{}\"", shorten(field))),
                        wanted: wrong.wanted,
                        remedy: wrong.remedy,
                    }),
                }
            }
        }
    }

    fn unreadable(&mut self, path: &Path, found: &str) {
        self.mistakes.push(Mistake {
            place: Place::File { path: path.to_owned(), line: None },
            key: String::new(),
            found: found.to_owned(),
            wanted: "machines as in /etc/nix/machines".to_owned(),
            remedy: String::new(),
        });
    }

    /// One without jobs builds nothing.
    fn add(&mut self, builder: Builder) {
        if builder.slots > 0 {
            let name = self.unused(&builder.name);
            self.builders.push(Builder { name, ..builder });
        }
    }

    /// The format has no names: of two with one host the second has a number.
    fn unused(&self, name: &str) -> String {
        let is_used = |name: &str| self.builders.iter().any(|it| it.name == name);
        let numbered = (2..).map(|it| format!("{name}-{it}"));
        let mut names = std::iter::once(name.to_owned()).chain(numbered);
        names.find(|it| !is_used(it)).unwrap_or_default()
    }
}

/// A machine; or the word that is wrong, and why.
fn machine(entry: &str) -> Result<Builder, (&str, Wrong)> {
    let words: Vec<&str> = entry.split_whitespace().collect();
    if words.len() > FIELDS {
        let wrong = "a store, systems, ssh key, jobs, speed, features, mandatory features and host \
                     key, `-` for none";
        return Err((entry, Wrong::wanted(wrong)));
    }
    let field = |at: usize| words.get(at).copied().filter(|it| *it != "-");
    let uri = field(0).unwrap_or_default();
    let mut store = store(uri, field(2)).map_err(|it| (uri, it))?;
    let host_key = field(7).map(host_key).transpose().map_err(|it| (words[7], it))?;
    let jobs = number(field(3), 1, MOST_JOBS).map_err(|it| (words[3], it))?;
    let speed = speed(field(4)).map_err(|it| (words[4], it))?;
    let systems = match field(1) {
        None => this_machine().systems,
        Some(text) => list(text, value::systems).map_err(|it| (text, it))?,
    };
    let features = |at: usize| match field(at) {
        None => Ok(vec![]),
        Some(text) => list(text, value::features).map_err(|it| (text, it)),
    };
    let (features, mandatory_features) = (features(5)?, features(6)?);
    if let Some(ssh) = &mut store.ssh {
        ssh.host_key = host_key;
    }
    Ok(Builder {
        name: name(&store),
        store: Some(store),
        systems,
        features,
        mandatory_features,
        slots: jobs,
        speed,
        min_free: MIN_FREE,
        collect: false,
        copy_back: CopyBack::Never,
    })
}

/// A host alone is reached by ssh. We speak with its daemon however Nix would reach its store.
fn store(uri: &str, key: Option<&str>) -> Result<BuilderStore, Wrong> {
    let is_whole = uri.contains("://") || uri.starts_with('/') || ["local", "auto"].contains(&uri);
    let mut uri = match uri.strip_prefix("ssh://") {
        Some(host) => format!("ssh-ng://{host}"),
        None if is_whole => uri.to_owned(),
        None => format!("ssh-ng://{uri}"),
    };
    if let Some(key) = key {
        let sign = if uri.contains('?') { '&' } else { '?' };
        uri = format!("{uri}{sign}ssh-key={key}");
    }
    let (uri, ssh) = stores::store(&Given { value: &Value::from(uri), is_variable: false })?;
    Ok(BuilderStore { uri, ssh, ssh_options: vec![] })
}

/// `basestar` of `ssh-ng://root@basestar`.
fn name(store: &BuilderStore) -> String {
    let whole = store.ssh.as_ref().map_or(store.uri.as_str(), |it| it.host.as_str());
    let host = whole.rsplit_once('@').map_or(whole, |(_, host)| host);
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || ".-_".contains(c) { c } else { '_' }
    };
    let name: String = host.chars().map(plain).take(40).collect();
    name.trim_matches(['_', '-', '.']).to_owned()
}

/// As ssh writes it into its `known_hosts`, without the host.
fn host_key(text: &str) -> Result<String, Wrong> {
    let wrong = || {
        Wrong::wanted(
            "a public host key in base64, as `base64 -w0 /etc/ssh/ssh_host_ed25519_key.pub` gives it",
        )
    };
    let bytes = STANDARD.decode(text).map_err(|_| wrong())?;
    let line = String::from_utf8(bytes).map_err(|_| wrong())?;
    let mut words = line.split_whitespace();
    let plain = |it: &&str| it.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=-@.".contains(&b));
    match (words.next().filter(plain), words.next().filter(plain)) {
        (Some(kind), Some(key)) => Ok(format!("{kind} {key}")),
        (_, _) => Err(wrong()),
    }
}

fn number(text: Option<&str>, default: usize, most: usize) -> Result<usize, Wrong> {
    let Some(text) = text else { return Ok(default) };
    let number = text.parse().ok().filter(|it| *it <= most);
    number.ok_or_else(|| Wrong::wanted(format!("a number of jobs from 0 to {most}")))
}

fn speed(text: Option<&str>) -> Result<Speed, Wrong> {
    let Some(text) = text else { return Ok(Speed::default()) };
    text.parse().map_err(|_| Wrong::wanted("a speed from 0.001 to 1000, like 1 or 2.5"))
}

/// Commas stand between.
fn list(
    text: &str,
    read: fn(&Given<'_>) -> Result<Vec<String>, Wrong>,
) -> Result<Vec<String>, Wrong> {
    let items: Vec<Value> = text.split(',').filter(|it| !it.is_empty()).map(Value::from).collect();
    read(&Given { value: &Value::from(items), is_variable: false })
}
