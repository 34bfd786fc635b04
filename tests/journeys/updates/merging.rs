//! A pull request of ours is merged where the policy wishes so, and only then.
use super::fleet::Fleet;
use crate::world::github::{FakeGitHub, Fault, Operation};

async fn fleet(policy: &str) -> Fleet {
    let fleet = Fleet::new(&["a"], &[("raider", "[ ${a.v} != bad ]")], policy).await;
    fleet.inputs().commit("a", "v = \"2\";");
    fleet
}

#[tokio::test]
async fn github_merges_when_its_rules_are_met() {
    let fleet = fleet("merge = \"auto\"\n").await;
    fleet.world.github.set_settings(&fleet.world.repo, |it| {
        it.allows_auto_merge = true;
        it.missing = Some("Required status check \"fleet\" is expected.".to_owned());
        it.unstable = 1;
    });
    assert_eq!(fleet.update().await, "GitHub merges pull request 1 when its rules are met");
    assert_eq!(fleet.pull().auto_merge.as_deref(), Some("MERGE"));
    fleet.world.github.satisfy(&fleet.world.repo).await;
    assert_eq!(fleet.pull().state, "merged");
    let main = fleet.world.repo.head("main").unwrap();
    assert_eq!(fleet.newest(&main), ["a"]);
}

#[tokio::test]
async fn where_no_rule_asks_for_anything_our_own_gate_does() {
    let fleet = fleet("merge = \"auto\"\n").await;
    fleet.world.github.set_settings(&fleet.world.repo, |it| it.allows_auto_merge = true);
    assert_eq!(fleet.update().await, "pull request 1 is merged");
    let head = fleet.pull().head;
    assert_eq!(fleet.world.check(&head, "fleet").conclusion.as_deref(), Some("success"));
}

#[tokio::test]
async fn auto_merge_that_the_settings_forbid_is_told_and_waits_for_a_person() {
    let fleet = fleet("merge = \"auto\"\n").await;
    assert_eq!(fleet.update().await, "pull request 1 waits for a person");
    assert_eq!(fleet.pull().state, "open");
    let body = fleet.pull().body;
    assert!(body.contains("auto-merge"), "{body}");
}

#[tokio::test]
async fn a_green_pull_request_is_merged_at_once_with_what_was_tested() {
    let fleet = fleet("merge = \"direct\"\n").await;
    assert_eq!(fleet.update().await, "pull request 1 is merged");
    let pull = fleet.pull();
    let main = fleet.world.repo.head("main").unwrap();
    assert!(fleet.show(&main, "%P").ends_with(&pull.head), "a merge of it");
    assert_eq!(fleet.world.check(&pull.head, "fleet").conclusion.as_deref(), Some("success"));
}

#[tokio::test]
async fn a_merge_that_github_refuses_is_told() {
    let fleet = fleet("merge = \"direct\"\n").await;
    fleet.world.github.set_settings(&fleet.world.repo, |it| it.ways = vec![]);
    assert_eq!(fleet.update().await, "pull request 1 waits for a person");
    assert_eq!(fleet.pull().state, "open");
}

#[tokio::test]
async fn a_service_that_is_killed_while_it_merges_finds_what_it_has_done() {
    for (policy, operation) in [
        ("merge = \"direct\"\n", Operation::MergePull),
        ("merge = \"auto\"\n", Operation::EnableAutoMerge),
    ] {
        let mut fleet = fleet(policy).await;
        fleet.world.github.set_settings(&fleet.world.repo, |it| {
            it.allows_auto_merge = true;
            let expected = "Required status check \"fleet\" is expected.".to_owned();
            it.missing = (operation == Operation::EnableAutoMerge).then_some(expected);
        });
        // The effect happens, and nobody hears of it.
        fleet.world.github.fail_next(operation, Fault::AnswerLost, 1);
        fleet.ask();
        let is_called = |github: &FakeGitHub| github.count(operation) > 0;
        fleet.world.wait("the call is made", is_called).await;
        fleet.world.kill().await;
        fleet.world.start().await;
        let end = fleet.ended(1).await.remove(0);
        let pull = fleet.pull();
        if operation == Operation::MergePull {
            assert_eq!((&*end, pull.state), ("pull request 1 is merged", "merged"));
        } else {
            assert_eq!(end, "GitHub merges pull request 1 when its rules are met");
            assert_eq!(pull.auto_merge.as_deref(), Some("MERGE"));
        }
    }
}
