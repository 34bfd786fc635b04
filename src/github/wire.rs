//! The shapes of GitHub's payloads, as far as we read them. Nothing outside this layer sees them.
use std::borrow::Cow;

use serde::Deserialize;

/// A string that is not copied unless it holds escapes. (Serde borrows a `Cow` field, but not the
/// one inside an `Option`.)
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

/// What every delivery may hold and the receiver needs at once; the rest is skipped unread.
#[derive(Debug, Deserialize)]
pub(super) struct Glance<'a> {
    #[serde(borrow)]
    pub(super) action: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) repository: Option<GlanceRepository<'a>>,
    #[serde(borrow)]
    pub(super) installation: Option<GlanceInstallation<'a>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct GlanceRepository<'a> {
    pub(super) id: Option<i64>,
    #[serde(borrow)]
    pub(super) owner: Option<Account<'a>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct GlanceInstallation<'a> {
    pub(super) id: Option<i64>,
    /// Only in `installation` events.
    #[serde(borrow)]
    pub(super) account: Option<Account<'a>>,
}

/// An account; `login` is what GitHub documents, `name` what some `push` payloads have instead.
#[derive(Debug, Deserialize)]
pub(super) struct Account<'a> {
    #[serde(borrow)]
    pub(super) login: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) name: Option<Text<'a>>,
}

impl Account<'_> {
    pub(super) fn login(&self) -> Option<&str> {
        self.login.as_ref().or(self.name.as_ref()).map(|text| text.0.as_ref())
    }
}

/// Whose check it is; the rest is skipped unread.
#[derive(Debug, Deserialize)]
pub(super) struct CheckGlance {
    #[serde(alias = "check_suite")]
    pub(super) check_run: Option<Check>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Check {
    pub(super) app: Option<App>,
}

#[derive(Debug, Deserialize)]
pub(super) struct App {
    pub(super) id: u64,
}

/// What an edit of a pull request changed: its base, if `base` is there.
#[derive(Debug, Deserialize)]
pub(super) struct ChangesGlance {
    pub(super) changes: Option<Changes>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Changes {
    pub(super) base: Option<serde::de::IgnoredAny>,
}

/// `push`.
#[derive(Debug, Deserialize)]
pub(super) struct Push<'a> {
    #[serde(rename = "ref")]
    pub(super) git_ref: String,
    pub(super) before: String,
    pub(super) after: String,
    #[serde(default)]
    pub(super) deleted: bool,
    #[serde(borrow)]
    pub(super) repository: Repository<'a>,
    pub(super) installation: Option<Installation>,
}

/// `pull_request`.
#[derive(Debug, Deserialize)]
pub(super) struct PullRequestEvent<'a> {
    pub(super) action: String,
    pub(super) number: i64,
    /// Of `synchronize`: the head before.
    pub(super) before: Option<String>,
    pub(super) pull_request: PullRequest,
    #[serde(borrow)]
    pub(super) repository: Repository<'a>,
    pub(super) installation: Option<Installation>,
    #[serde(borrow)]
    pub(super) sender: Option<Account<'a>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct PullRequest {
    pub(super) head: Side,
    pub(super) base: Side,
    pub(super) updated_at: Moment,
}

/// One side of a pull request; `repo` is null when a fork has been deleted.
#[derive(Debug, Deserialize)]
pub(super) struct Side {
    pub(super) sha: String,
    #[serde(rename = "ref")]
    pub(super) branch: String,
    pub(super) repo: Option<RepositoryRef>,
}

#[derive(Debug, Deserialize)]
pub(super) struct RepositoryRef {
    pub(super) id: i64,
}

/// `merge_group`.
#[derive(Debug, Deserialize)]
pub(super) struct MergeGroupEvent<'a> {
    pub(super) action: String,
    /// Of `destroyed`: `merged`, `invalidated` or `dequeued`.
    pub(super) reason: Option<String>,
    pub(super) merge_group: MergeGroup,
    #[serde(borrow)]
    pub(super) repository: Repository<'a>,
    pub(super) installation: Option<Installation>,
}

#[derive(Debug, Deserialize)]
pub(super) struct MergeGroup {
    pub(super) head_sha: String,
    /// `refs/heads/gh-readonly-queue/main/pr-7-…`, without `refs/heads/` in some versions.
    pub(super) head_ref: String,
    pub(super) base_sha: String,
    pub(super) head_commit: Option<HeadCommit>,
}

#[derive(Debug, Deserialize)]
pub(super) struct HeadCommit {
    pub(super) timestamp: Moment,
}

/// `installation`.
#[derive(Debug, Deserialize)]
pub(super) struct InstallationEvent {
    pub(super) action: String,
    pub(super) installation: Installation,
}

#[derive(Debug, Deserialize)]
pub(super) struct Installation {
    pub(super) id: i64,
}

#[derive(Debug, Deserialize)]
pub(super) struct Repository<'a> {
    pub(super) id: i64,
    pub(super) node_id: Option<String>,
    pub(super) name: String,
    #[serde(borrow)]
    pub(super) owner: Account<'a>,
    /// Absent would be a surprise, and then it is treated as private.
    pub(super) private: Option<bool>,
    pub(super) default_branch: String,
    pub(super) pushed_at: Option<Moment>,
}

/// A time as GitHub sends it: seconds since 1970 in `push`, ISO 8601 elsewhere.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Moment {
    Seconds(i64),
    Iso(String),
}

/// `check_run`.
#[derive(Debug, Deserialize)]
pub(super) struct CheckRunEvent<'a> {
    pub(super) check_run: CheckRun,
    pub(super) requested_action: Option<RequestedAction>,
    pub(super) sender: Option<User>,
    #[serde(borrow)]
    pub(super) repository: Repository<'a>,
    pub(super) installation: Option<Installation>,
}

#[derive(Debug, Deserialize)]
pub(super) struct CheckRun {
    pub(super) name: String,
    pub(super) head_sha: String,
    pub(super) external_id: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct RequestedAction {
    pub(super) identifier: String,
}

/// `check_suite`.
#[derive(Debug, Deserialize)]
pub(super) struct CheckSuiteEvent<'a> {
    pub(super) check_suite: CheckSuite,
    #[serde(borrow)]
    pub(super) repository: Repository<'a>,
    pub(super) installation: Option<Installation>,
}

#[derive(Debug, Deserialize)]
pub(super) struct CheckSuite {
    pub(super) head_sha: String,
    pub(super) updated_at: Option<Moment>,
}

/// `issue_comment`.
#[derive(Debug, Deserialize)]
pub(super) struct CommentEvent<'a> {
    pub(super) issue: Issue,
    pub(super) comment: IssueComment,
    #[serde(borrow)]
    pub(super) repository: Repository<'a>,
    pub(super) installation: Option<Installation>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Issue {
    pub(super) number: i64,
}

/// A comment; `user` is null when the account has been deleted.
#[derive(Debug, Deserialize)]
pub(super) struct IssueComment {
    pub(super) id: i64,
    pub(super) body: Option<String>,
    pub(super) user: Option<User>,
}

#[derive(Debug, Deserialize)]
pub(super) struct User {
    pub(super) login: String,
}

/// What tells a command to us from the comments that people write.
#[derive(Debug, Deserialize)]
pub(super) struct CommentGlance {
    pub(super) issue: Option<IssueGlance>,
    pub(super) comment: Option<CommentBody>,
}

#[derive(Debug, Deserialize)]
pub(super) struct IssueGlance {
    /// There of a pull request alone.
    pub(super) pull_request: Option<serde::de::IgnoredAny>,
}

#[derive(Debug, Deserialize)]
pub(super) struct CommentBody {
    pub(super) body: Option<String>,
    pub(super) user: Option<UserGlance>,
}

#[derive(Debug, Deserialize)]
pub(super) struct UserGlance {
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
}
