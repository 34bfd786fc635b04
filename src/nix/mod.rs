//! Speaks Nix, and git. The only module that starts processes.
//!
//! 1. [`process`]: a child with limits, in a group of its own, that leaves nothing behind.
//! 2. [`tree`]: the processes that a child has become.
//! 3. [`worker`]: a kept daemon and its protocol, over `connection` and [`wire`].
//!    [`machine`]: whose daemon it is, this machine's or another's.
//! 4. [`realise`]: derivations become answers, over `transcript`, `reason` and `answer`.
//! 5. [`log`] keeps what builds print, without what [`redact`] removes; [`roots`] keeps what they
//!    make.
//! 6. [`git`]: repositories, mirrored.
//! 7. [`closure`], [`system`], [`revision`]: what a build has made, read from the store, over
//!    `inside`.
//! 8. [`flake`], [`eval`], [`trace`]: what a flake gives, and why not; [`eval_jobs`] may help.
pub mod closure;
pub mod eval;
pub mod eval_jobs;
pub mod flake;
pub mod git;
pub mod log;
pub mod machine;
pub mod process;
pub mod realise;
pub mod redact;
pub mod revision;
pub mod roots;
pub mod system;
pub mod trace;
pub mod tree;
pub mod wire;
pub mod worker;

mod answer;
mod connection;
mod inside;
mod invocation;
mod reason;
mod recent;
mod status;
mod transcript;

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::config;
use crate::nix::process::{Finished, Invocation, Limits, ProcessError};

/// How long a question about Nix itself may take.
const QUESTION: Duration = Duration::from_secs(30);

/// What a daemon is told, here and on other machines.
///
/// A substituter that is dead or hangs is left out: 15 s for a connection, 60 s without a byte and
/// three tries, where Nix would wait for 5 minutes five times; what it has is then built. Said as an
/// argument, since of the protocol's options a daemon takes none of these. One that hands everything
/// on to the machine's own daemon leaves it at what that one's `nix.conf` says.
const DAEMON_ARGS: [&str; 10] = [
    "--option",
    "connect-timeout",
    "15",
    "--option",
    "stalled-download-timeout",
    "60",
    "--option",
    "download-attempts",
    "3",
    "--stdio",
];

/// The Nix of this machine: where its programs are and what its children find in their
/// environment.
#[derive(Clone, Debug)]
pub struct Nix {
    program: PathBuf,
    daemon: PathBuf,
    daemon_args: Vec<OsString>,
    eval_jobs: Option<PathBuf>,
    env: Vec<(OsString, OsString)>,
}

/// A question about Nix itself had no answer.
#[derive(Debug, thiserror::Error)]
pub enum NixError {
    /// The program could not be run.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// It ran and said no.
    #[error("`{command}` failed: {said}")]
    Failed { command: String, said: String },
    /// It answered something else.
    #[error("`{command}` answered `{found}`, which is not {wanted}")]
    Unexpected { command: String, found: String, wanted: &'static str },
}

impl Nix {
    /// The Nix of the settings. `nix-daemon` and `nix-eval-jobs` are looked for beside `nix`, then
    /// on the PATH.
    pub fn new(config: &config::Nix) -> Self {
        let program = config.program.clone();
        let found = find(&program);
        let other = |name: &str| {
            let beside = found.as_deref().and_then(Path::parent).map(|it| it.join(name));
            beside.filter(|it| it.exists()).or_else(|| find(Path::new(name)))
        };
        let daemon = other("nix-daemon").unwrap_or_else(|| PathBuf::from("nix-daemon"));
        let daemon_args = DAEMON_ARGS.map(OsString::from).into();
        let eval_jobs = other("nix-eval-jobs");
        Self { program, daemon, daemon_args, eval_jobs, env: Vec::new() }
    }

    /// The same Nix, whose children also get these variables: a store of their own, for example.
    #[must_use]
    pub fn with_env(mut self, env: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        self.env.extend(env);
        self
    }

    /// The same Nix, whose daemons are another program's: `ssh basestar nix-daemon --stdio`.
    #[must_use]
    pub fn with_daemon(mut self, program: &Path, args: impl IntoIterator<Item = OsString>) -> Self {
        program.clone_into(&mut self.daemon);
        self.daemon_args = args.into_iter().collect();
        self
    }

    /// The `nix` program.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// The `nix-daemon` program.
    pub fn daemon(&self) -> &Path {
        &self.daemon
    }

    /// What its daemons are told: `--stdio`, and how patient they are.
    pub fn daemon_args(&self) -> &[OsString] {
        &self.daemon_args
    }

    /// What its children get besides our own environment.
    pub fn env(&self) -> &[(OsString, OsString)] {
        &self.env
    }

    /// `nix ARGS…` with flakes switched on, whatever the machine's `nix.conf` says.
    pub fn command<A: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = A>,
        limits: Limits,
    ) -> Invocation {
        self.command_of(&self.program, args, limits)
    }

    /// The same of another program that takes Nix's options.
    fn command_of<A: AsRef<OsStr>>(
        &self,
        program: &Path,
        args: impl IntoIterator<Item = A>,
        limits: Limits,
    ) -> Invocation {
        Invocation::new(program, limits)
            .args(["--extra-experimental-features", "nix-command flakes"])
            .args(args)
            .envs(self.env.iter().cloned())
    }

    /// Its version: `2.34.8`.
    ///
    /// # Errors
    /// When it cannot be run or answers something that is no version.
    pub async fn version(&self) -> Result<String, NixError> {
        let said = self.ask(&["--version"]).await?;
        match said.rsplit(' ').next() {
            Some(version) if version.starts_with(|c: char| c.is_ascii_digit()) => {
                Ok(version.to_owned())
            }
            Some(_) | None => Err(NixError::Unexpected {
                command: format!("{} --version", self.program.display()),
                found: said,
                wanted: "a version",
            }),
        }
    }

    /// The system it builds for by itself: `x86_64-linux`.
    ///
    /// # Errors
    /// When it cannot be run or refuses to evaluate.
    pub async fn system(&self) -> Result<String, NixError> {
        self.ask(&["eval", "--impure", "--raw", "--expr", "builtins.currentSystem"]).await
    }

    /// What a setting is, by the machine's `nix.conf` and environment; empty when it is not known.
    ///
    /// # Errors
    /// When Nix cannot be run or refuses to say.
    pub async fn setting(&self, name: &str) -> Result<String, NixError> {
        // The older name, which the newest versions still understand, and its successor.
        let all = match self.ask(&["show-config"]).await {
            Err(NixError::Failed { .. }) => self.ask(&["config", "show"]).await,
            asked => asked,
        }?;
        let found = all.lines().find_map(|line| {
            let (key, value) = line.split_once('=')?;
            (key.trim() == name).then(|| value.trim().to_owned())
        });
        Ok(found.unwrap_or_default())
    }

    async fn ask(&self, args: &[&str]) -> Result<String, NixError> {
        let limits = Limits { timeout: QUESTION, memory: None, output: 1 << 20 };
        let invocation = self.command(args, limits);
        let Finished { success, stdout, stderr, .. } =
            process::run(invocation, &CancellationToken::new()).await?;
        if success {
            return Ok(String::from_utf8_lossy(&stdout).trim().to_owned());
        }
        Err(NixError::Failed {
            command: format!("{} {}", self.program.display(), args.join(" ")),
            said: String::from_utf8_lossy(&stderr).trim().to_owned(),
        })
    }
}

/// `program` itself when it has a directory, otherwise the first of its name on the PATH.
fn find(program: &Path) -> Option<PathBuf> {
    if program.components().count() > 1 {
        return program.exists().then(|| program.to_owned());
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|it| it.join(program)).find(|it| it.is_file())
}

/// Children run in folders of their own, where a relative path means something else.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
