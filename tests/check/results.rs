//! What a check shows and with which status it ends.
use insta::assert_snapshot;
use serde_json::Value;

use crate::command::{Checkout, host, results};
use crate::fleet::Host;

/// Without the times of builds, which are never the same.
fn timeless(text: &str) -> String {
    let is_time = |word: &str| {
        let word = word.trim_end_matches([',', '.']);
        word.ends_with('s') && word.trim_end_matches('s').parse::<f64>().is_ok()
    };
    let line = |line: &str| {
        let words: Vec<&str> =
            line.split(' ').map(|it| if is_time(it) { "TIME" } else { it }).collect();
        words.join(" ").trim_end().to_owned()
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_fleet_with_every_kind_of_host_is_a_table_and_what_is_wrong() {
    let hosts = [
        Host::good("orion", "1"),
        Host::broken("viper"),
        Host::throws("raider", "gtk-engine-murrine was removed"),
        Host::elsewhere("starbuck"),
    ];
    let folder = Checkout::one().with(&hosts);
    let it = folder.check(&[]);
    assert_eq!(it.status, 1, "{}", it.stderr);
    assert_snapshot!(timeless(&it.stdout));
}

#[test]
fn without_a_terminal_each_change_is_a_plain_line() {
    let folder = Checkout::one().setting("evaluations = 1").with(&[Host::good("orion", "1")]);
    let it = folder.check(&[]);
    assert_eq!(it.status, 0);
    assert!(!it.stderr.contains('\u{1b}'), "{:?}", it.stderr);
    assert_snapshot!(timeless(&it.stderr), @r"
    1 host to check
    orion: evaluating
    orion: evaluated in TIME
    orion: waiting for a free slot
    orion: building
    orion: built in TIME
    ");
}

#[test]
fn the_gates_policy_decides_the_status() {
    let hosts = [Host::good("orion", "1"), Host::broken("viper"), Host::elsewhere("starbuck")];
    let folder = Checkout::one().with(&hosts);
    let with = |policy: &str| {
        folder.write("fleetcheck.toml", policy);
        let (status, document) = folder.json(&[]);
        (status, document["verdict"].clone())
    };
    assert_eq!(with("[gate]\nrequired = [\"orion\"]\n"), (0, "passed".into()));
    assert_eq!(with("[gate]\nrequired = [\"o*\", \"viper\"]\n"), (1, "failed".into()));
    assert_eq!(with("[gate]\nrequired = [\"starbuck\"]\n"), (1, Value::Null));
    assert_eq!(with("[gate]\nrequired = [\"orion\", \"adama\"]\n"), (1, "broken".into()));
    assert_eq!(
        with("[build]\nexclude = [\"nixosConfigurations.{viper,starbuck}\"]\n"),
        (0, "passed".into())
    );
}

#[test]
fn a_host_whose_system_no_builder_has_waits_with_its_reason() {
    for folder in Checkout::all() {
        let folder = folder.with(&[Host::elsewhere("starbuck"), Host::good("orion", "1")]);
        let (status, document) = folder.json(&[]);
        assert_eq!(
            (status, results(&document)),
            (1, vec!["orion built".into(), "starbuck waiting".into()])
        );
        assert_eq!(document["interrupted"], false);
        let it = folder.check(&[]);
        assert!(
            it.stdout.contains(
                "starbuck: waiting for a builder: none of the settings does riscv64-linux"
            ),
            "{}",
            it.stdout
        );
        assert!(
            it.stdout.ends_with("The gate would wait for a builder: 1 of 2 hosts build.\n"),
            "{}",
            it.stdout
        );
    }
}

#[test]
fn hosts_that_were_asked_for_are_checked_alone_and_each_counts() {
    let hosts = [Host::good("orion", "1"), Host::broken("viper"), Host::throws("raider", "no")];
    let folder = Checkout::one().with(&hosts);
    folder.write("fleetcheck.toml", "[gate]\nrequired = [\"orion\"]\n");
    let (status, document) = folder.json(&["--host", "orion"]);
    assert_eq!((status, results(&document)), (0, vec!["orion built".to_owned()]));
    let (status, document) = folder.json(&["--host", "viper", "--host", "orion"]);
    assert_eq!(
        (status, results(&document)),
        (1, vec!["orion reused".into(), "viper build_failed".into()])
    );
}

#[test]
fn a_host_that_is_not_there_is_wrong_usage_and_the_known_are_named() {
    let folder = Checkout::one().with(&[Host::good("orion", "1"), Host::good("viper", "1")]);
    let it = folder.check(&["--host", "starbuck"]);
    assert_eq!((it.status, it.stdout.as_str()), (2, ""));
    assert_eq!(it.stderr, "fleetcheck: no host `starbuck` in this flake; it has orion, viper\n");
}

#[test]
fn the_second_time_nothing_is_built() {
    for folder in Checkout::all() {
        let folder = folder.with(&[Host::good("orion", "1"), Host::broken("viper")]);
        assert_eq!(results(&folder.json(&[]).1), ["orion built", "viper build_failed"]);
        assert_eq!(results(&folder.json(&[]).1), ["orion reused", "viper build_failed"]);
    }
}

#[test]
fn hosts_with_one_derivation_build_it_once() {
    for folder in Checkout::all() {
        let count = folder.path().join("count");
        let script = format!("echo one >> {}; /bin/sleep 1; echo > $out", count.display());
        let same = format!(r#"mk "same" "{script}""#);
        let names = ["a", "b", "c", "d"];
        let folder = folder.with(&names.map(|name| Host::new(name, &same)));
        let (status, document) = folder.json(&["."]);
        assert_eq!(status, 0, "{document:#}");
        assert_eq!(std::fs::read_to_string(count).unwrap(), "one\n");
        let paths = names.map(|name| host(&document, name)["derivation"].as_str().unwrap());
        assert!(paths.iter().all(|it| *it == paths[0]), "{paths:?}");
    }
}

#[test]
fn the_derivation_is_the_one_that_nix_build_gives() {
    for folder in Checkout::all() {
        // What depends on the commit shows whether it is the same.
        let folder = folder.with(&[
            Host::script("orion", "echo ${self.rev} ${self} > $out"),
            Host::script("viper", "echo ${toString self.lastModified} > $out"),
        ]);
        folder.commit();
        let (status, document) = folder.json(&[]);
        assert_eq!(status, 0, "{document:#}");
        for name in ["orion", "viper"] {
            let attr = format!(".#nixosConfigurations.{name}.config.system.build.toplevel");
            let path = folder.path().to_str().unwrap();
            let installable = attr.replacen('.', path, 1);
            let drv = folder.nix.output("nix", ["path-info", "--derivation", &installable]);
            let out = folder.nix.output("nix", ["path-info", &installable]);
            assert_eq!(host(&document, name)["derivation"], drv);
            assert_eq!(host(&document, name)["outputs"]["out"], out);
        }
    }
}

#[test]
fn wrong_settings_list_every_mistake_and_end_with_2() {
    let folder = Checkout::one()
        .setting("evaluations = 0")
        .setting("build_timeout = \"soon\"")
        .setting("evaluation_memry = \"6 GiB\"")
        .with(&[Host::good("orion", "1")]);
    let it = folder.check(&[]);
    assert_eq!((it.status, it.stdout.as_str()), (2, ""));
    for key in ["nix.evaluations", "nix.build_timeout", "nix.evaluation_memry"] {
        assert!(it.stderr.contains(key), "{key}: {}", it.stderr);
    }
}
