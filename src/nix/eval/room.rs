//! Who may evaluate now: so many processes at once, holding so much memory together.
use tokio::sync::{AcquireError, Semaphore, SemaphorePermit};

use crate::domain::evaluation::EvaluationLimits;

/// Memory is counted in MiB.
const UNIT: u64 = 1 << 20;

/// The places and the memory of all evaluations of this process.
///
/// Whoever waits gets what it waits for in its turn, before anybody who came later, however much
/// it is; and whoever has memory has a place already, so that it runs and ends.
#[derive(Debug)]
pub(super) struct Room {
    places: Semaphore,
    memory: Semaphore,
    /// In units.
    whole: u32,
}

/// A place and a share of the memory, until it is dropped.
pub(super) struct Admission<'a>([SemaphorePermit<'a>; 2]);

impl Room {
    pub(super) fn new(limits: EvaluationLimits) -> Self {
        let whole = units(limits.together);
        let memory = Semaphore::new(usize::try_from(whole).unwrap_or(usize::MAX));
        Self { places: Semaphore::new(limits.at_once.max(1)), memory, whole }
    }

    /// Waits for a place with so much memory; with all of it, if that is less.
    pub(super) async fn enter(&self, memory: u64) -> Result<Admission<'_>, AcquireError> {
        let place = self.places.acquire().await?;
        let memory = self.memory.acquire_many(units(memory).min(self.whole)).await?;
        Ok(Admission([place, memory]))
    }

    /// Bytes that nobody holds.
    pub(super) fn free(&self) -> u64 {
        u64::try_from(self.memory.available_permits()).unwrap_or(u64::MAX).saturating_mul(UNIT)
    }
}

impl Admission<'_> {
    /// Bytes that it may hold.
    pub(super) fn memory(&self) -> u64 {
        let [_, memory] = &self.0;
        u64::try_from(memory.num_permits()).unwrap_or(u64::MAX).saturating_mul(UNIT)
    }
}

fn units(bytes: u64) -> u32 {
    u32::try_from(bytes / UNIT).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::Poll;

    use futures::poll;

    use super::*;

    const MIB: u64 = 1 << 20;

    fn room(at_once: usize) -> Room {
        Room::new(EvaluationLimits { at_once, each: 100 * MIB, together: 100 * MIB })
    }

    #[tokio::test]
    async fn what_wants_all_of_it_waits_for_the_others_and_is_not_passed_by() {
        let room = room(4);
        let first = room.enter(60 * MIB).await.unwrap();
        let mut alone = pin!(room.enter(u64::MAX));
        assert!(poll!(&mut alone).is_pending());
        let mut later = pin!(room.enter(MIB));
        assert!(poll!(&mut later).is_pending(), "it came later");
        drop(first);
        let Poll::Ready(Ok(alone)) = poll!(&mut alone) else { panic!("nobody holds anything") };
        assert_eq!((alone.memory(), room.free()), (100 * MIB, 0));
        drop(alone);
        assert!(poll!(&mut later).is_ready());
    }

    #[tokio::test]
    async fn who_no_longer_waits_is_in_nobody_s_way() {
        let room = room(2);
        let first = room.enter(60 * MIB).await.unwrap();
        {
            let mut gone = pin!(room.enter(60 * MIB));
            assert!(poll!(&mut gone).is_pending());
        }
        let second = room.enter(40 * MIB).await.unwrap();
        assert_eq!(room.free(), 0);
        drop((first, second));
        assert_eq!(room.free(), 100 * MIB);
    }

    #[tokio::test]
    async fn no_more_run_than_may() {
        let room = room(2);
        let _both = (room.enter(MIB).await.unwrap(), room.enter(MIB).await.unwrap());
        assert!(poll!(pin!(room.enter(MIB))).is_pending());
    }
}
