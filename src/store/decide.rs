//! What a delivery changes, once it is decided: one transaction, whatever the decision.
use sqlx::AnyConnection;

use crate::domain::Timestamp;
use crate::domain::build::Ending;
use crate::domain::decide::{Act, Gone, Rebase, Source};
use crate::domain::id::{Branch, CommitSha, DeliveryId, NodeId, RunId};
use crate::domain::incoming::{
    InstallationChange, InstallationStanding, Repository, RepositoryChange,
};
use crate::domain::run::{Run, RunState};
use crate::domain::update::life::Update;
use crate::domain::verdict::Verdict;
use crate::store::Store;
use crate::store::bump;
use crate::store::deliveries::{self, DeliveryState};
use crate::store::error::Result;
use crate::store::moves::{Event, Ledger, Moved, RunStep, builds_of, run_by_id};
use crate::store::people;
use crate::store::reactions::{self, NewReaction};
use crate::store::rows;
use crate::store::{recover, repositories, standing, updates};

/// A decision, as the store carries it out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decided {
    /// Nothing to do; says why.
    Ignore { note: String },
    /// It does not read as GitHub describes it; says where.
    Unreadable { note: String },
    /// GitHub or the repository must be asked first, not before this time.
    Ask { note: String, not_before: Timestamp },
    /// A new run, which takes the place of older ones.
    Start { repository: Repository, run: Run, supersede: Vec<RunId> },
    /// A superseded run is tested anew, because its commit is the head again.
    Revive {
        repository: Repository,
        run: RunId,
        occurred_at: Timestamp,
        rebase: Option<Rebase>,
        supersede: Vec<RunId>,
    },
    /// A run's commit is the head again, and the run stays as it is; those in between end.
    Return { run: RunId, occurred_at: Timestamp, rebase: Option<Rebase>, supersede: Vec<RunId> },
    /// A branch or merge group is no more, and nobody wants these runs; the text follows "cancelled
    /// by", or says why nothing is.
    Gone { gone: Gone, cancel: Vec<RunId>, note: String },
    /// Another delivery is to be decided anew; says why nothing else is to be done about this one.
    Reconsider { delivery: DeliveryId, note: String },
    /// A run is judged anew against another base.
    Rejudge { run: RunId, rebase: Rebase, occurred_at: Timestamp },
    /// The App's installation changed.
    Installation(InstallationChange),
    /// An update of a lock file is begun, unless one is on its way, and the comment that asked for it
    /// is acknowledged.
    Update { update: Update, reaction: Option<NewReaction> },
    /// What somebody asked for, and the reaction that their comment is owed.
    Act { acts: Vec<Act>, reaction: Option<NewReaction> },
    /// Repositories were renamed, moved, hidden, archived, or went out of reach or came back.
    Repositories(Vec<RepositoryChange>),
}

impl Store {
    /// Carries out what was decided about a delivery; nothing when it was decided before.
    pub async fn decide(
        &self,
        guid: &DeliveryId,
        decided: Decided,
        now: Timestamp,
    ) -> Result<Moved> {
        self.decide_all(vec![(guid.clone(), decided)], now).await
    }

    /// As [`Store::decide`], many in one transaction. Decisions about the same repository and
    /// reason do not know of each other: put them into different calls.
    pub async fn decide_all(
        &self,
        all: Vec<(DeliveryId, Decided)>,
        now: Timestamp,
    ) -> Result<Moved> {
        let mut tx = self.write().await?;
        let mut ledger = Ledger::new(now);
        for (guid, decided) in all {
            if !settle(&mut tx, &guid, &decided, now).await? {
                continue;
            }
            let is_wide = matches!(decided, Decided::Installation(_) | Decided::Repositories(_));
            carry_out(&mut tx, &mut ledger, decided, now).await?;
            if is_wide && Source::of(&guid) == Source::Webhook {
                // What GitHub sends may be late or out of order: what it answers is not.
                recover::ask_for_heads(&mut tx, &mut ledger, now).await?;
            }
        }
        let moved = ledger.close(&mut tx).await?;
        tx.commit().await?;
        Ok(moved)
    }
}

/// Notes the decision on the delivery; `false` when there was one before.
async fn settle(
    tx: &mut AnyConnection,
    guid: &DeliveryId,
    decided: &Decided,
    now: Timestamp,
) -> Result<bool> {
    let (state, note, at) = match decided {
        Decided::Ignore { note } | Decided::Reconsider { note, .. } => {
            (DeliveryState::Ignored, Some(note), now)
        }
        Decided::Gone { cancel, note, .. } if cancel.is_empty() => {
            (DeliveryState::Ignored, Some(note), now)
        }
        Decided::Unreadable { note } => (DeliveryState::Unreadable, Some(note), now),
        Decided::Ask { note, not_before } => (DeliveryState::Asks, Some(note), *not_before),
        Decided::Start { .. }
        | Decided::Revive { .. }
        | Decided::Return { .. }
        | Decided::Gone { .. }
        | Decided::Rejudge { .. }
        | Decided::Act { .. }
        | Decided::Update { .. }
        | Decided::Installation(_)
        | Decided::Repositories(_) => (DeliveryState::Decided, None, now),
    };
    let done = sqlx::query(
        "UPDATE delivery SET state = $2, note = $3, changed_at = $4 \
         WHERE guid = $1 AND state IN ('arrived', 'waiting')",
    )
    .bind(guid.as_str())
    .bind(state.code())
    .bind(note.map(|it| rows::text(it.clone())))
    .bind(at.0)
    .execute(tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

async fn carry_out(
    tx: &mut AnyConnection,
    ledger: &mut Ledger,
    decided: Decided,
    now: Timestamp,
) -> Result<()> {
    match decided {
        Decided::Ignore { .. } | Decided::Unreadable { .. } | Decided::Ask { .. } => Ok(()),
        Decided::Start { repository, run, supersede } => {
            repositories::is_back(tx, ledger, repository.id, run.occurred_at).await?;
            save_repository(tx, &repository, run.occurred_at).await?;
            if insert_run(tx, &run, now).await? {
                bump::create_for_run(tx, &run.id, now).await?;
                ledger.note(Event::ReportBehind);
                if matches!(run.state, RunState::Requested) {
                    ledger.note(Event::RunRequested);
                }
            }
            for older in supersede.iter().filter(|it| **it != run.id) {
                superseded(tx, ledger, older, &run.sha).await?;
            }
            Ok(())
        }
        Decided::Revive { repository, run, occurred_at, rebase, supersede } => {
            repositories::is_back(tx, ledger, repository.id, occurred_at).await?;
            save_repository(tx, &repository, occurred_at).await?;
            let sha = revived(tx, ledger, &run, occurred_at).await?;
            if let Some(rebase) = rebase {
                people::rejudge(tx, ledger, &run, &rebase).await?;
            }
            for older in supersede.iter().filter(|it| **it != run) {
                superseded(tx, ledger, older, &sha).await?;
            }
            Ok(())
        }
        Decided::Return { run, occurred_at, rebase, supersede } => {
            let sha = run_by_id(tx, &run).await?.sha;
            became_head(tx, &run, occurred_at).await?;
            if let Some(rebase) = rebase {
                people::rejudge(tx, ledger, &run, &rebase).await?;
            }
            for older in supersede.iter().filter(|it| **it != run) {
                superseded(tx, ledger, older, &sha).await?;
            }
            Ok(())
        }
        Decided::Gone { gone, cancel, note } => {
            standing::is_gone(tx, &gone, now).await?;
            for run in &cancel {
                let by = note.clone();
                let endings = (Ending::Cancelled { by: by.clone() }, Verdict::Cancelled { by });
                people::stop(tx, ledger, run, endings).await?;
            }
            Ok(())
        }
        Decided::Reconsider { delivery, .. } => {
            deliveries::reopen(tx, &delivery, now).await?;
            ledger.note(Event::DeliveryWaiting);
            Ok(())
        }
        Decided::Rejudge { run, rebase, occurred_at } => {
            people::rejudge(tx, ledger, &run, &rebase).await?;
            became_head(tx, &run, occurred_at).await
        }
        Decided::Act { acts, reaction } => {
            for act in acts {
                people::carry_out(tx, ledger, act).await?;
            }
            owe(tx, ledger, reaction.as_ref(), now).await
        }
        Decided::Update { update, reaction } => {
            owe(tx, ledger, reaction.as_ref(), now).await?;
            updates::ask(tx, &update, now).await?;
            ledger.note(Event::UpdateWanted);
            Ok(())
        }
        Decided::Installation(change) => changed(tx, ledger, change, now).await,
        Decided::Repositories(changes) => {
            for change in &changes {
                repositories::changed(tx, ledger, change, now).await?;
            }
            Ok(())
        }
    }
}

/// A comment is owed an answer.
async fn owe(
    tx: &mut AnyConnection,
    ledger: &mut Ledger,
    owed: Option<&NewReaction>,
    now: Timestamp,
) -> Result<()> {
    let Some(owed) = owed else { return Ok(()) };
    // Its repository may have no run yet. What it is called is known better from elsewhere.
    save_repository(tx, &owed.repository, Timestamp(0)).await?;
    reactions::owe(tx, owed, now).await?;
    ledger.note(Event::ReactionOwed);
    Ok(())
}

async fn save_repository(
    tx: &mut AnyConnection,
    repository: &Repository,
    at: Timestamp,
) -> Result<()> {
    let Repository { id, node_id, owner, name, default_branch, visibility, installation } =
        repository;
    sqlx::query(
        "INSERT INTO repository \
         (id, owner, name, default_branch, visibility, installation_id, updated_at, node_id) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (id) DO UPDATE SET \
         owner = excluded.owner, name = excluded.name, default_branch = excluded.default_branch, \
         visibility = excluded.visibility, installation_id = excluded.installation_id, \
         updated_at = excluded.updated_at, \
         node_id = COALESCE(excluded.node_id, repository.node_id) WHERE excluded.updated_at >= repository.updated_at",
    )
    .bind(id.0)
    .bind(owner.as_str())
    .bind(name.as_str())
    .bind(default_branch.as_str())
    .bind(rows::visibility_name(*visibility))
    .bind(installation.0)
    .bind(at.0)
    .bind(node_id.as_ref().map(NodeId::as_str))
    .execute(tx)
    .await?;
    Ok(())
}

/// `false` when there is a run of this repository, commit and reason.
pub(super) async fn insert_run(tx: &mut AnyConnection, run: &Run, now: Timestamp) -> Result<bool> {
    let verdict = match &run.state {
        RunState::Ended { verdict, .. } => Some(rows::to_json(verdict)?),
        RunState::AwaitingApproval
        | RunState::Requested
        | RunState::Evaluating { .. }
        | RunState::Building { .. } => None,
    };
    let (approval, approved_by) = rows::approval_name(&run.approval);
    let done = sqlx::query(
        "INSERT INTO run (id, repository_id, sha, reason, base, occurred_at, created_at, state, \
         state_at, verdict, not_before, claim, claimed_until, approval, approved_by, trust, \
         base_branch) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 0, 0, 0, $11, $12, $13, $14) \
         ON CONFLICT DO NOTHING",
    )
    .bind(run.id.as_str())
    .bind(run.repository.0)
    .bind(run.sha.as_str())
    .bind(run.reason.to_string())
    .bind(run.base.as_ref().map(CommitSha::as_str))
    .bind(run.occurred_at.0)
    .bind(run.created_at.0)
    .bind(run.state.name())
    .bind(now.0)
    .bind(verdict)
    .bind(approval)
    .bind(approved_by)
    .bind(rows::trust_name(run.trust))
    .bind(run.base_branch.as_ref().map(Branch::as_str))
    .execute(tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// A newer commit takes a run's place.
async fn superseded(
    tx: &mut AnyConnection,
    ledger: &mut Ledger,
    id: &RunId,
    by: &CommitSha,
) -> Result<()> {
    let ending = Ending::Superseded { by: by.clone() };
    people::stop(tx, ledger, id, (ending, Verdict::Superseded { by: by.clone() })).await
}

/// The run and its superseded builds begin again; gives the run's commit.
async fn revived(
    tx: &mut AnyConnection,
    ledger: &mut Ledger,
    id: &RunId,
    occurred_at: Timestamp,
) -> Result<CommitSha> {
    let run = run_by_id(tx, id).await?;
    let builds = builds_of(tx, id).await?;
    let run = ledger.run(tx, run, RunStep::Revive).await?;
    for build in builds {
        if let Some(Ending::Superseded { .. }) = build.state.ending() {
            ledger.revive(tx, build).await?;
        }
    }
    sqlx::query("UPDATE run SET claimed_until = 0 WHERE id = $1")
        .bind(id.as_str())
        .execute(&mut *tx)
        .await?;
    became_head(tx, id, occurred_at).await?;
    Ok(run.sha)
}

/// The newest run of a reason is the one whose commit became the head last.
async fn became_head(tx: &mut AnyConnection, id: &RunId, occurred_at: Timestamp) -> Result<()> {
    sqlx::query("UPDATE run SET occurred_at = $2 WHERE id = $1")
        .bind(id.as_str())
        .bind(occurred_at.0)
        .execute(tx)
        .await?;
    Ok(())
}

async fn changed(
    tx: &mut AnyConnection,
    ledger: &mut Ledger,
    change: InstallationChange,
    now: Timestamp,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO installation (id, standing, changed_at) VALUES ($1, $2, $3) \
         ON CONFLICT (id) DO UPDATE SET standing = excluded.standing, \
         changed_at = excluded.changed_at",
    )
    .bind(change.installation.0)
    .bind(rows::standing_name(change.standing))
    .bind(now.0)
    .execute(&mut *tx)
    .await?;
    match change.standing {
        InstallationStanding::Active => {
            for event in [Event::RunRequested, Event::BuildWaiting, Event::ReportBehind] {
                ledger.note(event);
            }
        }
        InstallationStanding::Suspended => {}
        InstallationStanding::Deleted => {
            repositories::installation_gone(tx, ledger, change.installation, now).await?;
        }
    }
    Ok(())
}
