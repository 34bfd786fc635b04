//! Sentences through the front door: real HTTP in, a GitHub of values out, real Nix and git between.
#![expect(clippy::unwrap_used, reason = "the harness may panic")]
mod any_order;
mod archive;
mod builder_trouble;
mod builders;
mod calls;
mod crashes;
mod deliveries;
mod evaluations;
mod failures;
mod forks;
mod gate;
mod github_trouble;
#[path = "../world/inputs.rs"]
mod inputs;
mod insight;
mod instances;
mod killed;
mod lent;
mod limits;
mod lock;
mod merge_queue;
mod merges;
mod metrics;
mod mirrors;
mod pages;
mod people;
mod postgres;
mod pull_requests;
mod pushes;
mod recover;
mod repositories;
mod repository_changes;
mod reruns;
#[path = "../store/postgres.rs"]
mod server;
mod skips;
mod superseding;
mod updates;
#[path = "../world/mod.rs"]
mod world;
use world::nix;
mod worth_reading;
