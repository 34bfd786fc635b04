//! An update becomes a pull request, and a person's work is never touched.
use super::fleet::Fleet;

const BRANCH: &str = "fleetcheck/update";

/// Two hosts, each of one input.
async fn two(policy: &str) -> Fleet {
    let hosts = [("raider", "[ ${a.v} != bad ]"), ("viper", "[ ${b.v} != bad ]")];
    Fleet::new(&["a", "b"], &hosts, policy).await
}

#[tokio::test]
async fn what_breaks_nothing_becomes_a_pull_request_whose_checks_are_green() {
    let fleet = two("reviewers = [\"octocat\", \"acme/ops\"]\n").await;
    fleet.world.github.set_permission(&fleet.world.repo, "octocat", "write");
    let base = fleet.world.repo.head("main").unwrap();
    fleet.inputs().commit("a", "v = \"2\";");
    fleet.inputs().commit("b", "v = \"2\";");
    assert_eq!(fleet.update().await, "pull request 1 waits for a person");
    let pull = fleet.pull();
    assert_eq!((&*pull.branch, &*pull.base, pull.state), (BRANCH, "main", "open"));
    assert_eq!(
        (&pull.labels[..], &pull.reviewers[..]),
        (&["dependencies".to_owned()][..], &["octocat".to_owned(), "team/ops".to_owned()][..])
    );
    assert_eq!(fleet.newest(&pull.head), ["a", "b"]);
    assert_eq!(fleet.show(&pull.head, "%P %cn"), format!("{base} GitHub"), "GitHub made it");
    assert_eq!(fleet.branches(), [BRANCH, "main"], "nothing is left of making it");
    fleet.world.settled(&pull.head, &["fleet", "fleet / raider", "fleet / viper"]).await;
    assert_eq!(fleet.world.check(&pull.head, "fleet").conclusion.as_deref(), Some("success"));

    // Again, and nothing has moved: the pull request stays as it is.
    assert_eq!(fleet.update().await, "pull request 1 waits for a person");
    let again = fleet.pull();
    assert_eq!((again.head, again.title, again.reviewers), (pull.head, pull.title, pull.reviewers));
}

#[tokio::test]
async fn the_open_pull_request_is_updated_in_place() {
    let fleet = two("").await;
    fleet.inputs().commit("a", "v = \"2\";");
    fleet.update().await;
    let first = fleet.pull();
    fleet.inputs().commit("b", "v = \"2\";");
    assert_eq!(fleet.update().await, "pull request 1 waits for a person");
    let second = fleet.pull();
    assert_ne!(first.head, second.head);
    assert_eq!(fleet.newest(&second.head), ["a", "b"]);
    let base = fleet.world.repo.head("main").unwrap();
    assert_eq!(fleet.show(&second.head, "%P"), base, "one commit, and no history of tries");
}

#[tokio::test]
async fn what_breaks_a_host_is_held_back_and_the_rest_goes_ahead() {
    let fleet = two("").await;
    fleet.inputs().commit("a", "v = throw \"gtk-engine-murrine was removed\";");
    fleet.inputs().commit("b", "v = \"2\";");
    assert_eq!(fleet.update().await, "pull request 1 waits for a person");
    let pull = fleet.pull();
    assert_eq!(fleet.newest(&pull.head), ["b"]);
    assert!(pull.body.contains("gtk-engine-murrine was removed"), "{}", pull.body);
}

#[tokio::test]
async fn a_host_that_was_broken_before_is_not_the_update_s_fault() {
    let hosts = [("raider", "false"), ("viper", "[ ${a.v} != bad ]")];
    let fleet = Fleet::new(&["a"], &hosts, "").await;
    fleet.inputs().commit("a", "v = \"2\";");
    assert_eq!(fleet.update().await, "pull request 1 waits for a person");
    let body = fleet.pull().body;
    assert!(body.contains("raider"), "{body}");
}

#[tokio::test]
async fn each_input_has_a_pull_request_of_its_own_where_the_policy_says_so() {
    let fleet = two("group = \"each\"\n").await;
    fleet.inputs().commit("a", "v = \"2\";");
    fleet.inputs().commit("b", "v = \"2\";");
    fleet.ask();
    fleet.ended(2).await;
    let mut pulls = fleet.pulls();
    pulls.sort_by(|a, b| a.branch.cmp(&b.branch));
    let found: Vec<(&str, Vec<String>)> =
        pulls.iter().map(|it| (it.branch.as_str(), fleet.newest(&it.head))).collect();
    let wanted = [
        ("fleetcheck/update-a", vec!["a".to_owned()]),
        ("fleetcheck/update-b", vec!["b".to_owned()]),
    ];
    assert_eq!(found, wanted);
}

#[tokio::test]
async fn a_closed_pull_request_stays_closed_until_the_lock_file_differs() {
    let fleet = two("").await;
    fleet.inputs().commit("a", "v = \"2\";");
    fleet.update().await;
    fleet.world.github.close_pull(&fleet.world.repo, 1).await;
    let said = "pull request 1 was closed, and nothing has moved since";
    assert_eq!(fleet.update().await, said);
    fleet.inputs().commit("a", "v = \"3\";");
    assert_eq!(fleet.update().await, "pull request 2 waits for a person");
    let states: Vec<&str> = fleet.pulls().iter().map(|it| it.state).collect();
    assert_eq!(states, ["closed", "open"]);
}

#[tokio::test]
async fn a_person_s_commit_on_our_branch_stays_where_it_is_and_is_told_once() {
    let fleet = two("").await;
    fleet.inputs().commit("a", "v = \"2\";");
    fleet.update().await;
    let theirs = fleet.world.repo.commit(BRANCH, "a person's", &[("notes", "mine")]);
    fleet.inputs().commit("a", "v = \"3\";");
    for _ in 0..2 {
        assert_eq!(fleet.update().await, format!("a person's commit is on {BRANCH}"));
    }
    assert_eq!(fleet.world.repo.head(BRANCH).unwrap(), theirs);
    let comments = fleet.pull().comments;
    assert_eq!(comments.len(), 1, "{comments:?}");
    assert!(comments[0].contains(&theirs[..7]), "{comments:?}");
}

#[tokio::test]
async fn a_deleted_branch_is_made_again_when_something_has_moved() {
    let fleet = two("").await;
    fleet.inputs().commit("a", "v = \"2\";");
    fleet.update().await;
    fleet.world.github.delete_branch(&fleet.world.repo, BRANCH).await;
    assert_eq!(fleet.pull().state, "closed", "as GitHub does it");
    fleet.inputs().commit("b", "v = \"2\";");
    assert_eq!(fleet.update().await, "pull request 2 waits for a person");
    assert_eq!(fleet.newest(&fleet.pulls()[1].head), ["a", "b"]);
}

#[tokio::test]
async fn a_base_that_moves_meanwhile_is_taken_into_account() {
    let mut fleet = two("").await;
    let mut hold = fleet.world.hold("raider");
    fleet.set_host("raider", &format!("echo ${{a.v}}; {}", hold.script()));
    hold.let_go();
    fleet.push().await;
    hold.runs().await;
    hold.is_over().await;
    fleet.inputs().commit("a", "v = \"2\";");
    fleet.ask();
    hold.runs().await;
    let moved = fleet.world.repo.commit("main", "meanwhile", &[("notes", "new")]);
    fleet.world.announce("main", &moved).await;
    hold.let_go();
    assert_eq!(fleet.ended(1).await, ["pull request 1 waits for a person"]);
    assert_eq!(fleet.show(&fleet.pull().head, "%P"), moved);
}

#[tokio::test]
async fn an_app_that_may_not_write_says_what_is_missing() {
    let fleet = two("").await;
    fleet.world.github.withhold("pull_requests");
    fleet.inputs().commit("a", "v = \"2\";");
    let end = fleet.update().await;
    assert!(end.starts_with("it failed: ") && end.contains("may not write"), "{end}");
    assert_eq!(fleet.branches(), ["main"]);
}

#[tokio::test]
async fn a_reviewer_whom_nobody_knows_is_in_nobody_s_way() {
    let fleet = two("reviewers = [\"nobody\"]\n").await;
    fleet.inputs().commit("a", "v = \"2\";");
    assert_eq!(fleet.update().await, "pull request 1 waits for a person");
    let body = fleet.pull().body;
    assert!(body.contains("Reviews may only be requested from collaborators"), "{body}");
}

#[tokio::test]
async fn a_person_s_push_does_not_end_the_update_s_build_nor_the_update_theirs() {
    let mut fleet = two("").await;
    let (mut hold, count) = (fleet.world.hold("raider"), fleet.world.directory().join("count"));
    let script = format!("echo ${{a.v}} >> {}; {}", count.display(), hold.script());
    fleet.set_host("raider", &script);
    hold.let_go();
    fleet.push().await;
    hold.runs().await;
    hold.is_over().await;
    fleet.inputs().commit("a", "v = \"2\";");
    fleet.ask();
    hold.runs().await;
    // Theirs is tested to the end while the update's host is being built.
    let theirs = fleet.world.repo.commit("main", "a person's", &[("notes", "mine")]);
    fleet.world.announce("main", &theirs).await;
    fleet.world.concluded(&theirs, "fleet", "success").await;
    hold.let_go();
    assert_eq!(fleet.ended(1).await, ["pull request 1 waits for a person"]);
    assert_eq!(std::fs::read_to_string(count).unwrap(), "1\n2\n", "each was built once");
}

#[tokio::test]
async fn groups_whose_base_moves_begin_anew_each_for_itself() {
    let mut fleet = two("group = \"each\"\n").await;
    let mut hold = fleet.world.hold("raider");
    fleet.set_host("raider", &format!("echo ${{a.v}}; {}", hold.script()));
    hold.let_go();
    fleet.push().await;
    hold.runs().await;
    hold.is_over().await;
    fleet.inputs().commit("a", "v = \"2\";");
    fleet.inputs().commit("b", "v = \"2\";");
    fleet.ask();
    hold.runs().await;
    let moved = fleet.world.repo.commit("main", "meanwhile", &[("notes", "new")]);
    fleet.world.announce("main", &moved).await;
    hold.let_go();
    fleet.ended(2).await;
    let mut branches: Vec<String> = fleet.pulls().into_iter().map(|it| it.branch).collect();
    branches.sort();
    assert_eq!(branches, ["fleetcheck/update-a", "fleetcheck/update-b"]);
    fleet.world.caught_up().await;
    assert_eq!(fleet.ends().len(), 2, "and no more than these");
}
