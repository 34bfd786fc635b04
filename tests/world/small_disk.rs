//! A small disk for everything temporary, in a mount namespace of its own.
#![expect(clippy::unwrap_used, reason = "a harness: it may panic")]
#![allow(unreachable_pub, reason = "the harness is shared")]
use std::path::PathBuf;
use std::process::Command;

const INSIDE: &str = "FLEETCHECK_TEST_SMALL_DISK";

/// The small disk's folder; outside of the namespace it runs the test inside and gives nothing.
pub fn small_disk(test: &str, megabytes: u32) -> Option<PathBuf> {
    if let Some(folder) = std::env::var_os(INSIDE) {
        return Some(folder.into());
    }
    let folder = tempfile::Builder::new().prefix("fc-disk-").tempdir().unwrap();
    let mut inside = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        inside.args(["--map-root-user"]);
    }
    let script = "mount -t tmpfs -o size=\"$1\" tmpfs \"$2\" && export TMPDIR=\"$2\" && shift 2 && exec \"$@\"";
    let ended = inside
        .args(["--mount", "sh", "-c", script, "sh", &format!("{megabytes}m")])
        .arg(folder.path())
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", test])
        .env(INSIDE, folder.path())
        .output()
        .unwrap();
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (said(&ended.stdout), said(&ended.stderr));
    assert!(ended.status.success() && out.contains("1 passed"), "{out}\n{err}");
    None
}
