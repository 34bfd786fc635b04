//! What becomes of a build that was evaluated.
use sqlx::AnyConnection;

use crate::domain::Timestamp;
use crate::domain::build::{Build, Derivation, Rebuild, Waiting};
use crate::domain::run::Run;
use crate::store::error::Result;
use crate::store::failures::Remembrance;
use crate::store::moves::{BuildStep, Ledger};
use crate::store::runs::Outcome;
use crate::store::{attempts, failures, memory};

/// Moves one evaluated build; what failed after `since` is not built again.
pub(super) async fn settle(
    tx: &mut AnyConnection,
    ledger: &mut Ledger,
    (run, since): (&Run, Timestamp),
    (build, outcome): (Build, Outcome),
) -> Result<()> {
    match outcome {
        Outcome::Reuse(derivation) => {
            memory::good(tx, run, &build, &derivation).await?;
            ledger.build(tx, build, BuildStep::Reuse(derivation)).await?;
        }
        Outcome::Wait(derivation, for_what) => {
            let before = failures::remembered(tx, &build, &derivation.path, since).await?;
            wait(tx, ledger, build, (derivation, for_what), before).await?;
        }
        Outcome::NeedsFailed(derivation, for_what, attempt) => {
            let before = failures::remembered(tx, &build, &derivation.path, since).await?;
            let before = match before {
                None => failures::of_a_need(tx, &build, &attempt).await?,
                own @ Some(_) => own,
            };
            wait(tx, ledger, build, (derivation, for_what), before).await?;
        }
        Outcome::Fail(ending) => {
            ledger.build(tx, build, BuildStep::End(ending)).await?;
        }
    }
    Ok(())
}

/// A build waits, or joins the attempt that runs, or ends as the one before.
async fn wait(
    tx: &mut AnyConnection,
    ledger: &mut Ledger,
    build: Build,
    (derivation, for_what): (Derivation, Waiting),
    before: Option<Remembrance>,
) -> Result<()> {
    // An attempt that began before proves nothing about a build from scratch.
    let running = match build.rebuild {
        Rebuild::IfMissing => attempts::running_attempt(tx, &derivation.path).await?,
        Rebuild::FromScratch => None,
    };
    let build = ledger.build(tx, build, BuildStep::Wait(derivation, for_what)).await?;
    match (running, before) {
        (Some(attempt), _) => {
            ledger.build(tx, build, BuildStep::Start(attempt)).await?;
        }
        (None, Some(before)) => {
            failures::end_as_before(tx, ledger, build, before).await?;
        }
        (None, None) => {}
    }
    Ok(())
}
