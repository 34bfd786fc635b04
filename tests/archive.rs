//! Logs in a bucket of a real server: there and back, and what is said when that does not work.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends there")]
#[path = "world/s3.rs"]
mod s3;

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use fleetcheck::app::system_clock;
use fleetcheck::config::{Bucket, Sealed};
use fleetcheck::domain::Timestamp;
use fleetcheck::domain::id::AttemptId;
use fleetcheck::flow::archive::Carry;
use fleetcheck::flow::shared::{Shared, Wakeups};
use fleetcheck::flow::{Clock, Stage as _, Step};
use fleetcheck::nix::log::LogStore;
use fleetcheck::nix::log::archive::{Archive, ArchiveError};
use fleetcheck::nix::redact::clean;
use fleetcheck::store::Store;
use s3::{S3, SECRET};
use tokio_util::sync::CancellationToken;

fn attempt() -> AttemptId {
    "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap()
}

/// An instance's folder and its way to the bucket.
struct Instance {
    folder: tempfile::TempDir,
    logs: LogStore,
    archive: Archive,
}

impl Instance {
    fn new(bucket: &Bucket) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let logs = LogStore::new(folder.path());
        let archive = Archive::new(bucket, logs.clone()).unwrap();
        Self { folder, logs, archive }
    }

    fn write(&self, lines: u32) {
        let mut log = self.logs.create(&attempt()).unwrap();
        for number in 0..lines {
            let line = format!("line {number} {}", number.wrapping_mul(2_654_435_761));
            log.line(clean(line.as_bytes(), &mut Vec::new()));
        }
        log.finish().unwrap();
    }

    fn read(&self) -> Option<Vec<u8>> {
        self.logs.read(&attempt(), 0, 100 << 20).unwrap().map(|it| it.bytes)
    }
}

#[tokio::test]
async fn a_log_that_one_instance_puts_into_the_bucket_is_read_by_another() {
    let server = S3::start();
    let (one, other) = (Instance::new(&server.bucket()), Instance::new(&server.bucket()));
    assert!(!one.archive.put(&attempt()).await.unwrap(), "there is none");
    assert_eq!(server.names(), [""; 0]);
    // Over the size of any buffer on the way.
    one.write(500_000);
    assert!(one.archive.put(&attempt()).await.unwrap());
    assert!(one.archive.put(&attempt()).await.unwrap(), "as after a crash");
    assert_eq!(server.names(), [format!("fleet/57/{}.zst", attempt().as_str())]);
    assert_eq!(other.read(), None);
    // Two readers at once.
    let (id, also) = (attempt(), attempt());
    let (first, second) = tokio::join!(other.archive.get(&id), other.archive.get(&also));
    first.unwrap();
    second.unwrap();
    assert!(other.read().unwrap() == one.read().unwrap());
    one.archive.remove(&attempt()).await.unwrap();
    one.archive.remove(&attempt()).await.unwrap();
    assert_eq!(server.names(), [""; 0]);
}

#[tokio::test]
async fn a_log_that_the_bucket_does_not_have_is_missing_and_leaves_nothing_here() {
    let server = S3::start();
    let one = Instance::new(&server.bucket());
    let error = one.archive.get(&attempt()).await.unwrap_err();
    assert!(matches!(error, ArchiveError::Missing { .. }), "{error}");
    assert_eq!(one.read(), None);
    one.archive.try_out().await.unwrap();
    assert_eq!(server.names(), [""; 0], "nothing is left of having tried");
}

#[tokio::test]
async fn of_a_log_that_breaks_off_on_its_way_nothing_is_left_here() {
    let server = S3::start();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(
                b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\netag: \"x\"\r\n\
                  last-modified: Sun, 29 Nov 2026 07:00:00 GMT\r\n\r\nnot all of it",
            );
        }
    });
    let one = Instance::new(&Bucket { endpoint: Some(endpoint), ..server.bucket() });
    let error = one.archive.get(&attempt()).await.unwrap_err();
    assert!(matches!(error, ArchiveError::Bucket { .. }), "{error}");
    let left = std::fs::read_dir(one.folder.path().join("logs/57")).unwrap().count();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn what_is_wrong_is_said_with_the_bucket_and_without_the_secret() {
    let mut server = S3::start();
    let good = server.bucket();
    let keys = good.keys.clone().unwrap();
    let with = |id: &str, secret: &str| {
        let mut keys = keys.clone();
        id.clone_into(&mut keys.access_key_id);
        keys.secret_access_key = Sealed::new(secret.to_owned());
        Bucket { keys: Some(keys), ..good.clone() }
    };
    let nowhere = Bucket { bucket: "nowhere".to_owned(), ..good.clone() };
    for (bucket, says) in [
        (with("SOMEBODY", SECRET), "the key is refused (InvalidAccessKeyId)"),
        (with(&keys.access_key_id, "hunter2"), "the key is refused (SignatureDoesNotMatch)"),
        (nowhere, "there is no such bucket (NoSuchBucket)"),
    ] {
        let one = Instance::new(&bucket);
        one.write(10);
        let put = one.archive.put(&attempt()).await.map(drop);
        for error in [put.unwrap_err(), one.archive.try_out().await.unwrap_err()] {
            assert!(matches!(error, ArchiveError::Bucket { .. }), "{error:?}");
            let said = format!("{error} {error:?} {:?} {bucket:?}", one.archive);
            assert!(said.contains(&bucket.to_string()) && said.contains(says), "{said}");
            assert!(!said.contains("hunter2") && !said.contains(SECRET), "{said}");
        }
    }
    let one = Instance::new(&good);
    one.write(10);
    server.stop();
    let error = one.archive.put(&attempt()).await.unwrap_err().to_string();
    assert!(error.contains(&server.endpoint()) && error.contains("refused"), "{error}");
    let error = one.archive.get(&attempt()).await.unwrap_err();
    assert!(matches!(error, ArchiveError::Bucket { .. }), "away is not missing: {error}");
    assert!(one.read().is_some(), "what is here stays");
}

/// The stage, on a store with attempts that ended.
struct Stage {
    folder: tempfile::TempDir,
    store: Store,
    logs: LogStore,
    now: Arc<AtomicI64>,
    carry: Carry,
}

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

impl Stage {
    async fn new(bucket: &Bucket) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&format!("sqlite:{}/fleet.db", folder.path().display())).await;
        let (store, logs) = (store.unwrap(), LogStore::new(folder.path()));
        let now = Arc::new(AtomicI64::new(system_clock().now().0));
        let time = now.clone();
        let shared = Shared {
            store: store.clone(),
            clock: Clock::new(move || Timestamp(time.load(Ordering::Relaxed))),
            wakeups: Wakeups::default(),
            logs: logs.clone(),
            owner: "me".to_owned(),
            started: Timestamp(0),
            progress: Arc::default(),
        };
        let archive = Arc::new(Archive::new(bucket, logs.clone()).unwrap());
        Self { folder, store, logs, now, carry: Carry::new(Arc::new(shared), archive) }
    }

    /// An attempt of this instance or another that ended now, with a log or without.
    async fn ended(&self, number: u32, by: &str, log: Option<&str>) -> AttemptId {
        let id: AttemptId = format!("01890a5d-ac96-774b-bcce-{number:012}").parse().unwrap();
        let url = format!("sqlite:{}/fleet.db", self.folder.path().display());
        let pool = sqlx::AnyPool::connect(&url).await.unwrap();
        let text = "INSERT INTO attempt (id, drv, builder, state, claimed_by, claimed_until, \
                    started_at, ended_at, outcome, log_bytes) \
                    VALUES ($1, $2, 'local', 'ended', $3, 0, 1, $4, '{\"weather\": \"rain\"}', 1)";
        let drv = "/nix/store/783yqpnsx5xvpayk2bnrb6cmk0a7blys-raider.drv";
        let row = sqlx::query(text).bind(id.as_str()).bind(drv).bind(by);
        row.bind(self.now.load(Ordering::Relaxed)).execute(&pool).await.unwrap();
        pool.close().await;
        if let Some(line) = log {
            let mut log = self.logs.create(&id).unwrap();
            log.line(clean(line.as_bytes(), &mut Vec::new()));
            log.finish().unwrap();
        }
        id
    }

    async fn step(&self) -> Result<Step, String> {
        let stop = CancellationToken::new();
        self.carry.step(&stop).await.map_err(|error| error.to_string())
    }

    fn later(&self, ms: i64) {
        self.now.fetch_add(ms, Ordering::Relaxed);
    }

    fn has_here(&self, attempt: &AttemptId) -> bool {
        let name = format!("logs/{}/{}.zst", &attempt.as_str()[34..], attempt.as_str());
        self.folder.path().join(name).exists()
    }
}

#[tokio::test]
async fn each_log_of_this_instance_is_carried_once() {
    let server = S3::start();
    let stage = Stage::new(&server.bucket()).await;
    let mut mine = Vec::new();
    for number in 0..60 {
        mine.push(stage.ended(number, "me", Some("one")).await);
    }
    let silent = stage.ended(60, "me", None).await;
    let foreign = stage.ended(61, "another", Some("one")).await;
    assert_eq!(stage.step().await, Ok(Step::Worked), "a portion");
    assert_eq!(stage.step().await, Ok(Step::Worked), "the rest");
    assert_eq!(stage.step().await, Ok(Step::Idle), "what left no log is not looked for again");
    assert_eq!(server.names().len(), mine.len());
    for attempt in &mine {
        assert!(stage.store.is_archived(attempt).await.unwrap());
        assert!(stage.has_here(attempt), "somebody may be reading it");
    }
    for attempt in [&silent, &foreign] {
        assert!(!stage.store.is_archived(attempt).await.unwrap());
    }
}

#[tokio::test]
async fn while_the_bucket_is_away_logs_stay_here_and_then_they_are_carried() {
    let mut server = S3::start();
    let stage = Stage::new(&server.bucket()).await;
    let attempt = stage.ended(1, "me", Some("one")).await;
    server.stop();
    let error = stage.step().await.unwrap_err();
    assert!(error.contains(&server.endpoint()), "{error}");
    assert!(!stage.store.is_archived(&attempt).await.unwrap());
    stage.later(2 * DAY);
    stage.step().await.unwrap_err();
    assert!(stage.has_here(&attempt));
    server.start_again();
    assert_eq!(stage.step().await, Ok(Step::Worked));
    assert!(stage.store.is_archived(&attempt).await.unwrap());
}

#[tokio::test]
async fn a_copy_goes_when_nobody_read_it_for_an_hour_and_comes_back_when_somebody_does() {
    let server = S3::start();
    let stage = Stage::new(&server.bucket()).await;
    let attempt = stage.ended(1, "me", Some("one")).await;
    let foreign = stage.ended(2, "another", Some("not in the bucket")).await;
    let unknown: AttemptId = attempt.as_str().replace("774b", "774c").parse().unwrap();
    stage.logs.create(&unknown).unwrap().finish().unwrap();
    stage.step().await.unwrap();
    assert!(stage.has_here(&attempt));
    stage.later(2 * HOUR);
    stage.step().await.unwrap();
    assert!(!stage.has_here(&attempt));
    assert!(stage.has_here(&foreign) && stage.has_here(&unknown), "they are nowhere else");
    let archive = Archive::new(&server.bucket(), stage.logs.clone()).unwrap();
    archive.get(&attempt).await.unwrap();
    let chunk = stage.logs.read(&attempt, 0, 100).unwrap().unwrap();
    assert_eq!(chunk.bytes, b"one\n");
    // What no store has known for longer than a run is kept was forgotten elsewhere.
    stage.later(91 * DAY);
    stage.step().await.unwrap();
    assert!(!stage.has_here(&unknown));
}

#[tokio::test]
async fn what_is_forgotten_leaves_the_bucket_however_often_that_fails() {
    let mut server = S3::start();
    let stage = Stage::new(&server.bucket()).await;
    let attempt = stage.ended(1, "me", Some("one")).await;
    stage.step().await.unwrap();
    stage.later(91 * DAY);
    let forgotten = stage.store.forget_runs(Timestamp(i64::MAX)).await.unwrap();
    assert_eq!(forgotten, [], "its row is all that knows of its log");
    server.stop();
    stage.step().await.unwrap_err();
    assert!(stage.store.attempt(&attempt).await.unwrap().is_some());
    server.start_again();
    assert_eq!(stage.step().await, Ok(Step::Worked));
    assert_eq!(server.names(), [""; 0]);
    assert!(!stage.has_here(&attempt));
    assert!(stage.store.attempt(&attempt).await.unwrap().is_none());
    assert_eq!(stage.step().await, Ok(Step::Idle));
}
