//! How failures are met: the weather with new attempts, the author's with a memory.
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use crate::domain::id::BuildId;

/// What the settings say of failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Attempts after the first before weather is shown as the ending.
    pub retries: u32,
    /// For so long a derivation that failed is not built for another run; 0 for not at all.
    pub failure_memory_ms: i64,
    /// For so long a build waits that no builder can take.
    pub unplaceable_ms: i64,
}

impl Default for Patience {
    fn default() -> Self {
        Self { retries: 3, failure_memory_ms: 3_600_000, unplaceable_ms: 24 * 3_600_000 }
    }
}

impl Patience {
    /// How long to wait after the `weathers`-th attempt of a build ended as weather; `None` when
    /// there is no other.
    ///
    /// 5 s, doubling to 5 minutes, and up to a quarter more, so that what was lost together, a
    /// machine's builds, does not come back in one moment. How much more follows from the build's
    /// id, whose end is random.
    #[must_use]
    pub fn delay_ms(self, weathers: u32, build: &BuildId) -> Option<i64> {
        if weathers > self.retries {
            return None;
        }
        let delay = (5_000_i64 << weathers.saturating_sub(1).min(6)).min(300_000);
        let mut mixed = DefaultHasher::new();
        (build.as_str(), weathers).hash(&mut mixed);
        let thousandths = i64::try_from(mixed.finish() % 1000).unwrap_or_default();
        Some(delay + delay / 4 * thousandths / 1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(number: u32) -> BuildId {
        format!("01890a5d-ac96-774b-bcce-{number:012x}").parse().unwrap()
    }

    #[test]
    fn patience_grows_and_has_an_end() {
        let patience = Patience { retries: 8, ..Patience::default() };
        let delays: Vec<i64> =
            (1..=8).map(|it| patience.delay_ms(it, &build(7)).unwrap()).collect();
        for (delay, least) in delays.iter().zip([5_000, 10_000, 20_000, 40_000, 80_000, 160_000]) {
            assert!((least..=least + least / 4).contains(delay), "{delays:?}");
        }
        assert!(delays.iter().all(|it| *it <= 375_000));
        assert_eq!(patience.delay_ms(9, &build(7)), None);
        assert_eq!(Patience { retries: 0, ..patience }.delay_ms(1, &build(7)), None);
    }

    #[test]
    fn what_was_lost_together_comes_back_one_by_one() {
        let delays: std::collections::BTreeSet<i64> =
            (0..100).filter_map(|it| Patience::default().delay_ms(1, &build(it))).collect();
        assert!(delays.len() > 80, "{delays:?}");
    }
}
