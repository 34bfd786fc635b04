//! Force pushes, and what they cancel.
use insta::assert_snapshot;

use crate::world::World;
use crate::world::fleet::Host;

#[tokio::test]
async fn a_force_push_cancels_and_forcing_back_tests_anew_with_new_check_runs() {
    let mut world = World::new().await;
    let mut hold = world.hold("orion");
    world.start().await;
    let names = ["fleet", "fleet / orion"];
    let base = world.push(&[Host::good("orion", "1")], &[]).await;
    world.settled(&base, &names).await;
    let first = world.push(&[Host::held_by("orion", &hold.script())], &[]).await;
    hold.runs().await;
    let mut other = world.hold("viper");
    let viper = Host::held_by("viper", &other.script());
    let second = world.commit_onto(Some(&base), "main", &[Host::good("orion", "2"), viper]);
    world.announce("main", &second).await;
    hold.is_over().await;
    other.runs().await;
    world.settled(&first, &names).await;
    assert_snapshot!(world.checks(&first).replace(&second[..7], "SECOND"), @r"
    fleet: cancelled: superseded by SECOND
    fleet / orion: cancelled: superseded by SECOND
    ");
    let before = world.github.all_check_runs(world.repo.id, &first);
    world.announce("main", &first).await;
    other.is_over().await;
    world.settled(&second, &["fleet", "fleet / orion", "fleet / viper"]).await;
    assert!(world.check(&second, "fleet").title.contains(&first[..7]));
    hold.let_go();
    world.concluded(&first, "fleet", "success").await;
    world.concluded(&first, "fleet / orion", "success").await;
    let history = world.history(&first);
    assert_eq!(history.len(), 4, "{history:#?}");
    // GitHub never reopens a completed check run, and neither do we.
    let after = world.github.all_check_runs(world.repo.id, &first);
    for old in before {
        assert!(after.contains(&old), "{old:#?} was changed: {after:#?}");
    }
    world.assert_nothing_doubled(&first);
}

#[tokio::test]
async fn forcing_back_to_a_commit_that_was_tested_cancels_the_newer_one() {
    let mut world = World::new().await;
    let mut hold = world.hold("orion");
    world.start().await;
    let names = ["fleet", "fleet / orion"];
    let first = world.push(&[Host::good("orion", "1")], &[]).await;
    world.settled(&first, &names).await;
    let second = world.push(&[Host::held_by("orion", &hold.script())], &[]).await;
    hold.runs().await;
    world.announce("main", &first).await;
    hold.is_over().await;
    world.settled(&second, &names).await;
    assert_eq!(world.check(&second, "fleet").title, format!("superseded by {}", &first[..7]));
    assert_eq!(world.history(&first), ["fleet: success", "fleet / orion: success"]);
    // The branch goes on from there as if nothing had been.
    let third = world.push(&[Host::good("orion", "3")], &[]).await;
    world.settled(&third, &names).await;
}

#[tokio::test]
async fn a_newer_push_supersedes_a_run_that_waits_for_a_builder_that_is_not_there() {
    let mut world = World::new().await;
    world.start().await;
    let older = world.push(&[Host::elsewhere("pegasus")], &[]).await;
    world
        .wait("pegasus waits", |github| {
            github.check_run(world.repo.id, &older, "fleet / pegasus").is_some()
        })
        .await;
    let newer = world.push(&[Host::good("orion", "1")], &[]).await;
    world.settled(&older, &["fleet", "fleet / pegasus"]).await;
    world.settled(&newer, &["fleet", "fleet / orion"]).await;
    assert_eq!(world.check(&older, "fleet / pegasus").conclusion.as_deref(), Some("cancelled"));
}

#[tokio::test]
async fn a_superseded_host_that_the_newer_commit_has_too_is_built_for_it() {
    let mut world = World::new().await;
    let mut hold = world.hold("orion");
    let count = world.directory().join("count");
    world.start().await;
    let script = format!("echo x >> {}; {}; echo > $out", count.display(), hold.script());
    let host = Host::script("orion", &script);
    let older = world.push(std::slice::from_ref(&host), &[]).await;
    hold.runs().await;
    let newer = world.push(&[host, Host::good("viper", "1")], &[]).await;
    world.settled(&older, &["fleet", "fleet / orion"]).await;
    world.concluded(&newer, "fleet / viper", "success").await;
    hold.let_go();
    hold.let_go();
    world.concluded(&newer, "fleet", "success").await;
    assert_eq!(world.check(&older, "fleet / orion").conclusion.as_deref(), Some("cancelled"));
    // Its first build ended with the older run, before anybody knew that the newer wants the same.
    let tries = std::fs::read_to_string(count).unwrap();
    assert!(tries.lines().count() <= 2, "{tries}");
}

#[tokio::test]
async fn a_newer_push_ends_the_evaluation_of_the_older_one() {
    let mut world = World::new().await;
    world.start().await;
    let older = world.push(&[Host::endless("orion")], &[]).await;
    // Nix is told which host of which commit.
    world
        .wait("the hosts are listed", |github| {
            github.check_run(world.repo.id, &older, "fleet / orion").is_some()
        })
        .await;
    world.working_on(&older, true).await;
    let newer = world.push(&[Host::good("orion", "1")], &[]).await;
    world.working_on(&older, false).await;
    world.settled(&older, &["fleet", "fleet / orion"]).await;
    world.settled(&newer, &["fleet", "fleet / orion"]).await;
    assert_eq!(world.check(&older, "fleet / orion").conclusion.as_deref(), Some("cancelled"));
    assert_eq!(world.check(&newer, "fleet").conclusion.as_deref(), Some("success"));
}

#[tokio::test]
async fn of_many_pushes_in_a_row_the_last_one_counts() {
    let mut world = World::new().await;
    world.start().await;
    let mut pushed = Vec::new();
    for number in 0..6 {
        pushed.push(world.push(&[Host::good("orion", &number.to_string())], &[]).await);
    }
    let last = pushed.pop().unwrap();
    world.settled(&last, &["fleet", "fleet / orion"]).await;
    assert_eq!(world.check(&last, "fleet").conclusion.as_deref(), Some("success"));
    world
        .wait("every check of every commit is completed", |github| {
            let all = pushed.iter().map(|sha| github.check_runs(world.repo.id, sha));
            all.into_iter()
                .all(|runs| !runs.is_empty() && runs.iter().all(|it| it.status == "completed"))
        })
        .await;
    for sha in &pushed {
        let gate = world.check(sha, "fleet");
        let ended = gate.conclusion.as_deref();
        assert!(matches!(ended, Some("cancelled" | "success")), "{gate:#?}");
        world.assert_nothing_doubled(sha);
    }
}
