//! What people write, get wrong or mean badly: each a sentence on what becomes of it.
#![expect(clippy::unwrap_used, reason = "tests may panic")]
#![allow(dead_code, unreachable_pub, reason = "the harness is shared with other tests")]
mod builds;
#[path = "../world/command.rs"]
mod command;
mod disk;
mod evaluations;
mod github;
mod service;
#[path = "../world/small_disk.rs"]
mod small_disk;
#[path = "../world/mod.rs"]
mod world;

use world::{fleet, nix};
