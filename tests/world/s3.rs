//! A bucket of a test's own: a real server that speaks S3, `rclone serve s3`, on a folder.
#![expect(clippy::unwrap_used, reason = "a harness: it may panic")]
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use fleetcheck::config::{Bucket, BucketKeys, Sealed};

/// Made for these tests: no other bucket opens with it.
pub const SECRET: &str = "not-a-secret-but-long-enough-for-one";
const KEY_ID: &str = "FLEETTESTS";
const BUCKET: &str = "logs";

/// Its server ends when its standard input does, so it never outlives the tests.
const KEEPER: &str = r#"
    "$0" "$@" </dev/null & server=$!
    exec 2>/dev/null # The shell would tell of each end.
    read -r _
    kill -KILL $server; wait $server
"#;

pub struct S3 {
    folder: tempfile::TempDir,
    port: u16,
    keeper: Option<Child>,
}

impl S3 {
    /// A server with one empty bucket.
    pub fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("fc-s3-").tempdir().unwrap();
        std::fs::create_dir(folder.path().join(BUCKET)).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut server = Self { folder, port, keeper: None };
        server.start_again();
        server
    }

    /// It is gone at once, with every connection; what is in the bucket stays.
    pub fn stop(&mut self) {
        let mut keeper = self.keeper.take().unwrap();
        drop(keeper.stdin.take());
        keeper.wait().unwrap();
    }

    /// After [`S3::stop`].
    pub fn start_again(&mut self) {
        let address = format!("127.0.0.1:{}", self.port);
        let keeper = Command::new("sh")
            .args(["-c", KEEPER])
            .arg(rclone())
            .args(["serve", "s3", "--config", "", "--log-level", "ERROR"])
            .args(["--auth-key", &format!("{KEY_ID},{SECRET}"), "--addr", &address])
            .arg(self.folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        self.keeper = Some(keeper);
        let ready = (0..600).any(|_| {
            std::thread::sleep(Duration::from_millis(50));
            TcpStream::connect(&address).is_ok()
        });
        assert!(ready, "`rclone serve s3` did not start");
    }

    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The bucket, below `fleet/`.
    pub fn bucket(&self) -> Bucket {
        Bucket {
            bucket: BUCKET.to_owned(),
            prefix: "fleet/".to_owned(),
            endpoint: Some(self.endpoint()),
            region: None,
            keys: Some(BucketKeys {
                access_key_id: KEY_ID.to_owned(),
                secret_access_key: Sealed::new(SECRET.to_owned()),
                file: PathBuf::new(),
            }),
        }
    }

    /// The lines of `[logs]`; the secret goes into this file.
    pub fn settings(&self, secret: &Path) -> String {
        std::fs::write(secret, format!("{SECRET}\n")).unwrap();
        format!(
            "url = \"s3://{BUCKET}/fleet\"\nendpoint = \"{}\"\naccess_key_id = \"{KEY_ID}\"\n\
             secret_access_key_file = \"{}\"\n",
            self.endpoint(),
            secret.display()
        )
    }

    /// The names of what is in the bucket, in order.
    pub fn names(&self) -> Vec<String> {
        let root = self.folder.path().join(BUCKET);
        let mut found = Vec::new();
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    found.push(path.strip_prefix(&root).unwrap().display().to_string());
                }
            }
        }
        found.sort();
        found
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        if self.keeper.is_some() {
            self.stop();
        }
    }
}

/// 1.65 or newer: what `tests/run.sh` found or fetched, else the one on the PATH.
fn rclone() -> PathBuf {
    if let Some(given) = std::env::var_os("FLEETCHECK_TEST_RCLONE") {
        return given.into();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|it| it.join("rclone")).find(|it| it.is_file());
    found.expect(
        "logs are kept in a real bucket here: let FLEETCHECK_TEST_RCLONE name rclone 1.65 or newer, \
         or put it on the PATH; tests/run.sh fetches it",
    )
}
