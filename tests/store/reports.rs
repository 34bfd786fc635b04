//! GitHub ends up showing what is known, with few calls.
use fleetcheck::domain::Timestamp;
use fleetcheck::domain::build::{Ending, Waiting};
use fleetcheck::store::decide::Decided;
use fleetcheck::store::reports::{Behind, ReportId, ReportKind, Shown};
use fleetcheck::store::runs::Outcome;

use crate::world::{NOW, World, built, derivation, repository};

async fn kinds(world: &World, now: Timestamp) -> Vec<ReportKind> {
    world.store.behind(now, 99).await.unwrap().iter().map(|it| it.kind).collect()
}

/// Shows everything that is due, and says what it was.
async fn show_all(world: &World, now: Timestamp) -> Vec<ReportKind> {
    let behind = world.store.behind(now, 99).await.unwrap();
    for report in &behind {
        show(world, report, now).await;
    }
    behind.iter().map(|it| it.kind).collect()
}

async fn show(world: &World, report: &Behind, now: Timestamp) {
    let shown = Shown {
        revision: report.revision,
        serial: report.serial,
        github_id: Some(77),
        status: "in_progress".into(),
        digest: "d1".into(),
    };
    world.store.shown(&report.report, shown, now).await.unwrap();
}

contract! {
    async fn the_gate_of_a_new_run_goes_first(world) {
        let run = world.push("a1", &[]).await;
        let claim = world.claim().await;
        let builds = world.list(&claim, &["raider"]).await;
        let failed = Ending::Transient { what: "x".into() };
        world.evaluated(&claim, &builds[0], Outcome::Fail(failed)).await;
        let newer = world.push("b2", &[]).await;
        let behind = world.store.behind(NOW, 99).await.unwrap();
        let order: Vec<_> = behind.iter().map(|it| it.report.clone()).collect();
        assert_eq!(order[..2], [ReportId::gate(&run), ReportId::gate(&newer)]);
        assert_eq!(order[2], ReportId::host(&builds[0].id));
        assert_eq!(order.len(), 5, "and the two statuses");
        let gate = &behind[0];
        assert_eq!((gate.serial, gate.github_id, gate.tries), (0, None, 0));
    }

    async fn a_host_is_shown_when_it_lasts_or_ends(world) {
        use ReportKind::{Gate, Host, Status};
        world.push("a1", &[]).await;
        assert_eq!(show_all(&world, NOW).await, [Gate, Status]);
        let claim = world.claim().await;
        let builds = world.list(&claim, &["raider", "viper"]).await;
        assert_eq!(kinds(&world, NOW).await, [], "not before it lasts");
        world.evaluated(&claim, &builds[0], Outcome::Reuse(derivation("raider"))).await;
        assert_eq!(show_all(&world, NOW).await, [Host], "it ended");
        assert_eq!(world.store.next_behind(NOW).await.unwrap(), Some(NOW.plus(2_000)));
        let wait = Outcome::Wait(derivation("viper"), Waiting::Slot);
        world.evaluated(&claim, &builds[1], wait).await;
        assert_eq!(show_all(&world, NOW.plus(2_000)).await, [Host], "it lasts");
        let attempt = world.start("viper").await.unwrap();
        assert_eq!(kinds(&world, NOW.plus(9_999)).await, []);
        assert_eq!(kinds(&world, NOW.plus(10_000)).await, [Host], "progress, in time");
        let _ = world.finish(&attempt, built()).await;
        assert_eq!(kinds(&world, NOW).await, [Host], "it ended");
    }

    async fn progress_of_a_gate_is_shown_now_and_then_and_its_verdict_at_once(world) {
        use ReportKind::{Gate, Host, Status};
        world.push("a1", &[]).await;
        show_all(&world, NOW).await;
        let (claim, _) = world.waiting(&["raider"]).await;
        assert_eq!(kinds(&world, NOW.plus(1_999)).await, []);
        assert_eq!(kinds(&world, NOW.plus(14_999)).await, [Host]);
        assert_eq!(kinds(&world, NOW.plus(15_000)).await, [Gate, Host]);
        let _ = world.store.finish_evaluation(&claim, NOW).await.unwrap();
        let attempt = world.start("raider").await.unwrap();
        let _ = world.finish(&attempt, built()).await;
        assert_eq!(show_all(&world, NOW).await, [Host, Gate, Status]);
        assert_eq!(kinds(&world, Timestamp(i64::MAX)).await, [], "all is shown");
    }

    async fn what_moves_while_it_is_shown_is_shown_again(world) {
        let run = world.push("a1", &[]).await;
        let gate = world.store.behind(NOW, 99).await.unwrap().remove(0);
        world.waiting(&["raider"]).await;
        show(&world, &gate, NOW).await;
        let due = |now| kinds(&world, now);
        assert!(!due(NOW).await.contains(&ReportKind::Gate), "progress can wait");
        assert!(due(NOW.plus(15_000)).await.contains(&ReportKind::Gate));
        let gate = world.store.behind(NOW.plus(15_000), 1).await.unwrap().remove(0);
        world.push("b2", &[&run]).await;
        show(&world, &gate, NOW).await;
        let behind = world.store.behind(NOW, 99).await.unwrap();
        assert!(behind.iter().any(|it| it.report == gate.report), "an ending cannot");
    }

    async fn a_report_that_failed_waits_and_ends_up_shown(world) {
        let run = world.push("a1", &[]).await;
        let gate = ReportId::gate(&run);
        let later = NOW.plus(60_000);
        world.store.report_failed(&gate, "502 Bad Gateway\0", later).await.unwrap();
        world.claim().await;
        assert_eq!(kinds(&world, NOW).await, [ReportKind::Status]);
        let behind = world.store.behind(later, 9).await.unwrap();
        assert_eq!((&behind[0].report, behind[0].tries), (&gate, 1));
        show(&world, &behind[0], later).await;
        world.push("b2", &[&run]).await;
        let behind = world.store.behind(NOW, 9).await.unwrap();
        let again = behind.iter().find(|it| it.report == gate).unwrap();
        assert_eq!((again.tries, again.github_id), (0, Some(77)));
        assert_eq!(again.shown_status.as_deref(), Some("in_progress"));
        assert_eq!(again.shown_digest.as_deref(), Some("d1"));
    }

    async fn a_report_that_is_given_up_is_tried_again_when_it_moves(world) {
        let run = world.push("a1", &[]).await;
        let gate = world.store.behind(NOW, 1).await.unwrap().remove(0);
        world.store.give_up_report(&gate.report, gate.revision, "404 Not Found").await.unwrap();
        assert_eq!(kinds(&world, NOW).await, [ReportKind::Status]);
        world.push("b2", &[&run]).await;
        let behind = world.store.behind(NOW, 9).await.unwrap();
        assert!(behind.iter().any(|it| it.report == gate.report));
    }

    async fn a_check_run_that_may_exist_is_known_before_it_is_made(world) {
        world.push("a1", &[]).await;
        let gate = world.store.behind(NOW, 1).await.unwrap().remove(0);
        world.store.creating(&gate.report, 1).await.unwrap();
        assert_eq!(world.store.behind(NOW, 1).await.unwrap()[0].serial, 1);
    }

    async fn a_successor_has_nothing_of_the_check_run_before_it(world) {
        let first = world.push("a1", &[]).await;
        let second = world.push("b2", &[&first]).await;
        show_all(&world, NOW).await;
        let revive = Decided::Revive {
            repository: repository(), run: first.clone(), occurred_at: NOW, supersede: vec![second],
        };
        let _ = world.decide(revive).await;
        let gate = world.store.behind(NOW, 1).await.unwrap().remove(0);
        assert!(gate.github_id.is_some() && gate.shown_status.is_some());
        world.store.creating(&gate.report, gate.serial + 1).await.unwrap();
        let tried_again = world.store.behind(NOW, 1).await.unwrap().remove(0);
        assert_eq!((tried_again.serial, tried_again.github_id), (gate.serial + 1, None));
        assert_eq!((tried_again.shown_status, tried_again.shown_digest), (None, None));
    }

    async fn a_revived_run_shows_its_gate_first_again(world) {
        let first = world.push("a1", &[]).await;
        let second = world.push("b2", &[&first]).await;
        show_all(&world, NOW).await;
        let revive = Decided::Revive {
            repository: repository(), run: first.clone(), occurred_at: NOW, supersede: vec![second],
        };
        let _ = world.decide(revive).await;
        let behind = world.store.behind(NOW, 9).await.unwrap();
        assert_eq!(behind[0].report, ReportId::gate(&first));
    }

    async fn what_happens_after_the_verdict_is_shown_as_well(world) {
        let run = world.push("a1", &[]).await;
        let claim = world.claim().await;
        let optional = fleetcheck::store::runs::NewBuild {
            required: fleetcheck::domain::build::Required::Optional,
            ..crate::world::new_build("viper")
        };
        let all = vec![crate::world::new_build("raider"), optional];
        let builds = world.store.list_builds(&claim, all, NOW).await.unwrap().0;
        world.evaluated(&claim, &builds[0], Outcome::Reuse(derivation("raider"))).await;
        let wait = Outcome::Wait(derivation("viper"), Waiting::Slot);
        world.evaluated(&claim, &builds[1], wait).await;
        let _ = world.store.finish_evaluation(&claim, NOW).await.unwrap();
        assert!(!world.run(&run).await.run.state.is_open());
        show_all(&world, NOW.plus(2_000)).await;
        let attempt = world.start("viper").await.unwrap();
        let _ = world.finish(&attempt, built()).await;
        assert_eq!(kinds(&world, NOW).await, [ReportKind::Host]);
        let later = NOW.plus(20_000);
        assert_eq!(kinds(&world, later).await, [ReportKind::Host, ReportKind::Gate]);
    }
}
