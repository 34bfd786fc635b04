//! Which waiting builds a free slot takes next.
pub mod place;
#[cfg(test)]
mod simulation;
pub mod unplaceable;

use std::cmp::Reverse;

use crate::domain::Timestamp;
use crate::domain::build::Required;
use crate::domain::id::{Branch, DrvPath, RunId};
use crate::domain::run::Reason;

/// How long what nobody requires lets what is required go before it, in milliseconds.
const OPTIONAL_MS: i64 = 20 * 60_000;
/// How long a pull request, or a branch beside the default one, lets the default branch and the
/// merge queue go before it.
const ASIDE_MS: i64 = 5 * 60_000;
/// How long an update, for which nobody waits, lets everything else go before it.
const UPDATE_MS: i64 = 20 * 60_000;
/// Between the turns of one run's builds: what is pushed later goes between them, so that runs and
/// repositories take turns.
const STEP_MS: i64 = 1_000;

/// When it is a build's turn, as a time: who has the earliest goes first. It is when its run was
/// made and a wait that its kind owes to others, and is never moved: whoever waits longest comes
/// first in the end, whatever comes later. `nth` counts the run's builds from 0.
#[must_use]
pub fn turn(
    (created_at, reason): (Timestamp, &Reason),
    default_branch: &Branch,
    required: Required,
    nth: usize,
) -> i64 {
    let owed = match required {
        Required::Required => 0,
        Required::Optional => OPTIONAL_MS,
    };
    let aside = match reason {
        Reason::MergeGroup(_) => 0,
        Reason::Push(branch) if branch == default_branch => 0,
        Reason::Push(_) | Reason::PullRequest(_) => ASIDE_MS,
        Reason::Update { .. } => UPDATE_MS,
    };
    let step = STEP_MS.saturating_mul(i64::try_from(nth).unwrap_or(i64::MAX));
    created_at.0.saturating_add(owed + aside).saturating_add(step)
}

/// The place of a build among those of its run, the least first: what is required, and within that
/// what took longest last time, so that the longest is not begun when all others are done. What
/// nobody knows may be long. It moves builds within their run alone: how long a run's last one
/// waits for others follows from how many builds it has, as before.
#[must_use]
pub fn within_run(required: Required, expected_ms: Option<i64>) -> impl Ord {
    (required, Reverse(expected_ms.unwrap_or(i64::MAX)))
}

/// A derivation that waits, in the order in which the store offers it: whose turn it is first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub derivation: DrvPath,
    /// The instance in whose Nix store it is, where it must be copied from another's.
    pub home: Option<String>,
    pub run: RunId,
    /// Nix's `system`.
    pub system: String,
    /// `requiredSystemFeatures`.
    pub features: Vec<String>,
    /// What the host's last build took, in milliseconds; unknown for a new host.
    pub expected_ms: Option<i64>,
    /// The builder that built the host last: most of what it needs is there.
    pub built_on: Option<String>,
    /// The builder on which its last attempt ended as nobody's fault.
    pub failed_on: Option<String>,
}

/// A slot's worker can realise several derivations in one operation, which saves a round trip
/// and a start each; its answers come together at the end. So only what is known to be quick
/// shares an operation, and no more than is over soon.
const QUICK_MS: i64 = 500;
const BATCH_MS: i64 = 5_000;
/// An operation costs some 20 ms whatever it builds; what is over in about that is not shared out
/// between slots.
const LEAST_MS: i64 = 40;
/// One Nix operation grows faster than linearly with its goals: each that waits looks again
/// whenever one has ended.
const LARGEST_BATCH: usize = 20;

/// What a free slot takes, of `slots` on this builder: the first that waits, and with it quick
/// ones of the same run (one run, so that superseding it ends no other's work).
pub fn take(waiting: &[Candidate], slots: usize) -> Vec<DrvPath> {
    let Some(first) = waiting.first() else {
        return vec![];
    };
    let is_quick = |it: &&Candidate| it.expected_ms.is_some_and(|ms| ms <= QUICK_MS);
    if !is_quick(&first) {
        return vec![first.derivation.clone()];
    }
    let quick: Vec<&Candidate> =
        waiting.iter().filter(|it| it.run == first.run).filter(is_quick).collect();
    // A fair share, so that one slot does not take what another could start at once.
    let share = quick.len().div_ceil(slots.max(1)).min(LARGEST_BATCH);
    let mut expected = 0;
    let mut taken: Vec<DrvPath> = Vec::new();
    for candidate in quick {
        let is_fair = taken.len() >= share && expected >= LEAST_MS;
        expected += candidate.expected_ms.unwrap_or_default();
        if is_fair || taken.len() == LARGEST_BATCH || (!taken.is_empty() && expected > BATCH_MS) {
            break;
        }
        if !taken.contains(&candidate.derivation) {
            taken.push(candidate.derivation.clone());
        }
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
    const OTHER: &str = "01890a5d-ac96-774b-bcce-b302099a8058";

    fn candidate(name: usize, run: &str, expected_ms: Option<i64>) -> Candidate {
        let path = format!("/nix/store/783yqpnsx5xvpayk2bnrb6cmk0a7blys-{name}.drv");
        Candidate {
            derivation: path.parse().unwrap(),
            home: None,
            run: run.parse().unwrap(),
            system: "x86_64-linux".into(),
            features: vec![],
            expected_ms,
            built_on: None,
            failed_on: None,
        }
    }

    fn turns(reason: &Reason, required: Required, at: i64, count: usize) -> Vec<i64> {
        let main = "main".parse().unwrap();
        (0..count).map(|nth| turn((Timestamp(at), reason), &main, required, nth)).collect()
    }

    fn push(branch: &str) -> Reason {
        Reason::Push(branch.parse().unwrap())
    }

    #[test]
    fn who_is_required_and_whose_branch_it_is_says_who_goes_first() {
        let first = |reason: &Reason, required| turns(reason, required, 1_000, 1)[0];
        let main = first(&push("main"), Required::Required);
        let group = first(&Reason::MergeGroup("q".parse().unwrap()), Required::Required);
        let pull = first(&Reason::PullRequest(7), Required::Required);
        assert_eq!((main, group), (1_000, 1_000));
        assert!(main < pull && pull == first(&push("topic"), Required::Required));
        assert!(pull < first(&push("main"), Required::Optional));
    }

    #[test]
    fn a_small_run_does_not_wait_for_the_whole_of_a_large_one() {
        let large = turns(&push("main"), Required::Required, 0, 500);
        let small = turns(&push("main"), Required::Required, 10_000, 2);
        assert_eq!(large.iter().filter(|it| **it < small[0]).count(), 10);
        assert_eq!(large.iter().filter(|it| **it <= small[1]).count(), 12);
    }

    #[test]
    fn the_longest_of_a_run_goes_first_and_what_is_new_may_be_the_longest() {
        let mut run = [
            ("quick", Required::Required, Some(100)),
            ("optional", Required::Optional, Some(9_000)),
            ("slow", Required::Required, Some(5_000)),
            ("new", Required::Required, None),
            ("as quick", Required::Required, Some(100)),
        ];
        run.sort_by_key(|(_, required, expected_ms)| within_run(*required, *expected_ms));
        let names = run.map(|(name, ..)| name);
        assert_eq!(names, ["new", "slow", "quick", "as quick", "optional"]);
    }

    proptest::proptest! {
        #[test]
        fn nothing_starves(older in 0_i64..1_000_000_000, nth in 0_usize..500, other in 0_usize..500) {
            // The last in line of the least urgent kind, against the first of the most urgent.
            let waits = turns(&Reason::PullRequest(7), Required::Optional, older, nth + 1)[nth];
            let patience = OPTIONAL_MS + ASIDE_MS + STEP_MS * 500;
            let later = turns(&push("main"), Required::Required, older + patience, other + 1);
            proptest::prop_assert!(waits < later[other]);
        }
    }

    #[test]
    fn what_is_new_or_slow_is_taken_alone() {
        for expected in [None, Some(60_000)] {
            let waiting = [candidate(0, ONE, expected), candidate(1, ONE, Some(5))];
            assert_eq!(take(&waiting, 2), [waiting[0].derivation.clone()]);
        }
    }

    #[test]
    fn quick_ones_of_one_run_share_an_operation_and_leave_some_for_the_other_slot() {
        let mut waiting: Vec<Candidate> = (0..40).map(|n| candidate(n, ONE, Some(10))).collect();
        waiting.push(candidate(99, OTHER, Some(10)));
        let taken = take(&waiting, 2);
        assert_eq!(taken.len(), 20);
        assert!(!taken.contains(&waiting[40].derivation));
    }

    #[test]
    fn what_takes_no_time_is_not_shared_out() {
        let waiting: Vec<Candidate> = (0..30).map(|n| candidate(n, ONE, Some(10))).collect();
        assert_eq!(take(&waiting, 4).len(), 8);
        assert_eq!(take(&waiting[..12], 4).len(), 4, "not three");
        assert_eq!(take(&waiting[..4], 4).len(), 4, "not one");
    }

    #[test]
    fn a_batch_is_over_soon() {
        let waiting: Vec<Candidate> = (0..100).map(|n| candidate(n, ONE, Some(400))).collect();
        assert_eq!(take(&waiting, 1).len(), 12);
        assert!(take(&[], 1).is_empty());
    }
}
