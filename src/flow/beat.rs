//! Says that this instance is alive: its work is taken over by others when it falls silent.
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::flow::shared::Shared;
use crate::flow::{Stage, Step};
use crate::store::StoreError;

/// Several times within the silence after which an instance counts as gone.
pub const PERIOD: Duration = Duration::from_secs(8);

/// A stage of its own, so that nothing that takes long is in its way.
pub struct Beat {
    shared: Arc<Shared>,
}

impl Beat {
    pub fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }
}

impl Stage for Beat {
    const NAME: &'static str = "beat";
    type Error = StoreError;

    async fn step(&self, _: &CancellationToken) -> Result<Step, StoreError> {
        self.shared.store.beat(self.shared.clock.now()).await?;
        Ok(Step::Idle)
    }
}
