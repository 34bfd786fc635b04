//! Pages of what is not done: a turn, a progress, a guess.
use insta::assert_snapshot;

use super::*;

fn queued(host: &str, place: u32) -> BuildView {
    let mut it = waiting(host, Waiting::Slot);
    it.outlook.turn = Some(Turn { place, of: 12 });
    it.outlook.build_ms = Some(240_000);
    it
}

fn counts(done: u64, expected: u64) -> Counts {
    Counts { done, expected, at: None }
}

#[test]
fn a_queued_host_says_its_place_and_how_long_it_took_last() {
    assert_snapshot!(host(&queued("raider", 3)), @r###"
fleet / raider: Queued
waits for a builder: place 3 of 12 for x86_64-linux
---
| | |
| --- | --- |
| attribute | nixosConfigurations.raider |
| derivation | `/nix/store/783yqpnsx5xvpayk2bnrb6cmk0a7blys-raider.drv` |
| system | x86\_64-linux with kvm |
| evaluation | 3 s, 1.4 GiB |
| queue | place 3 of 12 for x86\_64-linux |
| estimate | about 4 minutes, from the last run |

[Build](https://ci/builds/ID-57)
---
"###);
}

#[test]
fn a_running_host_says_how_far_it_is() {
    let mut it = running("raider");
    it.outlook.counts = Some(counts(12, 340));
    it.outlook.build_ms = Some(20_000);
    assert_snapshot!(host(&it), @r###"
fleet / raider: InProgress { since: Timestamp(1795000000000) }
building since 11:06 UTC, 12 of 340 derivations
---
| | |
| --- | --- |
| attribute | nixosConfigurations.raider |
| derivation | `/nix/store/783yqpnsx5xvpayk2bnrb6cmk0a7blys-raider.drv` |
| system | x86\_64-linux with kvm |
| evaluation | 3 s, 1.4 GiB |
| progress | 12 of 340 derivations |
| estimate | less than a minute, from the last run |
| attempts | 1 |

[Build](https://ci/builds/ID-57) · [Log](https://ci/builds/ID-57/log)
---
"###);
    it.outlook.counts = Some(counts(0, 1));
    assert_snapshot!(host_title(&it), @r###"
building since 11:06 UTC, 0 of 1 derivation
"###);
    it.outlook.counts = Some(counts(0, 0));
    assert_snapshot!(host_title(&it), @r###"
building since 11:06 UTC
"###);
}

#[test]
fn a_listed_host_says_how_long_its_evaluation_took_last() {
    let mut it = build("raider", BuildState::Listed { known: None });
    it.evaluation = None;
    it.outlook.evaluation_ms = Some(70_000);
    assert_snapshot!(host(&it), @r###"
fleet / raider: Queued
waits for its evaluation
---
| | |
| --- | --- |
| attribute | nixosConfigurations.raider |
| estimate | about a minute, from the last run |

[Build](https://ci/builds/ID-57)
---
"###);
}

#[test]
fn the_gate_says_the_same_of_each_host() {
    let mut far = running("galactica");
    far.outlook.counts = Some(counts(12, 340));
    far.outlook.build_ms = Some(7_200_000);
    let hosts = vec![queued("raider", 3), queued("viper", 7), far, built("atlas")];
    assert_snapshot!(gate(&building(hosts)), @r###"
fleet: InProgress { since: Timestamp(1795000000000) }
1 of 4 hosts done, 1 building, 2 waiting
---
| host | result | time | what to know |
| --- | --- | --- | --- |
| [galactica](https://ci/builds/ID-57) | 🔨 building |  | since 11:06 UTC; 12 of 340 derivations; about 2 hours, from the last run |
| [raider](https://ci/builds/ID-57) | ⏳ waiting |  | place 3 of 12 for x86\_64-linux; about 4 minutes, from the last run |
| [viper](https://ci/builds/ID-57) | ⏳ waiting |  | place 7 of 12 for x86\_64-linux; about 4 minutes, from the last run |
| [atlas](https://ci/builds/ID-57) | ✅ built | 2 min 3 s |  |
---
"###);
    let hosts = vec![queued("raider", 3), queued("viper", 7)];
    assert_snapshot!(gate_title(&building(hosts)), @r###"
0 of 2 hosts done, 2 waiting: place 3 of 12 for x86_64-linux
"###);
}

#[test]
fn a_run_that_waits_for_others_says_its_place() {
    let mut run = view(RunState::Requested, vec![]);
    run.turn = Some(Turn { place: 1, of: 1 });
    assert_snapshot!(gate_title(&run), @r###"
waits for its evaluation
"###);
    run.turn = Some(Turn { place: 2, of: 3 });
    assert_snapshot!(gate(&run), @r###"
fleet: Queued
waits for its evaluation: place 2 of 3
---
[The run's page](https://ci/runs/ID-58)
---
"###);
}

#[test]
fn an_evaluating_gate_shows_what_is_known_so_far() {
    let mut listed = build("raider", BuildState::Listed { known: None });
    listed.outlook.evaluation_ms = Some(4_000);
    assert_snapshot!(gate(&evaluating(vec![built("atlas"), listed])), @r###"
fleet: InProgress { since: Timestamp(1795000000000) }
evaluating 1 of 2 hosts
---
| host | result | time | what to know |
| --- | --- | --- | --- |
| [raider](https://ci/builds/ID-57) | ⏳ evaluation |  | less than a minute, from the last run |
| [atlas](https://ci/builds/ID-57) | ✅ built | 2 min 3 s |  |
---
"###);
}

#[test]
fn the_status_is_the_gate_in_one_line() {
    let page = status_page(&building(vec![queued("raider", 3)]), &links());
    assert_snapshot!(format!("{:?}: {}\n{}", page.state, page.description, page.target_url), @r###"
Pending: 0 of 1 host done, 1 waiting: place 3 of 12 for x86_64-linux
https://ci/runs/01890a5d-ac96-774b-bcce-b302099a8058
"###);
}

#[test]
fn a_blocked_host_says_what_is_missing() {
    let features =
        Waiting::NoFeatures { system: "x86_64-linux".into(), features: vec!["kvm".into()] };
    let hosts = vec![waiting("pegasus", no_builder()), waiting("vm", features)];
    assert_snapshot!(gate(&building(hosts.clone())), @r###"
fleet: InProgress { since: Timestamp(1795000000000) }
waiting: no builder for aarch64-linux (pegasus); no builder for x86_64-linux has kvm (vm)
---
| host | result | time | what to know |
| --- | --- | --- | --- |
| [pegasus](https://ci/builds/ID-57) | ⏳ waiting |  | no builder for aarch64-linux in the settings |
| [vm](https://ci/builds/ID-57) | ⏳ waiting |  | no builder for x86\_64-linux has kvm |
---
"###);
    assert_snapshot!(host(&hosts[0]), @r###"
fleet / pegasus: Queued
waits for a builder: no builder for aarch64-linux in the settings
---
| | |
| --- | --- |
| attribute | nixosConfigurations.pegasus |
| derivation | `/nix/store/783yqpnsx5xvpayk2bnrb6cmk0a7blys-pegasus.drv` |
| system | x86\_64-linux with kvm |
| evaluation | 3 s, 1.4 GiB |

[Build](https://ci/builds/ID-57)
---
"###);
}
