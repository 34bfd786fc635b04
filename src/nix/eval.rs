//! Evaluates flakes: what is there, and which derivation each attribute gives.
//!
//! Pure, without the flake's own settings (`nixConfig`), with a memory cap and a time limit, each
//! process by itself. A flake cannot reach what Nix's purity does not allow it; what it can do
//! (fetch, build while evaluating, compute) ends with its process. One that nobody here has written
//! is confined ([`Evaluator::confine`]) and can only compute.
//!
//! A derivation is the one that `nix build` gives at that commit: the same reference, the lock
//! file used but never written.
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::{OnceCell, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::config;
use crate::domain::build::{Derivation, EvaluationFailure, Warning};
use crate::domain::id::{AttrPath, CommitSha, StorePath, nix_string};
use crate::nix::flake::{Confined, FlakeRef, Pinned};
use crate::nix::process::{self, Finished, Invocation, Limits};
use crate::nix::{Nix, NixError, absolute};

mod answer;
mod confine;
mod expression;
mod failure;
mod list;
mod locate;
mod warnings;

pub use confine::Untrusted;
use failure::NoAnswer;
pub use failure::{EvalError, Unevaluated};
pub use list::{DEEPEST, MOST};

/// Attributes that one process evaluates at most; [`Evaluator::evaluate`] takes more to several.
pub const LARGEST_BATCH: usize = 250;
/// Linux takes arguments of up to 128 KiB.
const LONGEST_EXPRESSION: usize = 120_000;
/// Bytes of an answer, and of what is said about it.
const OUTPUT: usize = 32 << 20;

/// Runs evaluations, at most so many at once as there are permits.
#[derive(Clone, Debug)]
pub struct Evaluator {
    nix: Nix,
    home: PathBuf,
    permits: Arc<Semaphore>,
    memory: u64,
    timeout: Duration,
    /// Nix's major and minor version.
    version: Arc<OnceCell<(u32, u32)>>,
    located: locate::Located,
    /// The experimental features that a confined evaluation has.
    features: Arc<OnceCell<String>>,
}

/// What a process may reach.
#[derive(Clone, Copy)]
enum Rights<'a> {
    /// What the machine's settings allow.
    Trusted,
    /// What is public: no token, no key, no protocol but https.
    Public,
    /// Nothing but the sources of one flake.
    Confined(&'a Confined),
}

/// What an attribute gives, and what finding out took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evaluated {
    pub attr: AttrPath,
    pub derivation: Derivation,
    /// What Nix warned of meanwhile. What hosts of one process share is said of the first.
    pub warnings: Vec<Warning>,
    /// Its share of the process's time.
    pub elapsed_ms: u64,
    /// Its share of the most memory that the process held, in bytes.
    pub peak_memory: u64,
}

/// What a process printed, and what it took.
struct Answer {
    json: Vec<u8>,
    stderr: Vec<u8>,
    elapsed: Duration,
    peak_memory: u64,
}

/// `nix flake metadata --json`; both commits are absent where there is none.
#[derive(Deserialize)]
struct Metadata {
    url: String,
    revision: Option<String>,
    path: Option<String>,
    locked: Locked,
}

#[derive(Deserialize)]
struct Locked {
    #[serde(rename = "type")]
    kind: Option<String>,
    url: Option<String>,
    path: Option<String>,
    dir: Option<String>,
}

impl Evaluator {
    /// `directory` becomes the home of every evaluation: nobody's `trusted-settings.json` or
    /// `.netrc` is used, and what was fetched once is found again. `permits` are shared by all.
    #[must_use]
    pub fn new(nix: Nix, config: &config::Nix, directory: &Path, permits: Arc<Semaphore>) -> Self {
        Self {
            nix,
            home: absolute(&directory.join("evaluation")),
            permits,
            memory: config.evaluation_memory,
            timeout: config.evaluation_timeout,
            version: Arc::default(),
            located: locate::Located::default(),
            features: Arc::default(),
        }
    }

    /// Finds out what a reference stands for, so that every later step sees the same.
    ///
    /// # Errors
    /// [`EvalError::AnotherCommit`] when it is not `wanted`; otherwise as any evaluation.
    pub async fn pin(
        &self,
        flake: &FlakeRef,
        wanted: Option<&CommitSha>,
        stop: &CancellationToken,
    ) -> Result<Pinned, EvalError> {
        // The commit tells the repository's own files in what Nix says.
        let revision = wanted.cloned();
        let flake_ref = flake.clone();
        let unknown = Pinned {
            flake: flake_ref,
            revision,
            source: None,
            folder: None,
            dir: None,
            confined: None,
        };
        let args = ["flake", "metadata", "--json", flake.as_str()];
        let answer = self.run(&args, &unknown, stop).await?;
        let found: Metadata = answer::parse(&answer.json)?;
        let revision: Option<CommitSha> = found.revision.as_deref().and_then(|it| it.parse().ok());
        if let Some(wanted) = wanted
            && revision.as_ref() != Some(wanted)
        {
            return Err(EvalError::AnotherCommit { wanted: wanted.clone(), found: revision });
        }
        let flake = match &revision {
            Some(revision) if !flake.names(revision) => {
                FlakeRef::parse(&found.url).map_err(|it| EvalError::Operator(it.to_string()))?
            }
            Some(_) | None => flake.clone(),
        };
        let source: Option<StorePath> = found.path.as_deref().and_then(|it| it.parse().ok());
        let folder = found.locked.folder();
        Ok(Pinned { flake, revision, source, folder, dir: found.locked.dir, confined: None })
    }

    /// The list of names that an output holds (`gate.required_from`).
    ///
    /// # Errors
    /// [`EvalError::Flake`] when it is not there or anything but a list of texts.
    pub async fn names(
        &self,
        flake: &Pinned,
        attr: &AttrPath,
        stop: &CancellationToken,
    ) -> Result<Vec<String>, EvalError> {
        let apply = format!(
            "o: let v = o{}; in if !(builtins.isList v) then builtins.typeOf v \
             else map (n: if builtins.isString n then n else [ (builtins.typeOf n) ]) v",
            path(&attr.components()[1..])
        );
        let answer = self.apply(flake, attr.output(), &apply, stop).await;
        let Some(answer) = answer.map_err(|it| it.error)? else {
            return Err(EvalError::of_flake(format!("the flake has no output `{attr}`")));
        };
        answer::names(&answer.json, attr)
    }

    /// The derivation of each attribute, in the order asked for.
    ///
    /// One process evaluates them all as long as they share the output and are no more than
    /// [`LARGEST_BATCH`]; callers that want to share costs pass such batches. One failure fails
    /// all: callers that want to know whose it is try the halves. Derivations are in the store
    /// afterwards, held by nothing.
    ///
    /// # Errors
    /// See [`EvalError`]; with it comes what Nix warned of, where one was evaluated alone.
    pub async fn evaluate(
        &self,
        flake: &Pinned,
        attrs: &[AttrPath],
        stop: &CancellationToken,
    ) -> Result<Vec<Evaluated>, Unevaluated> {
        let mut evaluated = Vec::with_capacity(attrs.len());
        let mut rest = attrs;
        while let [first, ..] = rest {
            let (batch, apply) = expression::batch(rest);
            if batch == 0 {
                let name = first.to_string();
                let name: String = name.chars().take(60).collect();
                return Err(EvalError::of_flake(format!("the name `{name}…` is too long")).into());
            }
            let (now, later) = rest.split_at(batch);
            let answer = match self.apply(flake, first.output(), &apply, stop).await {
                Ok(Some(answer)) => answer,
                Ok(None) => {
                    let what = format!("the flake has no output `{first}`");
                    return Err(EvalError::of_flake(what).into());
                }
                Err(NoAnswer { error, stderr }) => {
                    let mut warnings = warnings::read(&stderr, flake, 1);
                    self.located.tell(flake.source.as_ref(), &mut warnings).await;
                    let warnings = warnings.into_iter().flatten().collect();
                    return Err(Unevaluated { error, warnings });
                }
            };
            let share = u64::try_from(batch).unwrap_or(1);
            let elapsed_ms = u64::try_from(answer.elapsed.as_millis()).unwrap_or(u64::MAX);
            let mut warnings = warnings::read(&answer.stderr, flake, batch);
            self.located.tell(flake.source.as_ref(), &mut warnings).await;
            let derivations = answer::derivations(&answer.json, now)?;
            for ((attr, derivation), warnings) in now.iter().zip(derivations).zip(warnings) {
                evaluated.push(Evaluated {
                    attr: attr.clone(),
                    derivation,
                    warnings,
                    elapsed_ms: elapsed_ms / share,
                    peak_memory: answer.peak_memory / share,
                });
            }
            rest = later;
        }
        Ok(evaluated)
    }

    /// `apply` to an output of the flake; `None` when the flake has no such output.
    async fn apply(
        &self,
        flake: &Pinned,
        output: &str,
        apply: &str,
        stop: &CancellationToken,
    ) -> Result<Option<Answer>, NoAnswer> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        if !output.bytes().all(plain) || !output.starts_with(|c: char| c.is_ascii_alphabetic()) {
            let shown: String = output.chars().take(60).collect();
            let what = format!("`{shown}` is not the name of an output");
            return Err(EvalError::of_flake(what).into());
        }
        let answer = if let Some(confined) = &flake.confined {
            let expression = confined.output(output);
            let args = ["eval", "--json", "--show-trace", "--expr", &expression, "--apply", apply];
            self.try_to_run(&args, Rights::Confined(confined), flake, stop).await
        } else {
            // Since 2.19; without the dot Nix also looks for `packages.SYSTEM.OUTPUT`, as
            // `nix build` does.
            let dot = if self.version().await? >= (2, 19) { "." } else { "" };
            let installable = format!("{}#{dot}{output}", flake.flake);
            let args = ["eval", "--json", "--show-trace", &installable, "--apply", apply];
            self.try_to_run(&args, Rights::Trusted, flake, stop).await
        };
        match answer {
            Ok(answer) => Ok(Some(answer)),
            Err(NoAnswer { error: EvalError::Flake(failure), .. })
                if is_absent(&failure, flake, output) =>
            {
                Ok(None)
            }
            Err(none) => Err(none),
        }
    }

    async fn version(&self) -> Result<(u32, u32), EvalError> {
        let known = self.version.get_or_try_init(|| async {
            let version = self.nix.version().await?;
            let mut parts = version.split('.').map(|it| it.parse::<u32>().unwrap_or(0));
            Ok((parts.next().unwrap_or(0), parts.next().unwrap_or(0)))
        });
        known.await.copied().map_err(|error: NixError| EvalError::Operator(error.to_string()))
    }

    /// One process of a trusted flake.
    async fn run(
        &self,
        args: &[&str],
        flake: &Pinned,
        stop: &CancellationToken,
    ) -> Result<Answer, EvalError> {
        self.run_with(args, Rights::Trusted, flake, stop).await
    }

    /// One process, within its limits and with a permit.
    async fn run_with(
        &self,
        args: &[&str],
        rights: Rights<'_>,
        flake: &Pinned,
        stop: &CancellationToken,
    ) -> Result<Answer, EvalError> {
        self.try_to_run(args, rights, flake, stop).await.map_err(|it| it.error)
    }

    async fn try_to_run(
        &self,
        args: &[&str],
        rights: Rights<'_>,
        flake: &Pinned,
        stop: &CancellationToken,
    ) -> Result<Answer, NoAnswer> {
        let _permit = tokio::select! {
            permit = self.permits.acquire() => permit,
            () = stop.cancelled() => return Err(EvalError::Cancelled.into()),
        };
        for name in ["cache", "config", "data", "state"] {
            let folder = self.home.join(name);
            tokio::fs::create_dir_all(&folder)
                .await
                .map_err(|error| EvalError::Operator(format!("{}: {error}", folder.display())))?;
        }
        let invocation = rights.limit(self.invocation(args));
        match process::run(invocation, stop).await {
            Ok(Finished { success: true, stdout, stderr, peak_memory, elapsed, .. }) => {
                Ok(Answer { json: stdout, stderr, elapsed, peak_memory })
            }
            Ok(finished) => {
                let error = failure::of_finished(&finished, flake, self.memory);
                Err(NoAnswer { error, stderr: finished.stderr })
            }
            Err(error) => Err(failure::of_process(error, self.memory, self.timeout).into()),
        }
    }

    /// `nix ARGS…` with what every evaluation has.
    fn invocation(&self, args: &[&str]) -> Invocation {
        let limits = Limits { timeout: self.timeout, memory: Some(self.memory), output: OUTPUT };
        let mut invocation = self
            .nix
            .command(args, limits)
            .args(["--no-write-lock-file", "--option", "accept-flake-config", "false"])
            .args(["--option", "eval-cache", "false", "--option", "pure-eval", "true"])
            .args(["--option", "warn-dirty", "false"])
            .env("GC_MAXIMUM_HEAP_SIZE", self.memory.to_string())
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

impl Locked {
    /// The folder that a local flake was read from.
    fn folder(&self) -> Option<PathBuf> {
        let local = match self.kind.as_deref()? {
            "path" => self.path.as_deref()?,
            "git" => self.url.as_deref()?.strip_prefix("file://")?.split('?').next()?,
            _ => return None,
        };
        local.starts_with('/').then(|| PathBuf::from(local))
    }
}

/// `."a"."b"`: names are texts of the Nix language, whatever is in them.
fn path(components: &[String]) -> String {
    components.iter().fold(String::new(), |path, it| path + "." + &nix_string(it))
}

/// Nix's own words for an output that a flake does not have.
fn is_absent(failure: &EvaluationFailure, flake: &Pinned, output: &str) -> bool {
    let said = &failure.headline;
    if let Some(confined) = &flake.confined {
        return *said == confined.absent();
    }
    said.starts_with("flake '")
        && said.contains("' does not provide attribute ")
        && said.ends_with(&format!("'{output}'"))
        && failure.place.is_none()
}
