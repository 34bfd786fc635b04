//! With whose permissions updates are written.
use super::*;

#[tokio::test]
async fn a_permission_that_is_missing_is_named_with_what_to_do() {
    let fleet = fleet().await;
    fleet.fake.withhold("pull_requests");
    let refused = fleet.updater.head(&fleet.repository, &update()).await.unwrap_err();
    assert!(matches!(refused, GithubError::Forbidden(_)), "{refused:?}");
    insta::assert_snapshot!(
        refused.to_string().replace(&fleet.repo.installation.to_string(), "N"),
        @"the App may not write contents, pull requests and issues in acme/fleet: grant it these permissions (deploy/app-manifest-updater.json) and let the account's owner accept them; get a token of installation N: GitHub answered 422: The permissions requested are not granted to this installation."
    );
}

#[tokio::test]
async fn a_token_for_updates_is_of_one_repository_and_of_no_other_purpose() {
    let fleet = fleet().await;
    fleet.pull().await;
    let calls = fleet.fake.calls();
    let minted: Vec<_> = calls.iter().filter(|it| it.operation == Operation::MintToken).collect();
    assert_eq!(minted.len(), 1);
    assert_eq!(
        minted[0].body,
        serde_json::json!({
            "repository_ids": [fleet.repo.id],
            "permissions": {
                "contents": "write", "issues": "write",
                "metadata": "read", "pull_requests": "write",
            },
        })
    );
}

/// An App for updates alone, beside the one that reports.
pub(super) fn apart(fake: &FakeGitHub) -> Updater {
    let mut settings = settings(fake);
    let clock: Clock = Arc::new(|| Timestamp(jiff::Timestamp::now().as_millisecond()));
    let own = Arc::new(Github::new(&settings, clock.clone()).unwrap());
    settings.updater = Some(config::UpdaterApp {
        app_id: SECOND_APP_ID,
        private_keys: vec![Sealed::new(OTHER_PRIVATE_KEY.to_owned())],
        files: vec![],
    });
    Updater::from_config(&settings, own, clock).unwrap()
}

#[tokio::test]
async fn an_app_of_its_own_writes_with_its_own_installation() {
    let World { fake, repo, target, .. } = world().await;
    let updater = apart(&fake);
    let repository = repository(&repo);
    fake.install_second_app(&fake.create_repository("acme", "other", true));
    let absent = updater.head(&repository, &update()).await.unwrap_err();
    assert!(matches!(absent, GithubError::Forbidden(_)), "{absent:?}");
    insta::assert_snapshot!(absent.to_string(), @"the App of updates (github.updater_app_id) is not installed in acme/fleet: install it there; look for the App of updates in acme/fleet: GitHub answered 404: Not Found");

    fake.install_second_app(&repo);
    let fleet = Fleet { fake, updater, repository, repo, base: target.sha };
    fleet.pull().await;
    assert_eq!(fleet.fake.pulls(&fleet.repo)[0].by, "fleetcheck-updater[bot]");
    assert_eq!(fleet.fake.count(Operation::RepositoryInstallation), 2);

    fleet.fake.withhold_from_second("issues");
    fleet.fake.revoke_tokens();
    let less = fleet.updater.open_issue(&fleet.repository, "t", "b").await;
    assert!(matches!(less, Err(GithubError::Forbidden(_))), "{less:?}");
}

#[tokio::test]
async fn a_repository_that_was_renamed_is_written_in_all_the_same() {
    for kind in ["own", "apart"] {
        let mut fleet = fleet().await;
        if kind == "apart" {
            fleet.fake.install_second_app(&fleet.repo);
            fleet.updater = apart(&fleet.fake);
        }
        fleet.fake.rename(&mut fleet.repo, "galactica");
        fleet.repository.node_id = None;
        let pull = fleet.pull().await;
        assert_eq!(fleet.updater.pull(&fleet.repository, pull.number).await.unwrap(), pull);
        let merged = fleet.updater.merge(&fleet.repository, pull.number, &pull.head).await;
        assert_eq!(merged.unwrap(), MergeAnswer::Merged, "{kind}");
    }
}
