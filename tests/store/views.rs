//! What pages and metrics are made of.
use std::collections::BTreeMap;

use fleetcheck::store::views::Before;

use crate::world::{NOW, built, id, sha};

contract! {
    async fn runs_are_listed_the_newest_first_page_by_page(world) {
        let mut runs = Vec::new();
        for commit in ["a1", "b2", "c3"] {
            runs.push(world.push(commit, &[]).await);
        }
        runs.reverse();
        let page = world.store.recent_runs(2, None).await.unwrap();
        assert_eq!([&page[0].run.id, &page[1].run.id], [&runs[0], &runs[1]]);
        let last = &page[1].run;
        let before = Before { created_at: last.created_at, id: last.id.clone() };
        let page = world.store.recent_runs(2, Some(&before)).await.unwrap();
        assert_eq!(page.len(), 1);
        assert_eq!((&page[0].run.id, page[0].builds), (&runs[2], 0));
    }

    async fn runs_are_found_by_repository_and_commit(world) {
        let run = world.push("a1", &[]).await;
        world.push("b2", &[]).await;
        let (claim, _) = world.waiting(&["raider", "viper"]).await;
        let attempt = world.start("raider").await.unwrap();
        let _ = world.finish(&attempt, built()).await;
        let _ = world.store.finish_evaluation(&claim, NOW).await.unwrap();
        let found = world.store.runs_of("ACME", "Fleet", Some(&sha("a1")), 9).await.unwrap();
        assert_eq!((&found[0].run.id, found[0].builds, found[0].ended), (&run, 2, 1));
        assert_eq!(world.store.runs_of("acme", "fleet", None, 9).await.unwrap().len(), 2);
        assert!(world.store.runs_of("acme", "x\0", None, 9).await.unwrap().is_empty());
    }

    async fn what_does_not_exist_is_not_shown(world) {
        assert_eq!(world.store.run_view(&id()).await.unwrap(), None);
        assert_eq!(world.store.build_view(&id()).await.unwrap(), None);
        assert_eq!(world.store.attempt(&id()).await.unwrap(), None);
        assert_eq!(world.store.delivery(&id()).await.unwrap(), None);
    }

    async fn what_is_open_is_counted(world) {
        world.push("a1", &[]).await;
        world.waiting(&["raider", "viper"]).await;
        world.start("raider").await.unwrap();
        world.push("b2", &[]).await;
        world.store.accept(vec![crate::world::delivery()]).await.unwrap();
        let counts = world.store.counts().await.unwrap();
        let of = |states: &[(&str, i64)]| -> BTreeMap<String, i64> {
            states.iter().map(|(state, n)| ((*state).to_owned(), *n)).collect()
        };
        assert_eq!(counts.runs, of(&[("evaluating", 1), ("requested", 1)]));
        assert_eq!(counts.builds, of(&[("building", 1), ("waiting", 1)]));
        assert_eq!((counts.reports_behind, counts.deliveries_undecided), (6, 1));
    }

    async fn a_store_that_is_open_answers(world) {
        world.store.ping().await.unwrap();
    }
}
