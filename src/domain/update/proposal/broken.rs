//! What an update breaks, or would: hosts, each with its cause and a few lines of the log.
use crate::domain::build::Ending;
use crate::domain::cause::Reason;
use crate::domain::id::AttrPath;
use crate::domain::page::attr_name;
use crate::domain::text::{fence, inline, plain_title, tail};
use crate::domain::update::outcome::{Broken, FirstBad, Held, HeldBack, Move};
use crate::domain::update::proposal::MOST_LINE;
use crate::domain::update::proposal::inputs::{compare, count, dated, linked, name};

/// Lines of a log below a cause.
const LOG_LINES: usize = 10;
/// Other inputs that are named where one breaks hosts with them.
const MOST_INPUTS: usize = 10;
/// Hosts of one cause that are named.
const MOST_HOSTS: usize = 5;
/// Causes that are told of one input.
const MOST_CAUSES: usize = 5;

/// The inputs that stay where they are: each with what it breaks, and how.
#[must_use]
pub fn held_back_markdown(held_back: &[HeldBack]) -> String {
    // Where all moves or nothing does, every input has the same hosts: they are told once.
    let is_told = |at: usize| {
        let (before, it) = (&held_back[..at], &held_back[at]);
        before.iter().any(|other| other.held == it.held && other.hosts == it.hosts)
    };
    let inputs = held_back.iter().enumerate();
    let inputs =
        inputs.map(|(at, it)| input(it, if is_told(at) { Hosts::Same } else { Hosts::New }));
    inputs.collect::<Vec<_>>().join("\n\n")
}

/// The hosts that are broken whatever moves.
pub(super) fn before(hosts: &[(AttrPath, Broken)]) -> String {
    if hosts.is_empty() {
        return String::new();
    }
    format!("Whatever moves, so they were not counted:\n\n{}", causes(hosts))
}

/// Whether an input's hosts were told of another.
#[derive(Clone, Copy)]
enum Hosts {
    New,
    Same,
}

fn input(it: &HeldBack, told: Hosts) -> String {
    let HeldBack { moved: Move { input, from, to, commits: _ }, held, with, hosts, first_bad } = it;
    let compare = compare(from, to).map_or_else(String::new, |it| format!(" ({it})"));
    let with = match with.len() {
        0 => String::new(),
        all => {
            let shown: Vec<String> = with.iter().take(MOST_INPUTS).map(name).collect();
            let more = all - shown.len();
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            format!(" with {}{more}", shown.join(", "))
        }
    };
    let number = count(hosts.len(), "host");
    let what = match (held, told) {
        (Held::Unknown, _) if hosts.is_empty() => "No required host could be tried.".to_owned(),
        (Held::Guilty, Hosts::New) => format!("Moved{with}, it breaks {number}:"),
        (Held::Guilty, Hosts::Same) => format!("Moved{with}, it breaks the same {number}."),
        (Held::Unknown, Hosts::New) => format!("What becomes of {number} is not known:"),
        (Held::Unknown, Hosts::Same) => format!("What becomes of the same {number} is not known."),
    };
    let head = format!(
        "**{}** stays at {}, and is not moved to {}{compare}.",
        name(input),
        dated(from),
        dated(to)
    );
    let first_bad = first_bad.as_ref().map_or_else(String::new, |it| format!(" {}", first(it)));
    let text = format!("{head}{first_bad} {what}");
    match told {
        Hosts::New if !hosts.is_empty() => format!("{text}\n\n{}", causes(hosts)),
        Hosts::New | Hosts::Same => text,
    }
}

/// Which commit is to blame, as far as it is known.
fn first(it: &FirstBad) -> String {
    match it {
        FirstBad::Commit(commit) => format!("The first bad commit is {}.", linked(commit)),
        FirstBad::OneOf { count, after, last } => {
            let compare = compare(after, last).map_or_else(String::new, |it| format!(" ({it})"));
            format!(
                "The first bad commit is one of the {count} after {} up to {}{compare}.",
                dated(after),
                dated(last)
            )
        }
        FirstBad::Unreadable(why) => format!(
            "Which commit is to blame is not known, since its history could not be read: {}.",
            inline(&plain_title(why, MOST_LINE))
        ),
    }
}

/// Hosts that are broken by the same are told together.
fn causes(hosts: &[(AttrPath, Broken)]) -> String {
    let mut causes: Vec<(&Broken, Vec<String>)> = Vec::new();
    for (attr, broken) in hosts {
        let host = inline(&attr_name(attr));
        match causes.iter_mut().find(|(it, _)| is_same(it, broken)) {
            Some((_, hosts)) => hosts.push(host),
            None => causes.push((broken, vec![host])),
        }
    }
    let mut parts: Vec<String> = causes
        .iter()
        .take(MOST_CAUSES)
        .map(|(broken, hosts)| {
            let shown = hosts.iter().take(MOST_HOSTS).cloned().collect::<Vec<_>>().join(", ");
            let more = hosts.len().saturating_sub(MOST_HOSTS);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            format!("- {shown}{more}: {}{}", inline(&broken.headline()), log(broken))
        })
        .collect();
    let more: usize = causes.iter().skip(MOST_CAUSES).map(|(_, hosts)| hosts.len()).sum();
    if more > 0 {
        parts.push(format!("- and {}, for other reasons", count(more, "more host")));
    }
    parts.join("\n").trim_end().to_owned()
}

fn is_same(one: &Broken, other: &Broken) -> bool {
    match (one, other) {
        (Broken::Ended(one), Broken::Ended(other)) => {
            Reason::of(Some(one)).is_same(&Reason::of(Some(other)))
        }
        (Broken::Said(one), Broken::Said(other)) => one == other,
        (Broken::Ended(_), Broken::Said(_)) | (Broken::Said(_), Broken::Ended(_)) => false,
    }
}

/// What follows a cause: where it is, or the end of its log.
fn log(broken: &Broken) -> String {
    let lines = match broken {
        Broken::Said(_) => return String::new(),
        Broken::Ended(ending) => match ending {
            Ending::EvaluationFailed(failure) => {
                return failure.place.as_ref().map_or_else(String::new, |place| {
                    format!(", in {}, line {}", inline(&place.path), place.line)
                });
            }
            Ending::BuildFailed(failure) => &failure.log_tail,
            Ending::TimedOut(late) => &late.log_tail,
            Ending::Reused
            | Ending::Built { .. }
            | Ending::Superseded { .. }
            | Ending::Cancelled { .. }
            | Ending::Skipped { .. }
            | Ending::Transient { .. }
            | Ending::Internal { .. } => return String::new(),
        },
    };
    let text = tail(lines, LOG_LINES);
    if text.trim().is_empty() { String::new() } else { format!("\n\n{}\n", fence(&text)) }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;
    use crate::domain::lock::revision::Revision;
    use crate::domain::page::tests::evaluation_failure;
    use crate::domain::update::proposal::tests::{held_back, nixpkgs};

    #[test]
    fn the_first_bad_commit_is_told_as_far_as_it_is_known() {
        let hosts = [("raider", Broken::Ended(evaluation_failure()))];
        let Move { from, to, .. } = nixpkgs();
        let here = Revision { page: None, ..to.clone() };
        let known = [
            FirstBad::Commit(to.clone()),
            FirstBad::Commit(here),
            FirstBad::OneOf { count: 4, after: from, last: to },
            FirstBad::Unreadable("<b>the commit\nis @gone".to_owned()),
        ];
        let said = known.map(|it| {
            let held = HeldBack { first_bad: Some(it), ..held_back(nixpkgs(), &[], &hosts) };
            let text = held_back_markdown(&[held]);
            let first_bad = text.split_once(")). ").unwrap().1;
            first_bad.split_once(" Moved").unwrap().0.to_owned()
        });
        assert_snapshot!(said.join("\n"), @"
        The first bad commit is [`b3d51a0365f6`](https://github.com/NixOS/nixpkgs/commit/b3d51a0365f6695e) of 2026-01-09.
        The first bad commit is `b3d51a0365f6` of 2026-01-09.
        The first bad commit is one of the 4 after `a72d670ae793` of 2026-01-02 up to `b3d51a0365f6` of 2026-01-09 ([compare](https://github.com/NixOS/nixpkgs/compare/a72d670ae79333b6...b3d51a0365f6695e)).
        Which commit is to blame is not known, since its history could not be read: &lt;b&gt;the commit is @&#8203;gone.
        ");
    }
}
