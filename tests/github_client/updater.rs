//! Branches, pull requests and issues of updates.
mod apps;
mod pulls;

use super::*;
use fleetcheck::domain::id::{Branch, CommitSha};
use fleetcheck::github::updater::{
    AutoMerge, BranchMoved, IssueStanding, MergeAnswer, NewCommit, NewPull, Pull, PullState,
    Updater,
};
use github::{OTHER_PRIVATE_KEY, SECOND_APP_ID, Shape};

/// A repository in which updates may be written, by the App that reports.
struct Fleet {
    fake: FakeGitHub,
    updater: Updater,
    repo: RepoHandle,
    repository: Repository,
    base: CommitSha,
}

fn repository(repo: &RepoHandle) -> Repository {
    Repository {
        id: RepositoryId(repo.id),
        node_id: format!("R_{}", repo.id).parse().ok(),
        owner: repo.owner.parse().unwrap(),
        name: repo.name.parse().unwrap(),
        default_branch: "main".parse().unwrap(),
        visibility: Visibility::Private,
        installation: InstallationId(repo.installation),
    }
}

async fn fleet_of(options: Options) -> Fleet {
    let World { fake, client, repo, target, .. } = world_of(options).await;
    fake.grant_updates();
    let updater = Updater::own(Arc::new(client));
    Fleet { fake, updater, repository: repository(&repo), repo, base: target.sha }
}

async fn fleet() -> Fleet {
    fleet_of(Options::default()).await
}

fn branch(name: &str) -> Branch {
    name.parse().unwrap()
}

fn update() -> Branch {
    branch("fleetcheck/update")
}

impl Fleet {
    /// A signed commit of another lock, on the scratch branch.
    async fn commit(&self, content: &str) -> CommitSha {
        let message = "flake.lock: update\n\nnixpkgs moves.";
        let new = NewCommit { base: &self.base, message, path: "flake.lock", content };
        self.updater.commit(&self.repository, &scratch(), &new).await.unwrap()
    }

    /// An update's branch with one commit, and its pull request.
    async fn pull(&self) -> Pull {
        let made = self.commit("{ }").await;
        let moved = self.updater.move_branch(&self.repository, &update(), None, &made).await;
        assert_eq!(moved.unwrap(), BranchMoved::Done);
        self.open("Update flake.lock", "text").await.unwrap()
    }

    async fn open(&self, title: &str, body: &str) -> Result<Pull, GithubError> {
        let (branch, base) = (update(), branch("main"));
        let new = NewPull { branch: &branch, base: &base, title, body };
        self.updater.open_pull(&self.repository, &new).await
    }

    fn git(&self, arguments: &[&str]) -> String {
        let mut git = std::process::Command::new("git");
        let output = git.arg("-C").arg(&self.repo.git).args(arguments).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

fn scratch() -> Branch {
    branch("fleetcheck/scratch")
}

#[tokio::test]
async fn a_signed_commit_is_made_aside_and_the_branch_moves_to_it_in_one_step() {
    let fleet = fleet().await;
    let Fleet { updater, repository, base, .. } = &fleet;
    assert_eq!(updater.head(repository, &update()).await.unwrap(), None);
    let made = fleet.commit("{ \"version\": 7 }").await;
    assert_eq!(updater.head(repository, &scratch()).await.unwrap(), Some(made.clone()));
    assert_eq!(updater.head(repository, &update()).await.unwrap(), None);

    let moved = updater.move_branch(repository, &update(), None, &made).await.unwrap();
    assert_eq!(moved, BranchMoved::Done);
    updater.delete_branch(repository, &scratch()).await.unwrap();
    updater.delete_branch(repository, &scratch()).await.unwrap();
    assert_eq!(updater.head(repository, &update()).await.unwrap(), Some(made.clone()));
    assert_eq!(updater.head(repository, &scratch()).await.unwrap(), None);

    let commit = fleet.git(&["log", "-1", "--format=%P|%cn <%ce>|%an|%B", made.as_str()]);
    assert_eq!(
        commit,
        format!(
            "{base}|GitHub <noreply@github.com>|fleetcheck[bot]|flake.lock: update\n\nnixpkgs moves."
        )
    );
    let lock = fleet.git(&["show", &format!("{made}:flake.lock")]);
    assert_eq!(lock, "{ \"version\": 7 }");
}

#[tokio::test]
async fn a_scratch_branch_that_a_crash_left_is_in_nobodys_way() {
    let fleet = fleet().await;
    fleet.fake.fail_next(Operation::CreateCommit, Fault::Status(502), 1);
    let new = NewCommit { base: &fleet.base, message: "m", path: "flake.lock", content: "1" };
    let failed = fleet.updater.commit(&fleet.repository, &scratch(), &new).await;
    assert!(matches!(failed, Err(GithubError::Weather { .. })), "{failed:?}");
    assert!(fleet.repo.head("fleetcheck/scratch").is_some());
    let made = fleet.commit("2").await;
    assert_eq!(fleet.git(&["rev-list", "--count", made.as_str()]), "2");
}

#[tokio::test]
async fn a_branch_that_a_person_moved_is_not_moved_over() {
    for shape in [Shape::Com, Shape::Enterprise] {
        let fleet = fleet_of(Options { shape, ..Options::default() }).await;
        let Fleet { fake, updater, repository, repo, .. } = &fleet;
        let first = fleet.commit("1").await;
        let step = async |from: Option<&CommitSha>, to: &CommitSha| {
            if shape == Shape::Enterprise {
                fake.fail_next(Operation::UpdateRefs, Fault::GraphqlUnknown, 1);
            }
            updater.move_branch(repository, &update(), from, to).await.unwrap()
        };
        assert_eq!(step(None, &first).await, BranchMoved::Done);
        let second = fleet.commit("2").await;
        assert_eq!(step(Some(&first), &second).await, BranchMoved::Done);
        // The same once more: what was asked for is so.
        assert_eq!(step(Some(&first), &second).await, BranchMoved::Done);

        let theirs = repo.commit("fleetcheck/update", "by hand", &[("flake.lock", "3")]);
        let third = fleet.commit("4").await;
        assert_eq!(step(Some(&second), &third).await, BranchMoved::Elsewhere);
        assert_eq!(step(None, &third).await, BranchMoved::Elsewhere);
        assert_eq!(repo.head("fleetcheck/update"), Some(theirs));
        let gone = branch("fleetcheck/gone");
        let moved = updater.move_branch(repository, &gone, Some(&second), &third).await;
        assert_eq!(moved.unwrap(), BranchMoved::Elsewhere);
    }
}

#[tokio::test]
async fn a_move_whose_answer_was_lost_is_known_to_have_happened() {
    let fleet = fleet().await;
    let made = fleet.commit("1").await;
    fleet.fake.fail_next(Operation::UpdateRefs, Fault::AnswerLost, 1);
    let moved = fleet.updater.move_branch(&fleet.repository, &update(), None, &made).await;
    assert_eq!(moved.unwrap(), BranchMoved::Done);
    fleet.fake.fail_next(Operation::UpdateRefs, Fault::Dropped, 1);
    let next = fleet.commit("2").await;
    let moved = fleet.updater.move_branch(&fleet.repository, &update(), Some(&made), &next).await;
    assert!(matches!(moved, Err(GithubError::Weather { .. })), "{moved:?}");
}

#[tokio::test]
async fn an_issue_is_opened_edited_closed_and_opened_again() {
    let fleet = fleet().await;
    let Fleet { fake, updater, repository, repo, .. } = &fleet;
    let number = updater.open_issue(repository, "Updates held back", "nixpkgs").await.unwrap();
    let find = async |title: &str| updater.find_issue(repository, title).await.unwrap();
    assert_eq!(find("Updates held back").await, Some(number));
    assert_eq!(find("Updates held").await, None);
    updater.edit_issue(repository, number, "none", IssueStanding::Closed).await.unwrap();
    assert!(!fake.issues(repo)[0].is_open);
    assert_eq!(find("Updates held back").await, None);
    updater.edit_issue(repository, number, "again", IssueStanding::Open).await.unwrap();
    updater.comment(repository, number, "more").await.unwrap();
    let shown = fake.issues(repo).remove(0);
    assert_eq!((shown.title.as_str(), shown.body.as_str()), ("Updates held back", "again"));
    assert_eq!((shown.is_open, shown.comments), (true, vec!["more".to_owned()]));
    fake.set_settings(repo, |it| it.has_issues = false);
    let none = updater.open_issue(repository, "t", "b").await;
    assert!(matches!(none, Err(GithubError::Gone(_))), "{none:?}");
}

#[tokio::test]
async fn the_tracking_issue_is_neither_a_pull_request_nor_another_apps_issue() {
    let fleet = fleet().await;
    let Fleet { fake, updater, repository, .. } = &fleet;
    fake.install_second_app(&fleet.repo);
    let theirs = apps::apart(fake);
    let number = theirs.open_issue(repository, "Update flake.lock", "b").await.unwrap();
    fleet.pull().await;
    let found = updater.find_issue(repository, "Update flake.lock").await.unwrap();
    assert_eq!(found, None);
    fake.fail_next(Operation::CreateIssue, Fault::AnswerLost, 1);
    let lost = updater.open_issue(repository, "Update flake.lock", "b").await;
    assert!(matches!(lost, Err(GithubError::Weather { .. })), "{lost:?}");
    let found = updater.find_issue(repository, "Update flake.lock").await.unwrap();
    assert!(found > Some(number), "{found:?}");
}

#[tokio::test]
async fn commits_between_revisions_are_counted_where_github_tells() {
    let fleet = fleet().await;
    let Fleet { fake, updater, repository, .. } = &fleet;
    let public = fake.create_repository("nixos", "nixpkgs", false);
    let commits: Vec<String> =
        (0..4).map(|it| public.commit("main", &it.to_string(), &[("x", "y")])).collect();
    let hidden = fake.create_repository("nixos", "secret", true);
    let secret = hidden.commit("main", "s", &[("x", "y")]);
    let count = async |name: (&str, &str), from: &str, to: &str| {
        updater.commits_between(repository, name, from, to).await.unwrap()
    };
    let nixpkgs = ("nixos", "nixpkgs");
    assert_eq!(count(nixpkgs, &commits[0], &commits[3]).await, Some(3));
    assert_eq!(count(nixpkgs, &commits[0], &"1".repeat(40)).await, None);
    assert_eq!(count(("nixos", "secret"), &secret, &secret).await, None);
    assert_eq!(count(("../..", "app"), "a", "b").await, None);
    let asked = fake.calls().into_iter().find(|it| it.operation == Operation::MintToken).unwrap();
    assert_eq!(asked.body["permissions"], serde_json::json!({ "contents": "read" }));
}

#[tokio::test]
async fn a_history_is_read_along_first_parents_page_by_page() {
    let fleet = fleet().await;
    let Fleet { fake, updater, repository, .. } = &fleet;
    let public = fake.create_repository("nixos", "nixpkgs", false);
    let commit =
        |file: &str| -> CommitSha { public.commit("main", file, &[(file, "x")]).parse().unwrap() };
    let old = commit("start");
    let mut way: Vec<CommitSha> = (0..120).map(|it| commit(&it.to_string())).collect();
    let aside = public.commit_onto(Some(old.as_str()), "topic", "aside", &[("aside", "x")]);
    let aside: CommitSha = aside.parse().unwrap();
    let merge = merged(public.directory(), &way[119], &aside);
    way.push(merge.clone());
    let history = async |name: (&str, &str), from: &CommitSha, to: &CommitSha| {
        let found = updater.history(repository, name, from, to).await.unwrap();
        found.map(|it| it.into_iter().map(|it| it.id).collect::<Vec<_>>())
    };
    let nixpkgs = ("nixos", "nixpkgs");
    assert_eq!(history(nixpkgs, &old, &merge).await, Some(way.clone()));
    let asked = fake.calls().iter().filter(|it| it.operation == Operation::Compare).count();
    assert_eq!(asked, 2, "122 commits on pages of 100");
    assert_eq!(history(nixpkgs, &aside, &merge).await, None, "it was merged");
    assert_eq!(history(nixpkgs, &merge, &old).await, None, "it goes back");
    assert_eq!(history(nixpkgs, &old, &"1".repeat(40).parse().unwrap()).await, None);
    assert_eq!(history(("../..", "app"), &old, &merge).await, None);
}

/// A merge that is on no branch.
fn merged(directory: &std::path::Path, into: &CommitSha, other: &CommitSha) -> CommitSha {
    let (tree, into) = (format!("{into}^{{tree}}"), into.as_str());
    let who = ["-c", "user.name=A", "-c", "user.email=a@b.c", "commit-tree", "-m", "merge"];
    let mut git = std::process::Command::new("git");
    git.arg("-C").arg(directory).args(who).args(["-p", into, "-p", other.as_str(), &tree]);
    String::from_utf8(git.output().unwrap().stdout).unwrap().trim().parse().unwrap()
}

#[tokio::test]
async fn everybody_is_told_of_what_is_written_as_github_tells_it() {
    let fleet = fleet().await;
    let router = axum::Router::new()
        .route("/webhook", axum::routing::post(|| async { http::StatusCode::ACCEPTED }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    fleet.fake.set_webhook(&format!("http://{}/webhook", listener.local_addr().unwrap()));
    let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let pull = fleet.pull().await;
    let next = fleet.commit("[ ]").await;
    let Fleet { fake, updater, repository, .. } = &fleet;
    updater.move_branch(repository, &update(), Some(&pull.head), &next).await.unwrap();
    updater.merge(repository, pull.number, &next).await.unwrap();
    let told = |fake: &FakeGitHub| -> Vec<String> {
        let line = |it: &github::Delivered| {
            let body: serde_json::Value = serde_json::from_str(&it.body).unwrap();
            assert_eq!(body["sender"]["login"], "fleetcheck[bot]");
            let about = body["ref"].as_str().or(body["action"].as_str()).unwrap_or_default();
            format!("{} {about}", it.event)
        };
        fake.deliveries().iter().map(line).collect()
    };
    fake.wait_until("the merge is told", |it| {
        told(it).last().is_some_and(|it| it == "pull_request closed")
    })
    .await;
    let mut told = told(fake);
    told.dedup();
    insta::assert_snapshot!(told.join("\n"), @r"
    push refs/heads/fleetcheck/scratch
    push refs/heads/fleetcheck/update
    pull_request opened
    push refs/heads/fleetcheck/scratch
    push refs/heads/fleetcheck/update
    pull_request synchronize
    push refs/heads/main
    pull_request closed
    ");
    server.abort();
}
