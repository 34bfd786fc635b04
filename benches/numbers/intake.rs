//! Deliveries at full speed: the service on one core, the generator on the other.
use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use bytes::Bytes;
use fleetcheck::config::Sealed;
use fleetcheck::domain::Timestamp;
use fleetcheck::github::webhook::Secrets;
use fleetcheck::store::intake::{Arrival, NewDelivery, Writer};
use fleetcheck::store::{Body, Store};
use serde_json::Value;
use sqlx::AnyPool;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::world::World;
use crate::world::github::{Contract, Options};
use crate::world::nix::TestNix;
use crate::{machine, ms, percentile};

const ROUNDS: usize = 3;
const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// The account of the examples.
const OWNER: &str = "Codertocat";

/// All that is measured of the intake; of `paced` only what comes at a thousand a second.
pub(crate) async fn run(parts: &[String]) {
    sqlx::any::install_default_drivers();
    let hookload = build_hookload().await;
    println!("fdatasync p50: {:.2} ms", ms(fdatasync()));
    println!(
        "intake              per s  ok/s   cpu µs each  p50 ms  p99 ms  RSS MiB  others' cpu %"
    );
    let is_paced = parts.iter().any(|it| it == "paced");
    let slowly = ["-n", "10000", "--rate", "1000"];
    if is_paced {
        for _ in 0..ROUNDS {
            let mut floor = Floor::start().await;
            show("floor, 1000/s", &hookload.run(&floor.load(&slowly)).await);
            floor.stop().await;
            let world = serve(None).await;
            show("kept, 1000/s", &hookload.run(&load(&world, &slowly)).await);
        }
        return;
    }
    for _ in 0..ROUNDS {
        let mut floor = Floor::start().await;
        show("floor", &hookload.run(&floor.load(&["-n", "20000"])).await);
        floor.stop().await;
        let world = serve(None).await;
        show("kept", &hookload.run(&load(&world, &["-n", "20000"])).await);
        let world = serve(Some(OWNER)).await;
        show("kept and acted on", &hookload.run(&load(&world, &["-n", "20000"])).await);
    }
    let world = serve(None).await;
    show("1000 a second", &hookload.run(&load(&world, &slowly)).await);
    forged(&hookload, &world).await;
    killed(&hookload).await;
}

fn show(what: &str, it: &Value) {
    let number = |pointer: &str| it.pointer(pointer).and_then(Value::as_f64).unwrap_or(f64::NAN);
    println!(
        "{what:<18} {:>6.0} {:>6.0} {:>12.0} {:>8.2} {:>7.2} {:>8.0} {:>8.0}   {}",
        number("/rps"),
        number("/ok_rps"),
        number("/server/cpu_us_per_req"),
        number("/lat_ms/p50"),
        number("/lat_ms/p99"),
        number("/server/rss_kb") / 1024.0,
        number("/host/foreign_cpu_pct"),
        it["statuses"],
    );
}

/// A service on the first core.
async fn serve(owner: Option<&str>) -> World {
    let options = Options { contract: Contract::IfPresent, ..Options::default() };
    let mut world = World::with(TestNix::one(), options).await;
    if let Some(owner) = owner {
        world = world.owner(owner);
    }
    on_cores("0").await;
    world.start().await;
    on_cores("0,1").await;
    world
}

/// Children are born where their parent may run.
async fn on_cores(cores: &str) {
    let id = std::process::id().to_string();
    let pinned = Command::new("taskset").args(["-cp", cores, &id]).stdout(Stdio::null()).status();
    assert!(pinned.await.unwrap().success());
}

fn load(world: &World, more: &[&str]) -> Vec<String> {
    let id = world.process().to_string();
    let given = ["--url", &world.url("/webhook"), "--secret", world.github.secret(), "--pid", &id];
    given.iter().chain(more).map(|it| (*it).to_owned()).collect()
}

/// Wrong signatures at full speed.
async fn forged(hookload: &Hookload, world: &World) {
    let (before, _) = machine::memory(world.process());
    for _ in 0..3 {
        show("forged", &hookload.run(&load(world, &["-n", "20000", "--bad-sig", "1"])).await);
    }
    let (after, most) = machine::memory(world.process());
    println!("forged: memory {before:.0} MiB before, {after:.0} after, {most:.0} at most");
}

/// What was acknowledged before `kill -9` is there afterwards, once.
async fn killed(hookload: &Hookload) {
    for round in 0..3 {
        let mut world = serve(None).await;
        let accepted = world.directory().join("accepted");
        let file = accepted.display().to_string();
        let more = ["-n", "30000", "--warmup", "0", "--accepted-out", &file, "--duration", "10"];
        let mut running = hookload.command(&load(&world, &more)).spawn().unwrap();
        let idle = machine::cpu(world.process());
        while machine::cpu(world.process()) < idle + Duration::from_millis(500 + 200 * round) {
            sleep(Duration::from_millis(1)).await;
        }
        world.kill().await;
        running.wait().await.unwrap();
        let accepted: Vec<String> =
            std::fs::read_to_string(&accepted).unwrap().lines().map(str::to_owned).collect();
        let path = world.directory().join("fleetcheck.db").display().to_string();
        let pool = AnyPool::connect(&format!("sqlite:{path}")).await.unwrap();
        let kept: Vec<String> =
            sqlx::query_scalar("SELECT guid FROM delivery").fetch_all(&pool).await.unwrap();
        let known: HashSet<&String> = kept.iter().collect();
        let lost = accepted.iter().filter(|it| !known.contains(it)).count();
        println!(
            "kill -9: {} acknowledged, {} kept, {lost} lost, {} doubled",
            accepted.len(),
            kept.len(),
            kept.len() - known.len()
        );
        assert_eq!((lost, kept.len()), (0, known.len()));
    }
}

/// The generator.
struct Hookload {
    program: PathBuf,
    payloads: PathBuf,
}

async fn build_hookload() -> Hookload {
    let crate_ = Path::new(ROOT).join("benches/hookload");
    let target = crate_.join("target");
    let built = Command::new("cargo")
        .args(["build", "--release", "--quiet", "--manifest-path"])
        .arg(crate_.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(&target)
        .status();
    assert!(built.await.unwrap().success());
    let examples = "tests/npm/node_modules/@octokit/webhooks-examples/api.github.com/index.json";
    let payloads = Path::new(ROOT).join(examples);
    assert!(payloads.is_file(), "no examples: npm ci --ignore-scripts --prefix tests/npm");
    Hookload { program: target.join("release/hookload"), payloads }
}

impl Hookload {
    fn command(&self, arguments: &[String]) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--payloads").arg(&self.payloads).args(["-c", "64", "--pin", "1"]);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        command
    }

    /// What it found out. Its status is 1 when nothing was accepted.
    async fn run(&self, arguments: &[String]) -> Value {
        let output = self.command(arguments).output().await.unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        serde_json::from_str(&said).unwrap_or_else(|_| panic!("hookload: {said}"))
    }
}

/// The bare handler, in a process of its own on the first core.
struct Floor {
    child: Child,
    port: u16,
    _directory: tempfile::TempDir,
}

impl Floor {
    async fn start() -> Self {
        let directory = tempfile::Builder::new().prefix("fc-floor-").tempdir().unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        on_cores("0").await;
        let child = Command::new(std::env::current_exe().unwrap())
            .arg("floor")
            .arg(directory.path())
            .arg(port.to_string())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        on_cores("0,1").await;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_err() {
            sleep(Duration::from_millis(10)).await;
        }
        Self { child, port, _directory: directory }
    }

    fn load(&self, more: &[&str]) -> Vec<String> {
        let url = format!("http://127.0.0.1:{}/webhook", self.port);
        let id = self.child.id().unwrap().to_string();
        let given = ["--url", &url, "--secret", SECRET, "--pid", &id];
        given.iter().chain(more).map(|it| (*it).to_owned()).collect()
    }

    async fn stop(&mut self) {
        self.child.kill().await.unwrap();
    }
}

const SECRET: &str = "It's a Secret to Everybody";

/// A bare axum handler: HMAC, and the same writer's group commit of the same row. Nothing is
/// looked at, hashed, counted or limited.
pub(crate) async fn floor(arguments: &[String]) {
    let store = Store::open(&format!("sqlite:{}/floor.db", arguments[0])).await.unwrap();
    let stop = CancellationToken::new();
    let (writer, committer) = store.intake();
    tokio::spawn(committer.run(stop.clone()));
    tokio::spawn(async move { store.keep(stop).await });
    let secrets = Secrets::new(&[Sealed::new(SECRET.to_owned())]);
    let router =
        Router::new().route("/webhook", post(bare)).with_state(Arc::new((secrets, writer)));
    let address = SocketAddr::from(([127, 0, 0, 1], arguments[1].parse().unwrap()));
    axum::serve(TcpListener::bind(address).await.unwrap(), router).await.unwrap();
}

async fn bare(
    State(parts): State<Arc<(Secrets, Writer)>>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let (secrets, writer) = &*parts;
    let header = |name: &str| headers.get(name).and_then(|it| it.to_str().ok()).unwrap_or_default();
    let signature = header("x-hub-signature-256");
    let Ok(verified) = secrets.verify(body, Some(signature.as_bytes())) else {
        return StatusCode::UNAUTHORIZED;
    };
    let delivery = NewDelivery {
        guid: header("x-github-delivery").parse().unwrap(),
        event: header("x-github-event").to_owned(),
        action: None,
        repository: None,
        installation: None,
        received_at: Timestamp(0),
        standing: Arrival::Ignored(String::new()),
        body: Body::pack(verified.bytes()).unwrap(),
    };
    match writer.submit(delivery).await {
        Ok(_) => StatusCode::ACCEPTED,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// How long this disk takes to keep a page, where databases lie here.
fn fdatasync() -> Duration {
    use std::io::Write as _;
    let mut file = tempfile::tempfile().unwrap();
    let mut times: Vec<Duration> = (0..50)
        .map(|_| {
            file.write_all(&[7; 4096]).unwrap();
            let begun = Instant::now();
            file.sync_data().unwrap();
            begun.elapsed()
        })
        .collect();
    times.sort_unstable();
    percentile(&times, 0.5)
}
