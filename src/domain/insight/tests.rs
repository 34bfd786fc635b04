use insta::assert_snapshot;

use super::*;
use crate::domain::Timestamp;
use crate::domain::build::{BuildState, Derivation, Ending, Waiting};
use crate::domain::closure::{Change, version};

pub(crate) fn base_sha() -> CommitSha {
    "ba5e456789abcdef0123456789abcdef01234567".parse().unwrap()
}

pub(crate) fn package_change(name: &str, before: &str, after: &str) -> PackageChange {
    let versions = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let (before, after) = (versions(before), versions(after));
    let change = match (before.is_empty(), after.is_empty()) {
        (true, _) => Change::Added,
        (_, true) => Change::Removed,
        _ if version::compare(&before[0], &after[0]).is_gt() => Change::Downgraded,
        _ => Change::Upgraded,
    };
    PackageChange { name: name.to_owned(), change, before, after }
}

pub(crate) fn names(text: &str) -> Names {
    Names::of(text.split_whitespace().map(str::to_owned).collect())
}

pub(crate) fn changed(changes: Changes) -> Insight {
    Insight::Changed { base: base_sha(), changes: Box::new(changes) }
}

pub(crate) fn openssl() -> Changes {
    Changes {
        before: 1_500_000_000,
        after: 1_500_000_100,
        packages: vec![package_change("openssl", "3.5.1", "3.5.2")],
        ..Changes::default()
    }
}

pub(crate) fn kernel() -> Changes {
    let part = |part, before: &str, after: &str| PartChange {
        part,
        before: Some(before.to_owned()),
        after: Some(after.to_owned()),
    };
    Changes {
        before: 1_500_000_000,
        after: 1_620_000_000,
        packages: vec![
            package_change("linux", "6.12.9", "6.12.58"),
            package_change("openssl", "3.5.1", "3.5.2"),
            package_change("vim", "9.1", "9.0"),
            package_change("jq", "", "1.8"),
            package_change("nano", "8.0", ""),
        ],
        rebuilt: names("zlib curl"),
        files: 12,
        reboot: vec![
            part(Part::Kernel, "6.12.9", "6.12.58"),
            PartChange { part: Part::Initrd, before: None, after: None },
        ],
        units: Some(Units {
            restarted: names("nginx.service sshd.service"),
            reloaded: names("dbus.service"),
            left_alone: names("user@.service"),
            added: names("jq.service"),
            removed: names("nano.timer"),
        }),
        ..Changes::default()
    }
}

#[test]
fn a_host_s_change_is_said_in_one_line() {
    let base = base_sha;
    let units = Units { restarted: names("sshd.service"), ..Units::default() };
    let lines = [
        Insight::Unchanged { base: base() },
        Insight::RevisionOnly { base: base(), units: None },
        Insight::RevisionOnly { base: base(), units: Some(units) },
        changed(openssl()),
        changed(kernel()),
        changed(Changes { files: 2, ..Changes::default() }),
        changed(Changes { rebuilt: names("openssl"), ..Changes::default() }),
        Insight::Absent { base: base(), why: Absent::NeverBuilt },
        Insight::Absent { base: base(), why: Absent::NewHost },
        Insight::Absent { base: base(), why: Absent::BaseFailed },
        Insight::Absent { base: base(), why: Absent::Gone },
        Insight::Absent { base: base(), why: Absent::Elsewhere },
        Insight::Absent { base: base(), why: Absent::Late { seconds: 300 } },
        Insight::Absent { base: base(), why: Absent::TooLarge { most: 50_000 } },
        Insight::Absent { base: base(), why: Absent::Unreadable },
    ];
    let lines: Vec<String> = lines.iter().map(headline).collect();
    assert_snapshot!(lines.join("\n"), @r###"
nothing changes
nothing but the revision changes
nothing but the revision changes; restarts sshd.service
openssl 3.5.1 to 3.5.2
linux 6.12.9 to 6.12.58 and 4 more packages; needs a reboot; restarts 2 units; 115 MiB more
no package changes
1 package rebuilt, no version changes
not compared with ba5e456: the base commit was never built here
not compared with ba5e456: the base commit does not have this host
not compared with ba5e456: the host did not build at the base commit
not compared with ba5e456: the base's system is no longer in the store, and no cache has it
not compared with ba5e456: it was built on another machine, which is out of reach now
not compared with ba5e456: no cache delivered the base's system within 300 s
not compared with ba5e456: a system has more than 50000 store paths
not compared with ba5e456: the store did not answer
"###);
}

#[test]
fn a_fleet_s_changes_are_rolled_up() {
    let (unchanged, revision) = (
        Insight::Unchanged { base: base_sha() },
        Insight::RevisionOnly { base: base_sha(), units: None },
    );
    let (openssl, kernel) = (changed(openssl()), changed(kernel()));
    let gone = Insight::Absent { base: base_sha(), why: Absent::Gone };
    let files = changed(Changes { files: 2, ..Changes::default() });
    let fleet: Vec<&Insight> = std::iter::repeat_n(&openssl, 38)
        .chain(std::iter::repeat_n(&kernel, 3))
        .chain([&unchanged, &gone, &files])
        .collect();
    assert_snapshot!(roll_up(&fleet).join("\n"), @r###"
a reboot is needed on 3 of 44 hosts
units are restarted on 3 of 44 hosts
openssl 3.5.1 to 3.5.2 on 41 of 44 hosts
linux 6.12.9 to 6.12.58 on 3 of 44 hosts
vim 9.1 down to 9.0 on 3 of 44 hosts
jq 1.8 added on 3 of 44 hosts
nano 8.0 removed on 3 of 44 hosts
no version changes on 1 of 44 hosts
nothing changes on 1 of 44 hosts
not compared on 1 of 44 hosts: the base's system is no longer in the store, and no cache has it
"###);
    assert_snapshot!(roll_up(&[&revision, &revision]).join("\n"), @"nothing but the revision changes on all 2 hosts");
    assert_snapshot!(roll_up(&[&unchanged]).join("\n"), @"nothing changes on the host");
    assert_eq!(roll_up(&[]), [""; 0]);
    let elsewhere = changed(Changes { seen: Seen::Paths, ..self::openssl() });
    assert_snapshot!(roll_up(&[&elsewhere, &unchanged]).join("\n"), @r"
    units and reboots are not known on 1 of 2 hosts
    openssl 3.5.1 to 3.5.2 on 1 of 2 hosts
    nothing changes on 1 of 2 hosts
    ");
}

#[test]
fn of_a_large_change_the_rest_is_counted() {
    let many = |count: usize| {
        let packages = (0..count).map(|it| package_change(&format!("p{it}"), "1", "2")).collect();
        let difference = Difference { before: 1, after: 1, packages, rebuilt: vec![], files: 0 };
        Changes::of(difference, vec![], None)
    };
    let large = many(1300);
    assert_eq!((large.packages.len(), large.more_packages), (1000, 300));
    assert_eq!(headline(&changed(large)), "p0 1 to 2 and 1299 more packages");
    let lines = roll_up(&[&changed(many(12))]);
    assert_eq!(lines.len(), 9);
    assert_eq!(lines[8], "4 package changes more");
}

#[test]
fn an_insight_reads_back_as_it_was_written() {
    for insight in [
        changed(kernel()),
        Insight::Unchanged { base: base_sha() },
        Insight::Absent { base: base_sha(), why: Absent::Late { seconds: 3 } },
    ] {
        let text = serde_json::to_string(&insight).unwrap();
        assert_eq!(serde_json::from_str::<Insight>(&text).unwrap(), insight);
    }
}

fn derivation(name: &str) -> Derivation {
    let path = |end: &str| format!("/nix/store/783yqpnsx5xvpayk2bnrb6cmk0a7blys-{name}{end}");
    Derivation {
        path: path(".drv").parse().unwrap(),
        outputs: [("out".to_owned(), path("").parse().unwrap())].into(),
        system: "x86_64-linux".into(),
        features: vec![],
    }
}

#[test]
fn a_host_is_compared_with_its_newest_good_system_at_the_base() {
    let own = derivation("own");
    let ended = |name: &str, ending: Ending| Candidate {
        state: BuildState::Ended { derivation: Some(derivation(name)), ending, at: Timestamp(1) },
    };
    let good = |name: &str| ended(name, Ending::Built { seconds: 1, without: vec![] });
    let failed = |name: &str| ended(name, Ending::Transient { what: "x".into() });
    let open = |name: &str| Candidate {
        state: BuildState::Waiting {
            derivation: derivation(name),
            since: Timestamp(1),
            for_what: Waiting::Slot,
        },
    };
    let system = |name: &str| Base::System(derivation(name).outputs["out"].clone());
    for (at_base, wanted) in [
        (None, Base::Absent(Absent::NeverBuilt)),
        (Some(vec![]), Base::Absent(Absent::NewHost)),
        (Some(vec![failed("old")]), Base::Absent(Absent::BaseFailed)),
        (Some(vec![failed("own")]), Base::Same),
        (Some(vec![good("new"), good("old")]), system("new")),
        (Some(vec![open("new"), good("old")]), system("old")),
        (Some(vec![open("new"), failed("old")]), Base::Open),
        (Some(vec![Candidate { state: BuildState::Listed { known: None } }]), Base::Open),
    ] {
        assert_eq!(base(&own, at_base.as_deref()), wanted, "{at_base:?}");
    }
}
