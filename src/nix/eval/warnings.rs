//! What Nix warned of during an evaluation: `lib.warn`, NixOS's `warnings`, and Nix's own remarks
//! about a file of the flake.
//!
//! Nix says no place with a warning; a place is known where the text names a file of the
//! repository, as the module system's do, and otherwise where the text itself stands in one
//! ([`locate`](crate::nix::eval::locate)). In a process that evaluates several hosts a mark of ours
//! stands before each host's warnings. A flake can write the mark too, and only confuse itself.
use crate::domain::build::Warning;
use crate::nix::flake::Pinned;
use crate::nix::trace;

/// Warnings of one host that are kept, and characters of each.
const MOST: usize = 20;
const LONGEST: usize = 500;

/// What stands before the number of a host in its mark.
const MARK: &str = "fleetcheck evaluates ";

/// What, before a value, says that what follows is about the host of this number.
pub(super) fn mark(number: usize) -> String {
    format!("builtins.trace \"{MARK}{number}\" ")
}

/// The warnings of each of so many hosts, from what their process said.
pub(super) fn read(stderr: &[u8], flake: &Pinned, hosts: usize) -> Vec<Vec<Warning>> {
    let text = trace::plain(stderr);
    let mut found: Vec<Vec<Warning>> = vec![Vec::new(); hosts];
    let mut at = 0;
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if let Some(number) = line.strip_prefix("trace: ").and_then(|it| it.strip_prefix(MARK)) {
            at = number.trim().parse().unwrap_or(at);
            continue;
        }
        let Some((kind, first)) = begin(line) else { continue };
        let mut message = first.trim().to_owned();
        // What belongs to a warning stands below it, indented.
        while let Some(more) = lines.next_if(|it| it.starts_with("   ") && !it.trim().is_empty()) {
            message.push(' ');
            message.push_str(more.trim());
        }
        let warning = warning(&message, flake);
        let wanted = kind == Kind::Evaluation || warning.place.is_some();
        if let Some(of_host) = found.get_mut(at)
            && wanted
            && of_host.len() < MOST
            && !of_host.contains(&warning)
        {
            of_host.push(warning);
        }
    }
    found
}

/// Who warns.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The flake, or nixpkgs about it.
    Evaluation,
    /// Nix; of interest to the author only where it names a file.
    Nix,
}

fn begin(line: &str) -> Option<(Kind, &str)> {
    let evaluation = "evaluation warning:";
    let traced = line.strip_prefix("trace: ").unwrap_or(line);
    // `lib.warn` of nixpkgs before 24.11 writes its own colours and its own word.
    let said = traced
        .strip_prefix(evaluation)
        .or_else(|| line.strip_prefix("trace: ").and_then(|it| it.strip_prefix("warning:")));
    match said {
        Some(text) => Some((Kind::Evaluation, text)),
        None => line.strip_prefix("warning:").map(|text| (Kind::Nix, text)),
    }
}

fn warning(message: &str, flake: &Pinned) -> Warning {
    let (text, place) = trace::names_file(message, flake);
    let message = match text.char_indices().nth(LONGEST) {
        None => text,
        Some((end, _)) => format!("{}…", &text[..end]),
    };
    Warning { message, place }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::build::SourcePlace;
    use crate::nix::flake::FlakeRef;

    const SHA: &str = "f2c2c8352e1bcedde38a5ab2b3b1cf3ae8d4b389";
    const SOURCE: &str = "/nix/store/0rwb6i8i6v1iqfi2pn3q3k9isl7hcrgv-source";

    fn read_text(text: &str, hosts: usize) -> Vec<Vec<Said>> {
        let flake = Pinned {
            flake: FlakeRef::parse(&format!("git+file:///m/1.git?rev={SHA}")).unwrap(),
            revision: Some(SHA.parse().unwrap()),
            source: Some(SOURCE.parse().unwrap()),
            folder: Some("/m/1.git".into()),
            dir: None,
            confined: None,
        };
        let text = text.replace('%', SOURCE);
        let plain =
            |it: Warning| (it.message, it.place.map(|SourcePlace { path, line }| (path, line)));
        let found = read(text.as_bytes(), &flake, hosts);
        found.into_iter().map(|of_host| of_host.into_iter().map(plain).collect()).collect()
    }

    /// A message, and the file and line that it names.
    type Said = (String, Option<(String, u32)>);

    #[expect(clippy::unnecessary_wraps, reason = "it is compared with an option")]
    fn at(path: &str, line: u32) -> Option<(String, u32)> {
        Some((path.to_owned(), line))
    }

    #[test]
    fn a_warning_is_read_as_every_nix_writes_it() {
        for (said, message, place) in [
            ("evaluation warning: old thing", "old thing", None),
            ("trace: evaluation warning: traced", "traced", None),
            ("trace: \u{1b}[1;31mwarning: of an old nixpkgs\u{1b}[0m", "of an old nixpkgs", None),
            (
                "evaluation warning: old thing\n                    second line",
                "old thing second line",
                None,
            ),
            (
                "trace: evaluation warning: The option `a' defined in `%/hosts/raider.nix' has been renamed to `b'.",
                "The option `a' defined in `hosts/raider.nix' has been renamed to `b'.",
                at("hosts/raider.nix", 1),
            ),
            (
                "evaluation warning: see %/flake.nix:12:3: and so on",
                "see flake.nix:12:3: and so on",
                at("flake.nix", 12),
            ),
            (
                "warning: unused argument\n         at «git+file:///m/1.git?rev=f2c2c8352e1bcedde38a5ab2b3b1cf3ae8d4b389»/m/x.nix:4:5:",
                "unused argument at m/x.nix:4:5:",
                at("m/x.nix", 4),
            ),
        ] {
            assert_eq!(read_text(said, 1), [vec![(message.to_owned(), place)]], "{said}");
        }
    }

    #[test]
    fn what_nix_says_of_its_own_settings_is_nobody_s_business() {
        let said = "warning: the group 'nixbld' does not exist\ntrace: a note\nerror: x\n";
        assert_eq!(read_text(said, 1), [vec![]]);
    }

    #[test]
    fn a_warning_belongs_to_the_host_whose_mark_stands_before_it() {
        let said = format!(
            "evaluation warning: a\ntrace: {MARK}0\nevaluation warning: b\nevaluation warning: b\n\
             trace: {MARK}1\nevaluation warning: c\ntrace: {MARK}7\nevaluation warning: lost\n"
        );
        let one = |it: &str| (it.to_owned(), None);
        assert_eq!(read_text(&said, 2), [vec![one("a"), one("b")], vec![one("c")]]);
    }

    #[test]
    fn a_flood_of_warnings_is_bounded() {
        let lines = (0..1000).map(|n| format!("evaluation warning: {n} {}", "é".repeat(900)));
        let said = lines.collect::<Vec<_>>().join(
            "
",
        );
        let found = read_text(&said, 1);
        assert_eq!(found[0].len(), MOST);
        assert!(found[0].iter().all(|(message, _)| message.chars().count() <= LONGEST + 1));
    }
}
