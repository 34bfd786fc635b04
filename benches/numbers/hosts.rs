//! A push of many trivial hosts over what Nix needs for them: evaluated once, and built in batches by
//! two processes.
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::machine;
use crate::world::World;
use crate::world::fleet::{self, Host};
use crate::world::github::{Contract, Operation, Options};
use crate::world::nix::TestNix;

const ROUNDS: u32 = 3;
/// Derivations that one process of the floor builds.
const BATCH: usize = 50;
/// Nothing here takes longer.
const PATIENCE: Duration = Duration::from_mins(5);

/// What one push took.
struct Pushed {
    /// From the answer to the delivery to the last check.
    time: Duration,
    /// User and system time of our process.
    cpu: Duration,
    calls: usize,
}

/// Measures fleets of these sizes; without any, of 10, 100 and 500.
pub(crate) async fn run(sizes: &[String]) {
    let sizes: Vec<usize> = sizes.iter().map(|it| it.parse().unwrap()).collect();
    let sizes = if sizes.is_empty() { vec![10, 100, 500] } else { sizes };
    println!(
        "hosts  what              seconds      floor  ratio  cpu/host ms  calls (4+2⌈N/25⌉)  load"
    );
    for size in sizes {
        fleet_of(size).await;
    }
}

async fn fleet_of(size: usize) {
    let options = Options { contract: Contract::IfPresent, ..Options::default() };
    let mut world =
        World::with(TestNix::one(), options).await.github_setting("checks_limit = 1000");
    world.start().await;
    // Made known: each is evaluated and built for the first time.
    let first = push(&world, size, 0, "").await;
    show(size, "never seen", &first, None);
    for round in 1..=ROUNDS {
        let bare = floor(&world, size, 1000 + round);
        next_minute(size).await;
        let pushed = push(&world, size, round, "").await;
        show(size, "every one new", &pushed, Some(bare));
        next_minute(size).await;
        let again = push(&world, size, round, "a word").await;
        show(size, "none new", &again, None);
    }
    // A push that met the weather shows it here, and in its time.
    for line in world.log().lines().filter(|it| it.contains("WARN") || it.contains("ERROR")) {
        println!("       {line}");
    }
}

fn show(size: usize, what: &str, pushed: &Pushed, bare: Option<Duration>) {
    let Pushed { time, cpu, calls } = pushed;
    let (bare, ratio) = bare.map_or_else(Default::default, |it| {
        let ratio = time.as_secs_f64() / it.as_secs_f64();
        (format!("{:.2}", it.as_secs_f64()), format!("{ratio:.2}"))
    });
    println!(
        "{size:>5}  {what:<16} {:>8.2} {bare:>10} {ratio:>6} {:>12.2} {:>14}  {:>4}",
        time.as_secs_f64(),
        cpu.as_secs_f64() * 1000.0 / size as f64,
        format!("{calls} ({})", 4 + 2 * size.div_ceil(25)),
        machine::load(),
    );
}

fn hosts(size: usize, round: u32) -> Vec<Host> {
    (0..size).map(|n| Host::good(&format!("host{n}"), &format!("{round}-{n}"))).collect()
}

/// After a push of many hosts GitHub's 80 contents a minute are used up; they would be in the time of
/// the next.
async fn next_minute(size: usize) {
    if size > 100 {
        sleep(Duration::from_mins(1)).await;
    }
}

/// Pushes a fleet and waits until GitHub shows every check as completed.
async fn push(world: &World, size: usize, round: u32, readme: &str) -> Pushed {
    let sha = world.commit("main", &hosts(size, round), &[("README", readme)]);
    let calls_before = world.github.calls().len();
    let cpu_before = machine::cpu(world.process());
    assert_eq!(world.github.push(&world.repo, "main", &sha).await, Some(202), "{}", world.log());
    let accepted = Instant::now();
    loop {
        // Rarely, and cheap until it is over: the GitHub shares the machine.
        sleep(Duration::from_millis(20)).await;
        let gate = world.github.check_run(world.repo.id, &sha, "fleet");
        if gate.is_some_and(|it| it.status == "completed") {
            let runs = world.github.check_runs(world.repo.id, &sha);
            if runs.len() == size + 1 && runs.iter().all(|it| it.status == "completed") {
                let good = runs.iter().all(|it| it.conclusion.as_deref() == Some("success"));
                assert!(good, "{}", world.checks(&sha));
                break;
            }
        }
        assert!(accepted.elapsed() < PATIENCE, "{}\n{}", world.checks(&sha), world.log());
    }
    let writes = |it: &Operation| {
        matches!(it, Operation::CreateCheck | Operation::UpdateCheck | Operation::Graphql)
    };
    let calls = world.github.calls().split_off(calls_before);
    let last = calls.iter().filter(|it| writes(&it.operation)).map(|it| it.at).max().unwrap();
    // What comes afterwards (the commit status) counts too.
    sleep(Duration::from_millis(500)).await;
    let calls = world.github.calls().split_off(calls_before);
    Pushed {
        time: last.duration_since(accepted),
        cpu: machine::cpu(world.process()).saturating_sub(cpu_before),
        calls: calls
            .iter()
            .filter(|it| !matches!(it.operation, Operation::Git | Operation::MintToken))
            .count(),
    }
}

/// The same fleet with other contents: one evaluation of all of it, then batches of its derivations by
/// two processes.
fn floor(world: &World, size: usize, round: u32) -> Duration {
    let directory = tempfile::tempdir_in(world.nix.directory()).unwrap();
    let flake = fleet::flake(world.system(), &hosts(size, round));
    std::fs::write(directory.path().join("flake.nix"), flake).unwrap();
    let fleet = format!("path:{}#nixosConfigurations", directory.path().display());
    let all =
        "hosts: map (it: it.config.system.build.toplevel.drvPath) (builtins.attrValues hosts)";
    let begun = Instant::now();
    let args = ["eval", "--json", "--no-eval-cache", &fleet, "--apply", all];
    let derivations = world.nix.output("nix", args);
    let derivations: Vec<String> = serde_json::from_str(&derivations).unwrap();
    assert_eq!(derivations.len(), size);
    let batches = std::sync::Mutex::new(derivations.chunks(BATCH));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let next = || batches.lock().unwrap().next();
                while let Some(batch) = next() {
                    let realise = ["--realise".to_owned()].into_iter().chain(batch.to_vec());
                    world.nix.output("nix-store", realise);
                }
            });
        }
    });
    begun.elapsed()
}
