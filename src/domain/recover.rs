//! What did not reach us: which deliveries are asked for again, how often, and which heads lack a
//! run.
use std::collections::{BTreeMap, BTreeSet};

use crate::domain::Timestamp;
use crate::domain::id::{CommitSha, DeliveryId, InstallationId, RepositoryId};
use crate::domain::run::Run;

/// A try of GitHub's to deliver something, as its list has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedDelivery {
    /// Of this try; a delivery that was sent again has several, with one GUID.
    pub id: i64,
    pub guid: DeliveryId,
    pub delivered_at: Timestamp,
    pub answer: Answer,
    pub event: String,
    pub action: Option<String>,
    pub repository: Option<RepositoryId>,
    pub installation: Option<InstallationId>,
}

/// How the receiver answered a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Good,
    /// Refused, too late, or nobody was there.
    Bad,
}

/// The deliveries that we do not have, each by its newest try, the newest first. An answer that
/// was good does not count: whoever gave it may have lost what it took.
#[must_use]
pub fn missed(listed: Vec<ListedDelivery>, known: &BTreeSet<DeliveryId>) -> Vec<ListedDelivery> {
    let mut newest: BTreeMap<DeliveryId, ListedDelivery> = BTreeMap::new();
    for it in listed.into_iter().filter(|it| !known.contains(&it.guid)) {
        let is_newer = newest
            .get(&it.guid)
            .is_none_or(|other| (it.delivered_at, it.id) > (other.delivered_at, other.id));
        if is_newer {
            newest.insert(it.guid.clone(), it);
        }
    }
    let mut missed: Vec<ListedDelivery> = newest.into_values().collect();
    missed.sort_by_key(|it| (std::cmp::Reverse(it.delivered_at), it.id));
    missed
}

/// GitHub keeps deliveries for three days (Enterprise Server for seven).
pub const KEPT_MS: i64 = 3 * 86_400_000;

/// A delivery is asked for at most so often: with an interval of five minutes, over two days.
pub const MOST_ASKED: u32 = 10;

/// How long a delivery that was asked for `asked` times is waited for, in milliseconds: two
/// intervals, then twice as long each time. `None` when it is given up.
#[must_use]
pub fn patience_ms(asked: u32, interval_ms: i64) -> Option<i64> {
    (asked < MOST_ASKED).then(|| interval_ms.saturating_mul(2 << asked.saturating_sub(1).min(20)))
}

/// How long before a tie is broken: what GitHub's servers tell may be some seconds old.
const SETTLED_MS: i64 = 60_000;

/// The head of a branch or pull request as GitHub answered.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    pub sha: &'a CommitSha,
    /// GitHub's time of the newest push to the repository, or of the newest change of the pull
    /// request: not before the commit became the head.
    pub at: Timestamp,
    /// GitHub's time when it answered.
    pub seen_at: Timestamp,
}

/// When a head must be taken to have become the head, if it needs a run that does not exist.
///
/// `same` is the run of that commit and `newest` the newest for the same reason, both read before
/// GitHub was asked. What GitHub answered may be older than what it sent: a head that is dated
/// before the newest run is not believed.
#[must_use]
pub fn became_head(head: &Head<'_>, newest: Option<&Run>, same: Option<&Run>) -> Option<Timestamp> {
    let Some(newest) = newest else { return Some(head.at) };
    let (at, since) = (head.at.second(), newest.occurred_at.second());
    if newest.sha == *head.sha || at < since {
        return None;
    }
    if at > since {
        return Some(head.at);
    }
    // Within one second: the head was there after the run was known, so it is the newer one, unless
    // it is one that we tested before.
    let is_settled = head.seen_at.since(head.at) >= SETTLED_MS;
    (same.is_none() && is_settled).then(|| newest.occurred_at.plus(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::run::{Approval, Reason, RunState, Skip, Trust};

    fn sha(digit: char) -> CommitSha {
        digit.to_string().repeat(40).parse().unwrap()
    }

    fn run(digit: char, at: i64) -> Run {
        Run {
            id: "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap(),
            repository: RepositoryId(1),
            sha: sha(digit),
            reason: Reason::PullRequest(7),
            base: None,
            occurred_at: Timestamp(at),
            created_at: Timestamp(at),
            problem: None,
            waits: None,
            trust: Trust::Trusted,
            approval: Approval::NotNeeded,
            base_branch: None,
            merge: None,
            skip: Skip::Heeded,
            lock: None,
            note: None,
            state: RunState::Requested,
        }
    }

    fn listed(id: i64, guid: &str, at: i64, answer: Answer) -> ListedDelivery {
        ListedDelivery {
            id,
            guid: guid.parse().unwrap(),
            delivered_at: Timestamp(at),
            answer,
            event: "push".into(),
            action: None,
            repository: None,
            installation: None,
        }
    }

    #[test]
    fn what_we_have_is_not_missed_whatever_was_answered() {
        let list = vec![
            listed(1, "a", 1, Answer::Bad),
            listed(2, "b", 2, Answer::Good),
            listed(3, "c", 3, Answer::Good),
            listed(4, "a", 4, Answer::Bad),
        ];
        let known = BTreeSet::from(["c".parse().unwrap()]);
        let ids: Vec<i64> = missed(list, &known).iter().map(|it| it.id).collect();
        assert_eq!(ids, [4, 2], "each once, by its newest try, the newest first");
    }

    #[test]
    fn patience_doubles_and_ends() {
        let minutes = |asked| patience_ms(asked, 300_000).map(|it| it / 60_000);
        assert_eq!((minutes(1), minutes(2), minutes(3)), (Some(10), Some(20), Some(40)));
        assert_eq!((minutes(9), minutes(10)), (Some(2560), None));
    }

    #[test]
    fn a_head_is_believed_when_it_is_news_and_not_older_than_what_stands() {
        let (b, old) = (sha('b'), run('a', 10_000));
        let head = |at, seen_at| Head { sha: &b, at: Timestamp(at), seen_at: Timestamp(seen_at) };
        let when = |head: &Head<'_>, newest, same| became_head(head, newest, same).map(|it| it.0);
        assert_eq!(when(&head(9_000, 9_500), None, None), Some(9_000), "nothing stands");
        assert_eq!(when(&head(11_000, 11_500), Some(&old), None), Some(11_000));
        assert_eq!(when(&head(9_000, 99_000), Some(&old), None), None, "an old answer");
        let same = run('b', 5_000);
        assert_eq!(
            when(&head(11_000, 11_500), Some(&old), Some(&same)),
            Some(11_000),
            "back again"
        );
        assert_eq!(when(&head(11_000, 11_500), Some(&same), Some(&same)), None, "it is tested");
        // Within the same second.
        assert_eq!(when(&head(10_000, 10_500), Some(&old), None), None, "not yet settled");
        assert_eq!(when(&head(10_000, 71_000), Some(&old), None), Some(10_001));
        assert_eq!(when(&head(10_000, 71_000), Some(&old), Some(&same)), None, "or a late answer");
    }
}
