//! The three pipes of a daemon: requests in, answers out, its own words beside them.
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout};
use tokio::time::{Instant, Interval, interval_at, timeout};

use crate::nix::wire::{Cursor, Frame, LONG_LINE, Request, Unreadable, activity, result};
use crate::nix::worker::{Observed, WorkerError};

/// Bytes taken from the pipe at once; a Linux pipe holds 64 KiB.
const GULP: usize = 128 << 10;
/// How much of the daemon's own words is kept for an error.
const WORDS: usize = 4096;
/// The observer hears of the time this often.
const TICK: Duration = Duration::from_secs(1);
/// How long the last words of a daemon that closed its pipe are waited for.
const FAREWELL: Duration = Duration::from_secs(1);

/// A conversation. Its state is lost when one of its calls fails or is dropped.
#[derive(Debug)]
pub(crate) struct Connection {
    stdin: Option<ChildStdin>,
    stdout: ChildStdout,
    stderr: Option<ChildStderr>,
    /// What has arrived and was not read yet.
    arrived: BytesMut,
    /// The end of what the daemon said on its stderr.
    words: Vec<u8>,
}

type Observer<'a> = &'a mut (dyn FnMut(Observed<'_>) + Send);

impl Connection {
    /// Takes the pipes of a child; `None` when they are not piped.
    pub(crate) fn of(child: &mut Child) -> Option<Self> {
        Some(Self {
            stdin: Some(child.stdin.take()?),
            stdout: child.stdout.take()?,
            stderr: Some(child.stderr.take()?),
            arrived: BytesMut::new(),
            words: Vec::new(),
        })
    }

    /// Closes the daemon's input.
    pub(crate) fn close(&mut self) {
        self.stdin = None;
    }

    /// What is known of a lost connection.
    pub(crate) fn lost(&self) -> WorkerError {
        let words = String::from_utf8_lossy(&self.words);
        let words = strip_ansi_escapes::strip_str(words.trim());
        let ended = "it ended without a word".to_owned();
        WorkerError::Lost { words: if words.is_empty() { ended } else { words } }
    }

    pub(crate) async fn send(&mut self, request: &Request) -> Result<(), WorkerError> {
        let Some(stdin) = &mut self.stdin else { return Err(self.lost()) };
        match stdin.write_all(request.bytes()).await {
            Ok(()) => Ok(()),
            Err(_) => Err(self.farewell().await),
        }
    }

    /// Waits for a value.
    pub(crate) async fn receive<T>(
        &mut self,
        read: fn(&mut Cursor<'_>) -> Result<T, Unreadable>,
    ) -> Result<T, WorkerError> {
        loop {
            let mut cursor = Cursor::new(&self.arrived);
            match read(&mut cursor) {
                Ok(value) => {
                    let used = cursor.used();
                    self.arrived.advance(used);
                    return Ok(value);
                }
                Err(Unreadable::Incomplete) => self.fill().await?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Passes on what the daemon tells until the operation is over.
    pub(crate) async fn work(&mut self, observe: Observer<'_>) -> Result<(), WorkerError> {
        let mut ticks = interval_at(Instant::now() + TICK, TICK);
        let mut builds = None;
        loop {
            let (frame, used) = match Frame::read(&self.arrived) {
                Ok(it) => it,
                Err(Unreadable::Incomplete) => {
                    self.fill_or_tick(&mut ticks, observe).await?;
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            match frame {
                Frame::Last => {
                    self.arrived.advance(used);
                    return Ok(());
                }
                Frame::Error(message) => {
                    let message = plain(message);
                    self.arrived.advance(used);
                    return Err(WorkerError::Daemon(message));
                }
                Frame::LongLine { id, length } => {
                    self.arrived.advance(used);
                    self.long_line(id, length, &mut ticks, observe).await?;
                    continue;
                }
                Frame::Start { id, kind: activity::BUILDS, .. } => builds = Some(id),
                Frame::Start { id, kind: activity::BUILD, fields } => {
                    observe(Observed::Building { activity: id, drv: fields.text(0) });
                }
                Frame::Start { kind: activity::SUBSTITUTE, fields, .. } => {
                    observe(Observed::Substituting { path: fields.text(0), from: fields.text(1) });
                }
                Frame::Result { id, kind: result::LINE, fields } => {
                    observe(Observed::Line { activity: id, text: fields.text(0) });
                }
                Frame::Result { id, kind: result::PROGRESS, fields } if builds == Some(id) => {
                    observe(Observed::Counts {
                        done: fields.number(0),
                        expected: fields.number(1),
                        running: fields.number(2),
                        failed: fields.number(3),
                    });
                }
                Frame::Stop { id } => observe(Observed::Stopped { activity: id }),
                Frame::Next(text) => observe(Observed::Message(text)),
                Frame::Start { .. } | Frame::Result { .. } => {}
            }
            self.arrived.advance(used);
        }
    }

    /// A line of any length in bounded memory.
    async fn long_line(
        &mut self,
        activity: u64,
        length: u64,
        ticks: &mut Interval,
        observe: Observer<'_>,
    ) -> Result<(), WorkerError> {
        let padded = length.checked_next_multiple_of(8).ok_or(Unreadable::TooLong(length))?;
        while (self.arrived.len() as u64) < LONG_LINE {
            self.fill_or_tick(ticks, observe).await?;
        }
        let beginning = &self.arrived[..usize::try_from(LONG_LINE).unwrap_or(0)];
        observe(Observed::LongLine { activity, beginning, length });
        let mut left = padded;
        loop {
            let here = self.arrived.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            self.arrived.advance(here);
            left -= here as u64;
            if left == 0 {
                return Ok(());
            }
            self.fill_or_tick(ticks, observe).await?;
        }
    }

    async fn fill_or_tick(
        &mut self,
        ticks: &mut Interval,
        observe: Observer<'_>,
    ) -> Result<(), WorkerError> {
        tokio::select! {
            filled = self.fill() => filled,
            _ = ticks.tick() => {
                observe(Observed::Tick);
                Ok(())
            }
        }
    }

    /// Takes in more of what the daemon sends. May be dropped: nothing is lost.
    async fn fill(&mut self) -> Result<(), WorkerError> {
        self.arrived.reserve(GULP);
        loop {
            let (stdout, arrived) = (&mut self.stdout, &mut self.arrived);
            let Some(stderr) = &mut self.stderr else {
                return match stdout.read_buf(arrived).await {
                    Ok(1..) => Ok(()),
                    Ok(0) | Err(_) => Err(self.farewell().await),
                };
            };
            tokio::select! {
                read = stdout.read_buf(arrived) => return match read {
                    Ok(1..) => Ok(()),
                    Ok(0) | Err(_) => Err(self.farewell().await),
                },
                read = stderr.read_buf(&mut self.words) => {
                    if !matches!(read, Ok(1..)) {
                        self.stderr = None;
                    }
                    let surplus = self.words.len().saturating_sub(WORDS);
                    self.words.drain(..surplus);
                }
            }
        }
    }

    /// The daemon is gone: what did it say last?
    async fn farewell(&mut self) -> WorkerError {
        if let Some(mut stderr) = self.stderr.take() {
            let mut last = Vec::new();
            // Something else may hold the pipe open.
            let _ = timeout(FAREWELL, stderr.read_to_end(&mut last)).await;
            self.words.extend_from_slice(&last);
            let surplus = self.words.len().saturating_sub(WORDS);
            self.words.drain(..surplus);
        }
        self.lost()
    }
}

/// Nix's words without colours.
pub(crate) fn plain(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    strip_ansi_escapes::strip_str(text.trim())
}
