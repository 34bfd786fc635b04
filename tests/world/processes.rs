//! Which processes of this machine work in a folder.
use std::path::Path;
use std::time::Duration;

use procfs::process::{Process, all_processes};

/// A line about every living process whose command, environment or working folder names one of
/// these folders; the caller's own is left out.
pub fn working_in(folders: &[&Path]) -> Vec<String> {
    let mine = i32::try_from(std::process::id()).unwrap();
    let all = all_processes().unwrap().filter_map(Result::ok).filter(|it| it.pid != mine);
    all.filter(|it| folders.iter().any(|folder| names(it, folder)))
        .filter(|it| it.stat().is_ok_and(|stat| stat.state != 'Z'))
        .map(|it| format!("{} {}", it.pid, it.cmdline().unwrap_or_default().join(" ")))
        .collect()
}

fn names(process: &Process, folder: &Path) -> bool {
    let folder = folder.to_string_lossy();
    let has = |text: &str| text.contains(&*folder);
    process.cmdline().is_ok_and(|it| it.iter().any(|word| has(word)))
        || process
            .environ()
            .is_ok_and(|it| it.values().any(|value| value.to_str().is_some_and(has)))
        || process.cwd().is_ok_and(|it| it.to_str().is_some_and(has))
}

/// A port that nobody listens on at the moment.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl super::World {
    /// Processes that work for this world: the service's own, Nix's, git's and builders'.
    pub fn processes(&self) -> Vec<String> {
        working_in(&[self.directory.path(), self.nix.directory()])
    }

    /// Waits until there are processes for this world that name this, or none any more.
    pub async fn working_on(&self, name: &str, wanted: bool) {
        let found = async {
            while self.processes().iter().any(|it| it.contains(name)) != wanted {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let in_time = tokio::time::timeout(Duration::from_mins(1), found).await;
        assert!(in_time.is_ok(), "{name}: {wanted} in vain:\n{:#?}", self.processes());
    }
}
