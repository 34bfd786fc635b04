//! Which builds wait, and for what.
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use crate::domain::Timestamp;
use crate::domain::build::{Build, BuildState, Derivation, Ending, Rebuild, Required, Waiting};
use crate::domain::id::{BuildId, DrvPath, RunId};
use crate::domain::plan::Capability;
use crate::domain::queue::unplaceable;
use crate::store::Store;
use crate::store::error::{Result, StoreError};
use crate::store::moves::{self, BuildStep, Ledger, Moved};
use crate::store::rows::{self, active, build_columns};

/// A build that a free slot may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub build: BuildId,
    pub run: RunId,
    pub drv: DrvPath,
    /// The instance that evaluated it, where that is another one.
    pub home: Option<String>,
    pub system: String,
    /// `requiredSystemFeatures`.
    pub features: Vec<String>,
    pub required: Required,
    /// When its run was made.
    pub created_at: Timestamp,
    /// Whose turn it is first: [`turn`](crate::domain::queue::turn).
    pub rank: i64,
    pub rebuild: Rebuild,
    /// How long its last build took.
    pub expected_ms: Option<i64>,
    /// The builder that built its host last.
    pub built_on: Option<String>,
    /// The builder on which its last attempt ended as nobody's fault.
    pub failed_on: Option<String>,
}

/// A build that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waits {
    pub build: BuildId,
    pub derivation: Derivation,
    pub for_what: Waiting,
}

impl Store {
    /// Builds that wait with this instance, or with one that lends what it evaluated, and that this
    /// builder can take, whose derivation nobody realises, by their turns; at most `limit` of each
    /// kind, which is a system and the features that are required.
    pub async fn candidates(
        &self,
        able: &Capability,
        now: Timestamp,
        limit: i64,
    ) -> Result<Vec<Candidate>> {
        let mut tx = self.read().await?;
        let mut candidates = Vec::new();
        for home in self.homes(&mut tx, now).await? {
            for system in able.systems() {
                let with = (home.as_str(), system);
                candidates.extend(self.candidates_with(&mut tx, with, able, (now, limit)).await?);
            }
        }
        candidates.retain(|it| able.has(&it.features));
        candidates.sort_by_key(|it| (it.rank, it.created_at));
        Ok(candidates)
    }

    /// Those that wait with one instance and are of one system.
    async fn candidates_with(
        &self,
        tx: &mut AnyConnection,
        (home, system): (&str, &str),
        able: &Capability,
        (now, limit): (Timestamp, i64),
    ) -> Result<Vec<Candidate>> {
        let mut all = Vec::new();
        let kinds = sqlx::query(KINDS).bind(system).bind(home);
        for kind in &kinds.fetch_all(&mut *tx).await? {
            let features: &str = kind.try_get("features")?;
            let wanted: Vec<String> = features.split_whitespace().map(str::to_owned).collect();
            if !able.has(&wanted) {
                continue;
            }
            let found = sqlx::query(CANDIDATES)
                .bind(system)
                .bind(now.0)
                .bind(limit)
                .bind(home)
                .bind(features)
                .fetch_all(&mut *tx)
                .await?;
            let elsewhere = (home != &*self.owner).then_some(home);
            for row in &found {
                all.push(candidate(row, elsewhere)?);
            }
        }
        Ok(all)
    }

    /// All builds that wait with this instance: to be looked at again when the settings have
    /// changed.
    pub async fn waiting(&self) -> Result<Vec<Waits>> {
        let found = sqlx::query(concat!(
            "SELECT ",
            build_columns!(),
            " FROM build b WHERE b.state = 'waiting' AND b.home = $1"
        ))
        .bind(&*self.owner)
        .fetch_all(&self.reader)
        .await?;
        let mut all = Vec::with_capacity(found.len());
        for row in &found {
            let Build { id, state, .. } = rows::build(row)?;
            if let BuildState::Waiting { derivation, for_what, .. } = state {
                all.push(Waits { build: id, derivation, for_what });
            }
        }
        Ok(all)
    }

    /// Whether the time came, after the first moment, at which a build may be tried again.
    pub async fn fell_due(&self, after: Timestamp, now: Timestamp) -> Result<bool> {
        let found = sqlx::query(
            "SELECT 1 AS one FROM build WHERE state = 'waiting' AND held = 0 \
             AND not_before > 0 AND not_before > $1 AND not_before <= $2 LIMIT 1",
        )
        .bind(after.0)
        .bind(now.0)
        .fetch_optional(&self.reader)
        .await?;
        Ok(found.is_some())
    }

    /// Fails the builds of this instance that no builder could take for as long as the settings
    /// allow, each with the reason; gives their names and reasons.
    pub async fn give_up(&self, now: Timestamp) -> Result<(Vec<(BuildId, String)>, Moved)> {
        if self.unplaceable(&mut *self.read().await?, now).await?.is_empty() {
            return Ok((vec![], Moved::default()));
        }
        let mut tx = self.write().await?;
        let mut ledger = Ledger::new(now);
        let mut given_up = Vec::new();
        // Asked again: a builder may have come back.
        for (build, what) in self.unplaceable(&mut tx, now).await? {
            let id = build.id.clone();
            let ending = Ending::Transient { what: what.clone() };
            ledger.build(&mut tx, build, BuildStep::End(ending)).await?;
            given_up.push((id, what));
        }
        let moved = ledger.close(&mut tx).await?;
        tx.commit().await?;
        Ok((given_up, moved))
    }

    /// Builds that wait with this instance and whose patience is at an end, and why.
    async fn unplaceable(
        &self,
        tx: &mut AnyConnection,
        now: Timestamp,
    ) -> Result<Vec<(Build, String)>> {
        let patience_ms = self.patience.unplaceable_ms;
        let found = sqlx::query(concat!(
            "SELECT ",
            build_columns!(),
            " FROM build b WHERE b.state = 'waiting' AND b.since <= $1 AND b.home = $2"
        ))
        .bind(now.0.saturating_sub(patience_ms))
        .bind(&*self.owner)
        .fetch_all(&mut *tx)
        .await?;
        if found.is_empty() {
            return Ok(vec![]);
        }
        let machines = self.reached(tx).await?;
        let mut all = Vec::new();
        for row in &found {
            let build = rows::build(row)?;
            let BuildState::Waiting { derivation, since, for_what } = &build.state else {
                continue;
            };
            let patience = (now, patience_ms);
            let why = unplaceable::given_up(derivation, (*since, for_what), &machines, patience);
            all.extend(why.map(|why| (build, why)));
        }
        Ok(all)
    }

    /// These builds wait for something else now.
    pub async fn rewait(&self, builds: Vec<(BuildId, Waiting)>, now: Timestamp) -> Result<Moved> {
        let mut tx = self.write().await?;
        let mut ledger = Ledger::new(now);
        for (id, for_what) in builds {
            let build = moves::build_by_id(&mut tx, &id).await?;
            match build.state {
                BuildState::Waiting { .. } => ledger.rewait(&mut tx, build, for_what).await?,
                BuildState::Listed { .. }
                | BuildState::Building { .. }
                | BuildState::Ended { .. } => {
                    return Err(StoreError::ClaimLost(format!("build {id}, which waited")));
                }
            }
        }
        let moved = ledger.close(&mut tx).await?;
        tx.commit().await?;
        Ok(moved)
    }
}

/// The features that builds of a system ask for, one step along the index for each.
pub(super) const KINDS: &str = "WITH RECURSIVE kind (features) AS (\
     SELECT MIN(b.features) FROM build b WHERE b.state = 'waiting' AND b.held = 0 \
     AND b.home = $2 AND b.system = $1 \
     UNION ALL SELECT (SELECT MIN(b.features) FROM build b WHERE b.state = 'waiting' \
     AND b.held = 0 AND b.home = $2 AND b.system = $1 AND b.features > kind.features) \
     FROM kind WHERE kind.features IS NOT NULL) \
     SELECT features FROM kind WHERE features IS NOT NULL";

/// Those whose derivation is with one instance, along the index `build_queue_at_home`, so that the ten thousandth waiting build costs nothing.
pub(super) const CANDIDATES: &str = concat!(
    "SELECT b.id AS id, b.run_id AS run_id, b.drv AS drv, b.derivation AS derivation, \
     b.required AS required, b.rank AS rank, b.rebuild AS rebuild, r.created_at AS created_at, \
     m.build_ms AS expected_ms, m.built_on AS built_on, \
     CASE WHEN b.weathers > 0 THEN (SELECT a.builder FROM attempt a WHERE a.drv = b.drv \
     ORDER BY a.started_at DESC LIMIT 1) END AS failed_on \
     FROM build b JOIN run r ON r.id = b.run_id JOIN repository p ON p.id = r.repository_id \
     LEFT JOIN memory m ON m.repository_id = r.repository_id AND m.attr_key = b.attr_key \
     WHERE b.state = 'waiting' AND b.held = 0 AND b.home = $4 AND b.system = $1 \
     AND b.features = $5 AND b.not_before <= $2 \
     AND NOT EXISTS (SELECT 1 FROM attempt a WHERE a.drv = b.drv AND a.state = 'running') AND ",
    active!(),
    " ORDER BY b.rank, b.since, b.id LIMIT $3"
);

fn candidate(row: &AnyRow, home: Option<&str>) -> Result<Candidate> {
    let derivation: Derivation = rows::json(row, "derivation")?;
    Ok(Candidate {
        build: rows::parsed(row, "id")?,
        run: rows::parsed(row, "run_id")?,
        drv: derivation.path,
        home: home.map(str::to_owned),
        system: derivation.system,
        features: derivation.features,
        required: rows::required(row, "required")?,
        created_at: rows::time(row, "created_at")?,
        rank: row.try_get("rank")?,
        rebuild: rows::rebuild(row, "rebuild")?,
        expected_ms: row.try_get("expected_ms")?,
        built_on: row.try_get("built_on")?,
        failed_on: row.try_get("failed_on")?,
    })
}
