//! What `[update]` may say, what is made of it, and how mistakes in it are told.
use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;

use super::{each_is_told, parse};
use crate::domain::lock::Lock;
use crate::domain::lock::moved::InputPath;
use crate::domain::policy::{Group, HoldBack, MergeBy, NamedGroup, Open, Policy, UpdatePolicy};

/// Some inputs: `disko`, `disko/nixpkgs`, `nixpkgs`, `nixpkgs-old`.
fn inputs() -> BTreeSet<InputPath> {
    let lock = r#"{"version":7,"root":"root","nodes":{"root":{"inputs":{
        "disko":"disko","nixpkgs":"nixpkgs","nixpkgs-old":"old"}},
        "disko":{"inputs":{"nixpkgs":"nixpkgs_2"}},"nixpkgs":{},"nixpkgs_2":{},"old":{}}}"#;
    Lock::parse(lock.as_bytes()).unwrap().inputs()
}

/// Those of them that are meant.
fn chosen(policy: &UpdatePolicy) -> Vec<String> {
    inputs().iter().filter(|it| policy.chooses(it)).map(ToString::to_string).collect()
}

/// Each group as `NAME on BRANCH: INPUTS`.
fn groups(text: &str) -> Vec<String> {
    let shown = |(name, branch, inputs): (String, _, BTreeSet<InputPath>)| {
        let inputs: Vec<String> = inputs.iter().map(ToString::to_string).collect();
        format!("{name} on {branch}: {}", inputs.join(", "))
    };
    let policy = parse(&format!("[update]\n{text}")).unwrap().update;
    policy.groups(&inputs()).into_iter().map(shown).collect()
}

#[test]
fn every_key_of_an_update_is_read() {
    let policy = parse(
        r#"
        [update]
        timezone = "Europe/Berlin"
        schedule = "0 4 * * 0"
        inputs = ["nixpkgs*", "disko/*"]
        exclude = ["nixpkgs-old"]
        group = { os = ["nixpkgs*"], disks = ["disko", "disko/**"] }
        open = "evaluated"
        hold_back = false
        merge = "auto"
        branch = "bot/lock"
        labels = ["dependencies", "nix"]
        reviewers = ["octocat", "acme/infra"]
        commit_message = "chore: update flake.lock"
        bisect_builds = 20
        bisect = true
        stale_after = "30d"
        "#,
    )
    .unwrap();
    let UpdatePolicy {
        schedule,
        inputs: _,
        exclude: _,
        group,
        open,
        hold_back,
        merge,
        branch,
        labels,
        reviewers,
        commit_message,
        bisect,
        stale_after,
    } = &policy.update;
    assert_eq!(schedule.as_ref().unwrap().to_string(), "0 4 * * 0 (Europe/Berlin)");
    assert_eq!(chosen(&policy.update), ["disko/nixpkgs", "nixpkgs"]);
    let named = |name: &str, inputs: &[&str]| NamedGroup {
        name: name.to_owned(),
        inputs: inputs.iter().map(|it| (*it).to_owned()).collect(),
    };
    let wanted = vec![named("os", &["nixpkgs*"]), named("disks", &["disko", "disko/**"])];
    assert_eq!(*group, Group::Named(wanted));
    assert_eq!((*open, *hold_back, *merge), (Open::Evaluated, HoldBack::All, MergeBy::Auto));
    assert_eq!(branch.as_str(), "bot/lock");
    assert_eq!(*labels, ["dependencies", "nix"]);
    assert_eq!(*reviewers, ["octocat", "acme/infra"]);
    assert_eq!(commit_message, "chore: update flake.lock");
    assert_eq!(*bisect, Some(20));
    assert_eq!(*stale_after, Some(Duration::from_hours(30 * 24)));
}

#[test]
fn nothing_is_updated_by_itself_unless_it_says_so() {
    let update = Policy::default().update;
    assert_eq!((update.schedule, update.bisect, update.merge), (None, None, MergeBy::Manual));
    let update = parse("[update]\nschedule = \"@weekly\"\nbisect = true").unwrap().update;
    assert_eq!(update.schedule.unwrap().to_string(), "@weekly (UTC)");
    assert_eq!(update.bisect, Some(12));
    let update = parse("[update]\nbisect = false\nbisect_builds = 3").unwrap().update;
    assert_eq!(update.bisect, None);
}

#[test]
fn every_input_of_the_flake_s_own_moves_unless_it_says_otherwise() {
    assert_eq!(chosen(&UpdatePolicy::default()), ["disko", "nixpkgs", "nixpkgs-old"]);
    let with = |glob: &str| UpdatePolicy::default().with_inputs(vec![glob.to_owned()]);
    assert_eq!(chosen(&with("**/nixpkgs").unwrap()), ["disko/nixpkgs", "nixpkgs"]);
    assert_eq!(with("[").unwrap_err().0, "[");
}

#[test]
fn what_moves_together_is_one_group_with_a_branch_of_its_own() {
    assert_eq!(
        groups(""),
        ["all on fleetcheck/update: disko, disko/nixpkgs, nixpkgs, nixpkgs-old"]
    );
    assert_eq!(
        groups("group = \"each\"\nbranch = \"lock\""),
        [
            "disko on lock-disko: disko",
            "disko/nixpkgs on lock-disko.nixpkgs: disko/nixpkgs",
            "nixpkgs on lock-nixpkgs: nixpkgs",
            "nixpkgs-old on lock-nixpkgs-old: nixpkgs-old",
        ]
    );
    assert_eq!(
        groups("group = { os = [\"nixpkgs\"], nothing = [\"x\"], any-os = [\"nixpkgs*\"] }"),
        [
            "os on fleetcheck/update-os: nixpkgs",
            "any-os on fleetcheck/update-any-os: nixpkgs-old",
            "rest on fleetcheck/update-rest: disko, disko/nixpkgs",
        ]
    );
    assert_eq!(
        groups("[update.group]\nany = [\"**\"]"),
        ["any on fleetcheck/update-any: disko, disko/nixpkgs, nixpkgs, nixpkgs-old"]
    );
    for group in ["\"all\"", "\"each\"", "{ os = [\"nixpkgs\"] }"] {
        let policy = parse(&format!("[update]\ngroup = {group}")).unwrap().update;
        assert_eq!(policy.groups(&BTreeSet::new()), []);
    }
}

#[test]
fn a_mistake_about_updates_is_told_as_any() {
    const AGE: &str = "must be a time of a day or more, like \"14d\", or \"never\"";
    let age = |found: &str| format!("`update.stale_after`: \"{found}\" {AGE}");
    each_is_told(&[
        (
            "[update]\nschedul = \"0 4 * * 0\"",
            2,
            "unknown key `schedul`; did you mean `schedule`? (in [update]: schedule, timezone, \
             inputs, exclude, group, open, hold_back, merge, branch, labels, reviewers, \
             commit_message, bisect, bisect_builds, stale_after)",
        ),
        ("[update]\nhold_back = 1", 2, "`update.hold_back` must be true or false; found a number"),
        ("[update]\n\nstale_after = 14", 3, "`update.stale_after` must be a text; found a number"),
        ("[update]\nstale_after = \"14\"", 2, &age("14")),
        ("[update]\nstale_after = \"23h\"", 2, &age("23h")),
        (
            "[update]\nopen = \"red\"",
            2,
            "`update.open`: \"red\" must be \"green\", \"evaluated\" or \"always\"",
        ),
        (
            "[update]\nmerge = \"yes\"",
            2,
            "`update.merge`: \"yes\" must be \"manual\", \"auto\" or \"direct\"",
        ),
        (
            "[update]\nbranch = \"a..b\"",
            2,
            "`update.branch`: \"a..b\" must be a branch that git allows, of at most 100 bytes, \
             like \"fleetcheck/update\"",
        ),
        (
            "[update]\nlabels = [\"\"]",
            2,
            "`update.labels`: \"\" must be a label: one line of text, at most 50 characters",
        ),
        (
            "[update]\nreviewers = [\n\"octocat\",\n\"@acme\"]",
            4,
            "`update.reviewers`: \"@acme\" must be a login, like \"octocat\", or a team, like \
             \"acme/infra\"",
        ),
        (
            "[update]\ncommit_message = \"a\\nb\"",
            2,
            "`update.commit_message`: \"a\\nb\" must be one line of text, at most 200 \
             characters, better 72; the inputs are listed below it",
        ),
        ("[update]\nbisect = 3", 2, "`update.bisect` must be true or false; found a number"),
    ]);
    let two_weeks = Duration::from_hours(14 * 24);
    assert_eq!(parse("").unwrap().update.stale_after, Some(two_weeks));
    assert_eq!(parse("[update]\nstale_after = \"never\"").unwrap().update.stale_after, None);
}

#[test]
fn a_mistake_about_the_schedule_is_told_where_it_is() {
    const ZONE: &str = "is no time zone; give a name of the IANA database, such as \
                        \"Europe/Berlin\" or \"UTC\"";
    each_is_told(&[
        (
            "[update]\nschedule = \"weekly\"",
            2,
            "`update.schedule`: \"weekly\" is no cron expression (it has 1 field); give minute, \
             hour, day of month, month and day of week, such as \"0 4 * * 0\", or \"@daily\", \
             \"@weekly\"",
        ),
        ("[update]\nschedule = 4", 2, "`update.schedule` must be a text; found a number"),
        (
            "[update]\nschedule = \"* * * * *\"",
            2,
            "`update.schedule`: \"* * * * *\" is due more than once an hour; an update builds \
             every host: once an hour at most, so give one minute, such as \"0 4 * * 0\"",
        ),
        (
            "[update]\nschedule = \"0 4 * * 0\"\ntimezone = \"Berlin\"",
            3,
            &format!("`update.timezone`: \"Berlin\" {ZONE}"),
        ),
        (
            "[update]\ntimezone = \"UTC\"",
            2,
            "`update.timezone` is given without `update.schedule`; give a schedule, such as \"0 \
             4 * * 0\", or leave the key out",
        ),
        (
            "[update]\nbisect_builds = 3",
            2,
            "`update.bisect_builds` is given without `update.bisect`; write `bisect = true`, or \
             leave the key out",
        ),
        (
            "[update]\nbisect = true\nbisect_builds = 0",
            3,
            "`update.bisect_builds`: 0 must be from 1 to 100",
        ),
        (
            "[update]\nbisect = true\nbisect_builds = 99999999999999999999",
            3,
            "`update.bisect_builds`: 99999999999999999999 must be from 1 to 100",
        ),
        (
            "[update]\nbisect_builds = \"3\"",
            2,
            "`update.bisect_builds` must be a number; found a text",
        ),
    ]);
}

#[test]
fn a_mistake_about_groups_is_told_with_the_group() {
    each_is_told(&[
        (
            "[update]\ngroup = \"some\"",
            2,
            "`update.group`: \"some\" must be \"all\", \"each\" or a table of groups, such as \
             { nixpkgs = [\"nixpkgs*\"] }",
        ),
        (
            "[update]\ngroup = true",
            2,
            "`update.group` must be \"all\", \"each\" or a table of groups, such as { nixpkgs = \
             [\"nixpkgs*\"] }; found true or false",
        ),
        (
            "[update.group]\na = [\"a\"]\nB = [\"b\"]",
            3,
            "`update.group`: `B` is no name of a group; it becomes part of a branch: lower-case \
             letters, digits and `-`, at most 50",
        ),
        (
            "[update.group]\nrest = [\"a\"]",
            2,
            "`update.group`: `rest` is what the inputs of no group are called; give it another \
             name",
        ),
        (
            "[update.group]\na = []",
            2,
            "`update.group`: `a` names no input; give globs, such as \"nixpkgs*\", or leave it out",
        ),
        ("[update.group]\na = \"x\"", 2, "`update.group.a` must be a list of texts; found a text"),
        (
            "[update.group]\na = [\"[\"]",
            2,
            "`update.group.a`: \"[\" is not a glob: unclosed character class; missing ']'",
        ),
    ]);
}

proptest! {
    #[test]
    fn no_value_of_an_update_makes_the_reader_panic(
        key in "schedule|timezone|group|open|merge|branch|labels|reviewers|commit_message|bisect|bisect_builds",
        value in "\\[?'\\PC{0,30}'\\]?|[0-9._x:-]{1,10}|\\{('\\PC{0,5}'=\\['\\PC{0,5}'\\])?\\}",
    ) {
        if let Err(error) = parse(&format!("[update]\n{key} = {value}")) {
            prop_assert!(!error.to_string().contains(char::is_control));
        }
    }

    #[test]
    fn every_moving_input_is_in_one_group_and_every_group_has_its_branch(
        group in "\"all\"|\"each\"|\\{ (nixpkgs|a) = \\[\"(nixpkgs|disko|\\*|\\*\\*)\"\\], b = \\[\"disko/\\*\"\\] \\}",
    ) {
        let policy = parse(&format!("[update]\ngroup = {group}")).unwrap().update;
        let groups = policy.groups(&inputs());
        let all: Vec<_> = groups.iter().flat_map(|(_, _, inputs)| inputs.clone()).collect();
        prop_assert_eq!(all.len(), inputs().len());
        prop_assert_eq!(all.into_iter().collect::<BTreeSet<_>>(), inputs());
        let branches: BTreeSet<_> = groups.iter().map(|(_, branch, _)| branch).collect();
        prop_assert_eq!(branches.len(), groups.len());
    }
}
