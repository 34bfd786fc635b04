//! The bucket of the settings.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends there")]
use std::path::PathBuf;

use fleetcheck::config::{Bucket, Config, ConfigErrors, Environment, Loaded};
use insta::assert_snapshot;

/// Made for these tests; no App has it.
const KEY: &str = include_str!("../fixtures/keys/not-a-secret.pem");
const SECRET: &str = "hunter2/+and-more";

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        for (name, content) in [("key.pem", KEY), ("webhook", "hush"), ("bucket", SECRET)] {
            std::fs::write(folder.0.path().join(name), content).unwrap();
        }
        std::fs::write(folder.0.path().join("empty"), "\n").unwrap();
        folder
    }

    /// Settings with these lines of `[logs]`; `@/` stands for this folder's.
    fn write(&self, logs: &str) -> PathBuf {
        let text = format!(
            "[logs]\n{logs}\n[http]\npublic_url = \"https://fleet.example.org\"\n[github]\n\
             app_id = 1\nprivate_key_file = \"@/key.pem\"\nwebhook_secret_files = [\"@/webhook\"]\n\
             owners = [\"acme\"]\n"
        );
        let file = self.0.path().join("fleetcheck.toml");
        std::fs::write(&file, text.replace("@/", &format!("{}/", self.0.path().display())))
            .unwrap();
        file
    }

    fn load(&self, logs: &str) -> Result<Option<Bucket>, ConfigErrors> {
        let loaded = Config::load(Some(&self.write(logs)), &Environment::default());
        loaded.map(|it| it.logs.bucket)
    }

    /// What is wrong, the folder as `@`.
    fn mistakes(&self, logs: &str) -> String {
        let errors = self.load(logs).unwrap_err();
        let all: Vec<String> = errors.0.iter().map(ToString::to_string).collect();
        let said = all.join("\n").replace(self.0.path().to_str().unwrap(), "@");
        assert!(!said.contains("hunter2"), "{said}");
        said
    }
}

#[test]
fn a_bucket_is_named_by_its_address_and_has_a_key_or_the_environments() {
    let folder = Folder::new();
    assert_eq!(folder.load("").unwrap_err().0.len(), 1, "a section that says nothing");
    let plain = folder.load("url = \"s3://fleet-logs\"").unwrap().unwrap();
    assert_eq!((plain.bucket.as_str(), plain.prefix.as_str()), ("fleet-logs", ""));
    assert_eq!((&plain.endpoint, &plain.region, &plain.keys), (&None, &None, &None));
    assert_eq!(plain.to_string(), "s3://fleet-logs");
    let all = "url = \"s3://fleet-logs/acme/ci/\"\nendpoint = \"https://s3.example.org/\"\n\
               region = \"eu-central-1\"\naccess_key_id = \"AKIA\"\n\
               secret_access_key_file = \"@/bucket\"";
    let bucket = folder.load(all).unwrap().unwrap();
    assert_eq!((bucket.bucket.as_str(), bucket.prefix.as_str()), ("fleet-logs", "acme/ci/"));
    assert_eq!(bucket.to_string(), "s3://fleet-logs/acme/ci at https://s3.example.org");
    let keys = bucket.keys.as_ref().unwrap();
    assert_eq!((keys.access_key_id.as_str(), keys.secret_access_key.reveal()), ("AKIA", SECRET));
    assert!(!format!("{bucket:?}").contains("hunter2"), "{bucket:?}");
}

#[test]
fn what_config_prints_of_the_bucket_gives_it_again_without_the_secret() {
    let folder = Folder::new();
    let lines = "url = \"s3://fleet-logs/ci\"\nendpoint = \"http://[::1]:9000\"\n\
                 access_key_id = \"AKIA\"\nsecret_access_key_file = \"@/bucket\"";
    let file = folder.write(lines);
    let printed = Loaded::load(Some(&file), &Environment::default()).unwrap().render();
    let (_, logs) = printed.split_once("[logs]\n").unwrap();
    let (logs, _) = logs.split_once("\n\n").unwrap();
    let shown = logs.replace(folder.0.path().to_str().unwrap(), "@");
    assert_snapshot!(shown, @r#"
    url = "s3://fleet-logs/ci"  # @/fleetcheck.toml line 2
    endpoint = "http://[::1]:9000"  # @/fleetcheck.toml line 3
    access_key_id = "AKIA"  # @/fleetcheck.toml line 4
    secret_access_key_file = "@/bucket"  # @/fleetcheck.toml line 5
    "#);
    assert_eq!(folder.load(logs).unwrap(), folder.load(lines).unwrap());
}

#[test]
fn every_mistake_about_the_bucket_is_named_and_no_secret_is_repeated() {
    let folder = Folder::new();
    assert_snapshot!(folder.mistakes("region = \"eu-central-1\""), @r#"@/fleetcheck.toml: `logs.url`: found nothing, wanted a value: this setting has no default; add `url = "s3://BUCKET/PREFIX"`"#);
    assert_snapshot!(folder.mistakes("url = \"s3://fleet-logs\"\naccess_key_id = \"AKIA\""), @r#"@/fleetcheck.toml: `logs.secret_access_key_file`: found nothing, wanted a value: this setting has no default; add `secret_access_key_file = "/run/credentials/fleetcheck.service/logs"`"#);
    assert_snapshot!(folder.mistakes("url = \"s3://fleet-logs\"\nsecret_access_key_file = \"@/bucket\""), @r#"@/fleetcheck.toml: `logs.access_key_id`: found nothing, wanted a value: this setting has no default; add `access_key_id = "KEY"`"#);
    assert_snapshot!(
        folder.mistakes("url = \"https://fleet-logs.s3.amazonaws.com\"\nendpoint = \"http://10.0.0.1\"\n\
                         region = \"\"\naccess_key_id = \"hunter2 and more\"\n\
                         secret_access_key_file = \"hunter2\"\nsecret = \"hunter2\""),
        @r#"
        @/fleetcheck.toml line 2: `logs.url`: found "https://fleet-logs.s3.amazonaws.com", wanted a bucket and what its objects' names begin with, "s3://BUCKET/PREFIX"
        @/fleetcheck.toml line 3: `logs.endpoint`: found "http://10.0.0.1", wanted https:// (http:// is for loopback addresses only); tokens are sent there: use the address with TLS
        @/fleetcheck.toml line 4: `logs.region`: found an empty text, wanted a region like "eu-central-1"
        @/fleetcheck.toml line 5: `logs.access_key_id`: found something else, not shown as it may be the secret itself, wanted the id of an access key, one word
        @/fleetcheck.toml line 6: `logs.secret_access_key_file`: found other text, not shown as it may be the secret itself, wanted the absolute path of a file
        @/fleetcheck.toml line 7: `logs.secret`: found a key that does not exist; remove it
        "#
    );
    let with = |url: &str| folder.mistakes(&format!("url = \"{url}\""));
    assert_snapshot!(with("s3://AKIA:hunter2@fleet-logs/ci"), @r#"@/fleetcheck.toml line 2: `logs.url`: found an address with a user or parameters in it, wanted a bucket and what its objects' names begin with, "s3://BUCKET/PREFIX"; the key has settings of its own, `access_key_id` and `secret_access_key_file`"#);
    assert_snapshot!(with("s3://Fleet/ci"), @r#"@/fleetcheck.toml line 2: `logs.url`: found "s3://Fleet/ci", wanted a bucket and what its objects' names begin with, "s3://BUCKET/PREFIX"; a bucket's name has 3 to 63 lower-case letters, digits, `.` and `-`"#);
    assert_snapshot!(with("s3://fleet-logs/../ci"), @r#"@/fleetcheck.toml line 2: `logs.url`: found "s3://fleet-logs/../ci", wanted a bucket and what its objects' names begin with, "s3://BUCKET/PREFIX"; what is between two slashes has letters, digits, `.`, `_`, `-` and `+`, not beginning with a sign"#);
    let file = |name: &str| {
        folder.mistakes(&format!(
            "url = \"s3://fleet-logs\"\naccess_key_id = \"A\"\nsecret_access_key_file = \"@/{name}\""
        ))
    };
    assert_snapshot!(file("empty"), @r#"@/fleetcheck.toml line 4: `logs.secret_access_key_file`: found "@/empty", which holds nothing, wanted a secret"#);
    assert_snapshot!(file("absent"), @r#"@/fleetcheck.toml line 4: `logs.secret_access_key_file`: found "@/absent", which cannot be read (No such file or directory (os error 2)), wanted a file that can be read; write it there, readable by the user that runs fleetcheck"#);
}
