//! What the service counts.
use std::time::Duration;

use crate::world::World;

impl World {
    /// Waits until `/metrics` says so many.
    pub(crate) async fn counts(&self, metric: &str, count: usize) {
        let line = format!("{metric} {count}\n");
        let counted = async {
            while !self.get(&self.url("/metrics")).await.1.contains(&line) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let in_time = tokio::time::timeout(Duration::from_mins(1), counted).await;
        assert!(in_time.is_ok(), "`{}` is not among the metrics", line.trim());
    }
}
