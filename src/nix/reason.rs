//! What Nix's own errors say: which derivation, what kind, in plain words.
//!
//! Read here are results of the protocol and errors that Nix itself reported, never what a build
//! printed: the log lines that Nix quotes in an error are cut off first.
mod download;
mod table;

use crate::domain::id::DrvPath;
use crate::nix::reason::table::{Remark, Row};
use crate::nix::status::BuildResult;
use crate::nix::status::Status;

pub(crate) use download::download;
pub(crate) use table::Kind;

/// Nix found the disk full when a build failed, and says so behind the lines it quotes.
const DISK_FULL_NOTE: &str = "note: build failure may have been caused by lack of free disk space";

/// One error of Nix's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reason {
    /// The derivation it is about, where it names one.
    pub(crate) drv: Option<DrvPath>,
    pub(crate) kind: Kind,
    /// One line in plain words.
    pub(crate) headline: String,
}

/// Reads an error without colours.
pub(crate) fn read(text: &str) -> Reason {
    judge(None, text)
}

/// Reads an answer that is no good one.
pub(crate) fn of(result: &BuildResult) -> Reason {
    judge(Some(result.status), &result.message)
}

/// What became of a connection, by the last words of the program at its end, for an operator.
pub(crate) fn of_connection(words: &str) -> String {
    format!("{}: {words}", outline_of_connection(words))
}

/// The same for whoever must not know machines' names and addresses.
pub(crate) fn outline_of_connection(words: &str) -> &'static str {
    match table::connection(words).name {
        "unreachable" => "the machine could not be reached",
        _ => "the connection to nix-daemon was lost",
    }
}

/// Why nothing could be copied to or from another machine, as far as everyone may know.
pub(crate) fn outline_of_copy(words: &str) -> Option<&'static str> {
    match (table::row(None, words, None), table::connection(words)) {
        (Some(Row { name: "disk-full", .. }), _) => Some("no space is left there"),
        (_, Row { name: "unreachable", .. }) => Some("the machine could not be reached"),
        (Some(_) | None, _) => None,
    }
}

/// The server of an address that Nix itself could not download from: a substituter, as a name or an
/// address with its port.
pub(crate) fn silent_server(words: &str) -> Option<String> {
    let (_, rest) = words.split_once("unable to download '")?;
    let (_, address) = rest.split('\'').next()?.split_once("://")?;
    let server = address.split(['/', '?']).next()?.rsplit('@').next()?;
    let is_one = !server.is_empty()
        && server.len() <= 260
        && server.bytes().all(|it| it.is_ascii_alphanumeric() || b"-._:[]".contains(&it));
    is_one.then(|| server.to_owned())
}

fn judge(status: Option<Status>, text: &str) -> Reason {
    let text = text.trim().trim_start_matches("error:").trim_start();
    let lines: Vec<&str> = text.lines().map(str::trim).take_while(|it| !is_quote(it)).collect();
    let disk_full = text.lines().any(|it| it.trim() == DISK_FULL_NOTE).then_some(Remark::DiskFull);
    let head = lines.join("\n");
    let kind = table::row(status, &head, disk_full).map_or(Kind::Other, |it| it.kind);
    let mut headline = headline(&lines);
    if disk_full.is_some() {
        headline.push_str("; the disk may have been full");
    }
    Reason { drv: named(&head), kind, headline }
}

/// `Last 10 log lines:`, in 2.8 `last 10 log lines:`; they and what follows are not Nix's words.
fn is_quote(line: &str) -> bool {
    let line = line.strip_prefix("Last ").or_else(|| line.strip_prefix("last "));
    line.is_some_and(|it| it.ends_with(" log lines:"))
}

/// The first quoted path of a derivation: `'/nix/store/….drv'`, in 2.8 also `….drv!out'`.
fn named(head: &str) -> Option<DrvPath> {
    head.split('\'').find_map(|quoted| {
        let path = quoted.split('!').next().unwrap_or(quoted);
        path.starts_with('/').then(|| path.parse().ok()).flatten()
    })
}

fn headline(lines: &[&str]) -> String {
    let first = lines.first().copied().unwrap_or_default();
    let line = match lines {
        [_, reason, rest @ ..] if reason.starts_with("Reason: ") => {
            let facts = rest.iter().filter(|it| {
                it.starts_with("Required ")
                    || it.starts_with("Current ")
                    || it.starts_with("Available ")
            });
            let facts: Vec<&str> = facts.copied().collect();
            let reason = reason.trim_start_matches("Reason: ").trim_end_matches('.');
            if facts.is_empty() {
                reason.to_owned()
            } else {
                format!("{reason}: {}", facts.join(", "))
            }
        }
        [_, specified, got, ..] if first.starts_with("hash mismatch in") => {
            let (specified, got) = (words(specified), words(got));
            format!(
                "hash mismatch: {}, {}",
                specified.replacen(':', "", 1),
                got.replacen(':', "", 1)
            )
        }
        _ => without_subject(first).to_owned(),
    };
    shortened(&readable(line.trim_end_matches([';', ':', '.'])))
}

/// The failing derivation is told apart; the line says what happened to it.
fn without_subject(line: &str) -> &str {
    let rest = line
        .strip_prefix("builder for '")
        .or_else(|| line.strip_prefix("building of '"))
        .and_then(|it| it.split_once("' "));
    match rest {
        Some((_, rest)) if line.starts_with("builder") => {
            // "builder failed with …" reads well; the subject was between the two words.
            rest
        }
        Some((_, rest)) => rest.trim_start_matches("from .drv file "),
        None => line,
    }
}

/// Store paths become the names in them.
fn readable(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    // From 2.30 or so on paths stand in double quotes here and there.
    let line = line.replace('"', "'");
    for (at, quoted) in line.split('\'').enumerate() {
        if at > 0 {
            out.push('\'');
        }
        let base = quoted.rsplit('/').next().unwrap_or(quoted);
        let is_path = quoted.starts_with('/') && base.len() > 33 && base.as_bytes()[32] == b'-';
        let name = base.get(33..).filter(|_| is_path).unwrap_or(quoted);
        out.push_str(name.trim_end_matches(".drv"));
    }
    let of_builder = ["failed with ", "failed due to ", "failed to produce "];
    if of_builder.iter().any(|it| out.starts_with(it)) { format!("builder {out}") } else { out }
}

fn words(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn shortened(line: &str) -> String {
    let mut short: String = line.chars().take(500).collect();
    if short.len() < line.len() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests;
