//! Repositories and installations that change under us: renamed, moved, hidden, archived, taken
//! away, brought back.
use crate::world::World;
use crate::world::fleet::{self, Host};
use crate::world::github::{From, Operation, RepoHandle};
use crate::world::hold::Hold;

const NAMES: [&str; 2] = ["fleet", "fleet / orion"];

impl World {
    /// A commit of main whose host is being built.
    async fn building(&self, hold: &mut Hold) -> String {
        let sha = self.push(&[Host::held_by("orion", &hold.script())], &[]).await;
        hold.runs().await;
        self.wait("the host is shown", |github| {
            github.check_run(self.repo.id, &sha, "fleet / orion").is_some()
        })
        .await;
        sha
    }

    /// The run and its build end without being let go.
    async fn is_interrupted(&self, sha: &str, hold: &mut Hold) {
        self.run_is(sha, "ended").await;
        hold.is_over().await;
    }

    /// Whatever goes on elsewhere does so.
    async fn others_go_on(&self, other: &RepoHandle) {
        let flake = fleet::flake(self.system(), &[Host::good("viper", "1")]);
        let sha = other.commit("main", "x", &[("flake.nix", &flake)]);
        assert_eq!(self.github.push(other, "main", &sha).await, Some(202));
        self.wait("the other repository's checks", |github| {
            let gate = github.check_run(other.id, &sha, "fleet");
            gate.is_some_and(|it| it.conclusion.as_deref() == Some("success"))
        })
        .await;
    }

    /// Calls about the repository that GitHub refused.
    fn refused(&self) -> Vec<(String, u16)> {
        let calls = self.github.calls().into_iter();
        let calls = calls.filter(|it| it.status >= 400 && it.operation != Operation::Git);
        calls.map(|it| (it.path, it.status)).collect()
    }

    fn told(&self, status: Option<u16>) {
        assert_eq!(status, Some(202), "{}", self.log());
    }
}

#[tokio::test]
async fn a_repository_taken_from_the_app_ends_its_builds_and_goes_on_when_it_is_back() {
    let mut world = World::new().await;
    let mut hold = world.hold("orion");
    let other = world.github.create_repository("acme", "other", false);
    world.start().await;
    let sha = world.building(&mut hold).await;
    world.github.delete_repository(&world.repo);
    world.told(world.github.membership(&world.repo, "removed").await);
    world.is_interrupted(&sha, &mut hold).await;
    world.others_go_on(&other).await;
    assert_eq!(world.refused(), [], "nothing is asked that must fail");
    world.github.restore_repository(&world.repo);
    world.told(world.github.membership(&world.repo, "added").await);
    hold.let_go();
    for name in NAMES {
        world.concluded(&sha, name, "success").await;
    }
}

#[tokio::test]
async fn a_removal_that_is_told_after_the_return_is_mended() {
    let mut world = World::new().await;
    world.start().await;
    let first = world.push(&[Host::good("orion", "1")], &[]).await;
    world.settled(&first, &NAMES).await;
    // It was removed and added again; the deliveries come in the other order.
    world.told(world.github.membership(&world.repo, "added").await);
    world.told(world.github.membership(&world.repo, "removed").await);
    world.logged("so we found out: repository ").await;
    let second = world.push(&[Host::good("orion", "2")], &[]).await;
    world.settled(&second, &NAMES).await;
}

#[tokio::test]
async fn an_archived_repository_is_let_alone_until_it_is_unarchived() {
    let mut world = World::new().await;
    let mut hold = world.hold("orion");
    world.start().await;
    let sha = world.building(&mut hold).await;
    world.github.set_archived(&world.repo, true);
    world.told(world.github.repository_event(&world.repo, "archived").await);
    world.is_interrupted(&sha, &mut hold).await;
    world.github.set_archived(&world.repo, false);
    world.told(world.github.repository_event(&world.repo, "unarchived").await);
    hold.let_go();
    for name in NAMES {
        world.concluded(&sha, name, "success").await;
    }
}

#[tokio::test]
async fn a_repository_that_moves_to_another_account_of_ours_goes_on_there() {
    let mut world = World::new().await.owner("globex");
    world.start().await;
    let first = world.push(&[Host::good("orion", "1")], &[]).await;
    world.settled(&first, &NAMES).await;
    let there = world.github.install("globex");
    let before = world.repo.clone();
    let mut repo = world.repo.clone();
    world.github.transfer(&mut repo, "globex", there);
    world.repo = repo;
    // In the order in which it hurts most: the old account's loss comes last.
    world.told(world.github.repository_event(&world.repo, "transferred").await);
    world.told(world.github.membership(&before, "removed").await);
    let second = world.push(&[Host::good("orion", "2")], &[]).await;
    world.settled(&second, &NAMES).await;
    let topic = world.commit("topic", &[Host::good("orion", "3")], &[]);
    world.pull_request("opened", 7, &topic, From::SameRepository).await;
    world.settled(&topic, &NAMES).await;
    let calls = world.github.calls();
    let through = format!("/app/installations/{there}/access_tokens");
    assert!(calls.iter().any(|it| it.path == through), "through the new account's installation");
}

#[tokio::test]
async fn a_repository_that_moves_to_a_stranger_is_let_go() {
    let mut world = World::new().await;
    let mut hold = world.hold("orion");
    let other = world.github.create_repository("acme", "other", false);
    world.start().await;
    let sha = world.building(&mut hold).await;
    let there = world.github.install("initech");
    let mut repo = world.repo.clone();
    world.github.transfer(&mut repo, "initech", there);
    world.told(world.github.repository_event(&repo, "transferred").await);
    hold.is_over().await;
    world.others_go_on(&other).await;
    assert_eq!(world.refused(), []);
    // What it does there is none of ours.
    let there = repo.commit("main", "x", &[("a", "b")]);
    assert_eq!(world.github.push(&repo, "main", &there).await, Some(202));
    world.others_go_on(&other).await;
    assert!(world.github.check_runs(repo.id, &there).is_empty());
    assert_ne!(sha, there);
}

#[tokio::test]
async fn a_repository_made_private_closes_its_links_and_made_public_opens_them() {
    let mut world = World::new().await;
    world.start().await;
    let sha = world.push(&[Host::good("orion", "1")], &[]).await;
    world.settled(&sha, &NAMES).await;
    let open = world.check(&sha, "fleet").details_url;
    assert_eq!(world.get(&open).await.0, 200);
    world.github.set_private(&world.repo, true);
    world.told(world.github.repository_event(&world.repo, "privatized").await);
    world.caught_up().await;
    assert_eq!(world.get(&open).await.0, 404, "the old link has no key");
    let next = world.push(&[Host::good("orion", "2")], &[]).await;
    world.settled(&next, &NAMES).await;
    let keyed = world.check(&next, "fleet").details_url;
    assert!(keyed.contains("?key="), "{keyed}");
    assert_eq!(world.get(&keyed).await.0, 200);
    world.github.set_private(&world.repo, false);
    world.told(world.github.repository_event(&world.repo, "publicized").await);
    world.caught_up().await;
    assert_eq!(world.get(&open).await.0, 200);
}

#[tokio::test]
async fn a_renamed_repository_is_called_by_its_new_name_at_once() {
    let mut world = World::new().await;
    world.start().await;
    let first = world.push(&[Host::good("orion", "1")], &[]).await;
    world.settled(&first, &NAMES).await;
    // The last call by the old name.
    world.wait("the status is set", |_| world.status(&first).contains("success")).await;
    let mut repo = world.repo.clone();
    world.github.rename(&mut repo, "armada");
    world.repo = repo;
    world.told(world.github.repository_event(&world.repo, "renamed").await);
    world.caught_up().await;
    let found = world.get(&world.url("/api/v1/runs?repo=acme/armada")).await.1;
    assert!(found.contains(&first), "{found}");
    // An older delivery, of the old name, does not rename it back.
    let redirected = |world: &World| {
        world.github.calls().iter().filter(|it| matches!(it.status, 301 | 307)).count()
    };
    assert_eq!(redirected(&world), 0, "{:#?}", world.github.calls());
}

#[tokio::test]
async fn an_app_that_is_uninstalled_ends_in_order_and_a_new_installation_goes_on() {
    let mut world = World::new().await;
    let mut hold = world.hold("orion");
    world.start().await;
    let sha = world.building(&mut hold).await;
    world.github.uninstall(world.repo.installation);
    world.told(world.github.installation(&world.repo, "deleted").await);
    world.is_interrupted(&sha, &mut hold).await;
    // Installed once more: another number, the same repository.
    let there = world.github.install("acme");
    let mut repo = world.repo.clone();
    repo.installation = there;
    world.github.reinstall(&repo);
    world.repo = repo;
    world.told(world.github.installation(&world.repo, "created").await);
    hold.let_go();
    for name in NAMES {
        world.concluded(&sha, name, "success").await;
    }
    let next = world.push(&[Host::good("orion", "2")], &[]).await;
    world.settled(&next, &NAMES).await;
}

#[tokio::test]
async fn a_permission_that_is_taken_away_stops_only_what_needs_it() {
    let mut world = World::new().await;
    world.github_settings = "recover_interval = \"1s\"".to_owned();
    world.start().await;
    let first = world.push(&[Host::good("orion", "1")], &[]).await;
    world.settled(&first, &NAMES).await;
    world.github.withhold("pull_requests");
    world.told(world.github.installation(&world.repo, "new_permissions_accepted").await);
    world.logged("accept the App's permissions").await;
    // Checks need it not.
    let second = world.push(&[Host::good("orion", "2")], &[]).await;
    world.settled(&second, &NAMES).await;
    let (status, ready) = world.get(&world.url("/readyz")).await;
    assert_eq!((status, ready.as_str()), (200, "ready\n"));
}

#[tokio::test]
async fn changes_that_nobody_told_are_found_within_the_hour() {
    let mut world = World::new().await;
    world.start().await;
    let first = world.push(&[Host::good("orion", "1")], &[]).await;
    world.settled(&first, &NAMES).await;
    let open = world.check(&first, "fleet").details_url;
    let mut repo = world.repo.clone();
    world.github.rename(&mut repo, "armada");
    world.github.set_private(&repo, true);
    world.repo = repo;
    // Any word about an installation makes us look; so does the hour.
    world.told(world.github.installation(&world.repo, "unsuspend").await);
    world.logged("so we found out: repository ").await;
    world.caught_up().await;
    assert_eq!(world.get(&open).await.0, 404);
}
