//! From the answer to a push to its gate on GitHub.
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::machine;
use crate::world::World;
use crate::world::fleet::Host;
use crate::world::github::{Call, Contract, Operation, Options};
use crate::world::nix::TestNix;
use crate::{ms, percentile};

const PUSHES: usize = 100;
/// Between two starts of the service, the first of which is shown apart. More would not fit into
/// GitHub's 80 contents a minute, and would measure those: a service counts anew from its start.
const AT_A_TIME: usize = 10;

/// Pushes to an idle service, one after the other.
pub(crate) async fn run() {
    let options = Options { contract: Contract::IfPresent, ..Options::default() };
    let mut world = World::with(TestNix::one(), options).await;
    let (mut times, mut firsts) = (Vec::with_capacity(PUSHES), Vec::new());
    for start in (0..PUSHES).step_by(AT_A_TIME) {
        world.start().await;
        // It mints a token and opens the connections.
        firsts.push(gate(&world, PUSHES + start).await);
        for n in start..start + AT_A_TIME {
            times.push(gate(&world, n).await);
        }
        world.stop().await;
    }
    world.start().await;
    times.sort_unstable();
    firsts.sort_unstable();
    println!(
        "gate: p50 {:.1} ms, p90 {:.1}, p99 {:.1}, max {:.1} of {PUSHES} pushes; the first after a \
         start {:.1}; load {}",
        ms(percentile(&times, 0.5)),
        ms(percentile(&times, 0.9)),
        ms(percentile(&times, 0.99)),
        ms(times[PUSHES - 1]),
        ms(percentile(&firsts, 0.5)),
        machine::load(),
    );
    println!(
        "floor: {:.2} ms, a POST of the same client to the same GitHub",
        ms(floor(&world).await)
    );
}

async fn gate(world: &World, n: usize) -> Duration {
    let sha = world.commit("main", &[Host::good("orion", &n.to_string())], &[]);
    // GitHub has its index of commits in memory.
    world.github.believe(&world.repo, &sha);
    let before = world.github.calls().len();
    assert_eq!(world.github.push(&world.repo, "main", &sha).await, Some(202), "{}", world.log());
    let accepted = Instant::now();
    world.concluded(&sha, "fleet", "success").await;
    let shown = world.github.calls().split_off(before);
    let gate = shown.iter().find(|it| shows_gate(it, &sha)).unwrap();
    let time = gate.at.saturating_duration_since(accepted);
    // Until the service is idle again.
    sleep(Duration::from_millis(200)).await;
    time
}

/// Whether a call made the gate of this commit, alone or in a batch.
fn shows_gate(call: &Call, sha: &str) -> bool {
    let alone = call.operation == Operation::CreateCheck && call.body["name"] == "fleet";
    let inputs = call.body["variables"].as_object().into_iter().flat_map(|it| it.values());
    let mut inputs = inputs.filter(|_| call.operation == Operation::Graphql);
    alone || inputs.any(|it| it["name"] == "fleet" && it["headSha"] == sha)
}

/// What one call costs by itself: the median of a hundred answers to a small question.
async fn floor(world: &World) -> Duration {
    let client = reqwest::Client::new();
    let url = format!("{}/repos/acme/fleet/check-runs", world.github.api_url());
    let mut times = Vec::new();
    for _ in 0..PUSHES {
        let begun = Instant::now();
        client.post(&url).header("user-agent", "bench").body("{}").send().await.unwrap();
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    percentile(&times, 0.5)
}
