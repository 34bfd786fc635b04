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
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use crate::config;
use crate::domain::build::{Derivation, EvaluationFailure, Warning};
use crate::domain::evaluation::{self, EvaluationLimits};
use crate::domain::id::{AttrPath, CommitSha, StorePath, nix_string};
use crate::nix::eval_jobs::EvalJobs;
use crate::nix::flake::{FlakeRef, Pinned};
use crate::nix::{Nix, NixError, absolute};

mod answer;
mod apart;
mod confine;
mod expression;
mod failure;
mod limited;
mod list;
mod locate;
mod room;
mod update;
mod warnings;

pub use apart::Apart;
pub use confine::Untrusted;
use failure::NoAnswer;
pub use failure::{EvalError, Unevaluated};
use limited::{Answer, Rights, Share};
pub use list::{DEEPEST, MOST};
use room::Room;
pub use update::Copied;

/// Attributes that one process evaluates at most; [`Evaluator::evaluate`] takes more to several.
pub const LARGEST_BATCH: usize = 250;
/// Linux takes arguments of up to 128 KiB.
const LONGEST_EXPRESSION: usize = 120_000;
/// Bytes that finding a flake takes, which evaluates next to nothing.
const SMALL: u64 = 256 << 20;

/// Runs evaluations: so many at once, within one budget of memory, whoever asks for them.
#[derive(Clone, Debug)]
pub struct Evaluator {
    nix: Nix,
    home: PathBuf,
    room: Arc<Room>,
    limits: EvaluationLimits,
    timeout: Duration,
    /// Nix's, in full.
    version: Arc<OnceCell<String>>,
    eval_jobs: Arc<OnceCell<EvalJobs>>,
    located: locate::Located,
    /// The experimental features that a confined evaluation has.
    features: Arc<OnceCell<String>>,
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
    /// The most memory that a process of it alone would have held, in bytes, as far as is known.
    pub peak_memory: u64,
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
    /// `.netrc` is used, and what was fetched once is found again.
    #[must_use]
    pub fn new(nix: Nix, config: &config::Nix, directory: &Path) -> Self {
        let limits = EvaluationLimits {
            at_once: config.evaluations,
            each: config.evaluation_memory,
            together: config.memory,
        };
        Self {
            nix,
            home: absolute(&directory.join("evaluation")),
            room: Arc::new(Room::new(limits)),
            limits,
            timeout: config.evaluation_timeout,
            version: Arc::default(),
            eval_jobs: Arc::default(),
            located: locate::Located::default(),
            features: Arc::default(),
        }
    }

    /// How many may run at once, and what they may hold.
    #[must_use]
    pub fn limits(&self) -> EvaluationLimits {
        self.limits
    }

    /// Bytes of the budget that nobody holds now.
    #[must_use]
    pub fn free(&self) -> u64 {
        self.room.free()
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
        let may = (Rights::Trusted, Share::OfOne(SMALL));
        let answer = self.run(&args, may, &unknown, stop).await.map_err(|it| it.error)?;
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
        let share = Share::OfOne(self.limits.careful());
        let answer = self.apply(flake, (attr.output(), &apply), share, stop).await;
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
    /// Each process has `memory` bytes of the budget; an attribute that alone outgrows them is
    /// tried once more, alone with the whole budget.
    ///
    /// # Errors
    /// See [`EvalError`]; with it comes what Nix warned of, where one was evaluated alone.
    pub async fn evaluate(
        &self,
        flake: &Pinned,
        attrs: &[AttrPath],
        memory: u64,
        stop: &CancellationToken,
    ) -> Result<Vec<Evaluated>, Unevaluated> {
        let share = if attrs.len() > 1 { Share::OfMany(memory) } else { Share::OfOne(memory) };
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
            let answer = match self.apply(flake, (first.output(), &apply), share, stop).await {
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
            let of = u64::try_from(batch).unwrap_or(1);
            let elapsed_ms = u64::try_from(answer.elapsed.as_millis()).unwrap_or(u64::MAX);
            let mut warnings = warnings::read(&answer.stderr, flake, batch);
            self.located.tell(flake.source.as_ref(), &mut warnings).await;
            let derivations = answer::derivations(&answer.json, now)?;
            for ((attr, derivation), warnings) in now.iter().zip(derivations).zip(warnings) {
                evaluated.push(Evaluated {
                    attr: attr.clone(),
                    derivation,
                    warnings,
                    elapsed_ms: elapsed_ms / of,
                    peak_memory: evaluation::alone(answer.peak_memory, batch),
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
        (output, apply): (&str, &str),
        share: Share,
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
            self.run(&args, (Rights::Confined(confined), share), flake, stop).await
        } else {
            // Since 2.19; without the dot Nix also looks for `packages.SYSTEM.OUTPUT`, as
            // `nix build` does.
            let dot = if self.is_newer((2, 19)).await? { "." } else { "" };
            let installable = format!("{}#{dot}{output}", flake.flake);
            let args = ["eval", "--json", "--show-trace", &installable, "--apply", apply];
            self.run(&args, (Rights::Trusted, share), flake, stop).await
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

    /// What the derivations of a flake depend on: its commit, its folder and the Nix that evaluates it.
    /// The tree alone does not say it, since a host may look at `self.rev` or `self.lastModified`.
    /// `None` for what nobody may rely on: a dirty tree, and a confined flake, whose derivations are
    /// those of an evaluation with fewer rights.
    ///
    /// # Errors
    /// When Nix cannot be asked for its version.
    pub async fn identity(&self, flake: &Pinned) -> Result<Option<String>, EvalError> {
        let (Some(revision), None) = (&flake.revision, &flake.confined) else { return Ok(None) };
        let dir = flake.dir.as_deref().unwrap_or_default();
        Ok(Some(format!("{revision} {dir} nix {}", self.version().await?)))
    }

    async fn is_newer(&self, than: (u32, u32)) -> Result<bool, EvalError> {
        let mut parts = self.version().await?.split('.').map(|it| it.parse().unwrap_or(0));
        Ok((parts.next().unwrap_or(0), parts.next().unwrap_or(0)) >= than)
    }

    async fn version(&self) -> Result<&str, EvalError> {
        let known = self.version.get_or_try_init(|| self.nix.version()).await;
        known.map(String::as_str).map_err(|error: NixError| EvalError::Operator(error.to_string()))
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
