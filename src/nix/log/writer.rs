//! Writes one log: the beginning into its file, the end into two files in turns, joined at last.
use std::fs::File;
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};

use crate::nix::log::frame::{self, Frames};
use crate::nix::redact::Clean;

/// Plain bytes are packed when there are so many of them, if not earlier.
const CHUNK: usize = 256 << 10;

/// A log that is being written. Writing never fails a build: the first error is kept, what follows
/// is dropped, and [`LogWriter::finish`] tells.
#[derive(Debug)]
pub struct LogWriter {
    path: PathBuf,
    file: File,
    half: u64,
    /// What is not written yet.
    plain: Vec<u8>,
    /// The place behind all that is written.
    place: u64,
    ends: Option<Ends>,
    failed: Option<io::Error>,
    finished: bool,
}

/// The end of a log that is too long: the newer of two files is written to; when it is half a log
/// long, the older begins anew.
#[derive(Debug)]
struct Ends {
    /// Where the beginning ended.
    from: u64,
    newer: End,
    older: Option<End>,
}

#[derive(Debug)]
struct End {
    number: u8,
    file: File,
    place: u64,
}

/// The file of one of the two ends.
pub(super) fn segment(path: &Path, number: u8) -> PathBuf {
    path.with_extension(format!("end{number}"))
}

impl LogWriter {
    pub(super) fn create(path: PathBuf, half: u64) -> io::Result<Self> {
        let file = File::create(&path)?;
        Ok(Self {
            path,
            file,
            half,
            plain: Vec::new(),
            place: 0,
            ends: None,
            failed: None,
            finished: false,
        })
    }

    /// Adds a line.
    pub fn line(&mut self, text: Clean<'_>) {
        let text = text.bytes();
        if self.plain.len() + text.len() >= CHUNK {
            self.flush();
        }
        self.plain.extend_from_slice(text);
        self.plain.push(b'\n');
    }

    /// Shows readers all that was written. To be called each second.
    pub fn flush(&mut self) {
        if !self.plain.is_empty() && self.failed.is_none() {
            self.failed = self.write_out().err();
        }
        self.plain.clear();
    }

    /// Completes the file.
    ///
    /// # Errors
    /// The first that happened to any of its lines: a full disk, for example.
    pub fn finish(mut self) -> io::Result<()> {
        self.complete()
    }

    fn complete(&mut self) -> io::Result<()> {
        if std::mem::replace(&mut self.finished, true) {
            return Ok(());
        }
        self.flush();
        let joined = self.join();
        for number in 0..2 {
            let _ = std::fs::remove_file(segment(&self.path, number));
        }
        self.failed.take().map_or(joined, Err)
    }

    fn write_out(&mut self) -> io::Result<()> {
        let length = self.plain.len() as u64;
        let packed = frame::pack(self.place, &self.plain)?;
        if self.ends.is_none() && self.place + length <= self.half {
            self.file.write_all(&packed)?;
        } else {
            self.end(length)?.write_all(&packed)?;
        }
        self.place += length;
        Ok(())
    }

    /// The file that the next bytes of the end go to.
    fn end(&mut self, length: u64) -> io::Result<&mut File> {
        let open = |number: u8| -> io::Result<End> {
            let path = segment(&self.path, number);
            let file =
                File::options().read(true).write(true).create(true).truncate(true).open(path)?;
            Ok(End { number, file, place: self.place })
        };
        let ends = match self.ends.take() {
            None => Ends { from: self.place, newer: open(0)?, older: None },
            Some(it) if self.place + length - it.newer.place <= self.half => it,
            Some(it) => Ends { newer: open(1 - it.newer.number)?, older: Some(it.newer), ..it },
        };
        Ok(&mut self.ends.insert(ends).newer.file)
    }

    /// Puts the end behind the beginning, with a line about what was left out.
    fn join(&mut self) -> io::Result<()> {
        let Some(ends) = self.ends.take() else { return Ok(()) };
        let wanted = self.place.saturating_sub(self.half);
        let mut place = ends.from;
        for end in ends.older.into_iter().chain([ends.newer]) {
            let mut file = end.file;
            file.rewind()?;
            let mut frames = Frames::of(file);
            while let Some(header) = frames.header()? {
                if header.end() <= wanted.max(place) {
                    frames.skip(&header)?;
                } else if header.place == place {
                    frames.copy(&header, &mut self.file)?;
                    place = header.end();
                } else {
                    let plain = frames.unpack(&header)?;
                    let kept = from_a_line(&plain, wanted.saturating_sub(header.place));
                    let start = header.end() - kept.len() as u64;
                    self.file.write_all(&frame::pack_gap(place, start - place)?)?;
                    self.file.write_all(&frame::pack(start, kept)?)?;
                    place = header.end();
                }
            }
        }
        Ok(())
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        // Whoever wants to know about errors calls `finish`.
        let _ = self.complete();
    }
}

/// What follows `from`, from the beginning of a line on where one begins.
fn from_a_line(plain: &[u8], from: u64) -> &[u8] {
    let from = usize::try_from(from).unwrap_or(usize::MAX).min(plain.len().saturating_sub(1));
    if from == 0 {
        return plain;
    }
    let rest = &plain[from..];
    let line = rest.iter().position(|it| *it == b'\n').map(|it| &rest[it + 1..]);
    line.filter(|it| !it.is_empty()).unwrap_or(rest)
}
