//! `fleetcheck config`: the effective settings.
use std::path::Path;

use crate::cli::{GOOD, USAGE, output};
use crate::config::{Environment, Loaded};

pub(super) fn run(path: Option<&Path>, env: &Environment) -> u8 {
    match Loaded::load(path, env) {
        Ok(loaded) => {
            output::print(&loaded.render());
            GOOD
        }
        Err(errors) => {
            output::say(&format!("fleetcheck: {errors}"));
            USAGE
        }
    }
}
