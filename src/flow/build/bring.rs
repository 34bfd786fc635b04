//! Derivations come to where they are built, and what was built comes back.
use std::collections::BTreeMap;

use tokio_util::sync::CancellationToken;

use crate::domain::build::Attempted;
use crate::domain::id::{DrvPath, StorePath};
use crate::flow::build::Slot;
use crate::nix::machine::Machine;
use crate::nix::worker::Worker;
use crate::store::AttemptClaim;

impl Slot {
    /// Brings the derivations to this machine where another instance evaluated them, and on to the
    /// builder. Gives why not, as everyone may know it.
    pub(super) async fn bring(
        &self,
        claims: &[AttemptClaim],
        worker: &mut Worker,
        stop: &CancellationToken,
    ) -> Result<(), String> {
        let mut lent: BTreeMap<&str, Vec<&DrvPath>> = BTreeMap::new();
        for claim in claims {
            lent.entry(claim.lent().unwrap_or_default()).or_default().push(claim.drv());
        }
        lent.remove("");
        let name = &self.builder.name;
        for (from, drvs) in lent {
            let mut home = self.home.lock().await;
            if let Err(words) = self.machine.borrow(from, &drvs, &mut home, stop).await {
                tracing::warn!(builder = %name, from, "derivations could not be copied from {from}, where they were evaluated: {words}");
                let outline = Machine::outline(&words);
                return Err(format!(
                    "the derivation could not be copied from where it was evaluated{outline}"
                ));
            }
        }
        self.hand_over(claims, worker, stop).await.map_err(|words| {
            tracing::warn!(builder = %name, "derivations could not be copied to {name}: {words}");
            let outline = Machine::outline(&words);
            format!("the derivation could not be copied to {name}{outline}")
        })
    }

    /// What is brought there is no garbage while the worker lives.
    async fn hand_over(
        &self,
        claims: &[AttemptClaim],
        worker: &mut Worker,
        stop: &CancellationToken,
    ) -> Result<(), String> {
        if self.machine.is_remote() {
            for claim in claims {
                let held = worker.add_temp_root(claim.drv().as_str()).await;
                held.map_err(|it| self.machine.told(&it))?;
            }
        }
        self.machine.bring(claims.iter().map(AttemptClaim::drv), stop).await
    }

    /// What is wanted here and does not arrive is not built.
    pub(super) async fn take_back(
        &self,
        claims: &[AttemptClaim],
        mut results: Vec<(DrvPath, Attempted)>,
        stop: &CancellationToken,
    ) -> Vec<(DrvPath, Attempted)> {
        let is_good =
            |it: &Attempted| matches!(it, Attempted::Answered(ending) if ending.is_good());
        let good = |drv| results.iter().any(|(it, attempted)| it == drv && is_good(attempted));
        let good = claims.iter().filter(|it| good(it.drv()));
        let outputs = good.flat_map(|it| it.derivation().outputs.values().cloned());
        let outputs: Vec<StorePath> = outputs.collect();
        let mut home = self.home.lock().await;
        if let Err(words) = self.machine.take_back(&outputs, &mut home, stop).await {
            let name = &self.builder.name;
            tracing::warn!(builder = %name, "what was built could not be copied from {name}: {words}");
            let what = format!("what was built could not be copied from {name}");
            for (_, attempted) in results.iter_mut().filter(|(_, it)| is_good(it)) {
                *attempted = Attempted::Weather(what.clone());
            }
        }
        results
    }
}
