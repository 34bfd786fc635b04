//! What goes wrong on other machines and on the way there, and what becomes of the builds.
use crate::builders::{foreign, held, with_machines};

#[tokio::test]
async fn a_host_key_that_does_not_match_is_said_and_never_ignored() {
    let (mut world, machines) = with_machines(&["basestar"]).await;
    machines[0].new_host_key();
    world.start().await;
    world.builder_is("basestar", "unreachable").await;
    let said = world.builders(&[]).await;
    assert!(said.contains("Host key verification failed"), "{said}");
}

#[tokio::test]
async fn a_network_that_swallows_every_packet_is_noticed_and_the_build_begins_again() {
    let (mut world, machines) = with_machines(&["basestar"]).await;
    let mut hold = world.hold("pegasus");
    world.start().await;
    let sha = world.push(&[held("pegasus", &hold)], &[]).await;
    hold.runs().await;
    machines[0].cut_network();
    world.titled(&sha, "fleet / pegasus", "no builder for aarch64-linux is reachable").await;
    machines[0].mend_network();
    // The machine itself ends what it built for a connection that is gone, sooner or later.
    hold.let_go();
    world.concluded(&sha, "fleet", "success").await;
    let title = world.check(&sha, "fleet / pegasus").title;
    assert!(title.starts_with("attempt 2: "), "{title}");
}

#[tokio::test]
async fn a_service_that_is_killed_in_a_remote_build_begins_it_again_and_has_it_once() {
    let (mut world, machines) = with_machines(&["basestar"]).await;
    let mut hold = world.hold("pegasus");
    world.start().await;
    let sha = world.push(&[held("pegasus", &hold)], &[]).await;
    hold.runs().await;
    world.kill().await;
    hold.is_over().await;
    world.start().await;
    hold.runs().await;
    let all = machines[0].processes();
    let builds = all.iter().filter(|it| it.contains("waiting")).count();
    assert_eq!(builds, 1, "{all:#?}");
    hold.let_go();
    world.concluded(&sha, "fleet", "success").await;
    world.assert_nothing_doubled(&sha);
}

#[tokio::test]
async fn a_builder_s_wrong_clock_is_told_and_harms_nothing() {
    let (mut world, machines) = with_machines(&["basestar"]).await;
    machines[0].set_clock_ahead(86_400);
    world.start().await;
    world.builder_is("basestar", "ready").await;
    let said = world.builders(&[]).await;
    assert!(said.contains("its clock is 8"), "{said}");
    assert!(said.contains(" s ahead"), "{said}");
    let sha = world.push(&[foreign("pegasus", "echo > $out")], &[]).await;
    world.concluded(&sha, "fleet", "success").await;
}

#[tokio::test]
async fn a_build_that_the_machine_s_kernel_kills_is_nobodys_fault() {
    let (mut world, machines) = with_machines(&["basestar"]).await;
    let mut hold = world.hold("pegasus");
    world.start().await;
    let sha = world.push(&[held("pegasus", &hold)], &[]).await;
    hold.runs().await;
    // As the OOM killer does.
    let all = machines[0].processes();
    let build = all.iter().find(|it| it.contains("waiting")).unwrap();
    let id = build.split(' ').next().unwrap();
    let killed = std::process::Command::new("kill").args(["-9", id]).status().unwrap();
    assert!(killed.success());
    hold.is_over().await;
    world.titled(&sha, "fleet / pegasus", "attempt 2").await;
    hold.runs().await;
    hold.let_go();
    world.concluded(&sha, "fleet", "success").await;
    let title = world.check(&sha, "fleet / pegasus").title;
    assert!(title.starts_with("attempt 2: built in "), "{title}");
}
