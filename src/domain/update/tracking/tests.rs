use std::time::Duration;

use insta::assert_snapshot;
use proptest::prelude::*;

use super::*;
use crate::domain::page::tests::build_failure;
use crate::domain::page::tests::hostile::{assert_plain, assert_safe, hostile};
use crate::domain::update::outcome::Broken;
use crate::domain::update::proposal::held_back_markdown;
use crate::domain::update::proposal::tests::{held_back, nixpkgs};

/// 2026-01-02, at midnight.
const AT: Timestamp = Timestamp(1_767_312_000_000);
const DAY_MS: i64 = 24 * HOUR_MS;

fn facts() -> UpdateFacts {
    UpdateFacts {
        lock: Some(LastMove::new(AT, Some(Duration::from_hours(14 * 24)))),
        open: vec![("the update of all inputs".to_owned(), AT)],
        due_at: Some(AT.plus(4 * HOUR_MS)),
        schedule: Some("0 4 * * 0 (UTC)".to_owned()),
        green_pulls: vec![(12, AT)],
    }
}

fn text(held_back: &[(String, String)], silences: &[Silence]) -> Option<String> {
    body(&Tracked { held_back, silences, failed: None })
}

#[test]
fn a_silence_is_told_when_it_has_lasted_long_enough() {
    let told = |after: i64| {
        let now = AT.plus(after);
        silences(&facts(), now).iter().map(|it| it.line(now)).collect::<Vec<_>>()
    };
    assert_eq!(told(5 * HOUR_MS - 1), Vec::<String>::new());
    assert_eq!(
        told(5 * HOUR_MS),
        [
            "by the schedule 0 4 * * 0 (UTC) an update was due at 2026-01-02 04:00 UTC; it has not begun"
        ]
    );
    assert_eq!(told(DAY_MS - 1).len(), 1);
    assert_eq!(told(DAY_MS).len(), 2);
    assert_eq!(told(7 * DAY_MS - 1).len(), 2);
    assert_eq!(told(14 * DAY_MS - 1).len(), 3);
    assert_snapshot!(told(15 * DAY_MS).join("\n"), @"
    flake.lock has not moved for 15 days: its newest change is of 2026-01-02
    by the schedule 0 4 * * 0 (UTC) an update was due at 2026-01-02 04:00 UTC; it has not begun
    the update of all inputs began at 2026-01-02 00:00 UTC and has not ended
    pull request 12 has been green since 2026-01-02 00:00 UTC and is not merged
    ");
}

#[test]
fn where_all_goes_as_it_should_there_is_no_silence_and_no_issue() {
    assert_eq!(silences(&UpdateFacts::default(), AT), []);
    let unscheduled = UpdateFacts { due_at: Some(AT), ..UpdateFacts::default() };
    assert_eq!(silences(&unscheduled, AT.plus(DAY_MS)), [], "nothing is due any more");
    assert_eq!(text(&[], &[]), None);
    assert_eq!(text(&[("all".to_owned(), String::new())], &[]), None);
}

#[test]
fn the_issue_tells_what_is_held_back_and_what_did_not_happen() {
    let hosts = [("raider", Broken::Ended(build_failure()))];
    let held = held_back_markdown(&[held_back(nixpkgs(), &[], &hosts)]);
    let silences = silences(&facts(), AT.plus(20 * DAY_MS));
    let held = [("all".to_owned(), held)];
    let tracked = Tracked {
        held_back: &held,
        silences: &silences,
        failed: Some("flake.lock: the input `x` is not locked"),
    };
    assert_snapshot!(body(&tracked).unwrap(), @r#"
    ### The last update failed

    ```text
    flake.lock: the input `x` is not locked
    ```

    ### What should have happened

    - flake.lock has not moved since 2026-01-02
    - by the schedule 0 4 \* \* 0 (UTC) an update was due at 2026-01-02 04:00 UTC; it has not begun
    - the update of all inputs began at 2026-01-02 00:00 UTC and has not ended
    - pull request #12 has been green since 2026-01-02 00:00 UTC and is not merged

    ### Held back

    **nixpkgs** stays at `a72d670ae793` of 2026-01-02, and is not moved to `b3d51a0365f6` of 2026-01-09 ([compare](https://github.com/NixOS/nixpkgs/compare/a72d670ae79333b6...b3d51a0365f6695e)). Moved, it breaks 1 host:

    - raider: gtk-engine-murrine-1.2 failed to build: builder failed with exit code 3

    ````text
    cc: no such file
    ``` @everyone
    ````

    ---

    fleetcheck keeps this issue: it is edited when something changes, and closed when all of it is over.
    "#);
}

#[test]
fn groups_are_told_apart_where_there_are_several() {
    let held = ["os", "disks", "rest"].map(|it| (it.to_owned(), format!("**{it}** stays.")));
    assert_snapshot!(text(&held, &[]).unwrap(), @"
    ### Held back of os

    **os** stays.

    ### Held back of disks

    **disks** stays.

    ### Held back of rest

    **rest** stays.

    ---

    fleetcheck keeps this issue: it is edited when something changes, and closed when all of it is over.
    ");
}

#[test]
fn the_issue_says_the_same_on_every_day() {
    let on = |day: i64| text(&[], &silences(&facts(), AT.plus(day * DAY_MS)));
    assert_eq!(on(20), on(21));
    assert_eq!(on(20), on(400));
}

#[test]
fn a_very_long_issue_keeps_within_githubs_limit() {
    let held = [("all".to_owned(), "**x** stays.\n\n````text\n```\n````\n\n".repeat(3_000))];
    let failed = "`x ".repeat(30_000);
    let tracked = Tracked { held_back: &held, silences: &[], failed: Some(&failed) };
    let body = body(&tracked).unwrap();
    assert!(body.len() <= MOST_MARKDOWN, "{}", body.len());
    assert!(body.ends_with("closed when all of it is over."));
    assert_safe(&body, &[]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_issue_does_what_a_hostile_text_wants(said in hostile(), at in any::<i64>()) {
        let silences = [
            Silence::NotEnded { what: said.clone(), since: Timestamp(at) },
            Silence::NotFired { due: Timestamp(at), schedule: said.clone() },
            Silence::StaleLock(LastMove { at: Timestamp(at), stale_at: None }),
        ];
        for it in &silences {
            assert_plain(&it.line(AT));
        }
        let held = [("all".to_owned(), "x".to_owned()), (said.clone(), "x".to_owned())];
        let tracked = Tracked { held_back: &held, silences: &silences, failed: Some(&said) };
        let body = body(&tracked).unwrap();
        // A heading with a group's name is one of ours.
        let body = body.replace("### Held back of", "Held back of");
        assert_safe(&body, &[]);
    }
}
