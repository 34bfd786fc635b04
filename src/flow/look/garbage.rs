//! A machine whose disk is low is asked to collect its garbage, where the settings say so.
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::domain::Timestamp;
use crate::domain::builder::{Collection, Condition};
use crate::domain::page::bytes;
use crate::nix::machine::Machine;

/// Between the beginnings of two collections: one that frees nothing is not repeated at once.
const EVERY_MS: i64 = 10 * 60_000;

/// The collections of one machine, one at a time, beside its looks: they may take an hour.
#[derive(Default)]
pub(super) struct Garbage {
    last: Option<Collection>,
    /// The one that is under way; dropped with the stage.
    under_way: JoinSet<Result<u64, String>>,
}

impl Garbage {
    /// What another instance, or the process before, asked for counts as well.
    pub(super) fn remember(&mut self, known: Option<Collection>) {
        let is_newer = |it: &Collection| self.last.is_none_or(|last| it.at > last.at);
        if let Some(known) = known.filter(is_newer) {
            self.last = Some(known);
        }
    }

    /// Begins a collection where one is needed, and tells of the last.
    pub(super) fn look(
        &mut self,
        (name, machine): (&str, &Machine),
        condition: &Condition,
        now: Timestamp,
        stop: &CancellationToken,
    ) -> Option<Collection> {
        while let Some(ended) = self.under_way.try_join_next() {
            self.ended(name, ended.unwrap_or_else(|error| Err(error.to_string())));
        }
        let is_due = self.last.is_none_or(|it| now.since(it.at) >= EVERY_MS);
        if let Condition::DiskLow { free, wanted } = condition
            && self.under_way.is_empty()
            && is_due
        {
            // Half as much again, or the next build would fill it up.
            let enough = (wanted + wanted / 2).saturating_sub(*free);
            tracing::info!(
                builder = name,
                "builder {name} is asked to collect {} of garbage",
                bytes(enough)
            );
            self.last = Some(Collection { at: now, freed: None });
            let (machine, stop) = (machine.clone(), stop.clone());
            self.under_way.spawn(async move { machine.collect(enough, &stop).await });
        }
        self.last
    }

    fn ended(&mut self, name: &str, ended: Result<u64, String>) {
        let freed = match ended {
            Ok(freed) => {
                tracing::info!(
                    builder = name,
                    "builder {name} collected {} of garbage",
                    bytes(freed)
                );
                freed
            }
            Err(words) => {
                tracing::warn!(builder = name, "builder {name} collects no garbage: {words}");
                0
            }
        };
        if let Some(last) = &mut self.last {
            last.freed = Some(freed);
        }
    }
}
