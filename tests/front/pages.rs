//! What people and machines are shown.
use fleetcheck::domain::build::{Attempted, Ending, EvaluationFailure};
use fleetcheck::domain::id::BuildId;
use fleetcheck::domain::incoming::Visibility;
use fleetcheck::domain::lock::stale::LastMove;
use fleetcheck::store::runs::{Outcome, Subject};
use serde_json::Value;

use crate::world::{NOW, World, id, waiting, words, write};

fn failed(headline: &str) -> Outcome {
    Outcome::Fail(Ending::EvaluationFailed(EvaluationFailure {
        headline: headline.into(),
        trace: "error: <img src=x>".into(),
        place: None,
        limit: None,
    }))
}

/// What each page of a run and its build is called.
fn paths(run: &impl ToString, build: &BuildId) -> [String; 5] {
    let run = run.to_string();
    [
        format!("/runs/{run}"),
        format!("/builds/{build}"),
        format!("/builds/{build}/log"),
        format!("/api/v1/runs/{run}"),
        format!("/api/v1/builds/{build}"),
    ]
}

#[tokio::test]
async fn a_public_run_is_shown_to_everyone() {
    let world = World::new().await;
    let (run, claim) = world.run(Visibility::Public).await;
    let build = world.host(&claim, "raider", failed("gtk-engine-murrine was removed")).await;
    for path in paths(&run, &build) {
        world.text(&path).await;
    }
    let page = world.text(&format!("/runs/{run}")).await;
    assert!(page.contains("raider") && page.contains("gtk-engine-murrine was removed"));
    assert!(world.text("/").await.contains("acme/fleet"));
    let found: Value = world.get("/api/v1/runs?repo=Acme/Fleet").await.json().await.unwrap();
    assert_eq!(found["runs"][0]["id"], run.to_string());
    assert_eq!(found["runs"][0].get("builds"), None);
}

#[tokio::test]
async fn a_private_run_opens_with_its_own_key_only_and_is_unknown_without() {
    let world = World::new().await;
    let (run, claim) = world.run(Visibility::Private).await;
    let build = world.host(&claim, "raider", waiting("raider")).await;
    let (other, _) = world.run(Visibility::Private).await;
    let foreign = world.links.run(&other, Visibility::Private);
    let (_, foreign) = foreign.split_once("?key=").unwrap();
    let unknown = world.get(&format!("/runs/{}", id::<BuildId>())).await;
    assert_eq!(unknown.status(), 404);
    let unknown = unknown.text().await.unwrap();
    for path in paths(&run, &build) {
        for key in [String::new(), "?key=".into(), "?key=zz".into(), format!("?key={foreign}")] {
            let response = world.get(&format!("{path}{key}")).await;
            assert_eq!(response.status(), 404, "{path}{key}");
            if !path.starts_with("/api") {
                assert_eq!(response.text().await.unwrap(), unknown, "the same as an unknown id");
            }
        }
        world.text(&world.links.path(&path, Visibility::Private)).await;
    }
    assert!(!world.text("/").await.contains("acme/secret"));
    let found: Value = world.get("/api/v1/runs?repo=acme/secret").await.json().await.unwrap();
    assert_eq!(found, serde_json::json!({ "runs": [] }));
}

#[tokio::test]
async fn the_links_of_a_private_page_have_their_keys() {
    let world = World::new().await;
    let (run, claim) = world.run(Visibility::Private).await;
    let build = world.host(&claim, "raider", waiting("raider")).await;
    let page = world.text(&world.links.run(&run, Visibility::Private)).await;
    let link = world.links.path(&format!("/builds/{build}"), Visibility::Private);
    assert!(page.contains(&link), "{link}");
    let page = world.text(&link).await;
    let json = world.links.path(&format!("/api/v1/builds/{build}"), Visibility::Private);
    assert!(page.contains(&json));
    let found: Value = world.get(&json).await.json().await.unwrap();
    assert_eq!(found["log_url"], world.links.log(&build, Visibility::Private));
    assert_eq!(found["state"], "waiting");
    assert_eq!(found["conclusion"], Value::Null);
}

#[tokio::test]
async fn every_answer_has_the_headers_that_keep_keys_and_readers_safe() {
    let world = World::new().await;
    let (run, _) = world.run(Visibility::Public).await;
    for path in ["/", &format!("/runs/{run}"), "/healthz", "/nowhere", "/api/v1/runs"] {
        let headers = world.get(path).await.headers().clone();
        assert_eq!(headers["referrer-policy"], "no-referrer", "{path}");
        assert_eq!(headers["x-content-type-options"], "nosniff", "{path}");
        assert_eq!(headers["x-frame-options"], "DENY", "{path}");
    }
    let policy = world.get("/").await.headers()["content-security-policy"].clone();
    let policy = policy.to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
}

#[tokio::test]
async fn what_a_repository_says_is_shown_as_text() {
    let world = World::new().await;
    let (run, claim) = world.run(Visibility::Public).await;
    let hostile = "<script>alert(1)</script>";
    let build = world.host(&claim, hostile, failed(hostile)).await;
    for path in paths(&run, &build).iter().take(2) {
        let page = world.text(path).await;
        assert!(!page.contains(hostile) && !page.contains("<img"), "{path}");
        assert!(page.contains("&lt;script&gt;alert(1)"), "{path}");
    }
}

#[tokio::test]
async fn a_log_is_followed_while_it_grows() {
    let world = World::new().await;
    let (_, claim) = world.run(Visibility::Public).await;
    let build = world.host(&claim, "raider", waiting("raider")).await;
    let log = format!("/builds/{build}/log");
    let (attempt, mut writer) = world.start("raider").await;
    write(&mut writer, "\u{1b}[31mone\u{1b}[0m\n<two>");

    let piece = world.get(&format!("{log}?from=0")).await;
    assert_eq!(piece.headers()["x-open"], "yes");
    let next = piece.headers()["x-next"].to_str().unwrap().to_owned();
    assert_eq!(piece.text().await.unwrap(), "one\n<two>\n");
    let page = world.text(&format!("/builds/{build}")).await;
    assert!(page.contains("<span class=\"c1 \">one</span>\n&lt;two&gt;"), "{page}");
    assert!(page.contains(&format!("data-next=\"{next}\"")), "{page}");

    write(&mut writer, "three");
    let piece = world.get(&format!("{log}?html=1&from={next}")).await;
    let next = piece.headers()["x-next"].to_str().unwrap().to_owned();
    assert_eq!(piece.text().await.unwrap(), "three\n");

    writer.finish().unwrap();
    world
        .finish(&attempt, Attempted::Answered(Ending::Built { seconds: 3, without: vec![] }))
        .await;
    let piece = world.get(&format!("{log}?from={next}")).await;
    assert!(piece.headers().get("x-open").is_none());
    assert_eq!(world.text(&log).await, "one\n<two>\nthree\n");
    assert!(world.text(&format!("{log}?ansi")).await.starts_with("\u{1b}[31mone"));
    assert!(!world.text(&format!("/builds/{build}")).await.contains("data-next"));
}

#[tokio::test]
async fn a_long_log_comes_whole_and_its_page_shows_the_end() {
    let world = World::new().await;
    let (_, claim) = world.run(Visibility::Public).await;
    let build = world.host(&claim, "raider", waiting("raider")).await;
    let (attempt, mut writer) = world.start("raider").await;
    let lines: Vec<String> = (0..100_000).map(|n| format!("line {n} of a long log")).collect();
    let text = lines.join("\n") + "\n";
    write(&mut writer, &text);
    writer.finish().unwrap();
    world
        .finish(&attempt, Attempted::Answered(Ending::Built { seconds: 3, without: vec![] }))
        .await;
    assert!(world.text(&format!("/builds/{build}/log")).await == text);
    let page = world.text(&format!("/builds/{build}")).await;
    assert!(page.contains("line 99999 of") && !page.contains("line 5 of"));
    assert!(page.len() < 300_000, "{}", page.len());
}

#[tokio::test]
async fn a_build_without_a_log_has_an_empty_one() {
    let world = World::new().await;
    let (_, claim) = world.run(Visibility::Public).await;
    let build = world.host(&claim, "raider", waiting("raider")).await;
    assert_eq!(world.text(&format!("/builds/{build}/log")).await, "");
}

#[tokio::test]
async fn a_question_that_is_not_understood_is_answered_in_words() {
    let world = World::new().await;
    for path in ["/api/v1/runs", "/api/v1/runs?repo=acme", "/api/v1/runs?repo=a/b&sha=main"] {
        let response = world.get(path).await;
        assert_eq!(response.status(), 400, "{path}");
        let error: Value = response.json().await.unwrap();
        assert!(error["error"].is_string(), "{path}");
    }
}

#[tokio::test]
async fn the_service_says_whether_it_is_alive_and_ready() {
    let world = World::new().await;
    assert_eq!(world.text("/healthz").await, "alive\n");
    world.readiness.beat("intake", NOW);
    assert_eq!(world.text("/readyz").await, "ready\n");
    world.text("/metrics").await;
    world.readiness.beat("report", fleetcheck::domain::Timestamp(NOW.0 - 600_000));
    let response = world.get("/readyz").await;
    assert_eq!(response.status(), 503);
    assert!(response.text().await.unwrap().contains("report"));
}

#[tokio::test]
async fn lock_files_of_public_repositories_that_do_not_move_are_listed() {
    let world = World::new().await;
    let at = NOW.plus(-23 * 86_400_000);
    let lock = Some(LastMove { at, stale_at: Some(at.plus(1)) });
    for visibility in [Visibility::Public, Visibility::Private] {
        let (_, claim) = world.run(visibility).await;
        let subject = Subject { lock, ..Subject::default() };
        world.store.set_subject(&claim, &subject, NOW).await.unwrap();
    }
    let page = words(&world.text("/").await);
    assert!(!page.contains("secret"), "{page}");
    let (_, locks) = page.split_once("Updates\n").unwrap();
    insta::assert_snapshot!(locks, @r"
    acme/fleet:
    flake.lock
    has not moved for 23 days: its newest change is of 2026-10-26.
    fleetcheck update
    finds out which inputs can move.
    ");
}
