//! The gate against the base commit, and one headline for one cause.
use insta::assert_snapshot;

use super::*;

fn dependency() -> Ending {
    Ending::BuildFailed(BuildFailure {
        derivation: derivation("python3.13-foo-1.2").path,
        headline: "builder failed with exit code 1".into(),
        log_tail: vec!["running tests".into(), "1 failed".into()],
        before: None,
    })
}

#[test]
fn one_cause_is_one_headline_with_its_log_once() {
    let mut hosts: Vec<BuildView> =
        (1..=37).map(|n| ended(&format!("web-{n}"), dependency())).collect();
    hosts.extend([built("db"), ended("raider", evaluation_failure())]);
    let view = over(Verdict::Failed, hosts);
    let page = gate_page(&view, "fleet", &links());
    assert_snapshot!(page.title, @r###"
1 of 39 hosts build; python3.13-foo-1.2 failed and stops 37 hosts; 1 more fails
"###);
    assert_snapshot!(page.text, @r###"
**python3.13-foo-1.2 failed and stops 37 hosts**

web-1, web-10, web-11, web-12, web-13, web-14, web-15, web-16, web-17, web-18, web-19, web-2, web-20, web-21, web-22, web-23, web-24, web-25, web-26, web-27, web-28, web-29, web-3, web-30, web-31, web-32, web-33, web-34, web-35, web-36, web-37, web-4, web-5, web-6, web-7, web-8, web-9

`/nix/store/783yqpnsx5xvpayk2bnrb6cmk0a7blys-python3.13-foo-1.2.drv`: builder failed with exit code 1

```text
running tests
1 failed
```

[The whole log](https://ci/builds/01890a5d-ac96-774b-bcce-b302099a8057/log)
"###);
    assert_eq!(page.summary.matches("needs python3.13-foo-1.2").count(), 37);
    let failed = page.summary.lines().nth(2).unwrap();
    assert_snapshot!(failed.replace("01890a5d-ac96-774b-bcce-b302099a80", "ID-"), @r###"
| [raider](https://ci/builds/ID-57) | ❌ does not evaluate | 3 s | gtk-engine-murrine was removed |
"###);
}

#[test]
fn what_is_new_and_what_was_red_before_are_different_words() {
    let hosts = vec![
        built("atlas"),
        ended("raider", evaluation_failure()),
        ended("viper", build_failure()),
        ended("zephyr", Ending::Transient { what: "the cache did not answer".into() }),
        optional(ended("new", dependency())),
        built("mended"),
    ];
    let base = [
        ("atlas", Answer::Good),
        ("raider", Answer::Red),
        ("viper", Answer::Good),
        ("zephyr", Answer::Red),
        ("mended", Answer::Red),
        ("gone", Answer::Good),
    ];
    let view = with_base(over(Verdict::Failed, hosts), Tested::Whole, &base);
    assert_snapshot!(gate(&view), @r###"
fleet: Completed { conclusion: Failure, at: Timestamp(1795000060000) }
2 of 5 required hosts build; viper (newly broken): needs gtk-engine-murrine-1.2: builder failed with exit code 3; 3 more fail
---
| host | result | time | what to know |
| --- | --- | --- | --- |
| [raider](https://ci/builds/ID-57) | ❌ does not evaluate | 3 s | red before this change; gtk-engine-murrine was removed |
| [viper](https://ci/builds/ID-57) | ❌ does not build | 1 min | newly broken; needs gtk-engine-murrine-1.2: builder failed with exit code 3 |
| [zephyr](https://ci/builds/ID-57) | ❌ no answer |  | nobody's fault: the cache did not answer |
| [atlas](https://ci/builds/ID-57) | ✅ built | 2 min 3 s |  |
| [mended](https://ci/builds/ID-57) | ✅ built | 2 min 3 s |  |
| [new](https://ci/builds/ID-57) | ❌ does not build | 1 min | not required; newly broken; needs python3.13-foo-1.2: builder failed with exit code 1 |

Against the base commit ba5e000:

- newly broken: viper, new
- red before this change: raider
- mended: mended
- appeared: new
- vanished: gone
---

---
failure hosts/raider.nix:12 raider does not evaluate: gtk-engine-murrine was removed
"###);
}

#[test]
fn what_was_red_before_does_not_block_where_that_is_wanted() {
    let hosts = vec![built("atlas"), ended("raider", evaluation_failure())];
    let base = [("atlas", Answer::Good), ("raider", Answer::Red)];
    let view = ignoring(with_base(building(hosts.clone()), Tested::Whole, &base));
    assert_snapshot!(gate(&view), @r###"
fleet: Completed { conclusion: Success, at: Timestamp(1795000060000) }
1 of 2 hosts build; raider (red before this change, does not block): gtk-engine-murrine was removed
---
| host | result | time | what to know |
| --- | --- | --- | --- |
| [raider](https://ci/builds/ID-57) | ❌ does not evaluate | 3 s | red before this change, does not block; gtk-engine-murrine was removed |
| [atlas](https://ci/builds/ID-57) | ✅ built | 2 min 3 s |  |

Against the base commit ba5e000:

- red before this change (does not block: gate.existing\_failures is "ignore"): raider
---

---
failure hosts/raider.nix:12 raider does not evaluate: gtk-engine-murrine was removed
"###);
    let closed = ignoring(with_base(over(Verdict::Passed, hosts), Tested::Whole, &base));
    assert_eq!(gate(&view), gate(&closed));
}

#[test]
fn a_base_commit_that_says_nothing_is_not_guessed_at() {
    let hosts = || vec![built("atlas"), ended("raider", evaluation_failure())];
    let said = |tested, base: &[(&str, Answer)]| {
        let view = with_base(over(Verdict::Failed, hosts()), tested, base);
        let Comparison { with, parts } = comparison(&view).unwrap();
        format!("{}\n{with} {parts:?}", gate_title(&view))
    };
    let both = [("atlas", Answer::Good), ("raider", Answer::Good)];
    let cut_off = [("atlas", Answer::Good), ("raider", Answer::Unknown)];
    let texts = [
        said(Tested::Not, &[]),
        said(Tested::Partly, &[]),
        said(Tested::Partly, &cut_off),
        said(Tested::Running, &[]),
        said(Tested::Whole, &[]),
        said(Tested::Whole, &both),
    ];
    assert_snapshot!(texts.join("\n"), @r###"
1 of 2 hosts build; raider: gtk-engine-murrine was removed
The base commit ba5e000 was not tested here. []
1 of 2 hosts build; raider: gtk-engine-murrine was removed
The base commit ba5e000 was not tested here: its run was stopped. []
1 of 2 hosts build; raider: gtk-engine-murrine was removed
The base commit ba5e000 was not tested here to the end: its run was stopped. []
1 of 2 hosts build; raider: gtk-engine-murrine was removed
The base commit ba5e000 is still being tested here. []
1 of 2 hosts build; raider: gtk-engine-murrine was removed
The base commit ba5e000 was tested here, and none of its hosts could be judged. []
1 of 2 hosts build; raider (newly broken): gtk-engine-murrine was removed
Against the base commit ba5e000: [("newly broken", "raider")]
"###);
    let same = with_base(over(Verdict::Passed, vec![built("atlas")]), Tested::Whole, &both[..1]);
    assert_snapshot!(comparison(&same).unwrap().with, @r###"
Against the base commit ba5e000: the same hosts, and none broken or mended.
"###);
    assert_eq!(comparison(&over(Verdict::Passed, hosts())), None, "there is no base");
}

#[test]
fn a_gate_that_waits_for_its_base_says_so() {
    let hosts = vec![built("atlas"), ended("raider", evaluation_failure())];
    let view = ignoring(with_base(building(hosts), Tested::Running, &[]));
    assert!(matches!(gate_check(&view), CheckStatus::InProgress { .. }));
    assert_snapshot!(gate_title(&view), @r###"
waits for the base commit ba5e000, which is being tested; raider: gtk-engine-murrine was removed
"###);
}

#[test]
fn a_place_and_message_are_annotated_once_for_all_hosts() {
    let renamed = warning("`services.foo' has been renamed", "common.nix");
    let hosts = ["a", "b", "c"].map(|name| {
        let mut it = built(name);
        it.warnings = vec![renamed.clone()];
        it
    });
    let mut hosts = hosts.to_vec();
    hosts[0].warnings.push(Warning { message: "of no file".into(), place: None });
    hosts.extend(["x", "y"].map(|name| ended(name, evaluation_failure())));
    assert_snapshot!(gate(&over(Verdict::Failed, hosts.clone())), @r###"
fleet: Completed { conclusion: Failure, at: Timestamp(1795000060000) }
3 of 5 hosts build; 2 hosts do not evaluate: gtk-engine-murrine was removed
---
| host | result | time | what to know |
| --- | --- | --- | --- |
| [x](https://ci/builds/ID-57) | ❌ does not evaluate | 3 s | gtk-engine-murrine was removed |
| [y](https://ci/builds/ID-57) | ❌ does not evaluate | 3 s | gtk-engine-murrine was removed |
| [a](https://ci/builds/ID-57) | ✅ built | 2 min 3 s |  |
| [b](https://ci/builds/ID-57) | ✅ built | 2 min 3 s |  |
| [c](https://ci/builds/ID-57) | ✅ built | 2 min 3 s |  |
---
**2 hosts do not evaluate: gtk-engine-murrine was removed**

x, y

in hosts/raider.nix, line 12

```text
error:
  … while evaluating `@acme`
  error: gtk-engine-murrine was removed
```

**Warnings of the evaluation**

- common.nix:3: \`services.foo' has been renamed (a, b, c)
- of no file (a)
---
failure hosts/raider.nix:12 2 hosts do not evaluate: gtk-engine-murrine was removed — on x, y
---
warning common.nix:3 evaluation warning (3 hosts): `services.foo' has been renamed — on a, b, c
"###);
    assert_snapshot!(host(&hosts[0]), @r###"
fleet / a: Completed { conclusion: Success, at: Timestamp(1795000060000) }
built in 2 min 3 s
---
| | |
| --- | --- |
| attribute | nixosConfigurations.a |
| derivation | `/nix/store/783yqpnsx5xvpayk2bnrb6cmk0a7blys-a.drv` |
| system | x86\_64-linux with kvm |
| evaluation | 3 s, 1.4 GiB |
| attempts | 1 |

[Build](https://ci/builds/ID-57) · [Log](https://ci/builds/ID-57/log)
---
Nix warned while it evaluated this host:

- common.nix:3: \`services.foo' has been renamed
- of no file
"###);
    // GitHub appends: nothing is said that may still change.
    hosts.push(build("late", BuildState::Listed { known: None }));
    assert_eq!(gate_page(&evaluating(hosts), "fleet", &links()).annotations, []);
}

#[test]
fn every_reason_of_several_hosts_has_its_words() {
    let late = Ending::TimedOut(TimedOut {
        setting: "nix.build_timeout".into(),
        seconds: 7200,
        derivation: Some(derivation("linux-6.12").path),
        log_tail: vec!["CC drivers/x.o".into()],
    });
    let silent = Ending::Transient { what: "the cache did not answer".into() };
    let superseded =
        Ending::Superseded { by: "abc1234def0123456789abcdef0123456789abcd".parse().unwrap() };
    let texts = [late, silent, Ending::Internal { number: "7".into() }, superseded].map(|ending| {
        let hosts = ["a", "b"].map(|name| ended(name, ending.clone()));
        let view = over(Verdict::Failed, hosts.to_vec());
        format!("{}\n{}", gate_title(&view), gate_page(&view, "fleet", &links()).text)
    });
    let texts = texts.join("\n").replace("01890a5d-ac96-774b-bcce-b302099a80", "ID-");
    assert_snapshot!(texts, @r###"
0 of 2 hosts build; linux-6.12 ran into nix.build_timeout and stops 2 hosts
**linux-6.12 ran into nix.build\_timeout and stops 2 hosts**

a, b

linux-6.12 was still building after 2 h (nix.build\_timeout)

```text
CC drivers/x.o
```

[The whole log](https://ci/builds/ID-57/log)
0 of 2 hosts build; 2 hosts got no answer: the cache did not answer
**2 hosts got no answer: the cache did not answer**

a, b
0 of 2 hosts build; a: a fault of fleetcheck's own, number 7; its operator has the log; 1 more fails

0 of 2 hosts build; a: superseded by abc1234; 1 more fails
"###);
}
