//! What is known of the commit that a run is compared with, and whom a run's answers concern.
use std::collections::BTreeMap;

use sqlx::AnyConnection;
use sqlx::Row;
use sqlx::any::AnyRow;

use crate::domain::base::{Against, Answer, Base, BaseHost, ExistingFailures, Tested};
use crate::domain::id::{AttrPath, CommitSha, RunId};
use crate::domain::run::{Reason, Run, RunState, Trust};
use crate::domain::verdict::Verdict;
use crate::store::error::Result;
use crate::store::rows::{self, build_columns, run_columns};

/// As a column has it; NULL is the default.
pub(super) fn existing_name(existing: ExistingFailures) -> Option<&'static str> {
    match existing {
        ExistingFailures::Fail => None,
        ExistingFailures::Ignore => Some("ignore"),
    }
}

/// What a run is judged against.
pub(super) async fn against(tx: &mut AnyConnection, run: &Run) -> Result<Against> {
    let row = sqlx::query("SELECT existing_failures, compared FROM run WHERE id = $1")
        .bind(run.id.as_str())
        .fetch_one(&mut *tx)
        .await?;
    let existing = match row.try_get::<Option<&str>, _>("existing_failures")? {
        None | Some("fail") => ExistingFailures::Fail,
        Some("ignore") => ExistingFailures::Ignore,
        Some(other) => return Err(rows::unknown("run.existing_failures", other)),
    };
    // The same commit that its hosts' changes are told against. Before the evaluation has found it,
    // what GitHub named.
    let found = rows::maybe_parsed::<CommitSha>(&row, "compared")?;
    let compared = found.as_ref().or(run.base.as_ref());
    let base = match compared {
        Some(sha) => Some(base(tx, run, sha).await?),
        None => None,
    };
    Ok(Against { existing, base })
}

/// How many commits in a row may have been superseded before their hosts were listed.
const MOST_UNLISTED: usize = 50;

async fn base(tx: &mut AnyConnection, run: &Run, sha: &CommitSha) -> Result<Base> {
    let mut unknown = Base { sha: sha.clone(), tested: Tested::Not, hosts: [].into() };
    let mut at = sha.clone();
    for _ in 0..MOST_UNLISTED {
        let Some(of_base) = run_of_commit(tx, run, &at).await? else { break };
        let found =
            sqlx::query(concat!("SELECT ", build_columns!(), " FROM build b WHERE b.run_id = $1"))
                .bind(of_base.id.as_str())
                .fetch_all(&mut *tx)
                .await?;
        let hosts: BTreeMap<AttrPath, BaseHost> = found.iter().map(host).collect::<Result<_>>()?;
        let tested = tested(&of_base);
        // A push that was superseded at once never said which hosts it has. What it took away must be
        // noticed all the same: by what its successor is compared with.
        match (tested, of_base.base) {
            (Tested::Partly, Some(before)) if hosts.is_empty() => {
                unknown.tested = Tested::Partly;
                at = before;
            }
            (tested, _) => return Ok(Base { sha: at, tested, hosts }),
        }
    }
    Ok(unknown)
}

/// The run that tells about a commit.
async fn run_of_commit(tx: &mut AnyConnection, run: &Run, sha: &CommitSha) -> Result<Option<Run>> {
    let found = sqlx::query(concat!(
        "SELECT ",
        run_columns!(),
        " FROM run r WHERE r.repository_id = $1 AND r.sha = $2 AND r.id <> $3 \
         ORDER BY r.created_at, r.id"
    ))
    .bind(run.repository.0)
    .bind(sha.as_str())
    .bind(run.id.as_str())
    .fetch_all(tx)
    .await?;
    let runs: Vec<Run> = found.iter().map(rows::run).collect::<Result<_>>()?;
    Ok(runs.into_iter().filter(is_of_the_commit).max_by_key(worth))
}

/// A stranger's run is evaluated within other limits, and one of a merge tests another tree.
fn is_of_the_commit(run: &Run) -> bool {
    run.trust == Trust::Trusted && run.merge.is_none()
}

/// Which of several runs of one commit is believed, the greatest; of equals the newest: the
/// branch's own rather than a pull request's.
fn worth(run: &Run) -> (bool, Tested) {
    let is_push = match &run.reason {
        Reason::Push(_) | Reason::MergeGroup(_) => true,
        Reason::PullRequest(_) | Reason::Update { .. } => false,
    };
    (is_push, tested(run))
}

fn tested(run: &Run) -> Tested {
    match &run.state {
        RunState::AwaitingApproval => Tested::Not,
        RunState::Requested | RunState::Evaluating { .. } | RunState::Building { .. } => {
            Tested::Running
        }
        RunState::Ended { verdict, .. } => match verdict {
            Verdict::Passed | Verdict::Failed | Verdict::TimedOut | Verdict::Broken { .. } => {
                Tested::Whole
            }
            Verdict::Superseded { .. } | Verdict::Cancelled { .. } | Verdict::Skipped { .. } => {
                Tested::Partly
            }
        },
    }
}

fn host(row: &AnyRow) -> Result<(AttrPath, BaseHost)> {
    let build = rows::build(row)?;
    let host = BaseHost { required: build.required, answer: Answer::of(&build.state) };
    Ok((build.attr, host))
}

/// The runs whose base commit is this run's, for their pages.
pub(super) async fn compared_with(tx: &mut AnyConnection, base: &RunId) -> Result<Vec<RunId>> {
    let found = sqlx::query(
        "SELECT r.id AS id FROM run b JOIN run r ON r.repository_id = b.repository_id \
         AND r.compared = b.sha AND r.id <> b.id \
         WHERE b.id = $1 AND r.state IN ('evaluating', 'building', 'ended') \
         ORDER BY r.created_at DESC LIMIT 100",
    )
    .bind(base.as_str())
    .fetch_all(tx)
    .await?;
    found.iter().map(|row| rows::parsed(row, "id")).collect()
}

/// Of them, those whose verdict may wait for this run's answers.
pub(super) async fn waiting_for(tx: &mut AnyConnection, base: &RunId) -> Result<Vec<RunId>> {
    let found = sqlx::query(
        "SELECT r.id AS id FROM run b JOIN run r ON r.repository_id = b.repository_id \
         AND r.compared = b.sha AND r.id <> b.id \
         WHERE b.id = $1 AND r.state = 'building' AND r.existing_failures = 'ignore'",
    )
    .bind(base.as_str())
    .fetch_all(tx)
    .await?;
    found.iter().map(|row| rows::parsed(row, "id")).collect()
}
