//! Updates of lock files: real Nix and git repositories as inputs, and what becomes of them on GitHub.
mod bisect;
mod fleet;
mod merging;
mod places;
mod pulls;
mod schedule;
mod search;
mod told;
mod trouble;
