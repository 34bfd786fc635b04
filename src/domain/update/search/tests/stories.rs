//! Searches told trial by trial: who is found guilty, and what goes ahead.
use insta::assert_snapshot;

use super::*;

#[test]
fn when_all_is_green_everything_moves_after_one_trial() {
    let told = search(8, "XYZ", |_, _| Outcome::Passed);
    assert_snapshot!(told.story(), @"
    abcdefgh: X+ Y+ Z+
    moves abcdefgh
    ");
}

#[test]
fn nothing_new_is_nothing_to_try() {
    let told = search(0, "X", |_, _| Outcome::Failed);
    assert_snapshot!(told.story(), @"moves -");
}

#[test]
fn one_input_that_breaks_one_host_stays_and_the_rest_goes() {
    let told = search(3, "XYZ", |moved, host| failed_if(host == 'Y' && has(moved, "b")));
    assert_snapshot!(told.story(), @"
    abc: X+ Y! Z+
    -: Y+
    a: Y+
    b: Y!
    c: Y+
    ac: X+ Y+ Z+
    moves ac
    b breaks Y
    ");
}

#[test]
fn one_of_eight_inputs_is_found_with_a_look_at_few_of_twenty_hosts() {
    let told =
        search(8, "ABCDEFGHIJKLMNOPQRST", |moved, host| failed_if(host == 'F' && has(moved, "g")));
    let tried = &told.tried;
    assert_eq!(names(&told.found.moved), "abcdefh");
    // All subsets would be 256, and 5120 hosts.
    assert_eq!(tried.len(), 11);
    assert_eq!(tried.iter().map(|(_, it)| it.len()).sum::<usize>(), 20 + 1 + 8 + 20);
}

#[test]
fn the_only_input_is_guilty_without_another_trial() {
    let told = search(1, "XY", |_, host| failed_if(host == 'Y'));
    let told_after = search(1, "XY", |moved, host| failed_if(host == 'Y' && has(moved, "a")));
    assert_snapshot!(told.story(), @"
    a: X+ Y!
    -: Y!
    moves a
    broken before: Y
    ");
    assert_snapshot!(told_after.story(), @"
    a: X+ Y!
    -: Y+
    moves -
    a breaks Y
    ");
}

#[test]
fn of_two_that_break_a_host_only_together_one_stays() {
    let told = search(4, "XY", |moved, host| failed_if(host == 'X' && has(moved, "bd")));
    assert_snapshot!(told.story(), @"
    abcd: X! Y+
    -: X+
    a: X+
    b: X+
    c: X+
    d: X+
    ab: X+
    abc: X+
    abc: Y+
    ad: X+
    abd: X!
    bd: X!
    moves abc
    d with b breaks X
    ");
}

#[test]
fn the_set_that_breaks_together_is_named_without_the_others() {
    let told = search(9, "X", |moved, _| failed_if(has(moved, "beh")));
    assert_snapshot!(told.story(), @"
    abcdefghi: X!
    -: X+
    abcd: X+
    abcdef: X+
    abcdefg: X+
    abcdefgh: X!
    abcdefgi: X+
    h: X+
    abcdh: X+
    abcdefh: X!
    abcdeh: X!
    eh: X+
    abeh: X!
    aeh: X+
    beh: X!
    moves abcdefgi
    h with be breaks X
    ");
}

#[test]
fn what_breaks_with_each_of_two_others_stays_for_both() {
    let told = search(3, "X", |moved, _| failed_if(has(moved, "ab") || has(moved, "bc")));
    assert_snapshot!(told.story(), @"
    abc: X!
    -: X+
    a: X+
    b: X+
    c: X+
    ab: X!
    ac: X+
    moves ac
    b with a breaks X
    ");
    let told = search(3, "X", |moved, _| failed_if(has(moved, "ab") || has(moved, "ac")));
    assert_snapshot!(told.story(), @"
    abc: X!
    -: X+
    a: X+
    b: X+
    c: X+
    ab: X!
    ac: X!
    bc: X+
    moves bc
    a with b breaks X
    ");
}

#[test]
fn what_an_input_breaks_alone_is_told_before_what_it_breaks_with_others() {
    let told = search(2, "XY", |moved, host| match host {
        'X' => failed_if(has(moved, "ab")),
        _ => failed_if(has(moved, "b")),
    });
    assert_snapshot!(told.story(), @"
    ab: X! Y!
    -: X+ Y+
    a: X+ Y+
    b: X+ Y!
    moves a
    b breaks Y
    ");
}

#[test]
fn a_host_that_was_broken_before_holds_nothing_back() {
    let told = search(4, "XYZ", |_, host| failed_if(host == 'X'));
    assert_snapshot!(told.story(), @"
    abcd: X! Y+ Z+
    -: X!
    moves abcd
    broken before: X
    ");
    let told =
        search(2, "XYZ", |moved, host| failed_if(host == 'X' || host == 'Y' && has(moved, "a")));
    assert_snapshot!(told.story(), @"
    ab: X! Y! Z+
    -: X! Y+
    a: Y!
    b: Y+
    b: Z+
    moves b
    a breaks Y
    broken before: X
    ");
}

#[test]
fn a_host_that_only_the_whole_update_mends_holds_nothing_back() {
    let told = search(3, "XY", |moved, host| match host {
        'X' => failed_if(!has(moved, "ab")),
        _ => failed_if(has(moved, "b")),
    });
    assert_snapshot!(told.story(), @"
    abc: X+ Y!
    -: Y+
    a: Y+
    b: Y!
    c: Y+
    ac: X! Y+
    -: X!
    moves ac
    b breaks Y
    broken before: X
    ");
}

#[test]
fn an_input_that_needs_another_s_new_revision_goes_with_it() {
    // `a` needs `c`; `d` is guilty of something else.
    let told = search(4, "XY", |moved, host| {
        let lacks = has(moved, "a") && !has(moved, "c");
        failed_if(host == 'X' && (lacks || has(moved, "d")))
    });
    assert_snapshot!(told.story(), @"
    abcd: X! Y+
    -: X+
    a: X!
    b: X+
    c: X+
    d: X!
    bc: X+ Y+
    abc: X+
    abc: Y+
    moves abc
    d breaks X
    ");
}

#[test]
fn what_did_not_go_is_tried_again_when_what_it_needs_has_gone() {
    // `a` needs `b`, which needs `c`; the others are guilty.
    let told = search(5, "X", |moved, _| {
        let lacks = |one, other| has(moved, one) && !has(moved, other);
        failed_if(lacks("a", "b") || lacks("b", "c") || has(moved, "d") || has(moved, "e"))
    });
    assert_snapshot!(told.story(), @"
    abcde: X!
    -: X+
    a: X!
    b: X!
    c: X+
    d: X!
    e: X!
    ac: X!
    bc: X+
    abc: X+
    abcd: X!
    abce: X!
    moves abc
    d breaks X
    e breaks X
    ");
}

#[test]
fn two_that_need_each_other_go_together_without_the_guilty_one() {
    let told =
        search(4, "X", |moved, _| failed_if(has(moved, "a") != has(moved, "b") || has(moved, "c")));
    assert_snapshot!(told.story(), @"
    abcd: X!
    -: X+
    a: X!
    b: X!
    c: X!
    d: X+
    ad: X!
    bd: X!
    cd: X!
    bcd: X!
    acd: X!
    abd: X+
    moves abd
    c breaks X
    ");
}

#[test]
fn two_guilty_ones_are_each_named_with_their_hosts() {
    let told = search(5, "XYZ", |moved, host| {
        failed_if(match host {
            'X' => has(moved, "a"),
            'Y' => has(moved, "a") || has(moved, "d"),
            _ => false,
        })
    });
    assert_snapshot!(told.story(), @"
    abcde: X! Y! Z+
    -: X+ Y+
    a: X! Y!
    b: X+ Y+
    c: X+ Y+
    d: X+ Y!
    e: X+ Y+
    bce: X+ Y+ Z+
    abce: X! Y!
    bcde: X+ Y!
    moves bce
    a breaks XY
    d breaks Y
    ");
}

#[test]
fn where_everything_is_guilty_nothing_moves() {
    let told = search(3, "XY", |moved, host| failed_if(host == 'X' && !moved.is_empty()));
    assert_snapshot!(told.story(), @"
    abc: X! Y+
    -: X+
    a: X!
    b: X!
    c: X!
    bc: X!
    ac: X!
    ab: X!
    moves -
    a breaks X
    b breaks X
    c breaks X
    ");
}

#[test]
fn a_host_that_fails_only_without_the_guilty_one_is_seen_before_the_end() {
    let told = search(3, "XY", |moved, host| match host {
        'X' => failed_if(has(moved, "a")),
        _ => failed_if(has(moved, "b") && !has(moved, "a")),
    });
    assert_snapshot!(told.story(), @"
    abc: X! Y+
    -: X+
    a: X!
    b: X+
    c: X+
    bc: X+ Y!
    -: Y+
    a: Y+
    b: Y!
    c: Y+
    ac: X! Y+
    moves c
    a breaks X
    b breaks Y
    ");
}
