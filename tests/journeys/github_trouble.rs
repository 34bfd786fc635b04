//! GitHub has a bad day: what is true is shown in the end, and never twice.
use std::time::Duration;

use crate::world::World;
use crate::world::fleet::Host;
use crate::world::github::{Fault, From, Operation, Options};
use crate::world::nix::TestNix;

const NAMES: [&str; 2] = ["fleet", "fleet / orion"];
const ALL: [Operation; 6] = [
    Operation::MintToken,
    Operation::CreateCheck,
    Operation::UpdateCheck,
    Operation::ListChecks,
    Operation::SetStatus,
    Operation::Graphql,
];

impl World {
    /// The final state is shown, and nothing was created twice.
    async fn is_shown(&self, sha: &str) {
        self.settled(sha, &NAMES).await;
        self.wait("the status is set", |_| self.status(sha).contains("success")).await;
        assert_eq!(self.history(sha), ["fleet: success", "fleet / orion: success"]);
        self.assert_nothing_doubled(sha);
    }

    async fn gets_through(fault: Fault) {
        let mut world = Self::new().await;
        world.start().await;
        for operation in ALL {
            world.github.fail_next(operation, fault.clone(), 2);
        }
        let sha = world.push(&[Host::good("orion", "1")], &[]).await;
        world.is_shown_in_any_order(&sha).await;
    }

    /// As [`World::is_shown`], where the host may have been shown before the gate.
    async fn is_shown_in_any_order(&self, sha: &str) {
        self.settled(sha, &NAMES).await;
        self.wait("the status is set", |_| self.status(sha).contains("success")).await;
        let mut history = self.history(sha);
        history.sort();
        assert_eq!(history, ["fleet / orion: success", "fleet: success"]);
        self.assert_nothing_doubled(sha);
    }
}

#[tokio::test]
async fn bad_gateways_are_waited_out() {
    World::gets_through(Fault::Status(502)).await;
}

#[tokio::test]
async fn dropped_connections_are_waited_out() {
    World::gets_through(Fault::Dropped).await;
}

#[tokio::test]
async fn lost_answers_double_nothing() {
    World::gets_through(Fault::AnswerLost).await;
}

#[tokio::test]
async fn lost_answers_double_no_successor_of_a_completed_check_either() {
    let mut world = World::new().await;
    let mut hold = world.hold("orion");
    world.start().await;
    let first = world.push(&[Host::held_by("orion", &hold.script())], &[]).await;
    hold.runs().await;
    let second = world.push(&[Host::elsewhere("pegasus")], &[]).await;
    world.settled(&first, &NAMES).await;
    for operation in [Operation::CreateCheck, Operation::Graphql] {
        world.github.fail_next(operation, Fault::AnswerLost, 2);
    }
    world.announce("main", &first).await;
    hold.let_go();
    for name in NAMES {
        world.concluded(&first, name, "success").await;
    }
    world.concluded(&second, "fleet", "cancelled").await;
    let mut history = world.history(&first);
    history.sort();
    let wanted = [
        "fleet / orion: cancelled",
        "fleet / orion: success",
        "fleet: cancelled",
        "fleet: success",
    ];
    assert_eq!(history, wanted);
}

#[tokio::test]
async fn slow_answers_are_waited_for() {
    World::gets_through(Fault::Delay(Duration::from_secs(2))).await;
}

#[tokio::test]
async fn nothing_is_sent_before_a_secondary_rate_limit_is_over() {
    let mut world = World::new().await;
    world.start().await;
    world.github.fail_next(Operation::CreateCheck, Fault::SecondaryRateLimit { retry_after: 5 }, 1);
    let sha = world.push(&[Host::good("orion", "1"), Host::good("viper", "1")], &[]).await;
    world.settled(&sha, &["fleet", "fleet / orion", "fleet / viper"]).await;
    let calls = world.github.calls();
    let limited = calls.iter().position(|it| it.status == 403).unwrap();
    let asked = calls[limited].at;
    // What was under way when GitHub said so may still arrive.
    let under_way = asked + Duration::from_millis(500);
    let too_early: Vec<_> = calls[limited + 1..]
        .iter()
        .filter(|it| it.operation != Operation::Git && it.operation != Operation::MintToken)
        .filter(|it| it.at > under_way && it.at < asked + Duration::from_secs(5))
        .map(|it| (&it.method, &it.path, it.at - asked))
        .collect();
    assert!(too_early.is_empty(), "{too_early:#?}");
    world.assert_nothing_doubled(&sha);
}

#[tokio::test]
async fn revoked_tokens_are_replaced() {
    let mut world = World::new().await;
    let mut hold = world.hold("orion");
    world.start().await;
    let sha = world.push(&[Host::held_by("orion", &hold.script())], &[]).await;
    hold.runs().await;
    world
        .wait("the host is shown", |github| {
            github.check_run(world.repo.id, &sha, "fleet / orion").is_some()
        })
        .await;
    world.github.revoke_tokens();
    hold.let_go();
    world.is_shown(&sha).await;
    // Git's token is as dead, and noticed only when it is used.
    let next = world.push(&[Host::good("orion", "2")], &[]).await;
    world.github.revoke_tokens();
    world.settled(&next, &NAMES).await;
}

#[tokio::test]
async fn a_missing_permission_is_said_in_the_log() {
    let mut world = World::new().await;
    world.start().await;
    world.github.withhold("checks");
    let sha = world.push(&[Host::good("orion", "1")], &[]).await;
    world
        .wait("a token is refused", |github| {
            github.calls().iter().any(|it| it.operation == Operation::MintToken && it.status == 422)
        })
        .await;
    world.logged("accept the App's permissions").await;
    assert_eq!(world.checks(&sha), "");
}

#[tokio::test]
async fn a_suspended_installation_is_not_called_and_goes_on_afterwards() {
    let mut world = World::new().await;
    let mut hold = world.hold("orion");
    world.start().await;
    let sha = world.push(&[Host::held_by("orion", &hold.script())], &[]).await;
    hold.runs().await;
    world
        .wait("the host is shown", |github| {
            github.check_run(world.repo.id, &sha, "fleet / orion").is_some()
        })
        .await;
    world.github.suspend(world.repo.installation);
    assert_eq!(world.github.installation(&world.repo, "suspend").await, Some(202));
    // Deliveries are decided in their order: once this one is, the suspension is known.
    let later = world.commit("topic", &[Host::good("viper", "1")], &[]);
    world.pull_request("opened", 7, &later, From::SameRepository).await;
    world.run_is(&later, "requested").await;
    hold.let_go();
    world.run_is(&sha, "ended").await;
    world.github.unsuspend(world.repo.installation);
    assert_eq!(world.github.installation(&world.repo, "unsuspend").await, Some(202));
    world.is_shown(&sha).await;
    world.settled(&later, &["fleet", "fleet / viper"]).await;
    let calls = world.github.calls();
    let refused: Vec<_> = calls.iter().filter(|it| it.status == 403).collect();
    assert!(refused.is_empty(), "{refused:#?}");
}

#[tokio::test]
async fn a_suspension_that_nobody_announced_is_noticed_and_waited_out() {
    let mut world = World::new().await;
    let mut hold = world.hold("orion");
    world.start().await;
    let sha = world.push(&[Host::held_by("orion", &hold.script())], &[]).await;
    hold.runs().await;
    world
        .wait("the host is shown", |github| {
            github.check_run(world.repo.id, &sha, "fleet / orion").is_some()
        })
        .await;
    world.github.suspend(world.repo.installation);
    hold.let_go();
    world
        .wait("a call is refused", |github| github.calls().iter().any(|it| it.status == 403))
        .await;
    world.github.unsuspend(world.repo.installation);
    world.is_shown(&sha).await;
}

#[tokio::test]
async fn a_clock_that_is_an_hour_wrong_is_named_in_the_log() {
    let options = Options { clock_offset: 3600, ..Options::default() };
    let mut world = World::with(TestNix::one(), options).await;
    world.start().await;
    let sha = world.push(&[Host::good("orion", "1")], &[]).await;
    world
        .wait("a call is refused", |github| {
            github.calls().iter().any(|it| it.operation == Operation::MintToken && it.status == 401)
        })
        .await;
    world
        .wait("the log names the clock", |_| {
            world.log().contains("this machine's clock differs from GitHub's by 3600 s")
        })
        .await;
    assert_eq!(world.checks(&sha), "");
}
