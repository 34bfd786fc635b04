//! Several instances on one `PostgreSQL`, and how the cost of a step grows with what there is.
use std::time::Duration;

use fleetcheck::domain::Timestamp;
use fleetcheck::domain::build::{Attempted, Ending};
use fleetcheck::domain::id::{AttemptId, InstallationId, RepositoryId};
use fleetcheck::domain::plan::Capability;
use fleetcheck::domain::run::Run;
use fleetcheck::flow::new_id;
use fleetcheck::store::intake::{Arrival, NewDelivery};
use fleetcheck::store::{Body, Store};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::server::Server;
use crate::{ms, percentile, seed};

const NOW: Timestamp = Timestamp(1_700_000_000_000);
const LEASE: i64 = 3_600_000;
const INSTANCES: [usize; 3] = [1, 2, 4];
/// Deliveries of one round, and derivations.
const DELIVERIES: usize = 8_000;
const DERIVATIONS: usize = 800;
/// Deliveries that are on their way at once, to all instances together.
const AT_ONCE: usize = 64;

pub(crate) async fn run() {
    sqlx::any::install_default_drivers();
    // The first that a new server does is not what is measured.
    let warm = stores("warm", 1).await;
    intake(&warm).await;
    claims(&warm).await;
    println!("instances  deliveries/s  claimed and ended/s  p50 ms  p99 ms");
    for count in INSTANCES {
        let stores = stores(&format!("instances{count}"), count).await;
        let taken = intake(&stores).await;
        let (ended, mut each) = claims(&stores).await;
        each.sort_unstable();
        let (p50, p99) = (percentile(&each, 0.5), percentile(&each, 0.99));
        println!("{count:>9}  {taken:>12.0}  {ended:>19.0}  {:>6.1}  {:>6.1}", ms(p50), ms(p99));
    }
    println!("waiting  look ms  claim ms  end ms");
    for waiting in [0, 100, 1_000, 10_000, 100_000] {
        grown(waiting).await;
    }
    println!("  hosts  list ms/host  evaluated ms/host  page ms");
    for hosts in [10, 100, 1_000, 5_000] {
        listed(hosts).await;
    }
}

async fn stores(schema: &str, count: usize) -> Vec<Store> {
    let url = Server::get().url(schema);
    let pool = sqlx::AnyPool::connect(&url).await.unwrap();
    let text = sqlx::AssertSqlSafe(format!("CREATE SCHEMA {schema}"));
    sqlx::raw_sql(text).execute(&pool).await.unwrap();
    let mut all = Vec::new();
    for number in 0..count {
        let store = Store::open(&url).await.unwrap().owned_by(&format!("instance{number}"));
        store.beat(NOW).await.unwrap();
        all.push(store);
    }
    all
}

fn delivery(number: usize) -> NewDelivery {
    let body = format!("{{\"number\":{number},\"text\":\"{}\"}}", "a commit of ours ".repeat(800));
    NewDelivery {
        guid: format!("72d3162e-cc78-11e3-81ab-{number:012}").parse().unwrap(),
        event: "push".into(),
        action: None,
        repository: Some(RepositoryId(42)),
        installation: Some(InstallationId(7)),
        received_at: NOW,
        standing: Arrival::Received { body_sha256: format!("{number:064x}") },
        body: Body::pack(body.as_bytes()).unwrap(),
    }
}

/// Deliveries that are kept each second.
async fn intake(stores: &[Store]) -> f64 {
    let stop = CancellationToken::new();
    let mut committers = JoinSet::new();
    let mut senders = JoinSet::new();
    let since = Instant::now();
    let writers: Vec<_> = stores
        .iter()
        .map(|it| {
            let (writer, committer) = it.intake();
            committers.spawn(committer.run(stop.clone()));
            writer
        })
        .collect();
    for at in 0..AT_ONCE {
        let writer = writers[at % writers.len()].clone();
        senders.spawn(async move {
            for number in (at..DELIVERIES).step_by(AT_ONCE) {
                writer.submit(delivery(number)).await.unwrap();
            }
        });
    }
    senders.join_all().await;
    let took = since.elapsed();
    stop.cancel();
    committers.join_all().await;
    DELIVERIES as f64 / took.as_secs_f64()
}

/// A run whose hosts wait with this instance; how long it took to list them and to note what their
/// evaluation gave.
async fn evaluated(store: &Store, number: usize, hosts: usize) -> (Run, Duration, Duration) {
    let repository = seed::repository(42, 7);
    let run = seed::run(&repository, number, NOW);
    let claim = seed::claimed(store, (repository, run.clone()), NOW, LEASE).await;
    let listed = seed::hosts(hosts);
    let since = Instant::now();
    let (builds, _) = store.list_builds(&claim, listed, NOW).await.unwrap();
    let listing = since.elapsed();
    let wanted = (0..hosts).map(|it| format!("run{number}-host{it}"));
    let wanted = wanted.map(|it| seed::derivation(&it, "x86_64-linux"));
    let outcomes = seed::waiting(builds, wanted);
    let since = Instant::now();
    let _ = store.evaluated(&claim, outcomes, NOW).await.unwrap();
    let noting = since.elapsed();
    let _ = store.finish_evaluation(&claim, NOW).await.unwrap();
    (run, listing, noting)
}

/// Looks, claims the first and ends it: how long each took; `None` when nothing waits.
async fn one(store: &Store) -> Option<[Duration; 3]> {
    let systems = vec!["x86_64-linux".to_owned()];
    let able = Capability { systems, features: vec![], mandatory: vec![] };
    let since = Instant::now();
    let found = store.candidates(&able, NOW, 200).await.unwrap();
    let looked = since.elapsed();
    let first = found.into_iter().next()?;
    let since = Instant::now();
    let wanted = [(first.drv, new_id::<AttemptId>())];
    let (claims, _) = store.claim_attempts(&wanted, "local", "bench", NOW, LEASE).await.unwrap();
    let claimed = since.elapsed();
    let since = Instant::now();
    let ending = Attempted::Answered(Ending::Built { seconds: 1, without: vec![] });
    let ended = claims.iter().map(|it| (it, ending.clone(), 10)).collect();
    let _ = store.finish_attempts(ended, NOW).await.unwrap();
    Some([looked, claimed, since.elapsed()])
}

/// Derivations that are claimed and ended each second, and how long each took.
async fn claims(stores: &[Store]) -> (f64, Vec<Duration>) {
    for (number, store) in stores.iter().enumerate() {
        evaluated(store, number, DERIVATIONS / stores.len()).await;
    }
    let mut tasks = JoinSet::new();
    let since = Instant::now();
    for store in stores {
        let store = store.clone();
        tasks.spawn(async move {
            let mut each = Vec::new();
            while let Some(steps) = one(&store).await {
                each.push(steps.iter().sum());
            }
            each
        });
    }
    let each: Vec<Duration> = tasks.join_all().await.into_iter().flatten().collect();
    (each.len() as f64 / since.elapsed().as_secs_f64(), each)
}

/// The steps of a claim while so many others wait.
async fn grown(waiting: usize) {
    let schema = format!("waiting{waiting}");
    let store = stores(&schema, 1).await.swap_remove(0);
    let (run, _, _) = evaluated(&store, 1, 1).await;
    let text = "INSERT INTO build (id, run_id, attr_key, attr, label, required, rank, state, since, \
                system, drv, derivation, waiting, held, not_before, attempts, weathers, home) \
                SELECT '01890a5d-ac96-774b-bcce-' || lpad(to_hex(n), 12, '0'), b.run_id, 'bulk' || n, b.attr, b.label, b.required, \
                b.rank + 1000000000, b.state, b.since, b.system, b.drv || n, b.derivation, b.waiting, 0, 0, \
                0, 0, b.home FROM build b, generate_series(1, $2) n WHERE b.run_id = $1";
    let pool = sqlx::AnyPool::connect(&Server::get().url(&schema)).await.unwrap();
    sqlx::query(text)
        .bind(run.id.as_str())
        .bind(i64::try_from(waiting).unwrap())
        .execute(&pool)
        .await
        .unwrap();
    sqlx::raw_sql("ANALYZE").execute(&pool).await.unwrap();
    evaluated(&store, 2, 100).await;
    let mut steps = [const { Vec::new() }; 3];
    for _ in 0..100 {
        for (all, step) in steps.iter_mut().zip(one(&store).await.unwrap()) {
            all.push(step);
        }
    }
    let [look, claim, end] = steps.map(|mut it| {
        it.sort_unstable();
        ms(percentile(&it, 0.5))
    });
    println!("{waiting:>7}  {look:>7.1}  {claim:>8.1}  {end:>6.1}");
}

/// What each host of a run costs the store.
async fn listed(hosts: usize) {
    let store = stores(&format!("hosts{hosts}"), 1).await.swap_remove(0);
    let (run, listing, noting) = evaluated(&store, 1, hosts).await;
    let since = Instant::now();
    assert_eq!(store.run_view(&run.id).await.unwrap().unwrap().builds.len(), hosts);
    let page = ms(since.elapsed());
    let each = |it: Duration| ms(it) / hosts as f64;
    println!("{hosts:>7}  {:>12.2}  {:>17.2}  {page:>7.1}", each(listing), each(noting));
}
