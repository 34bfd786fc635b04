//! Runs one process of an evaluation: what it may reach, hold and take.
use std::path::Path;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::nix::eval::failure::{self, NoAnswer};
use crate::nix::eval::{EvalError, Evaluator};
use crate::nix::flake::{Confined, Pinned};
use crate::nix::process::{self, Finished, Invocation, Limits};

/// Bytes of an answer, and of what is said about it.
const OUTPUT: usize = 32 << 20;

/// What a process may reach.
#[derive(Clone, Copy)]
pub(super) enum Rights<'a> {
    /// What the machine's settings allow.
    Trusted,
    /// What is public: no token, no key, no protocol but https.
    Public,
    /// Nothing but the sources of one flake.
    Confined(&'a Confined),
}

/// A process's share of the budget of memory in bytes, and what follows when it outgrows that.
#[derive(Clone, Copy)]
pub(super) enum Share {
    /// It is tried once more, alone with the whole budget.
    OfOne(u64),
    /// It fails; whoever asked tries fewer at once.
    OfMany(u64),
}

/// What a process printed, and what it took.
pub(super) struct Answer {
    pub(super) json: Vec<u8>,
    pub(super) stderr: Vec<u8>,
    pub(super) elapsed: Duration,
    pub(super) peak_memory: u64,
}

impl Evaluator {
    /// One process, as soon as there is room for it.
    pub(super) async fn run(
        &self,
        args: &[&str],
        (rights, share): (Rights<'_>, Share),
        flake: &Pinned,
        stop: &CancellationToken,
    ) -> Result<Answer, NoAnswer> {
        let (Share::OfOne(memory) | Share::OfMany(memory)) = share;
        let invocation = rights.limit(self.invocation(args));
        let ended = self.run_with(memory, &invocation, flake, stop).await;
        let whole = self.limits.together;
        match (ended, share) {
            (Err(NoAnswer { error: EvalError::Memory(_), .. }), Share::OfOne(had))
                if had < whole =>
            {
                tracing::info!(
                    "an evaluation of {} needed more than {}; it is tried again with all of \
                     nix.memory ({})",
                    flake.revision.as_ref().map_or("a flake", |it| it.short()),
                    bytesize::ByteSize(had),
                    bytesize::ByteSize(whole)
                );
                self.run_with(whole, &invocation, flake, stop).await
            }
            (ended, Share::OfOne(_) | Share::OfMany(_)) => ended,
        }
    }

    /// Runs it with so much memory, or with the whole budget if that is less.
    async fn run_with(
        &self,
        memory: u64,
        invocation: &Invocation,
        flake: &Pinned,
        stop: &CancellationToken,
    ) -> Result<Answer, NoAnswer> {
        match self.finish(memory, invocation, stop).await? {
            (Finished { success: true, stdout, stderr, peak_memory, elapsed, .. }, _) => {
                Ok(Answer { json: stdout, stderr, elapsed, peak_memory })
            }
            (finished, memory) => {
                let error = failure::of_finished(&finished, flake, memory);
                Err(NoAnswer { error, stderr: finished.stderr })
            }
        }
    }

    /// How a process that ended by itself did so, and how much memory it had.
    pub(super) async fn finish(
        &self,
        memory: u64,
        invocation: &Invocation,
        stop: &CancellationToken,
    ) -> Result<(Finished, u64), EvalError> {
        let admission = tokio::select! {
            admission = self.room.enter(memory) => admission,
            () = stop.cancelled() => return Err(EvalError::Cancelled),
        };
        let admission = admission.map_err(|error| EvalError::Operator(error.to_string()))?;
        for name in ["cache", "config", "data", "state"] {
            let folder = self.home.join(name);
            tokio::fs::create_dir_all(&folder)
                .await
                .map_err(|error| EvalError::Operator(format!("{}: {error}", folder.display())))?;
        }
        let memory = admission.memory();
        let limits = Limits { timeout: self.timeout, memory: Some(memory), output: OUTPUT };
        let heap = memory.to_string();
        let invocation = invocation.clone().limits(limits).env("GC_MAXIMUM_HEAP_SIZE", heap);
        match process::run(invocation, stop).await {
            Ok(finished) => Ok((finished, memory)),
            Err(error) => Err(failure::of_process(error, memory, self.timeout)),
        }
    }

    /// `nix ARGS…` with what every evaluation has.
    fn invocation(&self, args: &[&str]) -> Invocation {
        self.with_ours(self.nix.command(args, self.unlimited())).arg("--no-write-lock-file")
    }

    /// `nix ARGS…` that may write a lock file.
    pub(super) fn locking(&self, args: &[String]) -> Invocation {
        self.with_ours(self.nix.command(args, self.unlimited()))
    }

    /// `nix-eval-jobs ARGS…` with the same; it never writes a lock file.
    pub(super) fn jobs_invocation(&self, program: &Path, args: &[&str]) -> Invocation {
        self.with_ours(self.nix.command_of(program, args, self.unlimited()))
    }

    /// Before it is known what a process may hold.
    fn unlimited(&self) -> Limits {
        Limits { timeout: self.timeout, memory: None, output: OUTPUT }
    }

    /// The settings, the home and the environment that every evaluation has.
    fn with_ours(&self, invocation: Invocation) -> Invocation {
        let mut invocation = invocation
            .args(["--option", "accept-flake-config", "false"])
            .args(["--option", "eval-cache", "false", "--option", "pure-eval", "true"])
            .args(["--option", "warn-dirty", "false"])
            .env("HOME", &self.home)
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("LC_ALL", "C");
        for (key, name) in [
            ("XDG_CACHE_HOME", "cache"),
            ("XDG_CONFIG_HOME", "config"),
            ("XDG_DATA_HOME", "data"),
            ("XDG_STATE_HOME", "state"),
        ] {
            invocation = invocation.env(key, self.home.join(name));
        }
        for key in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "NIX_CONFIG_DIR"] {
            invocation = invocation.env_remove(key);
        }
        invocation
    }
}
