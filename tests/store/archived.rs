//! Which logs go to the bucket, and which go from there.
use std::collections::HashMap;

use fleetcheck::domain::Timestamp;
use fleetcheck::domain::id::AttemptId;
use fleetcheck::domain::verdict::Verdict;
use fleetcheck::store::archived::Archived;

use crate::world::{LEASE, NOW, World, built, derivation, id};

const EVER: Timestamp = Timestamp(0);

impl World {
    /// An attempt of this instance that ended.
    async fn built_by(&self, host: &str, by: &str) -> AttemptId {
        let wanted = [(derivation(host).path, id::<AttemptId>())];
        let claimed = self.store.claim_attempts(&wanted, "local", by, NOW, LEASE).await;
        let claim = claimed.unwrap().0.pop().unwrap();
        let _ = self.finish(&claim, built()).await;
        claim.attempt().clone()
    }

    async fn unarchived(&self, by: &str, now: Timestamp) -> Vec<AttemptId> {
        self.store.unarchived(by, EVER, now, 9).await.unwrap()
    }
}

contract! {
    async fn the_logs_of_an_instance_go_to_the_bucket_once(world) {
        world.push("a1", &[]).await;
        let (claim, _) = world.waiting(&["raider", "viper", "orion", "pegasus"]).await;
        let _ = world.store.finish_evaluation(&claim, NOW).await.unwrap();
        let raider = world.built_by("raider", "me").await;
        let viper = world.built_by("viper", "me").await;
        let orion = world.built_by("orion", "another").await;
        let running = world.start("pegasus").await.unwrap();
        assert_eq!(world.unarchived("me", NOW).await, [raider.clone(), viper.clone()]);
        let others = world.unarchived("another", NOW).await;
        assert_eq!(others, std::slice::from_ref(&orion));
        let one = world.store.unarchived("me", EVER, NOW, 1).await.unwrap();
        assert_eq!(one, std::slice::from_ref(&raider), "the oldest first");
        let late = world.store.unarchived("me", NOW, NOW, 9).await.unwrap();
        assert_eq!(late, [], "none that ended before that");

        let carried = [(raider.clone(), Archived::Stored), (viper.clone(), Archived::Nothing)];
        world.store.set_archived(&carried, NOW).await.unwrap();
        world.store.set_archived(&[], NOW).await.unwrap();
        assert_eq!(world.unarchived("me", NOW).await, []);
        let is_archived = async |it| world.store.is_archived(it).await.unwrap();
        assert!(is_archived(&raider).await);
        assert!(!is_archived(&viper).await && !is_archived(&orion).await);
        assert!(!is_archived(running.attempt()).await && !is_archived(&id()).await);

        let asked = [raider.clone(), viper.clone(), running.attempt().clone(), id()];
        let known = world.store.archived_of(&asked).await.unwrap();
        let wanted = [(raider, true), (viper, false), (running.attempt().clone(), false)];
        assert_eq!(known, HashMap::from(wanted));
        assert_eq!(world.store.archived_of(&[]).await.unwrap(), HashMap::new());
    }

    async fn the_log_of_a_lost_attempt_is_left_alone_while_somebody_may_write_it(world) {
        world.push("a1", &[]).await;
        let (claim, _) = world.waiting(&["raider"]).await;
        let _ = world.store.finish_evaluation(&claim, NOW).await.unwrap();
        let lost = world.start("raider").await.unwrap();
        let later = NOW.plus(LEASE);
        let expired = world.store.expire(later).await.unwrap();
        assert_eq!(expired.attempts, std::slice::from_ref(lost.attempt()));
        assert_eq!(world.unarchived("me", later.plus(60_000)).await, []);
        let found = world.unarchived("me", later.plus(600_000)).await;
        assert_eq!(found, std::slice::from_ref(lost.attempt()));
    }

    async fn an_attempt_is_known_until_its_log_has_left_the_bucket(world) {
        world.push("a1", &[]).await;
        let (claim, _) = world.waiting(&["raider", "viper"]).await;
        let raider = world.built_by("raider", "me").await;
        let viper = world.built_by("viper", "me").await;
        let archived = [(raider.clone(), Archived::Stored), (viper.clone(), Archived::Nothing)];
        world.store.set_archived(&archived, NOW).await.unwrap();
        let unshown = async || world.store.archived_unshown(NOW.plus(1), 9).await.unwrap();
        assert_eq!(unshown().await, [], "their builds show them");
        let left = fleetcheck::domain::build::Ending::Transient { what: "x".into() };
        let _ = world.store.end_run(&claim, Verdict::Failed, left, NOW).await.unwrap();
        let forgotten = world.store.forget_runs(NOW.plus(1)).await.unwrap();
        assert_eq!(forgotten, std::slice::from_ref(&viper), "it has a log nowhere else");
        assert_eq!(unshown().await, std::slice::from_ref(&raider));
        let young = world.store.archived_unshown(NOW, 9).await.unwrap();
        assert_eq!(young, []);
        assert!(world.store.attempt(&raider).await.unwrap().is_some());
        world.store.forget_attempts(&[]).await.unwrap();
        world.store.forget_attempts(std::slice::from_ref(&raider)).await.unwrap();
        assert!(world.store.attempt(&raider).await.unwrap().is_none());
        assert_eq!(unshown().await, []);
    }
}
