//! A log's colours as HTML classes. Inline styles would need a laxer content security policy.
use std::fmt::Write;

use maud::{Markup, PreEscaped};

use crate::domain::text::{after_escape, is_unseen, redact};

/// What a terminal would show for the text so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Look {
    /// One of the sixteen colours.
    colour: Option<u8>,
    is_bold: bool,
}

/// `log` as HTML: escaped, without tokens and invisible characters, coloured by classes `c0` to
/// `c15` and `b`.
pub(super) fn html(log: &str) -> Markup {
    let log = redact(log);
    let mut out = String::with_capacity(log.len() + log.len() / 8);
    let mut look = Look::default();
    for (at, line) in log.split('\n').enumerate() {
        if at > 0 {
            out.push('\n');
        }
        // Of a line that was overwritten the last state is shown.
        let line = line.strip_suffix('\r').unwrap_or(line);
        push_line(&mut out, line.rsplit('\r').next().unwrap_or(line), &mut look);
    }
    PreEscaped(out)
}

fn push_line(out: &mut String, line: &str, look: &mut Look) {
    let mut rest = line;
    while let Some(at) = rest.find('\u{1b}') {
        push_text(out, &rest[..at], *look);
        let sequence = &rest[at + 1..];
        rest = after_escape(sequence);
        let sequence = &sequence[..sequence.len() - rest.len()];
        if let Some(codes) = sequence.strip_prefix('[').and_then(|it| it.strip_suffix('m')) {
            look.apply(codes);
        }
    }
    push_text(out, rest, *look);
}

fn push_text(out: &mut String, text: &str, look: Look) {
    if text.is_empty() {
        return;
    }
    let bold = if look.is_bold { "b" } else { "" };
    let is_plain = look == Look::default();
    // Writing to a string does not fail.
    let _ = match look.colour {
        None if is_plain => Ok(()),
        None => write!(out, "<span class=\"{bold}\">"),
        Some(colour) => write!(out, "<span class=\"c{colour} {bold}\">"),
    };
    for c in text.chars().filter(|c| !is_unseen(*c)) {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    if !is_plain {
        out.push_str("</span>");
    }
}

impl Look {
    /// Takes over what a "select graphic rendition" says; what we do not show is passed over.
    fn apply(&mut self, codes: &str) {
        let mut codes = codes.split(';').map(|code| code.parse::<u8>().unwrap_or(0));
        while let Some(code) = codes.next() {
            match code {
                0 => *self = Self::default(),
                1 => self.is_bold = true,
                22 => self.is_bold = false,
                30..=37 => self.colour = Some(code - 30),
                90..=97 => self.colour = Some(code - 90 + 8),
                39 => self.colour = None,
                38 | 48 => {
                    let kind = codes.next();
                    let colour = match kind {
                        Some(5) => codes.next(),
                        Some(2) => codes.by_ref().take(3).last().and(None),
                        Some(_) | None => None,
                    };
                    if code == 38 {
                        self.colour = colour.filter(|it| *it < 16);
                    }
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn colours_become_classes() {
        for (log, shown) in [
            ("\u{1b}[31mred\u{1b}[0m plain", "<span class=\"c1 \">red</span> plain"),
            (
                "\u{1b}[1;92mok\u{1b}[22mx",
                "<span class=\"c10 b\">ok</span><span class=\"c10 \">x</span>",
            ),
            ("\u{1b}[38;5;3ma\u{1b}[38;2;1;2;3mb", "<span class=\"c3 \">a</span>b"),
            (
                "\u{1b}[35;1mtwo\nlines",
                "<span class=\"c5 b\">two</span>\n<span class=\"c5 b\">lines</span>",
            ),
            ("1%\r2%\r\ndone", "2%\ndone"),
        ] {
            assert_eq!(html(log).0, shown, "{log:?}");
        }
    }

    #[test]
    fn a_log_cannot_write_html() {
        let log = "<script>alert('1')</script> \u{1b}[31m\"&\u{1b}[\"onload=x m<b>";
        let shown = html(log).0;
        assert!(!shown.contains("<script") && !shown.contains("<b>"), "{shown}");
    }

    #[test]
    fn a_token_never_shows() {
        assert!(!html(&format!("ghs_{}", "a1".repeat(20))).0.contains("a1a1"));
    }

    proptest! {
        #[test]
        fn only_our_own_tags_come_out(log in "(\\PC|\u{1b}|\\[|[0-9;m<>\"\n\r]){0,60}") {
            let shown = html(&log).0;
            let ours = shown.replace("</span>", "");
            let ours = ours.split("<span class=\"").collect::<Vec<_>>();
            prop_assert!(ours.iter().all(|part| !part.contains('<')), "{}", shown);
            let classes = ours[1..].iter().map(|part| part.split_once("\">").map_or("?", |it| it.0));
            let known = |class: &str| class.bytes().all(|b| b.is_ascii_alphanumeric() || b == b' ');
            prop_assert!(classes.into_iter().all(known), "{}", shown);
        }
    }
}
