//! The commands, a file each: what a person types becomes a call, what came of it an exit status.
mod board;
mod builders;
mod check;
mod config;
mod doctor;
pub mod document;
mod output;
mod progress;
mod table;
mod update;
pub mod update_document;
mod watch;
mod words;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::app::roles::Roles;
use crate::config::{Config, Environment};
use crate::telemetry::{self, LogFormat};

/// Everything is well.
pub const GOOD: u8 = 0;
/// What was looked at is not well.
pub const BAD: u8 = 1;
/// Wrong usage or settings; clap's own status too.
pub const USAGE: u8 = 2;

/// CI for NixOS fleets on GitHub: one Nix build per host, each a check, on your own builders.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the service until SIGTERM or SIGINT, then end in order
    ///
    /// Several may share one `PostgreSQL` store, each with a `store.directory` of its own.
    ///
    /// Exit status: 0 clean end, 1 lost a stage, 2 bad settings.
    Serve(Serve),
    /// Evaluate and build the same hosts as the service would, here and now, without GitHub
    ///
    /// Exit status: 0 the gate would pass, 1 it would not, 2 wrong usage or settings.
    Check(check::Arguments),
    /// Find out which inputs of flake.lock can move without breaking a host, and move them
    ///
    /// Looks up the newest revision of each input, evaluates and builds the required hosts with
    /// them here and now, without GitHub, finds what breaks a host and leaves that where it is. With
    /// --repo the service does so, and opens a pull request.
    ///
    /// Exit status: 0 moved or up to date, 1 something is held back, 2 wrong usage or settings.
    Update(update::Arguments),
    /// List the builders and how it stands with each, or take one out of rotation
    ///
    /// What the service saw at its last look, at most half a minute ago.
    ///
    /// Exit status: 0, 1 when the store does not answer, 2 for bad settings or an unknown name.
    Builders(builders::Arguments),
    /// Look at everything that serve needs and say for each what is wrong and what to do
    ///
    /// Looks at the settings, the App's key, whether GitHub answers and with which permissions and
    /// events, Nix, the builders, the store and the public address. Changes nothing, except that a
    /// store that an older version left is brought up to date, as serve would.
    ///
    /// Exit status: 0 all well, 1 something to mend.
    Doctor(Settings),
    /// Print the effective settings as TOML, secrets sealed, each with where it was given
    ///
    /// Exit status: 0, or 2 for bad settings.
    Config(Settings),
}

const FILE_HELP: &str = "Settings file [default: $FLEETCHECK_CONFIG, else /etc/fleetcheck.toml]";
const FILE_LONG_HELP: &str = "Settings file; without it $FLEETCHECK_CONFIG, without that \
    /etc/fleetcheck.toml if it exists. FLEETCHECK__SECTION__KEY in the environment overrides each \
    key. `check` and `update` use [nix] and \
    [[builder]] only, and need no file.";

/// Where the settings are.
#[derive(Debug, Args)]
struct Settings {
    #[arg(long, global = true, value_name = "FILE", help = FILE_HELP, long_help = FILE_LONG_HELP)]
    config: Option<PathBuf>,
}

const ROLES_HELP: &str = "What this one does, of intake,evaluate,build,report,recover";
const ROLES_LONG_HELP: &str = "What this one does: some of intake (/webhook and what is decided \
    about deliveries), evaluate (without build it needs nix.instance_store), build, report (checks, \
    statuses and reactions on GitHub), recover (what GitHub did not deliver). Without it all of them. \
    Somebody must do each.";

/// What `serve` does, and with which settings.
#[derive(Debug, Args)]
struct Serve {
    #[command(flatten)]
    settings: Settings,
    #[arg(long, value_name = "ROLE,…", help = ROLES_HELP, long_help = ROLES_LONG_HELP)]
    roles: Option<Roles>,
}

/// Does what was asked; the exit status says what came of it.
pub async fn run(arguments: Cli) -> ExitCode {
    let env = Environment::of_process();
    let format = LogFormat::named(env.get("FLEETCHECK_LOG"));
    let level = match &arguments.command {
        Command::Serve(_) => tracing::Level::INFO,
        // What they find they say themselves.
        Command::Check(_)
        | Command::Update(_)
        | Command::Builders(_)
        | Command::Doctor(_)
        | Command::Config(_) => tracing::Level::ERROR,
    };
    telemetry::start_log(format, level);
    let status = match arguments.command {
        Command::Serve(arguments) => return serve(arguments, &env).await,
        Command::Check(arguments) => check::run(arguments, &env).await,
        Command::Update(arguments) => update::run(arguments, &env).await,
        Command::Builders(arguments) => builders::run(arguments, &env).await,
        Command::Doctor(settings) => doctor::run(settings.config.as_deref(), &env).await,
        Command::Config(settings) => config::run(settings.config.as_deref(), &env),
    };
    ExitCode::from(status)
}

async fn serve(Serve { settings, roles }: Serve, env: &Environment) -> ExitCode {
    match Config::load(settings.config.as_deref(), env) {
        Ok(config) => crate::app::serve(config, roles.unwrap_or_default()).await,
        Err(errors) => {
            output::say(&format!("fleetcheck: {errors}"));
            ExitCode::from(USAGE)
        }
    }
}
