//! What else the service needs of its machine: git, a folder, a store, room, an address.
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::cli::doctor::{Finding, PATIENCE};
use crate::config::{Environment, Sealed};
use crate::domain::builder::is_older;
use crate::nix::process::{Invocation, Limits, run};
use crate::store::Store;

/// The first with `GIT_CONFIG_COUNT`, by which tokens reach git.
const OLDEST_GIT: (u64, u64) = (2, 31);
const GIB: u64 = 1 << 30;

pub(super) async fn git() -> Vec<Finding> {
    let limits = Limits { timeout: PATIENCE, memory: None, output: 1 << 16 };
    let question = Invocation::new(Path::new("git"), limits).arg("--version");
    let answer = match run(question, &CancellationToken::new()).await {
        Ok(answer) => answer,
        Err(error) => return vec![Finding::Mend(format!("{error}; install git"))],
    };
    let said = String::from_utf8_lossy(&answer.stdout);
    let version = said.split_whitespace().nth(2).unwrap_or_default();
    let (major, minor) = OLDEST_GIT;
    vec![if !answer.success || is_older(version, OLDEST_GIT) {
        Finding::Mend(format!("found \"{}\"; install git {major}.{minor} or newer", said.trim()))
    } else {
        Finding::Good(version.to_owned())
    }]
}

/// Whether we may write where mirrors, logs and roots are kept.
pub(super) async fn directory(directory: &Path) -> Vec<Finding> {
    let path = directory.to_owned();
    let probe = move || tempfile::tempfile_in(&path).map(drop);
    let shown = directory.display();
    vec![match tokio::task::spawn_blocking(probe).await {
        Ok(Ok(())) => Finding::Good(format!("{shown} can be written")),
        Ok(Err(error)) => Finding::Mend(format!(
            "{shown}: {error}; make it, owned by the user that runs fleetcheck, and run doctor as \
             that user"
        )),
        Err(error) => Finding::Mend(format!("{shown}: {error}")),
    }]
}

/// Whether the store opens. One that does not exist is not made: it would belong to whoever runs
/// `doctor`.
pub(super) async fn store(url: &Sealed) -> Vec<Finding> {
    let file = url.reveal().strip_prefix("sqlite:").map(|it| it.strip_prefix("//").unwrap_or(it));
    if let Some(file) = file.filter(|file| !Path::new(file).exists()) {
        return vec![Finding::Good(format!("{file} will be made by serve"))];
    }
    vec![match Store::open(url.reveal()).await {
        Ok(_) => Finding::Good("opens".to_owned()),
        Err(error) => Finding::Mend(format!("{error}; `store.url` says where it is")),
    }]
}

/// Room where logs and mirrors go, and where builds go.
pub(super) async fn disks(directory: &Path, env: &Environment) -> Vec<Finding> {
    let nix = PathBuf::from(env.get("NIX_STORE_DIR").unwrap_or("/nix/store"));
    let mut findings = Vec::new();
    for (path, needed) in [(directory.to_owned(), GIB), (nix, 10 * GIB)] {
        let shown = path.display().to_string();
        let look = tokio::task::spawn_blocking(move || rustix::fs::statvfs(&path));
        findings.push(match look.await {
            Ok(Ok(disk)) => room(&shown, disk.f_bavail.saturating_mul(disk.f_frsize), needed),
            Ok(Err(error)) => Finding::Note(format!("{shown}: {error}")),
            Err(error) => Finding::Note(format!("{shown}: {error}")),
        });
    }
    findings
}

fn room(shown: &str, free: u64, needed: u64) -> Finding {
    let size = |bytes| bytesize::ByteSize::b(bytes).display().iec().to_string();
    if free < needed {
        let (free, needed) = (size(free), size(needed));
        Finding::Mend(format!("{shown} has {free} left; make room, at least {needed}"))
    } else {
        Finding::Good(format!("{shown} has {} left", size(free)))
    }
}

/// Whether the service is reached where the settings say. It may not be running yet.
pub(super) async fn address(public_url: &str) -> Vec<Finding> {
    let url = format!("{public_url}/healthz");
    let client = reqwest::Client::builder()
        .timeout(PATIENCE.saturating_sub(Duration::from_secs(1)))
        .redirect(reqwest::redirect::Policy::none())
        .build();
    let answer = match client {
        Ok(client) => client.get(&url).send().await,
        Err(error) => Err(error),
    };
    vec![match answer {
        Ok(answer) if answer.status().is_success() => Finding::Good(format!("{url} answers")),
        Ok(answer) => Finding::Note(format!(
            "{url} answers {}; if serve is running, the proxy in front does not lead to it",
            answer.status()
        )),
        Err(error) => Finding::Note(format!(
            "{url}: {}; if serve is running, GitHub cannot reach it either",
            innermost(&error)
        )),
    }]
}

/// reqwest's own text ends before the reason.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut reason = error;
    while let Some(source) = reason.source() {
        reason = source;
    }
    reason.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_without_room_is_to_be_mended_with_the_numbers() {
        let Finding::Mend(said) = room("/nix/store", 5 * GIB, 10 * GIB) else {
            panic!("five are too few");
        };
        assert_eq!(said, "/nix/store has 5.0 GiB left; make room, at least 10.0 GiB");
        assert!(matches!(room("/nix/store", 11 * GIB, 10 * GIB), Finding::Good(_)));
    }

    #[tokio::test]
    async fn a_store_that_does_not_exist_is_not_made() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("fleetcheck.db");
        let findings = store(&Sealed::new(format!("sqlite:{}", file.display()))).await;
        assert!(matches!(findings[0], Finding::Good(_)), "{findings:?}");
        assert!(!file.exists());
    }

    #[tokio::test]
    async fn a_folder_that_is_not_there_is_to_be_mended() {
        let findings = directory(Path::new("/nowhere/at/all")).await;
        assert!(matches!(&findings[0], Finding::Mend(said) if said.contains("/nowhere/at/all")));
    }
}
