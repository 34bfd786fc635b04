//! The logs of attempts: written as they come, read while they are written.
//!
//! A log is a file of zstd frames, so `zstdcat` shows it. Before each frame stands a small frame
//! that zstd skips, with the place of its bytes in the whole log: so a reader finds a place
//! without unpacking what lies before it. Places count from the log's first byte, those that were
//! left out included, and never change while the log grows. Nothing here is async, as it reads and
//! writes files, but the [`archive`]: the bucket in which finished logs are kept for all instances.
pub mod archive;
mod copies;
mod frame;
mod writer;

use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::domain::id::AttemptId;
use crate::nix::log::frame::{Frames, Header};
pub use crate::nix::log::writer::LogWriter;

/// A log keeps so many bytes: half from its beginning, half from its end.
const CAP: u64 = 64 << 20;

/// Where the logs are.
#[derive(Clone, Debug)]
pub struct LogStore {
    directory: PathBuf,
    half: u64,
}

/// A piece of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chunk {
    /// Lines as they came, colours and all; where something was left out stands a line saying so.
    pub bytes: Vec<u8>,
    /// The place to go on from.
    pub next: u64,
    /// The place where the log ended when it was read. It may grow.
    pub end: u64,
}

impl LogStore {
    /// Logs below `directory`, in `logs`.
    pub fn new(directory: &Path) -> Self {
        Self { directory: directory.join("logs"), half: CAP / 2 }
    }

    /// Keeps so many bytes of each log instead of 64 MiB.
    #[must_use]
    pub fn with_cap(self, bytes: u64) -> Self {
        Self { half: bytes / 2, ..self }
    }

    /// Begins a log, over one of the same attempt.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn create(&self, attempt: &AttemptId) -> io::Result<LogWriter> {
        let path = self.path(attempt);
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)?;
        }
        self.remove(attempt)?;
        LogWriter::create(path, self.half)
    }

    /// At least one and about `at_most` bytes from a place on, fewer at the end; `None` when there
    /// is no such log.
    ///
    /// # Errors
    /// When a file cannot be read or is not a log.
    pub fn read(
        &self,
        attempt: &AttemptId,
        from: u64,
        at_most: usize,
    ) -> io::Result<Option<Chunk>> {
        let path = self.path(attempt);
        let mut reading =
            Reading { from, at_most, chunk: Chunk { next: from, ..Chunk::default() } };
        let Some(file) = open(&path)? else { return Ok(None) };
        copies::note_use(&file);
        let mut has_end = false;
        let mut frames = Frames::of(file);
        while let Some(header) = frames.header()? {
            has_end |= header.is_gap();
            reading.take(&header, &mut frames)?;
        }
        // The end of a log that is too long is apart until the log is finished.
        if !has_end {
            for mut frames in segments(&path)? {
                while let Some(header) = frames.header()? {
                    reading.take(&header, &mut frames)?;
                }
            }
        }
        Ok(Some(reading.chunk))
    }

    /// How many bytes a log has, uncompressed; 0 when there is none.
    ///
    /// # Errors
    /// When a file cannot be read or is not a log.
    pub fn length(&self, attempt: &AttemptId) -> io::Result<u64> {
        Ok(self.read(attempt, u64::MAX, 1)?.map_or(0, |it| it.end))
    }

    /// Forgets a log. It need not exist.
    ///
    /// # Errors
    /// When a file is there and stays.
    pub fn remove(&self, attempt: &AttemptId) -> io::Result<()> {
        let path = self.path(attempt);
        for path in [writer::segment(&path, 0), writer::segment(&path, 1), path] {
            match std::fs::remove_file(path) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }

    fn path(&self, attempt: &AttemptId) -> PathBuf {
        self.directory.join(name(attempt))
    }
}

/// `AA/ATTEMPT.zst`, with the last digits of the id: its first are the time and would put all into
/// one folder.
fn name(attempt: &AttemptId) -> String {
    let id = attempt.as_str();
    format!("{}/{id}.zst", &id[id.len() - 2..])
}

/// Collects a chunk from frames that come in order.
struct Reading {
    from: u64,
    at_most: usize,
    chunk: Chunk,
}

impl Reading {
    fn take(&mut self, header: &Header, frames: &mut Frames) -> io::Result<()> {
        let chunk = &mut self.chunk;
        // The same bytes may stand in two files while a log is being finished.
        let known = header.end() <= chunk.end && !header.is_gap();
        chunk.end = chunk.end.max(header.end());
        if known || header.end() <= self.from || chunk.bytes.len() >= self.at_most {
            return frames.skip(header);
        }
        if header.is_gap() || header.place > chunk.next {
            let left_out = header.end_of_gap() - chunk.next.min(header.end_of_gap());
            if left_out > 0 {
                chunk.bytes.extend_from_slice(frame::gap_line(left_out).as_bytes());
            }
            chunk.next = header.end_of_gap();
            if header.is_gap() {
                return frames.skip(header);
            }
        }
        let plain = frames.unpack(header)?;
        let start = usize::try_from(chunk.next - header.place).unwrap_or(usize::MAX);
        let rest = plain.get(start..).unwrap_or_default();
        let rest = &rest[..rest.len().min(self.at_most - chunk.bytes.len().min(self.at_most))];
        chunk.bytes.extend_from_slice(rest);
        chunk.next += rest.len() as u64;
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The rotating ends of an unfinished log, the older first.
fn segments(path: &Path) -> io::Result<Vec<Frames>> {
    let mut found = Vec::new();
    for number in 0..2 {
        let Some(file) = open(&writer::segment(path, number))? else { continue };
        let mut frames = Frames::of(file);
        if let Some(header) = frames.header()? {
            frames.rewind()?;
            found.push((header.place, frames));
        }
    }
    found.sort_by_key(|(place, _)| *place);
    Ok(found.into_iter().map(|(_, frames)| frames).collect())
}

/// The last `most` lines worth a reader's time: blank lines at the end are not.
pub fn useful_tail(lines: &[String], most: usize) -> &[String] {
    let blank = |line: &&String| strip_ansi_escapes::strip_str(line).trim().is_empty();
    let end = lines.len() - lines.iter().rev().take_while(blank).count();
    &lines[end.saturating_sub(most)..end]
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;
    use crate::nix::redact::clean;

    fn attempt() -> AttemptId {
        "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap()
    }

    fn write(log: &mut LogWriter, text: &str) {
        log.line(clean(text.as_bytes(), &mut Vec::new()));
    }

    fn all(store: &LogStore, at_most: usize) -> String {
        let (mut bytes, mut from) = (Vec::new(), 0);
        loop {
            let chunk = store.read(&attempt(), from, at_most).unwrap().unwrap();
            assert!(chunk.bytes.len() <= at_most + 100, "{}", chunk.bytes.len());
            bytes.extend_from_slice(&chunk.bytes);
            from = chunk.next;
            if from == chunk.end {
                return String::from_utf8(bytes).unwrap();
            }
        }
    }

    fn lines(range: std::ops::Range<u32>) -> String {
        range.fold(String::new(), |mut text, it| {
            writeln!(text, "line {it:08} {}", it.wrapping_mul(2_654_435_761)).unwrap();
            text
        })
    }

    #[test]
    fn a_log_is_read_as_it_was_written_in_pieces_of_any_size() {
        let directory = tempfile::tempdir().unwrap();
        let store = LogStore::new(directory.path());
        let mut log = store.create(&attempt()).unwrap();
        let text = lines(0..50_000);
        text.lines().for_each(|it| write(&mut log, it));
        log.finish().unwrap();
        for at_most in [1000, 65_536, 10 << 20] {
            assert!(all(&store, at_most) == text, "{at_most}");
        }
        assert_eq!(store.read(&attempt(), 5, 4).unwrap().unwrap().bytes, b"0000");
    }

    #[test]
    fn a_reader_sees_what_was_written_before_the_log_is_finished() {
        let directory = tempfile::tempdir().unwrap();
        let store = LogStore::new(directory.path());
        let mut log = store.create(&attempt()).unwrap();
        write(&mut log, "one");
        log.flush();
        assert_eq!(all(&store, 100), "one\n");
        write(&mut log, "two");
        log.flush();
        let chunk = store.read(&attempt(), 4, 100).unwrap().unwrap();
        assert_eq!((chunk.bytes.as_slice(), chunk.next, chunk.end), (&b"two\n"[..], 8, 8));
    }

    #[test]
    fn of_a_log_that_is_too_long_the_beginning_and_the_end_stay_also_while_it_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let store = LogStore::new(directory.path()).with_cap(4 << 20);
        let mut log = store.create(&attempt()).unwrap();
        let text = lines(0..1_000_000);
        let mut places = Vec::new();
        for (number, line) in text.lines().enumerate() {
            write(&mut log, line);
            if number % 100_000 == 99_999 {
                log.flush();
                let read = all(&store, 1 << 20);
                assert!(read.len() < 7 << 20 && read.starts_with("line 00000000 "));
                assert!(read.ends_with(&format!("{line}\n")), "after {number} lines");
                places.push(store.read(&attempt(), 0, 1).unwrap().unwrap().end);
            }
        }
        log.finish().unwrap();
        let read = all(&store, 1 << 20);
        let (head, rest) = read.split_once("… ").unwrap();
        let (number, tail) = rest.split_once(" bytes left out …\n").unwrap();
        assert!(text.starts_with(head) && head.ends_with('\n'), "the beginning is whole lines");
        assert!(text.ends_with(tail) && tail.starts_with("line "), "the end is whole lines");
        assert_eq!(head.len() + number.parse::<usize>().unwrap() + tail.len(), text.len());
        for half in [head.len(), tail.len()] {
            assert!(((2 << 20) - (300 << 10)..=2 << 20).contains(&half), "{half}");
        }
        assert_eq!(places.last().copied(), Some(text.len() as u64), "places do not change");
        let files: Vec<_> = std::fs::read_dir(directory.path().join("logs/57")).unwrap().collect();
        assert_eq!(files.len(), 1, "{files:?}");
    }

    #[test]
    fn a_log_little_longer_than_half_loses_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let store = LogStore::new(directory.path()).with_cap(2 << 20);
        let mut log = store.create(&attempt()).unwrap();
        let text = lines(0..50_000);
        text.lines().for_each(|it| write(&mut log, it));
        log.finish().unwrap();
        assert!(text.len() > 1 << 20 && all(&store, 1 << 20) == text);
    }

    #[test]
    fn a_log_that_is_not_there_is_nothing_and_one_that_is_broken_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let store = LogStore::new(directory.path());
        assert_eq!(store.read(&attempt(), 0, 10).unwrap(), None);
        let mut log = store.create(&attempt()).unwrap();
        write(&mut log, "one");
        log.finish().unwrap();
        std::fs::write(store.path(&attempt()), [7; 100]).unwrap();
        assert!(store.read(&attempt(), 0, 10).is_err());
        store.remove(&attempt()).unwrap();
        assert_eq!(store.read(&attempt(), 0, 10).unwrap(), None);
    }

    #[test]
    fn a_full_disk_is_told_at_the_end_and_stops_nobody() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log.zst");
        std::os::unix::fs::symlink("/dev/full", &path).unwrap();
        let mut log = LogWriter::create(path, 1 << 20).unwrap();
        lines(0..50_000).lines().for_each(|it| write(&mut log, it));
        assert_eq!(log.finish().unwrap_err().kind(), ErrorKind::StorageFull);
    }

    #[test]
    fn blank_lines_at_the_end_are_not_useful() {
        let lines = ["a", "b", "", "c", "\u{1b}[0m", " "].map(str::to_owned);
        assert_eq!(useful_tail(&lines, 3), &lines[1..4]);
        assert!(useful_tail(&lines[5..], 3).is_empty());
    }
}
