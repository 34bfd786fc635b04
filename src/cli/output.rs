//! Writing to the terminal: a reader that went away (`| head`) is no reason to panic.
use std::io::Write;

/// Writes a result to standard output, with a newline after it.
pub(super) fn print(text: &str) {
    if let Err(error) = writeln!(std::io::stdout().lock(), "{}", text.trim_end_matches('\n')) {
        tracing::debug!(%error, "standard output is closed");
    }
}

/// Writes a remark or an error to standard error, with a newline after it.
pub(super) fn say(text: &str) {
    if let Err(error) = writeln!(std::io::stderr().lock(), "{}", text.trim_end_matches('\n')) {
        tracing::debug!(%error, "standard error is closed");
    }
}
