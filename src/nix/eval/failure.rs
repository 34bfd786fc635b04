//! Whose failure an evaluation's is: the flake's, a limit's, the weather's or ours.
use std::time::Duration;

use crate::domain::build::{EvaluationFailure, Warning};
use crate::domain::id::CommitSha;
use crate::nix::flake::{Confined, Pinned};
use crate::nix::process::{Finished, ProcessError};
use crate::nix::trace;

/// An evaluation without an answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvalError {
    /// Its author must mend it.
    #[error("{}", .0.headline)]
    Flake(EvaluationFailure),
    /// It took more than the settings allow; `limit` names the setting.
    #[error("{}", .0.headline)]
    Limit(EvaluationFailure),
    /// The same of memory, of which it had only its share when others were beside it.
    #[error("{}", .0.headline)]
    Memory(EvaluationFailure),
    /// The reference gave something else; nothing of it is used.
    #[error("commit {wanted} was wanted, {} was found", .found.as_ref().map_or("no commit", CommitSha::as_str))]
    AnotherCommit { wanted: CommitSha, found: Option<CommitSha> },
    /// Nobody's fault; trying again can mend it.
    #[error("{0}")]
    Weather(String),
    #[error("the evaluation was cancelled")]
    Cancelled,
    /// Ours to mend.
    #[error("{0}")]
    Operator(String),
}

/// Why nothing is known of attributes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unevaluated {
    pub error: EvalError,
    /// What Nix warned of before; of several attributes nobody knows which it is about.
    pub warnings: Vec<Warning>,
}

impl From<EvalError> for Unevaluated {
    fn from(error: EvalError) -> Self {
        Self { error, warnings: Vec::new() }
    }
}

/// A process that failed, and what it said.
pub(super) struct NoAnswer {
    pub(super) error: EvalError,
    pub(super) stderr: Vec<u8>,
}

impl From<EvalError> for NoAnswer {
    fn from(error: EvalError) -> Self {
        Self { error, stderr: Vec::new() }
    }
}

const MEMORY: &str = "nix.memory";
const TIMEOUT: &str = "nix.evaluation_timeout";

impl EvalError {
    /// A flake's failure without a trace.
    pub(super) fn of_flake(headline: String) -> Self {
        let trace = headline.clone();
        Self::Flake(EvaluationFailure { headline, trace, place: None, limit: None })
    }

    /// One that may be final only where nothing more is left to give it.
    fn of_memory(limit: u64) -> Self {
        Self::Memory(of_limit(
            format!(
                "evaluation needed more than {}; raise {MEMORY} or make the host smaller",
                size(limit)
            ),
            MEMORY,
        ))
    }
}

fn of_limit(headline: String, setting: &str) -> EvaluationFailure {
    let trace = headline.clone();
    EvaluationFailure { headline, trace, place: None, limit: Some(setting.to_owned()) }
}

/// Nix ended and said no.
pub(super) fn of_finished(finished: &Finished, flake: &Pinned, memory: u64) -> EvalError {
    let reason = trace::reason(&finished.stderr);
    let said = String::from_utf8_lossy(&finished.stderr);
    let is_memory = matches!(reason.as_str(), "out of memory" | "std::bad_alloc")
        || reason.contains("std::bad_alloc")
        || said.contains("Insufficient space for initial table allocation")
        || said.contains("Cannot allocate memory");
    if is_memory {
        return EvalError::of_memory(memory);
    }
    if finished.code.is_none() {
        let text = format!(
            "evaluation was killed, as the system does when memory runs out: {MEMORY} ({}) is \
             more than this machine can spare; lower it",
            size(memory)
        );
        return EvalError::Memory(of_limit(text, MEMORY));
    }
    if let Some(confined) = &flake.confined {
        return of_confined(&reason, trace::read(&finished.stderr, flake), confined);
    }
    if let Some(weather) = weather(&reason, &said) {
        return EvalError::Weather(weather);
    }
    if is_ours(&reason) {
        return EvalError::Operator(reason);
    }
    EvalError::Flake(trace::read(&finished.stderr, flake))
}

/// An untrusted flake's failure: it reaches no server, so what it says about one is its own word.
fn of_confined(reason: &str, mut failure: EvaluationFailure, confined: &Confined) -> EvalError {
    if reason.contains("No space left on device") || reason.contains("daemon-socket/socket'") {
        return EvalError::Weather(reason.lines().next().unwrap_or_default().to_owned());
    }
    let says = |words: &[&str]| words.iter().any(|it| reason.contains(it));
    if reason.contains(&confined.place) && reason.contains("unable to download") {
        "a source of this commit is no longer in the store under the hash of flake.lock; run it \
         again"
            .clone_into(&mut failure.headline);
    } else if says(&["option 'allow-import-from-derivation' is disabled"]) {
        failure.headline =
            format!("import from derivation is off for a fork's commit: {}", failure.headline);
    } else if says(&[
        "feature 'flakes' is disabled",
        "feature 'fetch-tree' is disabled",
        "attribute 'getFlake' missing",
        "attribute 'fetchTree' missing",
    ]) {
        "builtins.getFlake and builtins.fetchTree are off for a fork's commit"
            .clone_into(&mut failure.headline);
    } else if says(&["is forbidden in restricted mode", "is forbidden in pure eval"]) {
        failure.headline =
            format!("a fork's commit may read its own files and inputs only: {}", failure.headline);
    }
    EvalError::Flake(failure)
}

/// Nix could not be started or was ended.
pub(super) fn of_process(error: ProcessError, memory: u64, timeout: Duration) -> EvalError {
    match error {
        ProcessError::TimedOut { .. } => {
            let text = format!(
                "evaluation did not end within {}; make it smaller or raise {TIMEOUT}",
                span(timeout)
            );
            EvalError::Limit(of_limit(text, TIMEOUT))
        }
        ProcessError::OutOfMemory { .. } => EvalError::of_memory(memory),
        ProcessError::TooMuchOutput { limit } => EvalError::of_flake(format!(
            "evaluation printed more than {}: the outputs have too many names",
            size(limit as u64)
        )),
        ProcessError::Cancelled => EvalError::Cancelled,
        error @ (ProcessError::Spawn { .. } | ProcessError::Io(_)) => {
            EvalError::Operator(error.to_string())
        }
    }
}

/// One line about a failure that another try can mend. What a server answers for good (404, 403
/// of a private input) is the flake's.
fn weather(reason: &str, said: &str) -> Option<String> {
    let line = || reason.lines().next().unwrap_or_default().chars().take(300).collect();
    let lower = reason.to_lowercase();
    let any = |text: &str, words: &[&str]| words.iter().any(|it| text.contains(it));
    if lower.contains("no space left on device") || lower.contains("disk quota exceeded") {
        return Some(line());
    }
    if lower.starts_with("interrupted by the user") {
        return Some("Nix was told to stop".to_owned());
    }
    if lower.starts_with("unable to download '") {
        let lasting = ["http error 400", "http error 401", "http error 404", "http error 410"];
        let refused = lower.contains("http error 403") && !lower.contains("rate limit");
        let local = lower.contains("'file://");
        return (!any(&lower, &lasting) && !refused && !local).then(line);
    }
    // Nix only says that git failed; git said why before that.
    let is_git = any(&lower, &["program 'git' failed", "git repository", "fetching git input"]);
    if is_git {
        let words = [
            "could not resolve",
            "failed to connect",
            "timed out",
            "connection re",
            "returned error: 5",
            "returned error: 429",
            "early eof",
            "hung up",
        ];
        return said
            .lines()
            .find(|it| it.starts_with("fatal: ") && any(&it.to_lowercase(), &words))
            .map(|it| it.chars().take(300).collect());
    }
    let words = [
        "could not resolve host",
        "couldn't resolve host",
        "connection refused",
        "connection reset",
        "daemon disconnected unexpectedly",
        "cannot connect to daemon",
        "cannot open connection to remote store",
    ];
    (reason.lines().count() == 1 && any(&lower, &words)).then(line)
}

/// Nix itself is not set up as it must be.
fn is_ours(reason: &str) -> bool {
    let words = ["experimental Nix feature", "opening lock file", "daemon-socket/socket'"];
    words.iter().any(|it| reason.contains(it)) && !reason.contains('\n')
}

/// `6 GiB`, `1.5 GiB`.
fn size(bytes: u64) -> String {
    bytesize::ByteSize(bytes).to_string().replace(".0 ", " ")
}

/// `15 minutes`, `90 seconds`.
fn span(time: Duration) -> String {
    match time.as_secs() {
        0 => format!("{} milliseconds", time.as_millis()),
        1 => "1 second".to_owned(),
        60 => "1 minute".to_owned(),
        it if it % 60 == 0 => format!("{} minutes", it / 60),
        it => format!("{it} seconds"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nix::flake::FlakeRef;

    fn failed(stderr: &str) -> EvalError {
        let finished = Finished {
            success: false,
            code: Some(1),
            stdout: vec![],
            stderr: stderr.into(),
            peak_memory: 0,
            elapsed: Duration::ZERO,
        };
        let flake = FlakeRef::parse(".").unwrap();
        let flake =
            Pinned { flake, revision: None, source: None, folder: None, dir: None, confined: None };
        of_finished(&finished, &flake, 6 << 30)
    }

    #[test]
    fn a_server_that_is_down_is_weather_and_a_file_that_is_not_there_is_not() {
        for said in [
            "error: unable to download 'https://api.github.com/x': HTTP error 502 ('')",
            "error:\n       … while fetching the input 'github:a/b'\n\n       error: unable to download 'https://api.github.com/x': Could not resolve hostname (6)",
            "error: unable to download 'https://x': HTTP error 403\n\n       response body: API rate limit exceeded",
            "error:\n       … while fetching the input 'http://x/y'\n\n       error: Failed to open archive (Source threw exception: error: unable to download 'http://x/y': Could not connect to server (7) Failed to connect)",
            "fatal: unable to access 'https://x/': The requested URL returned error: 503\nwarning: could not read HEAD ref\nerror:\n       … while fetching the input 'git+https://x'\n\n       error: Failed to fetch git repository 'https://x'",
            "fatal: unable to access 'https://x/': Could not resolve host: x\nerror: program 'git' failed with exit code 128",
            "error: writing to file: No space left on device",
        ] {
            assert!(matches!(failed(said), EvalError::Weather(_)), "{said}: {:?}", failed(said));
        }
        for said in [
            "error: unable to download 'https://x/y.tar.gz': HTTP error 404 ('')",
            "error: unable to download 'file:///x': Couldn't read a file://-file (37)",
            "error: hash mismatch in file downloaded from 'https://x'",
            "fatal: repository 'https://x/' not found\nerror: program 'git' failed with exit code 128",
        ] {
            assert!(matches!(failed(said), EvalError::Flake(_)), "{said}: {:?}", failed(said));
        }
    }

    #[test]
    fn limits_are_told_with_the_number_and_the_key() {
        let memory = failed("GC Warning: Out of Memory!\nerror: out of memory\n").to_string();
        assert_eq!(
            memory,
            "evaluation needed more than 6 GiB; raise nix.memory or make the host smaller"
        );
        let minutes = Duration::from_mins(15);
        let time = of_process(ProcessError::TimedOut { after: minutes }, 1, minutes).to_string();
        assert!(time.contains("15 minutes") && time.contains(TIMEOUT), "{time}");
        assert_eq!(
            (size(3 << 29), span(Duration::from_secs(90))),
            ("1.5 GiB".into(), "90 seconds".into())
        );
    }
}
