//! What Nix's own errors say: which derivation, what kind, in plain words.
//!
//! Read here are results of the protocol and errors that Nix itself reported, never what a build
//! printed: the log lines that Nix quotes in an error are cut off first.
use crate::domain::id::DrvPath;

/// Nix found the disk full when a build failed, and says so behind the lines it quotes.
const DISK_FULL_NOTE: &str = "note: build failure may have been caused by lack of free disk space";

/// What kind of end an error tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The derivation itself cannot be built.
    Failed,
    /// A limit ended it.
    TimedOut,
    /// A derivation that it needs has the real reason.
    Dependency,
    /// Nobody's fault.
    Weather,
    /// None of Nix's usual errors.
    Other,
}

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
    let text = text.trim().trim_start_matches("error:").trim_start();
    let lines: Vec<&str> = text.lines().map(str::trim).take_while(|it| !is_quote(it)).collect();
    let disk_full = text.lines().any(|it| it.trim() == DISK_FULL_NOTE);
    let head = lines.join("\n");
    let kind = if disk_full { Kind::Weather } else { kind(&head) };
    let mut headline = headline(&lines);
    if disk_full {
        headline.push_str("; the disk may have been full");
    }
    Reason { drv: named(&head), kind, headline }
}

/// `Last 10 log lines:`, in 2.8 `last 10 log lines:`; they and what follows are not Nix's words.
fn is_quote(line: &str) -> bool {
    let line = line.strip_prefix("Last ").or_else(|| line.strip_prefix("last "));
    line.is_some_and(|it| it.ends_with(" log lines:"))
}

fn kind(head: &str) -> Kind {
    let has = |needles: &[&str]| needles.iter().any(|it| head.contains(it));
    if has(&["dependency failed", "dependencies failed", "dependencies of derivation"]) {
        Kind::Dependency
    } else if has(&[
        // The kernel's answer to a machine without memory, and the usual one of an operator.
        "failed due to signal 9 (Killed)",
        "No space left on device",
        "substitutes for the outputs of derivation",
        "unable to download",
        "disconnected unexpectedly",
        "Cannot allocate memory",
        "database is busy",
    ]) {
        Kind::Weather
    } else if has(&["timed out after"]) {
        Kind::TimedOut
    } else if has(&[
        "failed with exit code",
        "failed due to signal",
        "hash mismatch in fixed-output derivation",
        "failed to produce output",
        "platform mismatch",
        "missing system features",
        "is required to build",
        "may not be deterministic",
        "is not allowed to refer to",
        "is not allowed to have",
        "illegal reference specifier",
        "cycle detected in build",
        "of log output",
        "failed previously",
        "suspicious ownership or permission",
        "impurity detected",
    ]) {
        Kind::Failed
    } else {
        Kind::Other
    }
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
    for (at, quoted) in line.split('\'').enumerate() {
        if at > 0 {
            out.push('\'');
        }
        let base = quoted.rsplit('/').next().unwrap_or(quoted);
        let is_path = quoted.starts_with('/') && base.len() > 33 && base.as_bytes()[32] == b'-';
        let name = base.get(33..).filter(|_| is_path).unwrap_or(quoted);
        out.push_str(name.trim_end_matches(".drv"));
    }
    if out.starts_with("failed ") { format!("builder {out}") } else { out }
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
mod tests {
    use super::*;

    const DRV: &str = "/nix/store/hdvw8ij3z9a7dg5j0axx49an104isz9y-fail.drv";

    fn said(text: &str) -> (Kind, String) {
        let reason = read(&text.replace("DRV", DRV));
        if reason.kind != Kind::Other {
            assert!(reason.drv.is_none_or(|it| it.as_str() == DRV), "{text}");
        }
        (reason.kind, reason.headline)
    }

    #[test]
    fn an_exit_code_is_told_alike_by_old_and_new() {
        let old =
            "error: builder for 'DRV' failed with exit code 3;\n last 2 log lines:\n > a\n > b";
        let new = "error: Cannot build 'DRV'.\n  Reason: builder failed with exit code 3.\n  \
                   Output paths:\n   /nix/store/x\n Last 2 log lines:\n > one";
        for text in [old, new] {
            assert_eq!(said(text), (Kind::Failed, "builder failed with exit code 3".to_owned()));
        }
        assert_eq!(read(&old.replace("DRV", DRV)).drv, DRV.parse().ok());
    }

    #[test]
    fn what_a_build_printed_decides_nothing() {
        let text = "Cannot build 'DRV'.\nReason: builder failed with exit code 1.\nLast 3 log lines:\n\
                    > No space left on device\n> failed due to signal 9 (Killed)\n\
                    > note: build failure may have been caused by lack of free disk space";
        assert_eq!(said(text).0, Kind::Failed);
    }

    #[test]
    fn the_weather_is_told_from_failures() {
        for text in [
            "builder for 'DRV' failed due to signal 9 (Killed)",
            "Cannot build 'DRV'.\nReason: builder failed due to signal 9 (Killed).",
            "writing to file: No space left on device",
            "some substitutes for the outputs of derivation 'DRV' failed (usually happens due to \
             networking issues); try '--fallback' to build derivation from source ",
            "unable to download 'https://cache.example.org/x.narinfo': HTTP error 504",
            "builder for 'DRV' failed with exit code 1;\nlast 1 log lines:\n> x\nFor full logs, \
             run 'nix log'.\nnote: build failure may have been caused by lack of free disk space",
        ] {
            assert_eq!(said(text).0, Kind::Weather, "{text}");
        }
    }

    #[test]
    fn headlines_are_plain_words_without_hashes() {
        for (text, headline) in [
            (
                "hash mismatch in fixed-output derivation 'DRV':\n  specified: sha256-A=\n     got:    sha256-B=",
                "hash mismatch: specified sha256-A=, got sha256-B=",
            ),
            (
                "Cannot build 'DRV'.\nReason: platform mismatch\nRequired system: 'aarch64-linux'\n\
                 Current system: 'x86_64-linux'",
                "platform mismatch: Required system: 'aarch64-linux', Current system: 'x86_64-linux'",
            ),
            (
                "builder for 'DRV' failed to produce output path for output 'out' at \
                 '/nix/store/xfvv4pqqazk0px48a40qdp5cby2scvam-noout'",
                "builder failed to produce output path for output 'out' at 'noout'",
            ),
            (
                "a 'aarch64-linux' with features {} is required to build 'DRV', but I am a 'x86_64-linux'",
                "a 'aarch64-linux' with features {} is required to build 'fail', but I am a 'x86_64-linux'",
            ),
        ] {
            assert_eq!(said(text), (Kind::Failed, headline.to_owned()));
        }
    }

    #[test]
    fn a_time_limit_is_read_whether_it_names_the_derivation_or_not() {
        let old = "building of 'DRV!out' from .drv file timed out after 3 seconds of silence";
        assert_eq!(said(old), (Kind::TimedOut, "timed out after 3 seconds of silence".to_owned()));
        assert_eq!(read(&old.replace("DRV", DRV)).drv, DRV.parse().ok());
        let new = read("timed out after 4 seconds");
        assert_eq!((new.kind, new.drv), (Kind::TimedOut, None));
    }
}
