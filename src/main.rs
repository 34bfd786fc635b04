//! Arguments become a call, what came of it an exit status. Nothing else.
use std::process::ExitCode;

use clap::Parser;
use fleetcheck::cli::{Cli, run};

#[tokio::main]
async fn main() -> ExitCode {
    run(Cli::parse()).await
}
