//! The check of a host: what it says.
use insta::assert_snapshot;

use super::*;

#[test]
fn a_host_that_does_not_evaluate_shows_the_error_and_its_place() {
    assert_snapshot!(host(&ended("raider", evaluation_failure())), @r###"
fleet / raider: Completed { conclusion: Failure, at: Timestamp(1795000060000) }
gtk-engine-murrine was removed
---
| | |
| --- | --- |
| attribute | nixosConfigurations.raider |
| evaluation | 3 s, 1.4 GiB |

[Build](https://ci/builds/ID-57)
---
**gtk-engine-murrine was removed**

in hosts/raider.nix, line 12

What Nix said:

```text
error:
  … while evaluating `@acme`
  error: gtk-engine-murrine was removed
```
---
[Cancel run] Stop everything that still runs
"###);
}

#[test]
fn a_host_that_does_not_build_shows_the_derivation_and_its_log() {
    assert_snapshot!(host(&ended("raider", build_failure())), @r###"
fleet / raider: Completed { conclusion: Failure, at: Timestamp(1795000060000) }
gtk-engine-murrine-1.2 failed to build: builder failed with exit code 3
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
**builder failed with exit code 3**

The derivation that failed:

`/nix/store/783yqpnsx5xvpayk2bnrb6cmk0a7blys-gtk-engine-murrine-1.2.drv`

The last 2 lines of its log:

````text
cc: no such file
``` @everyone
````
---
[Rebuild from scratch] Build again, whatever is known of it
---
[Cancel run] Stop everything that still runs
"###);
}

#[test]
fn a_time_limit_names_the_setting_and_what_was_running() {
    let late = TimedOut {
        setting: "nix.silence_timeout".into(),
        seconds: 1200,
        derivation: Some(derivation("linux-6.12").path),
        log_tail: vec![],
    };
    assert_snapshot!(host(&ended("raider", Ending::TimedOut(late))), @r###"
fleet / raider: Completed { conclusion: TimedOut, at: Timestamp(1795000060000) }
timed out: linux-6.12 was silent for 20 min (nix.silence_timeout)
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
**linux-6.12 was silent for 20 min (nix.silence\_timeout)**

The limit is `nix.silence_timeout` in the settings of fleetcheck.

The derivation that was running:

`/nix/store/783yqpnsx5xvpayk2bnrb6cmk0a7blys-linux-6.12.drv`

It wrote no log.
---
[Rebuild from scratch] Build again, whatever is known of it
---
[Cancel run] Stop everything that still runs
"###);
}

#[test]
fn a_cache_that_was_left_out_is_named() {
    let without = vec!["cache.example.org".to_owned(), "10.0.0.7:8080".to_owned()];
    let slow = host(&ended("raider", Ending::Built { seconds: 70, without }));
    let told = "| built without | cache.example.org, 10.0.0.7:8080, which did not answer |";
    assert!(slow.contains(told), "{slow}");
    assert!(!host(&built("raider")).contains("built without"));
}

#[test]
fn a_host_says_in_its_title_how_it_stands() {
    let retry = Waiting::Retry {
        after: "the download of hello was cut off".into(),
        not_before: NOW.plus(10_000),
    };
    let mut third = waiting("a", retry);
    third.build.attempts = 2;
    third.attempt = running("a").attempt;
    let mut second = built("a");
    second.build.attempts = 2;
    let features =
        Waiting::NoFeatures { system: "x86_64-linux".into(), features: vec!["kvm".into()] };
    let hosts = [
        build("a", BuildState::Listed { known: None }),
        waiting("a", Waiting::Slot),
        waiting("a", no_builder()),
        waiting("a", features),
        third,
        running("a"),
        built("a"),
        second,
        ended("a", Ending::Reused),
        ended("a", build_failure()),
        ended("a", Ending::Transient { what: "the cache did not answer".into() }),
        ended("a", Ending::Internal { number: "4711".into() }),
    ];
    let titles = hosts.iter().map(|it| {
        let page = host_page(&building(vec![]), it, "fleet", &links()).unwrap();
        format!("{:?}: {}", page.status, page.title)
    });
    assert_snapshot!(titles.collect::<Vec<_>>().join("\n"), @r###"
Queued: waits for its evaluation
Queued: waits for a builder: a free slot on a builder of x86_64-linux
Queued: waits for a builder: no builder for aarch64-linux in the settings
Queued: waits for a builder: no builder for x86_64-linux has kvm
InProgress { since: Timestamp(1795000000000) }: waits for attempt 3: tried again at 11:06 UTC, after: the download of hello was cut off
InProgress { since: Timestamp(1795000000000) }: building since 11:06 UTC
Completed { conclusion: Success, at: Timestamp(1795000060000) }: built in 2 min 3 s
Completed { conclusion: Success, at: Timestamp(1795000060000) }: attempt 2: built in 2 min 3 s
Completed { conclusion: Success, at: Timestamp(1795000060000) }: reused: already built
Completed { conclusion: Failure, at: Timestamp(1795000060000) }: gtk-engine-murrine-1.2 failed to build: builder failed with exit code 3
Completed { conclusion: Failure, at: Timestamp(1795000060000) }: no answer, and nobody's fault: the cache did not answer
Completed { conclusion: Failure, at: Timestamp(1795000060000) }: a fault of fleetcheck's own, number 4711; its operator has the log
"###);
}

#[test]
fn our_own_fault_tells_a_number_and_no_more() {
    assert_snapshot!(host(&ended("raider", Ending::Internal { number: "4711".into() })), @r###"
fleet / raider: Completed { conclusion: Failure, at: Timestamp(1795000060000) }
a fault of fleetcheck's own, number 4711; its operator has the log
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
Nothing in this commit is known to be wrong: fleetcheck itself failed. Its operator finds the reason in the service's log under the number 4711.
---
[Rebuild from scratch] Build again, whatever is known of it
---
[Cancel run] Stop everything that still runs
"###);
}
