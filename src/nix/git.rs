//! Mirrors of repositories: exactly the wanted commits, with their history, and nothing that a
//! repository could do to this machine.
//!
//! A mirror is bare and named by GitHub's numeric id, so that a renamed repository keeps it. Each
//! commit is fetched by its hash and held by `refs/fleetcheck/SHA`. A token reaches git through
//! the environment alone: it is in no argument and in no file.
mod between;
mod command;
mod commits;
mod failure;
mod history;
mod upkeep;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dashmap::DashMap;
use tokio::sync::{Mutex, Notify, OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};
use tokio_util::sync::CancellationToken;

use crate::config::Sealed;
use crate::domain::id::{Branch, CommitSha, Owner, RepositoryId, RepositoryName};
use crate::nix::absolute;
use crate::nix::flake::FlakeRef;
pub use crate::nix::git::between::commits_between;
use crate::nix::git::command::{Credential, Git, PlainHttp};
pub use crate::nix::git::commits::Merged;
pub use crate::nix::git::failure::GitError;
use crate::nix::git::failure::Remedy;
pub use crate::nix::git::upkeep::{Alone, Collected};

/// The largest file that [`Mirror::read`] gives, in bytes.
pub const LARGEST_FILE: u64 = 1 << 20;

/// Where a repository is, and the right to read it.
#[derive(Clone, Debug)]
pub struct Source {
    pub repository: RepositoryId,
    pub owner: Owner,
    pub name: RepositoryName,
    /// Of the installation, for this repository's contents; `None` for a public one.
    pub token: Option<Sealed>,
}

/// All mirrors of this service.
#[derive(Clone, Debug)]
pub struct Mirrors {
    directory: PathBuf,
    git_url: String,
    places: Arc<DashMap<RepositoryId, Arc<Place>>>,
}

/// Who may do what with a mirror now.
#[derive(Debug)]
struct Place {
    /// Shared by whoever reads or fetches; had alone by whoever removes something. Nobody ever
    /// queues to have it alone, so that one who has a share may take another.
    lease: Arc<RwLock<()>>,
    /// Told when somebody waits for the one who has the mirror alone.
    wanted: Notify,
    /// One fetch at a time, and what is known about the mirror.
    known: Mutex<Known>,
}

/// What this process knows about a mirror.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    Nothing,
    /// It is whole, and nothing of a killed git is left in it.
    Sound,
}

/// One repository's mirror, with the commits fetched so far. Nothing is removed from one that was
/// fetched into for as long as this is held.
#[derive(Clone, Debug)]
pub struct Mirror {
    directory: PathBuf,
    _lease: Arc<Lease>,
}

/// What holds a mirror; released when dropped.
#[derive(Debug)]
enum Lease {
    None,
    Shared { _held: OwnedRwLockReadGuard<()> },
    Alone { _held: OwnedRwLockWriteGuard<()> },
}

impl Mirrors {
    /// Mirrors under `directory/mirrors`, fetched from `{git_url}/{owner}/{name}.git`.
    #[must_use]
    pub fn new(directory: &Path, git_url: &str) -> Self {
        Self {
            directory: absolute(&directory.join("mirrors")),
            git_url: git_url.trim_end_matches('/').to_owned(),
            places: Arc::default(),
        }
    }

    /// The mirror with this commit and its whole history in it. Asks the network only when the
    /// commit is not there yet; a second caller waits for the first.
    ///
    /// # Errors
    /// See [`GitError`]; no text of it holds the token.
    pub async fn fetch(
        &self,
        source: &Source,
        commit: &CommitSha,
        stop: &CancellationToken,
    ) -> Result<Mirror, GitError> {
        let place = self.place(source.repository);
        let (mirror, mut known) = tokio::select! {
            held = async { (self.share(source.repository).await, place.known.lock().await) } => held,
            () = stop.cancelled() => return Err(GitError::Cancelled),
        };
        if *known == Known::Nothing {
            mirror.make_sound(stop).await?;
            *known = Known::Sound;
        }
        if mirror.has(commit, stop).await? {
            return Ok(mirror);
        }
        match self.fetch_once(&mirror, source, commit, stop).await {
            Ok(()) => {}
            Err((error, Remedy::None)) => return Err(error),
            Err((_, remedy)) => {
                match remedy {
                    Remedy::Rebuild => mirror.make_anew(stop).await?,
                    Remedy::Unlock | Remedy::None => mirror.tidy().await?,
                }
                self.fetch_once(&mirror, source, commit, stop).await.map_err(|(error, _)| error)?;
            }
        }
        Ok(mirror)
    }

    /// The commit that a branch is at now. Asks the network every time, and fetches nothing.
    ///
    /// # Errors
    /// [`GitError::CommitGone`] when there is no such branch; otherwise as [`Mirrors::fetch`].
    pub async fn tip(
        &self,
        source: &Source,
        branch: &Branch,
        stop: &CancellationToken,
    ) -> Result<CommitSha, GitError> {
        let place = self.place(source.repository);
        let mirror = self.share(source.repository).await;
        {
            let mut known = place.known.lock().await;
            if *known == Known::Nothing {
                mirror.make_sound(stop).await?;
                *known = Known::Sound;
            }
        }
        let (url, name) = (self.url(source), format!("refs/heads/{branch}"));
        let args = ["ls-remote", "--quiet", "--refs", url.as_str(), name.as_str()];
        let listed = self.git_of(&mirror, source).run(&args, None, stop).await;
        let listed = listed.map_err(|(error, _)| error)?;
        // `HASH\tNAME`, also of names that only end so.
        let listed = String::from_utf8_lossy(&listed);
        let mut found = listed.lines().filter_map(|line| line.split_once('\t'));
        let tip = found.find(|(_, found)| *found == name).and_then(|(hash, _)| hash.parse().ok());
        tip.ok_or(GitError::CommitGone)
    }

    /// A repository's mirror as it is now, perhaps without any commit, to ask git about commits
    /// that were fetched: it finds them also while packs change under it.
    #[must_use]
    pub fn as_it_is(&self, repository: RepositoryId) -> Mirror {
        self.mirror(repository, Lease::None)
    }

    fn place(&self, repository: RepositoryId) -> Arc<Place> {
        Arc::clone(&self.places.entry(repository).or_default())
    }

    /// The mirror, beside others; whoever has it alone is asked to let go.
    async fn share(&self, repository: RepositoryId) -> Mirror {
        let place = self.place(repository);
        let held = if let Ok(held) = Arc::clone(&place.lease).try_read_owned() {
            held
        } else {
            place.wanted.notify_waiters();
            Arc::clone(&place.lease).read_owned().await
        };
        self.mirror(repository, Lease::Shared { _held: held })
    }

    fn mirror(&self, repository: RepositoryId, lease: Lease) -> Mirror {
        let directory = self.directory.join(format!("{}.git", repository.0));
        Mirror { directory, _lease: Arc::new(lease) }
    }

    async fn fetch_once(
        &self,
        mirror: &Mirror,
        source: &Source,
        commit: &CommitSha,
        stop: &CancellationToken,
    ) -> Result<(), (GitError, Remedy)> {
        let (git, url) = (self.git_of(mirror, source), self.url(source));
        let refspec = format!("{commit}:refs/fleetcheck/{commit}");
        let options = ["--quiet", "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance"];
        let args: Vec<&str> =
            ["fetch"].into_iter().chain(options).chain([url.as_str(), refspec.as_str()]).collect();
        git.run(&args, None, stop).await.map(drop)
    }

    fn url(&self, source: &Source) -> String {
        format!("{}/{}/{}.git", self.git_url, source.owner, source.name)
    }

    /// Git in a mirror, with the right to read where it came from.
    fn git_of<'a>(&'a self, mirror: &'a Mirror, source: &'a Source) -> Git<'a> {
        let credential = |token| Credential { base: &self.git_url, token };
        Git {
            directory: &mirror.directory,
            credential: source.token.as_ref().map(credential),
            plain_http: PlainHttp::of(&self.git_url),
        }
    }
}

impl Mirror {
    /// A file of a commit; `None` when the commit has none there.
    ///
    /// # Errors
    /// [`GitError::File`] when it is a folder, a symbolic link, a submodule or larger than
    /// [`LARGEST_FILE`].
    pub async fn read(&self, commit: &CommitSha, path: &str) -> Result<Option<Vec<u8>>, GitError> {
        let stop = CancellationToken::new();
        let tree = ["ls-tree", "-z", "-l", "--full-tree", commit.as_str(), "--", path];
        let listed = self.git().run(&tree, None, &stop).await.map_err(|(error, _)| error)?;
        let listed = String::from_utf8_lossy(&listed);
        // `100644 blob HASH    SIZE\tPATH`
        let Some((facts, _)) = listed.split_once('\t') else { return Ok(None) };
        let facts: Vec<&str> = facts.split_ascii_whitespace().collect();
        let refuse =
            |reason: &str| Err(GitError::File { path: path.to_owned(), reason: reason.to_owned() });
        match facts.as_slice() {
            ["120000", ..] => refuse("is a symbolic link; it must be a file"),
            ["040000", ..] => refuse("is a folder; it must be a file"),
            ["160000", ..] => refuse("is a submodule; it must be a file"),
            [_, "blob", hash, size] => match size.parse::<u64>() {
                Ok(size) if size <= LARGEST_FILE => {
                    let blob = ["cat-file", "blob", hash];
                    let bytes = self.git().run(&blob, None, &stop).await;
                    bytes.map(Some).map_err(|(error, _)| error)
                }
                Ok(size) => refuse(&format!("has {size} bytes; at most {LARGEST_FILE} are read")),
                Err(_) => refuse("has no size"),
            },
            _ => Err(GitError::Operator(format!("`git ls-tree` answered `{listed}`"))),
        }
    }

    /// The flake in the folder `dir` (empty for the root) of a fetched commit.
    ///
    /// Evaluated in place: Nix takes a folder with a `.git` in it for a repository that it may
    /// read where it is, and every other bare one it clones into its cache, 2.34 too.
    #[must_use]
    pub fn flake(&self, commit: &CommitSha, dir: &str) -> FlakeRef {
        FlakeRef::of_mirror(&self.directory, commit).within(dir)
    }

    fn git(&self) -> Git<'_> {
        Git { directory: &self.directory, credential: None, plain_http: PlainHttp::Never }
    }

    /// Whether the commit was fetched, with everything that it needs: git writes the ref last.
    async fn has(&self, commit: &CommitSha, stop: &CancellationToken) -> Result<bool, GitError> {
        let name = format!("refs/fleetcheck/{commit}^{{commit}}");
        match self.git().run(&["rev-parse", "--verify", "--quiet", &name], None, stop).await {
            Ok(found) => Ok(found.trim_ascii() == commit.as_str().as_bytes()),
            Err((GitError::Cancelled, _)) => Err(GitError::Cancelled),
            Err(_) => Ok(false),
        }
    }

    /// Makes it when it is not there or not whole, and tidies up after a git that was killed.
    async fn make_sound(&self, stop: &CancellationToken) -> Result<(), GitError> {
        let bare = ["rev-parse", "--is-bare-repository"];
        let whole = self.directory.join(".git").exists()
            && match self.git().run(&bare, None, stop).await {
                Ok(answer) => answer.trim_ascii() == b"true",
                Err((GitError::Cancelled, _)) => return Err(GitError::Cancelled),
                Err(_) => false,
            };
        if whole { self.tidy().await } else { self.make_anew(stop).await }
    }

    /// Makes an empty mirror beside its place and moves it there: at no moment is half of one
    /// found under its name.
    async fn make_anew(&self, stop: &CancellationToken) -> Result<(), GitError> {
        let new = self.directory.with_extension("new");
        remove(&new).await.map_err(disk)?;
        if let Some(parent) = new.parent() {
            tokio::fs::create_dir_all(parent).await.map_err(disk)?;
        }
        let git = Git { directory: &new, credential: None, plain_http: PlainHttp::Never };
        tokio::fs::create_dir(&new).await.map_err(disk)?;
        let init = ["init", "--quiet", "--bare", "--template=", "--initial-branch=main"];
        git.run(&init, None, stop).await.map_err(|(error, _)| error)?;
        tokio::fs::symlink(".", new.join(".git")).await.map_err(disk)?;
        remove(&self.directory).await.map_err(disk)?;
        tokio::fs::rename(&new, &self.directory).await.map_err(disk)
    }

    /// Removes what a killed git left: lock files, and packs that it had not finished. Only this
    /// service writes here, one git at a time.
    async fn tidy(&self) -> Result<(), GitError> {
        let directory = self.directory.clone();
        let tidied = tokio::task::spawn_blocking(move || {
            let is_lock = |name: &str| name.ends_with(".lock");
            let is_unfinished = |name: &str| name.starts_with("tmp_") || name.starts_with(".tmp-");
            remove_files(&directory, is_lock)?;
            remove_files(&directory.join("refs/fleetcheck"), is_lock)?;
            remove_files(&directory.join("objects"), is_unfinished)?;
            remove_files(&directory.join("objects/pack"), is_unfinished)
        });
        tidied.await.map_err(io::Error::other).and_then(|it| it).map_err(disk)
    }
}

impl Default for Place {
    fn default() -> Self {
        Self { lease: Arc::default(), wanted: Notify::new(), known: Mutex::new(Known::Nothing) }
    }
}

/// Removes a folder with everything in it, whether it is there or not.
async fn remove(directory: &Path) -> io::Result<()> {
    match tokio::fs::remove_dir_all(directory).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Removes the entries of a folder whose names are `meant`; folders among them too.
fn remove_files(directory: &Path, meant: fn(&str) -> bool) -> io::Result<()> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        if !entry.file_name().to_str().is_some_and(meant) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            std::fs::remove_dir_all(entry.path())?;
        } else {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// What the file system says about our own directory.
#[expect(clippy::needless_pass_by_value, reason = "it stands in `map_err`")]
fn disk(error: io::Error) -> GitError {
    let full = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded];
    if full.contains(&error.kind()) {
        GitError::Disk(error.to_string())
    } else {
        GitError::Operator(format!("the mirrors' folder: {error}"))
    }
}
