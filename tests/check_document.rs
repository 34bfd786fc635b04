//! `fleetcheck check --json`: the document is what its schema says, for every ending.
#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use fleetcheck::cli::document::CheckDocument;
use fleetcheck::domain::build::{
    BuildFailure, Derivation, Ending, EvaluationFailure, Required, SourcePlace, TimedOut, Waiting,
    Warning,
};
use fleetcheck::domain::id::AttrPath;
use fleetcheck::domain::verdict::{Problem, Verdict};
use fleetcheck::flow::check::{CheckError, CheckReport, CheckedHost};

const DRV: &str = "/nix/store/783yqpnsx5xvpayk2bnrb6cmk0a7blys-hello-1.0.drv";
const OUT: &str = "/nix/store/883yqpnsx5xvpayk2bnrb6cmk0a7blys-hello-1.0";

fn valid(document: &CheckDocument) -> serde_json::Value {
    let schema = include_str!("../fixtures/check-document.schema.json");
    let schema = jsonschema::validator_for(&serde_json::from_str(schema).unwrap()).unwrap();
    let value = serde_json::to_value(document).unwrap();
    let errors: Vec<String> = schema.iter_errors(&value).map(|it| it.to_string()).collect();
    assert_eq!(errors, Vec::<String>::new());
    assert_eq!(&serde_json::from_value::<CheckDocument>(value.clone()).unwrap(), document);
    value
}

fn host(name: &str, ending: Option<Ending>) -> CheckedHost {
    let attr = AttrPath::host(name);
    CheckedHost {
        label: attr.label().ok(),
        attr,
        required: Required::Required,
        system: Some("x86_64-linux".into()),
        derivation: Some(Derivation {
            path: DRV.parse().unwrap(),
            outputs: [("out".to_owned(), OUT.parse().unwrap())].into(),
            system: "x86_64-linux".into(),
            features: vec![],
        }),
        ending,
        waiting: None,
        elapsed_ms: 1234,
        warnings: vec![Warning {
            message: "`a` was renamed".into(),
            place: Some(SourcePlace { path: "hosts/raider.nix".into(), line: 3 }),
        }],
    }
}

fn report(verdict: Option<Verdict>, hosts: Vec<CheckedHost>) -> CheckReport {
    let revision = Some("0123456789abcdef0123456789abcdef01234567".parse().unwrap());
    CheckReport { flake: ".".into(), revision, interrupted: verdict.is_none(), verdict, hosts }
}

fn endings() -> Vec<Option<Ending>> {
    vec![
        None,
        Some(Ending::Reused),
        Some(Ending::Built { seconds: 1, without: vec![] }),
        Some(Ending::Superseded { by: "1".repeat(40).parse().unwrap() }),
        Some(Ending::EvaluationFailed(EvaluationFailure {
            headline: "it throws".into(),
            trace: "error: it throws".into(),
            place: Some(SourcePlace { path: "hosts/a.nix".into(), line: 3 }),
            limit: Some("nix.memory".into()),
        })),
        Some(Ending::BuildFailed(BuildFailure {
            derivation: DRV.parse().unwrap(),
            headline: "builder failed with exit code 3".into(),
            log_tail: vec!["boom".into()],
            before: None,
        })),
        Some(Ending::TimedOut(TimedOut {
            setting: "nix.build_timeout".into(),
            seconds: 7200,
            derivation: Some(DRV.parse().unwrap()),
            log_tail: vec![],
        })),
        Some(Ending::Transient { what: "the disk is full".into() }),
        Some(Ending::Internal { number: "42".into() }),
    ]
}

#[test]
fn every_ending_is_as_the_schema_says() {
    let hosts: Vec<CheckedHost> =
        endings().into_iter().enumerate().map(|(n, it)| host(&format!("h{n}"), it)).collect();
    let value = valid(&CheckDocument::of(&report(Some(Verdict::Failed), hosts)));
    assert_eq!(value["hosts"][5]["failure"]["derivation"], DRV);
    assert_eq!(value["hosts"][6]["failure"]["setting"], "nix.build_timeout");
    assert_eq!(value["hosts"][1]["failure"], serde_json::Value::Null);
    assert_eq!(value["hosts"][1]["outputs"]["out"], OUT);
}

#[test]
fn a_host_that_waits_says_for_what() {
    let waiting = Some(Waiting::NoBuilder { system: "riscv64-linux".into() });
    let hosts = vec![CheckedHost { waiting, ..host("viper", None) }];
    let value =
        valid(&CheckDocument::of(&CheckReport { interrupted: false, ..report(None, hosts) }));
    assert_eq!(value["hosts"][0]["result"], "waiting");
    let headline = "waiting for a builder: none of the settings does riscv64-linux";
    assert_eq!(value["hosts"][0]["failure"]["headline"], headline);
}

#[test]
fn it_passes_only_when_the_gate_does_and_nothing_was_interrupted() {
    let good = || vec![host("a", Some(Ending::Reused))];
    assert!(CheckDocument::of(&report(Some(Verdict::Passed), good())).passes);
    let interrupted = CheckReport { interrupted: true, ..report(Some(Verdict::Passed), good()) };
    assert!(!CheckDocument::of(&interrupted).passes);
    let value = valid(&CheckDocument::of(&report(None, good())));
    assert_eq!(value["verdict"], serde_json::Value::Null);
}

#[test]
fn what_cannot_be_judged_is_a_document_too() {
    let problem = Problem { headline: "no host".into(), detail: String::new(), place: None };
    let value = valid(&CheckDocument::of(&report(Some(Verdict::Broken { problem }), vec![])));
    assert_eq!(value["problem"]["headline"], "no host");
    let error = CheckError::Flake {
        flake: "/tmp/x".into(),
        headline: "it has no flake.nix".into(),
        detail: "add one".into(),
    };
    let value = valid(&CheckDocument::refused("/tmp/x", &error));
    assert_eq!(value["verdict"], "broken");
    assert_eq!(value["problem"]["detail"], "add one");
    assert_eq!(valid(&CheckDocument::refused(".", &CheckError::Stopped))["interrupted"], true);
}

#[test]
fn a_host_that_no_check_can_name_is_spelt_as_nix_does() {
    let value = valid(&CheckDocument::of(&report(Some(Verdict::Failed), vec![host("a b", None)])));
    assert_eq!(value["hosts"][0]["host"], serde_json::Value::Null);
    assert_eq!(value["hosts"][0]["attribute"], "nixosConfigurations.\"a b\"");
}
