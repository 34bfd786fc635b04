//! Many checks in one request, each judged alone; and GitHub Enterprise's addresses.
use fleetcheck::domain::id::NodeId;
use fleetcheck::domain::page::{CheckPage, CheckStatus};
use fleetcheck::github::batch::{Change, To};
use fleetcheck::github::checks::Check;
use fleetcheck::github::client::GithubError;

use crate::github::{Fault, Operation, Options, Shape};
use crate::{World, annotations, failed, page, world, world_of};

impl World {
    fn node(&self) -> NodeId {
        format!("R_{}", self.repo.id).parse().unwrap()
    }

    async fn write(&self, changes: &[Change<'_>]) -> Vec<Result<Check, GithubError>> {
        self.client.write_checks(&self.target, &self.node(), changes).await.unwrap()
    }
}

fn named(name: &str, status: CheckStatus) -> CheckPage {
    CheckPage { name: name.to_owned(), ..page(status) }
}

#[tokio::test]
async fn a_batch_creates_and_updates_with_one_request() {
    let world = world().await;
    let sha = &world.target.sha;
    let queued: Vec<_> = (0..25).map(|n| named(&format!("host{n}"), CheckStatus::Queued)).collect();
    let ids: Vec<_> = (0..25).map(|n| format!("build-{n}")).collect();
    let new = |(page, id): (_, &'static str)| Change { page, to: To::New { sha, external_id: id } };
    let changes: Vec<_> = queued
        .iter()
        .zip(&ids)
        .map(|(page, external_id)| Change { page, to: To::New { sha, external_id } })
        .collect();
    let made = world.write(&changes).await;
    let first = made[0].as_ref().unwrap().node_id.clone().unwrap();
    let done = CheckPage { annotations: annotations(7), ..named("host0", failed()) };
    let other = named("late", failed());
    let to = To::Existing { node_id: &first, annotations: 3 };
    let both = [Change { page: &done, to }, new((&other, "build-late"))];
    assert!(world.write(&both).await.iter().all(Result::is_ok));
    assert_eq!(world.fake.count(Operation::Graphql), 2);
    let runs = world.fake.all_check_runs(world.repo.id, sha.as_str());
    assert_eq!(runs.len(), 26);
    assert_eq!((runs[0].external_id.as_str(), runs[0].annotations.len()), ("build-0", 4));
    assert_eq!(runs[0].conclusion.as_deref(), Some("failure"));
    assert_eq!(runs[25].external_id, "build-late");
}

#[tokio::test]
async fn what_fails_in_a_batch_fails_alone() {
    let world = world().await;
    let unknown = "1".repeat(40).parse().unwrap();
    let page = page(CheckStatus::Queued);
    let to = |sha, external_id| Change { page: &page, to: To::New { sha, external_id } };
    let gone = "CR_1".parse().unwrap();
    let there = To::Existing { node_id: &gone, annotations: 0 };
    let changes = [
        to(&world.target.sha, "a"),
        to(&unknown, "b"),
        Change { page: &page, to: there },
        to(&world.target.sha, "c"),
    ];
    let answers = world.write(&changes).await;
    assert!(answers[0].is_ok() && answers[3].is_ok(), "{answers:?}");
    assert!(matches!(answers[1], Err(GithubError::Rejected { status: 422, .. })), "{answers:?}");
    assert!(matches!(answers[2], Err(GithubError::Gone(_))), "{answers:?}");
    world.fake.fail_next(Operation::GraphqlAlias, Fault::Status(500), 1);
    let answers = world.write(&[to(&world.target.sha, "d"), to(&world.target.sha, "e")]).await;
    assert!(matches!(answers[0], Err(GithubError::Weather { .. })), "{answers:?}");
    assert!(answers[1].is_ok());
}

#[tokio::test]
async fn a_lost_answer_of_a_batch_is_read_back_by_its_external_ids() {
    let world = world().await;
    let pages: Vec<_> = (0..3).map(|n| named(&format!("host{n}"), failed())).collect();
    let ids = ["build-0", "build-1", "build-2"];
    let sha = &world.target.sha;
    let changes: Vec<_> = pages
        .iter()
        .zip(ids)
        .map(|(page, external_id)| Change { page, to: To::New { sha, external_id } })
        .collect();
    world.fake.fail_next(Operation::Graphql, Fault::AnswerLost, 1);
    let lost = world.client.write_checks(&world.target, &world.node(), &changes).await;
    assert!(matches!(lost, Err(GithubError::Weather { .. })), "{lost:?}");
    let found = world.client.list_checks(&world.target).await.unwrap();
    for id in ids {
        assert_eq!(found[id].status, "completed:failure");
    }
}

#[tokio::test]
async fn a_limit_said_with_200_closes_the_installation() {
    let world = world().await;
    let page = page(CheckStatus::Queued);
    let to = To::New { sha: &world.target.sha, external_id: "a" };
    let changes = [Change { page: &page, to }];
    world.fake.fail_next(Operation::Graphql, Fault::GraphqlLimit, 1);
    let limited = world.client.write_checks(&world.target, &world.node(), &changes).await;
    let Err(GithubError::Weather { retry_after: Some(wait), .. }) = limited else {
        panic!("{limited:?}")
    };
    assert!((3..=4).contains(&wait.as_secs()), "{wait:?}");
    let calls = world.fake.calls().len();
    assert!(world.client.create_check(&world.target, "b", &page).await.is_err());
    assert_eq!(world.fake.calls().len(), calls, "nothing is sent");
}

#[tokio::test]
async fn enterprise_servers_have_their_interfaces_elsewhere() {
    let world = world_of(Options { shape: Shape::Enterprise, ..Options::default() }).await;
    let page = page(CheckStatus::Queued);
    let id = world.client.create_check(&world.target, "a", &page).await.unwrap();
    let node = id.node_id.unwrap();
    let done = crate::page(failed());
    let to = To::Existing { node_id: &node, annotations: 0 };
    assert!(world.write(&[Change { page: &done, to }]).await[0].is_ok());
    let paths: Vec<_> = world.fake.calls().into_iter().map(|it| it.path).collect();
    assert!(
        paths.iter().all(|it| it.starts_with("/api/v3/") || it.ends_with("/api/graphql")),
        "{paths:?}"
    );
}

#[test]
fn the_schema_that_requests_are_held_to_is_githubs_own() {
    let root = env!("CARGO_MANIFEST_DIR");
    let made = std::process::Command::new("python3")
        .arg(format!("{root}/tests/contract/github-graphql.py"))
        .arg(format!("{root}/tests/npm/node_modules/@octokit/graphql-schema/schema.graphql"))
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&made.stderr);
    assert!(
        made.status.success(),
        "run ./tests/run.sh once, which installs GitHub's schema: {errors}"
    );
    let kept = include_str!("../contract/checks.graphql");
    assert_eq!(String::from_utf8(made.stdout).unwrap(), kept);
}
