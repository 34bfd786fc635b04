//! When a build that no builder can take is given up.
use crate::domain::Timestamp;
use crate::domain::build::{Derivation, Waiting};
use crate::domain::builder::{self, Builder};
use crate::domain::page::{duration, waiting};

/// Why a build that waits since then is given up: for `patience_ms` no builder fitted, or all that
/// did took no work. `None` while it may wait on; the time for which one took work does not count.
#[must_use]
pub fn given_up(
    derivation: &Derivation,
    (since, for_what): (Timestamp, &Waiting),
    builders: &[Builder],
    (now, patience_ms): (Timestamp, i64),
) -> Option<String> {
    let Derivation { system, features, .. } = derivation;
    let (since, why) = match for_what {
        Waiting::NoBuilder { .. } | Waiting::NoFeatures { .. } => {
            (since, waiting(for_what, system))
        }
        Waiting::Slot | Waiting::Retry { .. } => {
            let closed = builder::held_since(system, features, builders)?;
            (since.max(closed), builder::held(system, features, builders)?)
        }
    };
    (now.since(since) >= patience_ms)
        .then(|| format!("no builder took it within {}: {why}", duration(patience_ms)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::domain::builder::Condition;
    use crate::domain::builder::tests::{away, builder};

    const HOUR: i64 = 3_600_000;

    fn derivation() -> Derivation {
        Derivation {
            path: "/nix/store/783yqpnsx5xvpayk2bnrb6cmk0a7blys-a.drv".parse().unwrap(),
            outputs: BTreeMap::new(),
            system: "aarch64-linux".into(),
            features: vec![],
        }
    }

    /// Whether it is given up after so many hours of waiting from the epoch on.
    fn after(hours: i64, for_what: &Waiting, builders: &[Builder]) -> Option<String> {
        let now = Timestamp(hours * HOUR);
        given_up(&derivation(), (Timestamp(0), for_what), builders, (now, 24 * HOUR))
    }

    #[test]
    fn what_no_builder_of_the_settings_does_is_given_up_with_that_reason() {
        let nobody = Waiting::NoBuilder { system: "aarch64-linux".into() };
        assert_eq!(after(23, &nobody, &[]), None);
        assert_eq!(
            after(24, &nobody, &[]).unwrap(),
            "no builder took it within 24 h: no builder for aarch64-linux in the settings"
        );
    }

    #[test]
    fn it_counts_from_when_the_last_of_its_builders_went_away() {
        let gone = Builder { since: Timestamp(HOUR), ..builder("a", away()) };
        let mut drained = builder("b", Condition::Ready);
        drained.drained_at = Some(Timestamp(10 * HOUR));
        let both = [gone, drained];
        assert_eq!(after(33, &Waiting::Slot, &both), None);
        let retry = Waiting::Retry { after: "lost".into(), not_before: Timestamp(5) };
        for waits in [Waiting::Slot, retry] {
            let said = after(34, &waits, &both).unwrap();
            assert!(said.starts_with("no builder took it within 24 h: a: unreachable"), "{said}");
        }
        // One that is away and was drained later is closed since it went away.
        let mut first = both[0].clone();
        first.drained_at = Some(Timestamp(30 * HOUR));
        assert!(after(25, &Waiting::Slot, &[first]).is_some());
    }

    #[test]
    fn a_builder_that_takes_work_is_waited_for_however_long() {
        let both = [builder("a", away()), builder("b", Condition::Ready)];
        assert_eq!(after(1_000_000, &Waiting::Slot, &both), None);
    }
}
