//! What a mirror no longer needs is removed from it, while nobody else uses it.
use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::domain::id::{CommitSha, RepositoryId};
use crate::nix::git::failure::GitError;
use crate::nix::git::{Known, Lease, Mirror, Mirrors, Place, disk, remove};

/// In a mirror that has something to collect: it outlives a crash between letting go and that.
const OWED: &str = "fleetcheck-collect";
/// Packs, and objects outside of one, above which git is slow: `gc.autoPackLimit` and a third of
/// `gc.auto`, since every fetch leaves some and nothing else here collects.
const MOST_PACKS: u64 = 50;
const MOST_LOOSE: u64 = 2_000;

/// A mirror that nobody else reads or fetches into for as long as this lives.
#[derive(Debug)]
pub struct Alone {
    mirror: Mirror,
    place: Arc<Place>,
}

/// Whether a mirror is as small as it can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Collected {
    /// There was nothing to collect, or it is gone.
    Done,
    /// Somebody wanted the mirror first: what is left is collected another time.
    Interrupted,
}

impl Mirrors {
    /// The repositories that have a mirror. Removes what a removal that was killed has left.
    ///
    /// # Errors
    /// When the folder of the mirrors cannot be read.
    pub async fn all(&self) -> Result<Vec<RepositoryId>, GitError> {
        let mut found = Vec::new();
        let mut entries = match tokio::fs::read_dir(&self.directory).await {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(found),
            Err(error) => return Err(disk(error)),
        };
        while let Some(entry) = entries.next_entry().await.map_err(disk)? {
            let path = entry.path();
            if path.extension().is_some_and(|it| it == "gone") {
                remove(&path).await.map_err(disk)?;
            } else {
                found.extend(repository(&path));
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    /// The mirror for the caller alone; `None` while somebody uses it.
    #[must_use]
    pub fn alone(&self, repository: RepositoryId) -> Option<Alone> {
        let place = self.place(repository);
        let held = Arc::clone(&place.lease).try_write_owned().ok()?;
        Some(Alone { mirror: self.mirror(repository, Lease::Alone { _held: held }), place })
    }
}

impl Alone {
    /// Lets go of every commit but `keep` and of what those come from, and has git collect what
    /// nothing needs any more. What was let go and is asked for again is fetched again. Ends as
    /// soon as somebody else wants the mirror; a crash at any point is mended by the next call.
    ///
    /// # Errors
    /// When git fails on the mirror, or it was told to stop.
    pub async fn keep(
        self,
        keep: &HashSet<CommitSha>,
        stop: &CancellationToken,
    ) -> Result<Collected, GitError> {
        let hurry = stop.child_token();
        // Whoever finds the mirror taken tells this, which listens since before it could be found.
        let wanted = self.place.wanted.notified();
        tokio::pin!(wanted);
        wanted.as_mut().enable();
        let work = self.tidied(keep, &hurry);
        tokio::pin!(work);
        let ended = tokio::select! {
            ended = &mut work => ended,
            () = wanted => {
                hurry.cancel();
                work.await
            }
        };
        match ended {
            Err(GitError::Cancelled) if !stop.is_cancelled() => Ok(Collected::Interrupted),
            Ok(()) => Ok(Collected::Done),
            Err(error) => Err(error),
        }
    }

    /// Removes the whole mirror.
    ///
    /// # Errors
    /// When the file system refuses.
    pub async fn remove(self) -> Result<(), GitError> {
        let directory = &self.mirror.directory;
        // Under another name first: half of a mirror is never found under its own.
        let gone = directory.with_extension("gone");
        remove(&gone).await.map_err(disk)?;
        match tokio::fs::rename(directory, &gone).await {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            renamed => renamed.map_err(disk)?,
        }
        *self.place.known.lock().await = Known::Nothing;
        remove(&gone).await.map_err(disk)
    }

    async fn tidied(
        &self,
        keep: &HashSet<CommitSha>,
        stop: &CancellationToken,
    ) -> Result<(), GitError> {
        let mirror = &self.mirror;
        if !tokio::fs::try_exists(&mirror.directory).await.map_err(disk)? {
            return Ok(());
        }
        let mut known = self.place.known.lock().await;
        if *known == Known::Nothing {
            mirror.make_sound(stop).await?;
        }
        // A git that is ended here may leave what the next user has to tidy up.
        *known = Known::Nothing;
        let owed = mirror.directory.join(OWED);
        let refs = ["for-each-ref", "--format=%(refname)", "refs/fleetcheck/"];
        let refs = mirror.git().in_background(&refs, stop).await?;
        let orders = orders(&String::from_utf8_lossy(&refs), keep);
        if !orders.is_empty() {
            tokio::fs::write(&owed, []).await.map_err(disk)?;
            let update = ["update-ref", "--stdin", "-z"];
            mirror.git().run(&update, Some(orders), stop).await.map_err(|(error, _)| error)?;
        }
        if tokio::fs::try_exists(&owed).await.map_err(disk)? || mirror.is_crowded(stop).await? {
            let settings = ["-c", "pack.threads=1", "-c", "pack.windowMemory=128m"];
            let gc = ["gc", "--quiet", "--force", "--prune=now"];
            let args: Vec<&str> = settings.into_iter().chain(gc).collect();
            mirror.git().in_background(&args, stop).await?;
            remove_file(&owed).await?;
        }
        *known = Known::Sound;
        Ok(())
    }
}

impl Mirror {
    async fn is_crowded(&self, stop: &CancellationToken) -> Result<bool, GitError> {
        let counted = self.git().in_background(&["count-objects", "--verbose"], stop).await?;
        let counted = String::from_utf8_lossy(&counted);
        let number = |name: &str| {
            let line = counted.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|it| it.trim().parse::<u64>().ok()).unwrap_or_default()
        };
        Ok(number("packs:") > MOST_PACKS || number("count:") > MOST_LOOSE)
    }
}

/// What `git update-ref --stdin -z` is told to delete.
fn orders(refs: &str, keep: &HashSet<CommitSha>) -> Vec<u8> {
    let kept = |name: &str| {
        let commit = name.strip_prefix("refs/fleetcheck/").and_then(|it| it.parse().ok());
        commit.is_some_and(|it| keep.contains(&it))
    };
    let delete = refs.lines().filter(|name| !kept(name));
    delete.flat_map(|name| format!("delete {name}\0\0").into_bytes()).collect()
}

/// Whose mirror a folder is.
fn repository(folder: &Path) -> Option<RepositoryId> {
    let name = folder.file_name()?.to_str()?.strip_suffix(".git")?;
    name.parse().ok().map(RepositoryId)
}

async fn remove_file(file: &Path) -> Result<(), GitError> {
    match tokio::fs::remove_file(file).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(disk(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}
