//! Reads what Nix says when an evaluation fails: the reason in one line, and the place in the
//! repository that it comes from.
//!
//! Nix up to 2.19 or so prints the reason first and then the way to it; later ones print the way
//! first and the reason last. In both a place stands in a line of its own, `at FILE:LINE:COLUMN:`.
mod places;

use crate::domain::build::{EvaluationFailure, SourcePlace};
use crate::nix::flake::Pinned;
use crate::nix::redact::clean_text;
use crate::nix::trace::places::Roots;

/// Bytes of a trace that are kept.
pub const LONGEST_TRACE: usize = 60_000;
/// Characters of a headline that are kept.
const LONGEST_HEADLINE: usize = 300;
/// Files and lines in a trace stand behind this, after spaces.
const AT: &str = "at ";

/// The failure that Nix's stderr tells of.
#[must_use]
pub fn read(stderr: &[u8], flake: &Pinned) -> EvaluationFailure {
    let text = plain(stderr);
    let lines: Vec<&str> = text.lines().collect();
    let roots = Roots::of(flake);
    let trace = roots.shorten(&without_ours(&text));
    let shown = roots.shorten(&text);
    let shown: Vec<&str> = shown.lines().collect();
    let headline = match Reason::find(&shown).headline() {
        // Nix only says that git failed; git said why before that.
        it if it.starts_with("program 'git' failed") => git_said(&lines).unwrap_or(it),
        it => it,
    };
    EvaluationFailure {
        headline,
        place: roots.place(&lines, &Reason::find(&lines)),
        trace: cut(&trace, LONGEST_TRACE),
        limit: None,
    }
}

/// A text that may name a file of the repository: as people read it, and the first such place.
pub(super) fn names_file(text: &str, flake: &Pinned) -> (String, Option<SourcePlace>) {
    let roots = Roots::of(flake);
    (roots.shorten(text), roots.first_named(text))
}

/// Without the steps through the expression with which we ask: it says nothing to the flake's
/// author. Steps are paragraphs; `nix` calls an expression of its command line a string.
fn without_ours(text: &str) -> String {
    let ours = |step: &str| step.contains("at «string»:") || step.contains("at (string):");
    let kept = text.split("\n\n").filter_map(|step| {
        if !ours(step) {
            return Some(step);
        }
        // The error's own first line may stand in one paragraph with the first step.
        let begin = step.find("… ").unwrap_or(step.len());
        let before = step[..begin].trim_end();
        (!before.trim().is_empty() && !ours(before)).then_some(before)
    });
    kept.collect::<Vec<_>>().join("\n\n")
}

/// Nix's own reason, as it stands, for deciding whose it is; without the way to it.
#[must_use]
pub fn reason(stderr: &[u8]) -> String {
    let text = plain(stderr);
    let lines: Vec<&str> = text.lines().collect();
    Reason::find(&lines).message.join("\n")
}

/// Without colours, control characters and tokens, in UTF-8.
pub(super) fn plain(bytes: &[u8]) -> String {
    let text = strip_ansi_escapes::strip(bytes);
    let mut text = String::from_utf8_lossy(&text).into_owned();
    text.retain(|c| c == '\n' || c == '\t' || !c.is_control());
    clean_text(text)
}

/// The innermost error of a trace.
struct Reason<'a> {
    /// Its lines without decoration; never empty.
    message: Vec<&'a str>,
    /// Where the way to it stands.
    way: Way,
}

/// In which order a trace is told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Innermost first.
    After,
    /// Innermost last.
    Before,
}

impl<'a> Reason<'a> {
    fn find(lines: &[&'a str]) -> Self {
        let last_step = lines.iter().rposition(|it| it.trim_start().starts_with("… "));
        let error = |from: usize| (from..lines.len()).find(|&at| error_text(lines[at]).is_some());
        let (at, way) = match last_step.and_then(error) {
            Some(at) => (at, Way::Before),
            None => match error(0) {
                Some(at) => (at, Way::After),
                None => return Self::unmarked(lines),
            },
        };
        let indent = lines[at].len() - lines[at].trim_start().len();
        let mut message = vec![unwrap(error_text(lines[at]).unwrap_or_default())];
        for line in &lines[at + 1..] {
            let text = line.trim();
            let is_step = text.starts_with("… ") || (text.starts_with(AT) && text.ends_with(':'));
            let is_next = error_text(line).is_some() && indent == 0 && !line.starts_with(' ');
            if is_step || is_next || is_excerpt(text) {
                break;
            }
            message.push(text);
        }
        while message.len() > 1 && message.last().is_some_and(|it| it.is_empty()) {
            message.pop();
        }
        Self { message, way }
    }

    /// Text without any `error:`; the last line says most.
    fn unmarked(lines: &[&'a str]) -> Self {
        let last = lines.iter().rev().map(|it| it.trim()).find(|it| !it.is_empty());
        Self { message: vec![last.unwrap_or("Nix gave no reason")], way: Way::After }
    }

    /// One line that a person understands without knowing Nix's decorations.
    fn headline(&self) -> String {
        let mut lines = self.message.iter().map(|it| it.trim()).filter(|it| !it.is_empty());
        let first = lines.next().unwrap_or("Nix gave no reason");
        let second = lines.next();
        let text = if let Some(built) = built_while_evaluating(first, second) {
            built
        } else if first == "Failed assertions:" {
            // NixOS lists them; the first will do for a line.
            second.unwrap_or(first).trim_start_matches("- ").to_owned()
        } else if let Some(said) =
            first.strip_prefix("evaluation aborted with the following error message: '")
        {
            said.strip_suffix('\'').unwrap_or(said).to_owned()
        } else {
            first.trim_end_matches("Definition values:").trim_end().to_owned()
        };
        shorten(&text)
    }
}

/// What stands after `error:` where Nix puts it: at the beginning of a line or below the way.
fn error_text(line: &str) -> Option<&str> {
    let indent = line.len() - line.trim_start().len();
    let rest = line.trim_start().strip_prefix("error:")?;
    matches!(indent, 0 | 7).then(|| rest.trim())
}

/// The newest Nix tells of a download that failed inside of the failure to read its archive.
fn unwrap(text: &str) -> &str {
    match text.split_once("threw exception: error: ") {
        Some((_, inner)) => inner.strip_suffix(')').unwrap_or(inner),
        None => text,
    }
}

/// The last reason that git gave.
fn git_said(lines: &[&str]) -> Option<String> {
    lines.iter().rev().find_map(|it| it.strip_prefix("fatal: ")).map(shorten)
}

/// A line of the source that Nix shows: `12|   a = b;` or the caret below it.
fn is_excerpt(text: &str) -> bool {
    text.split_once('|').is_some_and(|(number, _)| {
        number.trim().bytes().all(|it| it.is_ascii_digit()) && number.len() < 8
    })
}

/// The reason of a failed import from derivation, by its name instead of its path.
fn built_while_evaluating(first: &str, second: Option<&str>) -> Option<String> {
    let (drv, why) = if let Some(rest) = first.strip_prefix("builder for '") {
        let (drv, why) = rest.split_once("' failed")?;
        (drv, format!("builder failed{}", why.trim_end_matches(';')))
    } else if let Some(rest) = first.strip_prefix("Cannot build '") {
        let why = second?.strip_prefix("Reason: ")?;
        (rest.split_once('\'')?.0, why.trim_end_matches('.').to_owned())
    } else {
        return None;
    };
    let base = drv.rsplit('/').next()?;
    let name = base.get(33..)?.trim_end_matches(".drv");
    Some(format!("{name}, which evaluation needs, cannot be built: {why}"))
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(LONGEST_HEADLINE) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

/// At most `limit` bytes, cut out of the middle at line ends where there are any.
fn cut(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let note = "\n… (the middle is left out) …\n";
    let half = (limit - note.len()) / 2;
    let head = &text[..text.floor_char_boundary(half)];
    let tail = &text[text.ceil_char_boundary(text.len() - half)..];
    let head = head.rfind('\n').map_or(head, |at| &head[..at]);
    let tail = tail.find('\n').map_or(tail, |at| &tail[at + 1..]);
    format!("{head}{note}{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nix::flake::FlakeRef;

    const SHA: &str = "f2c2c8352e1bcedde38a5ab2b3b1cf3ae8d4b389";
    const SOURCE: &str = "/nix/store/0rwb6i8i6v1iqfi2pn3q3k9isl7hcrgv-source";

    fn pinned() -> Pinned {
        Pinned {
            flake: FlakeRef::parse(&format!("git+file:///m/1.git?rev={SHA}")).unwrap(),
            revision: Some(SHA.parse().unwrap()),
            source: Some(SOURCE.parse().unwrap()),
            folder: Some("/m/1.git".into()),
            dir: None,
            confined: None,
        }
    }

    fn read_text(text: &str) -> EvaluationFailure {
        let text = text.replace('@', &format!("«git+file:///m/1.git?ref=x&rev={SHA}»"));
        read(text.replace('%', SOURCE).as_bytes(), &pinned())
    }

    #[expect(clippy::unnecessary_wraps, reason = "it is compared with an option")]
    fn place(path: &str, line: u32) -> Option<SourcePlace> {
        Some(SourcePlace { path: path.into(), line })
    }

    const NEW: &str = "error:\n       … while evaluating attribute '\"0\"'\n         at «string»:1:6:\n            \
        1| o: 1\n             |      ^\n\n       … while calling 'removed'\n         at @/hosts/lib.nix:1:13:\n            \
        1| x\n             | ^\n\n       … while calling the 'throw' builtin\n         at «github:NixOS/nixpkgs/abc»/lib/x.nix:9:1:\n            \
        9| x\n             | ^\n\n       error: gtk-engine-murrine was removed\n";
    const OLD: &str = "warning: something\nerror: \u{1b}[31;1mattribute 'foo' missing\u{1b}[0m\n\n       at %/hosts/b.nix:12:38:\n\n           \
        11|  a\n\n       … while evaluating the attribute 'x'\n\n       at %/flake.nix:3:45:\n\n            2| b\n";

    #[test]
    fn the_steps_through_our_own_expression_are_left_out() {
        let text = "error:\n       … while evaluating attribute '\"0\"'\n         at «string»:1:4:\n            \
                    1| o: let d = …\n\n       … while calling 'd'\n         at «string»:1:12:\n\n       \
                    … while calling the 'throw' builtin\n         at flake.nix:14:24:\n\n       error: gone";
        assert_eq!(
            without_ours(text),
            "error:\n\n       … while calling the 'throw' builtin\n         at flake.nix:14:24:\n\n       \
             error: gone"
        );
    }

    #[test]
    fn the_newest_nix_tells_the_reason_last() {
        let it = read_text(NEW);
        assert_eq!(it.headline, "gtk-engine-murrine was removed");
        assert_eq!(it.place, place("hosts/lib.nix", 1));
        assert!(it.trace.contains("at hosts/lib.nix:1:13:"), "{}", it.trace);
        assert!(it.trace.contains("at «github:NixOS/nixpkgs/abc»/lib/x.nix"), "{}", it.trace);
    }

    #[test]
    fn an_old_nix_tells_the_reason_first() {
        let it = read_text(OLD);
        assert_eq!(it.headline, "attribute 'foo' missing");
        assert_eq!(it.place, place("hosts/b.nix", 12));
        assert!(!it.trace.contains('\u{1b}'));
    }

    #[test]
    fn the_place_of_the_reason_itself_is_the_innermost() {
        let it = read_text(
            "error:\n       … from call site\n         at @/flake.nix:4:58:\n\n       error: undefined variable 'pkgs'\n       at @/hosts/undef.nix:2:7:\n            1| {\n",
        );
        assert_eq!(
            (it.headline.as_str(), it.place),
            ("undefined variable 'pkgs'", place("hosts/undef.nix", 2))
        );
    }

    #[test]
    fn the_module_system_names_its_file_in_words() {
        let it = read_text(
            "error:\n       … while calling the 'throw' builtin\n         at «github:NixOS/nixpkgs/abc»/lib/modules.nix:1:1:\n\n       error: The option `services.foo' does not exist. Definition values:\n       - In `%/hosts/raider.nix': true\n",
        );
        assert_eq!(it.headline, "The option `services.foo' does not exist.");
        assert_eq!(it.place, place("hosts/raider.nix", 1));
    }

    #[test]
    fn failed_assertions_are_told_by_the_first() {
        let it = read_text(
            "error:\n       … x\n\n       error:\n       Failed assertions:\n       - Set a password.\n       - And more.\n",
        );
        assert_eq!(it.headline, "Set a password.");
    }

    #[test]
    fn a_failed_import_from_derivation_is_told_by_its_name() {
        let path = "/nix/store/wxbpvqwgkvk75xxrg637aprvi7akyqlv-generated.drv";
        let old = format!(
            "building '{path}'...\nerror: builder for '{path}' failed with exit code 3;\n       last 1 log lines:\n       > error: nope\n"
        );
        let new = format!(
            "error:\n       … while calling the 'import' builtin\n         at @/flake.nix:16:30:\n\n       error: Cannot build '{path}'.\n       Reason: builder failed with exit code 3.\n"
        );
        for text in [old, new] {
            assert_eq!(
                read_text(&text).headline,
                "generated, which evaluation needs, cannot be built: builder failed with exit code 3"
            );
        }
    }

    #[test]
    fn an_input_that_cannot_be_fetched_is_told_by_the_download() {
        let new = "error:\n       … while fetching the input 'http://x/y'\n\n       error: Failed to open archive (Source threw exception: error: unable to download 'http://x/y': HTTP error 404\n\n              response body:\n\n              text)\n";
        assert_eq!(read_text(new).headline, "unable to download 'http://x/y': HTTP error 404");
        let old = "fatal: repository 'http://x/y/' not found\nerror: program 'git' failed with exit code 128\n";
        assert_eq!(read_text(old).headline, "repository 'http://x/y/' not found");
    }

    #[test]
    fn a_place_outside_of_the_repository_is_none() {
        for at in
            ["/nix/store/00wb6i8i6v1iqfi2pn3q3k9isl7hcrgv-source/a.nix", "%/../b.nix", "%2/c.nix"]
        {
            assert_eq!(
                read_text(&format!("error: x\n\n       at {at}:1:2:\n")).place,
                None,
                "{at}"
            );
        }
    }

    #[test]
    fn whatever_is_read_gives_a_line_and_stays_within_bounds() {
        for text in
            ["", "\n\n", "error:", "error: ", "killed", &"x\n".repeat(100_000), &"é".repeat(70_000)]
        {
            let it = read_text(text);
            assert!(!it.headline.is_empty() && !it.headline.contains('\n'), "{text:.20}");
            assert!(it.trace.len() <= LONGEST_TRACE);
        }
    }
}
