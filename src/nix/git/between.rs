//! The commits of an input between two revisions, read from wherever the input is.
//!
//! They are fetched into a repository that is thrown away: without trees and files where the server
//! can leave them out, without any credential, over https or from this machine alone.
use std::path::Path;

use tokio_util::sync::CancellationToken;

use crate::domain::id::CommitSha;
use crate::domain::lock::history::{Commit, MOST_COMMITS};
use crate::nix::git::GitError;
use crate::nix::git::command::{Git, PlainHttp};

/// The commits after `old` up to `new` along first parents, the oldest first; `None` where that way
/// does not lead from one to the other, or is longer than [`MOST_COMMITS`].
///
/// # Errors
/// See [`GitError`]; [`GitError::CommitGone`] also when the server gives only what its branches have.
pub async fn commits_between(
    scratch: &Path,
    url: &str,
    (old, new): (&CommitSha, &CommitSha),
    stop: &CancellationToken,
) -> Result<Option<Vec<Commit>>, GitError> {
    let folder = tempfile::tempdir_in(scratch);
    let folder = folder.map_err(|it| GitError::Operator(format!("{}: {it}", scratch.display())))?;
    let git = Git { directory: folder.path(), credential: None, plain_http: PlainHttp::Never };
    let run = async |args: &[&str]| git.run(args, None, stop).await.map_err(|(error, _)| error);
    run(&["init", "--quiet", "--bare", "--template=", "--initial-branch=main"]).await?;
    let wanted =
        [(old, "old"), (new, "new")].map(|(it, name)| format!("{it}:refs/fleetcheck/{name}"));
    let options = ["--quiet", "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance"];
    // Nix reads inputs of this machine as they are, so their history is read there too.
    let mut args = vec!["-c", "protocol.file.allow=always", "fetch", "--filter=tree:0"];
    args.extend(options);
    args.extend([url, wanted[0].as_str(), wanted[1].as_str()]);
    run(&args).await?;
    let (range, most) = (format!("{old}..{new}"), format!("--max-count={}", MOST_COMMITS + 1));
    let log = ["log", "--first-parent", "--format=%H %ct %P", &most, &range, "--"];
    let listed = run(&log).await?;
    Ok(straight(&String::from_utf8_lossy(&listed), old))
}

/// Reads `HASH SECONDS PARENTS`, the newest first.
fn straight(listed: &str, old: &CommitSha) -> Option<Vec<Commit>> {
    let mut commits = Vec::new();
    let mut oldest = None;
    for line in listed.lines() {
        let mut words = line.split(' ');
        let id = words.next()?.parse().ok()?;
        commits.push(Commit { id, at: words.next()?.parse().ok() });
        oldest = words.next();
    }
    if oldest != Some(old.as_str()) || commits.len() > MOST_COMMITS {
        return None;
    }
    commits.reverse();
    Some(commits)
}
