//! The inputs of a proposal: which move from where to where, and which do not.
use crate::domain::lock::moved::InputPath;
use crate::domain::lock::revision::Revision;
use crate::domain::text::{inline, plain_title};
use crate::domain::update::outcome::Move;
use crate::domain::update::proposal::MOST_LINE;

/// A row for every input.
pub(super) fn table(moved: &[Move]) -> String {
    if moved.is_empty() {
        return "No input moves.".to_owned();
    }
    let mut lines = vec![
        "| input | from | to | date | commits | |".to_owned(),
        "| --- | --- | --- | --- | --- | --- |".to_owned(),
    ];
    lines.extend(moved.iter().map(|it| {
        let Move { input, from, to, commits } = it;
        let commits = commits.map_or_else(String::new, |it| it.to_string());
        format!(
            "| {} | {} | {} | {} | {commits} | {} |",
            name(input),
            revision(from),
            revision(to),
            dates(from, to),
            compare(from, to).unwrap_or_default()
        )
    }));
    lines.join("\n")
}

/// What could not be looked up.
pub(super) fn not_found(inputs: &[(InputPath, String)]) -> String {
    if inputs.is_empty() {
        return String::new();
    }
    let line = |(input, why): &(InputPath, String)| {
        format!("- {}: {}", name(input), inline(&plain_title(why, MOST_LINE)))
    };
    let lines: Vec<String> = inputs.iter().map(line).collect();
    format!("The newest revision of these is out of reach, so they stay:\n\n{}", lines.join("\n"))
}

/// What the policy does not want to be moved.
pub(super) fn left(inputs: &[InputPath]) -> String {
    if inputs.is_empty() {
        return String::new();
    }
    let names: Vec<String> = inputs.iter().map(name).collect();
    format!("Left alone, as the policy says: {}.", names.join(", "))
}

/// `nixpkgs: a72d670ae793 (2026-01-02) → b3d51a0365f6 (2026-01-09)`, for a commit's message: there
/// too GitHub looks for people and issues.
pub(super) fn plain_line(it: &Move) -> String {
    let Move { input, from, to, commits: _ } = it;
    let of = |it: &Revision| {
        let date = date(it).map_or_else(String::new, |it| format!(" ({it})"));
        format!("{}{date}", it.short())
    };
    let line = format!("{input}: {} → {}", of(from), of(to));
    plain_title(&line.replace(['@', '#'], "·"), MOST_LINE)
}

/// An input's name in Markdown.
pub(super) fn name(input: &InputPath) -> String {
    inline(&plain_title(&input.to_string(), 100))
}

/// `a72d670ae793 of 2026-01-02`, in Markdown.
pub(super) fn dated(it: &Revision) -> String {
    let date = date(it).map_or_else(String::new, |it| format!(" of {it}"));
    format!("{}{date}", revision(it))
}

/// The same with a link to it, where GitHub shows it.
pub(super) fn linked(it: &Revision) -> String {
    let Some(url) = it.link() else { return dated(it) };
    let date = date(it).map_or_else(String::new, |it| format!(" of {it}"));
    format!("[{}]({url}){date}", revision(it))
}

/// A link to what lies between two revisions, where GitHub shows it.
pub(super) fn compare(from: &Revision, to: &Revision) -> Option<String> {
    from.compare(to).map(|url| format!("[compare]({url})"))
}

/// `1 host`, `3 hosts`.
pub(super) fn count(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// As code, since GitHub would look for a commit of this repository with such digits.
fn revision(it: &Revision) -> String {
    let short = it.short();
    let is_hash =
        short.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'='));
    if is_hash { format!("`{short}`") } else { inline(&plain_title(short, 20)) }
}

fn dates(from: &Revision, to: &Revision) -> String {
    match (date(from), date(to)) {
        (Some(from), Some(to)) if from != to => format!("{from} → {to}"),
        (_, Some(date)) | (Some(date), None) => date,
        (None, None) => String::new(),
    }
}

/// The day of its last change, in UTC.
fn date(it: &Revision) -> Option<String> {
    let at = jiff::Timestamp::from_second(it.modified?).ok()?;
    Some(at.strftime("%Y-%m-%d").to_string())
}
