//! What comes in by HTTP and what goes out: a real listener, a real store, real logs.
#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod builders;
mod deliveries;
mod pages;
mod sections;
mod updates;
mod webhook;
mod world;
