//! What a run says about the inputs that had moved in it.
use std::collections::{BTreeMap, BTreeSet};

use crate::domain::build::{Build, Ending};
use crate::domain::id::AttrPath;
use crate::domain::run::{Run, RunState};
use crate::domain::update::outcome::Broken;
use crate::domain::update::search::Outcome;
use crate::domain::verdict::{Problem, Verdict};

/// What must be well of a host for an input to move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// It builds.
    Built,
    /// It evaluates; what becomes of its build is shown and decides nothing.
    Evaluated,
}

/// What an ending says.
#[must_use]
pub fn outcome(ending: &Ending, wanted: Wanted) -> Outcome {
    match ending {
        Ending::Reused | Ending::Built { .. } => Outcome::Passed,
        Ending::EvaluationFailed(_) => Outcome::Failed,
        Ending::BuildFailed(_) | Ending::TimedOut(_) => match wanted {
            Wanted::Built => Outcome::Failed,
            Wanted::Evaluated => Outcome::Passed,
        },
        Ending::Superseded { .. }
        | Ending::Cancelled { .. }
        | Ending::Skipped { .. }
        | Ending::Transient { .. }
        | Ending::Internal { .. } => Outcome::Unknown,
    }
}

/// What a run that has ended says of these hosts, and why one is not whole.
pub fn of_run(
    run: &Run,
    builds: &[Build],
    hosts: &BTreeSet<AttrPath>,
    wanted: Wanted,
) -> BTreeMap<AttrPath, (Outcome, Option<Broken>)> {
    let of = |host: &AttrPath| {
        let Some(build) = builds.iter().find(|it| it.attr == *host) else {
            return absent(run, builds);
        };
        match build.state.ending() {
            None => (Outcome::Unknown, Some(Broken::Said("it was not done".to_owned()))),
            Some(ending) => {
                let outcome = outcome(ending, wanted);
                (outcome, (outcome != Outcome::Passed).then(|| Broken::Ended(ending.clone())))
            }
        }
    };
    hosts.iter().map(|host| (host.clone(), of(host))).collect()
}

/// Of a host that the run does not have. A run that lists none at all says why, and it is so for each.
fn absent(run: &Run, builds: &[Build]) -> (Outcome, Option<Broken>) {
    match (&run.state, builds) {
        (RunState::Ended { verdict: Verdict::Broken { problem }, .. }, []) => {
            let Problem { headline, .. } = problem;
            (Outcome::Failed, Some(Broken::Said(headline.clone())))
        }
        (
            RunState::Ended {
                verdict:
                    Verdict::Passed | Verdict::Failed | Verdict::TimedOut | Verdict::Broken { .. },
                ..
            },
            _,
        ) => (Outcome::Failed, Some(Broken::Said("the flake has it no more".to_owned()))),
        (
            RunState::Ended {
                verdict:
                    Verdict::Superseded { .. } | Verdict::Cancelled { .. } | Verdict::Skipped { .. },
                ..
            }
            | RunState::AwaitingApproval
            | RunState::Requested
            | RunState::Evaluating { .. }
            | RunState::Building { .. },
            _,
        ) => (Outcome::Unknown, Some(Broken::Said("its run was stopped".to_owned()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::page::BuildView;
    use crate::domain::page::tests::{build_failure, ended, evaluation_failure, over};

    fn raider() -> AttrPath {
        AttrPath::host("raider")
    }

    /// What a run that has ended so says of the host.
    fn said(verdict: Verdict, builds: Vec<BuildView>, wanted: Wanted) -> (Outcome, Option<Broken>) {
        let view = over(verdict, builds);
        let builds: Vec<Build> = view.builds.into_iter().map(|it| it.build).collect();
        let hosts = BTreeSet::from([raider()]);
        of_run(&view.run, &builds, &hosts, wanted).remove(&raider()).unwrap()
    }

    #[test]
    fn a_host_is_judged_by_its_ending_and_by_what_is_wanted() {
        let weather = Ending::Transient { what: "x".into() };
        for (ending, built, evaluated) in [
            (Ending::Reused, Outcome::Passed, Outcome::Passed),
            (build_failure(), Outcome::Failed, Outcome::Passed),
            (evaluation_failure(), Outcome::Failed, Outcome::Failed),
            (weather, Outcome::Unknown, Outcome::Unknown),
        ] {
            let said =
                |wanted| said(Verdict::Failed, vec![ended("raider", ending.clone())], wanted);
            let broken = (built != Outcome::Passed).then(|| Broken::Ended(ending.clone()));
            assert_eq!(said(Wanted::Built), (built, broken));
            assert_eq!(said(Wanted::Evaluated).0, evaluated, "{ending:?}");
        }
    }

    #[test]
    fn a_host_that_is_no_more_fails_and_one_of_a_run_that_was_stopped_is_unknown() {
        let others = vec![ended("viper", Ending::Reused)];
        let (outcome, broken) = said(Verdict::Passed, others, Wanted::Built);
        assert_eq!(outcome, Outcome::Failed);
        assert_eq!(broken.unwrap().headline(), "the flake has it no more");
        let problem = Problem { headline: "no host".into(), detail: String::new(), place: None };
        let (outcome, broken) = said(Verdict::Broken { problem }, vec![], Wanted::Evaluated);
        assert_eq!((outcome, &*broken.unwrap().headline()), (Outcome::Failed, "no host"));
        let stopped = Verdict::Cancelled { by: "starbuck".into() };
        assert_eq!(said(stopped, vec![], Wanted::Built).0, Outcome::Unknown);
    }
}
