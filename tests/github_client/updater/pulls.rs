//! Pull requests: opened, described, merged.
use super::*;

#[tokio::test]
async fn a_pull_request_is_opened_once_and_described_anew() {
    let fleet = fleet().await;
    let Fleet { fake, updater, repository, repo, .. } = &fleet;
    assert_eq!(updater.find_pull(repository, &update()).await.unwrap(), None);
    let pull = fleet.pull().await;
    assert_eq!(pull.state, PullState::Open);
    assert_eq!(pull.base_branch, branch("main"));
    assert_eq!(updater.find_pull(repository, &update()).await.unwrap(), Some(pull.clone()));
    assert_eq!(updater.pull(repository, pull.number).await.unwrap(), pull);

    // As after an answer that was lost.
    let again = fleet.open("Update flake.lock again", "other text").await.unwrap();
    assert_eq!(again.number, pull.number);
    let shown = fake.pulls(repo);
    assert_eq!(shown.len(), 1);
    assert_eq!(shown[0].title, "Update flake.lock again");
    assert_eq!((shown[0].body.as_str(), shown[0].by.as_str()), ("other text", "fleetcheck[bot]"));

    let long = "ä".repeat(70_000);
    updater.edit_pull(repository, pull.number, &long, &long).await.unwrap();
    let shown = fake.pulls(repo).remove(0);
    assert_eq!((shown.title.chars().count(), shown.body.len()), (250, 60_000));
}

#[tokio::test]
async fn a_pull_request_follows_its_branch_and_ends_with_it() {
    let fleet = fleet().await;
    let Fleet { fake, updater, repository, repo, .. } = &fleet;
    let pull = fleet.pull().await;
    let next = fleet.commit("[ ]").await;
    updater.move_branch(repository, &update(), Some(&pull.head), &next).await.unwrap();
    let now = updater.pull(repository, pull.number).await.unwrap();
    assert_eq!((now.head, now.state), (next, PullState::Open));
    updater.delete_branch(repository, &update()).await.unwrap();
    let closed = updater.find_pull(repository, &update()).await.unwrap().unwrap();
    assert_eq!((closed.number, closed.state), (pull.number, PullState::Closed));
    // One that is open goes before one that was, and the newest before older ones.
    let open = fleet.pull().await;
    assert_eq!(updater.find_pull(repository, &update()).await.unwrap(), Some(open.clone()));
    fake.close_pull(repo, open.number).await;
    let newest = updater.find_pull(repository, &update()).await.unwrap().unwrap();
    assert_eq!((newest.number, newest.state), (open.number, PullState::Closed));
}

#[tokio::test]
async fn what_github_refuses_to_open_is_said_in_its_words() {
    let fleet = fleet().await;
    let nothing = fleet.open("t", "b").await.unwrap_err();
    assert!(matches!(nothing, GithubError::Rejected { status: 422, .. }), "{nothing:?}");
    let moved = fleet.updater.move_branch(&fleet.repository, &update(), None, &fleet.base).await;
    assert_eq!(moved.unwrap(), BranchMoved::Done);
    let same = fleet.open("t", "b").await.unwrap_err().to_string();
    insta::assert_snapshot!(same, @"open a pull request of acme/fleet: GitHub answered 422: Validation Failed; No commits between main and fleetcheck/update");
}

#[tokio::test]
async fn labels_reviewers_and_comments_are_on_the_pull_request() {
    let fleet = fleet().await;
    let Fleet { fake, updater, repository, repo, .. } = &fleet;
    let number = fleet.pull().await.number;
    let names = |all: &[&str]| all.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
    updater.label(repository, number, &names(&["dependencies"])).await.unwrap();
    updater.label(repository, number, &[]).await.unwrap();
    updater.comment(repository, number, "I stand back.").await.unwrap();
    fake.set_permission(repo, "starbuck", "write");
    let reviewers = names(&["starbuck", "acme/ops"]);
    updater.request_reviews(repository, number, &reviewers).await.unwrap();
    let stranger = updater.request_reviews(repository, number, &names(&["baltar"])).await;
    assert!(matches!(stranger, Err(GithubError::Rejected { status: 422, .. })), "{stranger:?}");
    let shown = fake.pulls(repo).remove(0);
    assert_eq!(shown.labels, ["dependencies"]);
    assert_eq!(shown.reviewers, ["starbuck", "team/ops"]);
    assert_eq!(shown.comments, ["I stand back."]);
}

#[tokio::test]
async fn a_file_that_was_moved_counts_by_both_its_names() {
    let fleet = fleet().await;
    let Fleet { fake, updater, repository, repo, .. } = &fleet;
    let number = fleet.pull().await.number;
    let files = updater.changed_files(repository, number).await.unwrap();
    assert_eq!(files, ["flake.lock"]);
    let work = tempfile::tempdir().unwrap();
    let script = "git clone -q -b fleetcheck/update \"$0\" . && git mv flake.nix other.nix && \
                  git -c user.name=a -c user.email=a commit -qm move && git push -q";
    let mut shell = std::process::Command::new("sh");
    let moved = shell.args(["-c", script]).arg(&repo.git).current_dir(&work).status().unwrap();
    assert!(moved.success());
    fake.push(repo, "fleetcheck/update", &repo.head("fleetcheck/update").unwrap()).await;
    let mut files = updater.changed_files(repository, number).await.unwrap();
    files.sort();
    assert_eq!(files, ["flake.lock", "flake.nix", "other.nix"]);
}

#[tokio::test]
async fn auto_merge_is_on_or_not_needed_or_refused_in_githubs_words() {
    let fleet = fleet().await;
    let Fleet { fake, updater, repository, repo, .. } = &fleet;
    let pull = fleet.pull().await;
    let enable = async |head: &CommitSha| updater.enable_auto_merge(repository, &pull, head).await;
    let not_allowed = "Pull request Auto merge is not allowed for this repository".to_owned();
    assert_eq!(enable(&pull.head).await.unwrap(), AutoMerge::Refused(not_allowed));
    fake.set_settings(repo, |it| it.allows_auto_merge = true);
    assert_eq!(enable(&pull.head).await.unwrap(), AutoMerge::Clean);
    fake.set_settings(repo, |it| {
        it.missing = Some("Required status check \"fleet\" is expected.".to_owned());
        it.ways = vec!["squash"];
        it.unstable = 1;
    });
    let other = enable(&fleet.base).await.unwrap();
    assert!(matches!(other, AutoMerge::Refused(_)), "{other:?}");
    assert_eq!(enable(&pull.head).await.unwrap(), AutoMerge::On);
    assert_eq!(fake.pulls(repo)[0].auto_merge.as_deref(), Some("SQUASH"));
    fake.satisfy(repo).await;
    let merged = updater.pull(repository, pull.number).await.unwrap();
    assert_eq!(merged.state, PullState::Merged);
    assert_eq!(fleet.git(&["rev-list", "--count", "main"]), "2");
}

#[tokio::test]
async fn a_merge_wants_the_head_that_it_was_asked_for_and_nothing_missing() {
    let fleet = fleet().await;
    let Fleet { fake, updater, repository, repo, .. } = &fleet;
    let pull = fleet.pull().await;
    let merge =
        async |head: &CommitSha| updater.merge(repository, pull.number, head).await.unwrap();
    let modified = "Head branch was modified. Review and try the merge again.".to_owned();
    assert_eq!(merge(&fleet.base).await, MergeAnswer::Refused(modified));
    let review = "At least 1 approving review is required by reviewers with write access.";
    fake.set_settings(repo, |it| it.missing = Some(review.to_owned()));
    assert_eq!(merge(&pull.head).await, MergeAnswer::Refused(review.to_owned()));
    fake.set_settings(repo, |it| it.missing = None);
    assert_eq!(merge(&pull.head).await, MergeAnswer::Merged);
    let parents = fleet.git(&["log", "-1", "--format=%P", "main"]);
    assert_eq!(parents, format!("{} {}", fleet.base, pull.head));
    let closed = MergeAnswer::Refused("Pull Request is not mergeable".to_owned());
    assert_eq!(merge(&pull.head).await, closed);
}
