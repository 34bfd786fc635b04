//! Whose commit was tested, and as what: what the checks say.
use insta::assert_snapshot;

use super::*;
use crate::domain::run::Merge;

fn gate(view: &RunView) -> String {
    shown(&gate_page(view, "fleet", &links()))
}

fn host(view: &RunView) -> String {
    shown(&host_page(view, &view.builds[0], "fleet", &links()).unwrap())
}

#[test]
fn a_stranger_s_commit_is_marked_wherever_it_is_shown() {
    let mut view = over(Verdict::Passed, vec![built("raider")]);
    view.run.trust = Trust::Untrusted;
    assert_snapshot!(gate(&view), @r###"
fleet: Completed { conclusion: Success, at: Timestamp(1795000060000) }
1 host builds
---
From a fork: evaluated without import from derivation and network, with the inputs that its flake.lock names.

| host | result | time | what to know |
| --- | --- | --- | --- |
| [raider](https://ci/builds/ID-57) | ✅ built | 2 min 3 s |  |
---
"###);
    assert_snapshot!(host(&view), @r###"
fleet / raider: Completed { conclusion: Success, at: Timestamp(1795000060000) }
built in 2 min 3 s
---
| | |
| --- | --- |
| attribute | nixosConfigurations.raider |
| derivation | `/nix/store/783yqpnsx5xvpayk2bnrb6cmk0a7blys-raider.drv` |
| system | x86\_64-linux with kvm |
| evaluation | 3 s, 1.4 GiB |
| attempts | 1 |
| trust | from a fork: evaluated without import from derivation and network |

[Build](https://ci/builds/ID-57) · [Log](https://ci/builds/ID-57/log)
---
"###);
}

#[test]
fn a_merge_says_with_what_it_was_merged() {
    let mut view = over(Verdict::Failed, vec![built("raider"), ended("viper", build_failure())]);
    view.run.merge = Some(Merge {
        commit: "1".repeat(40).parse().unwrap(),
        branch: "main".parse().unwrap(),
        base: "abc1234def0123456789abcdef0123456789abcd".parse().unwrap(),
    });
    assert_snapshot!(gate(&view), @r###"
fleet: Completed { conclusion: Failure, at: Timestamp(1795000060000) }
1 of 2 hosts build, as merged into main at abc1234; viper: needs gtk-engine-murrine-1.2: builder failed with exit code 3
---
Tested as merged into main at abc1234.

| host | result | time | what to know |
| --- | --- | --- | --- |
| [viper](https://ci/builds/ID-57) | ❌ does not build | 1 min | needs gtk-engine-murrine-1.2: builder failed with exit code 3 |
| [raider](https://ci/builds/ID-57) | ✅ built | 2 min 3 s |  |
---
"###);
    assert_snapshot!(status_page(&view, &links()).description, @"1 of 2 hosts build, as merged into main at abc1234; viper: needs gtk-engine-murrine-1.2: builder failed with exit code 3");
}

#[test]
fn a_skipped_run_says_by_what_and_passes() {
    let by = "[skip ci]".to_owned();
    let builds = vec![ended("raider", Ending::Skipped { by: by.clone() })];
    let view = over(Verdict::Skipped { by }, builds);
    assert_snapshot!(gate(&view), @r###"
fleet: Completed { conclusion: Skipped, at: Timestamp(1795000090000) }
skipped by [skip ci] in the commit's message
---
Nothing of this commit was built.

| host | result | time | what to know |
| --- | --- | --- | --- |
| [raider](https://ci/builds/ID-57) | ⏭️ skipped |  | skipped by \[skip ci\] |
---
"###);
    assert_snapshot!(host(&view), @r###"
fleet / raider: Completed { conclusion: Skipped, at: Timestamp(1795000060000) }
skipped by [skip ci]
---
| | |
| --- | --- |
| attribute | nixosConfigurations.raider |
| derivation | `/nix/store/783yqpnsx5xvpayk2bnrb6cmk0a7blys-raider.drv` |
| system | x86\_64-linux with kvm |
| evaluation | 3 s, 1.4 GiB |
| attempts | 1 |

[Build](https://ci/builds/ID-57) · [Log](https://ci/builds/ID-57/log)
---
"###);
    let status = status_page(&view, &links());
    assert_eq!(status.state, StatusState::Success);
    assert_snapshot!(status.description, @"skipped by [skip ci] in the commit's message");
}
