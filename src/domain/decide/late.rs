//! What is told late, or not by GitHub at all: whether it still counts.
use crate::domain::decide::{Gone, NewRun, Standing};
use crate::domain::id::DeliveryId;
use crate::domain::incoming::{RepositoryChange, RepositoryNow, RepositoryStanding};
use crate::domain::run::{Reason, Run, RunState};
use crate::domain::verdict::Verdict;

/// Where a delivery comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// GitHub sent it.
    #[default]
    Webhook,
    /// Made from what GitHub answered when we asked where things stand.
    Recovered,
}

impl Source {
    /// The GUIDs of deliveries that we made begin so; GitHub's have no such letters.
    pub const RECOVERED: &'static str = "recovered-";

    /// By its GUID.
    #[must_use]
    pub fn of(guid: &DeliveryId) -> Self {
        if guid.as_str().starts_with(Self::RECOVERED) { Self::Recovered } else { Self::Webhook }
    }
}

/// A repository that went to an account of strangers is lost to us, whatever it is called there.
pub(super) fn as_ours(change: &RepositoryChange, owners: &[String]) -> RepositoryChange {
    let now = match &change.now {
        RepositoryNow::Here(facts) | RepositoryNow::Archived(facts)
            if !owners.contains(&facts.owner.as_str().to_ascii_lowercase()) =>
        {
            RepositoryNow::Lost
        }
        now @ (RepositoryNow::Here(_)
        | RepositoryNow::Archived(_)
        | RepositoryNow::Removed
        | RepositoryNow::Lost) => now.clone(),
    };
    RepositoryChange { now, ..change.clone() }
}

/// Why GitHub would not let us act on a run that is told of late.
pub(super) fn out_of_reach(run: &NewRun, standing: &Standing) -> Option<String> {
    let (state, since) = standing.repository?;
    let what = match state {
        RepositoryStanding::Active => return None,
        RepositoryStanding::Archived => "archived",
        RepositoryStanding::Gone => "out of reach",
    };
    // What happened afterwards says that it is back.
    (run.occurred_at < since).then(|| format!("older than the repository's being {what}"))
}

/// Why nothing begins of a branch or a merge group that is no more.
pub(super) fn is_gone(run: &NewRun, standing: &Standing, source: Source) -> Option<String> {
    let Gone { head, occurred_at, .. } = standing.gone.as_ref()?;
    let (at, since) = (run.occurred_at.second(), occurred_at.second());
    let is_last = run.sha == *head;
    let (what, is_gone) = match &run.reason {
        // Every group has a head of its own, which both of its deliveries are dated by.
        Reason::MergeGroup(_) => ("the merge group", is_last || at < since),
        // Whatever has a commit before it was pushed before the deletion, or long after the branch
        // was made again. What we saw ourselves within that second is there.
        Reason::Push(_) => {
            let is_before = source == Source::Webhook && (run.base.is_some() || is_last);
            ("the branch", at < since || (at == since && is_before))
        }
        Reason::PullRequest(_) | Reason::Update { .. } => return None,
    };
    is_gone.then(|| format!("older than the end of {what}"))
}

pub(super) fn was_superseded(run: &Run) -> bool {
    matches!(run.state, RunState::Ended { verdict: Verdict::Superseded { .. }, .. })
}
