//! Which inputs of a lock may move: what is tried next, and what is found in the end.
//!
//! A search is its answers and nothing else. Its next question is found by going through the whole
//! course (`course.rs`) from the beginning until an answer is missing. So it may be asked as often
//! as one likes, answers may come in any order and before they are asked for, and after a restart it
//! goes on where the answers that were remembered end.
mod course;
mod whole;

use std::collections::{BTreeMap, BTreeSet};

use course::Course;

/// What came of a host with a certain set of inputs moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Passed,
    Failed,
    /// The weather was in the way: it blames no input, and lets none go ahead.
    Unknown,
}

/// Which hosts a trial is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hosts<H> {
    /// Every required host. Only the first trial asks so; its answer names them for those that follow.
    All,
    These(BTreeSet<H>),
}

/// A lock to be tried: these inputs at their new revisions, all others at their old ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trial<I, H> {
    pub moved: BTreeSet<I>,
    pub hosts: Hosts<H>,
}

/// What a search wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step<I, H> {
    Try(Trial<I, H>),
    Done(Found<I, H>),
}

/// The end of a search. Every input is in `moved` or, once, in `held_back`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found<I, H> {
    /// Keeps every required host green but those of `broken_before` and `unknown`, and none of
    /// what is held back can be added to it alone.
    pub moved: BTreeSet<I>,
    pub held_back: Vec<HeldBack<I, H>>,
    /// Fail with the old lock too, which is not the update's fault.
    pub broken_before: BTreeSet<H>,
    /// Of these it could not be known whether what moves breaks them, or whether they were broken
    /// before.
    pub unknown: BTreeSet<H>,
}

/// An input that stays where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldBack<I, H> {
    pub input: I,
    pub why: Why<I, H>,
}

/// Why an input stays where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why<I, H> {
    /// These hosts were seen to fail when it moved with no others than `with`, of which there are
    /// none if it breaks them alone.
    Breaks { with: BTreeSet<I>, hosts: BTreeSet<H> },
    /// Nothing was seen to fail, but what becomes of these hosts could not be known; without any,
    /// no required host had an answer at all.
    Unknown { hosts: BTreeSet<H> },
}

/// The answers by host; of a host that is not in it nothing is known yet.
type Answer<H> = BTreeMap<H, Outcome>;

/// What stays where it is when something breaks a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aim {
    /// What breaks it.
    Most,
    /// Everything.
    Whole,
}

/// A search for the inputs that may move, and what it has learnt.
#[derive(Clone, Debug)]
pub struct Search<I, H> {
    aim: Aim,
    inputs: BTreeSet<I>,
    answers: BTreeMap<BTreeSet<I>, Answer<H>>,
}

impl<I: Ord + Clone, H: Ord + Clone> Search<I, H> {
    /// A search among the inputs that have a new revision.
    #[must_use]
    pub fn new(inputs: BTreeSet<I>, aim: Aim) -> Self {
        Self { aim, inputs, answers: BTreeMap::new() }
    }

    /// What to try next, or what was found. Asking does not change it.
    #[must_use]
    pub fn next(&self) -> Step<I, H> {
        let found = match self.aim {
            Aim::Most => Course::run(self),
            Aim::Whole => self.whole(),
        };
        found.map_or_else(Step::Try, Step::Done)
    }

    /// Takes the answer to a trial. It names every host that was asked for, also one that could not
    /// even be listed; a host that it does not name is unknown. What was learnt before stays.
    pub fn learn(&mut self, trial: Trial<I, H>, mut results: BTreeMap<H, Outcome>) {
        let answer = self.answers.entry(trial.moved).or_default();
        if let Hosts::These(hosts) = trial.hosts {
            let told = |host: H| {
                let outcome = results.remove(&host).unwrap_or(Outcome::Unknown);
                (host, outcome)
            };
            results = hosts.into_iter().map(told).collect();
        }
        for (host, outcome) in results {
            answer.entry(host).or_insert(outcome);
        }
    }

    /// The answer for these hosts, or the trial that is missing.
    fn ask(&self, moved: &BTreeSet<I>, hosts: &BTreeSet<H>) -> Result<Answer<H>, Trial<I, H>> {
        let (mut answer, mut missing) = (Answer::new(), BTreeSet::new());
        let known = self.answers.get(moved);
        for host in hosts {
            match known.and_then(|it| it.get(host)) {
                Some(outcome) => {
                    answer.insert(host.clone(), *outcome);
                }
                None => {
                    missing.insert(host.clone());
                }
            }
        }
        if missing.is_empty() {
            return Ok(answer);
        }
        Err(Trial { moved: moved.clone(), hosts: Hosts::These(missing) })
    }

    /// The required hosts, once the first trial has named them.
    fn hosts(&self) -> Result<BTreeSet<H>, Trial<I, H>> {
        let first = || Trial { moved: self.inputs.clone(), hosts: Hosts::All };
        let answer = self.answers.get(&self.inputs).ok_or_else(first)?;
        Ok(answer.keys().cloned().collect())
    }

    /// Whether a host was seen to fail with anything moved.
    fn has_failed(&self, host: &H) -> bool {
        self.answers
            .iter()
            .any(|(moved, answer)| !moved.is_empty() && answer.get(host) == Some(&Outcome::Failed))
    }
}

#[cfg(test)]
mod tests;
