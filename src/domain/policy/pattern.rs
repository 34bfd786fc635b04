//! Patterns over attribute paths, and the globs they are made of.
use std::fmt;
use std::str::FromStr;

use globset::{Glob, GlobBuilder};

use crate::domain::id::AttrPath;
use crate::domain::policy::AttrPattern;

/// The flake outputs that can be built, and how many components a path in each has.
const OUTPUTS: [(&str, usize); 6] = [
    ("nixosConfigurations", 2),
    ("darwinConfigurations", 2),
    ("homeConfigurations", 2),
    ("checks", 3),
    ("packages", 3),
    ("hydraJobs", 0),
];

/// Longer globs serve nobody and cost memory to compile.
const LONGEST_GLOB: usize = 200;

impl AttrPattern {
    /// Whether the pattern covers this path.
    #[must_use]
    pub fn matches(&self, attr: &AttrPath) -> bool {
        let (wanted, found) = (&self.components, attr.components());
        let length_fits =
            if self.recursive { found.len() > wanted.len() } else { found.len() == wanted.len() };
        length_fits && wanted.iter().zip(found).all(|(glob, text)| glob_matches(glob, text))
    }

    /// Why nothing can be built for this pattern, for the author; `None` when all is well.
    pub(super) fn misfit(&self) -> Option<String> {
        let output = self.components.first()?;
        let (_, depth) = OUTPUTS.iter().find(|(name, _)| name == output)?;
        let example = example(output, *depth);
        match (*depth, self.recursive) {
            (0, true) => None,
            (0, false) if self.components.len() > 1 => None,
            (_, true) => Some(format!("`**` is for `hydraJobs` only; write `{example}`")),
            (depth, false) if self.components.len() == depth => None,
            (_, false) => Some(format!("`{self}` does not name what to build; write `{example}`")),
        }
    }
}

fn example(output: &str, depth: usize) -> String {
    match depth {
        0 => format!("{output}.**"),
        2 => format!("{output}.*"),
        _ => format!("{output}.x86_64-linux.*"),
    }
}

/// Why a text is not a pattern, in words that follow the quoted text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotAPattern(String);

impl FromStr for AttrPattern {
    type Err = NotAPattern;

    fn from_str(text: &str) -> Result<Self, NotAPattern> {
        let mut components = split(text).map_err(NotAPattern)?;
        let recursive = components.len() > 1 && components.last().is_some_and(|it| it == "**");
        if recursive {
            components.pop();
        }
        let output = &components[0];
        if !OUTPUTS.iter().any(|(name, _)| name == output) {
            let known: Vec<&str> = OUTPUTS.iter().map(|(name, _)| *name).collect();
            return Err(NotAPattern(format!("must begin with one of {}", known.join(", "))));
        }
        for component in &components {
            if component.contains("**") {
                return Err(NotAPattern("may have `**` only at its end".to_owned()));
            }
            check_glob(component).map_err(NotAPattern)?;
        }
        Ok(Self { components, recursive })
    }
}

impl fmt::Display for AttrPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, component) in self.components.iter().enumerate() {
            let dot = if at == 0 { "" } else { "." };
            let plain = !component.is_empty() && !component.contains(['.', '"']);
            let quote = if plain { "" } else { "\"" };
            write!(f, "{dot}{quote}{component}{quote}")?;
        }
        if self.recursive { f.write_str(".**") } else { Ok(()) }
    }
}

/// The components of a path as Nix writes it: those with dots stand in quotes.
pub(super) fn split(text: &str) -> Result<Vec<String>, String> {
    let mut components = Vec::new();
    let mut rest = text;
    loop {
        let component = if let Some(quoted) = rest.strip_prefix('"') {
            let (inside, after) = quoted.split_once('"').ok_or("has a quote that is not closed")?;
            rest = after;
            inside
        } else {
            let end = rest.find('.').unwrap_or(rest.len());
            let (plain, after) = rest.split_at(end);
            rest = after;
            plain
        };
        if component.is_empty() || component.contains('"') {
            return Err("has an empty or half-quoted part; write `output.name`".to_owned());
        }
        if component.chars().any(char::is_control) {
            return Err("has control characters".to_owned());
        }
        components.push(component.to_owned());
        match rest.strip_prefix('.') {
            Some(after) => rest = after,
            None if rest.is_empty() => return Ok(components),
            None => return Err("has text after a closing quote; a dot must follow".to_owned()),
        }
    }
}

/// What is wrong with a glob, in words that follow the quoted text.
pub(super) fn check_glob(glob: &str) -> Result<(), String> {
    if glob.is_empty() {
        return Err("is empty".to_owned());
    }
    if glob.len() > LONGEST_GLOB {
        return Err(format!("is longer than {LONGEST_GLOB} bytes"));
    }
    Glob::new(glob).map(|_| ()).map_err(|error| format!("is not a glob: {}", error.kind()))
}

/// Whether `text` as a whole is one of the glob's; `*` covers everything.
pub(super) fn glob_matches(glob: &str, text: &str) -> bool {
    matches(glob, text, Slash::IsText)
}

/// The same for names with folders: `*` stops at a slash.
pub(super) fn glob_matches_path(glob: &str, text: &str) -> bool {
    matches(glob, text, Slash::Divides)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Slash {
    IsText,
    Divides,
}

fn matches(glob: &str, text: &str, slash: Slash) -> bool {
    // Nearly every glob is one of these two, and compiling a glob costs more than all the rest.
    if glob == "*" && slash == Slash::IsText {
        return true;
    }
    if !glob.contains(['*', '?', '[', ']', '{', '}', '\\', '!']) {
        return glob == text;
    }
    GlobBuilder::new(glob)
        .literal_separator(slash == Slash::Divides)
        .build()
        .is_ok_and(|it| it.compile_matcher().is_match(text))
}
