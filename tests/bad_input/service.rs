//! A service that is started on what is not its own, or not what it should be.
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tokio::time::Instant;

struct Start {
    folder: tempfile::TempDir,
}

/// Its exit status and everything it printed.
struct Ended {
    status: Option<i32>,
    said: String,
}

impl Start {
    fn new() -> Self {
        let it = Self { folder: tempfile::Builder::new().prefix("fc-start-").tempdir().unwrap() };
        it.write("key.pem", include_bytes!("../../fixtures/keys/not-a-secret.pem"));
        it.write("webhook", b"It's a Secret to Everybody");
        it
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.at(name), bytes).unwrap();
    }

    /// Runs `serve` with these settings, which must end by themselves.
    fn serve(&self, more: &[(&str, &str)]) -> Ended {
        let at = |name: &str| self.at(name).display().to_string();
        let mut settings = vec![
            ("http.listen", "\"127.0.0.1:0\"".to_owned()),
            ("http.public_url", "\"http://127.0.0.1:1\"".to_owned()),
            ("github.app_id", "1".to_owned()),
            ("github.private_key_file", format!("\"{}\"", at("key.pem"))),
            ("github.webhook_secret_files", format!("[\"{}\"]", at("webhook"))),
            ("github.api_url", "\"http://127.0.0.1:1\"".to_owned()),
            ("github.git_url", "\"http://127.0.0.1:1\"".to_owned()),
            ("github.owners", "[\"acme\"]".to_owned()),
            ("store.directory", format!("\"{}\"", at("state"))),
        ];
        for (key, value) in more {
            settings.retain(|(it, _)| it != key);
            settings.push((key, (*value).to_owned()));
        }
        let text: Vec<String> = settings.iter().map(|(key, it)| format!("{key} = {it}")).collect();
        self.write("fleetcheck.toml", text.join("\n").as_bytes());
        self.run(&["serve", "--config", &at("fleetcheck.toml")])
    }

    fn run(&self, args: &[&str]) -> Ended {
        let log = std::fs::File::create(self.at("log")).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_fleetcheck"))
            .args(args)
            .env_remove("RUST_LOG")
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status.code();
            }
            if begun.elapsed() > Duration::from_secs(20) {
                child.kill().unwrap();
                child.wait().unwrap();
                break None;
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        Ended { status, said: std::fs::read_to_string(self.at("log")).unwrap() }
    }
}

fn refused(it: &Ended, says: &[&str]) {
    assert_eq!(it.status, Some(2), "{}", it.said);
    for words in says {
        assert!(it.said.contains(words), "{words}: {}", it.said);
    }
    assert!(!it.said.contains("panicked"), "{}", it.said);
}

fn sqlite(path: &Path) -> String {
    format!("\"sqlite:{}\"", path.display())
}

#[test]
fn a_store_file_that_is_not_ours_is_refused_and_left_as_it_is() {
    let start = Start::new();
    let not_a_database = b"This is the diary of a person, and no database.\n".repeat(300);
    start.write("diary.txt", &not_a_database);
    let it = start.serve(&[("store.url", &sqlite(&start.at("diary.txt")))]);
    refused(&it, &["store.url", "diary.txt"]);
    assert_eq!(std::fs::read(start.at("diary.txt")).unwrap(), not_a_database);
    // Somebody else's database, which Nix happens to have made.
    let nix = crate::nix::TestNix::one();
    nix.output("nix-store", ["--init"]);
    let foreign = nix.directory().join("var/db/db.sqlite");
    let before = std::fs::read(&foreign).unwrap();
    let it = start.serve(&[("store.url", &sqlite(&foreign))]);
    refused(&it, &["store.url", "db.sqlite"]);
    assert_eq!(std::fs::read(&foreign).unwrap(), before);
    let it = start.serve(&[("store.url", &sqlite(start.folder.path()))]);
    refused(&it, &["store.url", "unable to open database file"]);
    assert!(!it.said.contains("again"), "it has ended: {}", it.said);
}

#[test]
fn a_key_that_is_not_a_key_is_refused() {
    let start = Start::new();
    let public: &[u8] = include_bytes!("../../fixtures/keys/not-a-secret.pub.pem");
    let garbled =
        b"-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\n-----END RSA PRIVATE KEY-----\n";
    for key in [b"".as_slice(), b"secret", b"\xff\xfe\x00", public, garbled] {
        start.write("key.pem", key);
        let it = start.serve(&[]);
        refused(&it, &["github.private_key_file", "key.pem"]);
        assert!(!it.said.contains("MIIE"), "{}", it.said);
    }
    std::fs::remove_file(start.at("key.pem")).unwrap();
    refused(&start.serve(&[]), &["github.private_key_file", "key.pem", "No such file"]);
}

#[test]
fn wrong_settings_are_all_listed_at_once() {
    let start = Start::new();
    let it = start.serve(&[
        ("http.listen", "\"everywhere\""),
        ("github.app_id", "\"acme\""),
        ("github.api_url", "\"http://api.github.com\""),
        ("github.owners", "[]"),
        ("nix.memory", "\"70%\""),
        ("nix.evaluation_memory", "\"much\""),
        ("nix.slots", "2"),
        ("stores.url", "\"sqlite:x\""),
    ]);
    let keys = [
        "http.listen",
        "github.app_id",
        "github.api_url",
        "github.owners",
        "nix.memory",
        "nix.evaluation_memory",
        "nix.slots",
        "stores.url",
    ];
    refused(&it, &keys);
    let it = start.run(&["serve", "--config", start.at("nowhere.toml").to_str().unwrap()]);
    refused(&it, &["nowhere.toml"]);
}

#[test]
fn a_directory_that_is_a_file_is_refused() {
    let start = Start::new();
    start.write("state", b"");
    let it = start.serve(&[]);
    refused(&it, &["store.directory", "state"]);
}
