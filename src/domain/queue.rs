//! Which waiting builds a free slot takes next.
use crate::domain::id::{DrvPath, RunId};

/// A derivation that waits, in the order in which the store offers it: whose turn it is first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub derivation: DrvPath,
    pub run: RunId,
    /// What the host's last build took, in milliseconds; unknown for a new host.
    pub expected_ms: Option<i64>,
}

/// A slot's worker can realise several derivations in one operation, which saves a round trip
/// and a start each; its answers come together at the end. So only what is known to be quick
/// shares an operation, and no more than is over soon.
const QUICK_MS: i64 = 500;
const BATCH_MS: i64 = 5_000;
/// An operation costs a tenth of a second whatever it builds; what is over in about that is not
/// shared out between slots.
const LEAST_MS: i64 = 150;
/// One Nix operation grows faster than linearly with its goals; 10 to 50 is where it is fast.
const LARGEST_BATCH: usize = 50;

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
        Candidate { derivation: path.parse().unwrap(), run: run.parse().unwrap(), expected_ms }
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
        assert_eq!(take(&waiting, 4).len(), 15);
        assert_eq!(take(&waiting[..12], 4).len(), 12);
    }

    #[test]
    fn a_batch_is_over_soon() {
        let waiting: Vec<Candidate> = (0..100).map(|n| candidate(n, ONE, Some(400))).collect();
        assert_eq!(take(&waiting, 1).len(), 12);
        assert!(take(&[], 1).is_empty());
    }
}
