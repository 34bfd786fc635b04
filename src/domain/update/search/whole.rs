//! A search that lets everything move or nothing: `hold_back = false`.
use std::collections::BTreeSet;

use super::course::{found, those};
use super::{Found, HeldBack, Outcome, Search, Trial, Why};

impl<I: Ord + Clone, H: Ord + Clone> Search<I, H> {
    /// As the course, of which it is the beginning: everything moves; nothing moves, for the hosts
    /// that failed. What was whole and fails is everybody's fault.
    pub(super) fn whole(&self) -> Result<Found<I, H>, Trial<I, H>> {
        if self.inputs.is_empty() {
            return Ok(found(BTreeSet::new(), vec![]));
        }
        let hosts = self.hosts()?;
        let all = self.ask(&self.inputs, &hosts)?;
        let before = self.ask(&BTreeSet::new(), &those(&all, Outcome::Failed))?;
        let broken_before = those(&before, Outcome::Failed);
        let unknown = &those(&all, Outcome::Unknown) | &those(&before, Outcome::Unknown);
        let broken = those(&before, Outcome::Passed);
        if broken.is_empty() && unknown.is_empty() && !hosts.is_empty() {
            return Ok(Found { broken_before, ..found(self.inputs.clone(), vec![]) });
        }
        let why = |input: &I| {
            if broken.is_empty() {
                return Why::Unknown { hosts: unknown.clone() };
            }
            let with = &self.inputs - &BTreeSet::from([input.clone()]);
            Why::Breaks { with, hosts: broken.clone() }
        };
        let held_back = self.inputs.iter().map(|it| HeldBack { input: it.clone(), why: why(it) });
        let held_back = held_back.collect();
        Ok(Found { broken_before, unknown, ..found(BTreeSet::new(), held_back) })
    }
}
