//! What is told late, or not by GitHub at all: whether it still counts.
use crate::domain::decide::{NewRun, Standing};
use crate::domain::id::DeliveryId;
use crate::domain::incoming::{RepositoryChange, RepositoryNow, RepositoryStanding};
use crate::domain::run::{Run, RunState};
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

/// What we looked up ourselves may have been overtaken within its second by what GitHub sent.
pub(super) fn is_no_news(new: &NewRun, standing: &Run, source: Source) -> bool {
    match source {
        Source::Webhook => false,
        Source::Recovered => {
            new.occurred_at == standing.occurred_at
                && new.sha != standing.sha
                && new.base.as_ref() != Some(&standing.sha)
        }
    }
}

/// GitHub's times have whole seconds; within one, the commit before tells the order. Two that name
/// each other are a force push there and back: the one that arrives later is the way back.
pub(super) fn is_older(new: &NewRun, standing: &Run) -> bool {
    let is_before = standing.base.as_ref() == Some(&new.sha) && standing.sha != new.sha;
    let is_after = new.base.as_ref() == Some(&standing.sha);
    new.occurred_at < standing.occurred_at
        || (new.occurred_at == standing.occurred_at && is_before && !is_after)
}

pub(super) fn was_superseded(run: &Run) -> bool {
    matches!(run.state, RunState::Ended { verdict: Verdict::Superseded { .. }, .. })
}
