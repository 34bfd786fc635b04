//! What the client makes of refusals, limits and tokens that no longer count.
use super::*;

#[tokio::test]
async fn a_token_is_replaced_five_minutes_before_it_expires() {
    let World { fake, client, repo, clock, .. } = world().await;
    let (installation, repository) = (InstallationId(repo.installation), RepositoryId(repo.id));
    let mint = || client.token(Purpose::Fetch, installation, repository);
    let first = mint().await.unwrap();
    assert!(first == mint().await.unwrap());
    clock.store(56 * 60 * 1000, Ordering::Relaxed);
    // By its own clock GitHub would not take a JWT from so far in the future.
    assert!(matches!(mint().await, Err(GithubError::Unauthenticated { .. })));
    assert_eq!(fake.count(Operation::MintToken), 2);
}

#[tokio::test]
async fn a_revoked_token_is_replaced_once_and_the_call_repeated() {
    let World { fake, client, target, clock, .. } = world().await;
    client.create_check(&target, "build-1", &page(CheckStatus::Queued)).await.unwrap();
    fake.revoke_tokens();
    // Old enough that its refusal is no delay of GitHub's.
    clock.store(20_000, Ordering::Relaxed);
    client.create_check(&target, "build-2", &page(CheckStatus::Queued)).await.unwrap();
    assert_eq!(fake.count(Operation::MintToken), 2);
    assert_eq!(fake.count(Operation::CreateCheck), 3);
}

#[tokio::test]
async fn a_token_that_is_seconds_old_is_given_time() {
    let World { fake, client, target, .. } = world().await;
    fake.fail_next(Operation::CreateCheck, Fault::Status(403), 1);
    client.create_check(&target, "build-1", &page(CheckStatus::Queued)).await.unwrap();
    assert_eq!(fake.count(Operation::MintToken), 1);
    assert_eq!(fake.count(Operation::CreateCheck), 2);
}

#[tokio::test]
async fn githubs_limits_are_weather_and_name_their_pause() {
    let World { fake, client, target, clock, .. } = world().await;
    let create = || async {
        let made = client.create_check(&target, "build-1", &page(CheckStatus::Queued)).await;
        let Err(GithubError::Weather { retry_after, .. }) = made else { panic!("{made:?}") };
        retry_after
    };
    fake.fail_next(Operation::CreateCheck, Fault::SecondaryRateLimit { retry_after: 17 }, 1);
    assert_eq!(create().await, Some(Duration::from_secs(17)));
    clock.store(16_000, Ordering::Relaxed);
    assert!(create().await.unwrap() <= Duration::from_secs(1), "and nothing is sent before");
    assert_eq!(fake.count(Operation::CreateCheck), 1);
    clock.store(18_000, Ordering::Relaxed);
    fake.fail_next(Operation::CreateCheck, Fault::RateLimitUsedUp { resets_in: 100 }, 1);
    let wait = create().await.unwrap().as_secs();
    assert!((81..=83).contains(&wait), "{wait}");
    clock.store(18_000 + 83_000, Ordering::Relaxed);
    fake.fail_next(Operation::CreateCheck, Fault::Status(502), 1);
    assert_eq!(create().await, None);
    fake.fail_next(Operation::CreateCheck, Fault::Dropped, 1);
    assert_eq!(create().await, None);
    assert_eq!(fake.count(Operation::CreateCheck), 4, "nothing is replayed");
}

#[tokio::test]
async fn a_suspended_installation_is_said_as_such_without_waiting() {
    let World { fake, client, repo, target, .. } = world().await;
    client.create_check(&target, "build-1", &page(CheckStatus::Queued)).await.unwrap();
    fake.suspend(repo.installation);
    for _ in 0..2 {
        let refused = client.create_check(&target, "build-2", &page(CheckStatus::Queued)).await;
        let Err(GithubError::Forbidden(text)) = refused else { panic!("{refused:?}") };
        assert!(text.contains("suspended"), "{text}");
    }
    fake.unsuspend(repo.installation);
    client.create_check(&target, "build-2", &page(CheckStatus::Queued)).await.unwrap();
}

#[tokio::test]
async fn a_permission_that_was_not_granted_is_named() {
    let World { fake, client, target, .. } = world().await;
    fake.withhold("statuses");
    let refused = client.create_check(&target, "build-1", &page(CheckStatus::Queued)).await;
    let Err(GithubError::Forbidden(text)) = refused else { panic!("{refused:?}") };
    assert!(text.contains("has to accept the App's permissions"), "{text}");
}

#[tokio::test]
async fn a_renamed_repository_still_gets_its_checks() {
    let World { fake, client, mut repo, target, .. } = world().await;
    fake.rename(&mut repo, "armada");
    client.create_check(&target, "build-1", &page(CheckStatus::Queued)).await.unwrap();
    assert!(client.find_check(&target, "fleet / raider", "build-1").await.unwrap().is_some());
}

#[tokio::test]
async fn what_is_gone_and_what_is_wrong_are_told_apart() {
    let World { fake, client, repo, target, .. } = world().await;
    let unknown = Target { sha: "1".repeat(40).parse().unwrap(), ..target.clone() };
    let refused = client.create_check(&unknown, "x", &page(CheckStatus::Queued)).await;
    let Err(GithubError::Rejected { status: 422, message }) = refused else {
        panic!("{refused:?}")
    };
    assert!(message.contains("No commit found for SHA: 1111"), "{message}");
    fake.delete_repository(&repo);
    let gone = client.create_check(&target, "x", &page(CheckStatus::Queued)).await;
    assert!(matches!(gone, Err(GithubError::Gone(_))), "{gone:?}");
}

#[tokio::test]
async fn a_completed_check_cannot_be_reopened() {
    let World { fake, client, target, .. } = world().await;
    let id = client.create_check(&target, "build-1", &page(failed())).await.unwrap().id.unwrap();
    let refused = client.update_check(&target, id, &page(CheckStatus::Queued), None).await;
    assert!(matches!(refused, Err(GithubError::Rejected { status: 422, .. })), "{refused:?}");
    assert_eq!(fake.take_violations().len(), 1);
}

#[tokio::test]
async fn a_clock_that_is_an_hour_wrong_is_said() {
    let World { fake: _fake, client, clock, target, .. } = world().await;
    clock.store(3_600_000, Ordering::Relaxed);
    for refused in [
        client.app().await.map(drop),
        client.create_check(&target, "x", &page(CheckStatus::Queued)).await.map(drop),
    ] {
        let Err(GithubError::Unauthenticated { what }) = refused else { panic!("{refused:?}") };
        assert!(what.contains("clock differs from GitHub's by 3600 s"), "{what}");
    }
}

#[tokio::test]
async fn the_app_and_its_installations_are_as_github_says() {
    let World { fake, client, repo, .. } = world().await;
    fake.create_repository("colonial", "fleet", false);
    let app = client.app().await.unwrap();
    assert_eq!(app.slug, "fleetcheck");
    assert_eq!(app.permissions["checks"], "write");
    assert!(app.clock_offset_ms.abs() < 5_000, "{}", app.clock_offset_ms);
    fake.suspend(repo.installation);
    let installations = client.installations().await.unwrap();
    let seen: Vec<_> = installations.iter().map(|it| (it.account.as_str(), it.suspended)).collect();
    assert_eq!(seen, [("acme", true), ("colonial", false)]);
}

#[tokio::test]
async fn a_key_that_is_no_key_is_refused_with_what_to_do() {
    let fake = FakeGitHub::start(Options::default()).await;
    let mut settings = settings(&fake);
    settings.private_keys = vec![Sealed::new("-----BEGIN NONSENSE-----".to_owned())];
    let refused = Github::new(&settings, Arc::new(|| Timestamp(0))).unwrap_err();
    let GithubError::Setup(text) = &refused else { panic!("{refused:?}") };
    assert!(text.starts_with("github.private_key_file: this is not an RSA private key"), "{text}");
    assert!(!format!("{refused:?}").contains("NONSENSE"));
}
