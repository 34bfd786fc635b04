//! Whether a commit's message asks not to be built, in the words that GitHub Actions knows:
//! <https://docs.github.com/actions/managing-workflow-runs/skipping-workflow-runs>.

/// Anywhere in the message.
const MARKS: [&str; 5] = ["[skip ci]", "[ci skip]", "[no ci]", "[skip actions]", "[actions skip]"];

/// As a trailer: in the message's last paragraph.
const TRAILER: &str = "skip-checks: true";

/// What in the message asks for it; `None` when nothing does.
#[must_use]
pub fn asked(message: &str) -> Option<&'static str> {
    let message = message.to_ascii_lowercase();
    if let Some(mark) = MARKS.into_iter().find(|mark| message.contains(mark)) {
        return Some(mark);
    }
    let lines: Vec<&str> = message.trim_end().lines().map(str::trim).collect();
    let (subject, body) = lines.split_first()?;
    let last: Vec<&&str> = body.iter().rev().take_while(|line| !line.is_empty()).collect();
    // Without an empty line before it, the last paragraph is the subject's own.
    let is_apart = last.len() < body.len() && !subject.is_empty();
    let one_space = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let is_trailer = |line: &&&str| one_space(&line.replace(':', ": ")) == TRAILER;
    (is_apart && last.iter().any(is_trailer)).then_some(TRAILER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_asks_by_a_mark_or_by_a_trailer() {
        let table = [
            ("fix typo [skip ci]", Some("[skip ci]")),
            ("[CI SKIP] fix typo", Some("[ci skip]")),
            ("fix typo\n\nno need to build [no ci] this", Some("[no ci]")),
            ("docs\n\n[skip actions]", Some("[skip actions]")),
            ("docs [actions skip]\n", Some("[actions skip]")),
            ("docs\n\n\nskip-checks: true\n", Some("skip-checks: true")),
            ("docs\n\nSkip-Checks:true\nSigned-off-by: a", Some("skip-checks: true")),
            ("docs\n\nskip-checks: false", None),
            ("docs\n\nskip-checks: true\n\nmore", None),
            ("skip-checks: true", None),
            ("docs\nskip-checks: true", None),
            ("skip ci", None),
            ("[skip  ci]", None),
            ("", None),
            ("\n\n", None),
        ];
        for (message, wanted) in table {
            assert_eq!(asked(message), wanted, "{message:?}");
        }
    }
}
