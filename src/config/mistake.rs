//! What is wrong with the settings: where it stands, what was found, what is wanted, what to do.
use std::fmt;
use std::path::PathBuf;

/// Where a setting stands, or should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the settings file; the line counts from 1 and is absent for what is not there.
    File { path: PathBuf, line: Option<usize> },
    /// In this environment variable.
    Variable(String),
    /// Nowhere: there is no settings file, and the environment does not have it either.
    Nowhere,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line: Some(line) } => write!(f, "{} line {line}", path.display()),
            Self::File { path, line: None } => write!(f, "{}", path.display()),
            Self::Variable(name) => f.write_str(name),
            Self::Nowhere => f.write_str("settings (there is no settings file)"),
        }
    }
}

/// One mistake in the settings. No part of it holds a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    pub place: Place,
    /// `github.app_id`, `builder[1].slots`; empty where the mistake is about the whole file.
    pub key: String,
    /// In words that follow "found".
    pub found: String,
    /// In words that follow "wanted"; empty where what to do says it.
    pub wanted: String,
    /// A whole sentence without its full stop; empty where it follows from what is wanted.
    pub remedy: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        if !self.key.is_empty() {
            write!(f, "`{}`: ", self.key)?;
        }
        write!(f, "found {}", self.found)?;
        if !self.wanted.is_empty() {
            write!(f, ", wanted {}", self.wanted)?;
        }
        if !self.remedy.is_empty() {
            write!(f, "; {}", self.remedy)?;
        }
        Ok(())
    }
}

/// Every mistake in the settings, in the order of the sections; never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigErrors(pub Vec<Mistake>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [one] => write!(f, "a mistake in the settings:\n  {one}"),
            many => {
                write!(f, "{} mistakes in the settings:", many.len())?;
                many.iter().try_for_each(|mistake| write!(f, "\n  {mistake}"))
            }
        }
    }
}
