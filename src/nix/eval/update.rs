//! Finds the newest revisions of a flake's inputs: `nix flake update` in a folder of our own.
use std::path::Path;

use tokio_util::sync::CancellationToken;

use crate::domain::lock::moved::InputPath;
use crate::nix::eval::{EvalError, Evaluator, failure};
use crate::nix::flake::{FlakeRef, Pinned};

/// The first that moves inputs by their names with `nix flake update`.
const BY_NAME: (u32, u32) = (2, 19);

/// A copy of a repository that nobody else reads: its flake's lock file is written freely.
#[derive(Clone, Copy, Debug)]
pub struct Copied<'a> {
    /// Its root.
    pub root: &'a Path,
    /// The flake's folder in it; empty for the root.
    pub dir: &'a str,
}

impl Copied<'_> {
    /// The flake, as Nix takes it.
    #[must_use]
    pub fn flake(&self) -> FlakeRef {
        FlakeRef::of_folder(self.root).within(self.dir)
    }
}

impl Evaluator {
    /// Completes the lock file of a copy as `nix flake lock` does, which moves nothing that is
    /// locked, or with `inputs` moves these to their newest revisions.
    ///
    /// # Errors
    /// As any evaluation; [`EvalError::Flake`] also when an input is not where the flake says.
    pub async fn lock(
        &self,
        copied: Copied<'_>,
        inputs: &[InputPath],
        stop: &CancellationToken,
    ) -> Result<(), EvalError> {
        let flake = copied.flake();
        let by_name = self.is_newer(BY_NAME).await?;
        if !by_name && !copied.dir.is_empty() {
            return Err(EvalError::of_flake(format!(
                "the flake is in the sub-folder {}, where Nix {} moves no inputs; 2.19 does",
                copied.dir,
                self.version().await?
            )));
        }
        let names = inputs.iter().map(ToString::to_string);
        let mut args = vec!["flake".to_owned()];
        if inputs.is_empty() {
            args.extend(["lock".to_owned(), flake.as_str().to_owned()]);
        } else if by_name {
            args.extend(["update", "--flake", flake.as_str()].map(str::to_owned));
            args.extend(names);
        } else {
            args.extend(["lock".to_owned(), flake.as_str().to_owned()]);
            args.extend(names.flat_map(|it| ["--update-input".to_owned(), it]));
        }
        self.write_lock(copied, &args, stop).await
    }

    /// Completes the lock file of a copy with one input at what `reference` says, whatever the flake
    /// asks for: `github:NixOS/nixpkgs/COMMIT`.
    ///
    /// # Errors
    /// As [`Evaluator::lock`].
    pub async fn lock_at(
        &self,
        copied: Copied<'_>,
        (input, reference): (&InputPath, &str),
        stop: &CancellationToken,
    ) -> Result<(), EvalError> {
        let (flake, input) = (copied.flake(), input.to_string());
        let args = ["flake", "lock", flake.as_str(), "--override-input", &input, reference];
        self.write_lock(copied, &args.map(str::to_owned), stop).await
    }

    async fn write_lock(
        &self,
        copied: Copied<'_>,
        args: &[String],
        stop: &CancellationToken,
    ) -> Result<(), EvalError> {
        let invocation = self.locking(args);
        let (finished, memory) = self.finish(self.limits.careful(), &invocation, stop).await?;
        if finished.success {
            return Ok(());
        }
        let unknown = Pinned {
            flake: copied.flake(),
            revision: None,
            source: None,
            folder: Some(copied.root.to_owned()),
            dir: None,
            confined: None,
        };
        Err(failure::of_finished(&finished, &unknown, memory))
    }
}
