//! What a check run must say, from the state: pure text within GitHub's limits.
//!
//! A page depends on the state alone, not on the moment it is made: the reporter publishes a page
//! when it differs from the one that GitHub shows, so a page that counted minutes would be
//! published for ever.
mod gate;
mod host;
mod insight;
mod line;
mod outlook;
mod people;
mod provenance;
mod words;

use serde::{Deserialize, Serialize};

use crate::domain::Timestamp;
use crate::domain::base::Against;
use crate::domain::build::{Build, SourcePlace, Warning};
use crate::domain::id::AttemptId;
use crate::domain::incoming::Repository;
use crate::domain::insight::Insight;
use crate::domain::link::Links;
use crate::domain::run::Run;
use crate::domain::text::{cut_lines, is_unseen, plain_title, redact};
use crate::domain::verdict::Conclusion;
use crate::domain::worth;

pub use gate::{
    Comparison, comparison, gate_check, gate_title, in_order, notes, problem, shared_causes,
};
pub use host::{ended_title, host_check, host_title};
pub use insight::{change, changes, insight};
pub use line::RunLine;
pub use outlook::{Counts, Outlook, Turn};
pub use provenance::{provenance, stale_lock};
pub use words::{at, attr_name, bytes, clock, duration, host_name, remark, result, waiting};

/// A run with everything that its pages show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunView {
    pub run: Run,
    pub repository: Repository,
    /// In any order.
    pub builds: Vec<BuildView>,
    /// What it is judged against; the default where one build is shown by itself.
    pub against: Against,
    /// Its turn among the runs that want their evaluation, while it waits for that.
    pub turn: Option<Turn>,
}

/// A build with what its page shows besides its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildView {
    pub build: Build,
    /// What its evaluation took, once it is evaluated.
    pub evaluation: Option<EvaluationCost>,
    /// The newest attempt, whose log is shown; `None` before the first.
    pub attempt: Option<AttemptId>,
    /// When that attempt began.
    pub started_at: Option<Timestamp>,
    /// The answer to a click on its check that was refused, as plain text.
    pub note: Option<String>,
    /// What Nix warned of while it evaluated the host.
    pub warnings: Vec<Warning>,
    /// What is known of it while it is not done.
    pub outlook: Outlook,
    /// What changes on the host, once that is known of a build that ended well.
    pub insight: Option<Insight>,
    /// How it went before.
    pub history: History,
}

/// How it went with a build and its host before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// The attempt before the newest one of this build, where that was the weather's.
    pub earlier: Option<Earlier>,
    /// How often the host failed and then passed with the same derivation.
    pub flaky: u32,
    /// When it last did.
    pub flaky_at: Option<Timestamp>,
}

/// An attempt that ended as weather.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Earlier {
    pub builder: String,
    /// What happened, as plain text.
    pub what: String,
}

/// What an evaluation took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EvaluationCost {
    pub elapsed_ms: i64,
    /// Bytes, at its peak.
    pub peak_memory: u64,
}

/// The gate: the one check that branch protection should require.
#[must_use]
pub fn gate_page(view: &RunView, check_name: &str, links: &Links) -> CheckPage {
    gate::page(view, check_name, links)
}

/// The check of one host; `None` for a host whose name cannot be the name of a check. Such a host
/// is shown by the gate alone.
#[must_use]
pub fn host_page(
    view: &RunView,
    build: &BuildView,
    check_name: &str,
    links: &Links,
) -> Option<CheckPage> {
    host::page(view, build, check_name, links)
}

/// A gate's page that says so where a run has more hosts than get a check.
#[must_use]
pub fn with_limit(page: CheckPage, hosts: usize, limit: usize) -> CheckPage {
    let Some(note) = worth::note(hosts, limit) else { return page };
    let more = format!("[The rest is on the run's page]({})", page.details_url);
    let summary = cut_lines(&format!("{note}\n\n{}", page.summary), MOST_MARKDOWN, &more);
    CheckPage { summary, ..page }
}

/// The commit status that mirrors the gate.
#[must_use]
pub fn status_page(view: &RunView, links: &Links) -> StatusPage {
    gate::status(view, links)
}

/// Everything a check run says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CheckPage {
    /// `fleet`, `fleet / raider`; never changes from run to run.
    pub name: String,
    pub status: CheckStatus,
    /// One line of at most 255 characters: what a person needs to know.
    pub title: String,
    /// Markdown of at most 60,000 bytes.
    pub summary: String,
    /// More Markdown, as long again; empty for none.
    pub text: String,
    pub annotations: Vec<Annotation>,
    /// At most three. GitHub shows them once the check is completed.
    pub actions: Vec<Action>,
    /// Our page for it.
    pub details_url: String,
}

/// GitHub's `status`, with what belongs to each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CheckStatus {
    Queued,
    InProgress { since: Timestamp },
    Completed { conclusion: Conclusion, at: Timestamp },
}

/// A remark on a line of the repository.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Annotation {
    pub level: AnnotationLevel,
    pub path: String,
    pub line: u32,
    pub title: String,
    pub message: String,
}

/// A button of ours on a check.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Action {
    /// At most 20 characters, GitHub's limit.
    pub label: String,
    /// At most 40 characters.
    pub description: String,
    /// At most 20 characters; GitHub gives it back with a click.
    pub identifier: String,
}

/// GitHub's `annotation_level`, of those we use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AnnotationLevel {
    Failure,
    Warning,
}

impl AnnotationLevel {
    /// GitHub's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Failure => "failure",
            Self::Warning => "warning",
        }
    }
}

/// A commit status: the mirror of the gate for tools that read statuses.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StatusPage {
    pub state: StatusState,
    /// At most 140 characters, GitHub's limit.
    pub description: String,
    pub target_url: String,
}

/// GitHub's `state` of a commit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StatusState {
    Pending,
    Success,
    Failure,
    Error,
}

impl StatusState {
    /// GitHub's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Error => "error",
        }
    }
}

/// Hosts are `nixosConfigurations`; as soon as anything else is built they are all outputs.
fn noun(view: &RunView, count: usize) -> &'static str {
    let hosts = view.builds.iter().all(|it| it.build.attr.output() == "nixosConfigurations");
    match (hosts, count) {
        (true, 1) => "host",
        (true, _) => "hosts",
        (false, 1) => "output",
        (false, _) => "outputs",
    }
}

/// A remark on a place of the repository; `None` when GitHub would not take its path.
fn annotation(
    level: AnnotationLevel,
    place: &SourcePlace,
    (title, message): (&str, &str),
) -> Option<Annotation> {
    let path_ok = !place.path.is_empty()
        && !place.path.starts_with('/')
        && !place.path.contains(|c: char| c.is_control() || is_unseen(c))
        && redact(&place.path) == place.path
        && place.path.len() <= 1000;
    path_ok.then(|| Annotation {
        level,
        path: place.path.clone(),
        line: place.line.max(1),
        title: plain_title(title, MOST_TITLE),
        message: plain_title(message, 2000),
    })
}

/// GitHub's limits are 65,535 characters; bytes are counted, with room to spare.
pub const MOST_MARKDOWN: usize = 60_000;

/// GitHub's limit of a check's title, in characters.
const MOST_TITLE: usize = 255;

#[cfg(test)]
pub(crate) mod tests;
