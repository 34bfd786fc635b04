//! How ssh is called, and what its words mean.
use std::ffi::OsString;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use tempfile::NamedTempFile;

use crate::config::{BuilderStore, SshDestination};
use crate::nix::DAEMON_ARGS;
use crate::nix::process::{Invocation, Limits};
use crate::nix::redact::clean_text;

/// A connection that is not made in this many seconds is not made.
const CONNECT: u32 = 15;
/// A machine that says nothing for three times this many seconds is gone. ssh asks; without it a
/// cut network is never noticed.
const ALIVE: u32 = 5;

/// A shell of another machine, which reads its script on its stdin.
pub(super) fn shell_there(
    (ssh, options): (&SshDestination, &[String]),
    limits: Limits,
) -> Invocation {
    Invocation::new("ssh".as_ref(), limits).args(ssh_arguments(ssh, options)).args(["sh", "-s"])
}

/// A daemon of another machine, as its shell is told. Nix notices by itself that nobody listens any
/// more, but may miss the moment and then builds on to its limits: so a signal tells it once more.
/// And when it has ended, nothing keeps the connection open.
pub(super) fn daemon_there(ssh: &SshDestination) -> String {
    let program = ssh.remote_program.as_deref().unwrap_or("nix-daemon");
    let store = ssh.remote_store.as_ref().map(|it| format!("--store {it} ")).unwrap_or_default();
    let args = DAEMON_ARGS.join(" ");
    format!("{{ cat; sleep 1; kill -TERM 0; }} | {{ {program} {store}{args}; kill -TERM 0; }}")
}

/// Where a host key of the settings stands for ssh, which takes it from nowhere but a file. Without
/// the file no machine is known, and none is spoken with.
pub(super) fn known_hosts(store: &mut BuilderStore) -> Option<Arc<NamedTempFile>> {
    let key = store.ssh.as_ref()?.host_key.as_ref()?;
    let written = NamedTempFile::with_prefix("fleetcheck-known-hosts-").and_then(|mut file| {
        writeln!(file, "* {key}")?;
        Ok(file)
    });
    let path = written.as_ref().map_or(Path::new("/dev/null"), |it| it.path());
    let files = [
        format!("UserKnownHostsFile={}", path.display()),
        "GlobalKnownHostsFile=/dev/null".to_owned(),
        "StrictHostKeyChecking=yes".to_owned(),
    ];
    store.ssh_options.extend(files.into_iter().flat_map(|it| ["-o".to_owned(), it]));
    written.ok().map(Arc::new)
}

/// What Nix hands to ssh. Options that come first win: the settings' before ours.
pub(super) fn ssh_env(options: &[String]) -> (OsString, OsString) {
    let all: Vec<String> = options.iter().cloned().chain(our_options()).collect();
    ("NIX_SSHOPTS".into(), all.join(" ").into())
}

/// Nobody answers questions here, and a dead line has an end.
fn our_options() -> impl Iterator<Item = String> {
    let options = [
        "BatchMode=yes".to_owned(),
        format!("ConnectTimeout={CONNECT}"),
        format!("ServerAliveInterval={ALIVE}"),
        "ServerAliveCountMax=3".to_owned(),
    ];
    options.into_iter().flat_map(|it| ["-o".to_owned(), it])
}

pub(super) fn ssh_arguments(ssh: &SshDestination, options: &[String]) -> Vec<String> {
    let SshDestination { host, port, key, .. } = ssh;
    let mut all: Vec<String> = options.iter().cloned().chain(our_options()).collect();
    all.extend(port.iter().flat_map(|it| ["-p".to_owned(), it.to_string()]));
    all.extend(key.iter().flat_map(|it| ["-i".to_owned(), it.clone()]));
    all.extend(["-T".to_owned(), "--".to_owned(), host.clone()]);
    all
}

/// The last line that says something, without Nix's and ssh's decorations.
pub(super) fn last_words(said: &[u8]) -> String {
    let said = String::from_utf8_lossy(said);
    let said = strip_ansi_escapes::strip_str(&said);
    let lines: Vec<&str> = said.lines().map(str::trim).filter(|it| !it.is_empty()).collect();
    // What ssh says is nearer to the cause than what Nix makes of it.
    let ssh = lines.iter().rev().find(|it| {
        [
            "ssh:",
            "Connection ",
            "Host key ",
            "Timeout, server",
            "Permission denied",
            "Received disconnect",
        ]
        .iter()
        .any(|begin| it.starts_with(begin))
            || it.contains("Permission denied (")
            || it.contains("REMOTE HOST IDENTIFICATION")
    });
    let line = ssh.or(lines.last()).copied().unwrap_or("no words were given");
    let line = line.trim_start_matches("error:").trim();
    clean_text(line.chars().take(300).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ssh_tells_the_cause_and_nix_the_consequence() {
        for (said, told) in [
            (
                "ssh: connect to host h port 22: Connection refused\r\nerror: failed to start SSH \
                 connection to 'h'",
                "ssh: connect to host h port 22: Connection refused",
            ),
            ("\x1b[31;1merror:\x1b[0m protocol mismatch, got 'hi'", "protocol mismatch, got 'hi'"),
            ("", "no words were given"),
        ] {
            assert_eq!(last_words(said.as_bytes()), told);
        }
    }
}
