//! What the pull request of an update says.
use insta::assert_snapshot;
use proptest::prelude::*;

use super::*;
use crate::domain::build::{BuildFailure, Ending};
use crate::domain::insight::tests::{changed, kernel, openssl};
use crate::domain::lock::revision::Revision;
use crate::domain::page::BuildView;
use crate::domain::page::tests::hostile::{assert_plain, assert_safe, hostile, views};
use crate::domain::page::tests::{build_failure, built, ended, evaluation_failure, links, over};
use crate::domain::update::outcome::{FirstBad, Held};
use crate::domain::verdict::Verdict;

pub(crate) fn input(path: &str) -> InputPath {
    let names: Vec<&str> = path.split('/').collect();
    serde_json::from_value(serde_json::json!(names)).unwrap()
}

fn revision(repository: &str, commit: &str, modified: i64) -> Revision {
    Revision {
        commit: Some(commit.to_owned()),
        hash: None,
        modified: Some(modified),
        page: Some(format!("https://github.com/{repository}")),
        count: None,
    }
}

pub(crate) fn nixpkgs() -> Move {
    let from = revision("NixOS/nixpkgs", "a72d670ae79333b6", 1_767_312_000);
    let to = revision("NixOS/nixpkgs", "b3d51a0365f6695e", 1_767_916_800);
    Move { commits: Some(1234), ..Move::new(input("nixpkgs"), from, to) }
}

fn home_manager() -> Move {
    let from = revision("nix-community/home-manager", "6e5a10c4d1c1", 1_767_312_000);
    let to = revision("nix-community/home-manager", "0f9d2b7a44e0", 1_767_830_400);
    Move::new(input("home-manager"), from, to)
}

/// An input that is at no commit and of no day.
fn elsewhere(name: &str) -> Move {
    let at = |hash: &str| Revision { hash: Some(hash.to_owned()), ..Revision::default() };
    Move::new(input(name), at("sha256-lrkB+qsjDv0vVxq"), at("sha256-Zx81+qsjDv0vVxq"))
}

pub(crate) fn held_back(moved: Move, with: &[&str], hosts: &[(&str, Broken)]) -> HeldBack {
    HeldBack {
        moved,
        held: Held::Guilty,
        with: with.iter().map(|it| input(it)).collect(),
        hosts: hosts.iter().map(|(name, it)| (AttrPath::host(name), it.clone())).collect(),
        first_bad: None,
    }
}

fn base() -> CommitSha {
    "ba5e456789abcdef0123456789abcdef01234567".parse().unwrap()
}

fn proposal<'a>(moved: &'a [Move], base: &'a CommitSha) -> Proposal<'a> {
    Proposal {
        subject: "flake.lock: update",
        moved,
        held_back: &[],
        not_found: &[],
        left: &[],
        broken_before: &[],
        view: None,
        notes: &[],
        base,
    }
}

fn with(host: &str, insight: crate::domain::insight::Insight) -> BuildView {
    BuildView { insight: Some(insight), ..built(host) }
}

fn body(proposal: &Proposal<'_>) -> String {
    proposal.body(&links()).replace("01890a5d-ac96-774b-bcce-b302099a80", "ID-")
}

#[test]
fn a_title_names_the_inputs_as_far_as_they_fit() {
    let base = base();
    let title = |names: &[&str]| {
        let moved: Vec<Move> = names.iter().map(|it| elsewhere(it)).collect();
        proposal(&moved, &base).title()
    };
    let long = ["a".repeat(80), "b".repeat(80), "c".repeat(120)];
    let titles = [
        title(&[]),
        title(&["nixpkgs"]),
        title(&["disko/nixpkgs", "nixpkgs"]),
        title(&["disko", "nixpkgs", "x"]),
        title(&["disko", "nixpkgs", "x", "y", "z"]),
        title(&[&long[0], &long[1], "x"]),
        title(&[&long[2], "x"]),
        title(&["a\nb\u{202e}"]),
    ];
    assert_snapshot!(titles.join("\n"), @"
    flake.lock: update
    flake.lock: update nixpkgs
    flake.lock: update disko/nixpkgs and nixpkgs
    flake.lock: update disko, nixpkgs and 1 more
    flake.lock: update disko, nixpkgs and 3 more
    flake.lock: update aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa and 2 more
    flake.lock: update 2 inputs
    flake.lock: update a b
    ");
    let endless = Proposal { subject: &"x".repeat(200), ..proposal(&[], &base) };
    assert_eq!(endless.title().chars().count(), 120);
}

#[test]
fn a_commit_lists_its_inputs() {
    let (base, moved) = (base(), [elsewhere("disk@all"), nixpkgs()]);
    assert_snapshot!(proposal(&moved, &base).commit_message(), @"
    flake.lock: update

    disk·all: lrkB+qsjDv0v → Zx81+qsjDv0v
    nixpkgs: a72d670ae793 (2026-01-02) → b3d51a0365f6 (2026-01-09)
    ");
    assert_eq!(proposal(&[], &base).commit_message(), "flake.lock: update");
}

#[test]
fn an_update_that_is_green_says_what_it_changes() {
    let (base, moved) = (base(), [nixpkgs()]);
    let hosts = vec![with("orion", changed(openssl())), with("raider", changed(kernel()))];
    let view = over(Verdict::Passed, hosts);
    let proposal = Proposal { view: Some(&view), ..proposal(&moved, &base) };
    assert_snapshot!(body(&proposal), @"
    | input | from | to | date | commits | |
    | --- | --- | --- | --- | --- | --- |
    | nixpkgs | `a72d670ae793` | `b3d51a0365f6` | 2026-01-02 → 2026-01-09 | 1234 | [compare](https://github.com/NixOS/nixpkgs/compare/a72d670ae79333b6...b3d51a0365f6695e) |

    ### What changes

    2 hosts build

    - a reboot is needed on 1 of 2 hosts
    - units are restarted on 1 of 2 hosts
    - openssl 3.5.1 to 3.5.2 on all 2 hosts
    - linux 6.12.9 to 6.12.58 on 1 of 2 hosts
    - vim 9.1 down to 9.0 on 1 of 2 hosts
    - jq 1.8 added on 1 of 2 hosts
    - nano 8.0 removed on 1 of 2 hosts

    | host | result | what changes |
    | --- | --- | --- |
    | [orion](https://ci/builds/ID-57) | ✅ built | openssl 3.5.1 to 3.5.2 |
    | [raider](https://ci/builds/ID-57) | ✅ built | linux 6.12.9 to 6.12.58 and 4 more packages; needs a reboot; restarts 2 units; 115 MiB more |

    ---

    Made by fleetcheck on ba5e456. Its hosts were [built](https://ci/runs/ID-58) before this pull request was opened. Push a commit to this branch, and fleetcheck stands back: it then leaves the branch to you.
    ");
}

#[test]
fn what_is_held_back_says_what_it_breaks() {
    let (base, moved) = (base(), [nixpkgs()]);
    let hosts = [
        ("raider", Broken::Ended(build_failure())),
        ("orion", Broken::Ended(build_failure())),
        ("viper", Broken::Said("the flake has it no more".into())),
    ];
    let weather = HeldBack {
        held: Held::Unknown,
        ..held_back(
            elsewhere("weather"),
            &[],
            &[(
                "raider",
                Broken::Ended(Ending::Transient { what: "basestar is out of reach".into() }),
            )],
        )
    };
    let held = [
        held_back(home_manager(), &[], &[("raider", Broken::Ended(evaluation_failure()))]),
        held_back(elsewhere("disko"), &["disko/nixpkgs", "hardware"], &hosts),
        HeldBack { hosts: vec![], ..weather.clone() },
        weather,
    ];
    let before = [(AttrPath::host("old"), Broken::Ended(evaluation_failure()))];
    let not_found = [(input("private"), "https://git.example.org/x answered 404".to_owned())];
    let proposal = Proposal {
        held_back: &held,
        not_found: &not_found,
        left: &[input("hardware"), input("pinned")],
        broken_before: &before,
        notes: &["GitHub refuses auto-merge: it is not allowed here".to_owned()],
        ..proposal(&moved, &base)
    };
    assert_snapshot!(body(&proposal), @"
    **Note**: GitHub refuses auto-merge: it is not allowed here

    | input | from | to | date | commits | |
    | --- | --- | --- | --- | --- | --- |
    | nixpkgs | `a72d670ae793` | `b3d51a0365f6` | 2026-01-02 → 2026-01-09 | 1234 | [compare](https://github.com/NixOS/nixpkgs/compare/a72d670ae79333b6...b3d51a0365f6695e) |

    ### Held back

    **home-manager** stays at `6e5a10c4d1c1` of 2026-01-02, and is not moved to `0f9d2b7a44e0` of 2026-01-08 ([compare](https://github.com/nix-community/home-manager/compare/6e5a10c4d1c1...0f9d2b7a44e0)). Moved, it breaks 1 host:

    - raider: gtk-engine-murrine was removed, in hosts/raider.nix, line 12

    **disko** stays at `lrkB+qsjDv0v`, and is not moved to `Zx81+qsjDv0v`. Moved with disko/nixpkgs, hardware, it breaks 3 hosts:

    - raider, orion: gtk-engine-murrine-1.2 failed to build: builder failed with exit code 3

    ````text
    cc: no such file
    ``` @everyone
    ````

    - viper: the flake has it no more

    **weather** stays at `lrkB+qsjDv0v`, and is not moved to `Zx81+qsjDv0v`. No required host could be tried.

    **weather** stays at `lrkB+qsjDv0v`, and is not moved to `Zx81+qsjDv0v`. What becomes of 1 host is not known:

    - raider: no answer, and nobody's fault: basestar is out of reach

    ### Broken before

    Whatever moves, so they were not counted:

    - old: gtk-engine-murrine was removed, in hosts/raider.nix, line 12

    ### Not to be had

    The newest revision of these is out of reach, so they stay:

    - private: https:&#8203;//git.example.org/x answered 404

    Left alone, as the policy says: hardware, pinned.

    ---

    Made by fleetcheck on ba5e456. Push a commit to this branch, and fleetcheck stands back: it then leaves the branch to you.
    ");
}

#[test]
fn where_all_moves_or_nothing_the_hosts_are_told_once() {
    let hosts = [("raider", Broken::Said("x".into())), ("orion", Broken::Said("x".into()))];
    let many: Vec<String> = (0..13).map(|it| format!("i{it}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let held = [
        held_back(elsewhere("a"), &["b"], &hosts),
        held_back(elsewhere("b"), &many, &hosts),
        held_back(elsewhere("c"), &[], &hosts[..1]),
    ];
    assert_snapshot!(held_back_markdown(&held), @"
    **a** stays at `lrkB+qsjDv0v`, and is not moved to `Zx81+qsjDv0v`. Moved with b, it breaks 2 hosts:

    - raider, orion: x

    **b** stays at `lrkB+qsjDv0v`, and is not moved to `Zx81+qsjDv0v`. Moved with i0, i1, i2, i3, i4, i5, i6, i7, i8, i9 and 3 more, it breaks the same 2 hosts.

    **c** stays at `lrkB+qsjDv0v`, and is not moved to `Zx81+qsjDv0v`. Moved, it breaks 1 host:

    - raider: x
    ");
}

#[test]
fn an_update_of_a_fleet_that_is_not_green_says_who_is_not() {
    let (base, moved) = (base(), [elsewhere("disko")]);
    let view = over(Verdict::Failed, vec![built("orion"), ended("raider", build_failure())]);
    let proposal = Proposal { view: Some(&view), ..proposal(&moved, &base) };
    assert_snapshot!(body(&proposal), @"
    | input | from | to | date | commits | |
    | --- | --- | --- | --- | --- | --- |
    | disko | `lrkB+qsjDv0v` | `Zx81+qsjDv0v` |  |  |  |

    ### What changes

    1 of 2 hosts build; raider: needs gtk-engine-murrine-1.2: builder failed with exit code 3

    | host | result | what changes |
    | --- | --- | --- |
    | [raider](https://ci/builds/ID-57) | ❌ does not build | needs gtk-engine-murrine-1.2: builder failed with exit code 3 |
    | [orion](https://ci/builds/ID-57) | ✅ built |  |

    ---

    Made by fleetcheck on ba5e456. Its hosts were [built](https://ci/runs/ID-58) before this pull request was opened. Push a commit to this branch, and fleetcheck stands back: it then leaves the branch to you.
    ");
}

#[test]
fn a_very_large_update_keeps_within_githubs_limits() {
    let base = base();
    let moved: Vec<Move> = (0..60)
        .map(|it| Move { input: input(&format!("input-{it}-{}", "x".repeat(60))), ..nixpkgs() })
        .collect();
    let hosts = (0..300).map(|it| with(&format!("host-{it}"), changed(kernel()))).collect();
    let view = over(Verdict::Passed, hosts);
    let failure = |it: usize| {
        Broken::Ended(Ending::BuildFailed(BuildFailure {
            derivation: format!("/nix/store/783yqpnsx5xvpayk2bnrb6cmk0a7blys-p{it}.drv")
                .parse()
                .unwrap(),
            headline: "x".repeat(1000),
            log_tail: vec!["``````` @acme ".repeat(60); 200],
            before: None,
        }))
    };
    let broken: Vec<(String, Broken)> =
        (0..300).map(|it| (format!("h{it}"), failure(it / 2))).collect();
    let broken: Vec<(&str, Broken)> =
        broken.iter().map(|(name, it)| (name.as_str(), it.clone())).collect();
    // No two have the same hosts, so that each is told with its own.
    let held: Vec<HeldBack> =
        (0..60).map(|it| held_back(home_manager(), &[], &broken[it..])).collect();
    for held in [&held[..0], &held[..1], &held[..]] {
        let proposal = Proposal { view: Some(&view), held_back: held, ..proposal(&moved, &base) };
        let body = proposal.body(&links());
        assert!(body.len() <= 60_000, "{}", body.len());
        assert!(body.ends_with("it then leaves the branch to you."), "{body}");
        assert!(body.contains("and [200 more](https://ci/runs/"), "{body}");
        assert_eq!(
            body.contains("[The rest is on the run's page]"),
            held.len() > 1,
            "{}",
            body.len()
        );
        assert_safe(&body.replace("https://github.com", "https://ci"), &[3, 6]);
        assert!(proposal.title().chars().count() <= 120);
        assert_eq!(proposal.commit_message().lines().count(), 62);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_proposal_does_what_a_hostile_text_wants(text in hostile()) {
        let base = base();
        let at = |commit: &str| Revision {
            commit: Some(commit.to_owned()),
            page: Some("https://ci/acme/nixpkgs".to_owned()),
            ..Revision::default()
        };
        let named: InputPath = serde_json::from_value(serde_json::json!([text, text])).unwrap();
        let of_digits = Move::new(named.clone(), at("a72d670ae79333b6"), at("b3d51a0365f6695e"));
        let moved = [of_digits, Move::new(named.clone(), at(&text), at(&text))];
        let all = views(&text);
        let broken: Vec<(AttrPath, Broken)> = all
            .iter()
            .flat_map(|view| &view.builds)
            .filter_map(|it| Some((it.build.attr.clone(), Broken::Ended(it.build.state.ending()?.clone()))))
            .take(30)
            .chain([(AttrPath::host(&text), Broken::Said(text.clone()))])
            .collect();
        let held = |held| HeldBack {
            moved: moved[0].clone(),
            held,
            with: vec![named.clone()],
            hosts: broken.clone(),
            first_bad: Some(FirstBad::Unreadable(text.clone())),
        };
        for view in all.iter().map(Some).chain([None]) {
            let proposal = Proposal {
                subject: &text,
                moved: &moved,
                held_back: &[held(Held::Guilty), held(Held::Unknown)],
                not_found: &[(named.clone(), text.clone())],
                left: std::slice::from_ref(&named),
                broken_before: &broken,
                view,
                notes: std::slice::from_ref(&text),
                base: &base,
            };
            assert_plain(&proposal.title());
            proposal.commit_message().lines().for_each(assert_plain);
            assert_safe(&proposal.body(&links()), &[3, 6]);
        }
    }
}
