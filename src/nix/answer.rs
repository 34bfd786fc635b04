//! What an operation said of a derivation becomes the ending of its attempt.
use std::collections::HashMap;
use std::time::Duration;

use crate::domain::build::{Attempted, BuildFailure, Ending, TimedOut};
use crate::domain::id::DrvPath;
use crate::nix::reason::{self, Kind, Reason};
use crate::nix::redact::clean_text;
use crate::nix::transcript::Transcript;
use crate::nix::worker::{BuildLimits, BuildResult, Status, Worker};

/// Turns results into answers.
pub(crate) struct Answers<'a, 't> {
    pub(crate) transcript: &'a Transcript<'t>,
    pub(crate) limits: &'a BuildLimits,
    /// Every derivation that is known to have failed in this operation, and why.
    pub(crate) failures: HashMap<DrvPath, Reason>,
}

impl Answers<'_, '_> {
    /// The answer for one derivation. The worker is asked what depends on what.
    pub(crate) async fn answer(
        &self,
        worker: &mut Worker,
        drv: &DrvPath,
        result: &BuildResult,
    ) -> Attempted {
        match result.status {
            Status::Built | Status::Substituted => {
                let seconds = self.ran(drv).map_or(result.seconds, |it| it.as_secs());
                Attempted::Answered(Ending::Built { seconds, without: vec![] })
            }
            // Another operation of this attempt may have built it before the batch was split.
            Status::AlreadyValid | Status::ResolvesToAlreadyValid => {
                let built = |it: Duration| Ending::Built { seconds: it.as_secs(), without: vec![] };
                Attempted::Answered(self.ran(drv).map_or(Ending::Reused, built))
            }
            Status::TimedOut
            | Status::DependencyFailed
            | Status::PermanentFailure
            | Status::InputRejected
            | Status::OutputRejected
            | Status::CachedFailure
            | Status::LogLimitExceeded
            | Status::NotDeterministic
            | Status::HashMismatch
            | Status::TransientFailure
            | Status::MiscFailure
            | Status::NoSubstituters
            | Status::Cancelled
            | Status::Unknown(_) => {
                let reason = reason::of(result);
                match reason.kind {
                    Kind::Dependency => self.dependency_failed(worker, drv).await,
                    Kind::Failed | Kind::Exited | Kind::TimedOut | Kind::Weather | Kind::Other => {
                        self.told(drv, &reason).await
                    }
                }
            }
        }
    }

    /// The ending of the derivation that the reason is about.
    async fn told(&self, drv: &DrvPath, reason: &Reason) -> Attempted {
        match reason.kind {
            Kind::Failed => self.failed(drv, reason),
            Kind::Exited => self.exited(drv, reason).await,
            Kind::TimedOut => self.timed_out(drv, reason),
            Kind::Weather | Kind::Dependency | Kind::Other => weather(drv, reason),
        }
    }

    /// What a fixed-output derivation prints is believed where it tells of a download that did
    /// not come, and nowhere else: Nix says no more than that its builder failed, be it for a dead
    /// mirror or for a patch that does not apply. Who prints it for no reason gains a few attempts
    /// and the words that it could not be downloaded.
    async fn exited(&self, drv: &DrvPath, reason: &Reason) -> Attempted {
        let words = reason::download(&self.transcript.tail(drv));
        match words {
            Some(words) if is_fixed_output(drv).await => {
                Attempted::Weather(clean_text(format!("{}: {words}", drv.name())))
            }
            Some(_) | None => self.failed(drv, reason),
        }
    }

    /// Nix before 2.27 or so ends a whole operation for a derivation of another system; by itself
    /// it is told apart.
    pub(crate) fn refused(&self, drv: &DrvPath, words: &str) -> Attempted {
        let reason = reason::read(words);
        match reason.kind {
            Kind::Failed | Kind::Exited => {
                self.failed(&reason.drv.clone().unwrap_or(drv.clone()), &reason)
            }
            Kind::TimedOut | Kind::Dependency | Kind::Weather | Kind::Other => {
                weather(drv, &reason)
            }
        }
    }

    async fn dependency_failed(&self, worker: &mut Worker, drv: &DrvPath) -> Attempted {
        let Some((culprit, reason)) = self.culprit(worker, drv).await else {
            let last = self.transcript.unnamed().last().map(|it| it.headline.as_str());
            let words = last.unwrap_or("Nix did not say which, or why");
            return Attempted::Weather(clean_text(format!("a dependency failed: {words}")));
        };
        self.told(&culprit, reason).await
    }

    /// The failed derivation that this one needs, perhaps through others that failed for it.
    async fn culprit(&self, worker: &mut Worker, drv: &DrvPath) -> Option<(DrvPath, &Reason)> {
        let mut open = vec![drv.clone()];
        let mut seen = 0;
        while let Some(at) = open.pop() {
            let Ok(references) = worker.references(&at).await else { break };
            let drvs = references.iter().filter_map(|it| it.parse::<DrvPath>().ok());
            for next in drvs.filter(|it| *it != at) {
                match self.failures.get(&next) {
                    Some(reason) if reason.kind != Kind::Dependency => return Some((next, reason)),
                    Some(_) if seen < 10_000 => open.push(next),
                    Some(_) | None => {}
                }
                seen += 1;
            }
        }
        None
    }

    fn failed(&self, drv: &DrvPath, reason: &Reason) -> Attempted {
        let known = !reason.headline.is_empty();
        let headline = if known { reason.headline.clone() } else { "the build failed".to_owned() };
        Attempted::Answered(Ending::BuildFailed(BuildFailure {
            derivation: drv.clone(),
            headline: clean_text(headline),
            log_tail: self.transcript.tail(drv),
            before: None,
        }))
    }

    pub(crate) fn timed_out(&self, drv: &DrvPath, reason: &Reason) -> Attempted {
        let (timeout, silence) = (self.limits.timeout.as_secs(), self.limits.silence.as_secs());
        let said = |seconds: u64| reason.headline.contains(&format!("after {seconds} seconds"));
        // From 2.27 or so on Nix does not say which of the two it was.
        let silent = if reason.headline.ends_with("of silence") {
            true
        } else if timeout != silence && (said(timeout) || said(silence)) {
            said(silence)
        } else {
            let slack = Duration::from_millis(500);
            self.transcript.ended(drv).is_some_and(|it| it.quiet + slack >= self.limits.silence)
        };
        let (setting, seconds) =
            if silent { ("nix.silence_timeout", silence) } else { ("nix.build_timeout", timeout) };
        Attempted::Answered(Ending::TimedOut(TimedOut {
            setting: setting.to_owned(),
            seconds,
            derivation: Some(drv.clone()),
            log_tail: self.transcript.tail(drv),
        }))
    }

    fn ran(&self, drv: &DrvPath) -> Option<Duration> {
        self.transcript.ended(drv).map(|it| it.ran)
    }
}

fn weather(drv: &DrvPath, reason: &Reason) -> Attempted {
    let what = if reason.headline.is_empty() { "Nix gave no reason" } else { &reason.headline };
    Attempted::Weather(clean_text(format!("{}: {what}", drv.name())))
}

/// Whether what it makes is given by its hash: those may use the network. The derivation's file
/// begins with its outputs, each a name, a path, an algorithm and a hash; only the last two are
/// empty or not.
async fn is_fixed_output(drv: &DrvPath) -> bool {
    let Ok(bytes) = tokio::fs::read(drv.as_str()).await else { return false };
    let beginning = String::from_utf8_lossy(&bytes[..bytes.len().min(1024)]).into_owned();
    let mut strings = beginning.split('"').skip(1).step_by(2);
    strings.nth(3).is_some_and(|hash| !hash.is_empty())
}
