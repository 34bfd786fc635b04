//! `fleetcheck doctor`: what is wrong, and what to do about it, against a GitHub of values.
#![expect(clippy::unwrap_used, reason = "tests may panic")]
#![allow(dead_code, unreachable_pub, reason = "the harness is shared with other tests")]
#[path = "world/mod.rs"]
mod world;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use axum::routing::get;
use serde_json::{Value, json};

use world::github::{
    FakeGitHub, Fault, OTHER_PRIVATE_KEY, OTHER_PUBLIC_KEY, Operation, Options, SECOND_APP_ID,
};
use world::nix::TestNix;
use world::s3::{S3, SECRET};

/// A house in order, in which each test breaks one thing.
struct House {
    github: FakeGitHub,
    nix: TestNix,
    folder: tempfile::TempDir,
    settings: BTreeMap<&'static str, Value>,
    environment: BTreeMap<&'static str, String>,
}

struct Told {
    status: Option<i32>,
    said: String,
}

impl House {
    async fn new() -> Self {
        Self::with(TestNix::one(), Options::default()).await
    }

    async fn with(nix: TestNix, options: Options) -> Self {
        let github = FakeGitHub::start(options).await;
        github.create_repository("acme", "fleet", true);
        let folder = tempfile::Builder::new().prefix("fc-doctor-").tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("key.pem"), github.private_key_pem()).unwrap();
        std::fs::write(at("webhook"), github.secret()).unwrap();
        std::fs::create_dir(at("state")).unwrap();
        let settings = [
            ("http.listen", json!("127.0.0.1:0")),
            ("http.public_url", json!(github.api_url())),
            ("github.app_id", json!(github.app_id())),
            ("github.private_key_file", json!(at("key.pem"))),
            ("github.webhook_secret_files", json!([at("webhook")])),
            ("github.api_url", json!(github.api_url())),
            ("github.git_url", json!(github.git_url())),
            ("github.owners", json!(["acme"])),
            ("store.directory", json!(at("state"))),
            ("nix.program", json!(nix.program())),
        ];
        Self { github, nix, folder, settings: settings.into(), environment: BTreeMap::new() }
    }

    fn set(mut self, key: &'static str, value: Value) -> Self {
        self.settings.insert(key, value);
        self
    }

    /// What doctor says; it must say it within half a minute.
    async fn doctor(&self) -> Told {
        let line = |(key, value): (&&str, &Value)| format!("{key} = {value}\n");
        let file = self.folder.path().join("fleetcheck.toml");
        std::fs::write(&file, self.settings.iter().map(line).collect::<String>()).unwrap();
        let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_fleetcheck"))
            .args(["doctor", "--config"])
            .arg(file)
            .envs(self.nix.env())
            .envs(&self.environment)
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(Duration::from_secs(40), output).await;
        let output = output.expect("doctor hangs").unwrap();
        let said = format!(
            "{}{}",
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap()
        );
        Told { status: output.status.code(), said }
    }
}

impl Told {
    /// One thing to mend, of this kind, in these words.
    #[track_caller]
    fn mends(&self, what: &str, says: &[&str]) {
        assert_eq!(self.status, Some(1), "{}", self.said);
        let mends: Vec<&str> = self.said.lines().filter(|it| it.starts_with("mend")).collect();
        let found = mends.iter().find(|it| it.split_whitespace().nth(1) == Some(what));
        let line = found.unwrap_or_else(|| panic!("nothing about {what}:\n{}", self.said));
        for words in says {
            assert!(line.contains(words), "`{words}` is not in:\n{}", self.said);
        }
        assert!(!self.said.contains("panicked"), "{}", self.said);
    }

    #[track_caller]
    fn mends_only(&self, what: &str, says: &[&str]) {
        self.mends(what, says);
        assert!(self.said.ends_with("\nOne thing to mend.\n"), "{}", self.said);
    }
}

#[tokio::test]
async fn a_house_in_order_is_well_and_nothing_is_made() {
    for nix in TestNix::all() {
        let house = House::with(nix, Options::default()).await;
        let it = house.doctor().await;
        assert_eq!(it.status, Some(0), "{}", it.said);
        assert!(it.said.ends_with("\nAll is well.\n"), "{}", it.said);
        for what in [
            "settings",
            "key",
            "github",
            "nix",
            "nix-daemon",
            "builders",
            "git",
            "directory",
            "store",
            "disk",
        ] {
            assert!(it.said.contains(&format!("ok    {what:<10}")), "{what}:\n{}", it.said);
        }
        assert_eq!(std::fs::read_dir(house.folder.path().join("state")).unwrap().count(), 0);
    }
}

#[tokio::test]
async fn a_permission_that_was_not_given_is_named() {
    let house = House::new().await;
    house.github.withhold("checks");
    house
        .doctor()
        .await
        .mends("github", &["the App lacks checks: write", "\"Permissions & events\""]);
}

#[tokio::test]
async fn an_event_that_is_not_heard_is_named() {
    let permissions = json!({
        "checks": "write", "contents": "read", "issues": "write", "merge_queues": "read",
        "metadata": "read", "pull_requests": "read", "statuses": "write",
    });
    let app = json!({ "id": 1, "slug": "fleet", "name": "Fleet", "permissions": permissions, "events": ["push", "merge_group", "issue_comment"] });
    let installations = json!([{
        "id": 1, "account": { "login": "acme" }, "suspended_at": null, "permissions": permissions, "events": ["push", "merge_group", "issue_comment"],
    }]);
    let router = axum::Router::new()
        .route("/app", get(move || async move { axum::Json(app) }))
        .route("/app/installations", get(move || async move { axum::Json(installations) }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move { axum::serve(listener, router).await });
    let house = House::new().await.set("github.api_url", json!(url));
    let says = ["does not hear pull_request", "tick them", "\"Permissions & events\""];
    house.doctor().await.mends_only("github", &says);
    server.abort();
}

#[tokio::test]
async fn a_clock_that_is_an_hour_wrong_is_told_with_what_to_do() {
    for offset in [3600, -3600] {
        let options = Options { clock_offset: offset, ..Options::default() };
        let it = House::with(TestNix::one(), options).await.doctor().await;
        it.mends_only("github", &["clock", "NTP"]);
        assert!(
            it.said.contains("3600") || it.said.contains("3599") || it.said.contains("3601"),
            "{}",
            it.said
        );
    }
}

#[tokio::test]
async fn a_github_that_does_not_answer_is_told_with_its_address() {
    // Nobody listens there any more.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let house = House::new().await.set("github.api_url", json!(url));
    house.doctor().await.mends_only("github", &[&url, "refused", "the network"]);
    // It takes the connection and says nothing.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let house =
        House::new().await.set("github.api_url", json!(url)).set("http.public_url", json!(url));
    let it = house.doctor().await;
    it.mends_only("github", &["no answer within 15 s"]);
    assert!(it.said.contains("note  address"), "{}", it.said);
}

#[tokio::test]
async fn a_github_that_is_ill_is_told_in_its_words() {
    let house = House::new().await;
    house.github.fail_next(Operation::App, Fault::Status(502), 9);
    house.doctor().await.mends_only("github", &["502"]);
    house.github.mend();
    house.github.fail_next(Operation::Installations, Fault::Dropped, 9);
    house.doctor().await.mends_only("github", &["installations"]);
}

#[tokio::test]
async fn an_app_that_github_does_not_know_and_another_apps_key_are_told_with_what_to_check() {
    let house = House::new().await.set("github.app_id", json!(999));
    house.doctor().await.mends_only("github", &["Integration not found", "github.app_id"]);
    let house = House::new().await;
    let another = include_bytes!("../fixtures/keys/another-not-a-secret.pem");
    std::fs::write(house.folder.path().join("key.pem"), another).unwrap();
    house.doctor().await.mends_only("github", &["401", "check `github.app_id`, the key"]);
}

#[tokio::test]
async fn of_several_keys_doctor_says_which_github_accepts() {
    let mut house = House::new().await;
    let at = |name: &str| house.folder.path().join(name);
    let (new, old) = (at("new.pem"), at("key.pem"));
    std::fs::write(&new, OTHER_PRIVATE_KEY).unwrap();
    house.settings.remove("github.private_key_file");
    let house = house.set("github.private_key_files", json!([new, old]));
    let said = |of: &Path, words: &str| format!("{}: GitHub {words}", of.display());
    // The new one is not on the App's page yet: all works, and it is said.
    let it = house.doctor().await;
    assert_eq!(it.status, Some(0), "{}", it.said);
    assert!(it.said.contains(&said(&new, "does not accept this key; take it out")), "{}", it.said);
    assert!(it.said.contains(&said(&old, "accepts this key")), "{}", it.said);
    // Then the old one is taken from it.
    house.github.accept_keys(&[OTHER_PUBLIC_KEY]);
    let it = house.doctor().await;
    assert_eq!(it.status, Some(0), "{}", it.said);
    assert!(it.said.contains(&said(&new, "accepts this key")), "{}", it.said);
    assert!(it.said.contains(&said(&old, "does not accept this key")), "{}", it.said);
    assert!(it.said.lines().any(|line| line.starts_with("note") && line.contains("key.pem")));
    // With none of them nothing works.
    std::fs::write(house.folder.path().join("new.pem"), house.github.private_key_pem()).unwrap();
    house.doctor().await.mends_only("github", &["401", "check `github.app_id`, the key"]);
}

#[tokio::test]
async fn updates_are_optional_until_an_app_is_named_for_them() {
    let house = House::new().await;
    let well =
        |it: Told, says| assert!(it.status == Some(0) && it.said.contains(says), "{}", it.said);
    well(house.doctor().await, "acme: no update pull requests: the App lacks contents: write");
    let key = house.folder.path().join("updater.pem");
    std::fs::write(&key, OTHER_PRIVATE_KEY).unwrap();
    let house = house.set("github.updater_app_id", json!(SECOND_APP_ID));
    let house = house.set("github.updater_private_key_file", json!(key));
    house.doctor().await.mends_only("updates", &["check `github.updater_app_id`"]);
    house.github.install_second_app(&house.github.create_repository("acme", "other", true));
    well(house.doctor().await, "acme: update pull requests can be written");
    house.github.withhold_from_second("issues");
    house.doctor().await.mends("updates", &["lacks issues: write"]);
}

#[tokio::test]
async fn an_owner_without_an_installation_is_named() {
    let house = House::new().await.set("github.owners", json!(["acme", "initech"]));
    let says = ["initech", "not installed", "/apps/fleetcheck", "github.owners"];
    house.doctor().await.mends_only("github", &says);
}

#[tokio::test]
async fn a_missing_nix_and_an_old_one_are_told_with_what_to_do() {
    let house = House::new().await.set("nix.program", json!("/nowhere/bin/nix"));
    house.doctor().await.mends("nix", &["/nowhere/bin/nix", "nix.program"]);
    for (script, says) in [
        ("echo 'nix (Nix) 2.4'", "is 2.4; install Nix 2.8 or newer"),
        ("echo 'I am no nix'", "I am no nix"),
        ("echo 'cannot open the store' >&2; exit 1", "cannot open the store"),
        ("sleep 600", "no answer within 15 s"),
    ] {
        let house = House::new().await;
        let program = house.folder.path().join("nix");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let house = house.set("nix.program", json!(program));
        house.doctor().await.mends("nix", &[says]);
    }
}

#[tokio::test]
async fn it_says_whether_nix_eval_jobs_is_used_and_why_not() {
    let mut house = House::new().await;
    // Whatever this machine has.
    let path = std::env::var_os("PATH").unwrap();
    let path = std::env::split_paths(&path).filter(|it| !it.join("nix-eval-jobs").exists());
    let path = std::env::join_paths(path).unwrap().into_string().unwrap();
    house.environment.insert("PATH", path);
    let it = house.doctor().await;
    let none = "ok    nix         nix-eval-jobs is not on the PATH: nix eval evaluates all";
    assert!(it.said.contains(none), "{}", it.said);
    let house = House::with(TestNix::one().with_eval_jobs(), Options::default()).await;
    let version = house.nix.nix().version().await.unwrap();
    let release = version.rsplit_once('.').unwrap().0;
    let program = house.nix.program().with_file_name("nix-eval-jobs").display().to_string();
    for (mode, says) in [
        (
            "",
            format!(
                "ok    nix         nix-eval-jobs {version} evaluates checks, packages and hydraJobs"
            ),
        ),
        (
            "version 2.7.1",
            format!("note  nix         nix-eval-jobs is for Nix 2.7, this is {release}: not used"),
        ),
        (
            "mute",
            format!(
                "note  nix         {program} does not say for which Nix it is: not used: error: cannot open the store"
            ),
        ),
    ] {
        house.nix.let_eval_jobs(mode);
        let it = house.doctor().await;
        assert_eq!(it.status, Some(0), "{}", it.said);
        assert!(it.said.contains(&says), "{says}\n{}", it.said);
    }
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_told_with_whose_it_must_be() {
    let house = House::new().await.set("store.directory", json!("/proc/fleetcheck"));
    house.doctor().await.mends("directory", &["/proc/fleetcheck", "owned by the user"]);
}

#[tokio::test]
async fn a_store_that_is_not_ours_is_told_with_what_to_do() {
    let house = House::new().await;
    let file = house.folder.path().join("diary.txt");
    std::fs::write(&file, "Dear diary,\n".repeat(500)).unwrap();
    let house = house.set("store.url", json!(format!("sqlite:{}", file.display())));
    house.doctor().await.mends_only("store", &["diary.txt", "not an SQLite database", "store.url"]);
    assert_eq!(std::fs::read_to_string(file).unwrap(), "Dear diary,\n".repeat(500));
}

#[tokio::test]
async fn a_bucket_is_tried_out_and_what_it_refuses_is_told_with_what_to_do() {
    let mut server = S3::start();
    let mut house = House::new().await;
    let secret = house.folder.path().join("bucket");
    let settings: toml::Table = toml::from_str(&server.settings(&secret)).unwrap();
    for key in ["logs.url", "logs.endpoint", "logs.access_key_id", "logs.secret_access_key_file"] {
        let value = settings[key.strip_prefix("logs.").unwrap()].as_str();
        house = house.set(key, json!(value));
    }
    let it = house.doctor().await;
    assert_eq!(it.status, Some(0), "{}", it.said);
    assert!(it.said.contains("ok    logs        s3://logs/fleet at http://127"), "{}", it.said);
    assert_eq!(server.names(), [""; 0], "nothing is made");

    // Without a key in the settings the environment's counts, and then a role that the machine has.
    let keys = ["logs.access_key_id", "logs.secret_access_key_file"];
    let [id, file] = keys.map(|key| house.settings.remove(key).unwrap());
    house.environment.insert("AWS_METADATA_ENDPOINT", server.endpoint() + "/no");
    let says = ["there is no key for it", "AWS_SECRET_ACCESS_KEY"];
    house.doctor().await.mends_only("logs", &says);
    house.environment.insert("AWS_ACCESS_KEY_ID", id.as_str().unwrap().to_owned());
    house.environment.insert("AWS_SECRET_ACCESS_KEY", SECRET.to_owned());
    let it = house.doctor().await;
    assert_eq!(it.status, Some(0), "{}", it.said);

    let house = house.set(keys[0], id).set(keys[1], file);
    std::fs::write(&secret, "hunter2").unwrap();
    let it = house.doctor().await;
    it.mends_only("logs", &["s3://logs/fleet at http://127", "`logs.secret_access_key_file`"]);
    assert!(!it.said.contains("hunter2"), "{}", it.said);
    server.stop();
    house.doctor().await.mends_only("logs", &[&server.endpoint(), "refused"]);
}

#[tokio::test]
async fn wrong_settings_are_each_listed_and_the_rest_is_looked_at_as_far_as_it_goes() {
    let house = House::new()
        .await
        .set("github.app_id", json!("acme"))
        .set("http.listen", json!("everywhere"));
    std::fs::write(house.folder.path().join("key.pem"), "no key").unwrap();
    let it = house.doctor().await;
    it.mends("settings", &[]);
    assert!(it.said.ends_with("\n3 things to mend.\n"), "{}", it.said);
    for key in ["`github.app_id`", "`http.listen`", "`github.private_key_file`"] {
        assert!(it.said.contains(key), "{key}:\n{}", it.said);
    }
    assert!(it.said.contains("ok    nix"), "{}", it.said);
}
