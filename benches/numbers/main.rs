//! The numbers that fleetcheck promises, each beside its floor of the same run.
//!
//! `cargo bench --bench numbers -- WHICH [SIZES…]`; `benches/README.md` says what each one does.
#![expect(clippy::unwrap_used, reason = "a bench may stop at the first surprise")]
#![expect(clippy::cast_precision_loss, reason = "figures for people")]
#[path = "../../tests/world/command.rs"]
mod command;
mod gate;
mod hosts;
#[path = "../../tests/world/inputs.rs"]
mod inputs;
mod instances;
mod intake;
mod limits;
mod logs;
mod machine;
mod memory;
mod placement;
mod seed;
#[path = "../../tests/store/postgres.rs"]
mod server;
mod update;
#[path = "../../tests/world/updates.rs"]
mod updates;
#[path = "../../tests/world/mod.rs"]
mod world;

use std::time::Duration;

// Where the harnesses of the tests look for each other.
use world::{fleet, nix};

/// The benches, and what the command line calls them.
const NAMES: &str = "hosts [N…] | gate | intake [paced] | instances | memory | logs | limits [requests | checks] | \
     placement | update";

fn main() {
    // `cargo bench` adds `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|it| it != "--bench").collect();
    let (name, rest) = arguments.split_first().map_or(("", &[][..]), |(it, rest)| (it, rest));
    let runtime = if matches!(name, "intake" | "floor") {
        // One thread, so that the core that it gives itself is the one that its children inherit.
        tokio::runtime::Builder::new_current_thread().enable_all().build()
    } else {
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()
    };
    let runtime = runtime.unwrap();
    match name {
        "hosts" => runtime.block_on(hosts::run(rest)),
        "gate" => runtime.block_on(gate::run()),
        "instances" => runtime.block_on(instances::run()),
        "intake" => runtime.block_on(intake::run(rest)),
        "floor" => runtime.block_on(intake::floor(rest)),
        "limits" => runtime.block_on(limits::run(rest)),
        "memory" => runtime.block_on(memory::run()),
        "placement" => runtime.block_on(placement::run()),
        "update" => update::run(),
        "logs" => runtime.block_on(logs::run()),
        // Run by `cargo bench` or `cargo test --benches` without a name: nothing is measured.
        _ => println!("which? {NAMES}"),
    }
}

/// The value below which this share of them lies.
fn percentile(sorted: &[Duration], share: f64) -> Duration {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
    let at = (sorted.len() as f64 * share).ceil() as usize;
    sorted[at.clamp(1, sorted.len()) - 1]
}

/// In milliseconds.
fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
