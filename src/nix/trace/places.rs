//! Places of the flake's own repository in a trace.
use crate::domain::build::SourcePlace;
use crate::domain::id::StorePath;
use crate::nix::flake::Pinned;
use crate::nix::trace::{AT, Reason, Way};

/// What stands before `/PATH` where a trace names a file of the flake's own repository.
pub(super) struct Roots<'a> {
    flake: &'a Pinned,
}

impl<'a> Roots<'a> {
    pub(super) fn of(flake: &'a Pinned) -> Self {
        Self { flake }
    }

    /// The path within the repository that `text` begins with, after one of the roots, and where
    /// it begins. In text: up to a quote or a colon.
    fn strip<'t>(&self, text: &'t str) -> Option<&'t str> {
        // «git+file:///…/1.git?ref=…&rev=SHA»/hosts/raider.nix
        if let Some(rest) = text.strip_prefix('«') {
            let (url, path) = rest.split_once('»')?;
            let revision = self.flake.revision.as_ref()?;
            return url.contains(revision.as_str()).then_some(path)?.strip_prefix('/');
        }
        let source = self.flake.source.as_ref().map(StorePath::as_str);
        let folder = self.flake.folder.as_ref().and_then(|it| it.to_str());
        [source, folder]
            .into_iter()
            .flatten()
            .find_map(|root| text.strip_prefix(root)?.strip_prefix('/'))
    }

    /// `hosts/raider.nix:3:5:` behind a root as a place.
    fn position(&self, text: &str) -> Option<SourcePlace> {
        let (path, line) = path_and_line(self.strip(text)?)?;
        Some(SourcePlace { path: path.to_owned(), line })
    }

    /// The first file of the repository that running text names, with its line where it has one.
    pub(super) fn first_named(&self, text: &str) -> Option<SourcePlace> {
        let starts = text.char_indices().filter(|(_, c)| matches!(c, '/' | '«'));
        starts.filter_map(|(at, _)| self.strip(&text[at..])).find_map(|rest| {
            let end = rest.find(|c: char| c.is_whitespace() || "'`\"()<>,;:".contains(c));
            let (path, behind) = rest.split_at(end.unwrap_or(rest.len()));
            let path = path.trim_end_matches('.');
            let number = behind.strip_prefix(':').unwrap_or_default();
            let number: String = number.chars().take_while(char::is_ascii_digit).collect();
            let line = number.parse().unwrap_or(1);
            is_relative(path).then(|| SourcePlace { path: path.to_owned(), line })
        })
    }

    pub(super) fn place(&self, lines: &[&str], reason: &Reason) -> Option<SourcePlace> {
        // The module system names files in its words, without a line: - In `FILE': VALUE
        let in_words = reason.message.iter().find_map(|it| {
            let path = self.strip(it.trim_start().strip_prefix("- In `")?)?;
            let path = path.split_once('\'')?.0;
            is_relative(path).then(|| SourcePlace { path: path.to_owned(), line: 1 })
        });
        let mut places = lines
            .iter()
            .filter_map(|it| it.trim_start().strip_prefix(AT))
            .filter_map(|it| self.position(it));
        in_words.or_else(|| match reason.way {
            Way::After => places.next(),
            Way::Before => places.next_back(),
        })
    }

    /// The text with the repository's files by their paths in it: shorter, the same on every
    /// machine, and silent about this one.
    pub(super) fn shorten(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for root in [
            self.flake.source.as_ref().map(StorePath::as_str),
            self.flake.folder.as_ref().and_then(|it| it.to_str()),
        ]
        .into_iter()
        .flatten()
        {
            text = text.replace(&format!("{root}/"), "");
        }
        let Some(revision) = &self.flake.revision else { return text };
        let mut out = String::with_capacity(text.len());
        let mut rest = text.as_str();
        while let Some((before, after)) = rest.split_once('«') {
            out.push_str(before);
            match after.split_once("»/") {
                Some((url, behind))
                    if url.contains(revision.as_str()) && !url.contains(['\n', '«']) =>
                {
                    rest = behind;
                }
                Some(_) | None => {
                    out.push('«');
                    rest = after;
                }
            }
        }
        out.push_str(rest);
        out
    }
}

/// `hosts/raider.nix:3:5:` as path and line.
fn path_and_line(text: &str) -> Option<(&str, u32)> {
    let (rest, column) = text.trim_end().trim_end_matches(':').rsplit_once(':')?;
    let (path, line) = rest.rsplit_once(':')?;
    let numbers = column.parse::<u32>().is_ok();
    (numbers && is_relative(path)).then_some((path, line.parse().ok()?))
}

fn is_relative(path: &str) -> bool {
    !path.is_empty() && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}
