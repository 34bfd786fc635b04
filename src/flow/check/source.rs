//! The flake that a person means, and the policy that lies beside it.
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use tokio_util::sync::CancellationToken;

use crate::domain::policy::Policy;
use crate::flow::check::{CheckError, of_flake};
use crate::nix::eval::{EvalError, Evaluator};
use crate::nix::flake::{FlakeRef, Pinned};

/// Nobody's policy is larger.
const LARGEST_POLICY: u64 = 1 << 20;

/// Pins the flake and reads the policy of its repository; the policy says in which sub-folder the
/// flake is, unless the person named one.
pub(in crate::flow) async fn pin(
    evaluator: &Evaluator,
    typed: &str,
    stop: &CancellationToken,
) -> Result<(Pinned, Policy), CheckError> {
    let flake = FlakeRef::parse(typed)?;
    let pinned = match evaluator.pin(&flake, None, stop).await {
        Ok(pinned) => pinned,
        Err(error) => return below(evaluator, &flake, error, stop).await,
    };
    let policy = match &pinned.source {
        Some(source) => policy_in(Path::new(source.as_str()))?,
        None => None,
    };
    let policy = policy.unwrap_or_default();
    if policy.build.flake.is_empty() || pinned.dir.is_some() {
        return Ok((pinned, policy));
    }
    // Of what was found, so that both are the same commit.
    let sub = pinned.flake.within(&policy.build.flake);
    let pinned = evaluator.pin(&sub, None, stop).await.map_err(|error| of_flake(typed, error))?;
    Ok((pinned, policy))
}

/// A folder without a flake of its own, whose policy knows where the flake is.
async fn below(
    evaluator: &Evaluator,
    flake: &FlakeRef,
    error: EvalError,
    stop: &CancellationToken,
) -> Result<(Pinned, Policy), CheckError> {
    let not_found = of_flake(flake.as_str(), error);
    let Some(root) = flake.local_folder().and_then(repository) else { return Err(not_found) };
    let Some(policy) = policy_in(&root)? else { return Err(not_found) };
    if policy.build.flake.is_empty() {
        return Err(not_found);
    }
    let sub = match root.to_str() {
        Some(root) => FlakeRef::parse(root)?.within(&policy.build.flake),
        None => return Err(not_found),
    };
    let pinned = evaluator.pin(&sub, None, stop).await;
    let pinned = pinned.map_err(|error| of_flake(sub.as_str(), error))?;
    // What git does not track is not in the source, as it is not in a commit.
    let source = pinned.source.as_ref().map(|it| policy_in(Path::new(it.as_str())));
    let policy = source.transpose()?.flatten().unwrap_or(policy);
    Ok((pinned, policy))
}

/// The root of the git repository that a folder is in, or the folder.
fn repository(folder: &Path) -> Option<PathBuf> {
    let folder = folder.canonicalize().ok()?;
    let root = folder.ancestors().find(|it| it.join(".git").exists());
    Some(root.unwrap_or(&folder).to_owned())
}

/// The policy in a folder. One that cannot be read is never replaced by the default.
fn policy_in(root: &Path) -> Result<Option<Policy>, CheckError> {
    for file in Policy::FILES {
        let path = root.join(file);
        let refuse = |reason: String| CheckError::PolicyFile { file: file.to_owned(), reason };
        let facts = match path.symlink_metadata() {
            Ok(facts) => facts,
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                continue;
            }
            Err(error) => return Err(refuse(format!("cannot be read: {error}"))),
        };
        let is = if facts.is_symlink() {
            "is a symbolic link; it must be a file"
        } else if facts.is_dir() {
            "is a folder; it must be a file"
        } else if facts.len() > LARGEST_POLICY {
            "is larger than 1 MiB"
        } else {
            let mut text = Vec::new();
            std::fs::File::open(&path)
                .and_then(|it| it.take(LARGEST_POLICY).read_to_end(&mut text))
                .map_err(|error| refuse(format!("cannot be read: {error}")))?;
            return Ok(Some(Policy::parse_bytes(file, &text)?));
        };
        return Err(refuse(is.to_owned()));
    }
    Ok(None)
}
