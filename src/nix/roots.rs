//! What the garbage collector must leave: a symlink for each store path that is held.
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::nix::worker::{Worker, WorkerError};

/// The symlinks, in a folder of our own; Nix is told of each once.
#[derive(Clone, Debug)]
pub struct Roots {
    directory: PathBuf,
}

/// A root was not made or not removed.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    #[error(
        "`{}` cannot name a root: 1 to 200 letters, digits, `.`, `_`, `-` and `+`, not beginning with a dot",
        .0.escape_debug()
    )]
    Name(String),
    #[error("the root {}: {source}", .path.display())]
    File { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Worker(#[from] WorkerError),
}

impl Roots {
    /// Roots in `directory/gcroots`.
    pub fn new(directory: &Path) -> Self {
        Self { directory: directory.join("gcroots") }
    }

    /// Holds a store path under a name; what the name held before is released. The path must be
    /// safe until then: built by this worker, or a temporary root of it.
    ///
    /// # Errors
    /// When the name is not one, the symlink cannot be made, or the worker is gone.
    pub async fn hold(&self, worker: &mut Worker, name: &str, path: &str) -> Result<(), RootError> {
        let link = self.link(name)?;
        let failed = |source| RootError::File { path: link.clone(), source };
        std::fs::create_dir_all(&self.directory).map_err(failed)?;
        // A name that nobody else makes at the same time; renaming leaves no moment without root.
        let new = self.directory.join(format!(".{name}.new"));
        match std::fs::remove_file(&new) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error)),
            Ok(()) | Err(_) => {}
        }
        std::os::unix::fs::symlink(path, &new).map_err(failed)?;
        std::fs::rename(&new, &link).map_err(failed)?;
        let absolute = std::path::absolute(&link).map_err(failed)?;
        worker.add_root(&absolute).await?;
        Ok(())
    }

    /// Releases what a name holds. It need not hold anything.
    ///
    /// # Errors
    /// When the symlink is there and stays.
    pub fn release(&self, name: &str) -> Result<(), RootError> {
        let path = self.link(name)?;
        match std::fs::remove_file(&path) {
            Err(source) if source.kind() != ErrorKind::NotFound => {
                Err(RootError::File { path, source })
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Every name and the store path that it holds, sorted by name.
    ///
    /// # Errors
    /// When the folder is there and cannot be read.
    pub fn list(&self) -> Result<Vec<(String, PathBuf)>, RootError> {
        let failed = |source| RootError::File { path: self.directory.clone(), source };
        let entries = match std::fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        let mut held = Vec::new();
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if let (true, Ok(path)) = (is_name(&name), std::fs::read_link(entry.path())) {
                held.push((name, path));
            }
        }
        held.sort();
        Ok(held)
    }

    fn link(&self, name: &str) -> Result<PathBuf, RootError> {
        if is_name(name) {
            Ok(self.directory.join(name))
        } else {
            Err(RootError::Name(name.chars().take(100).collect()))
        }
    }
}

fn is_name(name: &str) -> bool {
    (1..=200).contains(&name.len())
        && !name.starts_with('.')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-+".contains(&b))
}
