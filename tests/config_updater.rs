//! The App of updates in the settings: all of it or nothing.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends there")]
use std::path::PathBuf;

use fleetcheck::config::{Config, Environment, Loaded, UpdaterApp};
use insta::assert_snapshot;

/// Made for these tests; no App has it.
const KEY: &str = include_str!("../fixtures/keys/not-a-secret.pem");
const ANOTHER_KEY: &str = include_str!("../fixtures/keys/another-not-a-secret.pem");

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        for (name, content) in [("key.pem", KEY), ("updater.pem", ANOTHER_KEY), ("webhook", "hush")]
        {
            std::fs::write(folder.0.path().join(name), content).unwrap();
        }
        folder
    }

    /// Settings with these lines more in `[github]`; `@/` stands for this folder's.
    fn write(&self, more: &str) -> PathBuf {
        let text = format!(
            "[http]\npublic_url = \"https://fleet.example.org\"\n[github]\n\
             app_id = 1\nprivate_key_file = \"@/key.pem\"\nwebhook_secret_files = [\"@/webhook\"]\n\
             owners = [\"acme\"]\n{more}\n"
        );
        let file = self.0.path().join("fleetcheck.toml");
        std::fs::write(&file, text.replace("@/", &format!("{}/", self.0.path().display())))
            .unwrap();
        file
    }

    fn app(&self, more: &str) -> Option<UpdaterApp> {
        Config::load(Some(&self.write(more)), &Environment::default()).unwrap().github.updater
    }

    fn without_folder(&self, text: &str) -> String {
        text.replace(self.0.path().to_str().unwrap(), "@")
    }

    fn mistakes(&self, more: &str) -> String {
        let errors = Config::load(Some(&self.write(more)), &Environment::default()).unwrap_err();
        let all: Vec<String> = errors.0.iter().map(ToString::to_string).collect();
        self.without_folder(&all.join("\n"))
    }

    /// What `fleetcheck config` shows of it.
    fn shown(&self, more: &str) -> String {
        let page = Loaded::load(Some(&self.write(more)), &Environment::default()).unwrap().render();
        let lines = page.lines().filter(|it| it.starts_with("updater_"));
        self.without_folder(&lines.collect::<Vec<_>>().join("\n"))
    }
}

const WHOLE: &str = "updater_app_id = 67890\nupdater_private_key_file = \"@/updater.pem\"";

#[test]
fn the_app_of_updates_has_a_number_and_a_key_or_is_the_app_that_reports() {
    let folder = Folder::new();
    assert_eq!(folder.app(""), None);
    let app = folder.app(WHOLE).unwrap();
    assert_eq!((app.app_id, app.private_keys.len()), (67890, 1));
    assert_eq!(app.private_keys[0].reveal(), ANOTHER_KEY);
    let several = "updater_app_id = 67890\n\
                   updater_private_key_files = [\"@/key.pem\", \"@/updater.pem\"]";
    assert_eq!(folder.app(several).unwrap().files.len(), 2);
    assert_eq!(folder.shown(""), "");
    assert_snapshot!(folder.shown(WHOLE), @r#"
    updater_app_id = 67890  # @/fleetcheck.toml line 8
    updater_private_key_file = "@/updater.pem"  # @/fleetcheck.toml line 9
    "#);
    assert_snapshot!(folder.shown(several), @r#"
    updater_app_id = 67890  # @/fleetcheck.toml line 8
    updater_private_key_files = ["@/key.pem", "@/updater.pem"]  # @/fleetcheck.toml line 9
    "#);
}

#[test]
fn half_of_it_is_a_mistake_that_names_both_halves() {
    let folder = Folder::new();
    assert_snapshot!(folder.mistakes("updater_app_id = 67890"), @r#"@/fleetcheck.toml: `github.updater_private_key_file`: found nothing, wanted a value beside `github.updater_app_id`; add `updater_private_key_file = "/run/credentials/fleetcheck.service/updater-app.pem"`, or take `updater_app_id` away"#);
    assert_snapshot!(folder.mistakes("updater_private_key_file = \"@/updater.pem\""), @"@/fleetcheck.toml: `github.updater_app_id`: found nothing, wanted a value beside `github.updater_private_key_file`; add `updater_app_id = 67890`, or take `updater_private_key_file` away");
    assert_snapshot!(folder.mistakes("updater_private_key_files = [\"@/updater.pem\"]"), @"@/fleetcheck.toml: `github.updater_app_id`: found nothing, wanted a value beside `github.updater_private_key_files`; add `updater_app_id = 67890`, or take `updater_private_key_files` away");
    assert_snapshot!(folder.mistakes(&WHOLE.replace("updater.pem", "webhook")), @r#"@/fleetcheck.toml line 9: `github.updater_private_key_file`: found "@/webhook", which holds 4 bytes that are no PEM, wanted the App's private key, an RSA key as PEM; make one on the App's settings page under "Private keys""#);
}
