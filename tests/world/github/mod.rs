//! A GitHub of values behind HTTP: it enforces what GitHub enforces, and answers back on demand.
//!
//! Repositories are real bare git repositories, served by `git http-backend`. Every request is
//! checked against GitHub's own description of its API; what GitHub says only in prose is in
//! [`rules`]. Who asks for something that GitHub would refuse as malformed fails the test, at the
//! latest when the [`FakeGitHub`] is dropped.
#![expect(clippy::unwrap_used, reason = "a harness: it may panic")]
#![expect(clippy::wildcard_enum_match_arm, reason = "a new operation starts as 404")]
#![expect(clippy::unused_self, reason = "settings are asked of the GitHub they are for")]
#![allow(dead_code, unused_imports, unreachable_pub, reason = "each test file uses its part")]
mod access;
mod answer;
mod api;
mod checks;
mod contract;
mod deliver;
#[path = "../git_http.rs"]
mod git_http;
mod graphql;
mod issues;
mod limits;
mod merging;
mod payload;
mod people;
mod pulls;
mod recover;
mod refs;
mod repository;
mod route;
mod rules;
mod schema;
mod second;
mod state;
mod updates;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::watch;

pub use checks::{CheckRunView, StatusView};
pub use contract::Contract;
pub use issues::IssueView;
pub use limits::{Contents, Limits, RetryAfter};
pub use payload::From;
pub use pulls::PullView;
pub use recover::Between;
pub use repository::RepoHandle;
use state::State;
pub use state::{Call, Delivered, Fault, Operation};
pub use updates::Settings;

pub const APP_ID: u64 = 12345;
/// An App for updates alone, once a test makes it; it signs with [`OTHER_PRIVATE_KEY`].
pub const SECOND_APP_ID: u64 = 67890;
/// What the App subscribed to.
const EVENTS: [&str; 5] = ["push", "pull_request", "merge_group", "issue_comment", "repository"];
/// How long a test waits for what must happen; far more than it takes, on a slow machine too.
const PATIENCE: Duration = Duration::from_mins(1);
const PRIVATE_KEY: &str = include_str!("../../../fixtures/keys/not-a-secret.pem");
pub const PUBLIC_KEY: &str = include_str!("../../../fixtures/keys/not-a-secret.pub.pem");
/// The App's other key: accepted once a test says so.
pub const OTHER_PRIVATE_KEY: &str = include_str!("../../../fixtures/keys/another-not-a-secret.pem");
pub const OTHER_PUBLIC_KEY: &str =
    include_str!("../../../fixtures/keys/another-not-a-secret.pub.pem");
const SECRET: &str = "It's a Secret to Everybody";

/// How to set it up.
pub struct Options {
    pub listen: SocketAddr,
    /// Where repositories are kept; `None` for a folder that goes with it.
    pub directory: Option<PathBuf>,
    /// What becomes of GitHub's description where it is not at hand.
    pub contract: Contract,
    /// Whether check runs that we write come back as deliveries, as GitHub does it.
    pub echoes: Echoes,
    /// GitHub's clock minus this machine's, in seconds.
    pub clock_offset: i64,
    /// GitHub's time instead, in milliseconds, where a test moves it.
    pub clock: Option<Arc<AtomicI64>>,
    pub shape: Shape,
    /// What else is answered on the same port, below `/_/`.
    pub control: axum::Router,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Echoes {
    Sent,
    Silent,
}

/// Where its interfaces are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// As on github.com, at the root.
    Com,
    /// As on a GitHub Enterprise Server: `/api/v3` and `/api/graphql`.
    Enterprise,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            directory: None,
            contract: Contract::Required,
            echoes: Echoes::Sent,
            clock_offset: 0,
            clock: None,
            shape: Shape::Com,
            control: axum::Router::new(),
        }
    }
}

/// What the server and the handle share.
struct World {
    state: Mutex<State>,
    /// Rises with every change, so that nobody has to poll.
    changes: watch::Sender<u64>,
    root: PathBuf,
    address: SocketAddr,
    echoes: Echoes,
    clock_offset: i64,
    clock: Option<Arc<AtomicI64>>,
    shape: Shape,
    /// Milliseconds that GitHub's clock was moved on since.
    skip: std::sync::atomic::AtomicI64,
    contract: contract::Operations,
    schema: schema::Schema,
    http: reqwest::Client,
}

impl World {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    /// Milliseconds since 1970 by GitHub's clock.
    fn now(&self) -> i64 {
        let skip = self.skip.load(Ordering::Relaxed);
        let now = match &self.clock {
            Some(clock) => clock.load(Ordering::Relaxed),
            None => jiff::Timestamp::now().as_millisecond() + self.clock_offset * 1000,
        };
        now + skip
    }

    fn api_url(&self) -> String {
        match self.shape {
            Shape::Com => self.url(),
            Shape::Enterprise => format!("{}/api/v3", self.url()),
        }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// A GitHub of our own, on a port of its own, until it is dropped.
pub struct FakeGitHub {
    world: Arc<World>,
    server: tokio::task::JoinHandle<()>,
    _directory: Option<tempfile::TempDir>,
}

impl FakeGitHub {
    pub async fn start(options: Options) -> Self {
        let Options { listen, directory, contract, echoes, clock_offset, clock, shape, control } =
            options;
        let listener = tokio::net::TcpListener::bind(listen).await.unwrap();
        let (root, temporary) = if let Some(directory) = directory {
            (directory, None)
        } else {
            let it = tempfile::Builder::new().prefix("fc-github-").tempdir().unwrap();
            (it.path().to_owned(), Some(it))
        };
        let world = Arc::new(World {
            state: Mutex::default(),
            changes: watch::Sender::new(0),
            root,
            address: listener.local_addr().unwrap(),
            echoes,
            clock_offset,
            clock,
            shape,
            skip: std::sync::atomic::AtomicI64::new(0),
            contract: contract::Operations::load(contract),
            schema: schema::Schema::load(),
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
        });
        let router = api::router(&world).merge(control);
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { world, server, _directory: temporary }
    }

    /// For `github.api_url`.
    pub fn api_url(&self) -> String {
        self.world.api_url()
    }

    /// For `github.git_url`.
    pub fn git_url(&self) -> String {
        self.world.url()
    }

    pub fn app_id(&self) -> u64 {
        APP_ID
    }

    pub fn private_key_pem(&self) -> &'static str {
        PRIVATE_KEY
    }

    /// The webhook's secret.
    pub fn secret(&self) -> &'static str {
        SECRET
    }

    /// Where deliveries go; none is sent before this is called.
    pub fn set_webhook(&self, url: &str) {
        self.world.state().webhook = Some(url.to_owned());
    }

    /// Every call so far, in order, git's included.
    pub fn calls(&self) -> Vec<Call> {
        self.world.state().calls.clone()
    }

    /// How often an operation was called so far.
    pub fn count(&self, operation: Operation) -> usize {
        self.world.state().calls.iter().filter(|it| it.operation == operation).count()
    }

    /// Every delivery so far and how it was answered.
    pub fn deliveries(&self) -> Vec<Delivered> {
        self.world.state().deliveries.clone()
    }

    /// The next `times` calls of `operation` go wrong.
    pub fn fail_next(&self, operation: Operation, fault: Fault, times: usize) {
        let mut state = self.world.state();
        state.faults.extend(std::iter::repeat_n((operation, fault), times));
    }

    /// From now on GitHub's real limits hold.
    pub fn limit(&self, limits: Limits) {
        self.world.state().limits = Some(limits);
    }

    /// Takes back the faults that have not happened yet.
    pub fn mend(&self) {
        self.world.state().faults.clear();
    }

    /// Requests that break a rule, which are refused; whoever expects them takes them.
    pub fn take_violations(&self) -> Vec<String> {
        std::mem::take(&mut self.world.state().violations)
    }

    /// Every token so far stops working, as when GitHub revokes them.
    pub fn revoke_tokens(&self) {
        self.world.state().tokens.clear();
    }

    /// Takes a permission from the installations, as when an owner has not accepted it.
    pub fn withhold(&self, permission: &str) {
        self.world.state().withheld.insert(permission.to_owned());
    }

    /// Waits until the condition holds.
    ///
    /// # Panics
    /// When it does not within a minute, with what the GitHub has seen.
    pub async fn wait_until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        self.wait_within(PATIENCE, what, condition).await;
    }

    /// The same of what may take longer.
    pub async fn wait_within(
        &self,
        patience: Duration,
        what: &str,
        condition: impl Fn(&Self) -> bool,
    ) {
        let mut changes = self.world.changes.subscribe();
        let holds = async {
            while !condition(self) {
                changes.changed().await.unwrap();
            }
        };
        let held = tokio::time::timeout(patience, holds).await.is_ok();
        assert!(held, "waited {} s in vain: {what}\n{}", patience.as_secs(), self.describe());
    }

    fn describe(&self) -> String {
        let state = self.world.state();
        let checks = state.runs.iter().map(|run| format!("  {}\n", run.line()));
        let calls = state.calls.iter().rev().take(20).rev();
        let calls = calls.map(|it| format!("  {} {} -> {}\n", it.method, it.path, it.status));
        let sent = state.deliveries.iter().rev().take(10).rev();
        let sent = sent.map(|it| format!("  {} {} -> {:?}\n", it.event, it.guid, it.status));
        format!(
            "checks:\n{}last calls:\n{}last deliveries:\n{}",
            checks.collect::<String>(),
            calls.collect::<String>(),
            sent.collect::<String>()
        )
    }
}

impl Drop for FakeGitHub {
    fn drop(&mut self) {
        self.server.abort();
        let violations = self.take_violations();
        assert!(
            violations.is_empty() || std::thread::panicking(),
            "GitHub would have refused these requests:\n{}",
            violations.join("\n")
        );
    }
}
