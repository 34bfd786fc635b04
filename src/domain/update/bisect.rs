//! Which commit of an input's history is the first with which a host is broken.
//!
//! As the search for inputs, it is its answers and nothing else: it is gone through from the
//! beginning until one is missing, and what was answered before a restart is not asked again.
use serde::{Deserialize, Serialize};

use crate::domain::build::Ending;
use crate::domain::id::{AttrPath, CommitSha};
use crate::domain::lock::moved::InputPath;
use crate::domain::update::outcome::Broken;
use crate::domain::update::search::Outcome;

/// Inputs of one update whose histories are looked through: one is what is common.
pub const MOST_INPUTS: usize = 3;
/// Trials of one input that end in evaluation. They cost no build and are still not for nothing.
pub const MOST_EVALUATIONS: u32 = 40;

/// What a trial is about that tries one input at one commit of its history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    pub input: InputPath,
    pub commit: CommitSha,
}

/// What comes next. Commits are counted from 0, the oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Try(usize),
    Done(Found),
}

/// The first bad commit is one of these. The last was seen to be bad; what is before the first was
/// seen to be good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    pub first: usize,
    pub last: usize,
}

impl Found {
    /// How many it may be: 1 when it is known.
    #[must_use]
    pub fn count(self) -> usize {
        self.last - self.first + 1
    }
}

/// What a trial has cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cost {
    Evaluation,
    /// It came so far that something may have been built.
    Build,
}

/// What to try of so many commits, the newest of which is known to be bad and what came before the
/// oldest to be good, with so many trials `left`. What the weather keeps from being known is gone
/// around, as `git bisect skip` does.
pub fn next(count: usize, answer: impl Fn(usize) -> Option<Outcome>, left: u32) -> Step {
    let (mut first, mut last) = (0, count.saturating_sub(1));
    loop {
        let found = Step::Done(Found { first, last });
        if first == last {
            return found;
        }
        let middle = first + (last - first - 1) / 2;
        let known = (first..last).filter(|it| answer(*it) != Some(Outcome::Unknown));
        let Some(at) = known.min_by_key(|it| it.abs_diff(middle)) else { return found };
        match answer(at) {
            Some(Outcome::Passed) => first = at + 1,
            Some(Outcome::Failed) => last = at,
            Some(Outcome::Unknown) | None if left == 0 => return found,
            Some(Outcome::Unknown) | None => return Step::Try(at),
        }
    }
}

/// What a trial has cost whose host is not whole for this reason, or is.
#[must_use]
pub fn cost(broken: Option<&Broken>) -> Cost {
    match broken {
        Some(Broken::Ended(Ending::EvaluationFailed(_)) | Broken::Said(_)) => Cost::Evaluation,
        Some(Broken::Ended(_)) | None => Cost::Build,
    }
}

/// How many trials are left of a budget of builds.
pub fn left(budget: u32, spent: impl Iterator<Item = Cost>) -> u32 {
    let (mut builds, mut evaluations) = (budget, MOST_EVALUATIONS);
    for cost in spent {
        match cost {
            Cost::Build => builds = builds.saturating_sub(1),
            Cost::Evaluation => evaluations = evaluations.saturating_sub(1),
        }
    }
    // Nobody knows which of the two the next one costs.
    builds.min(evaluations)
}

/// The host by which an input is judged: one is enough, and that which does not even evaluate costs
/// the least.
#[must_use]
pub fn cheapest(hosts: &[(AttrPath, Broken)]) -> Option<&AttrPath> {
    let of = |(_, broken): &&(AttrPath, Broken)| match cost(Some(broken)) {
        Cost::Evaluation => 0,
        Cost::Build => 1,
    };
    hosts.iter().min_by_key(of).map(|(host, _)| host)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::domain::page::tests::{build_failure, evaluation_failure};

    type Answers = BTreeMap<usize, Outcome>;

    /// Goes on until it ends, with so many trials.
    fn bisect(count: usize, most: u32, comes: impl Fn(usize) -> Outcome) -> (Found, Answers) {
        let mut answers = Answers::new();
        loop {
            let spent = u32::try_from(answers.len()).unwrap();
            match next(count, |it| answers.get(&it).copied(), most - spent) {
                Step::Done(found) => return (found, answers),
                Step::Try(at) => {
                    assert!(at + 1 < count, "the newest is known");
                    assert_eq!(answers.insert(at, comes(at)), None, "{at} is tried twice");
                }
            }
        }
    }

    fn bad_from(first: usize) -> impl Fn(usize) -> Outcome {
        move |at| if at < first { Outcome::Passed } else { Outcome::Failed }
    }

    #[test]
    fn the_fifth_of_eight_is_found_by_three_trials() {
        let (found, answers) = bisect(8, 12, bad_from(4));
        assert_eq!((found, answers.len()), (Found { first: 4, last: 4 }, 3));
    }

    #[test]
    fn a_history_of_one_commit_needs_no_trial() {
        assert_eq!(bisect(1, 0, bad_from(0)), (Found { first: 0, last: 0 }, Answers::new()));
    }

    #[test]
    fn what_is_left_when_the_budget_is_used_up_is_told() {
        let (found, answers) = bisect(8, 1, bad_from(4));
        assert_eq!((found, answers.len()), (Found { first: 4, last: 7 }, 1));
        assert_eq!(found.count(), 4);
        assert_eq!(bisect(8, 0, bad_from(4)).0.count(), 8);
    }

    #[test]
    fn commits_of_which_nothing_is_known_are_gone_around() {
        let weather = |at| if at == 3 { Outcome::Unknown } else { bad_from(5)(at) };
        assert_eq!(bisect(8, 12, weather).0, Found { first: 5, last: 5 });
        let beside = |at| if at == 4 { Outcome::Unknown } else { bad_from(5)(at) };
        assert_eq!(bisect(8, 12, beside).0, Found { first: 4, last: 5 });
        assert_eq!(bisect(8, 12, |_| Outcome::Unknown).0, Found { first: 0, last: 7 });
    }

    #[test]
    fn builds_are_counted_against_the_budget_and_evaluations_apart() {
        let spent = [Cost::Build, Cost::Evaluation, Cost::Evaluation, Cost::Build];
        assert_eq!(left(12, spent.into_iter()), 10);
        assert_eq!(left(2, spent.into_iter()), 0);
        assert_eq!(left(12, std::iter::repeat_n(Cost::Evaluation, 39)), 1);
        assert_eq!(left(12, std::iter::repeat_n(Cost::Evaluation, 50)), 0);
    }

    #[test]
    fn the_host_that_does_not_evaluate_is_the_cheapest() {
        let host = |name: &str, broken| (AttrPath::host(name), broken);
        let builds = host("raider", Broken::Ended(build_failure()));
        let evaluates = host("viper", Broken::Ended(evaluation_failure()));
        let hosts = [builds.clone(), evaluates.clone()];
        assert_eq!(cheapest(&hosts), Some(&evaluates.0));
        assert_eq!(cheapest(&hosts[..1]), Some(&builds.0));
        assert_eq!(cheapest(&[]), None);
    }

    proptest! {
        #[test]
        fn the_first_bad_commit_is_found_in_as_many_trials_as_it_has_digits(
            count in 1..3000_usize,
            at in any::<prop::sample::Index>(),
        ) {
            let first = at.index(count);
            let (found, answers) = bisect(count, 100, bad_from(first));
            prop_assert_eq!(found, Found { first, last: first });
            let digits = usize::try_from(count.next_power_of_two().ilog2()).unwrap();
            prop_assert!(answers.len() <= digits, "{} trials of {count}", answers.len());
        }

        #[test]
        fn what_is_found_was_seen_to_be_so_whatever_the_history(
            mut history in prop::collection::vec(0..3_u8, 1..60),
            most in 0..15_u32,
        ) {
            *history.last_mut().unwrap() = 1;
            let comes = |at: usize| match history[at] {
                0 => Outcome::Passed,
                1 => Outcome::Failed,
                _ => Outcome::Unknown,
            };
            let (Found { first, last }, answers) = bisect(history.len(), most, comes);
            prop_assert!(answers.len() <= usize::try_from(most).unwrap());
            prop_assert_eq!(comes(last), Outcome::Failed);
            prop_assert!(last + 1 == history.len() || answers.contains_key(&last));
            if first > 0 {
                prop_assert_eq!(answers.get(&(first - 1)), Some(&Outcome::Passed));
            }
            let spent = u32::try_from(answers.len()).unwrap();
            let unknown = |it: usize| answers.get(&it) == Some(&Outcome::Unknown);
            let is_done = spent == most || (first..last).all(unknown);
            prop_assert!(is_done, "it ends when nothing is left to try: {answers:?}");
        }
    }
}
