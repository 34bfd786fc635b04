//! What an instance keeps in its `store.directory`: that it is alone there, and its name.
use std::fs::File;
use std::io::{self, ErrorKind, Read as _, Seek as _, Write as _};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use crate::app::StartError;
use crate::nix::tree;

/// One process to a directory: its mirrors, logs and claims have one owner. Its number stands in
/// the file, for the next one to end what a sudden death leaves running.
pub(super) fn lock(directory: &Path) -> Result<File, StartError> {
    let unusable = |source| StartError::Directory { path: directory.to_owned(), source };
    std::fs::create_dir_all(directory).map_err(unusable)?;
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(false);
    let mut file = options.open(directory.join("lock")).map_err(unusable)?;
    flock(&file, FlockOperation::NonBlockingLockExclusive)
        .map_err(|_| StartError::InUse { path: directory.to_owned() })?;
    let mut last = String::new();
    file.read_to_string(&mut last).map_err(unusable)?;
    if let Ok(last) = last.trim().parse() {
        let left = tree::end_left_by(last);
        if left > 0 {
            tracing::info!(process = last, "ended {left} processes that the last process left");
        }
    }
    file.rewind().and_then(|()| file.set_len(0)).map_err(unusable)?;
    writeln!(file, "{}", std::process::id()).map_err(unusable)?;
    Ok(file)
}

/// Where copies are made, in the directory; nothing in it outlives the process.
pub(super) const SCRATCH: &str = "scratch";

/// An empty folder for copies: what a sudden death has left there is of no use.
pub(super) fn scratch(directory: &Path) -> Result<(), StartError> {
    let path = directory.join(SCRATCH);
    let unusable = |source| StartError::Directory { path: path.clone(), source };
    match std::fs::remove_dir_all(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(unusable(error)),
        Ok(()) | Err(_) => {}
    }
    std::fs::create_dir_all(&path).map_err(unusable)
}

/// The name under which work is claimed from here: `fresh` at the first start, and the same from
/// then on. It stands in the directory and not in the store, which others may share.
pub(super) fn name(directory: &Path, fresh: impl FnOnce() -> String) -> Result<String, StartError> {
    let path = directory.join("owner");
    let unusable = |source| StartError::Directory { path: path.clone(), source };
    match std::fs::read_to_string(&path) {
        Ok(kept) if is_name(kept.trim()) => return Ok(kept.trim().to_owned()),
        // Cut off by a power failure: whatever was claimed under it runs out by itself.
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(unusable(error)),
    }
    let name = fresh();
    let new = directory.join(".owner.new");
    let write = || -> io::Result<()> {
        let mut file = File::create(&new)?;
        writeln!(file, "{name}")?;
        file.sync_all()?;
        std::fs::rename(&new, &path)
    };
    write().map_err(unusable)?;
    Ok(name)
}

/// It becomes part of a folder's name on builders.
fn is_name(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_keeps_its_name_and_another_has_another() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let kept = name(one.path(), || "a".repeat(64)).unwrap();
        assert_eq!(name(one.path(), || "b".repeat(64)).unwrap(), kept);
        assert_ne!(name(other.path(), || "b".repeat(64)).unwrap(), kept);
        std::fs::write(one.path().join("owner"), "cut o").unwrap();
        assert_eq!(name(one.path(), || "c".repeat(64)).unwrap(), "c".repeat(64));
    }
}
