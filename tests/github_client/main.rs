//! The client against a GitHub of our own, over real HTTP.
#![expect(clippy::unwrap_used, reason = "tests may panic")]
mod batches;
#[path = "../world/github/mod.rs"]
mod github;
mod trouble;
mod updater;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use fleetcheck::config::{self, Sealed};
use fleetcheck::domain::Timestamp;
use fleetcheck::domain::decide::Permission;
use fleetcheck::domain::id::{InstallationId, RepositoryId};
use fleetcheck::domain::incoming::{Repository, Visibility};
use fleetcheck::domain::page::{
    Annotation, AnnotationLevel, CheckPage, CheckStatus, StatusPage, StatusState,
};
use fleetcheck::domain::verdict::Conclusion;
use fleetcheck::github::checks::Target;
use fleetcheck::github::client::{Clock, Github, GithubError, Purpose};

use github::{Contract, Echoes, FakeGitHub, Fault, Operation, Options, RepoHandle};

struct World {
    fake: FakeGitHub,
    client: Github,
    repo: RepoHandle,
    target: Target,
    /// Our clock minus this machine's, in milliseconds.
    clock: Arc<AtomicI64>,
}

fn settings(fake: &FakeGitHub) -> config::Github {
    config::Github {
        app_id: fake.app_id(),
        private_keys: vec![Sealed::new(fake.private_key_pem().to_owned())],
        webhook_secrets: vec![],
        api_url: fake.api_url(),
        git_url: fake.git_url(),
        owners: vec!["acme".to_owned()],
        check_name: "fleet".to_owned(),
        checks_limit: 60,
        recover_interval: Duration::from_mins(5),
        updater: None,
    }
}

async fn world_of(options: Options) -> World {
    let fake = FakeGitHub::start(options).await;
    let repo = fake.create_repository("acme", "fleet", true);
    let sha = repo.commit("main", "first", &[("flake.nix", "{ }")]);
    let clock = Arc::new(AtomicI64::new(0));
    let offset = Arc::clone(&clock);
    let now: Clock = Arc::new(move || {
        Timestamp(jiff::Timestamp::now().as_millisecond() + offset.load(Ordering::Relaxed))
    });
    let client = Github::new(&settings(&fake), now).unwrap();
    let target = Target {
        installation: InstallationId(repo.installation),
        repository: RepositoryId(repo.id),
        node_id: format!("R_{}", repo.id).parse().ok(),
        owner: "acme".parse().unwrap(),
        name: "fleet".parse().unwrap(),
        sha: sha.parse().unwrap(),
    };
    World { fake, client, repo, target, clock }
}

async fn world() -> World {
    world_of(Options::default()).await
}

fn page(status: CheckStatus) -> CheckPage {
    CheckPage {
        name: "fleet / raider".to_owned(),
        status,
        title: "builds".to_owned(),
        summary: "| host | result |\n".to_owned(),
        text: String::new(),
        annotations: vec![],
        actions: vec![],
        details_url: "https://fleet.example.org/builds/1".to_owned(),
    }
}

fn failed() -> CheckStatus {
    CheckStatus::Completed { conclusion: Conclusion::Failure, at: Timestamp(1_790_000_000_000) }
}

fn annotations(count: u32) -> Vec<Annotation> {
    let annotation = |line| Annotation {
        level: AnnotationLevel::Failure,
        path: "flake.nix".to_owned(),
        line,
        title: "throw".to_owned(),
        message: "no".to_owned(),
    };
    (1..=count).map(annotation).collect()
}

#[tokio::test]
async fn a_check_is_created_and_then_says_something_else() {
    let World { fake, client, repo, target, .. } = world().await;
    let id = client.create_check(&target, "build-1", &page(CheckStatus::Queued)).await.unwrap();
    let id = id.id.unwrap();
    let running = CheckStatus::InProgress { since: Timestamp(1_790_000_000_000) };
    client.update_check(&target, id, &page(running), None).await.unwrap();
    let with_text = CheckPage { text: "log".to_owned(), ..page(failed()) };
    client.update_check(&target, id, &with_text, None).await.unwrap();
    let shown = fake.check_run(repo.id, target.sha.as_str(), "fleet / raider").unwrap();
    assert_eq!(
        (shown.id, shown.conclusion.as_deref(), shown.external_id.as_str(), shown.text.as_str()),
        (id, Some("failure"), "build-1", "log")
    );
    let bodies: Vec<_> = fake.calls().into_iter().map(|it| it.body).collect();
    assert!(bodies.iter().all(|it| it["output"]["text"] != ""), "an empty text is not sent");
    let last = bodies.last().unwrap();
    assert_eq!(last["completed_at"], "2026-09-21T14:13:20Z");
}

#[tokio::test]
async fn annotations_beyond_fifty_follow_and_are_never_doubled() {
    let World { fake, client, repo, target, .. } = world().await;
    let page = CheckPage { annotations: annotations(120), ..page(failed()) };
    let id = client.create_check(&target, "build-1", &page).await.unwrap().id.unwrap();
    client.update_check(&target, id, &page, None).await.unwrap();
    let shown = fake.check_run(repo.id, target.sha.as_str(), "fleet / raider").unwrap();
    let expected: Vec<_> = (1..=120).map(|line| format!("flake.nix:{line}: throw")).collect();
    assert_eq!(shown.annotations, expected);
}

#[tokio::test]
async fn annotations_cut_off_by_the_weather_are_completed_by_the_next_try() {
    let World { fake, client, repo, target, .. } = world().await;
    let page = CheckPage { annotations: annotations(120), ..page(failed()) };
    fake.fail_next(Operation::UpdateCheck, Fault::Status(502), 1);
    assert!(client.create_check(&target, "build-1", &page).await.is_err());
    let id = client.find_check(&target, "fleet / raider", "build-1").await.unwrap().unwrap();
    let id = id.check.id.unwrap();
    client.update_check(&target, id, &page, None).await.unwrap();
    let shown = fake.check_run(repo.id, target.sha.as_str(), "fleet / raider").unwrap();
    assert_eq!(shown.annotations.len(), 120);
}

#[tokio::test]
async fn a_post_is_sent_once_and_a_lost_answer_is_found_by_its_external_id() {
    let World { fake, client, repo, target, .. } = world().await;
    fake.fail_next(Operation::CreateCheck, Fault::AnswerLost, 1);
    let lost = client.create_check(&target, "build-1", &page(CheckStatus::Queued)).await;
    assert!(matches!(lost, Err(GithubError::Weather { .. })), "{lost:?}");
    assert_eq!(fake.count(Operation::CreateCheck), 1);
    let there = fake.check_run(repo.id, target.sha.as_str(), "fleet / raider").unwrap().id;
    let found = client.find_check(&target, "fleet / raider", "build-1").await.unwrap();
    assert_eq!(found.unwrap().check.id, Some(there));
    assert_eq!(client.find_check(&target, "fleet / raider", "build-2").await.unwrap(), None);
    assert_eq!(client.find_check(&target, "fleet", "build-1").await.unwrap(), None);
}

#[tokio::test]
async fn a_check_is_found_behind_a_hundred_others_of_its_name() {
    let World { fake, client, target, .. } = world_of(silent()).await;
    for attempt in 0..103 {
        let name = format!("build-{attempt}");
        client.create_check(&target, &name, &page(CheckStatus::Queued)).await.unwrap();
    }
    let found = client.find_check(&target, "fleet / raider", "build-0").await.unwrap();
    assert!(found.is_some());
    assert_eq!(fake.count(Operation::ListChecks), 2, "two pages, with the token on both");
    let paths: Vec<_> = fake.calls().into_iter().map(|it| it.path).collect();
    assert!(paths.last().unwrap().contains("check_name=fleet%20%2F%20raider&app_id=12345"));
}

fn silent() -> Options {
    Options { echoes: Echoes::Silent, contract: Contract::Required, ..Options::default() }
}

#[tokio::test]
async fn a_status_is_cut_to_githubs_limit() {
    let World { fake, client, repo, target, .. } = world().await;
    let page = StatusPage {
        state: StatusState::Pending,
        description: "ä".repeat(200),
        target_url: "https://fleet.example.org/runs/1".to_owned(),
    };
    client.set_status(&target, "fleetcheck", &page).await.unwrap();
    let shown = fake.statuses(repo.id, target.sha.as_str());
    assert_eq!(shown[0].context, "fleetcheck");
    assert_eq!(shown[0].description.chars().count(), 140);
}

#[tokio::test]
async fn a_text_over_the_limit_is_cut_at_a_lines_end() {
    let World { fake, client, repo, target, .. } = world().await;
    let page = CheckPage { text: "äöü and so on\n".repeat(10_000), ..page(failed()) };
    client.create_check(&target, "build-1", &page).await.unwrap();
    let shown = fake.check_run(repo.id, target.sha.as_str(), "fleet / raider").unwrap().text;
    assert!(shown.len() <= 60_000 && shown.ends_with("and so on"), "{}", shown.len());
}

#[tokio::test]
async fn many_callers_at_once_share_one_token() {
    let World { fake, client, repo, .. } = world().await;
    let (installation, repository) = (InstallationId(repo.installation), RepositoryId(repo.id));
    let mint = || client.token(Purpose::Fetch, installation, repository);
    let tokens = futures::future::join_all((0..20).map(|_| mint())).await;
    let first = tokens[0].as_ref().unwrap().reveal();
    assert!(tokens.iter().all(|it| it.as_ref().unwrap().reveal() == first));
    assert_eq!(fake.count(Operation::MintToken), 1);
    let asked = fake.calls().remove(0).body;
    assert_eq!(
        asked,
        serde_json::json!({ "repository_ids": [repo.id], "permissions": { "contents": "read" } })
    );
}

#[tokio::test]
async fn git_fetches_with_a_fetch_token_and_with_no_other() {
    let World { fake, client, repo, target, .. } = world().await;
    let other = fake.create_repository("acme", "other", true);
    let token = async |purpose, repository| {
        client.token(purpose, target.installation, RepositoryId(repository)).await.unwrap()
    };
    let fetch = token(Purpose::Fetch, repo.id).await;
    let heads = ls_remote(&fake, Some(&fetch)).await.unwrap();
    assert!(heads.contains(target.sha.as_str()), "{heads}");
    for refused in [
        None,
        Some(token(Purpose::Report, repo.id).await),
        Some(token(Purpose::Fetch, other.id).await),
    ] {
        assert!(ls_remote(&fake, refused.as_ref()).await.is_none(), "{refused:?}");
    }
}

/// What git lists of `acme/fleet` with a token.
async fn ls_remote(fake: &FakeGitHub, token: Option<&Sealed>) -> Option<String> {
    let mut git = tokio::process::Command::new("git");
    git.args(["ls-remote", &format!("{}/acme/fleet.git", fake.git_url())])
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_CONFIG_GLOBAL", "/dev/null");
    if let Some(token) = token {
        let basic = format!("x-access-token:{}", token.reveal());
        let basic = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, basic);
        git.env("GIT_CONFIG_COUNT", "1")
            .env("GIT_CONFIG_KEY_0", "http.extraHeader")
            .env("GIT_CONFIG_VALUE_0", format!("Authorization: Basic {basic}"));
    }
    let output = git.output().await.unwrap();
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
}

#[tokio::test]
async fn deliveries_are_signed_and_shaped_as_githubs() {
    use fleetcheck::domain::incoming::{Incoming, Origin, PushTarget};
    use fleetcheck::github::webhook::{Disposition, Secrets, peek, read};

    let World { fake, repo, target, .. } = world().await;
    let (sent, mut received) = tokio::sync::mpsc::unbounded_channel();
    let hook = move |headers: http::HeaderMap, body: bytes::Bytes| {
        let sent = sent.clone();
        async move {
            sent.send((headers, body)).unwrap();
            http::StatusCode::ACCEPTED
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    fake.set_webhook(&format!("http://{}/webhook", listener.local_addr().unwrap()));
    let router = axum::Router::new().route("/webhook", axum::routing::post(hook));
    let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });

    let sha = target.sha.as_str();
    assert_eq!(fake.push(&repo, "main", sha).await, Some(202));
    fake.open_pull_request(&repo, 7, sha, github::From::DeletedFork).await;
    fake.installation(&repo, "suspend").await;
    let secrets = Secrets::new(&[Sealed::new(fake.secret().to_owned())]);
    let mut incoming = Vec::new();
    for _ in 0..3 {
        let (headers, body) = received.recv().await.unwrap();
        let event = headers["x-github-event"].to_str().unwrap();
        let signature = headers["x-hub-signature-256"].as_bytes();
        let body = secrets.verify(body, Some(signature)).unwrap();
        let peeked = peek(event, &body, fake.app_id(), &["acme".to_owned()]).unwrap();
        assert_eq!(peeked.disposition, Disposition::Act, "{event}");
        assert_eq!(peeked.installation, Some(target.installation));
        incoming.push(read(event, body.bytes()).unwrap());
    }
    server.abort();
    let [Incoming::Push(push), Incoming::PullRequest(pull), Incoming::Installation(_)] =
        incoming.as_slice()
    else {
        panic!("{incoming:?}")
    };
    assert!(matches!(&push.target, PushTarget::Branch { head, .. } if *head == target.sha));
    assert_eq!((pull.number, pull.origin, &pull.head), (7, Origin::Fork, &target.sha));
}

#[tokio::test]
async fn what_an_account_may_do_is_asked_every_time_and_unknown_ones_may_nothing() {
    let World { fake, client, repo, target, .. } = world().await;
    let repository = Repository {
        id: target.repository,
        node_id: target.node_id.clone(),
        owner: target.owner.clone(),
        name: target.name.clone(),
        default_branch: "main".parse().unwrap(),
        visibility: Visibility::Private,
        installation: target.installation,
    };
    let ask = async |login: &str| client.permission(&repository, &login.parse().unwrap()).await;
    for (word, may) in [
        ("none", Permission::None),
        ("read", Permission::Read),
        ("write", Permission::Write),
        ("admin", Permission::Admin),
        ("emperor", Permission::None),
    ] {
        fake.set_permission(&repo, "starbuck", word);
        assert_eq!(ask("starbuck").await.unwrap(), may, "{word}");
    }
    fake.set_permission(&repo, "renovate[bot]", "write");
    assert_eq!(ask("renovate[bot]").await.unwrap(), Permission::Write);
    assert!(matches!(ask("baltar").await, Err(GithubError::Gone(_))));
}
