//! Few calls, always the last state: many checks go in one request, and nothing is shown twice.
use std::time::Duration;

use tokio::time::Instant;

use crate::world::World;
use crate::world::fleet::Host;
use crate::world::github::{
    CheckRunView, Contents, FakeGitHub, Fault, Limits, Operation, Options, RetryAfter, Shape,
};
use crate::world::nix::TestNix;

fn fleet(size: usize, content: &str) -> Vec<Host> {
    (0..size).map(|n| Host::good(&format!("host{n}"), &format!("{content}-{n}"))).collect()
}

fn names(size: usize) -> Vec<String> {
    let hosts = (0..size).map(|n| format!("fleet / host{n}"));
    hosts.chain(["fleet".to_owned()]).collect()
}

/// Requests about checks and statuses.
fn requests(github: &FakeGitHub) -> usize {
    [
        Operation::CreateCheck,
        Operation::UpdateCheck,
        Operation::GetCheck,
        Operation::ListChecks,
        Operation::SetStatus,
        Operation::Graphql,
    ]
    .map(|it| github.count(it))
    .iter()
    .sum()
}

impl World {
    async fn all_good(&self, sha: &str, size: usize) {
        let names = names(size);
        self.settled(sha, &names.iter().map(String::as_str).collect::<Vec<_>>()).await;
        self.wait("the status is set", |_| self.status(sha).contains("success")).await;
        for name in names {
            assert_eq!(self.check(sha, &name).conclusion.as_deref(), Some("success"), "{name}");
        }
        self.assert_nothing_doubled(sha);
        assert_eq!(self.history(sha).len(), size + 1, "{:#?}", self.history(sha));
    }
}

#[tokio::test]
async fn a_run_of_many_hosts_costs_few_requests() {
    for (size, most) in [(10, 6), (60, 10)] {
        let mut world = World::new().await;
        world.start().await;
        let begun = Instant::now();
        let sha = world.push(&fleet(size, "1"), &[]).await;
        world.all_good(&sha, size).await;
        let lasted = usize::try_from(begun.elapsed().as_secs() / 15).unwrap();
        let cost = requests(&world.github);
        assert!(cost <= most + lasted, "{size} hosts: {cost} requests in {lasted} times 15 s");
    }
}

#[tokio::test]
async fn a_lost_answer_of_a_batch_doubles_nothing() {
    let mut world = World::new().await;
    world.start().await;
    world.github.fail_next(Operation::Graphql, Fault::AnswerLost, 1);
    let sha = world.push(&fleet(10, "1"), &[]).await;
    world.all_good(&sha, 10).await;
    // The effect is there at once; that it is, is read back.
    let read_back = |github: &FakeGitHub| github.count(Operation::ListChecks) > 0;
    world.wait("it is read back", read_back).await;
    world.wait("it is written once more", |github| github.count(Operation::Graphql) > 1).await;
    world.all_good(&sha, 10).await;
}

#[tokio::test]
async fn what_fails_within_a_batch_is_tried_again_alone() {
    let mut world = World::new().await;
    world.start().await;
    world.github.fail_next(Operation::GraphqlAlias, Fault::Status(500), 1);
    let sha = world.push(&fleet(10, "1"), &[]).await;
    world.all_good(&sha, 10).await;
    let batches: Vec<_> = world
        .github
        .calls()
        .into_iter()
        .filter(|it| it.operation == Operation::Graphql)
        .map(|it| it.body["variables"].as_object().unwrap().len())
        .collect();
    // Of the others none is sent again.
    assert!(batches.iter().sum::<usize>() <= 12, "{batches:?}");
}

#[tokio::test]
async fn the_checks_of_a_batch_that_is_refused_as_a_whole_go_one_by_one() {
    let mut world = World::new().await;
    world.start().await;
    world.github.fail_next(Operation::Graphql, Fault::GraphqlInvalid, 1);
    let sha = world.push(&fleet(5, "1"), &[]).await;
    world.all_good(&sha, 5).await;
    let calls = world.github.calls();
    let refused = calls.iter().find(|it| it.operation == Operation::Graphql).unwrap();
    let refused = refused.body["variables"].as_object().unwrap().values();
    let mut names: Vec<&str> = refused.filter_map(|it| it["name"].as_str()).collect();
    names.sort_unstable();
    assert!(names.len() > 1, "{names:?}");
    let alone = calls.iter().filter(|it| it.operation == Operation::CreateCheck);
    let alone: Vec<&str> = alone.filter_map(|it| it.body["name"].as_str()).collect();
    for name in &names {
        assert_eq!(alone.iter().filter(|it| *it == name).count(), 1, "{name}: {alone:?}");
    }
    // Those that went through go together again.
    let batches = world.github.count(Operation::Graphql);
    let next = world.push(&fleet(5, "2"), &[]).await;
    world.all_good(&next, 5).await;
    assert!(world.github.count(Operation::Graphql) > batches);
}

#[tokio::test]
async fn a_service_that_dies_between_a_batch_and_its_note_doubles_nothing() {
    let mut world = World::new().await;
    world.start().await;
    world.github.fail_next(Operation::Graphql, Fault::AnswerLost, 1);
    let sha = world.push(&fleet(10, "1"), &[]).await;
    world.wait("a batch is carried out", |github| github.count(Operation::Graphql) > 0).await;
    world.kill().await;
    world.start().await;
    world.all_good(&sha, 10).await;
}

#[tokio::test]
async fn a_server_without_graphql_is_told_everything_over_rest() {
    let mut world = World::new().await;
    world.start().await;
    world.github.fail_next(Operation::Graphql, Fault::Status(404), 1000);
    let sha = world.push(&fleet(5, "1"), &[]).await;
    world.all_good(&sha, 5).await;
    assert_eq!(world.github.count(Operation::Graphql), 1, "asked once");
    world.logged("one by one for an hour").await;
}

#[tokio::test]
async fn a_push_becomes_checks_on_an_enterprise_server() {
    let options = Options { shape: Shape::Enterprise, ..Options::default() };
    let mut world = World::with(TestNix::one(), options).await;
    world.start().await;
    let mut hosts = fleet(4, "1");
    hosts.push(Host::broken("raider"));
    let sha = world.push(&hosts, &[]).await;
    world.concluded(&sha, "fleet", "failure").await;
    world.concluded(&sha, "fleet / raider", "failure").await;
    world.concluded(&sha, "fleet / host3", "success").await;
    world.wait("the status is set", |_| world.status(&sha).contains("failure")).await;
    let calls = world.github.calls();
    let graphql = calls.iter().filter(|it| it.operation == Operation::Graphql);
    assert!(graphql.clone().count() > 0);
    assert!(graphql.clone().all(|it| it.path == "/api/graphql"));
    assert!(calls.iter().all(|it| it.operation != Operation::Unknown));
}

#[tokio::test]
async fn an_installation_that_is_limited_holds_up_no_other() {
    let mut world = World::new().await.owner("umbrella");
    let other = world.github.create_repository("umbrella", "fleet", true);
    let flake = crate::world::fleet::flake(world.system(), &fleet(3, "1"));
    let theirs = other.commit("main", "x", &[("flake.nix", &flake)]);
    world.start().await;
    let wait = Fault::SecondaryRateLimit { retry_after: 10 };
    world.github.fail_next(Operation::CreateCheck, wait, 1);
    let sha = world.push(&fleet(3, "1"), &[]).await;
    world.wait("GitHub refuses", |github| github.calls().iter().any(|it| it.status == 403)).await;
    let limited = Instant::now();
    assert_eq!(world.github.push(&other, "main", &theirs).await, Some(202));
    let is_over = |it: CheckRunView| it.conclusion.is_some();
    world
        .wait("the other is shown", |github| {
            github.check_run(other.id, &theirs, "fleet").is_some_and(is_over)
        })
        .await;
    assert!(limited.elapsed() < Duration::from_secs(10), "{:?}", limited.elapsed());
    assert_eq!(world.checks(&sha), "", "nothing is sent to the one that is limited");
    world.all_good(&sha, 3).await;
}

#[tokio::test]
async fn what_githubs_own_limits_refuse_is_shown_when_they_allow() {
    let mut world = World::new().await;
    world.github.limit(Limits { contents: Contents::Checks, retry_after: RetryAfter::Said });
    world.start().await;
    // More than the 80 a minute that GitHub may count, but within what a batch counts.
    let sha = world.push(&fleet(58, "1"), &[]).await;
    world.all_good(&sha, 58).await;
    let refused = world.github.calls().iter().filter(|it| it.status == 403).count();
    assert!(refused <= 1, "{refused}");
}

#[tokio::test]
async fn a_large_fleet_shows_what_failed_or_changed_and_the_rest_in_a_table() {
    let mut world = World::new().await.github_setting("checks_limit = 3");
    world.start().await;
    let shown = |sha: &str| -> Vec<String> {
        let all = world.github.check_runs(world.repo.id, sha);
        all.into_iter()
            .map(|it| format!("{}: {}", it.name, it.conclusion.unwrap_or(it.status)))
            .collect()
    };
    let first = world.push(&fleet(6, "1"), &[]).await;
    world.concluded(&first, "fleet", "success").await;
    // Nothing is known of a base commit: all have changed, and the limit holds.
    world.wait("three are shown", |_| shown(&first).len() == 4).await;
    let mut hosts = fleet(6, "1");
    hosts[2] = Host::good("host2", "another");
    hosts[4] = Host::broken("host4");
    let second = world.push(&hosts, &[]).await;
    world.settled(&second, &["fleet", "fleet / host2", "fleet / host4"]).await;
    assert_eq!(
        shown(&second),
        ["fleet: failure", "fleet / host2: success", "fleet / host4: failure"]
    );
    let gate = world.check(&second, "fleet");
    assert!(gate.summary.contains("`github.checks_limit` (3)"), "{}", gate.summary);
    for n in 0..6 {
        assert!(gate.summary.contains(&format!("[host{n}]")), "{}", gate.summary);
    }
    // Failures are shown beyond the limit.
    let broken: Vec<Host> = (0..6).map(|n| Host::broken(&format!("host{n}"))).collect();
    let third = world.push(&broken, &[]).await;
    let names = names(6);
    world.settled(&third, &names.iter().map(String::as_str).collect::<Vec<_>>()).await;
}

#[tokio::test]
async fn a_check_of_a_large_fleet_is_completed_although_the_answer_to_its_making_was_lost() {
    let mut world = World::new().await.github_setting("checks_limit = 1");
    let names = ["orion", "viper"];
    let mut holds = names.map(|it| world.hold(it));
    world.start().await;
    for operation in [Operation::CreateCheck, Operation::Graphql] {
        world.github.fail_next(operation, Fault::AnswerLost, 1000);
    }
    world.github.fail_next(Operation::ListChecks, Fault::Dropped, 1000);
    let hosts = names.iter().zip(&holds).map(|(name, it)| Host::held_by(name, &it.script()));
    let sha = world.push(&hosts.collect::<Vec<_>>(), &[]).await;
    for hold in &mut holds {
        hold.runs().await;
    }
    let name = |host: usize| format!("fleet / {}", names[host]);
    let is_shown =
        |github: &FakeGitHub, host| github.check_run(world.repo.id, &sha, &name(host)).is_some();
    world.wait("one is shown", |it| is_shown(it, 0) || is_shown(it, 1)).await;
    let (made, other) = if is_shown(&world.github, 0) { (0, 1) } else { (1, 0) };
    // The other one has more to say before it is known that the first has the only place.
    holds[other].let_go();
    world.logged(&format!("built {}", names[other])).await;
    let writes = |it: &FakeGitHub| {
        [Operation::CreateCheck, Operation::UpdateCheck, Operation::Graphql].map(|op| it.count(op))
    };
    let before = writes(&world.github);
    world.github.mend();
    world.wait("it is told", |github| writes(github) != before).await;
    holds[made].let_go();
    world.settled(&sha, &["fleet", &name(made)]).await;
    assert!(!is_shown(&world.github, other));
    world.assert_nothing_doubled(&sha);
}
