//! The check of the run: what it says.
use insta::assert_snapshot;

use super::*;

#[test]
fn the_gate_says_in_its_title_what_a_person_needs_to_know() {
    let five = ["atlas", "basestar", "galactica", "pegasus", "raider"];
    let most = || five[..4].iter().map(|it| built(it)).collect::<Vec<_>>();
    let with = |last| most().into_iter().chain([last]).collect::<Vec<_>>();
    let listed = |host: &str| build(host, BuildState::Listed { known: None });
    let views = [
        view(RunState::AwaitingApproval, vec![]),
        view(RunState::Requested, vec![]),
        evaluating(vec![]),
        evaluating(vec![running("atlas"), listed("raider")]),
        evaluating(vec![ended("raider", evaluation_failure()), listed("atlas")]),
        building(vec![
            built("a"),
            built("b"),
            running("c"),
            waiting("d", Waiting::Slot),
            waiting("e", no_builder()),
        ]),
        building(vec![waiting("pegasus", no_builder())]),
        building(with(waiting("raider", no_builder()))),
        building(vec![waiting("a", Waiting::Slot), waiting("b", no_builder())]),
        over(Verdict::Passed, with(built("raider"))),
        over(Verdict::Passed, vec![built("raider")]),
        over(Verdict::Failed, with(ended("raider", evaluation_failure()))),
        over(Verdict::Failed, with(ended("raider", build_failure()))),
        over(
            Verdict::Failed,
            vec![
                ended("a", evaluation_failure()),
                ended("b", evaluation_failure()),
                ended("c", evaluation_failure()),
            ],
        ),
        over(Verdict::Passed, with(optional(ended("raider", build_failure())))),
        over(Verdict::Failed, vec![]),
        over(
            Verdict::Superseded { by: "abc1234def0123456789abcdef0123456789abcd".parse().unwrap() },
            vec![],
        ),
    ];
    let titles = views.iter().map(|view| {
        let (page, status) = (gate_page(view, "fleet", &links()), status_page(view, &links()));
        let word = match page.status {
            CheckStatus::Queued => "queued",
            CheckStatus::InProgress { .. } => "in_progress",
            CheckStatus::Completed { conclusion, .. } => conclusion.as_str(),
        };
        format!("{word}/{}: {}", status.state.as_str(), page.title)
    });
    assert_snapshot!(titles.collect::<Vec<_>>().join("\n"), @r###"
action_required/pending: waits for approval: this commit comes from a fork
queued/pending: waits for its evaluation
in_progress/pending: looking for hosts
in_progress/pending: evaluating 1 of 2 hosts
in_progress/pending: evaluating 1 of 2 hosts; raider: gtk-engine-murrine was removed
in_progress/pending: 2 of 5 hosts done, 1 building, 2 waiting
in_progress/pending: waiting: no builder for aarch64-linux (pegasus)
in_progress/pending: 4 of 5 hosts done; waiting: no builder for aarch64-linux (raider)
in_progress/pending: 0 of 2 hosts done, 2 waiting
success/success: 5 hosts build
success/success: 1 host builds
failure/failure: 4 of 5 hosts build; raider: gtk-engine-murrine was removed
failure/failure: 4 of 5 hosts build; raider: needs gtk-engine-murrine-1.2: builder failed with exit code 3
failure/failure: 0 of 3 hosts build; 3 hosts do not evaluate: gtk-engine-murrine was removed
success/success: 4 required hosts build; raider (not required): needs gtk-engine-murrine-1.2: builder failed with exit code 3
failure/failure: no required host was found; a gate without hosts does not pass
cancelled/error: superseded by abc1234
"###);
}

#[test]
fn the_gate_shows_required_hosts_and_failures_first() {
    let mut again = built("atlas");
    again.build.attempts = 2;
    let hosts = vec![
        again,
        ended("raider", evaluation_failure()),
        waiting("pegasus", no_builder()),
        optional(ended("zephyr", build_failure())),
        ended("basestar", Ending::Reused),
        running("galactica"),
    ];
    assert_snapshot!(gate(&building(hosts)), @r###"
fleet: InProgress { since: Timestamp(1795000000000) }
4 of 6 hosts done, 1 building, 1 waiting; raider: gtk-engine-murrine was removed; 1 more fails
---
| host | result | time | what to know |
| --- | --- | --- | --- |
| [raider](https://ci/builds/ID-57) | ❌ does not evaluate | 3 s | gtk-engine-murrine was removed |
| [galactica](https://ci/builds/ID-57) | 🔨 building |  | since 11:06 UTC |
| [pegasus](https://ci/builds/ID-57) | ⏳ waiting |  | no builder for aarch64-linux in the settings |
| [atlas](https://ci/builds/ID-57) | ✅ built | 2 min 3 s | attempt 2 |
| [basestar](https://ci/builds/ID-57) | ✅ reused |  | was built before |
| [zephyr](https://ci/builds/ID-57) | ❌ does not build | 1 min | not required; needs gtk-engine-murrine-1.2: builder failed with exit code 3 |
---

---
failure hosts/raider.nix:12 raider does not evaluate: gtk-engine-murrine was removed
"###);
}

#[test]
fn a_hostile_host_is_shown_by_the_gate_and_has_no_check() {
    let hostile = ended("a|b`@acme/all\n# x", evaluation_failure());
    assert!(host_page(&building(vec![]), &hostile, "fleet", &links()).is_none());
    assert_snapshot!(gate(&building(vec![hostile])), @r###"
fleet: Completed { conclusion: Failure, at: Timestamp(1795000060000) }
0 of 1 host builds; nixosConfigurations."a|b`@acme/all\n# x": gtk-engine-murrine was removed
---
| host | result | time | what to know |
| --- | --- | --- | --- |
| [nixosConfigurations."a&#124;b\`@&#8203;acme/all\\n\#&#8203; x"](https://ci/builds/ID-57) | ❌ does not evaluate | 3 s | this name cannot be the name of a check; gtk-engine-murrine was removed |
---

---
failure hosts/raider.nix:12 nixosConfigurations."a|b`@acme/all\n# x" does not evaluate: gtk-engine-murrine was removed
"###);
}

#[test]
fn a_policy_that_cannot_be_read_fails_the_gate_with_its_place() {
    let problem = Problem {
        headline: "fleetcheck.toml line 3: unknown key `requird`; did you mean `required`?".into(),
        detail: "more\n```\n".into(),
        place: Some(SourcePlace { path: "fleetcheck.toml".into(), line: 3 }),
    };
    assert_snapshot!(gate(&over(Verdict::Broken { problem }, vec![])), @r###"
fleet: Completed { conclusion: Failure, at: Timestamp(1795000090000) }
fleetcheck.toml line 3: unknown key `requird`; did you mean `required`?
---
**fleetcheck.toml line 3: unknown key \`requird\`; did you mean \`required\`?**

[The run's page](https://ci/runs/ID-58)
---
````text
more
```
````
---
failure fleetcheck.toml:3 nothing could be built: fleetcheck.toml line 3: unknown key `requird`; did you mean `required`?
"###);
}

#[test]
fn a_fork_is_told_whom_it_waits_for() {
    assert_snapshot!(gate(&view(RunState::AwaitingApproval, vec![])), @r###"
fleet: Completed { conclusion: ActionRequired, at: Timestamp(1795000000000) }
waits for approval: this commit comes from a fork
---
This commit comes from a fork. Nothing of it has been evaluated or built: evaluating it runs its author's code on this fleet's builders, so a person with write access to this repository has to say so first.

To build it, such a person presses "Approve and build" on this check. That holds for this commit alone: after another push it is asked again.
---

---
[Approve and build] Build this commit of a fork, only this
"###);
}

#[test]
fn a_superseded_run_names_the_newer_commit() {
    let by: crate::domain::id::CommitSha =
        "abc1234def0123456789abcdef0123456789abcd".parse().unwrap();
    let builds = vec![ended("raider", Ending::Superseded { by: by.clone() })];
    assert_snapshot!(gate(&over(Verdict::Superseded { by }, builds)), @r###"
fleet: Completed { conclusion: Cancelled, at: Timestamp(1795000090000) }
superseded by abc1234
---
A newer commit, abc1234def0123456789abcdef0123456789abcd, took this one's place.

| host | result | time | what to know |
| --- | --- | --- | --- |
| [raider](https://ci/builds/ID-57) | 🚫 superseded |  | superseded by abc1234 |
---
"###);
}

#[test]
fn the_gate_says_the_same_before_and_after_the_run_is_closed() {
    let builds = || vec![built("atlas"), ended("raider", build_failure())];
    assert_eq!(
        gate_page(&building(builds()), "fleet", &links()),
        gate_page(&over(Verdict::Failed, builds()), "fleet", &links()),
    );
}

#[test]
fn an_evaluation_that_was_put_off_says_why() {
    let mut run = view(RunState::Requested, vec![]);
    run.run.waits = Some("GitHub does not answer".into());
    assert_eq!(gate_title(&run), "waits: GitHub does not answer; it will be tried again");
}

#[test]
fn a_problem_of_the_whole_run_fails_the_gate_while_its_hosts_are_shown() {
    let problem = Problem {
        headline: "the required host `pegasus` is gone".into(),
        detail: "`main` has it. Bring it back, or take it out of `gate.required`.".into(),
        place: None,
    };
    let mut run = building(vec![built("atlas"), running("raider")]);
    run.run.problem = Some(problem.clone());
    assert_snapshot!(gate(&run), @r###"
fleet: Completed { conclusion: Failure, at: Timestamp(1795000000000) }
the required host `pegasus` is gone
---
**the required host \`pegasus\` is gone**

| host | result | time | what to know |
| --- | --- | --- | --- |
| [raider](https://ci/builds/ID-57) | 🔨 building |  | since 11:06 UTC |
| [atlas](https://ci/builds/ID-57) | ✅ built | 2 min 3 s |  |
---
```text
`main` has it. Bring it back, or take it out of `gate.required`.
```
---
[Cancel run] Stop everything that still runs
"###);
    let mut closed = over(Verdict::Broken { problem: problem.clone() }, run.builds.clone());
    closed.run.problem = Some(problem);
    assert_eq!(gate(&run), gate(&closed));
}

#[test]
fn a_lock_file_that_has_not_moved_for_long_is_told_and_fails_nothing() {
    let mut view = over(Verdict::Passed, vec![built("raider")]);
    let moved = NOW.plus(-23 * 86_400_000);
    view.run.lock = Some(LastMove { at: moved, stale_at: Some(NOW) });
    assert_snapshot!(gate(&view), @r###"
fleet: Completed { conclusion: Success, at: Timestamp(1795000060000) }
1 host builds
---
`flake.lock` has not moved for 23 days: its newest change is of 2026-10-26. `fleetcheck update` finds out which inputs can move.

| host | result | time | what to know |
| --- | --- | --- | --- |
| [raider](https://ci/builds/ID-57) | ✅ built | 2 min 3 s |  |
---
"###);
    for stale_at in [None, Some(NOW.plus(1))] {
        view.run.lock = Some(LastMove { at: moved, stale_at });
        assert!(!gate(&view).contains("flake.lock"), "{stale_at:?}");
    }
}
