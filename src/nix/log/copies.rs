//! Logs as whole files: given away, taken in from elsewhere, and kept here as long as they are read.
use std::fs::{File, Metadata, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, futimens};
use tempfile::NamedTempFile;

use crate::domain::Timestamp;
use crate::domain::id::AttemptId;
use crate::nix::log::frame::Frames;
use crate::nix::log::{LogStore, open, segments};

/// How the file begins that a log arrives in.
const ARRIVING: &str = ".arriving-";

/// A log that comes from elsewhere: a file beside its place until it is whole.
pub(super) struct Arriving {
    pub(super) file: NamedTempFile,
    place: PathBuf,
}

impl Arriving {
    /// It is whole. Whoever reads another copy meanwhile goes on reading that.
    pub(super) fn keep(self) -> io::Result<()> {
        self.file.persist(self.place).map_err(|it| it.error)?;
        Ok(())
    }
}

impl LogStore {
    /// A log as the bytes of one file; `None` when there is none. Of a log that nobody finished it
    /// has what was written.
    pub(super) fn packed(&self, attempt: &AttemptId) -> io::Result<Option<Vec<u8>>> {
        let path = self.path(attempt);
        let Some(file) = open(&path)? else { return Ok(None) };
        let mut packed = Vec::new();
        let mut files = vec![Frames::of(file)];
        files.extend(segments(&path)?);
        for mut frames in files {
            while let Some(header) = frames.header()? {
                frames.copy(&header, &mut packed)?;
            }
        }
        Ok(Some(packed))
    }

    /// Begins to take in a log.
    pub(super) fn arriving(&self, attempt: &AttemptId) -> io::Result<Arriving> {
        let place = self.path(attempt);
        let directory = place.parent().unwrap_or(Path::new("/"));
        std::fs::create_dir_all(directory)?;
        // Readable for whoever may read those that are written here.
        let mut file = tempfile::Builder::new();
        file.prefix(ARRIVING).permissions(Permissions::from_mode(0o666));
        Ok(Arriving { file: file.tempfile_in(directory)?, place })
    }

    /// The logs that nobody has written to or read since `before`, each with when somebody did last.
    /// What never arrived whole is removed.
    ///
    /// # Errors
    /// When a folder cannot be read.
    pub fn unused(&self, before: Timestamp) -> io::Result<Vec<(AttemptId, Timestamp)>> {
        let mut unused = Vec::new();
        for folder in entries(&self.directory)?.into_iter().filter(|it| it.is_dir()) {
            for path in entries(&folder)? {
                // It may be gone by now.
                let Ok(found) = std::fs::metadata(&path) else { continue };
                let used = last_used(&found);
                let name = path.file_name().and_then(|it| it.to_str()).unwrap_or_default();
                if used >= before {
                    continue;
                }
                if name.starts_with(ARRIVING) {
                    std::fs::remove_file(&path)?;
                } else if let Some(Ok(id)) = name.strip_suffix(".zst").map(str::parse) {
                    unused.push((id, used));
                }
            }
        }
        Ok(unused)
    }
}

/// Notes in the file itself that somebody reads it; file systems are seldom mounted so that they do.
pub(super) fn note_use(file: &File) {
    let at = |tv_nsec| Timespec { tv_sec: 0, tv_nsec };
    let now = Timestamps { last_access: at(UTIME_NOW), last_modification: at(UTIME_OMIT) };
    // Without it the log is fetched again.
    let _ = futimens(file, &now);
}

fn last_used(found: &Metadata) -> Timestamp {
    Timestamp(found.atime().max(found.mtime()).saturating_mul(1000))
}

/// What is in a folder; nothing where there is no folder.
fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    match std::fs::read_dir(folder) {
        Ok(found) => found.map(|it| Ok(it?.path())).collect(),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::nix::redact::clean;

    fn attempt() -> AttemptId {
        "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap()
    }

    fn read(store: &LogStore) -> String {
        let chunk = store.read(&attempt(), 0, 100 << 20).unwrap().unwrap();
        String::from_utf8(chunk.bytes).unwrap()
    }

    #[test]
    fn a_copy_has_all_of_a_log_also_of_a_long_one_that_nobody_finished() {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (here, there) =
            (LogStore::new(here.path()).with_cap(1 << 20), LogStore::new(there.path()));
        assert_eq!(here.packed(&attempt()).unwrap(), None);
        let mut log = here.create(&attempt()).unwrap();
        for number in 0..300_000_u32 {
            log.line(clean(format!("line {number}").as_bytes(), &mut Vec::new()));
        }
        log.flush();
        let copy = |there: &LogStore| {
            let mut arriving = there.arriving(&attempt()).unwrap();
            arriving.file.write_all(&here.packed(&attempt()).unwrap().unwrap()).unwrap();
            assert_eq!(there.read(&attempt(), 0, 1).unwrap(), None, "not before it is whole");
            arriving.keep().unwrap();
        };
        copy(&there);
        assert!(read(&there) == read(&here) && read(&there).ends_with("line 299999\n"));
        there.remove(&attempt()).unwrap();
        log.finish().unwrap();
        copy(&there);
        assert!(read(&there) == read(&here) && read(&there).starts_with("line 0\n"));
    }

    #[test]
    fn a_log_is_unused_once_it_was_neither_written_nor_read_for_long() {
        let directory = tempfile::tempdir().unwrap();
        let store = LogStore::new(directory.path());
        assert_eq!(store.unused(Timestamp(i64::MAX)).unwrap(), []);
        let mut log = store.create(&attempt()).unwrap();
        log.line(clean(b"one", &mut Vec::new()));
        log.finish().unwrap();
        let half = store.arriving(&attempt()).unwrap().file.keep().unwrap().1;
        let old = Timespec { tv_sec: 1_000, tv_nsec: 0 };
        for path in [&store.path(&attempt()), &half] {
            let times = Timestamps { last_access: old, last_modification: old };
            futimens(File::options().write(true).open(path).unwrap(), &times).unwrap();
        }
        let used = Timestamp(1_000_000);
        assert_eq!(store.unused(used).unwrap(), []);
        assert!(half.exists());
        assert_eq!(store.unused(used.plus(1)).unwrap(), [(attempt(), used)]);
        assert!(!half.exists(), "whoever was fetching it died");
        read(&store);
        assert_eq!(store.unused(used.plus(1)).unwrap(), [], "it is read now");
    }
}
