//! Runs a program within limits of time, memory and output, and leaves nothing of it behind.
use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitStatus;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

pub use crate::nix::invocation::Invocation;
use crate::nix::tree::Tree;

/// How long a child that was asked to end may take before it is killed.
pub const GRACE: Duration = Duration::from_secs(2);
/// How long pipes may stay open after everything that could write to them was killed.
const DRAIN: Duration = Duration::from_secs(5);
/// Memory is looked at this often.
const LOOK: Duration = Duration::from_millis(100);

/// What one child may use.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Wall time; then it is asked to end, and killed two seconds later.
    pub timeout: Duration,
    /// Bytes of memory of the whole tree. It is killed above this by a quarter and 256 MiB, so
    /// that a limit inside the program (`GC_MAXIMUM_HEAP_SIZE`) can speak first.
    pub memory: Option<u64>,
    /// Bytes of output: more on stdout ends the child, of stderr the last are kept.
    pub output: usize,
}

/// A child that ended by itself.
#[derive(Clone, Debug)]
pub struct Finished {
    /// Its exit status is 0.
    pub success: bool,
    /// Absent when a signal ended it.
    pub code: Option<i32>,
    pub stdout: Vec<u8>,
    /// The last [`Limits::output`] bytes.
    pub stderr: Vec<u8>,
    /// The most memory it was seen to hold, with its children, in bytes.
    pub peak_memory: u64,
    pub elapsed: Duration,
}

/// A child that could not be started or did not end by itself.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    #[error("`{}` cannot be started: {source}", .program.display())]
    Spawn { program: PathBuf, source: std::io::Error },
    #[error("it did not end within {} s", .after.as_secs())]
    TimedOut { after: Duration },
    /// Bytes held and allowed.
    #[error("it used {} of memory; {} are allowed", bytesize::ByteSize(*.peak), bytesize::ByteSize(*.limit))]
    OutOfMemory { peak: u64, limit: u64 },
    #[error("it printed more than {}", bytesize::ByteSize(*.limit as u64))]
    TooMuchOutput { limit: usize },
    #[error("it was cancelled")]
    Cancelled,
    #[error("its pipes failed: {0}")]
    Io(#[from] std::io::Error),
}

/// Runs a program to its end. When it ends, a limit is hit, `stop` is cancelled or this future is
/// dropped, every process that it started ends too.
///
/// # Errors
/// When it cannot be started or does not end by itself. An exit status other than 0 is no error.
pub async fn run(command: Invocation, stop: &CancellationToken) -> Result<Finished, ProcessError> {
    let begun = Instant::now();
    let (mut child, tree) = command.spawn(&mut command.command())?;
    let (limits, overflow) = (command.limits, CancellationToken::new());
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let mut streams = pin!(async {
        tokio::join!(
            feed(stdin, command.stdin.as_deref().unwrap_or_default()),
            read_head(stdout, limits.output, &overflow),
            read_tail(stderr, limits.output),
        )
    });
    let mut streamed = None;
    let watched = {
        let mut watched = pin!(watch(&mut child, &tree, limits, &overflow, stop));
        loop {
            tokio::select! {
                ended = &mut watched => break ended,
                it = &mut streams, if streamed.is_none() => streamed = Some(it),
            }
        }
    };
    // What it left running may hold the pipes open.
    tree.kill();
    let (status, peak_memory) = watched?;
    let (fed, stdout, stderr) = match streamed {
        Some(it) => it,
        None => timeout(DRAIN, streams)
            .await
            .map_err(|_| std::io::Error::other("a process that cannot be ended keeps them open"))?,
    };
    fed?;
    Ok(Finished {
        success: status.success(),
        code: status.code(),
        stdout: stdout?,
        stderr: stderr?,
        peak_memory,
        elapsed: begun.elapsed(),
    })
}

/// Waits for the child's end, or brings it about. Gives its status and its peak memory.
async fn watch(
    child: &mut Child,
    tree: &Tree,
    limits: Limits,
    overflow: &CancellationToken,
    stop: &CancellationToken,
) -> Result<(ExitStatus, u64), ProcessError> {
    let deadline = sleep_until(Instant::now() + limits.timeout);
    let mut deadline = pin!(deadline);
    let mut memory = Memory::default();
    loop {
        let error = tokio::select! {
            status = child.wait() => return Ok((status?, memory.peak)),
            () = &mut deadline => ProcessError::TimedOut { after: limits.timeout },
            () = stop.cancelled() => ProcessError::Cancelled,
            () = overflow.cancelled() => ProcessError::TooMuchOutput { limit: limits.output },
            () = sleep(memory.pause()) => match memory.look(tree, limits.memory) {
                Ok(()) => continue,
                Err(error) => {
                    tree.kill();
                    error
                }
            },
        };
        end(child, tree).await;
        return Err(error);
    }
}

/// Asks the child's tree to end, and ends it when it takes longer than [`GRACE`].
pub(crate) async fn end(child: &mut Child, tree: &Tree) {
    tree.terminate();
    let _ = timeout(GRACE, child.wait()).await;
    tree.kill();
    // A child that even SIGKILL does not end (it waits for a dead disk) is not waited for.
    let _ = timeout(GRACE, child.wait()).await;
}

/// So many looks follow each other closely: for about two seconds.
const CLOSE_LOOKS: u32 = 120;

/// The memory of a tree over time.
#[derive(Default)]
struct Memory {
    looks: u32,
    /// Of all processes but the leader, at the last look at all of them.
    others: u64,
    peak: u64,
}

impl Memory {
    /// Short for the first seconds, so that short lives and their last rise are seen too: what is
    /// learnt of them is what they are given the next time.
    fn pause(&self) -> Duration {
        if self.looks < CLOSE_LOOKS { Duration::from_millis(4 << self.looks.min(2)) } else { LOOK }
    }

    fn look(&mut self, tree: &Tree, limit: Option<u64>) -> Result<(), ProcessError> {
        let (now, most) = tree.leader_memory();
        // Looking at every process of the machine costs milliseconds; the leader alone does not.
        let every = if self.looks < CLOSE_LOOKS { 80 } else { 10 };
        if self.looks % every == 9 {
            self.others = tree.memory().saturating_sub(now);
        }
        self.looks = self.looks.saturating_add(1);
        self.peak = self.peak.max(most).max(now + self.others);
        match limit {
            Some(limit) if now + self.others > limit + limit / 4 + (256 << 20) => {
                Err(ProcessError::OutOfMemory { peak: self.peak, limit })
            }
            Some(_) | None => Ok(()),
        }
    }
}

async fn feed(stdin: Option<ChildStdin>, input: &[u8]) -> std::io::Result<()> {
    let Some(mut stdin) = stdin else { return Ok(()) };
    match stdin.write_all(input).await {
        // It need not read what it does not want.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        ended => ended,
    }
}

/// All of a stream; more than `limit` bytes raise `overflow`.
async fn read_head(
    stream: Option<impl AsyncRead + Unpin>,
    limit: usize,
    overflow: &CancellationToken,
) -> std::io::Result<Vec<u8>> {
    let mut read = Vec::new();
    let Some(stream) = stream else { return Ok(read) };
    stream.take(limit as u64 + 1).read_to_end(&mut read).await?;
    if read.len() > limit {
        overflow.cancel();
    }
    Ok(read)
}

/// The last `limit` bytes of a stream.
async fn read_tail(
    stream: Option<impl AsyncRead + Unpin>,
    limit: usize,
) -> std::io::Result<Vec<u8>> {
    let mut read = Vec::new();
    let Some(mut stream) = stream else { return Ok(read) };
    while stream.read_buf(&mut read).await? > 0 {
        if read.len() > limit.saturating_mul(2).max(1 << 16) {
            read.drain(..read.len() - limit);
        }
    }
    let surplus = read.len().saturating_sub(limit);
    read.drain(..surplus);
    Ok(read)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn sh(script: &str) -> Invocation {
        let limits = Limits { timeout: Duration::from_secs(20), memory: None, output: 1000 };
        Invocation::new(Path::new("/bin/sh"), limits).args(["-c", script])
    }

    async fn finished(command: Invocation) -> Finished {
        run(command, &CancellationToken::new()).await.unwrap()
    }

    fn lives(pid: &str) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
        stat.is_ok_and(|it| !it.contains(") Z "))
    }

    /// SIGKILL is delivered at once; the end of the process follows.
    async fn assert_gone(pid: &str) {
        for _ in 0..200 {
            if !lives(pid) {
                return;
            }
            sleep(Duration::from_millis(10)).await;
        }
        panic!("process {pid} lives on");
    }

    #[tokio::test]
    async fn a_child_is_told_what_it_should_know_and_says_how_it_ended() {
        let command = sh("cat; echo \"$A\" >&2; exit 3").env("A", "b").stdin(b"in".to_vec());
        let it = finished(command).await;
        assert_eq!((it.success, it.code), (false, Some(3)));
        assert_eq!((it.stdout.as_slice(), it.stderr.as_slice()), (&b"in"[..], &b"b\n"[..]));
    }

    #[tokio::test]
    async fn what_a_child_leaves_running_is_ended_with_it_even_in_another_session() {
        let it = finished(sh(
            "(setsid sh -c 'sleep 600 >&- 2>&- & echo $!' &) ; sleep 0.2; setsid sleep 600 & echo $!",
        ))
        .await;
        let said = String::from_utf8(it.stdout).unwrap();
        assert_eq!(said.lines().count(), 2);
        for pid in said.lines() {
            assert_gone(pid).await;
        }
    }

    #[tokio::test]
    async fn a_child_that_takes_too_long_is_ended_even_if_it_does_not_want_to() {
        let mut command = sh("trap '' TERM; while :; do sleep 1; done");
        command.limits.timeout = Duration::from_millis(100);
        let ended = run(command, &CancellationToken::new()).await;
        assert!(matches!(ended, Err(ProcessError::TimedOut { .. })), "{ended:?}");
    }

    #[tokio::test]
    async fn a_cancelled_child_ends() {
        let stop = CancellationToken::new();
        stop.cancel();
        assert!(matches!(run(sh("sleep 600"), &stop).await, Err(ProcessError::Cancelled)));
    }

    #[tokio::test]
    async fn a_dropped_run_leaves_nothing() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().display().to_string();
        let command = sh(&format!("setsid sh -c 'echo $$ >{path}; sleep 600'"));
        let none = CancellationToken::new();
        let mut running = Box::pin(run(command, &none));
        loop {
            tokio::select! {
                _ = &mut running => panic!("it sleeps"),
                () = sleep(Duration::from_millis(5)) => {}
            }
            if std::fs::read_to_string(file.path()).is_ok_and(|it| it.ends_with('\n')) {
                break;
            }
        }
        drop(running);
        assert_gone(&std::fs::read_to_string(file.path()).unwrap()).await;
    }

    #[tokio::test]
    async fn too_much_output_ends_the_child_and_errors_keep_their_end() {
        let ended = run(sh("yes"), &CancellationToken::new()).await;
        assert!(matches!(ended, Err(ProcessError::TooMuchOutput { limit: 1000 })), "{ended:?}");
        let it = finished(sh("yes | head -c 100000 >&2; echo end >&2")).await;
        assert_eq!(it.stderr.len(), 1000);
        assert!(it.stderr.ends_with(b"end\n"));
    }

    #[tokio::test]
    async fn memory_over_the_limit_ends_the_tree() {
        let mut command = sh("exec tail -n 1 /dev/zero");
        command.limits.memory = Some(64 << 20);
        let ended = run(command, &CancellationToken::new()).await;
        let Err(ProcessError::OutOfMemory { peak, limit }) = ended else { panic!("{ended:?}") };
        assert!(peak > limit && peak < (1 << 30), "{peak}");
    }
}
