//! A service that has nothing to do, and one that has ten thousand builds to do.
use std::collections::BTreeMap;
use std::time::Duration;

use fleetcheck::domain::Timestamp;
use fleetcheck::domain::build::Derivation;
use fleetcheck::store::Store;
use sqlx::AnyPool;
use tokio::time::{Instant, sleep};

use crate::world::World;
use crate::world::github::{Contract, Options};
use crate::world::nix::TestNix;
use crate::{machine, ms, seed};

const RUNS: usize = 20;
const HOSTS: usize = 500;

/// Both, with the time from the start to `/readyz`.
pub(crate) async fn run() {
    let options = || Options { contract: Contract::IfPresent, ..Options::default() };
    let mut world = World::with(TestNix::one(), options()).await;
    measure(&mut world, "idle").await;
    let mut world = World::with(TestNix::one(), options()).await;
    seed(&world).await;
    measure(&mut world, "10,000 builds queued").await;
}

async fn measure(world: &mut World, what: &str) {
    let begun = Instant::now();
    let ready = async {
        world.start().await;
        while !reqwest::get(world.url("/readyz")).await.is_ok_and(|it| it.status() == 200) {
            sleep(Duration::from_millis(5)).await;
        }
        begun.elapsed()
    };
    let ready = ready.await;
    sleep(Duration::from_secs(10)).await;
    let before = machine::cpu(world.process());
    sleep(Duration::from_secs(10)).await;
    let cpu = machine::cpu(world.process()).saturating_sub(before);
    let (now, most) = machine::memory(world.process());
    println!(
        "{what}: ready after {:.0} ms; {now:.1} MiB, {most:.1} at most; {:.1} ms of CPU a second",
        ms(ready),
        ms(cpu) / 10.0
    );
    let metrics = reqwest::get(world.url("/metrics")).await.unwrap().text().await.unwrap();
    for line in metrics.lines().filter(|it| it.contains("queue=\"builds\"") && !it.ends_with(" 0"))
    {
        println!("  {line}");
    }
}

/// A run of two builds that never end takes the slots; behind it wait ten thousand.
async fn seed(world: &World) {
    let path = world.directory().join("fleetcheck.db");
    let url = format!("sqlite:{}", path.display());
    let store = Store::open(&url).await.unwrap();
    let blockers: Vec<Derivation> = (0..2).map(|n| blocker(world, n)).collect();
    add_run(&store, world, 0, blockers).await;
    for run in 1..=RUNS {
        let waiting = (0..HOSTS).map(|n| derivation(world, &format!("{run}-{n}"))).collect();
        add_run(&store, world, run, waiting).await;
    }
    // GitHub was told of all of them before.
    let pool = AnyPool::connect(&url).await.unwrap();
    sqlx::query("UPDATE report SET shown = wanted").execute(&pool).await.unwrap();
    pool.close().await;
}

fn derivation(world: &World, name: &str) -> Derivation {
    let store = world.nix.directory().join("store").display().to_string();
    let path = |hash: &str, end: &str| format!("{store}/{hash}-nixos-system-{name}-26.05{end}");
    let out = path("683yqpnsx5xvpayk2bnrb6cmk0a7blys", "").parse().unwrap();
    Derivation {
        path: path("783yqpnsx5xvpayk2bnrb6cmk0a7blys", ".drv").parse().unwrap(),
        outputs: BTreeMap::from([("out".to_owned(), out)]),
        system: world.system().to_owned(),
        features: vec![],
    }
}

/// A derivation that is really there, and says something now and then.
fn blocker(world: &World, n: usize) -> Derivation {
    let expression = format!(
        r#"(derivation {{ name = "blocker{n}"; system = "{}"; builder = "/bin/sh";
        args = [ "-c" "while :; do echo busy; /bin/sleep 5; done" ]; }}).drvPath"#,
        world.system()
    );
    let drv = world.nix.output("nix", ["eval", "--impure", "--raw", "--expr", &expression]);
    Derivation { path: drv.parse().unwrap(), ..derivation(world, &format!("blocker{n}")) }
}

async fn add_run(store: &Store, world: &World, number: usize, wanted: Vec<Derivation>) {
    let place = i64::try_from(number).unwrap();
    let now = Timestamp(jiff::Timestamp::now().as_millisecond() - 3_600_000 + place);
    let repository = seed::repository(world.repo.id, world.repo.installation);
    let run = seed::run(&repository, number, now);
    let claim = seed::claimed(store, (repository, run), now, 60_000).await;
    let (builds, _) = store.list_builds(&claim, seed::hosts(wanted.len()), now).await.unwrap();
    let _ = store.evaluated(&claim, seed::waiting(builds, wanted), now).await.unwrap();
    let _ = store.finish_evaluation(&claim, now).await.unwrap();
}
