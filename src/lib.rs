//! fleetcheck: CI for NixOS fleets on GitHub. One Nix build per host, each a check.
pub mod config;
pub mod domain;
pub mod flow;
pub mod github;
pub mod http;
pub mod nix;
pub mod store;
pub mod telemetry;
