//! What came of the hosts of a check.
use tokio_util::sync::CancellationToken;

use crate::domain::base::Against;
use crate::domain::build::{Build, BuildState, Required, Waiting};
use crate::domain::id::CommitSha;
use crate::domain::verdict::{self, Problem, Verdict};
use crate::flow::check::work::Work;
use crate::flow::check::{CheckReport, CheckedHost};

impl Work<'_> {
    /// What waits for a builder would not save a gate that fails without it.
    fn fails_anyway(&self) -> Option<Verdict> {
        let counts = |it: &&Build| it.required == Required::Required && stuck(it).is_none();
        let others: Vec<&Build> = self.builds.iter().filter(counts).collect();
        if others.is_empty() {
            return None;
        }
        verdict::judge(None, others, &Against::default()).filter(|it| *it != Verdict::Passed)
    }

    pub(in crate::flow) fn report(
        self,
        flake: &str,
        revision: Option<CommitSha>,
        problem: Option<&Problem>,
        stop: &CancellationToken,
    ) -> CheckReport {
        let verdict = verdict::judge(problem, &self.builds, &Against::default())
            .or_else(|| self.fails_anyway());
        let is_open = |it: &Build| it.state.ending().is_none() && stuck(it).is_none();
        let interrupted = stop.is_cancelled() && self.builds.iter().any(is_open);
        let hosts = self.builds.iter().map(|build| CheckedHost {
            attr: build.attr.clone(),
            label: self.labels.get(&build.attr).cloned().flatten(),
            required: build.required,
            system: build.state.derivation().map(|it| it.system.clone()),
            derivation: build.state.derivation().cloned(),
            ending: build.state.ending().cloned(),
            waiting: stuck(build),
            elapsed_ms: self.elapsed_ms.get(&build.attr).copied().unwrap_or_default(),
            warnings: self.warnings.get(&build.attr).cloned().unwrap_or_default(),
        });
        CheckReport {
            flake: flake.to_owned(),
            revision,
            verdict,
            hosts: hosts.collect(),
            interrupted,
        }
    }
}

/// What a build waits for in vain.
fn stuck(build: &Build) -> Option<Waiting> {
    let BuildState::Waiting { for_what, .. } = &build.state else { return None };
    match for_what {
        Waiting::NoBuilder { .. } | Waiting::NoFeatures { .. } => Some(for_what.clone()),
        Waiting::Slot | Waiting::Retry { .. } => None,
    }
}
