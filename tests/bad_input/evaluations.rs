//! Flakes that do not evaluate, and hosts that would take the others with them.
use serde_json::Value;

use crate::command::{Checkout, host, results};
use crate::fleet::Host;

/// An evaluation that ends after the end of the universe and needs no memory.
pub const ENDLESS: &str = "let fib = n: if n < 2 then n else fib (n - 1) + fib (n - 2); in fib 99";

fn headline<'d>(document: &'d Value, name: &str) -> &'d str {
    host(document, name)["failure"]["headline"].as_str().unwrap_or_default()
}

#[test]
fn a_flake_without_hosts_fails_the_gate() {
    for folder in Checkout::all() {
        for outputs in ["{ }", "{ nixosConfigurations = { }; }"] {
            folder.write("flake.nix", &format!("{{ outputs = _: {outputs}; }}"));
            let (status, document) = folder.json(&[]);
            assert_eq!((status, document["verdict"].as_str()), (1, Some("broken")), "{outputs}");
            assert_eq!(document["problem"]["headline"], "no host found: nothing was built");
        }
        for (outputs, says) in [
            ("{ nixosConfigurations = [ ]; }", "the output `nixosConfigurations` is a list"),
            ("{ nixosConfigurations = throw \"not now\"; }", "not now"),
            ("[ ]", ""),
        ] {
            folder.write("flake.nix", &format!("{{ outputs = _: {outputs}; }}"));
            let (status, document) = folder.json(&[]);
            let headline = document["problem"]["headline"].as_str().unwrap();
            assert!(status == 1 && headline.contains(says), "{outputs}: {headline}");
        }
    }
}

#[test]
fn a_folder_without_a_flake_is_told_so() {
    for folder in Checkout::all() {
        let it = folder.check(&[]);
        assert_eq!(it.status, 1);
        assert!(it.stderr.contains("flake.nix"), "{}", it.stderr);
        let it = folder.check(&["./nowhere"]);
        assert!(it.status == 1 && it.stderr.contains("nowhere"), "{}", it.stderr);
        folder.write("flake.nix", "{ outputs = ");
        let it = folder.check(&[]);
        assert!(it.status == 1 && it.stderr.contains("syntax error"), "{}", it.stderr);
        assert!(!it.stderr.contains("panicked"), "{}", it.stderr);
    }
}

/// Names that are attribute names, and nothing that a check, a page or a shell should trust.
pub fn names() -> Vec<String> {
    let long = "n".repeat(300);
    let names = [
        "a b",
        "a/b",
        "a\"b",
        "a'b",
        "..",
        ".",
        "$(touch pwned)",
        "`id`",
        "${self}",
        "a\nb",
        "<script>alert(1)</script>",
        "a\\b",
        "@acme",
        "a|b",
        "",
        &long,
    ];
    names.map(str::to_owned).into()
}

#[test]
fn a_host_with_a_name_that_no_check_can_have_is_built_like_the_others() {
    for folder in Checkout::all() {
        let mut hosts: Vec<Host> =
            names().iter().map(|it| Host::new(it, "mk \"odd\" \"echo > $out\"")).collect();
        hosts.push(Host::good("orion", "1"));
        let folder = folder.with(&hosts);
        let (status, document) = folder.json(&[]);
        assert_eq!(document["hosts"].as_array().unwrap().len(), hosts.len());
        let odd: Vec<&Value> = document["hosts"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|it| it["host"].is_null())
            .collect();
        assert_eq!((status, odd.len()), (0, names().len()));
        assert_eq!(host(&document, "orion")["result"], "built");
        let it = folder.check(&[]);
        assert!(!it.stdout.contains("\n b") && !it.stdout.contains('\u{1b}'), "{}", it.stdout);
        assert!(!folder.path().join("pwned").exists());
    }
}

#[test]
fn what_a_host_does_to_its_evaluation_is_its_own_failure() {
    for folder in Checkout::all() {
        let hosts = [
            Host::new("aborts", "abort \"no further\""),
            Host::new("asserts", "assert false; 1"),
            Host::new("imports", "import (mk \"generated\" \"echo generating; exit 7\")"),
            Host::new("is-a-number", "42"),
            Host::new("is-a-set", "{ }"),
            Host::new("lacks", "{ }.services.nginx"),
            Host::good("orion", "1"),
            Host::new("overflows", "let f = n: 1 + f (n + 1); in f 0"),
            Host::new("recurses", "let x = x; in x"),
            Host::throws("throws", "gtk-engine-murrine was removed"),
        ];
        let folder = folder.with(&hosts);
        let (status, document) = folder.json(&[]);
        assert_eq!(status, 1);
        for (name, says) in [
            ("aborts", "no further"),
            ("asserts", "assertion"),
            (
                "imports",
                "generated, which evaluation needs, cannot be built: builder failed with exit code 7",
            ),
            ("is-a-number", "int"),
            ("is-a-set", "set"),
            ("lacks", "attribute 'services"),
            ("overflows", ""),
            ("recurses", "infinite recursion"),
            ("throws", "gtk-engine-murrine was removed"),
        ] {
            assert_eq!(host(&document, name)["result"], "evaluation_failed", "{name}");
            let headline = headline(&document, name);
            assert!(headline.contains(says), "{name}: {headline}");
        }
        assert_eq!(host(&document, "orion")["result"], "built");
        assert_eq!(host(&document, "throws")["failure"]["place"]["path"], "flake.nix");
    }
}

#[test]
fn an_evaluation_that_eats_memory_ends_with_the_number_and_the_key() {
    for folder in Checkout::all() {
        let greedy = "let all = builtins.genList (n: \"n${toString n}\") 50000000; in builtins.deepSeq all all";
        let folder = folder
            .setting("memory = \"256 MiB\"")
            .with(&[Host::new("greedy", greedy), Host::good("orion", "1")]);
        let (status, document) = folder.json(&[]);
        assert_eq!(
            (status, results(&document)),
            (1, vec!["greedy evaluation_failed".into(), "orion built".into()])
        );
        assert_eq!(
            headline(&document, "greedy"),
            "evaluation needed more than 256 MiB; raise nix.memory or make the host smaller"
        );
        assert_eq!(host(&document, "greedy")["failure"]["setting"], "nix.memory");
    }
}

#[test]
fn an_evaluation_that_never_ends_is_ended_with_the_number_and_the_key() {
    for folder in Checkout::all() {
        let folder = folder
            .setting("evaluation_timeout = \"3s\"")
            .with(&[Host::new("endless", ENDLESS), Host::good("orion", "1")]);
        let (status, document) = folder.json(&[]);
        assert_eq!(
            (status, results(&document)),
            (1, vec!["endless evaluation_failed".into(), "orion built".into()])
        );
        assert_eq!(
            headline(&document, "endless"),
            "evaluation did not end within 3 seconds; make it smaller or raise nix.evaluation_timeout"
        );
        assert_eq!(host(&document, "endless")["failure"]["setting"], "nix.evaluation_timeout");
    }
}

#[test]
fn an_evaluation_that_says_a_lot_fills_nothing() {
    for folder in Checkout::all() {
        let loud = "let line = builtins.concatStringsSep \"\" (builtins.genList (_: \"0123456789\") 1000); \
                    in builtins.foldl' (n: _: builtins.trace line n) (mk \"loud\" \"echo > $out\") (builtins.genList (n: n) 5000)";
        let folder = folder.with(&[Host::new("loud", loud)]);
        let it = folder.check(&[]);
        assert_eq!(it.status, 0, "{}", it.stdout);
        assert!(it.stderr.len() < 10_000 && it.stdout.len() < 10_000);
    }
}
