//! What GitHub could not deliver is found and made up for.
use std::time::Duration;

use fleetcheck::domain::Timestamp;
use fleetcheck::github::webhook;
use fleetcheck::store::Store;
use fleetcheck::store::recover::Mark;

use crate::world::World;
use crate::world::fleet::Host;
use crate::world::github::{
    Between, Fault, From, OTHER_PRIVATE_KEY, OTHER_PUBLIC_KEY, Operation, Options, PUBLIC_KEY,
    Shape,
};
use crate::world::nix::TestNix;

const NAMES: [&str; 2] = ["fleet", "fleet / orion"];
const HOUR: i64 = 3_600_000;

impl World {
    /// A world that looks for missed deliveries this often.
    async fn looking_every(interval: &str) -> Self {
        let mut world = Self::new().await;
        world.github_settings = format!("recover_interval = \"{interval}\"");
        world
    }

    /// Waits until the service has begun to look.
    async fn has_begun(&self) {
        self.wait("the first look", |github| github.count(Operation::Deliveries) > 0).await;
        let store = self.opened_store().await;
        while store.mark(Mark::Deliveries).await.unwrap().is_none() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn opened_store(&self) -> Store {
        let url = format!("sqlite:{}", self.directory().join("fleetcheck.db").display());
        Store::open(&url).await.unwrap()
    }

    /// While the service is down: as if the last looks were so long ago.
    async fn away_for(&self, milliseconds: i64) {
        let store = self.opened_store().await;
        for mark in [Mark::Deliveries, Mark::Heads, Mark::Begun] {
            let at = store.mark(mark).await.unwrap().unwrap();
            store.set_marks(&[(mark, Timestamp(at.0 - milliseconds))]).await.unwrap();
        }
        for it in store.known_repositories().await.unwrap() {
            store.heads_compared(it.repository.id, Timestamp(0)).await.unwrap();
        }
    }

    async fn counted(&self, metric: &str) -> bool {
        let (_, metrics) = self.get(&self.url("/metrics")).await;
        metrics.lines().any(|it| it.starts_with(metric))
    }
}

#[tokio::test]
async fn a_push_while_the_service_was_down_is_found_and_asked_for() {
    let mut world = World::looking_every("1s").await;
    world.start().await;
    world.has_begun().await;
    world.stop().await;
    let sha = world.commit("main", &[Host::good("orion", "1")], &[]);
    assert_eq!(world.github.push(&world.repo, "main", &sha).await, None, "nobody is there");
    world.start().await;
    world.settled(&sha, &NAMES).await;
    assert_eq!(world.github.count(Operation::Redeliver), 1, "asked for once");
    world.assert_nothing_doubled(&sha);
    assert!(world.counted("fleetcheck_missed_deliveries_total 1").await);
    let page = world.get(&world.url("/deliveries")).await.1;
    assert!(page.contains("asked for"), "{page}");
}

#[tokio::test]
async fn a_delivery_that_something_in_front_acknowledged_and_lost_is_found() {
    let mut world = World::looking_every("1s").await;
    world.start().await;
    world.has_begun().await;
    world.github.put_between(Between::Sink);
    let sha = world.commit("main", &[Host::good("orion", "1")], &[]);
    assert_eq!(world.github.push(&world.repo, "main", &sha).await, Some(204));
    world.github.put_between(Between::Nothing);
    world.settled(&sha, &NAMES).await;
    world.assert_nothing_doubled(&sha);
}

#[tokio::test]
async fn a_list_of_many_pages_is_read_along_its_links() {
    let mut world = World::looking_every("1s").await;
    world.start().await;
    world.has_begun().await;
    world.stop().await;
    let sha = world.commit("main", &[Host::good("orion", "1")], &[]);
    world.github.push(&world.repo, "main", &sha).await;
    for number in 0..250 {
        let body = serde_json::json!({ "action": "created", "check_run": { "id": number } });
        world.github.deliver("check_run", &body).await;
    }
    world.start().await;
    world.settled(&sha, &NAMES).await;
    let calls = world.github.calls();
    let asked: Vec<_> = calls.iter().filter(|it| it.path.contains("cursor=v1_")).collect();
    assert!(asked.len() >= 2, "{asked:#?}");
    assert_eq!(world.github.count(Operation::Redeliver), 1, "echoes are not asked for");
    assert!(!webhook::may_act("check_run", Some("created")));
}

#[tokio::test]
async fn a_delivery_that_fails_again_and_again_is_asked_for_with_patience() {
    let mut world = World::looking_every("1s").await;
    world.start().await;
    world.has_begun().await;
    world.github.put_between(Between::Outage);
    let sha = world.commit("main", &[Host::good("orion", "1")], &[]);
    world.github.push(&world.repo, "main", &sha).await;
    world.wait("it is asked for twice", |github| github.count(Operation::Redeliver) >= 2).await;
    let times: Vec<_> = world
        .github
        .calls()
        .into_iter()
        .filter(|it| it.operation == Operation::Redeliver)
        .map(|it| it.at)
        .collect();
    assert!(times[1] - times[0] > Duration::from_millis(1500), "not at every look: {times:?}");
    world.github.put_between(Between::Nothing);
    world.settled(&sha, &NAMES).await;
}

#[tokio::test]
async fn a_delivery_that_github_no_longer_has_is_given_up_and_said() {
    let mut world = World::looking_every("1s").await;
    world.start().await;
    world.has_begun().await;
    world.github.fail_next(Operation::Redeliver, Fault::Status(404), 1);
    world.github.put_between(Between::Outage);
    let sha = world.commit("main", &[Host::good("orion", "1")], &[]);
    world.github.push(&world.repo, "main", &sha).await;
    world.logged("is given up: ").await;
    world.github.put_between(Between::Nothing);
    let next = world.push(&[Host::good("orion", "2")], &[]).await;
    world.settled(&next, &NAMES).await;
    assert_eq!(world.github.count(Operation::Redeliver), 1);
}

#[tokio::test]
async fn after_an_outage_longer_than_github_keeps_deliveries_heads_are_compared() {
    let mut world = World::looking_every("1s").await;
    world.start().await;
    world.has_begun().await;
    let old = world.push(&[Host::good("orion", "1")], &[]).await;
    world.settled(&old, &NAMES).await;
    let topic = world.commit("topic", &[Host::good("orion", "2")], &[]);
    world.pull_request("opened", 7, &topic, From::SameRepository).await;
    world.settled(&topic, &NAMES).await;
    world.stop().await;
    world.github.later(60);
    let main = world.commit("main", &[Host::good("orion", "3")], &[]);
    world.github.push(&world.repo, "main", &main).await;
    let topic = world.commit("topic", &[Host::good("orion", "4")], &[]);
    world.github.pull_request(&world.repo, "synchronize", 7, &topic, From::SameRepository).await;
    let fork = world.commit("fork", &[Host::good("orion", "5")], &[]);
    world.github.pull_request(&world.repo, "opened", 8, &fork, From::Fork).await;
    world.github.forget_deliveries();
    world.away_for(4 * 24 * HOUR).await;
    world.start().await;
    for sha in [&main, &topic] {
        world.settled(sha, &NAMES).await;
    }
    world.concluded(&fork, "fleet", "action_required").await;
    world.logged("longer than GitHub keeps deliveries").await;
    assert_eq!(world.github.count(Operation::Redeliver), 0);
    assert_eq!(world.history(&old).len(), 2, "nothing is tested twice");
    assert!(world.counted("fleetcheck_recovered_total").await);
    // The page says so, to whoever has its key.
    let page = world.get(&world.url("/deliveries")).await.1;
    assert!(page.contains("recovered-"), "{page}");
}

#[tokio::test]
async fn an_enterprise_server_is_asked_for_deliveries_and_heads_below_its_own_address() {
    let options = Options { shape: Shape::Enterprise, ..Options::default() };
    let mut world = World::with(TestNix::one(), options).await;
    world.github_settings = "recover_interval = \"1s\"".to_owned();
    world.start().await;
    world.has_begun().await;
    world.stop().await;
    let policy = [("fleetcheck.toml", "[build]\nbranches = [\"release/*\"]\n")];
    let missed = world.commit("main", &[Host::good("orion", "1")], &policy);
    assert_eq!(world.github.push(&world.repo, "main", &missed).await, None, "nobody is there");
    for number in 0..120 {
        let body = serde_json::json!({ "action": "created", "check_run": { "id": number } });
        world.github.deliver("check_run", &body).await;
    }
    world.start().await;
    world.settled(&missed, &NAMES).await;
    assert_eq!(world.github.count(Operation::Redeliver), 1);
    // The second time the deliveries are gone too.
    world.stop().await;
    world.github.later(60);
    let release = world.commit("release/1", &[Host::good("orion", "2")], &policy);
    world.github.push(&world.repo, "release/1", &release).await;
    let topic = world.commit("topic", &[Host::good("orion", "3")], &policy);
    world.github.pull_request(&world.repo, "opened", 7, &topic, From::SameRepository).await;
    world.github.forget_deliveries();
    world.away_for(4 * 24 * HOUR).await;
    world.start().await;
    world.settled(&release, &NAMES).await;
    world.settled(&topic, &NAMES).await;
    let calls = world.github.calls();
    let api = calls.iter().filter(|it| it.operation != Operation::Git);
    for call in api {
        let known = call.path.starts_with("/api/v3/") || call.path == "/api/graphql";
        assert!(known && call.operation != Operation::Unknown, "{call:?}");
    }
    let cursors = calls.iter().filter(|it| it.path.contains("cursor=v1_")).count();
    let called = |operation| calls.iter().any(|it| it.operation == operation);
    assert!(cursors > 0 && called(Operation::Pulls) && called(Operation::Branches));
}

#[tokio::test]
async fn branches_that_the_policy_builds_are_compared_too() {
    let policy = [("fleetcheck.toml", "[build]\nbranches = [\"release/*\"]\n")];
    let mut world = World::looking_every("1s").await;
    world.start().await;
    world.has_begun().await;
    let first = world.push(&[Host::good("orion", "1")], &policy).await;
    world.settled(&first, &NAMES).await;
    world.stop().await;
    world.github.later(60);
    let release = world.commit("release/1", &[Host::good("orion", "2")], &policy);
    world.github.push(&world.repo, "release/1", &release).await;
    let topic = world.commit("topic", &[Host::good("orion", "3")], &policy);
    world.github.push(&world.repo, "topic", &topic).await;
    world.github.forget_deliveries();
    world.away_for(2 * HOUR).await;
    world.start().await;
    world.settled(&release, &NAMES).await;
    world.caught_up().await;
    assert_eq!(world.checks(&topic), "", "no branch of the policy");
}

#[tokio::test]
async fn a_recovered_head_does_not_take_the_place_of_a_newer_one() {
    let mut world = World::looking_every("1s").await;
    world.start().await;
    world.has_begun().await;
    let first = world.push(&[Host::good("orion", "1")], &[]).await;
    world.settled(&first, &NAMES).await;
    world.stop().await;
    world.github.later(60);
    let missed = world.commit("main", &[Host::good("orion", "2")], &[]);
    world.github.push(&world.repo, "main", &missed).await;
    world.github.forget_deliveries();
    world.away_for(2 * HOUR).await;
    world.start().await;
    world.settled(&missed, &NAMES).await;
    // The delivery comes late all the same, and so does an older one.
    let delivered = world.last_delivery("push");
    world.github.later(60);
    let newest = world.push(&[Host::good("orion", "3")], &[]).await;
    assert_eq!(world.github.redeliver(&delivered).await, Some(202));
    world.settled(&newest, &NAMES).await;
    world.caught_up().await;
    for sha in [&first, &missed, &newest] {
        assert_eq!(world.history(sha), ["fleet: success", "fleet / orion: success"]);
    }
}

#[tokio::test]
async fn a_new_service_tests_nothing_that_was_there_before_it() {
    let mut world = World::looking_every("1s").await;
    let old = world.commit("main", &[Host::good("orion", "1")], &[]);
    world.github.push(&world.repo, "main", &old).await;
    world.github.later(60);
    world.start().await;
    world.has_begun().await;
    let looks = world.github.count(Operation::Deliveries);
    world.wait("two more looks", |github| github.count(Operation::Deliveries) >= looks + 2).await;
    assert_eq!(world.github.count(Operation::Redeliver), 0);
    assert_eq!(world.checks(&old), "");
}

#[tokio::test]
async fn an_app_key_that_github_no_longer_accepts_is_replaced_by_the_next() {
    let mut world = World::new().await;
    let (new, old) = (world.directory().join("new.pem"), world.directory().join("key.pem"));
    std::fs::write(&new, OTHER_PRIVATE_KEY).unwrap();
    world.keys = Some(vec![new, old]);
    // The new one is not yet known to GitHub.
    world.start().await;
    let first = world.push(&[Host::good("orion", "1")], &[]).await;
    world.settled(&first, &NAMES).await;
    // Now both are, and then only the new one is.
    world.github.accept_keys(&[PUBLIC_KEY, OTHER_PUBLIC_KEY]);
    world.github.accept_keys(&[OTHER_PUBLIC_KEY]);
    world.github.revoke_tokens();
    let second = world.push(&[Host::good("orion", "2")], &[]).await;
    world.settled(&second, &NAMES).await;
    world.logged("from now on key 1 signs").await;
}
