use proptest::prelude::*;

use super::*;

/// `HASH-LETTER NAME [CONTENT]` of a closure's paths.
fn path(hash: char, name: &str, content: &str) -> ClosurePath {
    let hash: String = std::iter::repeat_n(hash, 32).collect();
    ClosurePath {
        path: format!("/nix/store/{hash}-{name}").parse().unwrap(),
        package: Package::parse(name),
        size: 100,
        content: content.to_owned(),
    }
}

fn compared(base: &[ClosurePath], head: &[ClosurePath]) -> Difference {
    let toplevels =
        [path('y', "nixos-system-orion-1", "t"), path('z', "nixos-system-orion-2", "u")];
    let closure = |side: usize, paths: &'static [ClosurePath]| Closure {
        toplevel: &toplevels[side].path,
        paths: paths.iter().collect(),
    };
    let leak = |paths: &[ClosurePath], side: usize| -> &'static [ClosurePath] {
        let mut paths = paths.to_vec();
        paths.push(toplevels[side].clone());
        Box::leak(paths.into_boxed_slice())
    };
    compare(&closure(0, leak(base, 0)), &closure(1, leak(head, 1)))
}

fn said(of: &Difference) -> Vec<String> {
    let one = |it: &PackageChange| {
        format!("{:?} {} [{}] [{}]", it.change, it.name, it.before.join(" "), it.after.join(" "))
    };
    of.packages.iter().map(one).collect()
}

#[test]
fn a_name_ends_where_its_version_begins() {
    for (text, name, version) in [
        ("openssl-3.5.2", "openssl", Some("3.5.2")),
        ("openssl-3.5.2-dev", "openssl", Some("3.5.2")),
        ("mesa-25.1-lib32", "mesa", Some("25.1")),
        ("python3.13-requests-2.32.3", "python3.13-requests", Some("2.32.3")),
        ("linux-6.12.58-modules", "linux", Some("6.12.58")),
        ("foo-unstable-2026-11-24", "foo-unstable", Some("2026-11-24")),
        ("bash-interactive-5.3p3", "bash-interactive", Some("5.3p3")),
        (
            "nixos-system-orion-26.11.20261124.abcdef0",
            "nixos-system-orion",
            Some("26.11.20261124.abcdef0"),
        ),
        ("unit-sshd.service", "unit-sshd.service", None),
        ("unit-script-start", "unit-script-start", None),
        ("etc", "etc", None),
        ("source", "source", None),
        ("libfoo-", "libfoo-", None),
        ("-1", "-1", None),
        ("gtk+3", "gtk+3", None),
    ] {
        let wanted = Package { name: name.to_owned(), version: version.map(str::to_owned) };
        assert_eq!(Package::parse(text), wanted, "{text}");
    }
}

#[test]
fn packages_are_upgraded_downgraded_added_and_removed() {
    let base = [
        path('a', "openssl-3.5.1", "1"),
        path('b', "openssl-3.5.1-bin", "2"),
        path('c', "vim-9.1", "3"),
        path('d', "nano-8.0", "4"),
        path('e', "linux-6.12.9", "5"),
        path('f', "same-1.0", "6"),
    ];
    let head = [
        path('g', "openssl-3.5.2", "7"),
        path('h', "openssl-3.5.2-bin", "8"),
        path('i', "vim-9.0", "9"),
        path('j', "jq-1.8", "10"),
        path('k', "linux-6.12.58", "11"),
        path('f', "same-1.0", "6"),
    ];
    let difference = compared(&base, &head);
    assert_eq!(
        said(&difference),
        [
            "Upgraded linux [6.12.9] [6.12.58]",
            "Upgraded openssl [3.5.1] [3.5.2]",
            "Downgraded vim [9.1] [9.0]",
            "Added jq [] [1.8]",
            "Removed nano [8.0] []",
        ]
    );
    assert_eq!((difference.before, difference.after), (700, 700));
    assert_eq!((difference.rebuilt, difference.files), (vec![], 0), "nor the toplevel");
}

#[test]
fn of_several_versions_only_those_that_came_and_went_are_named() {
    let base = [path('a', "python3-3.12", "1"), path('b', "python3-3.13", "2")];
    let head = [path('b', "python3-3.13", "2"), path('c', "python3-3.14", "3")];
    assert_eq!(said(&compared(&base, &head)), ["Upgraded python3 [3.12] [3.14]"]);
    assert_eq!(said(&compared(&base, &head[..1])), ["Removed python3 [3.12] []"]);
    assert_eq!(said(&compared(&head[..1], &base)), ["Added python3 [] [3.12]"]);
}

#[test]
fn a_package_of_the_same_version_with_other_content_is_rebuilt() {
    let base = [path('a', "openssl-3.5.1", "1"), path('b', "zlib-1.3", "2")];
    let head = [path('c', "openssl-3.5.1", "9"), path('d', "zlib-1.3", "2")];
    let difference = compared(&base, &head);
    assert_eq!(difference.rebuilt, ["openssl"], "zlib's path is another, its content is not");
    assert_eq!(said(&difference), [""; 0]);
}

#[test]
fn files_of_the_configuration_are_counted() {
    let base = [path('a', "etc", "1"), path('b', "unit-old.service", "2"), path('c', "motd", "3")];
    let head = [path('d', "etc", "4"), path('e', "unit-new.service", "5"), path('f', "motd", "3")];
    let difference = compared(&base, &head);
    assert_eq!(difference.files, 3);
    assert_eq!(said(&difference), [""; 0]);
}

fn closures() -> impl Strategy<Value = Vec<ClosurePath>> {
    let one = (0_u8..26, 0_u8..4, 0_u8..3).prop_map(|(hash, name, version)| {
        let name = format!("p{}-{version}", ["a", "b", "c", "d"][usize::from(name)]);
        path(char::from(b'a' + hash), &name, &hash.to_string())
    });
    proptest::collection::vec(one, 0..8)
}

proptest! {
    #[test]
    fn any_name_is_parsed_and_nothing_of_it_is_lost(name in "[a-z0-9+.=?_-]{1,40}") {
        let Package { name: found, version } = Package::parse(&name);
        prop_assert!(!found.is_empty());
        if let Some(version) = version {
            let wanted = [found.as_str(), version.as_str()].join("-");
            prop_assert!(name.starts_with(&wanted));
            prop_assert!(!version.starts_with(|c: char| c.is_ascii_alphabetic()));
        } else {
            prop_assert_eq!(found, name);
        }
    }

    #[test]
    fn a_closure_differs_from_itself_in_nothing(paths in closures()) {
        let difference = compared(&paths, &paths);
        prop_assert!(difference.packages.is_empty() && difference.rebuilt.is_empty());
        prop_assert_eq!(difference.files, 0);
    }

    #[test]
    fn the_way_back_is_the_way_there_turned_round(base in closures(), head in closures()) {
        let mut there: Vec<_> = compared(&base, &head).packages;
        let mut back: Vec<_> = compared(&head, &base).packages;
        for it in &mut back {
            std::mem::swap(&mut it.before, &mut it.after);
            it.change = match it.change {
                Change::Downgraded => Change::Upgraded,
                Change::Upgraded => Change::Downgraded,
                Change::Changed => Change::Changed,
                Change::Added => Change::Removed,
                Change::Removed => Change::Added,
            };
        }
        there.sort_by(|a, b| a.name.cmp(&b.name));
        back.sort_by(|a, b| a.name.cmp(&b.name));
        prop_assert_eq!(there, back);
    }
}
