//! What GitHub told us, in our words. The `github` layer makes these from the wire; nothing else
//! knows the wire.
use crate::domain::Timestamp;
use crate::domain::button::Button;
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
    Rerun(Rerun),
    Press(Press),
    Comment(Comment),
    /// Repositories got another name, owner or visibility, or came into reach or went out of it.
    Repositories(Vec<RepositoryChange>),
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
    /// The head before, where it was pushed to.
    pub before: Option<CommitSha>,
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

/// What became of a repository; it matters where the repository is known here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepositoryChange {
    pub id: RepositoryId,
    /// Through which GitHub told us.
    pub installation: InstallationId,
    /// GitHub's time of it, where what it sent has one.
    pub occurred_at: Option<Timestamp>,
    pub now: RepositoryNow,
}

/// Where a repository is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RepositoryNow {
    /// In reach of the installation that told us.
    Here(RepositoryFacts),
    /// Read only: GitHub takes no check for it.
    Archived(RepositoryFacts),
    /// No longer in reach of the installation that told us.
    Removed,
    /// Deleted, or another account's: in reach of nobody.
    Lost,
}

/// What a repository is called, and who may see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepositoryFacts {
    pub owner: Owner,
    pub name: RepositoryName,
    pub visibility: Visibility,
    /// Where what GitHub sent says it.
    pub default_branch: Option<Branch>,
}

/// Whether GitHub lets us act in a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RepositoryStanding {
    Active,
    /// Read only; its owner may bring it back.
    Archived,
    /// Out of reach.
    Gone,
}

/// A check of ours, as GitHub names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckRef {
    /// What we gave it when it was created: `REPORT:SERIAL`.
    pub external_id: String,
    pub name: String,
}

/// Somebody pressed Re-run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rerun {
    pub repository: Repository,
    pub sha: CommitSha,
    pub of: RerunOf,
}

/// What is to be run again. "Re-run all" and "re-run failed" cannot be told apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RerunOf {
    Check(CheckRef),
    /// All checks of the commit; GitHub's time of the press.
    Suite {
        at: Timestamp,
    },
}

/// Somebody pressed a button of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Press {
    pub repository: Repository,
    pub sha: CommitSha,
    pub check: CheckRef,
    pub button: Button,
    pub by: Login,
}

/// A comment that is a command to us, on a pull request; one that is about no pull request may also
/// be on an issue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comment {
    pub repository: Repository,
    /// GitHub's id of the comment.
    pub id: i64,
    /// The pull request's, or the issue's.
    pub number: i64,
    pub by: Login,
    pub command: Command,
}

/// What the first line of a comment orders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// `/fleetcheck rerun [HOST]`
    Rerun { host: Option<String> },
    /// `/fleetcheck cancel`
    Cancel,
    /// `/fleetcheck approve SHA`: at least seven digits of the commit that is meant.
    Approve { sha: String },
    /// `/fleetcheck update`: the default branch's lock file.
    Update,
}

impl Command {
    /// Whether it is about the pull request that it is on.
    #[must_use]
    pub fn is_of_pull_request(&self) -> bool {
        match self {
            Self::Rerun { .. } | Self::Cancel | Self::Approve { .. } => true,
            Self::Update => false,
        }
    }

    /// What a comment's text orders; `None` when its first line is not exactly a command.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let line = text.lines().next()?;
        let words: Vec<&str> = line.strip_prefix("/fleetcheck ")?.trim_end().split(' ').collect();
        match words.as_slice() {
            ["rerun"] => Some(Self::Rerun { host: None }),
            ["rerun", host] if !host.is_empty() => {
                Some(Self::Rerun { host: Some((*host).to_owned()) })
            }
            ["cancel"] => Some(Self::Cancel),
            ["update"] => Some(Self::Update),
            ["approve", sha] if is_commit(sha) => Some(Self::Approve { sha: (*sha).to_owned() }),
            _ => None,
        }
    }
}

fn is_commit(text: &str) -> bool {
    (7..=40).contains(&text.len()) && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_first_line_that_is_exactly_a_command_is_one() {
        let approve = |sha: &str| Some(Command::Approve { sha: sha.into() });
        let host = |it: &str| Some(Command::Rerun { host: Some(it.into()) });
        for (text, command) in [
            ("/fleetcheck rerun", Some(Command::Rerun { host: None })),
            ("/fleetcheck rerun \r\nplease", Some(Command::Rerun { host: None })),
            ("/fleetcheck rerun raider", host("raider")),
            ("/fleetcheck cancel\n", Some(Command::Cancel)),
            ("/fleetcheck update", Some(Command::Update)),
            ("/fleetcheck update nixpkgs", None),
            ("/fleetcheck approve 0123abc", approve("0123abc")),
            ("/fleetcheck approve 0123ab", None),
            ("/fleetcheck approve 0123abz", None),
            ("/fleetcheck approve", None),
            ("/fleetcheck  cancel", None),
            (" /fleetcheck cancel", None),
            ("> /fleetcheck cancel", None),
            ("please\n/fleetcheck cancel", None),
            ("/fleetcheck cancel now", None),
            ("/fleetcheckcancel", None),
            ("/Fleetcheck cancel", None),
            ("", None),
        ] {
            assert_eq!(Command::read(text), command, "{text:?}");
        }
    }
}
