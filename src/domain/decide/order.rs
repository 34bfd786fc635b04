//! In which order things happened that GitHub dates alike: its times have whole seconds, and its
//! deliveries come in any order.
//!
//! A push names the commit before it, and so does a push to a pull request. Along these links the
//! last of a second is found, however many links there are and whichever came first.
use std::collections::BTreeSet;

use crate::domain::Timestamp;
use crate::domain::decide::{NewRun, Source, Standing};
use crate::domain::id::{CommitSha, DeliveryId};
use crate::domain::incoming::{Incoming, PullRequest, Push, PushTarget};
use crate::domain::run::{Reason, Run};

/// A branch's or a pull request's head moved, as a delivery told it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub delivery: DeliveryId,
    pub before: CommitSha,
    pub after: CommitSha,
    pub occurred_at: Timestamp,
}

/// What a delivery tells of a head's move; `None` where GitHub does not say from where.
#[must_use]
pub fn step(delivery: DeliveryId, incoming: &Incoming) -> Option<Step> {
    let (before, after) = match incoming {
        Incoming::Push(Push { target: PushTarget::Branch { head, .. }, before, .. })
        | Incoming::PullRequest(PullRequest { head, before, .. }) => {
            (before.clone()?, head.clone())
        }
        Incoming::Push(_)
        | Incoming::MergeGroup(_)
        | Incoming::Installation(_)
        | Incoming::Rerun(_)
        | Incoming::Press(_)
        | Incoming::Comment(_)
        | Incoming::Repositories(_)
        | Incoming::Ignored(_) => return None,
    };
    Some(Step { delivery, before, after, occurred_at: head_at(incoming)? })
}

/// GitHub's time of a head's move.
#[must_use]
pub fn head_at(incoming: &Incoming) -> Option<Timestamp> {
    match incoming {
        Incoming::Push(Push { target: PushTarget::Branch { .. }, occurred_at, .. })
        | Incoming::PullRequest(PullRequest { occurred_at, .. }) => Some(*occurred_at),
        Incoming::Push(_)
        | Incoming::MergeGroup(_)
        | Incoming::Installation(_)
        | Incoming::Rerun(_)
        | Incoming::Press(_)
        | Incoming::Comment(_)
        | Incoming::Repositories(_)
        | Incoming::Ignored(_) => None,
    }
}

/// Whether only the links between commits can tell the order of these two.
#[must_use]
pub fn is_tie(head: &CommitSha, at: Timestamp, standing: &Run) -> bool {
    standing.sha != *head && standing.occurred_at.second() == at.second()
}

/// From when on a commit counts as the head that is so: within a second a commit that was the head
/// before gets a millisecond more than what came in between.
pub(super) fn moment(new: &NewRun, standing: &Standing) -> Timestamp {
    let newest = standing.newest.as_ref().map_or(Timestamp(0), |it| it.occurred_at);
    let is_back = |same: &Run| standing.newest.as_ref().is_some_and(|it| it.id != same.id);
    let again = i64::from(standing.same.as_ref().is_some_and(is_back));
    new.occurred_at.max(newest.plus(again))
}

/// Where a commit stands among those of its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It is the head now.
    Head,
    /// Another one is.
    Older,
    /// With what this delivery tells, the commit of that one is.
    Before(Step),
}

pub(super) fn place(new: &NewRun, standing: &Standing, source: Source) -> Place {
    let Some(newest) = &standing.newest else { return Place::Head };
    let (at, since) = (new.occurred_at.second(), newest.occurred_at.second());
    if at < since {
        return Place::Older;
    }
    if at > since || new.sha == newest.sha {
        return Place::Head;
    }
    let links = links(new, newest, &standing.steps);
    match end(&newest.sha, &links) {
        Some(last) if *last == new.sha => return Place::Head,
        Some(last) if *last != newest.sha => {
            let told = standing.steps.iter().find(|it| it.after == *last);
            return told.map_or(Place::Older, |it| Place::Before(it.clone()));
        }
        Some(_) | None => {}
    }
    let leads = |from, to| reached(from, &links).contains(to);
    let is_before = leads(&new.sha, &newest.sha) && !leads(&newest.sha, &new.sha);
    // Nothing links them. What GitHub sends later counts, unless the other one is known to be the
    // newer; what we looked up ourselves may have been overtaken by what was sent meanwhile.
    let is_late = match source {
        Source::Webhook => new.occurred_at < newest.occurred_at,
        Source::Recovered => new.occurred_at <= newest.occurred_at,
    };
    let is_linked = leads(&newest.sha, &new.sha);
    if is_before || (is_late && !is_linked) { Place::Older } else { Place::Head }
}

type Link<'a> = (&'a CommitSha, &'a CommitSha);

/// A push's run is compared with the commit before it, so that the runs are links too.
fn links<'a>(new: &'a NewRun, newest: &'a Run, steps: &'a [Step]) -> Vec<Link<'a>> {
    let mut links: Vec<Link<'_>> = steps.iter().map(|it| (&it.before, &it.after)).collect();
    match new.reason {
        Reason::Push(_) => {
            links.extend(new.base.as_ref().map(|before| (before, &new.sha)));
            links.extend(newest.base.as_ref().map(|before| (before, &newest.sha)));
        }
        Reason::PullRequest(_) | Reason::MergeGroup(_) | Reason::Update { .. } => {}
    }
    links
}

/// What comes after a commit, over any number of links, and the commit itself.
fn reached<'a>(from: &'a CommitSha, links: &[Link<'a>]) -> BTreeSet<&'a CommitSha> {
    let mut found = BTreeSet::from([from]);
    let mut left = vec![from];
    while let Some(at) = left.pop() {
        for (_, after) in links.iter().filter(|(before, _)| *before == at) {
            if found.insert(after) {
                left.push(after);
            }
        }
    }
    found
}

/// The one commit after this one that nothing follows. `None` when there is none, after a force push
/// there and back; or several, because something between them has not arrived.
fn end<'a>(from: &'a CommitSha, links: &[Link<'a>]) -> Option<&'a CommitSha> {
    let followed =
        |it: &CommitSha| links.iter().any(|(before, after)| *before == it && *after != it);
    let mut ends = reached(from, links).into_iter().filter(|it| !followed(it));
    let only = ends.next()?;
    ends.next().is_none().then_some(only)
}

#[cfg(test)]
mod tests;
