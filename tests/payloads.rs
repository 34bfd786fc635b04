//! Deliveries of our own making and GitHub's official examples, through the whole reading.
#![expect(clippy::unwrap_used, reason = "tests may panic")]
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use fleetcheck::config::Sealed;
use fleetcheck::domain::incoming::Incoming;
use fleetcheck::github::webhook::{Disposition, Peeked, Secrets, VerifiedBody, peek, read};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};

const APP: u64 = 12345;
const SECRET: &str = "It's a Secret to Everybody";

fn verified(body: &[u8]) -> VerifiedBody {
    let mac = Hmac::<sha2::Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    let digest = hex::encode(mac.chain_update(body).finalize().into_bytes());
    let signature = format!("sha256={digest}");
    let secrets = Secrets::new(&[Sealed::new(SECRET.to_owned())]);
    secrets.verify(Bytes::copy_from_slice(body), Some(signature.as_bytes())).unwrap()
}

fn look(event: &str, body: &[u8], owner: &str) -> Peeked {
    peek(event, &verified(body), APP, &[owner.to_owned()]).unwrap()
}

/// Name (`push.force`), event and bytes of each delivery in `fixtures/webhooks`, by name.
fn fixtures() -> Vec<(String, String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/webhooks");
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|it| it.unwrap().path()).collect();
    paths.sort();
    let fixture = |path: &PathBuf| {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let event = name.split('.').next().unwrap().to_owned();
        (name, event, std::fs::read(path).unwrap())
    };
    paths.iter().map(fixture).collect()
}

#[test]
fn every_delivery_of_our_own_making_is_read_as_it_was_meant() {
    let mut seen = String::new();
    for (name, event, body) in fixtures() {
        let Peeked { action, repository, installation, disposition } = look(&event, &body, "acme");
        let numbers = (repository.map(|it| it.0), installation.map(|it| it.0));
        let action = action.unwrap_or_default();
        writeln!(seen, "{name}: {action} {numbers:?}\n  {disposition:?}").unwrap();
        if disposition == Disposition::Act {
            let read = match read(&event, &body) {
                Ok(incoming) => short(incoming),
                Err(error) => error.to_string(),
            };
            writeln!(seen, "  {read}").unwrap();
        }
    }
    insta::assert_snapshot!(seen);
}

/// What differs from fixture to fixture; every one is about the same repository.
fn short(incoming: Incoming) -> String {
    match incoming {
        Incoming::Push(push) => {
            format!("{:?} before {:?} at {:?}", push.target, push.before, push.occurred_at)
        }
        Incoming::PullRequest(pull) => format!(
            "#{} {:?} head {} base {} at {:?}",
            pull.number, pull.origin, pull.head, pull.base, pull.occurred_at
        ),
        Incoming::MergeGroup(group) => format!(
            "{} {:?} head {} base {} at {:?}",
            group.branch, group.change, group.head, group.base, group.occurred_at
        ),
        Incoming::Installation(change) => format!("{change:?}"),
        Incoming::Rerun(rerun) => format!("again: {:?} of {}", rerun.of, rerun.sha),
        Incoming::Press(press) => {
            format!("{:?} by {} on {:?} of {}", press.button, press.by, press.check, press.sha)
        }
        Incoming::Comment(it) => {
            format!("#{} {:?} by {} in {}", it.number, it.command, it.by, it.id)
        }
        Incoming::Repositories(changes) => format!("{changes:?}"),
        Incoming::Ignored(reason) => format!("ignored: {reason}"),
    }
}

#[test]
fn a_push_says_whose_repository_it_is() {
    let (_, _, body) = fixtures().into_iter().find(|(name, ..)| name == "push").unwrap();
    let Incoming::Push(push) = read("push", &body).unwrap() else { panic!("a push") };
    insta::assert_snapshot!(
        format!("{:?}", push.repository),
        @r#"Repository { id: RepositoryId(81234567890), node_id: Some(NodeId("R_81234567890")), owner: Owner("acme"), name: RepositoryName("fleet"), default_branch: Branch("main"), visibility: Private, installation: InstallationId(80000001) }"#
    );
}

#[test]
fn no_fixture_cut_short_or_with_a_null_anywhere_makes_the_reading_panic() {
    for (name, event, body) in fixtures() {
        let last = body.trim_ascii_end().len();
        for end in (0..last).step_by(97) {
            let cut = verified(&body[..end]);
            assert!(peek(&event, &cut, APP, &[]).is_err(), "{name} cut at {end}");
            assert!(read(&event, &body[..end]).is_err() || !is_read(&event), "{name} at {end}");
        }
        let whole: Value = serde_json::from_slice(&body).unwrap();
        for path in paths(&whole) {
            let mut holed = whole.clone();
            *holed.pointer_mut(&path).unwrap() = Value::Null;
            let bytes = holed.to_string().into_bytes();
            look(&event, &bytes, "acme");
            drop(read(&event, &bytes));
        }
    }
}

fn is_read(event: &str) -> bool {
    let read = [
        "push",
        "pull_request",
        "merge_group",
        "installation",
        "installation_repositories",
        "repository",
    ];
    read.contains(&event)
}

/// JSON pointers to everything below the root.
fn paths(value: &Value) -> Vec<String> {
    let children: Vec<(String, &Value)> = match value {
        Value::Object(map) => map.iter().map(|(key, it)| (key.clone(), it)).collect(),
        Value::Array(list) => {
            list.iter().enumerate().map(|(at, it)| (at.to_string(), it)).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => vec![],
    };
    let below = |(key, child): (String, &Value)| {
        let own = format!("/{}", key.replace('~', "~0").replace('/', "~1"));
        let deeper: Vec<String> = paths(child).iter().map(|it| format!("{own}{it}")).collect();
        std::iter::once(own).chain(deeper)
    };
    children.into_iter().flat_map(below).collect()
}

/// Event and body of every example in npm's `@octokit/webhooks-examples`.
fn official() -> Vec<(String, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/npm/node_modules/@octokit/webhooks-examples");
    let mut all = Vec::new();
    for host in ["api.github.com", "ghes-31", "ghes-32", "ghes-33", "ghes-34", "ghes-35"] {
        let file = folder.join(host).join("index.json");
        let text = std::fs::read(&file).unwrap_or_else(|error| {
            panic!("{}: {error}. ./tests/run.sh installs it; run that once.", file.display())
        });
        let events: Vec<Value> = serde_json::from_slice(&text).unwrap();
        for event in events {
            let name = event["name"].as_str().unwrap().to_owned();
            for example in event["examples"].as_array().unwrap() {
                all.push((name.clone(), example.clone()));
            }
        }
    }
    all
}

#[test]
fn every_official_example_has_a_disposition() {
    let all = official();
    assert!(all.len() >= 700, "only {} examples", all.len());
    let (mut pings, mut unknown) = (0, 0);
    for (event, example) in all {
        let body = example.to_string().into_bytes();
        let peeked = look(&event, &body, "acme");
        // Whatever the first look says, the full reading neither panics nor loops.
        drop(read(&event, &body));
        match peeked.disposition {
            Disposition::Ping => pings += 1,
            Disposition::Ignore(reason) => {
                assert!(!reason.is_empty());
                assert!(!reason.contains("cannot be read"), "{event}: {reason}");
                unknown += i32::from(reason.starts_with("unknown event"));
            }
            // A repository that goes to a stranger may have been ours.
            Disposition::Act if event == "repository" => {
                assert_eq!(peeked.action.as_deref(), Some("transferred"));
            }
            Disposition::Act | Disposition::Echo => panic!("{event} is neither ours nor acme's"),
        }
    }
    assert!(pings > 0 && unknown > 0);
}

#[test]
fn every_official_example_of_what_we_act_on_is_understood() {
    let mut understood = std::collections::BTreeMap::<String, usize>::new();
    for (event, mut example) in official() {
        // Examples of repository webhooks lack what GitHub adds for an App.
        if example.get("installation").is_none() {
            example["installation"] = json!({ "id": 80_000_001 });
        }
        let account =
            ["/repository/owner/login", "/repository/owner/name", "/installation/account/login"];
        let owner = account.iter().find_map(|it| example.pointer(it)?.as_str());
        let owner = owner.unwrap_or("acme").to_owned();
        let body = example.to_string().into_bytes();
        if look(&event, &body, &owner).disposition == Disposition::Act {
            let incoming = read(&event, &body).unwrap_or_else(|error| panic!("{error}: {example}"));
            assert!(!matches!(incoming, Incoming::Ignored(_)), "{event}: {incoming:?}");
            *understood.entry(event).or_default() += 1;
        }
    }
    let events: Vec<&str> = understood.keys().map(String::as_str).collect();
    let wanted = [
        "installation",
        "installation_repositories",
        "merge_group",
        "pull_request",
        "push",
        "repository",
    ];
    assert_eq!(events, wanted);
    assert!(understood["push"] >= 7 && understood["pull_request"] >= 7, "{understood:?}");
}
