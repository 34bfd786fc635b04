//! What changes on each host: what is to be compared, and when it is shown.
use fleetcheck::domain::build::Ending;
use fleetcheck::domain::id::RunId;
use fleetcheck::domain::insight::{Absent, Base, Insight, Units};
use fleetcheck::store::insights::{Origin, Wanted};
use fleetcheck::store::reports::ReportKind;
use fleetcheck::store::runs::Outcome;

use crate::world::{NOW, World, built, derivation, id, new_build, sha};

impl World {
    /// A run of this commit, compared with another, whose host has a system of this name.
    async fn good(&self, commit: &str, base: &str, system: &str) -> RunId {
        let run = self.push(commit, &[]).await;
        let claim = self.claim().await;
        let source = derivation("source").outputs["out"].clone();
        let (compared_with, committed_at) = (Some(sha(base)), Some(7));
        let origin = Origin { source: Some(source), compared_with, committed_at };
        self.store.set_origin(&claim, &origin, NOW).await.unwrap();
        let builds = self.list(&claim, &["raider"]).await;
        self.evaluated(&claim, &builds[0], Outcome::Reuse(derivation(system))).await;
        let _ = self.store.finish_evaluation(&claim, NOW).await.unwrap();
        run
    }

    async fn insight(&self, run: &RunId) -> Option<Insight> {
        self.run(run).await.builds.remove(0).insight
    }

    async fn wanted(&self) -> Vec<Wanted> {
        self.store.insights_wanted(NOW, 9).await.unwrap()
    }
}

fn revision_only(base: &str) -> Insight {
    Insight::RevisionOnly { base: sha(base), units: Some(Units::default()) }
}

contract! {
    async fn a_host_with_another_system_is_to_be_compared(world) {
        world.good("a1", "a0", "old").await;
        let run = world.good("b2", "a1", "new").await;
        assert_eq!(world.insight(&run).await, None);
        let wanted = world.wanted().await;
        assert_eq!(wanted.len(), 1);
        let old = derivation("old").outputs["out"].clone();
        assert_eq!((&wanted[0].run, &wanted[0].base), (&run, &Base::System(old)));
        assert_eq!((&wanted[0].commit, &wanted[0].base_commit), (&sha("b2"), &sha("a1")));
        assert_eq!((wanted[0].committed_at, wanted[0].base_committed_at), (Some(7), Some(7)));
        let roots = world.store.roots().await.unwrap();
        let root = roots.iter().find(|it| it.name.starts_with("compared-")).unwrap();
        assert_eq!(root.path, derivation("new").outputs["out"].as_str());
        let _ = world.store.set_insights(&[(&wanted[0], revision_only("a1"))], NOW).await.unwrap();
        assert_eq!(world.insight(&run).await, Some(revision_only("a1")));
        assert_eq!(world.wanted().await, []);
        let roots = world.store.roots().await.unwrap();
        assert!(!roots.iter().any(|it| it.name.starts_with("compared-")));
    }

    async fn what_needs_no_look_at_systems_is_known_at_once(world) {
        let first = world.good("a1", "a0", "old").await;
        let never = Insight::Absent { base: sha("a0"), why: Absent::NeverBuilt };
        assert_eq!(world.insight(&first).await, Some(never));
        let second = world.good("b2", "a1", "old").await;
        assert_eq!(world.insight(&second).await, Some(Insight::Unchanged { base: sha("a1") }));
        assert_eq!(world.wanted().await, []);
        let without = world.push("c3", &[]).await;
        let claim = world.claim().await;
        let builds = world.list(&claim, &["raider"]).await;
        world.evaluated(&claim, &builds[0], Outcome::Reuse(derivation("new"))).await;
        assert_eq!(world.insight(&without).await, None, "nothing before it");
    }

    async fn a_new_host_and_one_whose_base_failed_are_not_compared(world) {
        world.push("a1", &[]).await;
        let claim = world.claim().await;
        let builds = world.list(&claim, &["raider"]).await;
        let failed = Ending::Transient { what: "x".into() };
        world.evaluated(&claim, &builds[0], Outcome::Fail(failed)).await;
        let _ = world.store.finish_evaluation(&claim, NOW).await.unwrap();
        let run = world.good("b2", "a1", "new").await;
        let why = |why| Some(Insight::Absent { base: sha("a1"), why });
        assert_eq!(world.insight(&run).await, why(Absent::BaseFailed));
        let run = world.push("c3", &[]).await;
        let claim = world.claim().await;
        let origin = Origin { compared_with: Some(sha("a1")), ..Origin::default() };
        world.store.set_origin(&claim, &origin, NOW).await.unwrap();
        let listed = vec![new_build("viper")];
        let builds = world.store.list_builds(&claim, listed, NOW).await.unwrap().0;
        world.evaluated(&claim, &builds[0], Outcome::Reuse(derivation("viper"))).await;
        assert_eq!(world.insight(&run).await, why(Absent::NewHost));
    }

    async fn a_base_that_is_being_built_is_waited_for(world) {
        world.push("a1", &[]).await;
        world.waiting(&["raider"]).await;
        let attempt = world.start("raider").await.unwrap();
        let run = world.good("b2", "a1", "new").await;
        let wanted = world.wanted().await.remove(0);
        assert_eq!((&wanted.run, &wanted.base), (&run, &Base::Open));
        world.store.insight_later(&wanted, 0, NOW.plus(15_000)).await.unwrap();
        assert_eq!(world.wanted().await, []);
        let _ = world.finish(&attempt, built()).await;
        let wanted = world.store.insights_wanted(NOW.plus(15_000), 9).await.unwrap().remove(0);
        assert!(matches!(wanted.base, Base::System(_)), "{wanted:?}");
    }

    async fn an_ending_waits_a_moment_for_what_changes_and_no_longer(world) {
        world.good("a1", "a0", "old").await;
        let run = world.good("b2", "a1", "new").await;
        let is_due = async |now| {
            let due = world.store.behind(now, 99).await.unwrap();
            due.iter().any(|it| it.run == run && it.kind == ReportKind::Host)
        };
        assert!(!is_due(NOW).await);
        assert!(is_due(NOW.plus(3_000)).await, "it takes too long");
        let wanted = world.wanted().await.remove(0);
        let _ = world.store.set_insights(&[(&wanted, revision_only("a1"))], NOW).await.unwrap();
        assert!(is_due(NOW).await, "with the answer at once");
    }

    async fn an_answer_for_an_older_ending_is_dropped(world) {
        world.good("a1", "a0", "old").await;
        let run = world.good("b2", "a1", "new").await;
        let mut stale = world.wanted().await.remove(0);
        stale.generation -= 1;
        let _ = world.store.set_insights(&[(&stale, revision_only("a1"))], NOW).await.unwrap();
        assert_eq!(world.insight(&run).await, None);
        stale.build = id();
        let _ = world.store.set_insights(&[(&stale, revision_only("a1"))], NOW).await.unwrap();
        assert_eq!(world.wanted().await.len(), 1);
    }

    async fn insights_go_with_their_runs(world) {
        world.good("a1", "a0", "old").await;
        world.good("b2", "a1", "new").await;
        for _ in 0..3 {
            let _ = world.store.forget_runs(NOW.plus(1)).await.unwrap();
        }
        assert_eq!(world.wanted().await, []);
        assert_eq!(world.store.recent_runs(9, None).await.unwrap(), []);
    }
}
