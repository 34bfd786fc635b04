//! The sentences and tables of an update at a terminal.
use std::collections::BTreeSet;

use comfy_table::{ContentArrangement, Table, presets};

use crate::cli::words;
use crate::domain::id::AttrPath;
use crate::domain::lock::moved::InputPath;
use crate::domain::lock::revision::Revision;
use crate::domain::text::clean;
use crate::domain::update::outcome::{Broken, HeldBack, Move};
use crate::flow::update::{Mode, UpdateReport};

/// How many inputs are looked up.
pub(super) fn looking(inputs: usize) -> String {
    match inputs {
        1 => "looking for a newer revision of 1 input".to_owned(),
        many => format!("looking for newer revisions of {many} inputs"),
    }
}

/// An input whose newest revision is not to be had.
pub(super) fn not_found(input: &InputPath, why: &str) -> String {
    format!("{} stays where it is: {}", one(input), line(why))
}

/// The set of inputs that is tried.
pub(super) fn trying(nth: usize, moved: &BTreeSet<InputPath>, hosts: usize) -> String {
    let names: Vec<String> = moved.iter().map(one).collect();
    let names = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
    let hosts = if hosts == 1 { "1 host".to_owned() } else { format!("{hosts} hosts") };
    format!("{nth}. {names} moved, {hosts}")
}

/// Everything there is to say; several lines.
pub(super) fn result(report: &UpdateReport, mode: Mode) -> String {
    let mut parts = Vec::new();
    if !report.moved.is_empty() {
        parts.push(table(&report.moved));
    }
    parts.extend(report.held_back.iter().map(held_back));
    parts.extend(report.not_found.iter().map(|(input, why)| not_found(input, why)));
    let hosts = [
        ("Broken whatever moves, and not counted:", &report.broken_before),
        ("Not known, because of the weather:", &report.unknown),
    ];
    for (title, hosts) in hosts.into_iter().filter(|(_, it)| !it.is_empty()) {
        parts.push(format!("{title}\n{}", lines(hosts)));
    }
    if !report.only_evaluated.is_empty() {
        let of = |(attr, system): &(AttrPath, String)| format!("{} ({})", host(attr), line(system));
        let all: Vec<String> = report.only_evaluated.iter().map(of).collect();
        parts.push(format!(
            "Evaluated, and built by no builder of this machine: {}.",
            all.join(", ")
        ));
    }
    if !report.left.is_empty() {
        let all: Vec<String> = report.left.iter().map(one).collect();
        parts.push(format!("Left alone: {}.", all.join(", ")));
    }
    parts.push(conclusion(report, mode));
    parts.join("\n\n")
}

fn table(moved: &[Move]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(["INPUT", "FROM", "TO", "CHANGES"]);
    for it in moved {
        let changes = it.from.compare(&it.to).unwrap_or_else(|| "-".to_owned());
        table.add_row([one(&it.input), revision(&it.from), revision(&it.to), changes]);
    }
    table.trim_fmt()
}

fn held_back(it: &HeldBack) -> String {
    let HeldBack {
        moved: Move { input, from, to, commits: _ },
        held: _,
        with,
        hosts,
        first_bad: _,
    } = it;
    let with: Vec<String> = with.iter().map(one).collect();
    let with = if with.is_empty() { String::new() } else { format!(" with {}", with.join(", ")) };
    let changes = from.compare(to).map_or_else(String::new, |it| format!("\n  {it}"));
    format!(
        "{} is held back, {} → {}; moved{with} it breaks\n{}{changes}",
        one(input),
        revision(from),
        revision(to),
        lines(hosts)
    )
}

fn lines(hosts: &[(AttrPath, Broken)]) -> String {
    let line = |(attr, reason): &(AttrPath, Broken)| format!("  {}: {}", host(attr), why(reason));
    hosts.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn conclusion(report: &UpdateReport, mode: Mode) -> String {
    let tries = match report.tries {
        1 => "1 set of inputs was tried".to_owned(),
        many => format!("{many} sets of inputs were tried"),
    };
    match (&report.written, report.moved.len(), mode) {
        (Some(path), _, _) => {
            format!("Wrote {}; {tries}.", clean(&path.display().to_string()))
        }
        (None, 0, _) if report.tries == 0 && report.not_found.is_empty() => {
            "Up to date: no input has a newer revision.".to_owned()
        }
        (None, _, _) if !report.unknown.is_empty() => {
            "flake.lock is as it was: not every host could be tried; try again.".to_owned()
        }
        (None, 0, _) => "Nothing moves; flake.lock is as it was.".to_owned(),
        (None, _, Mode::DryRun | Mode::Write) => {
            format!("flake.lock is as it was; {tries}.")
        }
    }
}

/// Why a host is not whole, in one line.
pub(in crate::cli) fn why(reason: &Broken) -> String {
    match reason {
        Broken::Ended(ending) => words::headline(ending).unwrap_or_default(),
        Broken::Said(text) => line(text),
    }
}

/// `a72d670ae793 of 2026-01-02`.
fn revision(it: &Revision) -> String {
    let date = it.modified.and_then(date).map_or_else(String::new, |it| format!(" of {it}"));
    format!("{}{date}", line(it.short()))
}

/// The day, in UTC.
pub(in crate::cli) fn date(seconds: i64) -> Option<String> {
    let at = jiff::Timestamp::from_second(seconds).ok()?;
    Some(at.strftime("%Y-%m-%d").to_string())
}

fn host(attr: &AttrPath) -> String {
    words::name(attr, attr.label().ok().as_deref())
}

fn one(input: &InputPath) -> String {
    line(&input.to_string())
}

fn line(text: &str) -> String {
    clean(text).replace(['\n', '\t'], " ")
}
