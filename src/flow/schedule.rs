//! A repository's schedule → an update that is wanted. What was missed while nobody ran is made up
//! once.
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::domain::Timestamp;
use crate::domain::id::RepositoryId;
use crate::domain::incoming::Repository;
use crate::domain::update::life::{Cause, Update};
use crate::domain::update::schedule::{Schedule, jitter};
use crate::flow::evaluate::millis;
use crate::flow::shared::Shared;
use crate::flow::{Stage, Step, new_id};
use crate::store::StoreError;
use crate::store::schedules::NextUpdate;
use crate::store::updates::Asked;

/// Sees schedules fire; one instance at a time.
pub struct Fire {
    shared: Arc<Shared>,
}

impl Fire {
    pub fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }
}

/// When a repository's update is due after this moment; each of those that have the same schedule a
/// little later, so that they do not all begin at once.
pub(super) fn next(
    schedule: &Schedule,
    repository: RepositoryId,
    after: Timestamp,
) -> Option<NextUpdate> {
    let later = millis(jitter(repository));
    // What is due now without its own delay may still be to come with it.
    let due_at = schedule.next(after.plus(-later))?.plus(later);
    Some(NextUpdate { schedule: schedule.key(), due_at })
}

impl Stage for Fire {
    const NAME: &'static str = "schedule";
    type Error = StoreError;

    async fn step(&self, _: &CancellationToken) -> Result<Step, StoreError> {
        let (store, now) = (&self.shared.store, self.shared.clock.now());
        let due = store.due_updates(now).await?;
        if due.is_empty() {
            return Ok(Step::Idle);
        }
        for (repository, fired) in due {
            let schedule = Schedule::from_key(&fired.schedule);
            let next = schedule.as_ref().and_then(|it| next(it, repository.id, now));
            let update = Update::new(new_id(), repository.id, Cause::Schedule, now);
            let next = next.map(|it| it.due_at);
            let (asked, moved) = store.fire_update(&update, &fired, next, now).await?;
            self.shared.wakeups.tell(&moved);
            told(&repository, asked.as_ref());
        }
        Ok(Step::Worked)
    }
}

fn told(repository: &Repository, asked: Option<&Asked>) {
    let Repository { owner, name, .. } = repository;
    match asked {
        Some(Asked::Begun(id)) => {
            tracing::info!(update.id = %id, "the update of {owner}/{name} is due: {id} begins");
        }
        Some(Asked::Already(id)) => {
            tracing::info!(update.id = %id, "the update of {owner}/{name} is due, and {id} is on its way");
        }
        None => {}
    }
}
