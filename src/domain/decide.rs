//! A delivery, the policy and what stands become a decision. Pure: everything it needs is told.
mod groups;
mod late;
mod order;
mod people;
mod pulls;

use std::fmt;

use crate::domain::Timestamp;
use crate::domain::id::{Branch, CommitSha, DeliveryId, Login, RepositoryId, RunId};
use crate::domain::incoming::{
    Incoming, InstallationChange, Push, PushTarget, Repository, RepositoryChange,
    RepositoryStanding,
};
use crate::domain::policy::{Policy, TrustPolicy};
use crate::domain::run::{Approval, Reason, Run, Trust};
use crate::domain::verdict::Problem;

use late::{as_ours, is_gone, out_of_reach, was_superseded};
use order::Place;

pub use late::Source;
pub use order::{Step, head_at, is_tie, step};
pub use people::{Act, Again, Age, Aim, Clicked, Reaction, Seen, Tested};

/// What is known when a delivery is decided.
#[derive(Clone, Debug, Default)]
pub struct Facts<'a> {
    /// `github.owners`, in lower case.
    pub owners: &'a [String],
    /// Whether an earlier delivery had the same body: GitHub repeats a GUID, an attacker a body.
    pub replay: Replay,
    /// The policy of the pushed commit, once it was asked for.
    pub policy: PolicyFact<'a>,
    /// Who may do what, once it was asked for.
    pub trust: Option<&'a TrustFacts>,
    /// Whether GitHub told us of it or we looked ourselves.
    pub source: Source,
    pub standing: Standing,
    /// What a click or a comment is about.
    pub aim: Aim,
}

/// Whether the delivery's body came before under another GUID.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Replay {
    #[default]
    FirstSeen,
    SeenBefore,
}

/// What is known of the policy of a pushed commit.
#[derive(Clone, Copy, Debug, Default)]
pub enum PolicyFact<'a> {
    /// Nobody has asked yet.
    #[default]
    Unasked,
    Read(&'a Policy),
    /// It cannot be understood; the run's gate will say why.
    Unreadable,
}

/// What grants power, as it was a moment ago.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustFacts {
    /// `[trust]` at the tip of the default branch, never of the commit that it judges; the default
    /// where that policy cannot be read.
    pub policy: TrustPolicy,
    /// What the account that was asked about may do; nothing when none was.
    pub permission: Permission,
}

/// What an account may do in a repository, from least to most. GitHub's `maintain` is write here,
/// and `triage` is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Permission {
    /// Not even that, or nobody knows the account.
    #[default]
    None,
    Read,
    Write,
    Admin,
}

impl Permission {
    /// Whether it may change the repository, and so have its say about what is built.
    #[must_use]
    pub fn may_write(self) -> bool {
        self >= Self::Write
    }
}

/// What a decision must know that only GitHub or the repository can tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// What the policy of this commit says: [`Facts::policy`].
    Policy { repository: Repository, sha: CommitSha },
    /// What the default branch's policy grants, and what this account may do: [`Facts::trust`].
    Trust { repository: Repository, account: Option<Login> },
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Policy { sha, .. } => write!(f, "the policy of {} decides", sha.short()),
            Self::Trust { account: None, .. } => {
                write!(f, "the policy of the default branch decides")
            }
            Self::Trust { account: Some(account), .. } => {
                write!(f, "what {account} may do decides")
            }
        }
    }
}

/// The runs that matter to a delivery: those of the same repository and reason.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// The run of the same commit.
    pub same: Option<Run>,
    /// The run with the latest `occurred_at`.
    pub newest: Option<Run>,
    /// Those without a verdict or with a build that has not ended.
    pub open: Vec<Run>,
    /// Where the repository itself stands and since when, where it is known.
    pub repository: Option<(RepositoryStanding, Timestamp)>,
    /// When the branch was last deleted, or the merge group dissolved.
    pub gone: Option<Gone>,
    /// How the head moved within the second of the newest run, where its time alone does not tell.
    pub steps: Vec<Step>,
}

/// A branch or a merge group that is no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gone {
    pub repository: RepositoryId,
    pub reason: Reason,
    /// Its last head.
    pub head: CommitSha,
    pub occurred_at: Timestamp,
}

/// What is to be done about a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing; the text says why, for the delivery's record.
    Ignore(String),
    /// Only the answer to this can tell: ask and decide again.
    Ask(Question),
    Start {
        repository: Repository,
        run: NewRun,
        supersede: Vec<RunId>,
    },
    /// A superseded commit is the head again.
    Revive {
        repository: Repository,
        run: RunId,
        occurred_at: Timestamp,
        rebase: Option<Rebase>,
        supersede: Vec<RunId>,
    },
    /// A commit that keeps its run is the head again: what came in between is superseded.
    Return {
        run: RunId,
        occurred_at: Timestamp,
        rebase: Option<Rebase>,
        supersede: Vec<RunId>,
    },
    /// A branch or merge group is no more: what comes late of it starts nothing. These runs are no
    /// longer wanted.
    Gone {
        gone: Gone,
        cancel: Vec<RunId>,
        /// Follows "cancelled by", or says why nothing is.
        note: String,
    },
    /// This delivery is about an older commit, as the text says; with what it tells, that one is
    /// about the head, and is to be decided anew.
    Reconsider {
        delivery: DeliveryId,
        note: String,
    },
    /// The run's pull request has another base: it is judged anew, and builds nothing for that.
    Rejudge {
        run: RunId,
        rebase: Rebase,
        occurred_at: Timestamp,
    },
    Installation(InstallationChange),
    /// Somebody asked in a comment for an update of the default branch's lock file.
    Update {
        repository: Repository,
        by: Login,
    },
    /// What somebody asked for; a comment is acknowledged.
    Act {
        acts: Vec<Act>,
        reaction: Option<Reaction>,
    },
    /// What became of repositories, those of strangers among them as lost.
    Repositories(Vec<RepositoryChange>),
}

/// Another base than a pull request's run was judged against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rebase {
    pub base: CommitSha,
    pub branch: Option<Branch>,
}

/// A run to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRun {
    pub sha: CommitSha,
    pub reason: Reason,
    pub base: Option<CommitSha>,
    pub occurred_at: Timestamp,
    /// Of a pull request.
    pub base_branch: Option<Branch>,
    pub trust: Trust,
    pub admission: Admission,
}

/// Whether a new run may begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// At once, or once it is approved.
    Admitted(Approval),
    /// Never; its author is told why.
    Refused(Problem),
}

/// The reason whose runs are a delivery's [`Standing`], and its commit; `None` when it needs none.
pub fn subject(incoming: &Incoming) -> Option<(&Repository, Reason, &CommitSha)> {
    match incoming {
        Incoming::Push(
            Push { repository, target: PushTarget::Branch { branch, head }, .. }
            | Push {
                repository,
                target: PushTarget::DeletedBranch { branch },
                before: Some(head),
                ..
            },
        ) => Some((repository, Reason::Push(branch.clone()), head)),
        Incoming::PullRequest(pull) => {
            Some((&pull.repository, Reason::PullRequest(pull.number), &pull.head))
        }
        Incoming::MergeGroup(group) => {
            Some((&group.repository, Reason::MergeGroup(group.branch.clone()), &group.head))
        }
        Incoming::Push(_)
        | Incoming::Installation(_)
        | Incoming::Rerun(_)
        | Incoming::Press(_)
        | Incoming::Comment(_)
        | Incoming::Repositories(_)
        | Incoming::Ignored(_) => None,
    }
}

/// Decides.
pub fn decide(incoming: &Incoming, facts: &Facts<'_>) -> Decision {
    match incoming {
        Incoming::Ignored(why) => Decision::Ignore(why.clone()),
        Incoming::Installation(change) => Decision::Installation(*change),
        Incoming::Repositories(changes) => {
            let changes = changes.iter().map(|it| as_ours(it, facts.owners));
            Decision::Repositories(changes.collect())
        }
        Incoming::Push(push) => decide_push(push, facts),
        Incoming::PullRequest(pull) => pulls::decide(pull, facts),
        Incoming::MergeGroup(group) => groups::decide(group, facts),
        Incoming::Rerun(rerun) => people::rerun(rerun, facts),
        Incoming::Press(press) => people::press(press, facts),
        Incoming::Comment(comment) => people::comment(comment, facts),
    }
}

fn decide_push(push: &Push, facts: &Facts<'_>) -> Decision {
    let (branch, head) = match &push.target {
        PushTarget::Branch { branch, head } => (branch, head),
        PushTarget::DeletedBranch { branch } => {
            return deleted(push, branch, facts);
        }
        PushTarget::Tag => return Decision::Ignore("tags are not built".to_owned()),
    };
    if branch.as_str().starts_with("gh-readonly-queue/") {
        return Decision::Ignore(format!("{branch} belongs to the merge queue"));
    }
    let run = NewRun {
        sha: head.clone(),
        reason: Reason::Push(branch.clone()),
        base: push.before.clone(),
        occurred_at: push.occurred_at,
        base_branch: None,
        trust: Trust::Trusted,
        admission: Admission::Admitted(Approval::NotNeeded),
    };
    let default = &push.repository.default_branch;
    if branch != default {
        match facts.policy {
            PolicyFact::Unasked => {
                let (repository, sha) = (push.repository.clone(), head.clone());
                return match unwanted(&push.repository, &run, facts) {
                    Some(why) => Decision::Ignore(why),
                    None => Decision::Ask(Question::Policy { repository, sha }),
                };
            }
            PolicyFact::Read(policy) if !policy.builds_branch(branch, default) => {
                return Decision::Ignore(format!("branch {branch} is not in build.branches"));
            }
            PolicyFact::Read(_) | PolicyFact::Unreadable => {}
        }
    }
    start(&push.repository, run, facts)
}

/// What was pushed to a branch before it was deleted is tested to the end: its commit may be
/// another branch's head as well, under the same names.
fn deleted(push: &Push, branch: &Branch, facts: &Facts<'_>) -> Decision {
    let note = format!("branch {branch} was deleted");
    match (&push.before, refuse(&push.repository, facts)) {
        (Some(head), None) => Decision::Gone {
            gone: Gone {
                repository: push.repository.id,
                reason: Reason::Push(branch.clone()),
                head: head.clone(),
                occurred_at: push.occurred_at,
            },
            cancel: vec![],
            note,
        },
        (None | Some(_), _) => Decision::Ignore(note),
    }
}

/// Why nothing of this repository or delivery may start a run.
fn refuse(repository: &Repository, facts: &Facts<'_>) -> Option<String> {
    let replayed = (facts.replay == Replay::SeenBefore)
        .then(|| "the same body came before under another GUID".to_owned());
    unwanted_owner(repository, facts).or(replayed)
}

/// Why this run may not begin, whatever else there is.
fn unwanted(repository: &Repository, run: &NewRun, facts: &Facts<'_>) -> Option<String> {
    let standing = &facts.standing;
    refuse(repository, facts)
        .or_else(|| out_of_reach(run, standing))
        .or_else(|| is_gone(run, standing, facts.source))
}

/// Why nothing of this repository is acted on.
fn unwanted_owner(repository: &Repository, facts: &Facts<'_>) -> Option<String> {
    let owner = repository.owner.as_str().to_ascii_lowercase();
    let wanted = facts.owners.contains(&owner);
    (!wanted).then(|| format!("{} is not in github.owners", repository.owner))
}

fn start(repository: &Repository, run: NewRun, facts: &Facts<'_>) -> Decision {
    let standing = &facts.standing;
    if let Some(why) = unwanted(repository, &run, facts) {
        return Decision::Ignore(why);
    }
    match (order::place(&run, standing, facts.source), &standing.newest) {
        (Place::Head, _) | (Place::Older, None) => {}
        (Place::Older, Some(newer)) => {
            return Decision::Ignore(format!("older than {}, which stands", newer.sha.short()));
        }
        (Place::Before(Step { delivery, after, .. }), _) => {
            let note = format!("older than {}, which is the head", after.short());
            return Decision::Reconsider { delivery, note };
        }
    }
    let occurred_at = order::moment(&run, standing);
    let run = NewRun { occurred_at, ..run };
    let other = |open: &&Run| standing.same.as_ref().is_none_or(|same| same.id != open.id);
    let supersede = standing.open.iter().filter(other).map(|open| open.id.clone()).collect();
    let Some(same) = &standing.same else {
        return Decision::Start { repository: repository.clone(), run, supersede };
    };
    let rebase = pulls::rebase(&run, same);
    let id = same.id.clone();
    if was_superseded(same) {
        let repository = repository.clone();
        return Decision::Revive { repository, run: id, occurred_at, rebase, supersede };
    }
    if standing.newest.as_ref().is_some_and(|newest| newest.id != same.id) {
        return Decision::Return { run: id, occurred_at, rebase, supersede };
    }
    match rebase {
        Some(rebase) => Decision::Rejudge { run: id, rebase, occurred_at },
        None => Decision::Ignore(format!("run {id} tests this commit")),
    }
}

#[cfg(test)]
mod tests;
