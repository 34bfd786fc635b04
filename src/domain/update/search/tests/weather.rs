//! Searches in bad weather: what cannot be known blames nobody, and passes for nobody.
use insta::assert_snapshot;

use super::*;

#[test]
fn weather_blames_nobody() {
    // Of everything.
    let told = search(3, "XY", |_, host| match host {
        'X' => Outcome::Unknown,
        _ => Outcome::Passed,
    });
    assert_snapshot!(told.story(), @"
    abc: X? Y+
    moves abc
    unknown: X
    ");
    // Of the old lock.
    let told = search(3, "XY", |moved, host| match host {
        'X' if moved.is_empty() => Outcome::Unknown,
        _ => failed_if(host == 'X'),
    });
    assert_snapshot!(told.story(), @"
    abc: X! Y+
    -: X?
    moves abc
    unknown: X
    ");
    // Of everything but everything.
    let told = search(2, "XY", |moved, host| match (host, moved.len()) {
        ('X', 1) => Outcome::Unknown,
        ('X', 2) => Outcome::Failed,
        _ => Outcome::Passed,
    });
    assert_snapshot!(told.story(), @"
    ab: X! Y+
    -: X+
    a: X?
    b: X?
    moves -
    a unknown on X
    b unknown on X
    ");
}

#[test]
fn weather_that_has_passed_leaves_no_trace() {
    let told = search(2, "XY", |moved, host| match (host, names(moved).as_str()) {
        ('X', "ab") => Outcome::Unknown,
        _ => failed_if(host == 'Y' && has(moved, "b")),
    });
    assert_snapshot!(told.story(), @"
    ab: X? Y!
    -: Y+
    a: Y+
    b: Y!
    a: X+
    moves a
    b breaks Y
    ");
}

#[test]
fn weather_over_one_trial_does_not_hide_what_was_seen_in_another() {
    // `b` alone is never known, and with the others it fails.
    let told = search(3, "X", |moved, _| match names(moved).as_str() {
        "b" => Outcome::Unknown,
        _ => failed_if(has(moved, "b")),
    });
    assert_snapshot!(told.story(), @"
    abc: X!
    -: X+
    a: X+
    b: X?
    c: X+
    ab: X!
    ac: X+
    moves ac
    b with a breaks X
    ");
}

#[test]
fn a_host_of_which_nobody_knows_how_it_was_is_not_tried_again() {
    let told = search(2, "XY", |moved, host| match host {
        'X' if moved.is_empty() => Outcome::Unknown,
        'X' => Outcome::Failed,
        _ => failed_if(has(moved, "b")),
    });
    assert_snapshot!(told.story(), @"
    ab: X! Y!
    -: X? Y+
    a: Y+
    b: Y!
    moves a
    b breaks Y
    unknown: X
    ");
}
