//! One kept `nix-daemon --stdio`, spoken to in Nix's worker protocol.
//!
//! A status for every derivation, live log lines with the derivation they belong to, and limits
//! that work: none of it can be had from `nix build`. The same protocol runs over ssh.
mod limits;
mod options;
mod paths;

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use tokio::process::Child;
use tokio::time::timeout;

use crate::domain::id::{DrvPath, StorePath};
use crate::nix::Nix;
use crate::nix::connection::{Connection, plain};
use crate::nix::process::{self, Invocation, Limits, ProcessError};
use crate::nix::reason;
pub use crate::nix::status::{BuildResult, Status};
use crate::nix::tree::Tree;
use crate::nix::wire::{self, Cursor, Request, Unreadable};
use crate::nix::worker::options::options;
pub use crate::nix::worker::paths::{Fetched, PathInfo};

pub use limits::{BuildLimits, Mode};

/// A daemon that has nothing to wait for answers a small question within this time.
const PATIENCE: Duration = Duration::from_mins(1);

mod operation {
    pub(super) const QUERY_REFERRERS: u64 = 6;
    pub(super) const ENSURE_PATH: u64 = 10;
    pub(super) const ADD_TEMP_ROOT: u64 = 11;
    pub(super) const ADD_INDIRECT_ROOT: u64 = 12;
    pub(super) const SET_OPTIONS: u64 = 19;
    pub(super) const COLLECT_GARBAGE: u64 = 20;
    pub(super) const QUERY_PATH_INFO: u64 = 26;
    pub(super) const QUERY_VALID_PATHS: u64 = 31;
    pub(super) const BUILD_PATHS_WITH_RESULTS: u64 = 46;
}

/// A connection to a daemon of our own. After any error but [`WorkerError::Daemon`], and after a
/// dropped call, it is of no more use: see [`Worker::is_alive`].
#[derive(Debug)]
pub struct Worker {
    child: Child,
    tree: Tree,
    connection: Connection,
    version: String,
    usable: bool,
    operations: u64,
    built: usize,
}

/// Why an operation gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    #[error(transparent)]
    Start(#[from] ProcessError),
    /// The daemon ended or closed its pipes.
    #[error("{}", reason::of_connection(words))]
    Lost { words: String },
    /// It said no, in its words without colours. The connection goes on.
    #[error("nix-daemon: {0}")]
    Daemon(String),
    #[error("nix-daemon does not speak the worker protocol: {0}")]
    Protocol(#[from] Unreadable),
    #[error("nix-daemon {found} is too old: 2.8 or newer is needed")]
    TooOld { found: String },
    #[error("nix-daemon did not answer within {} s", .0.as_secs())]
    Silent(Duration),
}

impl WorkerError {
    /// The same for an author, who must not know machines' names and addresses, nor where our
    /// programs are: what ssh or the system said is left out.
    #[must_use]
    pub fn outline(&self) -> String {
        match self {
            Self::Start(_) => "nix-daemon could not be started".to_owned(),
            Self::Lost { words } => reason::outline_of_connection(words).to_owned(),
            Self::Protocol(_) => "nix-daemon does not speak the worker protocol".to_owned(),
            Self::Daemon(_) | Self::TooOld { .. } | Self::Silent(_) => self.to_string(),
        }
    }
}

/// What a daemon tells while it builds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observed<'a> {
    /// A derivation begins to build. Only Nix says this, never a build.
    Building { activity: u64, drv: &'a [u8] },
    /// A path is being fetched.
    Substituting { path: &'a [u8], from: &'a [u8] },
    /// A log line without its end.
    Line { activity: u64, text: &'a [u8] },
    /// The beginning of a line of that many bytes; the rest is left out.
    LongLine { activity: u64, beginning: &'a [u8], length: u64 },
    /// The activity is over, well or not.
    Stopped { activity: u64 },
    /// How many derivations of the operation are done, are known, run and failed.
    Counts { done: u64, expected: u64, running: u64, failed: u64 },
    /// Words for people. Nix's own errors end without a newline; every message that a build
    /// smuggles in (`@nix {"action":"msg",…}`) ends with one.
    Message(&'a [u8]),
    /// A second has passed.
    Tick,
}

impl Worker {
    /// Starts `nix-daemon --stdio` and greets it.
    ///
    /// # Errors
    /// When it cannot be started, is too old or does not answer.
    pub async fn start(nix: &Nix) -> Result<Self, WorkerError> {
        let limits = Limits { timeout: Duration::MAX, memory: None, output: 0 };
        let invocation = Invocation::new(nix.daemon(), limits)
            .args(nix.daemon_args())
            .envs(nix.env().iter().cloned())
            .stdin(Vec::new());
        let (mut child, tree) = invocation.spawn(&mut invocation.command())?;
        let no_pipes = || WorkerError::Lost { words: "it has no pipes".to_owned() };
        let connection = Connection::of(&mut child).ok_or_else(no_pipes)?;
        let mut worker = Self {
            child,
            tree,
            connection,
            version: String::new(),
            usable: false,
            operations: 0,
            built: 0,
        };
        let greeted = timeout(PATIENCE, worker.greet()).await;
        greeted.map_err(|_| WorkerError::Silent(PATIENCE))??;
        Ok(worker)
    }

    async fn greet(&mut self) -> Result<(), WorkerError> {
        let connection = &mut self.connection;
        connection.send(&Request::default().number(wire::HELLO)).await?;
        let (hello, protocol) = connection.receive(|it| Ok((it.number()?, it.number()?))).await?;
        if hello != wire::HELLO_BACK {
            return Err(Unreadable::Unknown(hello).into());
        }
        if protocol < wire::VERSION {
            let found = format!("with protocol {}.{}", protocol >> 8, protocol & 0xff);
            return Err(WorkerError::TooOld { found });
        }
        // Our version, no processor affinity, no reserved space.
        let ours = Request::default().number(wire::VERSION).number(0).number(0);
        connection.send(&ours).await?;
        self.version = connection.receive(text).await?;
        connection.work(&mut |_| ()).await?;
        self.usable = true;
        Ok(())
    }

    /// The daemon's version: `2.34.8`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The daemon's process; `None` once it has ended.
    pub fn process(&self) -> Option<u32> {
        self.child.id()
    }

    /// Whether it can be asked anything more.
    pub fn is_alive(&mut self) -> bool {
        self.usable && matches!(self.child.try_wait(), Ok(None))
    }

    /// How many questions it has answered. A daemon protects from the garbage collector all that
    /// it ever built, for as long as it lives: replace it now and then.
    pub fn operations(&self) -> u64 {
        self.operations
    }

    /// Those of `paths` that are in the store and whole.
    ///
    /// # Errors
    /// When the daemon is gone or says no.
    pub async fn valid_paths(
        &mut self,
        paths: &[StorePath],
    ) -> Result<HashSet<StorePath>, WorkerError> {
        let request = Request::default()
            .number(operation::QUERY_VALID_PATHS)
            .texts(paths.iter().map(StorePath::as_str))
            .number(0);
        let texts = self.ask(&request, texts).await?;
        Ok(texts.into_iter().filter_map(|it| it.parse().ok()).collect())
    }

    /// Keeps a path from the garbage collector for as long as this worker lives.
    ///
    /// # Errors
    /// When the daemon is gone or says no.
    pub async fn add_temp_root(&mut self, path: &str) -> Result<(), WorkerError> {
        let request = Request::default().number(operation::ADD_TEMP_ROOT).text(path);
        self.ask(&request, |it| it.number().map(drop)).await
    }

    /// Makes what a symlink points to, and whatever it will point to, a root of the garbage
    /// collector, for as long as the symlink is there.
    ///
    /// # Errors
    /// When the daemon is gone or says no.
    pub async fn add_root(&mut self, link: &Path) -> Result<(), WorkerError> {
        let request =
            Request::default().number(operation::ADD_INDIRECT_ROOT).text(&link.to_string_lossy());
        self.ask(&request, |it| it.number().map(drop)).await
    }

    /// Builds derivations with all of their outputs; a failure does not stop the others. The
    /// answers come in no particular order.
    ///
    /// # Errors
    /// When the daemon is gone or refuses the whole operation.
    pub async fn build(
        &mut self,
        drvs: &[DrvPath],
        limits: &BuildLimits,
        observe: &mut (dyn FnMut(Observed<'_>) + Send),
    ) -> Result<Vec<(DrvPath, BuildResult)>, WorkerError> {
        let request = Request::default()
            .number(operation::BUILD_PATHS_WITH_RESULTS)
            .texts(drvs.iter().map(|it| format!("{it}!*")))
            .number(limits.mode.number());
        self.ask(&options(limits, &self.version), |_| Ok(())).await?;
        self.begin()?;
        self.built += drvs.len();
        self.connection.send(&request).await?;
        let tree = &self.tree;
        let mut observe = |it: Observed<'_>| {
            // Nix waits until nobody holds a build's output any more, long after its end.
            if matches!(it, Observed::Tick) && tree.is_childless() {
                tree.kill_orphans();
            }
            observe(it);
        };
        let built = self.connection.work(&mut observe).await;
        self.went_on(built)?;
        let results = self.connection.receive(results).await?;
        self.usable = true;
        Ok(results)
    }

    /// Ends the daemon and everything that it runs.
    pub async fn stop(mut self) {
        self.end().await;
    }

    /// The same for a worker that is only borrowed; it is of no more use then.
    pub async fn end(&mut self) {
        self.usable = false;
        // A daemon that reads the end of its input lets go of its builds by itself.
        self.connection.close();
        process::end(&mut self.child, &self.tree).await;
    }

    /// Ends what finished builds left running. Gives how many processes that were.
    pub fn sweep(&self) -> usize {
        self.tree.kill_orphans()
    }

    async fn ask<T: Send>(
        &mut self,
        request: &Request,
        read: fn(&mut Cursor<'_>) -> Result<T, Unreadable>,
    ) -> Result<T, WorkerError> {
        self.begin()?;
        let answer = timeout(PATIENCE, async {
            self.connection.send(request).await?;
            let worked = self.connection.work(&mut |_| ()).await;
            self.went_on(worked)?;
            self.connection.receive(read).await
        });
        let answer = answer.await.map_err(|_| WorkerError::Silent(PATIENCE))??;
        self.usable = true;
        Ok(answer)
    }

    /// A call that is dropped before its end leaves an answer in the pipe that nobody asked for:
    /// until it has ended well, the worker is not usable.
    fn begin(&mut self) -> Result<(), WorkerError> {
        if !self.is_alive() {
            return Err(self.connection.lost());
        }
        self.usable = false;
        self.operations += 1;
        Ok(())
    }

    /// An error of the daemon's is an answer too: no more follows it.
    fn went_on(&mut self, worked: Result<(), WorkerError>) -> Result<(), WorkerError> {
        self.usable = matches!(worked, Err(WorkerError::Daemon(_)));
        worked
    }
}

fn text(cursor: &mut Cursor<'_>) -> Result<String, Unreadable> {
    cursor.text()
}

fn texts(cursor: &mut Cursor<'_>) -> Result<Vec<String>, Unreadable> {
    let count = cursor.number()?;
    // Nothing is reserved for a count that is only claimed.
    (0..count).map(|_| cursor.text()).collect()
}

fn results(cursor: &mut Cursor<'_>) -> Result<Vec<(DrvPath, BuildResult)>, Unreadable> {
    let mut results = Vec::new();
    for _ in 0..cursor.number()? {
        let path = cursor.text()?;
        let status = Status::from_number(cursor.number()?);
        let message = plain(cursor.bytes()?);
        let (_times_built, _not_deterministic) = (cursor.number()?, cursor.number()?);
        // Some versions leave one of them 0.
        let (started, stopped) = (cursor.number()?, cursor.number()?);
        for _ in 0..cursor.number()? {
            let (_output, _realisation) = (cursor.bytes()?, cursor.bytes()?);
        }
        let seconds = stopped.saturating_sub(started);
        // What we did not ask for cannot be matched to anything.
        if let Some(drv) = path.split('!').next().and_then(|it| it.parse().ok()) {
            results.push((drv, BuildResult { status, message, seconds }));
        }
    }
    Ok(results)
}

/// A daemon holds all that it has built or was told of until it ends; now and then it must, so
/// that the garbage collector finds what is no longer wanted.
const MOST_OPERATIONS: u64 = 5_000;
/// Each derivation that it builds leaves it some 80 kB larger, in an operation of 50 ones 300 kB,
/// and it copies its memory's map for each builder that it starts: after so many a start takes
/// twice as long. A new daemon costs 25 ms.
const MOST_BUILT: usize = 300;

/// The worker that was kept from the last operation, or a new one where it is of no more use.
pub async fn kept_or_new(kept: &mut Option<Worker>, nix: &Nix) -> Result<Worker, WorkerError> {
    if let Some(mut worker) = kept.take() {
        if worker.is_alive() && worker.operations() < MOST_OPERATIONS && worker.built < MOST_BUILT {
            return Ok(worker);
        }
        worker.stop().await;
    }
    Worker::start(nix).await
}
