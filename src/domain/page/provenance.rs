//! What was tested, where that is not simply the commit.
use crate::domain::run::{Run, Trust};

/// What a fork's author and whoever judges the fork's commit should know.
pub(super) const CONFINED: &str =
    "from a fork: evaluated without import from derivation and network";

/// Sentences about what a run tested, as plain text; none for a commit as it was pushed.
#[must_use]
pub fn provenance(run: &Run) -> Vec<String> {
    let merged = run
        .merge
        .as_ref()
        .map(|merge| format!("Tested as merged into {} at {}.", merge.branch, merge.base.short()));
    let fork = match run.trust {
        Trust::Trusted => None,
        Trust::Untrusted => Some(
            "From a fork: evaluated without import from derivation and network, with the inputs \
             that its flake.lock names."
                .to_owned(),
        ),
    };
    merged.into_iter().chain(fork).collect()
}

/// What is said of a lock file that had not moved for long when its run began, to follow its name, as
/// plain text. Not of this moment: a page that counted days would be another one every day.
#[must_use]
pub fn stale_lock(run: &Run) -> Option<String> {
    run.lock.and_then(|moved| moved.remark(run.created_at))
}

/// `, as merged into main at abc1234`, or nothing.
pub(super) fn as_merged(run: &Run) -> String {
    run.merge.as_ref().map_or_else(String::new, |merge| {
        format!(", as merged into {} at {}", merge.branch, merge.base.short())
    })
}
