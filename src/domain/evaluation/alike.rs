//! Hosts of one flake are much alike: what the first new ones took is expected of the others.
use crate::domain::evaluation::{BATCH_MS, EvaluationLimits, Known, LARGEST_BATCH, PROCESS, own};

/// So many times more attributes than the last process had may be in the next one.
const GROWTH: usize = 4;

/// What one evaluation has shown of attributes that nobody had evaluated before.
///
/// The first is evaluated alone. While those that follow are cheap too, each process takes four
/// times more: 500 new hosts then need a dozen processes. One that is heavy, or fails, begins anew.
#[derive(Clone, Copy, Debug, Default)]
pub struct Alike {
    /// Attributes of the last process that ended well, and the most that one of them took.
    last: Option<(usize, Known)>,
}

impl Alike {
    /// So many new attributes of `left` may be in one process now.
    #[must_use]
    pub fn most(&self, left: usize, limits: EvaluationLimits) -> usize {
        let Some((size, worst)) = self.last.filter(|(_, it)| limits.is_cheap(it)) else { return 1 };
        let each = usize::try_from(BATCH_MS / worst.evaluation_ms.max(1)).unwrap_or(usize::MAX);
        // The share is a careful one, a quarter of it the margin.
        let room = (limits.careful() - limits.careful() / 5).saturating_sub(PROCESS);
        let room = usize::try_from(room / own(&worst).max(1)).unwrap_or(usize::MAX);
        let even = left.div_ceil(limits.at_once.max(1));
        size.saturating_mul(GROWTH).min(each).min(room).min(even).clamp(1, LARGEST_BATCH)
    }

    /// A process of new attributes ended well, with this for each.
    pub fn ended(&mut self, each: impl IntoIterator<Item = Known>) {
        let (mut size, mut worst) = (0, Known { evaluation_ms: 0, peak_memory: 0 });
        for it in each {
            size += 1;
            worst.evaluation_ms = worst.evaluation_ms.max(it.evaluation_ms);
            worst.peak_memory = worst.peak_memory.max(it.peak_memory);
        }
        self.last = Some((size, worst));
    }

    /// One did not.
    pub fn failed(&mut self) {
        self.last = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: EvaluationLimits =
        EvaluationLimits { at_once: 2, each: 6 << 30, together: 8 << 30 };

    /// How many processes a fleet needs whose hosts all take this.
    fn processes(hosts: usize, each: Known) -> Vec<usize> {
        let (mut alike, mut left, mut sizes) = (Alike::default(), hosts, vec![]);
        while left > 0 {
            let size = alike.most(left, LIMITS).min(left);
            alike.ended(std::iter::repeat_n(each, size));
            sizes.push(size);
            left -= size;
        }
        sizes
    }

    #[test]
    fn many_that_are_cheap_need_few_processes() {
        let cheap = Known { evaluation_ms: 2, peak_memory: 76 << 20 };
        assert_eq!(processes(500, cheap), [1, 4, 16, 64, 208, 104, 52, 26, 13, 6, 3, 2, 1]);
        assert_eq!(processes(3, cheap), [1, 1, 1]);
    }

    #[test]
    fn what_is_slow_or_heavy_stays_alone() {
        let slow = Known { evaluation_ms: 2_000, peak_memory: 76 << 20 };
        assert_eq!(processes(5, slow), [1; 5]);
        let heavy = Known { evaluation_ms: 100, peak_memory: 3 << 30 };
        assert_eq!(processes(5, heavy), [1; 5]);
    }

    #[test]
    fn a_process_takes_no_more_than_fits_its_share_and_is_soon_over() {
        let medium = Known { evaluation_ms: 10, peak_memory: (64 + 320) << 20 };
        // 4 GiB, a fifth less, less what a process takes itself, at 320 MiB each.
        assert_eq!(processes(500, medium).into_iter().max(), Some(10));
        let slower = Known { evaluation_ms: 400, peak_memory: 76 << 20 };
        assert_eq!(processes(500, slower).into_iter().max(), Some(12));
    }

    #[test]
    fn one_that_fails_begins_anew() {
        let mut alike = Alike::default();
        alike.ended([Known { evaluation_ms: 2, peak_memory: 76 << 20 }; 16]);
        assert_eq!(alike.most(500, LIMITS), 64);
        alike.failed();
        assert_eq!(alike.most(500, LIMITS), 1);
    }
}
