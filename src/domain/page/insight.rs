//! What changes on a host, and on a fleet, as Markdown.
use std::fmt::Write;

use crate::domain::build::Ending;
use crate::domain::closure::PackageChange;
use crate::domain::insight::{
    Changes, Insight, Names, Units, headline, reboot, roll_up, sizes, unknown, why,
};
use crate::domain::page::{BuildView, RunView};
use crate::domain::text::{inline, plain_title};

/// Rows of a host's table of packages.
const MOST_ROWS: usize = 40;
/// Names of one list.
const MOST_NAMES: usize = 30;

/// What is known of a host that is there to deploy.
#[must_use]
pub fn insight(view: &BuildView) -> Option<&Insight> {
    let is_good = view.build.state.ending().is_some_and(Ending::is_good);
    view.insight.as_ref().filter(|_| is_good)
}

/// What changes on a host, as plain text; `None` when there is nothing to say, or nothing that is
/// worth a word beside the result.
#[must_use]
pub fn change(view: &BuildView) -> Option<String> {
    match insight(view)? {
        found @ (Insight::RevisionOnly { .. } | Insight::Changed { .. }) => Some(headline(found)),
        Insight::Unchanged { .. } | Insight::Absent { .. } => None,
    }
}

/// What changes across the hosts of a run, a line of plain text each.
#[must_use]
pub fn changes(view: &RunView) -> Vec<String> {
    let known: Vec<&Insight> = view.builds.iter().filter_map(insight).collect();
    roll_up(&known).iter().map(|it| plain_title(it, 200)).collect()
}

/// The roll-up of a run for its gate; empty when nothing is known.
pub(super) fn fleet_section(view: &RunView) -> String {
    let lines = changes(view);
    if lines.is_empty() {
        return String::new();
    }
    let mut out = "**What changes**\n\n".to_owned();
    for line in lines {
        let _ = writeln!(out, "- {}", inline(&line));
    }
    out.push('\n');
    out
}

/// What changes on a host, for its check.
pub(super) fn section(insight: &Insight) -> String {
    let base = insight.base().short();
    let head = format!("### What changes\n\nCompared with {base}");
    match insight {
        Insight::Unchanged { .. } => format!("{head}: nothing, it is the same system."),
        Insight::RevisionOnly { units, .. } => {
            let units = units.as_ref().map_or_else(String::new, unit_lines);
            format!(
                "{head}: nothing but the revision changes. The systems differ in what names the \
                 commit, and in nothing else.{}",
                paragraph(&units)
            )
        }
        Insight::Changed { changes, .. } => format!("{head}.{}", changed(changes)),
        Insight::Absent { why: absent, .. } => {
            format!("### What changes\n\nNot compared with {base}: {}.", inline(&why(absent)))
        }
    }
}

fn changed(changes: &Changes) -> String {
    let mut out = String::new();
    if !changes.reboot.is_empty() {
        let parts = inline(&reboot(&changes.reboot));
        out.push_str(&paragraph(&format!("**A reboot is needed**: {parts}.")));
    }
    out.push_str(&paragraph(&packages(changes)));
    let mut lines = Vec::new();
    if !changes.rebuilt.is_empty() {
        lines.push(format!("- rebuilt in the same version: {}", list(&changes.rebuilt)));
    }
    if changes.files > 0 {
        lines.push(format!("- files of the configuration: {}", changes.files));
    }
    lines.push(format!("- closure: {}", sizes(changes)));
    out.push_str(&paragraph(&lines.join("\n")));
    out.push_str(&paragraph(&changes.units.as_ref().map_or_else(String::new, unit_lines)));
    if let Some(words) = unknown(changes) {
        out.push_str(&paragraph(&format!("{words}.")));
    }
    out
}

fn paragraph(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("\n\n{text}") }
}

fn packages(changes: &Changes) -> String {
    if changes.package_count() == 0 {
        return "No package changes its version.".to_owned();
    }
    let mut out = "| package | before | after |\n| --- | --- | --- |\n".to_owned();
    for it in changes.packages.iter().take(MOST_ROWS) {
        let PackageChange { name, change: _, before, after } = it;
        let cell = |versions: &[String]| inline(&plain_title(&versions.join(", "), 100));
        let _ = writeln!(
            out,
            "| {} | {} | {} |",
            inline(&plain_title(name, 100)),
            cell(before),
            cell(after)
        );
    }
    let more = changes.package_count() - changes.packages.len().min(MOST_ROWS);
    if more > 0 {
        let _ = write!(out, "\nand {more} more.");
    }
    out.trim_end().to_owned()
}

/// A line for everything that a switch does to units.
fn unit_lines(units: &Units) -> String {
    let Units { restarted, reloaded, left_alone, added, removed } = units;
    let lines = [
        ("restarted", restarted),
        ("reloaded", reloaded),
        ("changed, and left running", left_alone),
        ("added", added),
        ("removed", removed),
    ];
    let lines = lines.into_iter().filter(|(_, names)| !names.is_empty());
    let lines: Vec<String> =
        lines.map(|(what, names)| format!("- {what}: {}", list(names))).collect();
    if lines.is_empty() {
        return String::new();
    }
    format!("Units, as far as they run:\n\n{}", lines.join("\n"))
}

fn list(names: &Names) -> String {
    inline(&plain_title(&names.listed(MOST_NAMES), 2_000))
}
