//! Pull requests, and whether a fork's may be built.
use crate::domain::decide::{
    Admission, Decision, Facts, NewRun, Question, Rebase, Standing, TrustFacts, start,
};
use crate::domain::incoming::{Origin, PullRequest};
use crate::domain::policy::{Approvals, Forks, TrustPolicy};
use crate::domain::run::{Approval, Reason, Run, Trust};
use crate::domain::verdict::Problem;

pub(super) fn decide(pull: &PullRequest, facts: &Facts<'_>) -> Decision {
    let run = NewRun {
        sha: pull.head.clone(),
        reason: Reason::PullRequest(pull.number),
        base: Some(pull.base.clone()),
        occurred_at: pull.occurred_at,
        base_branch: Some(pull.base_branch.clone()),
        trust: match pull.origin {
            Origin::SameRepository => Trust::Trusted,
            Origin::Fork => Trust::Untrusted,
        },
        admission: Admission::Admitted(Approval::NotNeeded),
    };
    match (pull.origin, start(&pull.repository, run, facts)) {
        (Origin::Fork, Decision::Start { repository, run, supersede }) => {
            let Some(trust) = facts.trust else {
                let account = pull.pusher.clone();
                return Decision::Ask(Question::Trust { repository, account });
            };
            let run = NewRun { admission: admission(trust, &facts.standing), ..run };
            Decision::Start { repository, run, supersede }
        }
        (_, decision) => decision,
    }
}

/// Whether a fork's new commit may be built, by the default branch's policy and by what whoever
/// pushed it may do.
fn admission(trust: &TrustFacts, standing: &Standing) -> Admission {
    let TrustFacts { policy: TrustPolicy { forks, approvals, .. }, permission } = trust;
    let before = standing.newest.as_ref().map(|it| &it.approval);
    match (forks, approvals, before) {
        (Forks::Never, ..) => Admission::Refused(Problem {
            headline: "pull requests from forks are not built here".to_owned(),
            detail: "The default branch's fleetcheck.toml says forks = \"never\". A person with \
                     write access to this repository can push the commit to a branch of it and \
                     open a pull request from there."
                .to_owned(),
            place: None,
        }),
        _ if permission.may_write() => Admission::Admitted(Approval::NotNeeded),
        (Forks::Build, ..) => Admission::Admitted(Approval::NotNeeded),
        (Forks::Approve, Approvals::Sticky, Some(Approval::Given { by })) => {
            Admission::Admitted(Approval::Given { by: by.clone() })
        }
        (Forks::Approve, ..) => Admission::Admitted(Approval::Needed),
    }
}

/// Only a pull request's base says by what it is judged (see [`Run::base`]).
pub(super) fn rebase(new: &NewRun, same: &Run) -> Option<Rebase> {
    let (Reason::PullRequest(_), Some(base)) = (&new.reason, &new.base) else { return None };
    let differs = (Some(base), &new.base_branch) != (same.base.as_ref(), &same.base_branch);
    differs.then(|| Rebase { base: base.clone(), branch: new.base_branch.clone() })
}
