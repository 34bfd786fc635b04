//! What a free slot takes of what waits.
use std::collections::BTreeMap;

use crate::domain::Timestamp;
use crate::domain::build::Rebuild;
use crate::domain::id::DrvPath;
use crate::domain::queue::Candidate;
use crate::store::queue::Candidate as Offered;

/// A better builder begins what is left to it in a moment; after this long anyone does.
const MOMENT_MS: i64 = 5_000;

/// What a slot remembers from look to look; a process that starts knows nothing, which is as good.
#[derive(Debug, Default)]
pub(super) struct Looks {
    /// What it left to better builders at its last look, and since when.
    left: BTreeMap<DrvPath, Timestamp>,
    /// What it would have taken when another slot was faster.
    lost: Option<DrvPath>,
}

/// What a look at the queue came to.
pub(super) enum Claimed<T> {
    Work(T),
    /// Others were faster: what waits behind may be for this slot.
    LookAgain,
    Nothing,
}

impl Looks {
    /// Whether a build may go on waiting for a better builder.
    pub(super) fn is_patient(&self, drv: &DrvPath, now: Timestamp) -> bool {
        self.left.get(drv).is_none_or(|since| now.since(*since) < MOMENT_MS)
    }

    /// These were left at this look, and no others.
    pub(super) fn left(&mut self, all: Vec<DrvPath>, now: Timestamp) {
        let before = std::mem::take(&mut self.left);
        self.left = all
            .into_iter()
            .map(|drv| {
                let since = before.get(&drv).copied().unwrap_or(now);
                (drv, since)
            })
            .collect();
    }

    /// What a claim of these came to. Whoever is refused the same one twice waits for a wakeup:
    /// something else than another slot is in the way.
    pub(super) fn claimed<T>(&mut self, taken: &[DrvPath], claims: Vec<T>) -> Claimed<Vec<T>> {
        if !claims.is_empty() {
            *self = Self::default();
            return Claimed::Work(claims);
        }
        let first = taken.first().cloned();
        if first.is_none() || first == self.lost {
            return Claimed::Nothing;
        }
        self.lost = first;
        Claimed::LookAgain
    }
}

/// What waits, as the domain decides over it.
pub(super) fn candidate(it: Offered) -> Candidate {
    Candidate {
        derivation: it.drv,
        home: it.home,
        run: it.run,
        system: it.system,
        features: it.features,
        // What is built from scratch is built alone, as what nobody knows.
        expected_ms: it.expected_ms.filter(|_| it.rebuild == Rebuild::IfMissing),
        built_on: it.built_on,
        failed_on: it.failed_on,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drv(name: &str) -> DrvPath {
        format!("/nix/store/783yqpnsx5xvpayk2bnrb6cmk0a7blys-{name}.drv").parse().unwrap()
    }

    #[test]
    fn what_is_left_is_left_for_a_moment() {
        let mut looks = Looks::default();
        looks.left(vec![drv("a")], Timestamp(0));
        looks.left(vec![drv("a"), drv("b")], Timestamp(3_000));
        assert!(looks.is_patient(&drv("a"), Timestamp(4_999)));
        assert!(!looks.is_patient(&drv("a"), Timestamp(5_000)));
        assert!(looks.is_patient(&drv("b"), Timestamp(5_000)));
        looks.left(vec![drv("b")], Timestamp(5_000));
        assert!(looks.is_patient(&drv("a"), Timestamp(5_000)), "somebody had it in between");
    }

    #[test]
    fn a_slot_that_came_second_looks_again_but_not_for_ever() {
        let mut looks = Looks::default();
        let none = Vec::<()>::new;
        assert!(matches!(looks.claimed(&[drv("a")], none()), Claimed::LookAgain));
        assert!(matches!(looks.claimed(&[drv("b")], none()), Claimed::LookAgain));
        assert!(matches!(looks.claimed(&[drv("b")], none()), Claimed::Nothing));
        assert!(matches!(looks.claimed(&[drv("b")], vec![()]), Claimed::Work(_)));
        assert!(matches!(looks.claimed(&[drv("b")], none()), Claimed::LookAgain));
        assert!(matches!(looks.claimed(&[], none()), Claimed::Nothing));
    }
}
