//! What GitHub told us, in our words. The `github` layer makes these from the wire; nothing else
//! knows the wire.
use crate::domain::Timestamp;
use crate::domain::id::{
    Branch, CommitSha, InstallationId, Login, NodeId, Owner, RepositoryId, RepositoryName,
};

/// A repository as a delivery described it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    pub id: RepositoryId,
    /// Its name in the GraphQL API, where GitHub told it.
    pub node_id: Option<NodeId>,
    pub owner: Owner,
    pub name: RepositoryName,
    pub default_branch: Branch,
    pub visibility: Visibility,
    /// The installation through which GitHub told us, and through which we answer.
    pub installation: InstallationId,
}

/// Who may see a repository, and therefore its pages here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visibility {
    Public,
    /// Private or internal.
    Private,
}

/// One delivery that may change something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    Push(Push),
    PullRequest(PullRequest),
    MergeGroup(MergeGroup),
    Installation(InstallationChange),
    /// Understood, and nothing to do; the text says why, for the delivery's record.
    Ignored(String),
}

/// A branch or tag moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    pub repository: Repository,
    pub target: PushTarget,
    /// The commit before, where there was one.
    pub before: Option<CommitSha>,
    /// GitHub's time of the push: orders the pushes of a branch, since deliveries come in any order.
    pub occurred_at: Timestamp,
}

/// What a push moved, and to where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PushTarget {
    Branch { branch: Branch, head: CommitSha },
    DeletedBranch { branch: Branch },
    Tag,
}

/// A pull request was opened, reopened, pushed to, or its base was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullRequest {
    pub repository: Repository,
    pub number: i64,
    pub head: CommitSha,
    pub base: CommitSha,
    pub base_branch: Branch,
    pub origin: Origin,
    /// Who pushed the head, or opened the pull request with it; `None` when something else
    /// happened to it.
    pub pusher: Option<Login>,
    /// GitHub's `updated_at`: orders the states of a pull request.
    pub occurred_at: Timestamp,
}

/// Where a pull request's commits live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A branch of the same repository: whoever pushed it has write access.
    SameRepository,
    /// A fork, or a fork that is gone.
    Fork,
}

/// A merge queue tests some pull requests together, or no longer does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MergeGroup {
    pub repository: Repository,
    /// `gh-readonly-queue/main/pr-7-…`: a branch of the group's own, which comes and goes with it.
    pub branch: Branch,
    /// The base with the group's pull requests merged into it.
    pub head: CommitSha,
    pub base: CommitSha,
    pub change: GroupChange,
    /// When the head was made.
    pub occurred_at: Timestamp,
}

/// What happened to a merge group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupChange {
    /// Its head is to be tested.
    ChecksRequested,
    /// It is gone; the text is GitHub's word for why: `merged`, `invalidated`, `dequeued`.
    Destroyed { reason: String },
}

/// The App's installation in an account changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InstallationChange {
    pub installation: InstallationId,
    pub standing: InstallationStanding,
}

/// Whether GitHub lets us act through an installation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstallationStanding {
    Active,
    Suspended,
    Deleted,
}
