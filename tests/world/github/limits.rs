//! GitHub's real limits, switched on on demand: points a minute and the rule for content, for each
//! installation.
use super::answer::Answer;
use super::state::{Operation, State};

/// How GitHub counts what a batch creates; its documentation leaves that open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contents {
    /// A request that creates anything is one.
    Requests,
    /// Every check is one.
    Checks,
}

/// Whether a refusal says when to come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryAfter {
    Said,
    Unsaid,
}

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub contents: Contents,
    pub retry_after: RetryAfter,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Spent {
    at: i64,
    installation: i64,
    graphql: bool,
    points: u64,
    contents: u64,
}

/// A refusal, where the request is more than the limits allow; noted, where it is not.
pub(super) fn refusal(
    state: &mut State,
    installation: i64,
    operation: Operation,
    creates: u64,
    now: i64,
) -> Option<Answer> {
    let limits = state.limits?;
    let graphql = operation == Operation::Graphql;
    let points = match operation {
        Operation::GetCheck | Operation::ListChecks | Operation::Repository => 1,
        _ => 5,
    };
    let contents = match limits.contents {
        Contents::Requests => creates.min(1),
        Contents::Checks => creates,
    };
    let sum = |window: i64, of: &dyn Fn(&Spent) -> u64| -> u64 {
        let within = |it: &&Spent| it.installation == installation && it.at > now - window;
        state.spent.iter().filter(within).map(of).sum()
    };
    let most = if graphql { 2_000 } else { 900 };
    let used = sum(60_000, &|it| if it.graphql == graphql { it.points } else { 0 });
    let a_minute = sum(60_000, &|it| it.contents);
    let an_hour = sum(3_600_000, &|it| it.contents);
    let over = used + points > most
        || (contents > 0 && (a_minute + contents > 80 || an_hour + contents > 500));
    if !over {
        state.spent.push(Spent { at: now, installation, graphql, points, contents });
        return None;
    }
    let text =
        "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.";
    let answer = Answer::refused(403, text);
    Some(match limits.retry_after {
        RetryAfter::Said => answer.with("retry-after", 60),
        RetryAfter::Unsaid => answer,
    })
}
