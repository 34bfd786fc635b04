//! `fleetcheck check`: the real program, with real Nix and git, without GitHub.
#![expect(clippy::unwrap_used, reason = "tests may panic")]
#![allow(dead_code, unreachable_pub, reason = "the harness is shared with other tests")]
#[path = "../world/command.rs"]
mod command;
mod ending;
mod eval_jobs;
#[path = "../world/fleet.rs"]
mod fleet;
#[path = "../world/nix.rs"]
mod nix;
mod references;
mod results;
