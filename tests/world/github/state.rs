//! What this GitHub knows.
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use serde_json::Value;

use super::APP_ID;
use super::checks::{Run, Status};
use super::issues::{Issue, Note};
use super::limits::{Limits, Spent};
use super::pulls::Pull;
use super::recover::Between;
use super::second::Second;
use super::updates::Settings;

/// What can be asked of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    App,
    Installations,
    MintToken,
    Repository,
    CreateCheck,
    UpdateCheck,
    GetCheck,
    ListChecks,
    SetStatus,
    Deliveries,
    Redeliver,
    Repositories,
    Pulls,
    Branches,
    Permission,
    /// A GraphQL request about check runs as a whole.
    Graphql,
    /// One alias of a GraphQL request; only [`Fault::Status`] can happen to it.
    GraphqlAlias,
    React,
    RepositoryInstallation,
    GetRef,
    CreateRef,
    UpdateRef,
    DeleteRef,
    Compare,
    GetPull,
    CreatePull,
    EditPull,
    PullFiles,
    MergePull,
    RequestReviewers,
    ListIssues,
    CreateIssue,
    EditIssue,
    AddLabels,
    CreateComment,
    /// GraphQL requests with `createCommitOnBranch`.
    CreateCommit,
    /// GraphQL requests with `updateRefs`.
    UpdateRefs,
    /// GraphQL requests with `enablePullRequestAutoMerge`.
    EnableAutoMerge,
    Git,
    /// Anything else: 404.
    Unknown,
}

/// What goes wrong with a call.
#[derive(Clone, Debug)]
pub enum Fault {
    /// This status, without an effect.
    Status(u16),
    /// 403 with `retry-after`, in seconds.
    SecondaryRateLimit { retry_after: u64 },
    /// 403 with nothing left until so many seconds from now.
    RateLimitUsedUp { resets_in: i64 },
    /// 200 with GraphQL's own way of saying so, over in three seconds.
    GraphqlLimit,
    /// 200 with GraphQL's refusal of the whole request, for what one of its variables says.
    GraphqlInvalid,
    /// 200 with GraphQL's refusal of a mutation that this GitHub does not have.
    GraphqlUnknown,
    /// The answer takes this long.
    Delay(Duration),
    /// The connection ends before anything happens.
    Dropped,
    /// The effect happens, and the connection ends before the answer.
    AnswerLost,
}

/// One call as it came.
#[derive(Clone, Debug)]
pub struct Call {
    pub operation: Operation,
    pub method: String,
    /// With the query.
    pub path: String,
    /// 0 when the connection was ended.
    pub status: u16,
    pub body: Value,
    pub at: tokio::time::Instant,
}

/// One delivery and its answer.
#[derive(Clone, Debug)]
pub struct Delivered {
    /// Of this try.
    pub id: i64,
    /// Milliseconds since 1970.
    pub at: i64,
    pub redelivery: bool,
    pub guid: String,
    pub event: String,
    pub body: String,
    /// `None` while unanswered, and when nobody answered.
    pub status: Option<u16>,
}

#[derive(Clone, Debug)]
pub(super) struct Repository {
    pub(super) id: i64,
    pub(super) owner: String,
    pub(super) name: String,
    pub(super) is_private: bool,
    pub(super) installation: i64,
    /// The second App's installation that reaches it.
    pub(super) second: Option<i64>,
    /// Names it had: requests for those are redirected.
    pub(super) former: Vec<String>,
    pub(super) is_deleted: bool,
    pub(super) is_archived: bool,
    pub(super) pushed_at: i64,
    pub(super) updated_at: i64,
    /// Branches and where they were when last announced.
    pub(super) branches: BTreeMap<String, String>,
    /// Commits that are believed without looking.
    pub(super) commits: BTreeSet<String>,
    pub(super) settings: Settings,
}

impl Repository {
    pub(super) fn is(&self, owner: &str, name: &str) -> bool {
        self.owner.eq_ignore_ascii_case(owner) && self.name.eq_ignore_ascii_case(name)
    }

    /// Whether an installation, of either App, reaches it.
    pub(super) fn is_reached_by(&self, installation: i64) -> bool {
        !self.is_deleted && (self.installation == installation || self.second == Some(installation))
    }

    pub(super) fn was(&self, owner: &str, name: &str) -> bool {
        self.owner.eq_ignore_ascii_case(owner) && self.former.iter().any(|it| it == name)
    }
}

#[derive(Clone, Debug)]
pub(super) struct Installation {
    pub(super) id: i64,
    /// The App that is installed.
    pub(super) app: u64,
    pub(super) account: String,
    pub(super) is_suspended: bool,
    pub(super) calls_left: u32,
}

/// A token with what it may do.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) installation: i64,
    pub(super) repositories: Option<Vec<i64>>,
    pub(super) permissions: BTreeMap<String, String>,
    /// Milliseconds since 1970.
    pub(super) expires_at: i64,
}

impl Token {
    pub(super) fn may(&self, permission: &str, level: &str) -> bool {
        match self.permissions.get(permission).map(String::as_str) {
            Some("write") => true,
            Some("read") => level == "read",
            Some(_) | None => false,
        }
    }

    pub(super) fn covers(&self, repository: i64) -> bool {
        self.repositories.as_ref().is_none_or(|ids| ids.contains(&repository))
    }
}

#[derive(Default)]
pub(super) struct State {
    pub(super) webhook: Option<String>,
    pub(super) repositories: Vec<Repository>,
    pub(super) installations: Vec<Installation>,
    pub(super) tokens: HashMap<String, Token>,
    pub(super) runs: Vec<Run>,
    pub(super) statuses: Vec<Status>,
    pub(super) faults: VecDeque<(Operation, Fault)>,
    pub(super) calls: Vec<Call>,
    pub(super) deliveries: Vec<Delivered>,
    pub(super) violations: Vec<String>,
    pub(super) withheld: BTreeSet<String>,
    /// Comments and the reactions that they got, in order.
    pub(super) comments: Vec<(i64, Vec<String>)>,
    /// What accounts may do, by repository and login.
    pub(super) permissions: HashMap<(i64, String), String>,
    pub(super) last_id: i64,
    /// Check runs whose echo is due, with the action.
    pub(super) echoes: Vec<(&'static str, i64)>,
    pub(super) limits: Option<Limits>,
    pub(super) spent: Vec<Spent>,
    pub(super) between: Between,
    /// Deliveries up to this id are no longer listed.
    pub(super) forgotten: i64,
    pub(super) pulls: Vec<Pull>,
    pub(super) issues: Vec<Issue>,
    /// What was written below issues and pull requests.
    pub(super) notes: Vec<Note>,
    /// Deliveries that are due, in order.
    pub(super) due: Vec<(&'static str, Value)>,
    /// What the App was granted besides what it always has.
    pub(super) grants: BTreeMap<String, String>,
    pub(super) second: Option<Second>,
    /// Public keys of the App; empty for the one that it was made with.
    pub(super) keys: Vec<&'static str>,
}

impl State {
    pub(super) fn next_id(&mut self) -> i64 {
        self.last_id += 1;
        // As large as GitHub's own are by now: they do not fit into 32 bits.
        self.last_id + 80_000_000_000
    }

    /// The keys that each App signs with.
    pub(super) fn keys_of_apps(&self) -> Vec<(u64, Vec<&'static str>)> {
        let main = if self.keys.is_empty() { vec![super::PUBLIC_KEY] } else { self.keys.clone() };
        let mut all = vec![(APP_ID, main)];
        if self.second.is_some() {
            all.push((super::SECOND_APP_ID, vec![super::OTHER_PUBLIC_KEY]));
        }
        all
    }

    /// The next number of an issue or a pull request.
    pub(super) fn next_number(&self, repository: i64) -> i64 {
        let pulls = self.pulls.iter().filter(|it| it.repository == repository).map(|it| it.number);
        let issues = self.issues.iter().filter(|it| it.repository == repository);
        pulls.chain(issues.map(|it| it.number)).max().unwrap_or(0) + 1
    }

    pub(super) fn take_fault(&mut self, operation: Operation) -> Option<Fault> {
        let at = self.faults.iter().position(|(it, _)| *it == operation)?;
        self.faults.remove(at).map(|(_, fault)| fault)
    }

    pub(super) fn repository(&self, id: i64) -> &Repository {
        self.repositories.iter().find(|it| it.id == id).unwrap()
    }

    pub(super) fn repository_mut(&mut self, id: i64) -> &mut Repository {
        self.repositories.iter_mut().find(|it| it.id == id).unwrap()
    }

    pub(super) fn installation(&self, id: i64) -> Option<&Installation> {
        self.installations.iter().find(|it| it.id == id)
    }
}
