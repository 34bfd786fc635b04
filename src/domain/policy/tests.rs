mod update;

use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Result<Policy, PolicyError> {
    Policy::parse("fleetcheck.toml", text)
}

fn attr(text: &str) -> AttrPath {
    AttrPath::new(text.split('.').map(str::to_owned).collect()).unwrap()
}

#[test]
fn an_empty_file_wants_the_defaults() {
    assert_eq!(parse("").unwrap(), Policy::default());
    assert_eq!(parse("[build]\n[gate]\n[trust]\n[update]\n").unwrap(), Policy::default());
}

#[test]
fn every_key_is_read() {
    let policy = parse(
        r#"
        [build]
        outputs = ["nixosConfigurations.*", "checks.x86_64-linux.*", "hydraJobs.**"]
        exclude = ["nixosConfigurations.installer"]
        branches = ["release-*"]
        flake = "./infra/nix/"
        pull_requests = "merge"
        [gate]
        required_from = 'tiers."tier.1"'
        existing_failures = "ignore"
        [trust]
        forks = "never"
        sticky = true
        comments = true
        "#,
    )
    .unwrap();
    assert_eq!(policy.build.flake, "infra/nix");
    assert_eq!(policy.build.pull_requests, PullRequests::Merge);
    let (forks, approvals) = (Forks::Never, Approvals::Sticky);
    assert_eq!(policy.trust, TrustPolicy { forks, approvals, comments: true });
    assert_eq!(policy.gate.existing_failures, ExistingFailures::Ignore);
    let from = policy.gate.required_from.unwrap();
    assert_eq!(from.components(), ["tiers", "tier.1"]);
    assert!(policy.build.wants(&attr("nixosConfigurations.raider")));
    assert!(!policy.build.wants(&attr("nixosConfigurations.installer")));
    assert!(policy.build.wants(&attr("hydraJobs.tests.deep.down")));
    assert!(!policy.build.wants(&attr("checks.aarch64-linux.lint")));
}

#[test]
fn a_mistake_is_told_with_its_line_and_what_to_do() {
    let table = [
        (
            "[gate]\nrequird = []",
            2,
            "unknown key `requird`; did you mean `required`? (in [gate]: required, required_from, existing_failures)",
        ),
        (
            "\n[bild]",
            2,
            "unknown key `bild`; did you mean `build`? (in the file: build, gate, trust, update)",
        ),
        ("zebra = 1", 1, "unknown key `zebra` (in the file: build, gate, trust, update)"),
        ("gate = 3", 1, "`gate` must be a table, begun with [gate]; found a number"),
        ("[build]\n\noutputs = \"x\"", 3, "`build.outputs` must be a list of texts; found a text"),
        (
            "[build]\nbranches = [\n \"a\",\n 7]",
            4,
            "`build.branches` must be a list of texts; found a number",
        ),
        (
            "[build]\noutputs = []",
            2,
            "`build.outputs` is empty, so nothing would be built; name an output, such as \"nixosConfigurations.*\", or leave the key out",
        ),
        (
            "[build]\noutputs = [\"nixosConfiguration.*\"]",
            2,
            "`build.outputs`: \"nixosConfiguration.*\" must begin with one of nixosConfigurations, darwinConfigurations, homeConfigurations, checks, packages, hydraJobs",
        ),
        (
            "[build]\noutputs = [\"checks.*\"]",
            2,
            "`build.outputs`: \"checks.*\" cannot be built: `checks.*` does not name what to build; write `checks.x86_64-linux.*`",
        ),
        (
            "[build]\noutputs = [\"nixosConfigurations.**\"]",
            2,
            "`build.outputs`: \"nixosConfigurations.**\" cannot be built: `**` is for `hydraJobs` only; write `nixosConfigurations.*`",
        ),
        (
            "[build]\nexclude = [\"packages.**.x\"]",
            2,
            "`build.exclude`: \"packages.**.x\" may have `**` only at its end",
        ),
        (
            "[build]\nbranches = [\"a[\"]",
            2,
            "`build.branches`: \"a[\" is not a glob: unclosed character class; missing ']'",
        ),
        (
            "[build]\nflake = \"/etc\"",
            2,
            "`build.flake`: \"/etc\" is absolute; give the folder relative to the repository's root",
        ),
        (
            "[build]\nflake = \"a/../..\"",
            2,
            "`build.flake`: \"a/../..\" leaves its folder with `..`; give a folder of this repository",
        ),
        (
            "[build]\nflake = \"a?rev=1\"",
            2,
            "`build.flake`: \"a?rev=1\" must be a folder: letters, digits and `.`, `_`, `-`, `+`, `/`",
        ),
        (
            "[gate]\nrequired = [\"*\"]\nrequired_from = \"tiers\"",
            3,
            "`gate.required` and `gate.required_from` are both given; keep one of them",
        ),
        (
            "[gate]\nrequired = []",
            2,
            "`gate.required` is empty, so the gate could never pass; name the hosts that must build, such as \"*\" for all, or leave the key out",
        ),
        (
            "[gate]\nrequired_from = \"tiers.*\"",
            2,
            "`gate.required_from`: \"tiers.*\" has a `*`; name one output, such as \"tiers.tier1\"",
        ),
        (
            "[trust]\nforks = \"yes\"",
            2,
            "`trust.forks`: \"yes\" must be \"approve\", \"never\" or \"build\"",
        ),
        ("[trust]\nforks = true", 2, "`trust.forks` must be a text; found true or false"),
        ("[trust]\nsticky = \"yes\"", 2, "`trust.sticky` must be true or false; found a text"),
        (
            "[build]\npull_requests = \"both\"",
            2,
            "`build.pull_requests`: \"both\" must be \"head\" or \"merge\"",
        ),
        ("[trust]\ncomments = \"yes\"", 2, "`trust.comments` must be true or false; found a text"),
    ];
    each_is_told(&table);
}

fn each_is_told(table: &[(&str, u32, &str)]) {
    for (text, line, reason) in table {
        let error = parse(text).expect_err(text);
        assert_eq!((error.line, error.reason.as_str()), (*line, *reason), "{text}");
    }
}

#[test]
fn the_first_mistake_of_the_file_is_the_one_told() {
    assert_eq!(parse("[trust]\nx = 1\n[build]\ny = 2").unwrap_err().line, 2);
}

#[test]
fn invalid_toml_is_told_with_its_line() {
    let error = parse("[build]\noutputs = [").unwrap_err();
    insta::assert_snapshot!(error, @"fleetcheck.toml line 2: is not valid TOML: unclosed array, expected `]`");
    assert!(parse("[gate]\n[gate]").is_err());
    assert!(parse("[build]\nflake = \"a\"\nflake = \"b\"").is_err());
}

#[test]
fn a_file_that_is_not_utf8_is_an_error_of_its_own() {
    let error = Policy::parse_bytes("fleetcheck.toml", b"[gate]\n# \xff").unwrap_err();
    insta::assert_snapshot!(error, @"fleetcheck.toml line 2: is not UTF-8 text; save the file as UTF-8, as TOML wants it");
}

#[test]
fn a_hostile_key_cannot_leave_its_line() {
    let error = parse("\"a\\nb\\u001b[31m\" = 1").unwrap_err();
    assert!(!error.to_string().contains(char::is_control), "{error}");
}

#[test]
fn required_hosts_are_found_by_glob_or_by_list() {
    let gate = parse("[gate]\nrequired = [\"web-*\", \"raider\", \"checks.*.lint\"]").unwrap().gate;
    for (label, required) in [
        ("web-1", Required::Required),
        ("raider", Required::Required),
        ("raider2", Required::Optional),
        ("checks.x86_64-linux.lint", Required::Required),
    ] {
        assert_eq!(gate.requires(label, None), required, "{label}");
    }
    let gate = parse("[gate]\nrequired_from = \"tiers.tier1\"").unwrap().gate;
    let names = ["raider".to_owned()];
    assert_eq!(gate.requires("raider", Some(&names)), Required::Required);
    assert_eq!(gate.requires("web-1", Some(&names)), Required::Optional);
    assert_eq!(gate.requires("web-1", None), Required::Required, "fails closed");
}

#[test]
fn only_the_default_branch_and_the_named_ones_are_built() {
    let policy = parse("[build]\nbranches = [\"release/*\", \"wip/**\"]").unwrap();
    let main: Branch = "main".parse().unwrap();
    for (branch, builds) in [
        ("main", true),
        ("master", false),
        ("release/1", true),
        ("release/1/x", false),
        ("wip/a/b", true),
        ("gh-readonly-queue/main/pr-1", false),
    ] {
        assert_eq!(policy.builds_branch(&branch.parse().unwrap(), &main), builds, "{branch}");
    }
}

#[test]
fn a_pattern_reads_back_as_it_was_written() {
    for text in ["nixosConfigurations.*", "checks.x86_64-linux.\"a.b\"", "hydraJobs.**"] {
        assert_eq!(text.parse::<AttrPattern>().unwrap().to_string(), text);
    }
    for text in ["", ".", "checks..a", "checks.\"a", "checks.\"a\"b", "hydraJobs.a\"b", "**", "*"] {
        assert!(text.parse::<AttrPattern>().is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn no_file_makes_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Policy::parse_bytes("f", &bytes);
    }

    #[test]
    fn no_value_makes_the_reader_panic(
        key in "(build|gate|trust|x)\\.(outputs|exclude|branches|flake|required|required_from|forks|sticky|comments|pull_requests|y)",
        value in "\\[?'[a-z.*\"{}\\[\\]!?/-]{0,30}'\\]?|[0-9.:-]{1,10}|\\{\\}",
    ) {
        if let Err(error) = parse(&format!("{key} = {value}")) {
            prop_assert!(!error.to_string().contains(char::is_control));
        }
    }

    #[test]
    fn no_pattern_makes_matching_panic(glob in "\\PC{0,40}", text in "\\PC{0,40}") {
        if let Ok(pattern) = glob.parse::<AttrPattern>() {
            let _ = pattern.matches(&AttrPath::host(&text));
        }
        let gate = GatePolicy { required: vec![glob], required_from: None, ..GatePolicy::default() };
        let _ = gate.requires(&text, None);
    }
}
