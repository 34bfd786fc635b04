//! What changes on a host, and on a fleet: what the checks say.
use insta::assert_snapshot;

use super::*;
use crate::domain::insight::tests::{base_sha, changed, kernel, names, openssl, package_change};
use crate::domain::insight::{Absent, Changes, Names, Units};

fn with(host: &str, insight: Insight) -> BuildView {
    BuildView { insight: Some(insight), ..built(host) }
}

/// Title and text.
fn said(insight: Insight) -> String {
    let page = host_page(&building(vec![]), &with("orion", insight), "fleet", &links()).unwrap();
    format!("{}\n---\n{}", page.title, page.text)
}

#[test]
fn a_host_with_another_kernel_says_all_that_changes() {
    assert_snapshot!(said(changed(kernel())), @r###"
built in 2 min 3 s; linux 6.12.9 to 6.12.58 and 4 more packages; needs a reboot; restarts 2 units; 115 MiB more
---
### What changes

Compared with ba5e456.

**A reboot is needed**: kernel 6.12.9 to 6.12.58, initrd.

| package | before | after |
| --- | --- | --- |
| linux | 6.12.9 | 6.12.58 |
| openssl | 3.5.1 | 3.5.2 |
| vim | 9.1 | 9.0 |
| jq |  | 1.8 |
| nano | 8.0 |  |

- rebuilt in the same version: zlib, curl
- files of the configuration: 12
- closure: 1.4 GiB to 1.5 GiB (115 MiB more)

Units, as far as they run:

- restarted: nginx.service, sshd.service
- reloaded: dbus.service
- changed, and left running: user@&#8203;.service
- added: jq.service
- removed: nano.timer
"###);
}

#[test]
fn an_upgrade_of_one_package_is_a_row() {
    assert_snapshot!(said(changed(openssl())), @r###"
built in 2 min 3 s; openssl 3.5.1 to 3.5.2
---
### What changes

Compared with ba5e456.

| package | before | after |
| --- | --- | --- |
| openssl | 3.5.1 | 3.5.2 |

- closure: 1.4 GiB, as before
"###);
}

#[test]
fn a_downgrade_an_addition_and_a_removal_say_so_in_the_title() {
    let one = |it| host_title(&with("orion", changed(Changes { packages: vec![it], ..openssl() })));
    let titles = [
        one(package_change("vim", "9.1", "9.0")),
        one(package_change("jq", "", "1.8")),
        one(package_change("nano", "8.0", "")),
    ];
    assert_snapshot!(titles.join("\n"), @r###"
built in 2 min 3 s; vim 9.1 down to 9.0
built in 2 min 3 s; jq 1.8 added
built in 2 min 3 s; nano 8.0 removed
"###);
}

#[test]
fn nothing_but_the_revision_is_said_with_the_units_that_it_touches() {
    assert_snapshot!(said(Insight::RevisionOnly { base: base_sha(), units: None }), @r###"
built in 2 min 3 s; nothing but the revision changes
---
### What changes

Compared with ba5e456: nothing but the revision changes. The systems differ in what names the commit, and in nothing else.
"###);
    let units = Units { reloaded: names("dbus.service"), ..Units::default() };
    let said = said(Insight::RevisionOnly { base: base_sha(), units: Some(units) });
    assert_snapshot!(said, @r###"
built in 2 min 3 s; nothing but the revision changes
---
### What changes

Compared with ba5e456: nothing but the revision changes. The systems differ in what names the commit, and in nothing else.

Units, as far as they run:

- reloaded: dbus.service
"###);
}

#[test]
fn a_host_that_is_the_same_or_not_compared_says_why() {
    assert_snapshot!(said(Insight::Unchanged { base: base_sha() }), @r###"
built in 2 min 3 s
---
### What changes

Compared with ba5e456: nothing, it is the same system.
"###);
    let absent = |why| said(Insight::Absent { base: base_sha(), why });
    assert_snapshot!(absent(Absent::NeverBuilt), @r###"
built in 2 min 3 s
---
### What changes

Not compared with ba5e456: the base commit was never built here.
"###);
    assert_snapshot!(absent(Absent::Gone), @r###"
built in 2 min 3 s
---
### What changes

Not compared with ba5e456: the base's system is no longer in the store, and no cache has it.
"###);
}

#[test]
fn a_change_of_configuration_alone_is_no_package() {
    let units = Units { restarted: names("nginx.service"), ..Units::default() };
    let changes = Changes {
        packages: vec![],
        files: 3,
        units: Some(units),
        rebuilt: names("zlib"),
        ..openssl()
    };
    assert_snapshot!(said(changed(changes)), @r###"
built in 2 min 3 s; 1 package rebuilt, no version changes; restarts nginx.service
---
### What changes

Compared with ba5e456.

No package changes its version.

- rebuilt in the same version: zlib
- files of the configuration: 3
- closure: 1.4 GiB, as before

Units, as far as they run:

- restarted: nginx.service
"###);
}

#[test]
fn the_gate_rolls_up_what_changes_above_its_table() {
    let hosts = vec![
        with("atlas", changed(kernel())),
        with("orion", changed(openssl())),
        with("raider", Insight::RevisionOnly { base: base_sha(), units: None }),
        with("viper", Insight::Absent { base: base_sha(), why: Absent::NewHost }),
        built("basestar"),
        BuildView { insight: Some(changed(kernel())), ..running("pegasus") },
    ];
    assert_snapshot!(gate_page(&building(hosts), "fleet", &links()).summary, @r###"
**What changes**

- a reboot is needed on 1 of 4 hosts
- units are restarted on 1 of 4 hosts
- openssl 3.5.1 to 3.5.2 on 2 of 4 hosts
- linux 6.12.9 to 6.12.58 on 1 of 4 hosts
- vim 9.1 down to 9.0 on 1 of 4 hosts
- jq 1.8 added on 1 of 4 hosts
- nano 8.0 removed on 1 of 4 hosts
- nothing but the revision changes on 1 of 4 hosts
- not compared on 1 of 4 hosts: the base commit does not have this host

| host | result | time | what to know |
| --- | --- | --- | --- |
| [pegasus](https://ci/builds/01890a5d-ac96-774b-bcce-b302099a8057) | 🔨 building |  | since 11:06 UTC |
| [atlas](https://ci/builds/01890a5d-ac96-774b-bcce-b302099a8057) | ✅ built | 2 min 3 s | linux 6.12.9 to 6.12.58 and 4 more packages; needs a reboot; restarts 2 units; 115 MiB more |
| [basestar](https://ci/builds/01890a5d-ac96-774b-bcce-b302099a8057) | ✅ built | 2 min 3 s |  |
| [orion](https://ci/builds/01890a5d-ac96-774b-bcce-b302099a8057) | ✅ built | 2 min 3 s | openssl 3.5.1 to 3.5.2 |
| [raider](https://ci/builds/01890a5d-ac96-774b-bcce-b302099a8057) | ✅ built | 2 min 3 s | nothing but the revision changes |
| [viper](https://ci/builds/01890a5d-ac96-774b-bcce-b302099a8057) | ✅ built | 2 min 3 s |  |
"###);
}

#[test]
fn hostile_names_of_packages_and_units_are_only_text() {
    let hostile = "@acme/all|<b>`#1\u{202e}";
    let changes = Changes {
        packages: vec![package_change(hostile, "1", "@2")],
        units: Some(Units { added: names(hostile), ..Units::default() }),
        ..openssl()
    };
    let page = said(changed(changes.clone()));
    let gate = gate_page(&building(vec![with("orion", changed(changes))]), "fleet", &links());
    for text in [page.split_once("---").unwrap().1, &gate.summary] {
        assert!(!text.contains("@acme") && !text.contains("<b>") && !text.contains('\u{202e}'));
    }
}

#[test]
fn a_very_large_change_keeps_within_githubs_limits() {
    let packages =
        (0..1000).map(|it| package_change(&format!("{it}-{}", "_".repeat(180)), "1", "2"));
    let many = (0..200).map(|it| format!("unit{it}{}", "_".repeat(200)));
    let units = Units { restarted: Names::of(many.collect()), ..Units::default() };
    let changes = Changes { packages: packages.collect(), units: Some(units), ..openssl() };
    let page = host_page(&building(vec![]), &with("orion", changed(changes)), "fleet", &links());
    let page = page.unwrap();
    assert!(page.text.len() <= 60_000 && page.title.chars().count() <= 255);
    assert!(page.text.contains("and 960 more"), "{}", page.text);
}
