//! Whether the bucket takes logs, gives them back and lets go of them.
use std::path::Path;

use crate::cli::doctor::Finding;
use crate::config::Bucket;
use crate::nix::log::LogStore;
use crate::nix::log::archive::Archive;

/// Writes, reads and removes one small object.
pub(super) async fn look(bucket: &Bucket, directory: &Path) -> Vec<Finding> {
    let tried = match Archive::new(bucket, LogStore::new(directory)) {
        Ok(archive) => archive.try_out().await,
        Err(error) => Err(error),
    };
    vec![match tried {
        Ok(()) => Finding::Good(format!("{bucket} takes them and gives them back")),
        Err(error) => Finding::Mend(format!("{error}; `[logs]` says where it is")),
    }]
}
