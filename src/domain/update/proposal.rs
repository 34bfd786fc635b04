//! What an update's pull request says: its title, its text and its commit's message.
//!
//! All of it depends on what came of the update alone, so that it is edited only when that is
//! another. What the inputs' own commits say is not repeated: it calls people, and closes issues.
mod broken;
mod hosts;
mod inputs;

use crate::domain::id::{AttrPath, CommitSha};
use crate::domain::link::Links;
use crate::domain::lock::moved::InputPath;
use crate::domain::page::{MOST_MARKDOWN, RunView};
use crate::domain::run::RunState;
use crate::domain::text::{cut_lines, inline, plain_title};
use crate::domain::update::outcome::{Broken, HeldBack, Move};

pub use broken::held_back_markdown;

/// The longest title, in characters; GitHub's limit is 256.
const MOST_TITLE: usize = 120;
/// Inputs that a title names.
const MOST_NAMED: usize = 2;
/// Inputs that a commit's message lists.
const MOST_LISTED: usize = 200;
/// The longest line that an input or its trouble takes, in characters.
const MOST_LINE: usize = 300;

/// An update as it is proposed.
#[derive(Clone, Copy, Debug)]
pub struct Proposal<'a> {
    /// `update.commit_message` of the policy.
    pub subject: &'a str,
    /// What the pull request moves.
    pub moved: &'a [Move],
    pub held_back: &'a [HeldBack],
    /// Inputs whose newest revision is not to be had, and why.
    pub not_found: &'a [(InputPath, String)],
    /// The flake's own inputs that the policy leaves alone.
    pub left: &'a [InputPath],
    /// Hosts that are broken without any move too, and how.
    pub broken_before: &'a [(AttrPath, Broken)],
    /// The run that tested what is proposed.
    pub view: Option<&'a RunView>,
    /// What else there is to know, in plain text: `GitHub refuses auto-merge: …`.
    pub notes: &'a [String],
    /// The commit that it is made on.
    pub base: &'a CommitSha,
}

impl Proposal<'_> {
    /// `flake.lock: update nixpkgs, disko and 3 more`.
    #[must_use]
    pub fn title(&self) -> String {
        let names: Vec<String> =
            self.moved.iter().map(|it| plain_title(&it.input.to_string(), MOST_LINE)).collect();
        let with = |most: usize| {
            plain_title(&format!("{} {}", self.subject, listed(&names, most)), MOST_LINE)
        };
        let fits = |it: &String| it.chars().count() <= MOST_TITLE;
        // The fewest names that fit say more than the most that are cut.
        let titles = (0..=MOST_NAMED).rev().map(with);
        let title = titles.into_iter().find(fits);
        plain_title(title.as_deref().unwrap_or(self.subject), MOST_TITLE)
    }

    /// The pull request's text: Markdown within GitHub's limit.
    #[must_use]
    pub fn body(&self, links: &Links) -> String {
        let Self {
            subject: _,
            moved,
            held_back,
            not_found,
            left,
            broken_before,
            view,
            notes,
            base,
        } = self;
        let notes: Vec<String> = notes
            .iter()
            .map(|it| format!("**Note**: {}", inline(&plain_title(it, MOST_LINE))))
            .collect();
        let run = view.map(|it| links.run(&it.run.id, it.repository.visibility));
        let mut parts = vec![
            notes.join("\n\n"),
            inputs::table(moved),
            view.map_or_else(String::new, |it| hosts::section(it, links)),
            section("Held back", &held_back_markdown(held_back)),
            section("Broken before", &broken::before(broken_before)),
            section("Not to be had", &inputs::not_found(not_found)),
            inputs::left(left),
        ];
        parts.retain(|it| !it.is_empty());
        let end = end(view.zip(run.as_deref()), base);
        let more = run.map_or_else(
            || "There is more than fits here.".to_owned(),
            |url| format!("[The rest is on the run's page]({url})"),
        );
        let main = cut_lines(&parts.join("\n\n"), MOST_MARKDOWN - end.len() - 2, &more);
        format!("{main}\n\n{end}")
    }

    /// The commit's message: the policy's line, and a line for every input.
    #[must_use]
    pub fn commit_message(&self) -> String {
        let mut lines: Vec<String> =
            self.moved.iter().take(MOST_LISTED).map(inputs::plain_line).collect();
        let more = self.moved.len() - lines.len();
        if more > 0 {
            lines.push(format!("and {more} more"));
        }
        let subject = plain_title(self.subject, MOST_LINE);
        if lines.is_empty() { subject } else { format!("{subject}\n\n{}", lines.join("\n")) }
    }
}

/// Who made it, and how it goes on.
fn end(run: Option<(&RunView, &str)>, base: &CommitSha) -> String {
    let built = run.map_or_else(String::new, |(view, url)| match &view.run.state {
        RunState::Ended { .. } => {
            format!(" Its hosts were [built]({url}) before this pull request was opened.")
        }
        RunState::Requested
        | RunState::AwaitingApproval
        | RunState::Evaluating { .. }
        | RunState::Building { .. } => format!(" Its hosts are [being built]({url})."),
    });
    format!(
        "---\n\nMade by fleetcheck on {}.{built} Push a commit to this branch, and fleetcheck stands \
         back: it then leaves the branch to you.",
        base.short()
    )
}

fn section(title: &str, text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("### {title}\n\n{text}") }
}

/// `a`, `a and b`, `a, b and 3 more`; `5 inputs` where none is named.
fn listed(names: &[String], most: usize) -> String {
    let more = names.len().saturating_sub(most);
    match (names, most) {
        ([], _) => String::new(),
        ([only], 1..) => only.clone(),
        ([one, two], 2..) => format!("{one} and {two}"),
        (_, 0) => inputs::count(names.len(), "input"),
        (names, most) => {
            format!(
                "{} and {more} more",
                names.iter().take(most).cloned().collect::<Vec<_>>().join(", ")
            )
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
