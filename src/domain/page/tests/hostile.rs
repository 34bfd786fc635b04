//! Whatever a commit's author writes, no page calls anybody, links anywhere or breaks its form.
use proptest::prelude::*;

use super::*;
use crate::domain::closure::{Change, PackageChange};
use crate::domain::insight::tests::changed;
use crate::domain::insight::{Changes, Insight, Names, Part, PartChange, Seen, Units};
use crate::domain::text::is_unseen;

const TOKEN: &str = "ghs_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";

/// Of our texts; nothing else may be one.
const HEADINGS: [&str; 6] = [
    "### What changes",
    "### Held back",
    "### Broken before",
    "### Not to be had",
    "### The last update failed",
    "### What should have happened",
];

pub(crate) fn hostile() -> impl Strategy<Value = String> {
    let pieces = prop_oneof![
        Just("@acme/all "),
        Just("#12 GH-7 acme/fleet#3"),
        Just("https://evil.example/x www.evil.example"),
        Just("![i](https://evil.example/i.png)"),
        Just("[a](javascript:x)"),
        Just("<img src=x onerror=y><!-- <details>"),
        Just("&#64;you &lt;"),
        Just("| a | b |"),
        Just("\n| --- |\n"),
        Just("\n```\n"),
        Just("~~~~"),
        Just("`"),
        Just("\n# head\n"),
        Just("\n- item\n> quote\n"),
        Just("\u{202e}\u{200b}\u{feff}"),
        Just("\u{1b}[31m\u{1b}]0;x\u{7}"),
        Just("\r\u{8}\0"),
        Just(TOKEN),
        Just("$x$ \\ ** __ ~~"),
        Just("words"),
    ];
    proptest::collection::vec(pieces, 0..12).prop_map(|pieces| pieces.concat())
}

/// Every ending and state that a host can have, with this text wherever there is text.
pub(crate) fn hosts(text: &str) -> Vec<BuildView> {
    let place = SourcePlace { path: text.to_owned(), line: 3 };
    let lines = || text.lines().map(str::to_owned).collect::<Vec<_>>();
    let mut derivation = derivation("x");
    derivation.system = text.to_owned();
    derivation.features = vec![text.to_owned()];
    let evaluation = Ending::EvaluationFailed(EvaluationFailure {
        headline: text.to_owned(),
        trace: text.to_owned(),
        place: Some(place.clone()),
        limit: Some("nix.memory".into()),
    });
    let failed = Ending::BuildFailed(BuildFailure {
        derivation: derivation.path.clone(),
        headline: text.to_owned(),
        log_tail: lines(),
        before: None,
    });
    let late = Ending::TimedOut(TimedOut {
        setting: "nix.build_timeout".into(),
        seconds: 1,
        derivation: Some(derivation.path.clone()),
        log_tail: lines(),
    });
    let endings = [
        evaluation,
        failed,
        late,
        Ending::Transient { what: text.to_owned() },
        Ending::Internal { number: text.to_owned() },
        Ending::Cancelled { by: text.to_owned() },
        Ending::Skipped { by: text.to_owned() },
        Ending::Reused,
        Ending::Built { seconds: 1, without: vec![] },
    ];
    let mut hosts: Vec<BuildView> = Vec::new();
    // Twice each, so that each is a cause of its own and one that is shared.
    for (n, ending) in endings.iter().chain(&endings).enumerate() {
        hosts.push(ended(&format!("host-{n}"), ending.clone()));
        let mut odd = ended("odd", ending.clone());
        odd.build.attr = AttrPath::host(&format!("{n}{text}"));
        hosts.push(odd);
    }
    let waits = [
        Waiting::Slot,
        Waiting::NoBuilder { system: text.to_owned() },
        Waiting::NoFeatures { system: text.to_owned(), features: vec![text.to_owned()] },
        Waiting::Retry { after: text.to_owned(), not_before: NOW },
    ];
    for (n, for_what) in waits.into_iter().enumerate() {
        let mut it = build(
            &format!("waiting-{n}"),
            BuildState::Waiting { derivation: derivation.clone(), since: NOW, for_what },
        );
        it.outlook.turn = Some(Turn { place: 1, of: 2 });
        it.outlook.build_ms = Some(1);
        hosts.push(it);
    }
    for it in &mut hosts {
        it.warnings = vec![
            Warning { message: text.to_owned(), place: Some(place.clone()) },
            Warning { message: text.to_owned(), place: None },
        ];
        it.insight = Some(insight(text));
        it.note = Some(text.to_owned());
    }
    hosts
}

/// What changes on a host, with this text for every name and version.
fn insight(text: &str) -> Insight {
    let names = || Names { names: vec![text.to_owned(), "x".to_owned()], more: 3 };
    let package = |change| PackageChange {
        name: text.to_owned(),
        change,
        before: vec![text.to_owned()],
        after: vec![text.to_owned()],
    };
    changed(Changes {
        before: 1,
        after: 2,
        packages: [Change::Upgraded, Change::Downgraded, Change::Added, Change::Removed]
            .map(package)
            .to_vec(),
        more_packages: 1,
        rebuilt: names(),
        files: 1,
        reboot: vec![PartChange {
            part: Part::Kernel,
            before: Some(text.to_owned()),
            after: Some(text.to_owned()),
        }],
        units: Some(Units {
            restarted: names(),
            reloaded: names(),
            left_alone: names(),
            added: names(),
            removed: names(),
        }),
        seen: Seen::Files,
    })
}

pub(crate) fn views(text: &str) -> Vec<RunView> {
    let problem = Problem {
        headline: text.to_owned(),
        detail: text.to_owned(),
        place: Some(SourcePlace { path: text.to_owned(), line: 1 }),
    };
    let mut put_off = view(RunState::Requested, vec![]);
    put_off.run.waits = Some(text.to_owned());
    put_off.run.note = Some(text.to_owned());
    let by = || text.to_owned();
    let mut troubled = building(hosts(text));
    troubled.run.problem = Some(problem.clone());
    let base = [("host-1", Answer::Red), ("host-2", Answer::Good), (text, Answer::Red)];
    vec![
        view(RunState::AwaitingApproval, vec![]),
        put_off,
        evaluating(hosts(text)),
        building(hosts(text)),
        troubled,
        over(Verdict::Broken { problem }, vec![]),
        over(Verdict::Cancelled { by: by() }, hosts(text)),
        over(Verdict::Skipped { by: by() }, hosts(text)),
        with_base(over(Verdict::Failed, hosts(text)), Tested::Whole, &base),
        ignoring(with_base(over(Verdict::Failed, hosts(text)), Tested::Partly, &base)),
    ]
}

/// Plain text of GitHub's: one line without anything unseen or secret.
pub(crate) fn assert_plain(text: &str) {
    assert!(!text.chars().any(|c| is_unseen(c) || c.is_control()), "{text:?}");
    assert!(!text.contains("ghs_xxxxxxxxxxxxxxxxxxxx"), "{text:?}");
}

/// What of a Markdown text is not within a fence, which must be closed.
fn outside_fences(markdown: &str) -> Vec<&str> {
    let mut open: Option<usize> = None;
    let mut outside = Vec::new();
    for line in markdown.lines() {
        let ticks = line.bytes().take_while(|b| *b == b'`').count();
        match open {
            None if ticks >= 3 => open = Some(ticks),
            None => outside.push(line),
            Some(fence) if ticks >= fence && line.len() == ticks => open = None,
            Some(_) => {}
        }
    }
    assert_eq!(open, None, "a fence stays open:\n{markdown}");
    outside
}

pub(crate) fn assert_safe(markdown: &str, columns: &[usize]) {
    // Our own sign for what is skipped is of two characters.
    let markdown = &markdown.replace("⏭\u{fe0f} skipped", "skipped");
    assert!(!markdown.chars().any(|c| is_unseen(c) || c == '\r'), "{markdown:?}");
    assert!(!markdown.contains("ghs_xxxxxxxxxxxxxxxxxxxx"), "{markdown}");
    let headings = |line: &&str| !HEADINGS.contains(line);
    for line in outside_fences(markdown).into_iter().filter(headings) {
        let before = |at: usize| line[..at].chars().next_back();
        let escaped =
            |at: usize| line[..at].bytes().rev().take_while(|b| *b == b'\\').count() % 2 == 1;
        assert!(!line.contains('<'), "{line}");
        for (at, _) in line.match_indices('@') {
            assert!(line[at..].starts_with("@&#8203;"), "{line}");
        }
        for (at, _) in line.match_indices('#') {
            assert!(before(at) == Some('&') || escaped(at), "{line}");
        }
        for (at, _) in line.match_indices("://") {
            assert!(line[..at].ends_with("](https") && line[at..].starts_with("://ci/"), "{line}");
        }
        for (at, _) in line.match_indices("](") {
            assert!(escaped(at) || line[at..].starts_with("](https://ci/"), "{line}");
        }
        for sign in ['*', '_', '~', '['] {
            let bare = line.match_indices(sign).filter(|(at, _)| !escaped(*at)).count();
            let ours = match sign {
                // Bold headlines, and links of ours.
                '*' => bare == 0 || bare == 4 && line.starts_with("**"),
                '[' => line.matches("](https://ci/").count() == bare,
                _ => bare == 0 || line.contains("](https://ci/") || line.contains('`'),
            };
            assert!(ours, "{sign} in {line}");
        }
        let ticks = line.match_indices('`').filter(|(at, _)| !escaped(*at)).count();
        assert_eq!(ticks % 2, 0, "{line}");
        if line.contains('|') {
            assert!(columns.contains(&(line.matches('|').count() - 1)), "{line}");
        }
    }
}

fn assert_page(page: &CheckPage, columns: &[usize]) {
    assert_plain(&page.title);
    assert!(page.title.chars().count() <= 255);
    assert_safe(&page.summary, columns);
    assert_safe(&page.text, columns);
    for Annotation { level: _, path, line, title, message } in &page.annotations {
        assert!(*line > 0);
        for text in [path, title, message] {
            assert_plain(text);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_page_of_any_kind_does_what_a_hostile_text_wants(text in hostile()) {
        for view in views(&text) {
            assert_page(&gate_page(&view, "fleet", &links()), &[4]);
            assert_plain(&status_page(&view, &links()).description);
            for cause in shared_causes(&view) {
                assert_plain(&cause);
            }
        }
        let run = building(vec![]);
        for page in hosts(&text).iter().filter_map(|it| host_page(&run, it, "fleet", &links())) {
            assert_page(&page, &[2, 3]);
        }
    }
}
