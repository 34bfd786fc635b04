//! What came of an update: what moves, what stays where it is, and why.
use serde::{Deserialize, Serialize};

use crate::domain::build::Ending;
use crate::domain::id::AttrPath;
use crate::domain::lock::moved::InputPath;
use crate::domain::lock::revision::Revision;
use crate::domain::page::ended_title;
use crate::domain::text::plain_title;

/// The longest headline, in characters.
const MOST_HEADLINE: usize = 300;

/// An input on its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    pub input: InputPath,
    pub from: Revision,
    pub to: Revision,
    /// How many commits lie between, where that is known.
    pub commits: Option<u64>,
}

impl Move {
    /// From one revision to another; the commits are counted where both tell their number.
    #[must_use]
    pub fn new(input: InputPath, from: Revision, to: Revision) -> Self {
        let commits = from.commits_to(&to);
        Self { input, from, to, commits }
    }
}

/// An input that stays where it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldBack {
    pub moved: Move,
    pub held: Held,
    /// Together with these it breaks the hosts; with none it does alone.
    pub with: Vec<InputPath>,
    /// What it breaks, or what the weather kept from being known.
    pub hosts: Vec<(AttrPath, Broken)>,
}

/// What is known against an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Held {
    /// It was seen to break its hosts.
    Guilty,
    /// What becomes of its hosts could not be known.
    Unknown,
}

/// Why a host is not whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Broken {
    Ended(Ending),
    /// It did not come that far, in one line.
    Said(String),
}

impl Broken {
    /// One line of plain text: the derivation that failed and how, or the evaluation's error.
    #[must_use]
    pub fn headline(&self) -> String {
        let text = match self {
            Self::Ended(ending) => ended_title(ending),
            Self::Said(text) => text.clone(),
        };
        plain_title(&text, MOST_HEADLINE)
    }
}
