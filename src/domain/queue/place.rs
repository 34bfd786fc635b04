//! Where a build goes: what of the queue one builder's free slot leaves to a better builder.
use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::domain::builder::{self, Builder, Speed};
use crate::domain::id::DrvPath;
use crate::domain::queue::Candidate;

/// What waits, as one builder sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// What it may take, whose turn it is first.
    pub kept: Vec<Candidate>,
    /// What a better builder with a free slot takes.
    pub left: Vec<DrvPath>,
}

/// The part of what waits that this builder may take.
///
/// A build is left to another only while that one takes work, fits, has a free slot for it now, and
/// is better: the one that built this host last (its store is warm), then the faster, then the one
/// with more free slots. Whoever has more to do than slots is left no more than those can take, so
/// no slot is idle for a build that waits for a busy one. What was left for too long (not
/// `is_patient`) is left no more: the better one does not take it, whatever the reason.
///
/// The one exception is what failed on this builder as nobody's fault: it waits for another one
/// that takes work, busy or not, since here it would soon have failed for good.
pub fn share(
    waiting: Vec<Candidate>,
    own: &str,
    builders: &[Builder],
    is_patient: impl Fn(&DrvPath) -> bool,
) -> Share {
    let Some(me) = builders.iter().find(|it| it.name == own && it.takes_work()) else {
        return Share::default();
    };
    let mut others: Vec<(&Builder, u32)> = builders
        .iter()
        .filter(|it| it.name != own && it.takes_work() && it.free() > 0)
        .map(|it| (it, it.free()))
        .collect();
    let mut share = Share::default();
    for candidate in waiting {
        let what = (candidate.system.as_str(), candidate.features.as_slice());
        let failed_on = candidate.failed_on.as_deref();
        if !me.capability.fits(what.0, what.1)
            || builder::leaves_to_others(own, what, failed_on, builders)
        {
            continue;
        }
        let here = worth(me, me.free(), &candidate);
        let better = others
            .iter_mut()
            .filter(|(it, free)| {
                *free > 0
                    && failed_on != Some(it.name.as_str())
                    && worth(it, *free, &candidate) > here
                    && it.capability.fits(what.0, what.1)
            })
            .max_by_key(|(it, free)| (worth(it, *free, &candidate), Reverse(&it.name)));
        match better {
            Some((_, free)) if is_patient(&candidate.derivation) => {
                *free -= 1;
                share.left.push(candidate.derivation);
            }
            Some(_) | None => share.kept.push(candidate),
        }
    }
    share
}

/// The part of what waits that is not left to the instances that evaluated it: a build for which
/// one of those has a free slot now begins there without a copy. `homes` are their builders, by
/// instance; a build of this instance is never left, and none that was left for too long is.
pub fn share_abroad(
    waiting: Vec<Candidate>,
    homes: &BTreeMap<String, Vec<Builder>>,
    is_patient: impl Fn(&DrvPath) -> bool,
) -> Share {
    let open = |it: &&Builder| it.takes_work() && it.free() > 0;
    let mut free: BTreeMap<&str, Vec<(&Builder, u32)>> = homes
        .iter()
        .map(|(home, all)| {
            (home.as_str(), all.iter().filter(open).map(|it| (it, it.free())).collect())
        })
        .collect();
    let mut share = Share::default();
    for candidate in waiting {
        let Candidate { home, system, features, failed_on, .. } = &candidate;
        let at_home = home.as_deref().and_then(|it| free.get_mut(it));
        let taker = at_home.into_iter().flatten().find(|(it, free)| {
            *free > 0
                && failed_on.as_deref() != Some(it.name.as_str())
                && it.capability.fits(system, features)
        });
        match taker {
            Some((_, free)) if is_patient(&candidate.derivation) => {
                *free -= 1;
                share.left.push(candidate.derivation);
            }
            Some(_) | None => share.kept.push(candidate),
        }
    }
    share
}

/// How good a builder is for a build, of those that could begin it now.
fn worth(builder: &Builder, free: u32, candidate: &Candidate) -> (bool, Speed, u32) {
    (candidate.built_on.as_deref() == Some(&builder.name), builder.speed, free)
}

/// Whether another builder than this one could begin some of this now: it may have left it.
pub fn concerns_others(waiting: &[Candidate], own: &str, builders: &[Builder]) -> bool {
    builders
        .iter()
        .filter(|it| it.name != own && it.takes_work() && it.free() > 0)
        .any(|it| waiting.iter().any(|waits| it.capability.fits(&waits.system, &waits.features)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::builder::Condition;
    use crate::domain::builder::tests::builder;

    fn ready(name: &str, busy: u32) -> Builder {
        Builder { busy, ..builder(name, Condition::Ready) }
    }

    fn waits(number: usize) -> Candidate {
        let path = format!("/nix/store/783yqpnsx5xvpayk2bnrb6cmk0a7blys-{number}.drv");
        Candidate {
            derivation: path.parse().unwrap(),
            home: None,
            run: "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap(),
            system: "aarch64-linux".into(),
            features: vec![],
            expected_ms: None,
            built_on: None,
            failed_on: None,
        }
    }

    fn kept(waiting: &[Candidate], own: &str, builders: &[Builder]) -> Vec<String> {
        let share = share(waiting.to_vec(), own, builders, |_| true);
        share.kept.iter().map(|it| it.derivation.name().to_owned()).collect()
    }

    #[test]
    fn a_build_goes_where_its_host_was_built_then_to_the_fastest_then_to_the_emptiest() {
        let warm = Candidate { built_on: Some("cold".into()), ..waits(0) };
        let mut fast = ready("fast", 1);
        fast.speed = "2".parse().unwrap();
        let all = [ready("cold", 0), fast, ready("other", 1)];
        let who = |it: &Candidate, all: &[Builder]| -> Vec<String> {
            let one = std::slice::from_ref(it);
            let takes = all.iter().filter(|own| !kept(one, &own.name, all).is_empty());
            takes.map(|own| own.name.clone()).collect()
        };
        assert_eq!(who(&warm, &all), ["cold"]);
        assert_eq!(who(&waits(0), &all), ["fast"]);
        assert_eq!(who(&waits(0), &[ready("cold", 0), ready("other", 1)]), ["cold"]);
        // As good as each other: whoever comes first.
        assert_eq!(who(&waits(0), &[ready("a", 1), ready("b", 1)]), ["a", "b"]);
    }

    #[test]
    fn nothing_is_left_to_one_that_cannot_take_it_now() {
        let warm = Candidate { built_on: Some("b".into()), ..waits(0) };
        let mut drained = ready("b", 0);
        drained.drained_at = Some(crate::domain::Timestamp(1));
        let mut small = ready("b", 0);
        small.capability.features = vec![];
        let picky = Candidate { features: vec!["big-parallel".into()], ..warm.clone() };
        let full = ready("b", 2);
        for (waits, other) in [(&warm, full), (&warm, drained), (&picky, small)] {
            assert_eq!(kept(std::slice::from_ref(waits), "a", &[ready("a", 1), other]), ["0"]);
        }
    }

    #[test]
    fn no_more_is_left_than_there_are_free_slots() {
        let warm = |number| Candidate { built_on: Some("b".into()), ..waits(number) };
        let waiting = [warm(0), warm(1), warm(2)];
        assert_eq!(kept(&waiting, "a", &[ready("a", 0), ready("b", 0)]), ["2"]);
        assert_eq!(kept(&waiting, "a", &[ready("a", 0), ready("b", 1)]), ["1", "2"]);
    }

    #[test]
    fn what_the_better_one_does_not_take_is_left_no_more() {
        let waiting = vec![Candidate { built_on: Some("b".into()), ..waits(0) }];
        let share = share(waiting, "a", &[ready("a", 0), ready("b", 0)], |_| false);
        assert_eq!((share.kept.len(), share.left.len()), (1, 0));
    }

    #[test]
    fn another_builder_tries_what_failed_on_the_warm_one() {
        let failed =
            [Candidate { built_on: Some("b".into()), failed_on: Some("b".into()), ..waits(0) }];
        let both = [ready("a", 0), ready("b", 0)];
        assert_eq!(kept(&failed, "a", &both), ["0"]);
        assert_eq!(kept(&failed, "b", &both), [""; 0]);
        assert_eq!(
            kept(&failed, "b", &[ready("a", 2), ready("b", 0)]),
            [""; 0],
            "though it is busy"
        );
        assert_eq!(kept(&failed, "b", &both[1..]), ["0"], "better here than nowhere");
    }

    #[test]
    fn what_another_instance_evaluated_is_left_to_it_while_it_has_a_free_slot_for_it() {
        let abroad = |number| Candidate { home: Some("one".into()), ..waits(number) };
        let waiting = vec![abroad(0), abroad(1), waits(2)];
        let shared = |all: &[Builder], is_patient: bool| {
            let homes = BTreeMap::from([("one".to_owned(), all.to_vec())]);
            let share = share_abroad(waiting.clone(), &homes, |_| is_patient);
            let names = |it: &DrvPath| it.name().to_owned();
            let kept: Vec<String> = share.kept.iter().map(|it| names(&it.derivation)).collect();
            (kept.join(" "), share.left.iter().map(names).collect::<Vec<_>>().join(" "))
        };
        let told = |kept: &str, left: &str| (kept.to_owned(), left.to_owned());
        assert_eq!(shared(&[ready("a", 1)], true), told("1 2", "0"), "it has one slot free");
        assert_eq!(shared(&[ready("a", 0)], true), told("2", "0 1"));
        assert_eq!(shared(&[ready("a", 0)], false), told("0 1 2", ""), "it does not take it");
        assert_eq!(shared(&[ready("a", 2)], true), told("0 1 2", ""));
        assert_eq!(shared(&[], true), told("0 1 2", ""), "it only evaluates");
        let failed = vec![Candidate { failed_on: Some("a".into()), ..abroad(0) }];
        let homes = BTreeMap::from([("one".to_owned(), vec![ready("a", 0)])]);
        assert_eq!(share_abroad(failed, &homes, |_| true).left, [], "it failed there");
    }

    #[test]
    fn whoever_may_have_left_something_hears_of_it() {
        let waiting = [waits(0)];
        assert!(concerns_others(&waiting, "a", &[ready("a", 0), ready("b", 1)]));
        assert!(!concerns_others(&waiting, "a", &[ready("a", 0), ready("b", 2)]));
        assert!(!concerns_others(&[], "a", &[ready("a", 0), ready("b", 1)]));
    }
}
