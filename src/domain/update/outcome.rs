//! What came of an update: what moves, what stays where it is, and why.
use serde::{Deserialize, Serialize};

use crate::domain::build::{BuildFailure, Ending};
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
    /// What is known of its first bad commit, where somebody looked for it.
    pub first_bad: Option<FirstBad>,
}

/// The first commit of an input with which it breaks its hosts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FirstBad {
    Commit(Revision),
    /// It is one of so many, those after a revision that breaks nothing up to one that does.
    OneOf {
        count: usize,
        after: Revision,
        last: Revision,
    },
    /// Its history could not be read; why, as plain text.
    Unreadable(String),
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
            // That it was remembered is of no news the next time, when it is tried again.
            Self::Ended(Ending::BuildFailed(failure)) => {
                ended_title(&Ending::BuildFailed(BuildFailure { before: None, ..failure.clone() }))
            }
            Self::Ended(ending) => ended_title(ending),
            Self::Said(text) => text.clone(),
        };
        plain_title(&text, MOST_HEADLINE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Timestamp;
    use crate::domain::build::Remembered;
    use crate::domain::page::tests::{build_failure, evaluation_failure};

    #[test]
    fn what_is_broken_is_said_in_one_line_that_stays_the_same() {
        let mut again = build_failure();
        if let Ending::BuildFailed(failure) = &mut again {
            failure.before = Some(Remembered { at: Timestamp(7), commit: None });
        }
        let said = [build_failure(), again, evaluation_failure()].map(Broken::Ended);
        let said = said.iter().map(Broken::headline).collect::<Vec<_>>();
        assert_eq!(
            said[0],
            "gtk-engine-murrine-1.2 failed to build: builder failed with exit code 3"
        );
        assert_eq!(said[1], said[0]);
        assert_eq!(said[2], "gtk-engine-murrine was removed");
        assert_eq!(Broken::Said("a\nb\u{202e}".to_owned()).headline(), "a b");
    }

    #[test]
    fn what_came_of_it_can_be_kept() {
        let broken = Broken::Ended(build_failure());
        let input = serde_json::from_str(r#"["disko","nixpkgs"]"#).unwrap();
        let held = HeldBack {
            moved: Move::new(input, Revision::default(), Revision::default()),
            held: Held::Guilty,
            with: vec![],
            hosts: vec![(AttrPath::host("raider"), broken)],
            first_bad: Some(FirstBad::Unreadable("why".to_owned())),
        };
        let kept = serde_json::to_string(&held).unwrap();
        assert_eq!(serde_json::from_str::<HeldBack>(&kept).unwrap(), held);
    }
}
