//! Ten thousand builds wait on a hundred builders: what a free slot's look at the queue costs, and
//! what its decision.
use std::time::Duration;

use fleetcheck::domain::Timestamp;
use fleetcheck::domain::build::{Attempted, Ending};
use fleetcheck::domain::builder::{Condition, Facts, Speed};
use fleetcheck::domain::plan::Capability;
use fleetcheck::domain::queue::{Candidate, place, take};
use fleetcheck::flow::new_id;
use fleetcheck::store::Store;
use fleetcheck::store::builders::{Known, Whose};
use tokio::time::Instant;

use crate::{ms, percentile, seed};

const SYSTEMS: [&str; 4] = ["x86_64-linux", "aarch64-linux", "riscv64-linux", "aarch64-darwin"];
const BUILDERS: usize = 100;
const SLOTS: u32 = 4;
const LEASE: i64 = 60_000;
const NOW: Timestamp = Timestamp(1_700_000_000_000);
/// Builds of a run.
const HOSTS: usize = 500;
/// As many as a slot looks at.
const WINDOW: i64 = 200;
const LOOKS: usize = 200;
const CLAIMS: usize = 50;

/// Each with another number of builds for the builder that looks, and for all others.
pub(crate) async fn run() {
    println!(
        "{BUILDERS} builders of {} systems with {SLOTS} slots each; p50 of {LOOKS} looks",
        SYSTEMS.len()
    );
    println!("waits for it  for others  look ms  builders ms  decision µs  claim ms");
    for (own, others) in [(500, 0), (500, 9_500), (2_500, 7_500), (10_000, 0)] {
        measure(own, others).await;
    }
}

async fn measure(own: usize, others: usize) {
    let directory = tempfile::tempdir().unwrap();
    let store =
        Store::open(&format!("sqlite:{}/fleet.db", directory.path().display())).await.unwrap();
    know_builders(&store).await;
    for number in 0..own / HOSTS {
        add_run(&store, number, SYSTEMS[0]).await;
    }
    for number in 0..others / HOSTS {
        add_run(&store, own / HOSTS + number, SYSTEMS[1 + number % 3]).await;
    }
    let able = capability(SYSTEMS[0]);
    let mut took: [Vec<Duration>; 4] = Default::default();
    for look in 0..LOOKS {
        let begun = Instant::now();
        let offered = store.candidates(&able, NOW.plus(60_000), WINDOW).await.unwrap();
        took[0].push(begun.elapsed());
        let begun = Instant::now();
        let builders = store.builders().await.unwrap();
        took[1].push(begun.elapsed());
        let waiting: Vec<Candidate> = offered
            .into_iter()
            .map(|it| Candidate {
                derivation: it.drv,
                home: it.home,
                run: it.run,
                system: it.system,
                features: it.features,
                expected_ms: it.expected_ms,
                built_on: it.built_on,
                failed_on: it.failed_on,
            })
            .collect();
        let begun = Instant::now();
        let share = place::share(waiting, "builder0", &builders, |_| true);
        let taken = take(&share.kept, SLOTS as usize);
        took[2].push(begun.elapsed());
        if look < CLAIMS {
            let wanted: Vec<_> = taken.into_iter().map(|drv| (drv, new_id())).collect();
            let begun = Instant::now();
            let claimed = store.claim_attempts(&wanted, "builder0", "the bench", NOW, LEASE).await;
            took[3].push(begun.elapsed());
            let (claims, _) = claimed.unwrap();
            assert_eq!(claims.len(), wanted.len());
            // The slot is free again: nobody claims for more slots than a builder has.
            let built = || Attempted::Answered(Ending::Built { seconds: 1, without: vec![] });
            let ended = claims.iter().map(|it| (it, built(), 0)).collect();
            let _ = store.finish_attempts(ended, NOW).await.unwrap();
        }
    }
    let [look, builders, decision, claim] = took.map(|mut it| {
        it.sort_unstable();
        ms(percentile(&it, 0.5))
    });
    println!(
        "{own:12}  {others:10}  {look:7.2}  {builders:11.2}  {:11.1}  {claim:8.2}",
        decision * 1000.0
    );
}

fn capability(system: &str) -> Capability {
    Capability { systems: vec![system.to_owned()], features: vec![], mandatory: vec![] }
}

async fn know_builders(store: &Store) {
    let known: Vec<Known> = (0..BUILDERS)
        .map(|at| Known {
            name: format!("builder{at}"),
            capability: capability(SYSTEMS[at % SYSTEMS.len()]),
            slots: SLOTS,
            speed: Speed::default(),
            machine: Whose::Shared,
        })
        .collect();
    store.know_builders(&known, NOW).await.unwrap();
    for it in known {
        let facts = Facts::default();
        store.builder_looked(&it.name, &Condition::Ready, Some(&facts), NOW).await.unwrap();
    }
}

async fn add_run(store: &Store, number: usize, system: &str) {
    let now = NOW.plus(i64::try_from(number).unwrap());
    let repository = seed::repository(42, 7);
    let run = seed::run(&repository, number, now);
    let claim = seed::claimed(store, (repository, run), now, LEASE).await;
    let (builds, _) = store.list_builds(&claim, seed::hosts(HOSTS), now).await.unwrap();
    let wanted = (0..HOSTS).map(|n| seed::derivation(&format!("{number}-{n}"), system));
    let _ = store.evaluated(&claim, seed::waiting(builds, wanted), now).await.unwrap();
    let _ = store.finish_evaluation(&claim, now).await.unwrap();
}
