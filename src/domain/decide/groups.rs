//! A merge queue's groups.
use crate::domain::decide::{Admission, Decision, Facts, Gone, NewRun, refuse, start};
use crate::domain::id::RunId;
use crate::domain::incoming::{GroupChange, MergeGroup};
use crate::domain::run::{Approval, Reason, Trust};

/// A group's commit is as trusted as its base: somebody with write access put it into the queue.
/// Groups have branches of their own, so that none supersedes another.
pub(super) fn decide(group: &MergeGroup, facts: &Facts<'_>) -> Decision {
    let GroupChange::Destroyed { reason } = &group.change else {
        let run = NewRun {
            sha: group.head.clone(),
            reason: Reason::MergeGroup(group.branch.clone()),
            base: Some(group.base.clone()),
            occurred_at: group.occurred_at,
            base_branch: None,
            trust: Trust::Trusted,
            admission: Admission::Admitted(Approval::NotNeeded),
        };
        return start(&group.repository, run, facts);
    };
    if let Some(why) = refuse(&group.repository, facts) {
        return Decision::Ignore(why);
    }
    let cancel: Vec<RunId> = facts.standing.open.iter().map(|open| open.id.clone()).collect();
    let note = if cancel.is_empty() {
        format!("the merge group is gone ({reason}), and so is its run")
    } else {
        format!("the merge queue: the group was {reason}")
    };
    let gone = Gone {
        repository: group.repository.id,
        reason: Reason::MergeGroup(group.branch.clone()),
        head: group.head.clone(),
        occurred_at: group.occurred_at,
    };
    Decision::Gone { gone, cancel, note }
}
