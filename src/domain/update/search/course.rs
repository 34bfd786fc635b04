//! The course of a search, from its first trial to what it finds.
//!
//! 1. Everything moves, for all hosts.
//! 2. Nothing moves, for the hosts that failed: those that fail without the update are left out.
//! 3. Each input alone, for the hosts that failed; of many inputs halves are tried instead.
//! 4. What breaks nothing alone moves together. Where that fails it is halved (delta debugging),
//!    so that all goes ahead but what breaks a host together with others.
//! 5. What was held back is given back, one by one, where that stays green: it may have needed
//!    another's new revision. If more than one is left, everything but one is tried, since inputs
//!    may need each other.
//! 6. What was found is tried for every host. One that fails there joins those that failed, and
//!    the course begins anew with all that was learnt.
//!
//! Until the last step only hosts that have failed are tried: the others would cost the most and
//! tell the least.
use std::collections::BTreeSet;

use super::{Answer, Found, HeldBack, Outcome, Search, Trial, Why};

/// Of so many inputs each is tried alone: what breaks a host alone is the clearest answer. Of eight
/// one guilty input costs 11 trials so and 9 by halving, two cost 13 and up to 15.
const EACH_ALONE: usize = 8;

/// What a search knows of its hosts; holds while one passage of the course lasts.
pub(super) struct Course<'a, I, H> {
    search: &'a Search<I, H>,
    /// Not known to be broken without the update, nor unknown there.
    sound: BTreeSet<H>,
    /// Those of them that the update was seen to break.
    doubtful: BTreeSet<H>,
}

impl<'a, I: Ord + Clone, H: Ord + Clone> Course<'a, I, H> {
    /// Goes through the course until an answer is missing: that trial is the error.
    pub(super) fn run(search: &'a Search<I, H>) -> Result<Found<I, H>, Trial<I, H>> {
        if search.inputs.is_empty() {
            return Ok(found(BTreeSet::new(), vec![]));
        }
        let hosts = search.hosts()?;
        if hosts.is_empty() {
            // Nobody said that anything is green.
            let why = Why::Unknown { hosts: BTreeSet::new() };
            let inputs = search.inputs.iter().cloned();
            let held_back = inputs.map(|input| HeldBack { input, why: why.clone() }).collect();
            return Ok(found(BTreeSet::new(), held_back));
        }
        let failed: BTreeSet<H> =
            hosts.iter().filter(|host| search.has_failed(host)).cloned().collect();
        let before = search.ask(&BTreeSet::new(), &failed)?;
        let doubtful = those(&before, Outcome::Passed);
        let broken_before = those(&before, Outcome::Failed);
        let unknown = those(&before, Outcome::Unknown);
        let sound = hosts
            .into_iter()
            .filter(|host| !broken_before.contains(host) && !unknown.contains(host))
            .collect();
        let found = Self { search, sound, doubtful }.find()?;
        Ok(Found { broken_before, unknown: &found.unknown | &unknown, ..found })
    }

    fn find(&self) -> Result<Found<I, H>, Trial<I, H>> {
        let moved = self.largest()?;
        let unknown = if moved.is_empty() {
            BTreeSet::new()
        } else {
            those(&self.search.ask(&moved, &self.sound)?, Outcome::Unknown)
        };
        let held_back = self.others(&moved).into_iter().map(|input| self.explain(input, &moved));
        let held_back = held_back.collect::<Result<_, _>>()?;
        Ok(Found { unknown, ..found(moved, held_back) })
    }

    /// As many inputs as keep the doubtful hosts green.
    fn largest(&self) -> Result<BTreeSet<I>, Trial<I, H>> {
        if self.holds(&self.search.inputs)? {
            return Ok(self.search.inputs.clone());
        }
        let free = &self.search.inputs - &self.guilty_alone()?;
        if !free.is_empty() {
            // Most often this is what is found: for every host at once it is one trial, not two.
            self.search.ask(&free, &self.sound)?;
        }
        let free: Vec<I> = free.into_iter().collect();
        let moved = self.grow(BTreeSet::new(), &free)?;
        let moved = self.give_back(moved)?;
        self.all_but_one(moved)
    }

    /// What breaks a doubtful host alone, where each is tried alone.
    fn guilty_alone(&self) -> Result<BTreeSet<I>, Trial<I, H>> {
        let mut guilty = BTreeSet::new();
        if self.search.inputs.len() > EACH_ALONE {
            return Ok(guilty);
        }
        for input in &self.search.inputs {
            let answer = self.search.ask(&BTreeSet::from([input.clone()]), &self.doubtful)?;
            if !those(&answer, Outcome::Failed).is_empty() {
                guilty.insert(input.clone());
            }
        }
        Ok(guilty)
    }

    /// `moved` and as many of `more` as halving finds to hold with it.
    fn grow(&self, moved: BTreeSet<I>, more: &[I]) -> Result<BTreeSet<I>, Trial<I, H>> {
        let together = with(&moved, more);
        if more.is_empty() || self.holds(&together)? {
            return Ok(together);
        }
        if more.len() == 1 {
            return Ok(moved);
        }
        let (first, second) = more.split_at(more.len() / 2);
        let moved = self.grow(moved, first)?;
        self.grow(moved, second)
    }

    /// `moved` and what can be added to it, one by one, until nothing can.
    fn give_back(&self, mut moved: BTreeSet<I>) -> Result<BTreeSet<I>, Trial<I, H>> {
        let mut left = self.others(&moved).into_iter();
        while let Some(input) = left.next() {
            let more = with(&moved, &[input]);
            if self.holds(&more)? {
                moved = more;
                // What did not go without it may go with it.
                left = self.others(&moved).into_iter();
            }
        }
        Ok(moved)
    }

    /// Everything but one, the most that can go where everything does not, if it holds without one
    /// of those that were held back or that break something with one of them.
    fn all_but_one(&self, moved: BTreeSet<I>) -> Result<BTreeSet<I>, Trial<I, H>> {
        let held_back = self.others(&moved);
        if held_back.len() <= 1 {
            return Ok(moved);
        }
        let mut accused = held_back.clone();
        for input in held_back {
            match self.explain(input, &moved)?.why {
                Why::Breaks { with, hosts: _ } => accused.extend(with),
                Why::Unknown { hosts: _ } => {}
            }
        }
        for input in accused {
            let rest = &self.search.inputs - &BTreeSet::from([input]);
            if self.holds(&rest)? {
                return Ok(rest);
            }
        }
        Ok(moved)
    }

    /// Why an input cannot be added to what moves.
    fn explain(&self, input: I, moved: &BTreeSet<I>) -> Result<HeldBack<I, H>, Trial<I, H>> {
        let answer = self.search.ask(&with(moved, std::slice::from_ref(&input)), &self.doubtful)?;
        let broken = those(&answer, Outcome::Failed);
        let only_it = BTreeSet::from([input.clone()]);
        let alone = those(&self.search.ask(&only_it, &broken)?, Outcome::Failed);
        let Some(host) = alone.first().or(broken.first()) else {
            let hosts = those(&answer, Outcome::Unknown);
            return Ok(HeldBack { input, why: Why::Unknown { hosts } });
        };
        let together = self.smallest(only_it, moved, host, &broken)?;
        let hosts = those(&self.search.ask(&together, &broken)?, Outcome::Failed);
        let with = together.into_iter().filter(|it| *it != input).collect();
        Ok(HeldBack { input, why: Why::Breaks { with, hosts } })
    }

    /// The smallest set that breaks a host, of `together` and some of `moved`, all of which break
    /// it. The last input of the shortest part that breaks it is needed; then what is before it is
    /// looked through in the same way.
    fn smallest(
        &self,
        mut together: BTreeSet<I>,
        moved: &BTreeSet<I>,
        host: &H,
        broken: &BTreeSet<H>,
    ) -> Result<BTreeSet<I>, Trial<I, H>> {
        let breaks = |set: &BTreeSet<I>| -> Result<bool, Trial<I, H>> {
            Ok(self.search.ask(set, broken)?.get(host) == Some(&Outcome::Failed))
        };
        let mut among: Vec<I> = moved.iter().cloned().collect();
        while !breaks(&together)? {
            let (mut too_few, mut enough) = (0, among.len());
            while enough - too_few > 1 {
                let half = too_few.midpoint(enough);
                if breaks(&with(&together, &among[..half]))? {
                    enough = half;
                } else {
                    too_few = half;
                }
            }
            together.extend(among.drain(too_few..).next());
        }
        Ok(together)
    }

    /// Whether every doubtful host passes; where it cannot be known it does not.
    fn holds(&self, moved: &BTreeSet<I>) -> Result<bool, Trial<I, H>> {
        let answer = self.search.ask(moved, &self.doubtful)?;
        Ok(answer.values().all(|outcome| *outcome == Outcome::Passed))
    }

    fn others(&self, moved: &BTreeSet<I>) -> BTreeSet<I> {
        &self.search.inputs - moved
    }
}

pub(super) fn found<I, H: Ord>(moved: BTreeSet<I>, held_back: Vec<HeldBack<I, H>>) -> Found<I, H> {
    Found { moved, held_back, broken_before: BTreeSet::new(), unknown: BTreeSet::new() }
}

fn with<I: Ord + Clone>(set: &BTreeSet<I>, more: &[I]) -> BTreeSet<I> {
    set.iter().chain(more).cloned().collect()
}

pub(super) fn those<H: Ord + Clone>(answer: &Answer<H>, outcome: Outcome) -> BTreeSet<H> {
    let them = answer.iter().filter(|(_, it)| **it == outcome);
    them.map(|(host, _)| host.clone()).collect()
}
