//! Deliveries in any order, some twice and some never, and a GitHub API that fails now and then: in
//! the end GitHub shows what it would have shown on a good day.
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::subsequence;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};

use crate::world::World;
use crate::world::fleet::Host;
use crate::world::github::{Between, Fault, From, Operation};

/// What happens to the repository, in this order: five deliveries.
struct Story {
    /// The tip of main and the head of the pull request.
    heads: [String; 2],
    older: Vec<String>,
}

const DELIVERIES: usize = 5;

impl Story {
    /// While nobody listens.
    async fn happen(world: &World) -> Self {
        let good = |content: &str| Host::good("orion", content);
        let bad = Host::throws("raider", "gtk-engine-murrine was removed");
        world.github.put_between(Between::Outage);
        let mut older = Vec::new();
        // Where the pull request leaves its base. It is tested on no day: what a run is judged
        // against, and whether that has listed its hosts by then, is another story.
        let root = world.commit("main", &[good("0")], &[]);
        // All within one second, so that GitHub's times tell nothing of their order.
        world.github.whole_second();
        for content in ["1", "2"] {
            let sha = world.commit("main", &[good(content), bad.clone()], &[]);
            world.github.push(&world.repo, "main", &sha).await;
            older.push(sha);
        }
        let pull = world.commit_onto(Some(&root), "topic", &[good("3")]);
        world.github.pull_request(&world.repo, "opened", 1, &pull, From::SameRepository).await;
        // With every host of the commits before: whether one that is gone counts as vanished depends
        // on whether the commit before got as far as listing it.
        let main = world.commit("main", &[good("4"), bad, Host::broken("viper")], &[]);
        world.github.push(&world.repo, "main", &main).await;
        let head = world.commit("topic", &[good("5"), Host::good("galactica", "1")], &[]);
        world.github.pull_request(&world.repo, "synchronize", 1, &head, From::SameRepository).await;
        older.push(pull);
        world.github.put_between(Between::Nothing);
        Self { heads: [main, head], older }
    }

    /// What GitHub shows of the heads once nothing moves any more.
    async fn shown(&self, world: &World) -> [String; 2] {
        let [main, head] = &self.heads;
        world.settled(main, &["fleet", "fleet / orion", "fleet / raider", "fleet / viper"]).await;
        world.settled(head, &["fleet", "fleet / orion", "fleet / galactica"]).await;
        let all: Vec<&String> = self.heads.iter().chain(&self.older).collect();
        world
            .wait("no check of any commit is open", |github| {
                all.iter().all(|sha| {
                    let runs = github.all_check_runs(world.repo.id, sha);
                    runs.iter().all(|it| it.status == "completed")
                })
            })
            .await;
        for (sha, state) in [(main, "failure"), (head, "success")] {
            let wanted = format!("fleetcheck: {state}: ");
            world
                .wait("the status mirrors the gate", |github| {
                    github
                        .statuses(world.repo.id, sha)
                        .iter()
                        .any(|it| format!("{}: {}: ", it.context, it.state) == wanted)
                })
                .await;
        }
        [words(world, main), words(world, head)]
    }
}

/// The checks without what differs from day to day: whether a host was built or reused, and what is
/// known of the commit before, so whether a failure is called a new one.
fn words(world: &World, sha: &str) -> String {
    let lines = world.checks(sha);
    let state = |line: &str| line.splitn(3, ": ").take(2).collect::<Vec<_>>().join(": ");
    let gate = lines.lines().next().unwrap_or_default();
    let gate = gate.split("; ").next().unwrap_or_default().to_owned();
    std::iter::once(gate).chain(lines.lines().skip(1).map(state)).collect::<Vec<_>>().join("\n")
}

/// A bad day: which deliveries come at first and in which order, and what GitHub answers meanwhile.
#[derive(Clone, Debug)]
struct BadDay {
    come: Vec<usize>,
    faults: Vec<(Operation, Fault)>,
}

fn bad_day() -> impl Strategy<Value = BadDay> {
    let some = subsequence((0..DELIVERIES).collect::<Vec<_>>(), 0..=DELIVERIES);
    let twice = subsequence((0..DELIVERIES).collect::<Vec<_>>(), 0..=2);
    let come = (some, twice).prop_map(|(some, twice)| [some, twice].concat()).prop_shuffle();
    let operation = prop_oneof![
        Just(Operation::Graphql),
        Just(Operation::CreateCheck),
        Just(Operation::UpdateCheck),
        Just(Operation::ListChecks),
        Just(Operation::SetStatus),
        Just(Operation::MintToken),
        Just(Operation::Deliveries),
    ];
    let fault = prop_oneof![
        Just(Fault::Status(502)),
        Just(Fault::SecondaryRateLimit { retry_after: 1 }),
        Just(Fault::Dropped),
        Just(Fault::AnswerLost),
        Just(Fault::Delay(Duration::from_millis(300))),
    ];
    let faults = proptest::collection::vec((operation, fault), 0..6);
    (come, faults).prop_map(|(come, faults)| BadDay { come, faults })
}

async fn world() -> World {
    let mut world = World::new().await;
    world.github_settings.push_str("recover_interval = \"2s\"");
    world.start().await;
    world
}

async fn good_day() -> [String; 2] {
    let world = world().await;
    let story = Story::happen(&world).await;
    for delivered in world.github.deliveries() {
        world.github.redeliver(&delivered).await;
    }
    story.shown(&world).await
}

async fn on(day: &BadDay) -> [String; 2] {
    let world = world().await;
    let story = Story::happen(&world).await;
    for (operation, fault) in &day.faults {
        world.github.fail_next(*operation, fault.clone(), 1);
    }
    let all = world.github.deliveries();
    for at in &day.come {
        world.github.redeliver(&all[*at]).await;
    }
    let shown = story.shown(&world).await;
    for sha in story.heads.iter().chain(&story.older) {
        world.assert_nothing_doubled(sha);
    }
    shown
}

/// Three heads of a branch or of a pull request within one second, the first and the last held.
async fn third_first_second_last(world: &World, branch: &str, tell: impl AsyncFn(usize, &str)) {
    let (mut first_hold, mut last_hold) =
        (world.hold(&format!("{branch}-1")), world.hold(&format!("{branch}-3")));
    world.github.put_between(Between::Outage);
    world.github.whole_second();
    let mut heads = Vec::new();
    let middle = Host::good("orion", &format!("{branch}-2"));
    let hosts = [
        Host::held_by("orion", &first_hold.script()),
        middle,
        Host::held_by("orion", &last_hold.script()),
    ];
    for (at, host) in hosts.into_iter().enumerate() {
        let sha = world.commit(branch, &[host], &[]);
        tell(at, &sha).await;
        heads.push(sha);
    }
    world.github.put_between(Between::Nothing);
    let all = world.github.deliveries();
    let [first, second, last] = &all[all.len() - 3..] else { panic!("{all:?}") };
    world.github.redeliver(last).await;
    last_hold.runs().await;
    // Nothing tells yet that it is the older one.
    world.github.redeliver(first).await;
    last_hold.is_over().await;
    first_hold.runs().await;
    world.github.redeliver(second).await;
    first_hold.is_over().await;
    last_hold.runs().await;
    last_hold.let_go();
    let [first, second, last] = heads.as_slice() else { panic!("{heads:?}") };
    world.settled(last, &["fleet", "fleet / orion"]).await;
    assert_eq!(world.check(last, "fleet").conclusion.as_deref(), Some("success"));
    let superseded = format!("superseded by {}", &last[..7]);
    world.settled(first, &["fleet", "fleet / orion"]).await;
    assert!(world.check(first, "fleet").title.contains(&superseded), "{}", world.checks(first));
    assert_eq!(world.checks(second), "");
}

#[tokio::test]
async fn of_three_pushes_within_one_second_the_last_is_tested_whichever_comes_first() {
    let mut world = World::new().await;
    world.start().await;
    third_first_second_last(&world, "main", async |_, sha| {
        world.github.push(&world.repo, "main", sha).await;
    })
    .await;
    third_first_second_last(&world, "topic", async |at, sha| {
        let action = if at == 0 { "opened" } else { "synchronize" };
        world.github.pull_request(&world.repo, action, 1, sha, From::SameRepository).await;
    })
    .await;
}

#[test]
fn any_order_loss_and_failure_ends_in_what_a_good_day_shows() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let expected = runtime.block_on(good_day());
    let config =
        Config { cases: 6, max_shrink_iters: 0, failure_persistence: None, ..Config::default() };
    // The same days each time; another seed is another week.
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let result = runner.run(&bad_day(), |day| {
        let shown = runtime.block_on(on(&day));
        if shown == expected {
            Ok(())
        } else {
            Err(TestCaseError::fail(format!("{shown:#?}\ninstead of\n{expected:#?}")))
        }
    });
    result.unwrap();
}
