//! Hostile text made safe: for GitHub's Markdown and for a title's one line.
//!
//! Logs, host names and Nix's errors are written by whoever wrote the commit under test. GitHub
//! sanitises HTML, but mentions, references, images and a fence closed early still work, so they
//! are taken out here. Every function also removes what nobody can see (control characters,
//! colours, direction marks) and GitHub's tokens.

/// What stands in a token's place.
const REDACTED: &str = "[token removed]";

/// A run of backticks within a fence is cut to this length, so that a fence stays short.
const LONGEST_RUN: usize = 16;

/// `text` with everything removed that is not seen: terminal escapes, control characters other
/// than newline and tab, direction marks, zero-width characters. Of a line that was overwritten by
/// carriage returns the last state is kept. Tokens are [redacted](redact).
#[must_use]
pub fn clean(text: &str) -> String {
    let visible: String = strip_ansi(text).chars().filter(|c| !is_unseen(*c)).collect();
    let mut lines = visible.split('\n').map(|line| {
        let line = line.strip_suffix('\r').unwrap_or(line);
        line.rsplit('\r').next().unwrap_or(line)
    });
    let mut out = String::with_capacity(visible.len());
    out.push_str(lines.next().unwrap_or_default());
    for line in lines {
        out.push('\n');
        out.push_str(line);
    }
    redact(&out)
}

/// Whether a character shows nothing, or changes how its neighbours show.
#[must_use]
pub fn is_unseen(c: char) -> bool {
    let wanted_control = matches!(c, '\n' | '\t' | '\r');
    (c.is_control() && !wanted_control)
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{3164}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}')
}

/// `text` without terminal escape sequences. A sequence that is not closed ends with its line, so
/// that a build cannot hide the rest of its log.
#[must_use]
pub fn strip_ansi(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\u{1b}') {
        out.push_str(&rest[..at]);
        rest = after_escape(&rest[at + 1..]);
    }
    out.push_str(rest);
    out
}

/// What follows a terminal's escape sequence whose ESC was just read.
#[must_use]
pub fn after_escape(rest: &str) -> &str {
    let mut chars = rest.char_indices();
    match chars.next() {
        // Control sequence: parameters, then one final byte.
        Some((_, '[')) => {
            chars.find(|(_, c)| !matches!(c, '\u{20}'..='\u{3f}')).map_or("", |(at, c)| {
                if ('\u{40}'..='\u{7e}').contains(&c) { &rest[at + 1..] } else { &rest[at..] }
            })
        }
        // Command strings: up to BEL or the string terminator, ESC and a backslash.
        Some((_, ']' | 'P' | 'X' | '^' | '_')) => chars
            .find(|(_, c)| matches!(c, '\u{7}' | '\u{1b}' | '\n'))
            .map_or("", |(at, c)| match c {
                '\u{7}' => &rest[at + 1..],
                '\u{1b}' if rest[at + 1..].starts_with('\\') => &rest[at + 2..],
                _ => &rest[at..],
            }),
        // Two-byte and three-byte sequences, such as the choice of a character set.
        Some((_, '\u{20}'..='\u{2f}')) => match chars.next() {
            Some((at, c)) if c.is_ascii_graphic() => &rest[at + 1..],
            Some((at, _)) => &rest[at..],
            None => "",
        },
        Some((_, c)) if c.is_ascii_graphic() => &rest[1..],
        Some(_) | None => rest,
    }
}

/// `text` with GitHub's tokens and other signed tokens (JWT) taken out.
#[must_use]
pub fn redact(text: &str) -> String {
    const PREFIXES: [&str; 7] = ["ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "eyJ"];
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    loop {
        let found = PREFIXES.iter().filter_map(|prefix| rest.find(prefix).map(|at| (at, prefix)));
        let Some((at, prefix)) = found.min_by_key(|(at, _)| *at) else {
            out.push_str(rest);
            return out;
        };
        let body = &rest[at + prefix.len()..];
        // Installation tokens hold dots and dashes since 2026: `ghs_APPID_JWT`.
        let part = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        let length = body.bytes().take_while(|b| part(*b)).count();
        let is_jwt = body[..length].split('.').filter(|it| it.len() >= 8).count() >= 3;
        out.push_str(&rest[..at]);
        if if *prefix == "eyJ" { is_jwt } else { length >= 20 } {
            out.push_str(REDACTED);
        } else {
            out.push_str(prefix);
            out.push_str(&body[..length]);
        }
        rest = &body[length..];
    }
}

/// A fenced code block of `text`: nothing within it is Markdown, and it cannot close the fence.
#[must_use]
pub fn fence(text: &str) -> String {
    let mut body = String::with_capacity(text.len());
    let (mut run, mut longest) = (0, 0);
    for c in clean(text).chars() {
        run = if c == '`' { run + 1 } else { 0 };
        if run <= LONGEST_RUN {
            longest = longest.max(run);
            body.push(c);
        }
    }
    let ticks = "`".repeat(3.max(longest + 1));
    format!("{ticks}text\n{}\n{ticks}", body.trim_end())
}

/// One line of `text` for running Markdown and table cells: it shows as it is, links nowhere and
/// calls nobody.
#[must_use]
pub fn inline(text: &str) -> String {
    // GitHub looks for mentions and references in the rendered text, so an escape does not stop
    // them; an invisible character between the sign and the name does.
    const APART: &str = "&#8203;";
    let line = one_line(text);
    let mut out = String::with_capacity(line.len() + 16);
    for (at, c) in line.char_indices() {
        let before = &line[..at];
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '|' => out.push_str("&#124;"),
            '@' => out.extend(["@", APART]),
            '#' => out.extend(["\\#", APART]),
            // `GH-123`.
            '-' if ends_with_ignoring_case(before, "gh") => out.extend(["-", APART]),
            // `https://`, `www.`, which GitHub makes links of.
            ':' => out.extend([":", if line[at..].starts_with("://") { APART } else { "" }]),
            '.' if ends_with_ignoring_case(before, "www") => out.extend([".", APART]),
            '\\' | '`' | '*' | '_' | '[' | ']' | '~' | '$' | '!' => {
                out.push('\\');
                out.push(c);
            }
            _ => out.push(c),
        }
    }
    out
}

fn ends_with_ignoring_case(text: &str, end: &str) -> bool {
    let tail = text.len().checked_sub(end.len()).and_then(|at| text.get(at..));
    tail.is_some_and(|tail| tail.eq_ignore_ascii_case(end))
}

/// One line of at most `most` characters for places that are not Markdown: a check's title, a
/// status's description.
#[must_use]
pub fn plain_title(text: &str, most: usize) -> String {
    let line = one_line(text);
    if line.chars().count() <= most {
        return line;
    }
    let mut cut: String = line.chars().take(most.saturating_sub(1)).collect();
    cut.truncate(cut.trim_end().len());
    if most > 0 {
        cut.push('…');
    }
    cut
}

/// Cleaned, with every run of white space as one space.
fn one_line(text: &str) -> String {
    clean(text).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The first `most` bytes of `text`, cut at a line's end and followed by `more` as a line of its
/// own, which says where the rest is; all of `text` if it fits. A fence that the cut would leave
/// open is closed.
#[must_use]
pub fn cut_lines(text: &str, most: usize, more: &str) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let longest_fence = LONGEST_RUN + 2;
    let room = most.saturating_sub(more.len() + 2 + longest_fence);
    let mut end = text.floor_char_boundary(room);
    end = text[..end].rfind('\n').unwrap_or(end);
    let kept = text[..end].trim_end();
    let closing = open_fence(kept).map(|ticks| format!("\n{ticks}")).unwrap_or_default();
    let cut = format!("{kept}{closing}\n\n{more}");
    if cut.len() <= most { cut } else { more[..more.floor_char_boundary(most)].to_owned() }
}

/// The backticks of the fence that is open at the end of `markdown`.
fn open_fence(markdown: &str) -> Option<&str> {
    let mut open: Option<&str> = None;
    for line in markdown.lines() {
        let ticks = &line[..line.bytes().take_while(|b| *b == b'`').count()];
        open = match open {
            None if ticks.len() >= 3 => Some(ticks),
            Some(fence) if ticks.len() >= fence.len() && line.trim_end() == ticks => None,
            still => still,
        };
    }
    open
}

/// The last `most` of `lines`, each cleaned and cut to 400 characters, as one text.
#[must_use]
pub fn tail(lines: &[String], most: usize) -> String {
    let from = lines.len().saturating_sub(most);
    let shown = lines[from..].iter().map(|line| {
        let line = clean(line);
        match line.char_indices().nth(400) {
            Some((at, _)) => format!("{}…", &line[..at]),
            None => line,
        }
    });
    shown.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests;
