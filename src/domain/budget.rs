//! What GitHub lets one installation spend, and which of its reports spend it first.
//!
//! The budget is a bucket of tokens: what is spent comes back a minute, and for the content rule
//! an hour, after it was spent. Counted so, no minute and no hour that GitHub may look at holds
//! more than its limit, wherever that minute begins.
use std::collections::VecDeque;

use crate::domain::Timestamp;
use crate::domain::id::RepositoryId;

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 3_600_000;

/// GitHub's points per minute for the REST API.
const REST_POINTS: u64 = 900;
/// GitHub's points per minute for the GraphQL API.
const GRAPHQL_POINTS: u64 = 2_000;
/// GitHub's "content-generating requests" per minute and per hour, over both interfaces.
const CONTENTS_A_MINUTE: u64 = 80;
const CONTENTS_AN_HOUR: u64 = 500;
/// Of a hundred: the rest is left to people and other programs of the account, and to clocks that
/// differ from GitHub's.
const OURS: u64 = 90;

/// How urgent a report is, in the order in which reports go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Urgency {
    /// A life has ended: never dropped, and waits for nothing but the limits.
    Final,
    /// A gate that is not shown yet, and the status that mirrors it.
    Gate,
    /// A host that is not shown yet.
    New,
    /// A life goes on. The first to be left out when the budget is short.
    Progress,
}

impl Urgency {
    /// What it may use of the budget, of a hundred: what is less urgent leaves some to the rest.
    fn share(self) -> u64 {
        match self {
            Self::Final => 100,
            Self::Gate => 90,
            Self::New => 75,
            Self::Progress => 50,
        }
    }
}

/// GitHub's two interfaces have points of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interface {
    Rest,
    Graphql,
}

/// What a request costs by GitHub's rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    pub interface: Interface,
    pub points: u64,
    /// Check runs and statuses that it creates.
    pub creates: u64,
}

impl Cost {
    /// A question over REST.
    #[must_use]
    pub fn question() -> Self {
        Self { interface: Interface::Rest, points: 1, creates: 0 }
    }

    /// A request that writes: five points, however many checks are in it.
    #[must_use]
    pub fn write(interface: Interface, creates: u64) -> Self {
        Self { interface, points: 5, creates }
    }
}

/// How GitHub counts what a batch creates. Its documentation speaks of requests, so a batch is
/// one; but it does not say so of checks, and it has refused other programs that wrote one status
/// for each attribute. Whoever is refused once is counted the stricter way from then on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Counting {
    /// A request that creates anything is one content.
    #[default]
    Requests,
    /// Every check that a request creates is one.
    Checks,
}

#[derive(Clone, Copy, Debug)]
struct Spent {
    at: Timestamp,
    repository: RepositoryId,
    cost: Cost,
}

/// What one installation has spent within the last hour.
#[derive(Clone, Debug, Default)]
pub struct Budget {
    spent: VecDeque<Spent>,
    counting: Counting,
}

/// One of GitHub's limits: so much of something within so long.
struct Limit {
    most: u64,
    window_ms: i64,
    of: fn(&Cost, Counting) -> u64,
}

const LIMITS: [Limit; 4] = [
    Limit { most: REST_POINTS, window_ms: MINUTE_MS, of: rest_points },
    Limit { most: GRAPHQL_POINTS, window_ms: MINUTE_MS, of: graphql_points },
    Limit { most: CONTENTS_A_MINUTE, window_ms: MINUTE_MS, of: contents },
    Limit { most: CONTENTS_AN_HOUR, window_ms: HOUR_MS, of: contents },
];

fn rest_points(cost: &Cost, _: Counting) -> u64 {
    if cost.interface == Interface::Rest { cost.points } else { 0 }
}

fn graphql_points(cost: &Cost, _: Counting) -> u64 {
    if cost.interface == Interface::Graphql { cost.points } else { 0 }
}

fn contents(cost: &Cost, counting: Counting) -> u64 {
    match counting {
        Counting::Requests => cost.creates.min(1),
        Counting::Checks => cost.creates,
    }
}

impl Budget {
    /// Whether a request of this cost may go now.
    ///
    /// # Errors
    /// The time from which on it may, if nothing else is spent until then.
    pub fn admits(&self, cost: Cost, urgency: Urgency, now: Timestamp) -> Result<(), Timestamp> {
        let free = LIMITS.iter().map(|limit| self.free_at(limit, cost, urgency, now)).max();
        match free {
            Some(at) if at > now => Err(at),
            Some(_) | None => Ok(()),
        }
    }

    fn free_at(&self, limit: &Limit, cost: Cost, urgency: Urgency, now: Timestamp) -> Timestamp {
        let wanted = (limit.of)(&cost, self.counting);
        if wanted == 0 {
            return now;
        }
        let most = limit.most * OURS * urgency.share() / 10_000;
        let window = || self.spent.iter().filter(|it| now.since(it.at) < limit.window_ms);
        let mut used: u64 = window().map(|it| (limit.of)(&it.cost, self.counting)).sum();
        // What is more than the limit by itself goes when nothing else is in the window.
        let mut at = now;
        for it in window() {
            if used == 0 || used + wanted <= most {
                break;
            }
            used -= (limit.of)(&it.cost, self.counting);
            at = it.at.plus(limit.window_ms);
        }
        at
    }

    /// A request was sent, whatever became of it.
    pub fn spend(&mut self, cost: Cost, repository: RepositoryId, now: Timestamp) {
        while self.spent.front().is_some_and(|it| now.since(it.at) >= HOUR_MS) {
            self.spent.pop_front();
        }
        self.spent.push_back(Spent { at: now, repository, cost });
    }

    /// GitHub counts otherwise than we did.
    pub fn count(&mut self, counting: Counting) {
        self.counting = counting;
    }

    /// Points that a repository has spent within the last hour: who has spent less goes first.
    #[must_use]
    pub fn share_of(&self, repository: RepositoryId, now: Timestamp) -> u64 {
        let of = |it: &&Spent| it.repository == repository && now.since(it.at) < HOUR_MS;
        self.spent.iter().filter(of).map(|it| it.cost.points).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPOSITORY: RepositoryId = RepositoryId(1);
    const POST: Cost = Cost { interface: Interface::Rest, points: 5, creates: 1 };
    const BATCH: Cost = Cost { interface: Interface::Graphql, points: 5, creates: 25 };
    const UPDATE: Cost = Cost { interface: Interface::Graphql, points: 5, creates: 0 };

    /// How many of these go within so many seconds when one is tried every 100 ms.
    fn sent(budget: &mut Budget, cost: Cost, urgency: Urgency, seconds: i64) -> usize {
        let from = budget.spent.back().map_or(0, |it| it.at.0);
        let mut sent = 0;
        for now in (from..from + seconds * 1000).step_by(100).map(Timestamp) {
            while budget.admits(cost, urgency, now).is_ok() {
                budget.spend(cost, REPOSITORY, now);
                sent += 1;
            }
        }
        sent
    }

    #[test]
    fn the_content_rule_lets_72_requests_a_minute_and_450_an_hour_through() {
        let mut budget = Budget::default();
        assert_eq!(sent(&mut budget, POST, Urgency::Final, 59), 72);
        let mut budget = Budget::default();
        assert_eq!(sent(&mut budget, POST, Urgency::Final, 3_599), 450);
    }

    #[test]
    fn updates_are_limited_by_points_alone() {
        let mut budget = Budget::default();
        assert_eq!(sent(&mut budget, UPDATE, Urgency::Final, 59), 360);
        let update = Cost::write(Interface::Rest, 0);
        assert_eq!(sent(&mut budget, update, Urgency::Final, 59), 162, "REST has its own points");
    }

    #[test]
    fn a_batch_is_one_content_until_github_counts_its_checks() {
        let mut budget = Budget::default();
        assert_eq!(sent(&mut budget, BATCH, Urgency::Final, 59), 72);
        let mut budget = Budget::default();
        budget.count(Counting::Checks);
        assert_eq!(sent(&mut budget, BATCH, Urgency::Final, 59), 2, "of 25 checks each");
    }

    #[test]
    fn what_is_less_urgent_leaves_something_to_the_rest() {
        let mut budget = Budget::default();
        assert_eq!(sent(&mut budget, POST, Urgency::Progress, 10), 36);
        assert_eq!(sent(&mut budget, POST, Urgency::New, 10), 54 - 36);
        assert_eq!(sent(&mut budget, POST, Urgency::Gate, 10), 64 - 54);
        assert_eq!(sent(&mut budget, POST, Urgency::Final, 10), 72 - 64);
    }

    #[test]
    fn who_must_wait_is_told_until_when() {
        let mut budget = Budget::default();
        for second in 0..72 {
            budget.spend(POST, REPOSITORY, Timestamp(second * 100));
        }
        let now = Timestamp(8_000);
        assert_eq!(budget.admits(POST, Urgency::Final, now), Err(Timestamp(60_000)));
        assert_eq!(budget.admits(POST, Urgency::Final, Timestamp(60_000)), Ok(()));
        assert_eq!(budget.admits(UPDATE, Urgency::Final, now), Ok(()));
    }

    #[test]
    fn a_request_that_is_more_than_its_share_waits_for_an_empty_window_and_goes() {
        let mut budget = Budget::default();
        budget.count(Counting::Checks);
        let huge = Cost { creates: 100, ..BATCH };
        assert_eq!(budget.admits(huge, Urgency::Final, Timestamp(5)), Ok(()));
        budget.spend(huge, REPOSITORY, Timestamp(5));
        assert_eq!(budget.admits(huge, Urgency::Final, Timestamp(6)), Err(Timestamp(60_005)));
    }
}
