//! A run's verdict from its builds'. The gate fails closed: whatever is not known to be good is not.
use serde::{Deserialize, Serialize};

use crate::domain::base::Against;
use crate::domain::build::{Build, Ending, Required};
use crate::domain::id::CommitSha;

/// GitHub's `conclusion` of a check run, of those we use; declared from best to worst, so that the
/// worst of many is their maximum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Conclusion {
    Success,
    Skipped,
    Cancelled,
    ActionRequired,
    TimedOut,
    Failure,
}

impl Conclusion {
    /// GitHub's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Skipped => "skipped",
            Self::Cancelled => "cancelled",
            Self::ActionRequired => "action_required",
            Self::TimedOut => "timed_out",
            Self::Failure => "failure",
        }
    }
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// Every required host builds, and there is at least one host.
    Passed,
    /// At least one required host does not.
    Failed,
    /// The worst that happened to a required host is a time limit.
    TimedOut,
    /// Nothing could be judged; the text, for the author, says why and what to do.
    Broken { problem: Problem },
    /// A newer commit of the same branch or pull request took its place.
    Superseded { by: CommitSha },
    /// Somebody stopped it.
    Cancelled {
        /// A login, or what it was, in words that follow "cancelled by".
        by: String,
    },
    /// Its commit asks not to be built.
    Skipped {
        /// The words that ask for it: `[skip ci]`.
        by: String,
    },
}

/// Why a run as a whole could not be judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// One line: `fleetcheck.toml line 3: unknown key "requird"`.
    pub headline: String,
    /// More, as plain text: Nix's trace, what to do.
    pub detail: String,
    /// Where in the repository, for an annotation.
    pub place: Option<crate::domain::build::SourcePlace>,
}

impl Verdict {
    /// The gate's conclusion.
    #[must_use]
    pub fn conclusion(&self) -> Conclusion {
        match self {
            Self::Passed => Conclusion::Success,
            Self::Failed | Self::Broken { .. } => Conclusion::Failure,
            Self::TimedOut => Conclusion::TimedOut,
            Self::Superseded { .. } | Self::Cancelled { .. } => Conclusion::Cancelled,
            Self::Skipped { .. } => Conclusion::Skipped,
        }
    }
}

/// A build's own conclusion.
#[must_use]
pub fn conclusion(ending: &Ending) -> Conclusion {
    match ending {
        Ending::Reused | Ending::Built { .. } => Conclusion::Success,
        Ending::Superseded { .. } | Ending::Cancelled { .. } => Conclusion::Cancelled,
        Ending::Skipped { .. } => Conclusion::Skipped,
        Ending::TimedOut(_) => Conclusion::TimedOut,
        Ending::EvaluationFailed(_)
        | Ending::BuildFailed(_)
        | Ending::Transient { .. }
        | Ending::Internal { .. } => Conclusion::Failure,
    }
}

/// The verdict of a run whose hosts are all listed and evaluated; `None` while a required host is
/// open, or any host when none is required.
///
/// Optional hosts may still be building when the verdict falls: the gate does not wait for them.
///
/// A `problem` of the run as a whole (no host, a required one that vanished) decides at once.
///
/// A failure that `against` excuses (`gate.existing_failures = "ignore"`, and the base commit fails
/// there too) does not fail the gate. While the base commit is being tested it is not known
/// whether it does: then there is no verdict, unless another host fails the gate anyway. Nothing
/// is excused that is not known to have failed before.
#[must_use]
pub fn judge<'b>(
    problem: Option<&Problem>,
    builds: impl IntoIterator<Item = &'b Build>,
    against: &Against,
) -> Option<Verdict> {
    if let Some(problem) = problem {
        return Some(Verdict::Broken { problem: problem.clone() });
    }
    let required: Vec<&Build> =
        builds.into_iter().filter(|it| it.required == Required::Required).collect();
    if required.is_empty() {
        // The plan refuses a run without a required host before it gets here.
        return Some(Verdict::Failed);
    }
    let mut worst: Option<&Ending> = None;
    let mut undecided = false;
    for build in required {
        let ending = build.state.ending()?;
        if ending.is_good() {
            continue;
        }
        match against.blocks(&build.attr, ending) {
            Some(true) if worst.is_none_or(|it| conclusion(it) < conclusion(ending)) => {
                worst = Some(ending);
            }
            Some(true | false) => {}
            None => undecided = true,
        }
    }
    let Some(worst) = worst else { return (!undecided).then_some(Verdict::Passed) };
    Some(match (conclusion(worst), worst) {
        (Conclusion::TimedOut, _) => Verdict::TimedOut,
        // Of a run that was stopped, one host alone may have been tested again since.
        (Conclusion::Cancelled, Ending::Superseded { by }) => {
            Verdict::Superseded { by: by.clone() }
        }
        (Conclusion::Cancelled, Ending::Cancelled { by }) => Verdict::Cancelled { by: by.clone() },
        // A run whose hosts are skipped ends as a whole: one that gets here lacks a host.
        (
            Conclusion::Success
            | Conclusion::Skipped
            | Conclusion::Cancelled
            | Conclusion::ActionRequired
            | Conclusion::Failure,
            _,
        ) => Verdict::Failed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Timestamp;
    use crate::domain::base::{Answer, Base, BaseHost, ExistingFailures, Tested};
    use crate::domain::build::{BuildState, EvaluationFailure, Rebuild, TimedOut};
    use crate::domain::id::AttrPath;

    fn build(required: Required, state: BuildState) -> Build {
        Build {
            id: "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap(),
            run: "01890a5d-ac96-774b-bcce-b302099a8058".parse().unwrap(),
            attr: AttrPath::host("raider"),
            required,
            attempts: 1,
            rebuild: Rebuild::IfMissing,
            state,
        }
    }

    fn ended(required: Required, ending: Ending) -> Build {
        build(required, BuildState::Ended { derivation: None, ending, at: Timestamp(1) })
    }

    fn failed_by_weather() -> Ending {
        Ending::Transient { what: "the builder is gone".into() }
    }

    #[test]
    fn a_run_without_hosts_never_passes() {
        assert_eq!(judge(None, &[], &Against::default()), Some(Verdict::Failed));
    }

    #[test]
    fn one_failed_required_host_fails_the_gate() {
        let builds = [
            ended(Required::Required, Ending::Reused),
            ended(Required::Required, failed_by_weather()),
        ];
        assert_eq!(judge(None, &builds, &Against::default()), Some(Verdict::Failed));
    }

    #[test]
    fn an_optional_host_neither_fails_nor_holds_up_the_gate() {
        let builds = [
            ended(Required::Required, Ending::Built { seconds: 2, without: vec![] }),
            ended(Required::Optional, failed_by_weather()),
            build(Required::Optional, BuildState::Listed { known: None }),
        ];
        assert_eq!(judge(None, &builds, &Against::default()), Some(Verdict::Passed));
    }

    #[test]
    fn the_gate_waits_for_every_required_host() {
        let builds = [
            ended(Required::Required, failed_by_weather()),
            build(Required::Required, BuildState::Listed { known: None }),
        ];
        assert_eq!(judge(None, &builds, &Against::default()), None);
    }

    #[test]
    fn a_problem_of_the_whole_run_fails_it_whatever_the_hosts_do() {
        let problem =
            Problem { headline: "raider vanished".into(), detail: String::new(), place: None };
        let verdict = judge(
            Some(&problem),
            &[ended(Required::Required, Ending::Reused)],
            &Against::default(),
        )
        .unwrap();
        assert_eq!(verdict.conclusion(), Conclusion::Failure);
    }

    #[test]
    fn what_was_stopped_is_not_called_a_failure() {
        let stopped = Ending::Cancelled { by: "starbuck".into() };
        let both = [ended(Required::Required, Ending::Reused), ended(Required::Required, stopped)];
        assert_eq!(
            judge(None, &both, &Against::default()),
            Some(Verdict::Cancelled { by: "starbuck".into() })
        );
        let with_failure = [both[1].clone(), ended(Required::Required, failed_by_weather())];
        assert_eq!(judge(None, &with_failure, &Against::default()), Some(Verdict::Failed));
    }

    #[test]
    fn a_time_limit_is_said_as_such_unless_something_failed() {
        let late = Ending::TimedOut(TimedOut {
            setting: "nix.build_timeout".into(),
            seconds: 7200,
            derivation: None,
            log_tail: vec![],
        });
        assert_eq!(
            judge(None, &[ended(Required::Required, late.clone())], &Against::default()),
            Some(Verdict::TimedOut)
        );
        let both =
            [ended(Required::Required, late), ended(Required::Required, failed_by_weather())];
        assert_eq!(judge(None, &both, &Against::default()), Some(Verdict::Failed));
    }

    fn red() -> Ending {
        Ending::EvaluationFailed(EvaluationFailure {
            headline: "gone".into(),
            trace: String::new(),
            place: None,
            limit: None,
        })
    }

    fn against(existing: ExistingFailures, tested: Tested, answer: Option<Answer>) -> Against {
        let sha = "0123456789abcdef0123456789abcdef01234567".parse().unwrap();
        let host =
            |answer| (AttrPath::host("raider"), BaseHost { required: Required::Required, answer });
        let other = (
            AttrPath::host("viper"),
            BaseHost { required: Required::Required, answer: Answer::Good },
        );
        let hosts = answer.map(host).into_iter().chain((tested == Tested::Whole).then_some(other));
        Against { existing, base: Some(Base { sha, tested, hosts: hosts.collect() }) }
    }

    #[test]
    fn only_what_is_known_to_have_failed_before_is_excused_and_only_where_that_is_wanted() {
        use ExistingFailures::{Fail, Ignore};
        let failed = Some(Verdict::Failed);
        for (existing, tested, answer, ending, verdict) in [
            (Ignore, Tested::Whole, Some(Answer::Red), red(), Some(Verdict::Passed)),
            (Fail, Tested::Whole, Some(Answer::Red), red(), failed.clone()),
            // Newly broken, or new and broken.
            (Ignore, Tested::Whole, Some(Answer::Good), red(), failed.clone()),
            (Ignore, Tested::Whole, None, red(), failed.clone()),
            // The base commit says nothing.
            (Ignore, Tested::Whole, Some(Answer::Unknown), red(), failed.clone()),
            (Ignore, Tested::Partly, None, red(), failed.clone()),
            (Ignore, Tested::Not, None, red(), failed.clone()),
            // Weather is no answer: it is not known that this host fails again.
            (Ignore, Tested::Whole, Some(Answer::Red), failed_by_weather(), failed.clone()),
            // It will say something.
            (Ignore, Tested::Running, None, red(), None),
            (Ignore, Tested::Running, Some(Answer::Open), red(), None),
            (Fail, Tested::Running, None, red(), failed.clone()),
        ] {
            let against = against(existing, tested, answer);
            let builds = [ended(Required::Required, ending)];
            assert_eq!(judge(None, &builds, &against), verdict, "{against:?}");
        }
    }

    #[test]
    fn the_gate_does_not_wait_for_the_base_commit_when_something_else_fails_it() {
        let against = against(ExistingFailures::Ignore, Tested::Running, None);
        let builds =
            [ended(Required::Required, red()), ended(Required::Required, failed_by_weather())];
        assert_eq!(judge(None, &builds, &against), Some(Verdict::Failed));
        assert_eq!(judge(None, &[], &against), Some(Verdict::Failed), "no host is excused");
    }
}
