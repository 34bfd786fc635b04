//! Builds that are listed anew: of a commit that is the head again, because somebody asked, or
//! because they wait where nobody builds them.
use sqlx::AnyConnection;

use crate::domain::build::{Build, Rebuild};
use crate::store::bump::Pace;
use crate::store::error::Result;
use crate::store::moves::Ledger;
use crate::store::rows;

impl Ledger {
    /// A superseded build is listed anew.
    pub(in crate::store) async fn revive(
        &mut self,
        tx: &mut AnyConnection,
        build: Build,
    ) -> Result<()> {
        build.state.revive()?;
        sqlx::query(
            "UPDATE build SET state = 'listed', since = $2, system = NULL, drv = NULL, \
             derivation = NULL, waiting = NULL, held = 0, not_before = 0, attempt_id = NULL, \
             ending = NULL, ended_at = NULL WHERE id = $1",
        )
        .bind(build.id.as_str())
        .bind(self.now.0)
        .execute(&mut *tx)
        .await?;
        self.builds.insert(build.id, Pace::Revived);
        Ok(())
    }

    /// A build that was asked for again is listed anew; what its evaluation gave stays known.
    pub(in crate::store) async fn again(
        &mut self,
        tx: &mut AnyConnection,
        build: Build,
        rebuild: Rebuild,
    ) -> Result<()> {
        build.state.again()?;
        sqlx::query(
            "UPDATE build SET state = 'listed', since = $2, waiting = NULL, held = 0, \
             not_before = 0, weathers = 0, attempt_id = NULL, ending = NULL, ended_at = NULL, \
             rebuild = $3, note = NULL, earlier = NULL, by_hand = 1 WHERE id = $1",
        )
        .bind(build.id.as_str())
        .bind(self.now.0)
        .bind(rows::rebuild_name(rebuild))
        .execute(&mut *tx)
        .await?;
        self.builds.insert(build.id, Pace::Revived);
        Ok(())
    }

    /// A build that waits where nobody builds it is listed anew; what its evaluation gave stays
    /// known.
    pub(in crate::store) async fn relist(
        &mut self,
        tx: &mut AnyConnection,
        build: Build,
    ) -> Result<()> {
        build.state.relist()?;
        sqlx::query(
            "UPDATE build SET state = 'listed', since = $2, waiting = NULL, held = 0, \
             not_before = 0, home = '' WHERE id = $1",
        )
        .bind(build.id.as_str())
        .bind(self.now.0)
        .execute(&mut *tx)
        .await?;
        self.touch(&build.run, Pace::Progress);
        self.builds.insert(build.id, Pace::Progress);
        Ok(())
    }
}
