//! GitHub ends up showing what is known, with few calls.
use fleetcheck::domain::Timestamp;
use fleetcheck::domain::budget::Urgency;
use fleetcheck::domain::build::{Ending, Waiting};
use fleetcheck::domain::id::{AttrPath, InstallationId};
use fleetcheck::store::decide::Decided;
use fleetcheck::store::reports::{Behind, ReportId, ReportKind, Shown};
use fleetcheck::store::runs::Outcome;
use fleetcheck::store::worth::RunReports;

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
        node_id: "CR_77".parse().ok(),
        annotations: 3,
        status: "in_progress".into(),
        digest: "d1".into(),
    };
    world.store.shown(&report.report, shown, now).await.unwrap();
}

contract! {
    async fn endings_go_first_and_then_the_gates_of_new_runs(world) {
        let run = world.push("a1", &[]).await;
        let claim = world.claim().await;
        let builds = world.list(&claim, &["raider"]).await;
        let failed = Ending::Transient { what: "x".into() };
        world.evaluated(&claim, &builds[0], Outcome::Fail(failed)).await;
        let newer = world.push("b2", &[]).await;
        let behind = world.store.behind(NOW, 99).await.unwrap();
        let order: Vec<_> = behind.iter().map(|it| it.report.clone()).collect();
        assert_eq!(order[0], ReportId::host(&builds[0].id));
        assert_eq!(order[1..3], [ReportId::gate(&run), ReportId::gate(&newer)]);
        assert_eq!(order.len(), 5, "and the two statuses");
        let gate = &behind[1];
        assert_eq!((gate.serial, gate.github_id, gate.tries), (0, None, 0));
        let urgencies: Vec<_> = behind.iter().map(|it| it.urgency).collect();
        assert_eq!(urgencies[..2], [Urgency::Final, Urgency::Gate]);
    }

    async fn of_each_run_no_more_is_given_than_a_request_holds(world) {
        world.push("a1", &[]).await;
        let names: Vec<String> = (0..40).map(|it| format!("host{it}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        world.waiting(&names).await;
        let other = world.push("b2", &[]).await;
        let later = NOW.plus(10_000);
        let all = world.store.installations_behind(later).await.unwrap();
        assert_eq!(all, [InstallationId(7)]);
        let behind = world.store.behind_of(InstallationId(7), later).await.unwrap();
        let (of_other, of_first) = behind.iter().partition::<Vec<_>, _>(|it| it.run == other);
        assert_eq!((of_first.len(), of_other.len()), (26, 2));
        assert_eq!(world.store.behind_of(InstallationId(8), later).await.unwrap(), []);
    }

    async fn a_run_knows_what_it_still_owes(world) {
        let run = world.push("a1", &[]).await;
        let claim = world.claim().await;
        let builds = world.list(&claim, &["raider", "viper", "orion"]).await;
        world.evaluated(&claim, &builds[0], Outcome::Reuse(derivation("raider"))).await;
        let none = RunReports { hosts: 3, shown: 0, begun: 0, passed_over: 0, owed: 4 };
        let now = || world.store.run_reports(&run);
        assert_eq!(now().await.unwrap(), none);
        let ended = world.store.behind(NOW, 1).await.unwrap().remove(0);
        assert!(!ended.is_begun());
        world.store.creating(&[(&ended.report, 1)]).await.unwrap();
        assert_eq!(now().await.unwrap(), RunReports { begun: 1, ..none }, "it may be there");
        assert!(world.store.behind(NOW, 1).await.unwrap()[0].is_begun());
        let shown = Shown {
            revision: ended.revision,
            serial: 1,
            github_id: None,
            node_id: "CR_1".parse().ok(),
            annotations: 0,
            status: "completed:success".into(),
            digest: "d".into(),
        };
        world.store.all_shown(vec![(ended.report, shown)], NOW).await.unwrap();
        let one = RunReports { shown: 1, begun: 1, owed: 3, ..none };
        assert_eq!(now().await.unwrap(), one);
        let all = world.store.behind(NOW.plus(2_000), 9).await.unwrap();
        let other = all.iter().find(|it| it.build.as_ref() == Some(&builds[1].id)).unwrap();
        world.store.pass_over(&[(other.report.clone(), other.revision)]).await.unwrap();
        assert_eq!(now().await.unwrap(), RunReports { passed_over: 1, owed: 2, ..one });
        let wait = Outcome::Wait(derivation("viper"), Waiting::Slot);
        world.evaluated(&claim, &builds[1], wait).await;
        assert_eq!(now().await.unwrap(), one, "it moved: it is in question again");
    }

    async fn an_ending_that_is_shown_is_amended_like_progress(world) {
        let run = world.push("a1", &[]).await;
        world.claim().await;
        let gate = world.store.behind(NOW, 1).await.unwrap().remove(0);
        let shown = |status: &str| Shown {
            revision: gate.revision,
            serial: 0,
            github_id: Some(7),
            node_id: None,
            annotations: 0,
            status: status.into(),
            digest: "d".into(),
        };
        let urgency = async || {
            let behind = world.store.behind_of(InstallationId(7), NOW.plus(60_000)).await.unwrap();
            behind.into_iter().find(|it| it.report == gate.report).unwrap().urgency
        };
        world.store.shown(&gate.report, shown("in_progress"), NOW).await.unwrap();
        world.push("b2", &[&run]).await;
        assert_eq!(urgency().await, Urgency::Final);
        for (status, wanted) in [
            ("completed:success", Urgency::Progress),
            ("completed:cancelled", Urgency::Final),
        ] {
            world.store.shown(&gate.report, shown(status), NOW).await.unwrap();
            assert_eq!(urgency().await, wanted, "{status}");
        }
    }

    async fn a_run_is_compared_with_the_run_of_its_base_commit(world) {
        let first = world.push("a1", &[]).await;
        assert_eq!(world.store.base_derivations(&first).await.unwrap(), None);
        let claim = world.claim().await;
        let builds = world.list(&claim, &["raider", "viper"]).await;
        world.evaluated(&claim, &builds[0], Outcome::Reuse(derivation("raider"))).await;
        let mut second = crate::world::run("b2", "main");
        second.base = Some(crate::world::sha("a1"));
        let id = second.id.clone();
        let start = Decided::Start { repository: repository(), run: second, supersede: vec![] };
        let _ = world.decide(start).await;
        let base = world.store.base_derivations(&id).await.unwrap().unwrap();
        let drv = derivation("raider").path.to_string();
        assert_eq!(base[&AttrPath::host("raider")], Some(drv));
        assert_eq!(base[&AttrPath::host("viper")], None);
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
        assert_eq!(kinds(&world, NOW.plus(15_000)).await, [Host, Gate]);
        let _ = world.store.finish_evaluation(&claim, NOW).await.unwrap();
        let attempt = world.start("raider").await.unwrap();
        let _ = world.finish(&attempt, built()).await;
        assert_eq!(show_all(&world, NOW).await, [Gate, Host, Status]);
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
        world.store.creating(&[(&gate.report, 1)]).await.unwrap();
        assert_eq!(world.store.behind(NOW, 1).await.unwrap()[0].serial, 1);
    }

    async fn the_answer_of_a_check_run_that_has_a_successor_is_not_written_down(world) {
        world.push("a1", &[]).await;
        let gate = world.store.behind(NOW, 1).await.unwrap().remove(0);
        world.store.creating(&[(&gate.report, gate.serial + 1)]).await.unwrap();
        show(&world, &gate, NOW).await;
        let behind = world.store.behind(NOW, 9).await.unwrap();
        let again = behind.iter().find(|it| it.report == gate.report).unwrap();
        assert_eq!((again.github_id, &again.node_id), (None, &None));
    }

    async fn a_failure_leaves_it_open_how_many_annotations_there_are(world) {
        world.push("a1", &[]).await;
        let gate = world.store.behind(NOW, 1).await.unwrap().remove(0);
        show(&world, &gate, NOW).await;
        world.waiting(&["raider"]).await;
        let later = NOW.plus(15_000);
        let again = async || {
            let behind = world.store.behind(later, 9).await.unwrap();
            behind.into_iter().find(|it| it.report == gate.report).unwrap()
        };
        let known = again().await;
        assert_eq!((known.annotations, known.node_id.unwrap().as_str()), (Some(3), "CR_77"));
        world.store.report_failed(&gate.report, "no answer", later).await.unwrap();
        assert_eq!(again().await.annotations, None);
    }

    async fn a_successor_has_nothing_of_the_check_run_before_it(world) {
        let first = world.push("a1", &[]).await;
        let second = world.push("b2", &[&first]).await;
        show_all(&world, NOW).await;
        let revive = Decided::Revive {
            repository: repository(), run: first.clone(), occurred_at: NOW, rebase: None,
            supersede: vec![second],
        };
        let _ = world.decide(revive).await;
        let gate = world.store.behind(NOW, 1).await.unwrap().remove(0);
        assert!(gate.github_id.is_some() && gate.shown_status.is_some());
        world.store.creating(&[(&gate.report, gate.serial + 1)]).await.unwrap();
        let tried_again = world.store.behind(NOW, 1).await.unwrap().remove(0);
        assert_eq!((tried_again.serial, tried_again.github_id), (gate.serial + 1, None));
        assert_eq!((tried_again.shown_status, tried_again.shown_digest), (None, None));
    }

    async fn a_revived_run_shows_its_gate_like_a_new_one(world) {
        let first = world.push("a1", &[]).await;
        let second = world.push("b2", &[&first]).await;
        show_all(&world, NOW).await;
        let revive = Decided::Revive {
            repository: repository(), run: first.clone(), occurred_at: NOW, rebase: None,
            supersede: vec![second],
        };
        let _ = world.decide(revive).await;
        let mut behind = world.store.behind(NOW, 9).await.unwrap();
        behind.retain(|it| it.urgency != Urgency::Final);
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
