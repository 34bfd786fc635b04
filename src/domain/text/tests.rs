use proptest::prelude::*;

use super::*;

#[test]
fn colours_and_invisible_characters_are_removed() {
    for (text, shown) in [
        ("\u{1b}[31mred\u{1b}[0m", "red"),
        ("\u{1b}]0;title\u{7}text", "text"),
        ("\u{1b}]8;;https://x\u{1b}\\link\u{1b}]8;;\u{1b}\\", "link"),
        ("\u{1b}(Btext\u{1b}Mx", "textx"),
        ("a\u{202e}b\u{200b}c\u{feff}d\u{7}e", "abcde"),
        ("10%\r50%\r100%\r\nnext", "100%\nnext"),
        ("tab\tstays", "tab\tstays"),
        ("ends\u{1b}", "ends"),
        ("ends\u{1b}[", "ends"),
    ] {
        assert_eq!(clean(text), shown, "{text:?}");
    }
}

#[test]
fn an_escape_that_is_never_closed_cannot_hide_the_next_line() {
    assert_eq!(clean("a\u{1b}]0;hidden\nshown"), "a\nshown");
    assert_eq!(clean("a\u{1b}[\nshown"), "a\nshown");
}

#[test]
fn tokens_are_taken_out_in_every_format() {
    let classic = format!("ghp_{}", "a1B2".repeat(9));
    let stateless =
        format!("ghs_12345_eyJ{}.eyJ{}.{}", "a".repeat(30), "b-_".repeat(30), "c".repeat(40));
    let fine = format!("github_pat_{}_{}", "A".repeat(22), "b".repeat(59));
    let jwt = format!("eyJ{}.eyJ{}.{}", "a".repeat(30), "b".repeat(30), "c".repeat(40));
    for token in [classic, stateless, fine, jwt] {
        let shown = redact(&format!("https://x-access-token:{token}@github.com and more"));
        assert_eq!(shown, "https://x-access-token:[token removed]@github.com and more");
    }
    assert_eq!(redact("ghp_short eyJust github_pat_"), "ghp_short eyJust github_pat_");
}

#[test]
fn a_token_torn_apart_by_invisible_characters_is_still_found() {
    let torn = format!("gh\u{200b}s_{}", "a\u{1b}[0m".repeat(40));
    assert_eq!(clean(&torn), REDACTED);
}

#[test]
fn a_log_cannot_close_its_fence() {
    assert_eq!(fence("a\n```\n# big\n"), "````text\na\n```\n# big\n````");
    assert!(fence(&"`".repeat(70_000)).len() < 100);
}

#[test]
fn running_text_calls_nobody_and_links_nowhere() {
    for (text, markdown) in [
        ("@acme/all", "@&#8203;acme/all"),
        ("see #12 and GH-12", "see \\#&#8203;12 and GH-&#8203;12"),
        (
            "https://evil.example www.evil.example",
            "https:&#8203;//evil.example www.&#8203;evil.example",
        ),
        ("a|b\nc", "a&#124;b c"),
        ("![x](y) <img> &#64;me", "\\!\\[x\\](y) &lt;img&gt; &amp;\\#&#8203;64;me"),
        ("`*_~$\\", "\\`\\*\\_\\~\\$\\\\"),
        ("error: nothing", "error: nothing"),
    ] {
        assert_eq!(inline(text), markdown, "{text}");
    }
}

#[test]
fn a_long_text_is_cut_at_a_line_with_a_pointer_to_the_rest() {
    let text = (0..20).map(|n| format!("line {n}")).collect::<Vec<_>>().join("\n");
    assert_eq!(
        cut_lines(&text, 80, "(more: URL)"),
        "line 0\nline 1\nline 2\nline 3\nline 4\nline 5\nline 6\n\n(more: URL)"
    );
    assert_eq!(cut_lines("short", 80, "(more)"), "short");
    let fenced = fence(&text);
    assert!(cut_lines(&fenced, 80, "(more)").ends_with("\n```\n\n(more)"));
}

#[test]
fn a_title_is_one_line_of_its_length() {
    assert_eq!(plain_title("a\n b\u{7}", 10), "a b");
    assert_eq!(plain_title("abcdefghij klm", 5), "abcd…");
    assert_eq!(plain_title("ä".repeat(300).as_str(), 255).chars().count(), 255);
}

fn hostile() -> impl Strategy<Value = String> {
    let pieces = prop_oneof![
        Just("```".to_owned()),
        Just("\n".to_owned()),
        Just("\u{1b}[".to_owned()),
        Just("\u{1b}]".to_owned()),
        Just("\r".to_owned()),
        Just("@a".to_owned()),
        Just("\u{202e}".to_owned()),
        Just(format!("ghs_{}", "x".repeat(36))),
        "\\PC{0,12}",
        any::<String>(),
    ];
    proptest::collection::vec(pieces, 0..30).prop_map(|pieces| pieces.concat())
}

fn seen(text: &str) -> bool {
    !text.chars().any(|c| is_unseen(c) || c == '\r')
}

proptest! {
    #[test]
    fn nothing_unseen_comes_through(text in hostile()) {
        prop_assert!(seen(&clean(&text)));
        prop_assert!(seen(&fence(&text)));
        prop_assert!(seen(&inline(&text)) && !inline(&text).contains('\n'));
        prop_assert!(seen(&plain_title(&text, 50)) && !plain_title(&text, 50).contains('\n'));
        prop_assert!(!clean(&text).contains("ghs_xxxxxxxxxxxxxxxxxxxx"));
    }

    #[test]
    fn no_text_closes_its_fence(text in hostile()) {
        let fenced = fence(&text);
        let lines: Vec<&str> = fenced.lines().collect();
        let ticks = lines[lines.len() - 1];
        prop_assert!(ticks.len() >= 3 && ticks.bytes().all(|b| b == b'`'));
        prop_assert_eq!(lines[0], format!("{ticks}text"));
        prop_assert!(lines[1..lines.len() - 1].iter().all(|line| !line.contains(ticks)));
        prop_assert!(open_fence(&fenced).is_none());
    }

    #[test]
    fn every_limit_holds(text in hostile(), most in 0_usize..200) {
        prop_assert!(plain_title(&text, most).chars().count() <= most);
        prop_assert!(cut_lines(&text, most, "(more)").len() <= most);
        let cut = cut_lines(&fence(&text), most, "(more)");
        prop_assert!(cut.len() <= most && open_fence(&cut).is_none());
    }

    #[test]
    fn a_mention_never_survives(text in "[a@# .:/|`*GHghwW0-9-]{0,40}") {
        let markdown = inline(&text);
        for (at, _) in markdown.match_indices('@') {
            prop_assert!(markdown[at..].starts_with("@&#8203;"), "{}", markdown);
        }
        prop_assert!(!markdown.contains("://") && !markdown.contains('|'));
    }
}
