//! What changes on each host: which builds are to be compared with what, and what came of it.
use std::collections::BTreeSet;

use sqlx::AnyConnection;
use sqlx::Row;
use sqlx::any::AnyRow;

use crate::domain::Timestamp;
use crate::domain::build::{Build, Derivation};
use crate::domain::id::{AttrPath, BuildId, CommitSha, RepositoryId, RunId, StorePath};
use crate::domain::insight::{Base, Candidate, Insight, VERSION, base, is_compared};
use crate::domain::run::Merge;
use crate::store::bump;
use crate::store::error::Result;
use crate::store::leases::{alive_since, is_alive};
use crate::store::moves::{Event, Moved, build_by_id};
use crate::store::rows::{self, build_columns};
use crate::store::runs::hold;
use crate::store::{RunClaim, Store};

/// What a commit's flake is made of, and what it is compared with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The flake's own files in the Nix store.
    pub source: Option<StorePath>,
    pub compared_with: Option<CommitSha>,
    /// When the commit was made, in seconds: whoever compares may have no mirror.
    pub committed_at: Option<i64>,
}

/// A build whose host is to be compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub build: BuildId,
    pub run: RunId,
    /// To be given back to [`Store::set_insights`].
    pub generation: i64,
    /// How often it could not be told.
    pub tries: u32,
    pub repository: RepositoryId,
    /// The host's system.
    pub out: StorePath,
    pub base: Base,
    /// What was built: the run's commit, or the merge of it.
    pub commit: CommitSha,
    pub source: Option<StorePath>,
    pub committed_at: Option<i64>,
    pub base_commit: CommitSha,
    pub base_source: Option<StorePath>,
    pub base_committed_at: Option<i64>,
}

impl Store {
    /// Whether it is still to be told what changes on some host of a run.
    pub async fn is_comparing(&self, run: &RunId) -> Result<bool> {
        let found = sqlx::query(
            "SELECT 1 AS one FROM insight WHERE run_id = $1 AND state = 'wanted' LIMIT 1",
        )
        .bind(run.as_str())
        .fetch_optional(&self.reader)
        .await?;
        Ok(found.is_some())
    }

    /// What the run's commit is compared with.
    pub async fn set_origin(
        &self,
        claim: &RunClaim,
        origin: &Origin,
        now: Timestamp,
    ) -> Result<()> {
        let mut tx = self.write().await?;
        hold(&mut tx, claim, now).await?;
        sqlx::query(
            "UPDATE run SET source = $2, compared_with = $3, committed_at = $4 WHERE id = $1",
        )
        .bind(claim.run.as_str())
        .bind(origin.source.as_ref().map(StorePath::as_str))
        .bind(origin.compared_with.as_ref().map(CommitSha::as_str))
        .bind(origin.committed_at)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(())
    }

    /// Builds whose hosts are to be compared now, the oldest first: those that are in the Nix store
    /// of this instance, or of one that is gone.
    pub async fn insights_wanted(&self, now: Timestamp, limit: i64) -> Result<Vec<Wanted>> {
        let mut tx = self.read().await?;
        let found = sqlx::query(concat!(
            "SELECT i.build_id AS build_id, i.run_id AS run_id, i.generation AS generation, \
             i.tries AS tries, r.repository_id AS repository_id, r.sha AS sha, \
             r.source AS source, r.committed_at AS committed_at, r.compared_with AS compared_with, r.merged AS merged FROM insight i \
             JOIN run r ON r.id = i.run_id JOIN build b ON b.id = i.build_id \
             WHERE i.state = 'wanted' AND b.state = 'ended' AND i.not_before <= $1 AND r.compared_with IS NOT NULL \
             AND (b.home = $3 OR NOT ",
            is_alive!("b.home", "$4"),
            ") ORDER BY i.since, i.build_id LIMIT $2",
        ))
        .bind(now.0)
        .bind(limit)
        .bind(&*self.owner)
        .bind(alive_since(now))
        .fetch_all(&mut *tx)
        .await?;
        let mut wanted = Vec::with_capacity(found.len());
        for row in &found {
            wanted.extend(self::wanted(&mut tx, row).await?);
        }
        Ok(wanted)
    }

    /// What changes on hosts, all or none. The answer for an ending that is no longer the newest is
    /// dropped.
    pub async fn set_insights(
        &self,
        known: &[(&Wanted, Insight)],
        now: Timestamp,
    ) -> Result<Moved> {
        let mut tx = self.write().await?;
        let mut runs = BTreeSet::new();
        for (of, insight) in known {
            let done = sqlx::query(
                "UPDATE insight SET state = 'known', version = $3, result = $4, out = NULL \
                 WHERE build_id = $1 AND generation = $2 AND state = 'wanted'",
            )
            .bind(of.build.as_str())
            .bind(of.generation)
            .bind(VERSION)
            .bind(rows::to_json(insight)?)
            .execute(&mut *tx)
            .await?;
            if done.rows_affected() == 1 {
                bump::bump_host_insight(&mut tx, &of.build, now).await?;
                runs.insert(&of.run);
            }
        }
        let mut moved = Moved::default();
        for run in runs {
            bump::bump_run_insight(&mut tx, run, now).await?;
            moved.note(Event::ReportBehind);
        }
        tx.commit().await?;
        Ok(moved)
    }

    /// It cannot be told yet: it is tried again at this time.
    pub async fn insight_later(
        &self,
        of: &Wanted,
        tries: u32,
        not_before: Timestamp,
    ) -> Result<()> {
        sqlx::query(
            "UPDATE insight SET tries = $3, not_before = $4 \
             WHERE build_id = $1 AND generation = $2 AND state = 'wanted'",
        )
        .bind(of.build.as_str())
        .bind(of.generation)
        .bind(i64::from(tries))
        .bind(not_before.0)
        .execute(&self.writer)
        .await?;
        Ok(())
    }
}

/// `None` when the build is no longer what it was, which its next ending will tell.
async fn wanted(tx: &mut AnyConnection, row: &AnyRow) -> Result<Option<Wanted>> {
    let build = build_by_id(tx, &rows::parsed(row, "build_id")?).await?;
    let repository = RepositoryId(row.try_get("repository_id")?);
    let base_commit: CommitSha = rows::parsed(row, "compared_with")?;
    let Some(derivation) = build.state.derivation() else { return Ok(None) };
    let Some(out) = derivation.outputs.get("out").or_else(|| derivation.outputs.values().next())
    else {
        return Ok(None);
    };
    let candidates = at_base(tx, repository, &base_commit, &build.attr).await?;
    let base_run = sqlx::query(
        "SELECT source, committed_at FROM run WHERE repository_id = $1 AND sha = $2 AND source IS NOT NULL \
         AND merged IS NULL LIMIT 1",
    )
    .bind(repository.0)
    .bind(base_commit.as_str())
    .fetch_optional(&mut *tx)
    .await?;
    Ok(Some(Wanted {
        out: out.clone(),
        base: base(derivation, candidates.as_deref()),
        base_source: base_run.as_ref().map(|row| rows::parsed(row, "source")).transpose()?,
        base_committed_at: match &base_run {
            Some(row) => row.try_get("committed_at")?,
            None => None,
        },
        run: rows::parsed(row, "run_id")?,
        generation: row.try_get("generation")?,
        tries: rows::count(row, "tries")?,
        commit: match rows::maybe_json::<Merge>(row, "merged")? {
            Some(merge) => merge.commit,
            None => rows::parsed(row, "sha")?,
        },
        source: rows::maybe_parsed(row, "source")?,
        committed_at: row.try_get("committed_at")?,
        build: build.id,
        repository,
        base_commit,
    }))
}

/// The builds of an attribute at a commit itself (not of a merge of it), the newest first; `None` when no run lists anything
/// there.
async fn at_base(
    tx: &mut AnyConnection,
    repository: RepositoryId,
    commit: &CommitSha,
    attr: &AttrPath,
) -> Result<Option<Vec<Candidate>>> {
    let found = sqlx::query(concat!(
        "SELECT ",
        build_columns!(),
        " FROM build b JOIN run r ON r.id = b.run_id \
         WHERE r.repository_id = $1 AND r.sha = $2 AND b.attr_key = $3 AND r.merged IS NULL \
         ORDER BY r.created_at DESC, r.id DESC"
    ))
    .bind(repository.0)
    .bind(commit.as_str())
    .bind(rows::attr_key(attr)?)
    .fetch_all(&mut *tx)
    .await?;
    if found.is_empty() {
        let any = sqlx::query(
            "SELECT 1 AS one FROM build b JOIN run r ON r.id = b.run_id \
             WHERE r.repository_id = $1 AND r.sha = $2 AND r.merged IS NULL LIMIT 1",
        )
        .bind(repository.0)
        .bind(commit.as_str())
        .fetch_optional(tx)
        .await?;
        return Ok(any.map(|_| Vec::new()));
    }
    let candidates = found.iter().map(|row| Ok(Candidate { state: rows::build(row)?.state }));
    candidates.collect::<Result<_>>().map(Some)
}

/// Whether what changes on a host is about to be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outlook {
    /// Worth a moment's wait before the ending is shown.
    Soon,
    /// It is known, there is nothing to know, or it takes its time.
    Now,
}

/// A build has ended well: what changes on its host is known at once, or wanted.
pub(super) async fn ended_well(
    tx: &mut AnyConnection,
    build: &Build,
    derivation: &Derivation,
    now: Timestamp,
) -> Result<Outlook> {
    if !is_compared(&build.attr) {
        return Ok(Outlook::Now);
    }
    let run = sqlx::query("SELECT repository_id, compared_with FROM run WHERE id = $1")
        .bind(build.run.as_str())
        .fetch_one(&mut *tx)
        .await?;
    let Some(commit) = rows::maybe_parsed::<CommitSha>(&run, "compared_with")? else {
        return Ok(Outlook::Now);
    };
    let repository = RepositoryId(run.try_get("repository_id")?);
    let candidates = at_base(tx, repository, &commit, &build.attr).await?;
    let (known, outlook) = match base(derivation, candidates.as_deref()) {
        Base::Same => (Some(Insight::Unchanged { base: commit }), Outlook::Now),
        Base::Absent(why) => (Some(Insight::Absent { base: commit, why }), Outlook::Now),
        Base::Open => (None, Outlook::Now),
        Base::System(_) => (None, Outlook::Soon),
    };
    let out = derivation.outputs.get("out").or_else(|| derivation.outputs.values().next());
    sqlx::query(
        "INSERT INTO insight (build_id, run_id, generation, state, since, not_before, tries, \
         out, version, result) VALUES ($1, $2, 1, $3, $4, 0, 0, $5, $6, $7) \
         ON CONFLICT (build_id) DO UPDATE SET generation = insight.generation + 1, \
         state = excluded.state, since = excluded.since, not_before = 0, tries = 0, \
         out = excluded.out, version = excluded.version, result = excluded.result",
    )
    .bind(build.id.as_str())
    .bind(build.run.as_str())
    .bind(if known.is_some() { "known" } else { "wanted" })
    .bind(now.0)
    .bind(out.filter(|_| known.is_none()).map(StorePath::as_str))
    .bind(if known.is_some() { VERSION } else { 0 })
    .bind(known.as_ref().map(rows::to_json).transpose()?)
    .execute(tx)
    .await?;
    Ok(outlook)
}

/// An insight from a row with `i_version` and `i_result`; another version's is none.
pub(super) fn insight(row: &AnyRow) -> Result<Option<Insight>> {
    if row.try_get::<Option<i64>, _>("i_version")? != Some(VERSION) {
        return Ok(None);
    }
    rows::maybe_json(row, "i_result")
}
