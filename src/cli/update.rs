//! `fleetcheck update`: which inputs can move without breaking which host, here and now; or the
//! service is asked to find that out (`ask`).
mod ask;
pub(super) mod words;

use clap::Args;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::cli::progress::Progress;
use crate::cli::update::ask::Named;
use crate::cli::update_document::UpdateDocument;
use crate::cli::{BAD, GOOD, Settings, USAGE, output, watch};
use crate::config::{Config, Environment};
use crate::domain::text::clean;
use crate::flow::check::{CheckError, CheckRequest};
use crate::flow::update::{Mode, UpdateError, UpdateEvent, UpdateReport, UpdateRequest, update};

/// What can be asked of `update`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The folder of a checkout, with a flake.lock
    #[arg(default_value = ".")]
    flake: String,
    /// Move these inputs only; may be given several times
    ///
    /// A glob over an input's name, `nixpkgs*`, or over its way from the flake on,
    /// `disko/nixpkgs`. In the place of `update.inputs` of fleetcheck.toml.
    #[arg(long, value_name = "GLOB")]
    inputs: Vec<String>,
    /// Say what can move, and leave flake.lock as it is
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON document to standard output instead of the table
    ///
    /// The progress still goes to standard error.
    #[arg(long)]
    json: bool,
    /// Ask the service to update this repository with a pull request, as its schedule would
    ///
    /// The service must know it, and read the same settings: the wish is left in its store.
    #[arg(
        long,
        value_name = "OWNER/NAME",
        value_parser = ask::named,
        conflicts_with_all = ["flake", "inputs", "dry_run", "json"]
    )]
    repo: Option<Named>,
    #[command(flatten)]
    settings: Settings,
}

pub(super) async fn run(arguments: Arguments, env: &Environment) -> u8 {
    let Arguments { flake, inputs, dry_run, json, repo, settings } = arguments;
    if let Some(repository) = repo {
        return ask::run(&repository, &settings, env).await;
    }
    let config = match Config::for_check(settings.config.as_deref(), env) {
        Ok(config) => config,
        Err(errors) => {
            output::say(&format!("fleetcheck: {errors}"));
            return USAGE;
        }
    };
    let check = CheckRequest {
        flake: flake.clone(),
        hosts: vec![],
        nix: config.nix,
        builders: config.builders.into_iter().filter(|it| it.store.is_none()).collect(),
        scratch: config.scratch,
    };
    let mode = if dry_run { Mode::DryRun } else { Mode::Write };
    let answer = match watch(UpdateRequest { check, inputs, mode }).await {
        Ok(answer) => answer,
        Err(error) => {
            output::say(&format!("fleetcheck: cannot listen for signals: {error}"));
            return BAD;
        }
    };
    match answer {
        Some(Ok(report)) => show(&report, mode, json),
        Some(Err(error)) => refuse(&error, &flake, json),
        None => {
            output::say("fleetcheck: stopped at once; flake.lock is as it was");
            BAD
        }
    }
}

/// Runs the search and shows what it does.
async fn watch(
    request: UpdateRequest,
) -> std::io::Result<Option<Result<UpdateReport, UpdateError>>> {
    let stop = CancellationToken::new();
    let (mut observe, events) = watch::events();
    let engine = Box::pin(update(request, &mut observe, stop.clone()));
    watch::watch(engine, events, observed, &stop).await
}

/// Each set of inputs that is tried has a board of its own.
fn observed(mut progress: Progress, event: UpdateEvent) -> Progress {
    match event {
        UpdateEvent::Check(event) => progress.observe(event, Instant::now()),
        UpdateEvent::Looking(inputs) => progress.say(&words::looking(inputs)),
        UpdateEvent::NotFound(input, why) => progress.say(&words::not_found(&input, &why)),
        UpdateEvent::Trying { nth, moved, hosts } => {
            progress.finish();
            progress = Progress::on_stderr();
            progress.say(&words::trying(nth, &moved, hosts));
        }
    }
    progress
}

fn show(report: &UpdateReport, mode: Mode, json: bool) -> u8 {
    if json {
        print_document(&UpdateDocument::of(report, mode));
    } else {
        output::print(&words::result(report, mode));
    }
    let UpdateReport { held_back, not_found, unknown, .. } = report;
    let all_moved = held_back.is_empty() && not_found.is_empty() && unknown.is_empty();
    if all_moved { GOOD } else { BAD }
}

/// Nothing was found out.
fn refuse(error: &UpdateError, flake: &str, json: bool) -> u8 {
    let status = match error {
        UpdateError::NotAFolder { .. }
        | UpdateError::Glob { .. }
        | UpdateError::NoInput { .. }
        | UpdateError::Check(
            CheckError::UnknownHost { .. } | CheckError::Reference(_) | CheckError::Scratch { .. },
        ) => USAGE,
        UpdateError::Check(
            CheckError::Policy(_)
            | CheckError::PolicyFile { .. }
            | CheckError::Flake { .. }
            | CheckError::Stopped,
        )
        | UpdateError::Copy(_)
        | UpdateError::Gate(_)
        | UpdateError::Stopped => BAD,
    };
    if json && status == BAD {
        print_document(&UpdateDocument::refused(flake, error));
    }
    output::say(&format!("fleetcheck: {}", clean(&error.to_string())));
    status
}

fn print_document(document: &UpdateDocument) {
    match serde_json::to_string_pretty(document) {
        Ok(text) => output::print(&text),
        Err(error) => output::say(&format!("fleetcheck: cannot write the document: {error}")),
    }
}
