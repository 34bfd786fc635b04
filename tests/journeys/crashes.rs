//! Ended at any moment, by a signal or by the power: the next start makes everything right.
use std::time::Duration;

use tokio::time::Instant;

use crate::forks::is_here;
use crate::world::World;
use crate::world::fleet::Host;
use crate::world::github::{FakeGitHub, Fault, From, Operation};

const NAMES: [&str; 2] = ["fleet", "fleet / orion"];

/// Takes a second or two to evaluate, and builds.
fn slow(name: &str) -> Host {
    let sum = "builtins.foldl' (a: b: a + b) 0 (builtins.genList (x: x) 8000000)";
    Host::new(name, &format!(r#"mk "{name}" "echo ${{toString ({sum})}} > $out""#))
}

impl World {
    async fn ends_well(&self, sha: &str, names: &[&str]) {
        self.settled(sha, names).await;
        self.wait("the status is set", |_| self.status(sha).contains("success")).await;
        for name in names {
            assert_eq!(self.check(sha, name).conclusion.as_deref(), Some("success"), "{name}");
        }
        assert_eq!(self.history(sha).len(), names.len(), "{:#?}", self.history(sha));
        assert!(!self.log().contains("ghs_"), "a token in the log:\n{}", self.log());
        self.assert_nothing_doubled(sha);
    }
}

#[tokio::test]
async fn a_delivery_that_was_accepted_is_not_lost_when_the_service_dies_at_once() {
    let mut world = World::new().await;
    world.start().await;
    let sha = world.push(&[Host::good("orion", "1")], &[]).await;
    world.kill().await;
    world.start().await;
    world.ends_well(&sha, &NAMES).await;
}

#[tokio::test]
async fn a_service_that_dies_while_it_evaluates_begins_again() {
    let mut world = World::new().await;
    world.start().await;
    let sha = world.push(&[slow("orion"), Host::good("viper", "1")], &[]).await;
    // The commit is fetched: its evaluation begins.
    world.wait("the commit is fetched", |github| github.count(Operation::Git) > 0).await;
    world
        .wait("the gate is shown", |github| {
            github.check_run(world.repo.id, &sha, "fleet").is_some()
        })
        .await;
    world.kill().await;
    world.start().await;
    world.ends_well(&sha, &["fleet", "fleet / orion", "fleet / viper"]).await;
}

#[tokio::test]
async fn a_build_that_was_interrupted_runs_again_as_a_further_attempt() {
    let mut world = World::new().await;
    let mut hold = world.hold("orion");
    world.start().await;
    let hosts = [Host::held_by("orion", &hold.script()), Host::good("viper", "1")];
    let sha = world.push(&hosts, &[]).await;
    hold.runs().await;
    world.concluded(&sha, "fleet / viper", "success").await;
    world.kill().await;
    hold.is_over().await;
    world.start().await;
    hold.runs().await;
    hold.let_go();
    world.ends_well(&sha, &["fleet", "fleet / orion", "fleet / viper"]).await;
    let title = world.check(&sha, "fleet / orion").title;
    assert!(title.starts_with("attempt 2: built in "), "{title}");
    let viper = world.check(&sha, "fleet / viper").title;
    assert!(!viper.contains("attempt"), "{viper}");
}

#[tokio::test]
async fn a_build_that_ended_while_github_was_away_is_told_after_the_next_start() {
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
    for operation in [Operation::UpdateCheck, Operation::Graphql, Operation::SetStatus] {
        world.github.fail_next(operation, Fault::Dropped, 1000);
    }
    let updates = |github: &FakeGitHub| {
        github.count(Operation::UpdateCheck) + github.count(Operation::Graphql)
    };
    let before = updates(&world.github);
    hold.let_go();
    world.wait("GitHub does not hear of the end", |github| updates(github) >= before + 2).await;
    world.kill().await;
    world.github.mend();
    world.start().await;
    world.ends_well(&sha, &NAMES).await;
}

#[tokio::test]
async fn a_check_run_whose_answer_was_lost_with_the_service_is_found_and_not_doubled() {
    let mut world = World::new().await;
    world.start().await;
    world.github.fail_next(Operation::CreateCheck, Fault::AnswerLost, 1);
    let sha = world.push(&[Host::good("orion", "1")], &[]).await;
    world
        .wait("the gate is created", |github| {
            github.check_run(world.repo.id, &sha, "fleet").is_some()
        })
        .await;
    world.kill().await;
    world.start().await;
    world.ends_well(&sha, &NAMES).await;
}

#[tokio::test]
async fn a_service_that_dies_every_time_it_has_called_github_gets_there_all_the_same() {
    let mut world = World::new().await;
    let sha = world.commit("main", &[Host::good("orion", "1"), Host::good("viper", "1")], &[]);
    world.start().await;
    world.announce("main", &sha).await;
    for kills in 1..=4 {
        let seen = world.github.calls().len();
        world.wait("GitHub is called", |github| github.calls().len() > seen).await;
        world.kill().await;
        world.start().await;
        eprintln!("{kills} times killed");
    }
    world.ends_well(&sha, &["fleet", "fleet / orion", "fleet / viper"]).await;
}

#[tokio::test]
async fn a_branch_whose_policy_was_being_asked_for_is_decided_after_a_crash() {
    let mut world = World::new().await;
    world.start().await;
    let policy = ("fleetcheck.toml", "[build]\nbranches = [\"topic\"]\n");
    let sha = world.commit("topic", &[Host::good("orion", "1")], &[policy]);
    world.announce("topic", &sha).await;
    world.kill().await;
    world.start().await;
    world.ends_well(&sha, &NAMES).await;
}

#[tokio::test]
async fn what_a_dead_service_was_evaluating_does_not_run_on() {
    let mut world = World::new().await;
    world.start().await;
    let older = world.push(&[Host::endless("orion")], &[]).await;
    world
        .wait("the hosts are listed", |github| {
            github.check_run(world.repo.id, &older, "fleet / orion").is_some()
        })
        .await;
    world.working_on(&older, true).await;
    world.kill().await;
    // Superseded before the next start sees it: nobody asks for that evaluation again.
    world.start().await;
    let newer = world.push(&[Host::good("orion", "1")], &[]).await;
    world.working_on(&older, false).await;
    world.ends_well(&newer, &NAMES).await;
}

#[tokio::test]
async fn what_was_superseded_stays_so_over_a_crash() {
    let mut world = World::new().await;
    let mut hold = world.hold("orion");
    world.start().await;
    let older = world.push(&[Host::held_by("orion", &hold.script())], &[]).await;
    hold.runs().await;
    let newer = world.push(&[Host::good("orion", "2")], &[]).await;
    world.kill().await;
    world.start().await;
    hold.is_over().await;
    world.settled(&older, &NAMES).await;
    for name in NAMES {
        assert_eq!(world.check(&older, name).conclusion.as_deref(), Some("cancelled"), "{name}");
    }
    world.ends_well(&newer, &NAMES).await;
}

#[tokio::test]
async fn a_fork_still_waits_for_approval_after_a_crash() {
    let mut world = World::new().await;
    world.start().await;
    let sha = world.commit("topic", &[Host::good("orion", "1")], &[]);
    world.pull_request("opened", 7, &sha, From::Fork).await;
    world.kill().await;
    world.start().await;
    world.concluded(&sha, "fleet", "action_required").await;
    world.assert_nothing_doubled(&sha);
    assert!(!is_here(&world, &sha), "only the default branch was looked for");
}

#[tokio::test]
async fn sigterm_ends_in_order_and_the_next_start_goes_on() {
    let mut world = World::new().await;
    let mut hold = world.hold("orion");
    world.start().await;
    let hosts = [Host::held_by("orion", &hold.script()), Host::good("viper", "1")];
    let sha = world.push(&hosts, &[]).await;
    hold.runs().await;
    let asked = Instant::now();
    let status = world.stop().await;
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
    assert_eq!(status.code(), Some(0), "{}", world.log());
    hold.is_over().await;
    assert_eq!(world.processes(), Vec::<String>::new());
    world.start().await;
    hold.runs().await;
    hold.let_go();
    world.ends_well(&sha, &["fleet", "fleet / orion", "fleet / viper"]).await;
}

#[tokio::test]
async fn sigterm_ends_evaluations_too() {
    let mut world = World::new().await;
    world.start().await;
    let sha = world.push(&[slow("orion"), slow("viper")], &[]).await;
    world.wait("the commit is fetched", |github| github.count(Operation::Git) > 0).await;
    let asked = Instant::now();
    let status = world.stop().await;
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
    assert_eq!(status.code(), Some(0), "{}", world.log());
    assert_eq!(world.processes(), Vec::<String>::new());
    world.start().await;
    world.ends_well(&sha, &["fleet", "fleet / orion", "fleet / viper"]).await;
}
