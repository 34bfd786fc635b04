//! Where a build's derivation is: in the Nix store of the instance that evaluated it. That one gives
//! it to its builders, and so do others to theirs where they reach that store. When the instance is
//! gone, or has no builder for it while another has that does not reach its store, the build is
//! evaluated again elsewhere.
use std::collections::BTreeMap;

use sqlx::AnyConnection;
use sqlx::Row;

use crate::domain::Timestamp;
use crate::domain::build::{Build, BuildState};
use crate::domain::builder::Condition;
use crate::domain::id::{DrvPath, RunId};
use crate::domain::plan::Capability;
use crate::domain::run::RunState;
use crate::store::Store;
use crate::store::error::Result;
use crate::store::leases::{alive_since, is_alive, lends};
use crate::store::moves::{Ledger, Moved, RunStep, run_by_id};
use crate::store::rows::{self, active, build_columns};

/// What this instance took over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct TakenOver {
    /// They are evaluated again.
    pub runs: Vec<RunId>,
    pub moved: Moved,
}

/// Builds that wait with an instance that is gone, or with none; of a run that is being evaluated
/// none: that ends first.
const GONE: &str = concat!(
    "SELECT ",
    build_columns!(),
    " FROM build b JOIN run r ON r.id = b.run_id \
     WHERE b.state = 'waiting' AND (b.home < $1 OR b.home > $1) \
     AND (r.state <> 'evaluating' OR r.claimed_by IS NULL) AND NOT ",
    is_alive!("b.home", "$2"),
    " ORDER BY b.run_id LIMIT 1000"
);

/// Builds for which the instance that evaluated them has no builder, and that is there; whoever
/// reaches its Nix store takes them from there.
const HELD: &str = concat!(
    "SELECT ",
    build_columns!(),
    " FROM build b JOIN run r ON r.id = b.run_id \
     WHERE b.state = 'waiting' AND b.held = 1 AND b.home <> $1 \
     AND (r.state <> 'evaluating' OR r.claimed_by IS NULL) AND ",
    is_alive!("b.home", "$2"),
    " AND NOT ",
    lends!("b.home", "$2")
);

/// Each with its instance, and where that lends what it evaluated.
const WAITING_FOR: &str = concat!(
    "SELECT ",
    build_columns!(),
    ", b.home AS home, COALESCE(h.store, '') AS lent FROM build b JOIN run r ON r.id = b.run_id \
     JOIN repository p ON p.id = r.repository_id \
     LEFT JOIN instance h ON h.owner = b.home AND h.seen_at > $2 \
     WHERE b.drv = $1 AND b.state = 'waiting' AND ",
    active!()
);

/// From where an instance gets a derivation that it is to build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Whence {
    /// It is in its own Nix store.
    Here,
    /// From the store at this URI, which is another's.
    Lent(String),
    /// Whoever has it is gone, or does not lend it.
    Nowhere,
}

impl Store {
    /// At the start: what an older version evaluated is where this instance is.
    pub async fn adopt(&self) -> Result<()> {
        sqlx::query("UPDATE build SET home = $1 WHERE state = 'waiting' AND home = ''")
            .bind(&*self.owner)
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    /// The instances whose derivations this one can build: itself first, and those that lend
    /// theirs.
    pub(super) async fn homes(
        &self,
        tx: &mut AnyConnection,
        now: Timestamp,
    ) -> Result<Vec<String>> {
        let lending = "SELECT i.owner AS owner FROM instance i \
             WHERE i.owner <> $1 AND i.seen_at > $2 AND i.store <> '' ORDER BY i.owner";
        let found =
            sqlx::query(lending).bind(&*self.owner).bind(alive_since(now)).fetch_all(tx).await?;
        let mut homes = vec![self.owner.to_string()];
        for row in &found {
            homes.push(row.try_get("owner")?);
        }
        Ok(homes)
    }

    /// Builds that wait for a derivation, of repositories whose installation lets us act, and from
    /// where this instance gets it.
    pub(super) async fn waiting_for(
        &self,
        tx: &mut AnyConnection,
        drv: &DrvPath,
        now: Timestamp,
    ) -> Result<(Vec<Build>, Whence)> {
        let found = sqlx::query(WAITING_FOR)
            .bind(drv.as_str())
            .bind(alive_since(now))
            .fetch_all(tx)
            .await?;
        let (mut builds, mut whence) = (Vec::with_capacity(found.len()), Whence::Nowhere);
        for row in &found {
            builds.push(rows::build(row)?);
            let (home, lent): (&str, String) = (row.try_get("home")?, row.try_get("lent")?);
            if home == &*self.owner {
                whence = Whence::Here;
            } else if whence == Whence::Nowhere && !lent.is_empty() {
                whence = Whence::Lent(lent);
            }
        }
        Ok((builds, whence))
    }

    /// Takes over what waits in vain elsewhere: everything of instances that are gone, and of
    /// others what they have no builder for and these can take. Only whoever evaluates does.
    pub async fn take_over(&self, able: &[Capability], now: Timestamp) -> Result<TakenOver> {
        // A run that waits for an instance alone waits for any when that is gone.
        sqlx::query(concat!(
            "UPDATE run SET home = '' WHERE state <> 'ended' AND home <> '' AND home <> $1 AND NOT ",
            is_alive!("run.home", "$2")
        ))
        .bind(&*self.owner)
        .bind(alive_since(now))
        .execute(&self.writer)
        .await?;
        if self.elsewhere(able, now).await?.is_empty() {
            return Ok(TakenOver::default());
        }
        let mut tx = self.write().await?;
        let mut ledger = Ledger::new(now);
        // Read anew: another instance may have been quicker.
        let builds = builds_elsewhere(&mut tx, (&self.owner, able), now).await?;
        let mut runs: BTreeMap<RunId, &str> = BTreeMap::new();
        for (build, home) in builds {
            let entry = runs.entry(build.run.clone()).or_default();
            // Only this instance is known to have a builder for it.
            if home == Home::Alive {
                *entry = &self.owner;
            }
            ledger.relist(&mut tx, build).await?;
        }
        for (id, home) in &runs {
            sqlx::query("UPDATE run SET home = $2, claimed_until = 0 WHERE id = $1")
                .bind(id.as_str())
                .bind(*home)
                .execute(&mut *tx)
                .await?;
            let run = run_by_id(&mut tx, id).await?;
            match run.state {
                // It is evaluated anyhow.
                RunState::Requested | RunState::Evaluating { .. } => {}
                RunState::AwaitingApproval | RunState::Building { .. } | RunState::Ended { .. } => {
                    ledger.run(&mut tx, run, RunStep::Elsewhere).await?;
                }
            }
        }
        let moved = ledger.close(&mut tx).await?;
        tx.commit().await?;
        Ok(TakenOver { runs: runs.into_keys().collect(), moved })
    }

    async fn elsewhere(&self, able: &[Capability], now: Timestamp) -> Result<Vec<(Build, Home)>> {
        let mut tx = self.read().await?;
        builds_elsewhere(&mut tx, (&self.owner, able), now).await
    }

    /// Builders whose instances are all gone take no work, and say so.
    pub async fn miss_builders(&self, now: Timestamp) -> Result<()> {
        let gone = Condition::Unreachable {
            why: "no fleetcheck that has it in its settings runs".to_owned(),
        };
        let mut tx = self.read().await?;
        let found = sqlx::query(concat!(
            "SELECT b.name AS name FROM builder b WHERE b.condition <> $2 AND NOT EXISTS \
             (SELECT 1 FROM sight s WHERE s.builder = b.name AND (s.owner = $3 OR ",
            is_alive!("s.owner", "$1"),
            "))"
        ))
        .bind(alive_since(now))
        .bind(rows::to_json(&gone)?)
        .bind(&*self.owner)
        .fetch_all(&mut *tx)
        .await?;
        drop(tx);
        for row in &found {
            sqlx::query("UPDATE builder SET condition = $2, since = $3 WHERE name = $1")
                .bind(row.try_get::<&str, _>("name")?)
                .bind(rows::to_json(&gone)?)
                .bind(now.0)
                .execute(&self.writer)
                .await?;
        }
        Ok(())
    }
}

/// Whether the instance that evaluated a build is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Home {
    Alive,
    Gone,
}

async fn builds_elsewhere(
    tx: &mut AnyConnection,
    (owner, able): (&str, &[Capability]),
    now: Timestamp,
) -> Result<Vec<(Build, Home)>> {
    let mut builds = Vec::new();
    for (text, home) in [(GONE, Home::Gone), (HELD, Home::Alive)] {
        let found =
            sqlx::query(text).bind(owner).bind(alive_since(now)).fetch_all(&mut *tx).await?;
        for row in &found {
            let build = rows::build(row)?;
            let BuildState::Waiting { derivation, .. } = &build.state else { continue };
            let fits = able.iter().any(|it| it.fits(&derivation.system, &derivation.features));
            if home == Home::Gone || fits {
                builds.push((build, home));
            }
        }
    }
    Ok(builds)
}
