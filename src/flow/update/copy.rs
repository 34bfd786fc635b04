//! A copy of a repository whose lock file may be any.
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::{NamedTempFile, TempDir};

use crate::domain::lock::{Lock, NotAllowed};
use crate::nix::eval::Copied;

const FILE: &str = "flake.lock";
/// Bytes of a lock file; the largest have some hundred thousand.
const LARGEST: u64 = 8 << 20;

/// Why a copy, or a lock file, cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    #[error("{0}")]
    Lock(#[from] NotAllowed),
    #[error("the new flake.lock cannot be written as JSON: {0}")]
    Unwritable(#[from] serde_json::Error),
    #[error("cannot use {}: {source}", .path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{} was changed meanwhile, and is left as it is; try again", .path.display())]
    Changed { path: PathBuf },
}

/// The files of a repository in a folder of our own, gone when it is dropped.
#[derive(Debug)]
pub(in crate::flow) struct Copy {
    folder: TempDir,
    dir: String,
}

impl Copy {
    /// Of these files, as they are in the Nix store; `dir` is the flake's folder in them.
    pub(in crate::flow) fn of(files: &str, dir: &str, scratch: &Path) -> Result<Self, CopyError> {
        let folder = tempfile::tempdir_in(scratch).map_err(|it| io(scratch, it))?;
        copy(Path::new(files), folder.path())?;
        Ok(Self { folder, dir: dir.to_owned() })
    }

    pub(in crate::flow) fn flake(&self) -> Copied<'_> {
        Copied { root: self.folder.path(), dir: &self.dir }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join(&self.dir).join(FILE)
    }

    /// Its lock file; Nix writes none for a flake without inputs.
    pub(in crate::flow) fn lock(&self) -> Result<Lock, CopyError> {
        let file = self.file();
        match fs::symlink_metadata(&file) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Lock::none()),
            Err(error) => Err(io(&file, error)),
            Ok(it) if !it.is_file() || it.len() > LARGEST => {
                let what = "it is no file of less than 8 MiB";
                Err(io(&file, std::io::Error::other(what)))
            }
            Ok(_) => Ok(Lock::parse(&fs::read(&file).map_err(|it| io(&file, it))?)?),
        }
    }

    pub(in crate::flow) fn set_lock(&self, lock: &Lock) -> Result<(), CopyError> {
        let file = self.file();
        fs::write(&file, lock.text()?).map_err(|it| io(&file, it))
    }
}

/// A person's lock file, as it was when the search began.
#[derive(Debug)]
pub(super) struct Theirs {
    path: PathBuf,
    text: Option<Vec<u8>>,
}

impl Theirs {
    /// That of the flake in this folder.
    pub(super) fn of(folder: &Path) -> Result<Self, CopyError> {
        let path = folder.join(FILE);
        let text = text(&path)?;
        Ok(Self { path, text })
    }

    /// Writes another in its place: the whole of it, or nothing.
    pub(super) fn replace(self, new: &str) -> Result<PathBuf, CopyError> {
        let Self { path, text: before } = self;
        if text(&path)? != before {
            return Err(CopyError::Changed { path });
        }
        // A link is followed, as an editor would.
        let target = path.canonicalize().unwrap_or_else(|_| path.clone());
        let written = || {
            let mut file = NamedTempFile::new_in(target.parent().unwrap_or(Path::new(".")))?;
            file.write_all(new.as_bytes())?;
            let mode = target.metadata().map_or(0o644, |it| it.permissions().mode());
            file.as_file().set_permissions(fs::Permissions::from_mode(mode))?;
            file.as_file().sync_all()?;
            file.persist(&target)?;
            Ok(())
        };
        written().map_err(|it| io(&path, it))?;
        Ok(path)
    }
}

fn text(path: &Path) -> Result<Option<Vec<u8>>, CopyError> {
    match fs::read(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io(path, error)),
    }
}

/// A link is copied as a link: what it leads to is read by Nix alone, which refuses to leave the
/// copy.
fn copy(from: &Path, to: &Path) -> Result<(), CopyError> {
    for entry in fs::read_dir(from).map_err(|it| io(from, it))? {
        let entry = entry.map_err(|it| io(from, it))?;
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().map_err(|it| io(&path, it))?;
        if kind.is_dir() {
            fs::create_dir(&target).map_err(|it| io(&target, it))?;
            copy(&path, &target)?;
        } else if kind.is_symlink() {
            let place = fs::read_link(&path).map_err(|it| io(&path, it))?;
            std::os::unix::fs::symlink(place, &target).map_err(|it| io(&target, it))?;
        } else {
            fs::copy(&path, &target).map_err(|it| io(&target, it))?;
            // Files of the store are read-only; whether one may be run is kept.
            let mode = entry.metadata().map_err(|it| io(&path, it))?.permissions().mode();
            let ours = fs::Permissions::from_mode(mode | 0o200);
            fs::set_permissions(&target, ours).map_err(|it| io(&target, it))?;
        }
    }
    Ok(())
}

fn io(path: &Path, source: std::io::Error) -> CopyError {
    CopyError::Io { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replace(folder: &Path, new: &str) -> Result<PathBuf, CopyError> {
        Theirs::of(folder)?.replace(new)
    }

    #[test]
    fn a_lock_file_is_replaced_as_a_whole_where_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        assert_eq!(replace(folder.path(), "new\n").unwrap(), path);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o644);
        let elsewhere = tempfile::tempdir().unwrap();
        let real = elsewhere.path().join("real.lock");
        fs::write(&real, "old").unwrap();
        fs::set_permissions(&real, fs::Permissions::from_mode(0o600)).unwrap();
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(&real, &path).unwrap();
        replace(folder.path(), "newer\n").unwrap();
        assert_eq!(fs::read_to_string(&real).unwrap(), "newer\n");
        assert!(path.is_symlink());
        assert_eq!(real.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 1, "nothing is left behind");
        let gone = replace(Path::new("/nonexistent"), "").unwrap_err().to_string();
        assert!(gone.contains("/nonexistent/flake.lock"), "{gone}");
    }

    #[test]
    fn what_somebody_wrote_meanwhile_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let theirs = Theirs::of(folder.path()).unwrap();
        fs::write(&path, "a person's").unwrap();
        let error = theirs.replace("ours").unwrap_err().to_string();
        assert!(
            error.ends_with("flake.lock was changed meanwhile, and is left as it is; try again")
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), "a person's");
    }
}
