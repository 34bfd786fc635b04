//! `fleetcheck check`: the service's engine, here and now, shown in the terminal.
use clap::Args;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::cli::document::CheckDocument;
use crate::cli::progress::Progress;
use crate::cli::{BAD, GOOD, Settings, USAGE, output, table, watch};
use crate::config::{Builder, Config, Environment};
use crate::domain::text::clean;
use crate::domain::verdict::Verdict;
use crate::flow::check::{CheckError, CheckReport, CheckRequest, check};

/// What can be asked of `check`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// A path or any flake reference: git+file:…, github:OWNER/REPO, …
    #[arg(default_value = ".")]
    flake: String,
    /// Check this host only; may be given several times
    ///
    /// NAME as checks show it: a host's name, or an attribute path like
    /// `checks.x86_64-linux.lint`.
    #[arg(long = "host", value_name = "NAME")]
    hosts: Vec<String>,
    /// Build on this builder of the settings instead of this machine
    ///
    /// Every host is built there, if the builder does its system; what is built stays there.
    #[arg(long, value_name = "NAME")]
    builder: Option<String>,
    /// Print one JSON document to standard output instead of the table
    ///
    /// The progress still goes to standard error.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: Settings,
}

pub(super) async fn run(arguments: Arguments, env: &Environment) -> u8 {
    let config = match Config::for_check(arguments.settings.config.as_deref(), env) {
        Ok(config) => config,
        Err(errors) => {
            output::say(&format!("fleetcheck: {errors}"));
            return USAGE;
        }
    };
    let builders = match of_one_machine(config.builders, arguments.builder.as_deref()) {
        Ok(builders) => builders,
        Err(words) => {
            output::say(&format!("fleetcheck: {words}"));
            return USAGE;
        }
    };
    let request = CheckRequest {
        flake: arguments.flake.clone(),
        hosts: arguments.hosts,
        nix: config.nix,
        builders,
        scratch: config.scratch,
    };
    let answer = match watch(request).await {
        Ok(answer) => answer,
        Err(error) => {
            output::say(&format!("fleetcheck: cannot listen for signals: {error}"));
            return BAD;
        }
    };
    match answer {
        Some(Ok(report)) => show(&report, arguments.json),
        Some(Err(error)) => refuse(&error, &arguments.flake, arguments.json),
        None => {
            output::say("fleetcheck: stopped at once; nothing more is known");
            BAD
        }
    }
}

/// The named builder, or those of the settings that are this machine.
fn of_one_machine(all: Vec<Builder>, name: Option<&str>) -> Result<Vec<Builder>, String> {
    let Some(name) = name else {
        return Ok(all.into_iter().filter(|it| it.store.is_none()).collect());
    };
    let known = all.iter().map(|it| it.name.clone()).collect::<Vec<_>>().join(", ");
    let found = all.into_iter().find(|it| it.name == name);
    found.map(|it| vec![it]).ok_or_else(|| {
        format!(
            "--builder: no builder of the settings is called `{}`; there are {known}",
            clean(name)
        )
    })
}

/// Runs the engine and shows what it does.
async fn watch(request: CheckRequest) -> std::io::Result<Option<Result<CheckReport, CheckError>>> {
    let stop = CancellationToken::new();
    let (mut observe, events) = watch::events();
    let engine = Box::pin(check(request, &mut observe, stop.clone()));
    let shown = |mut progress: Progress, event| {
        progress.observe(event, Instant::now());
        progress
    };
    watch::watch(engine, events, shown, &stop).await
}

fn show(report: &CheckReport, json: bool) -> u8 {
    if json {
        print_document(&CheckDocument::of(report));
    } else {
        output::print(&table::result(report));
    }
    let passes = report.verdict == Some(Verdict::Passed) && !report.interrupted;
    if passes { GOOD } else { BAD }
}

/// Nothing was checked. What is wrong with the flake is an answer all the same.
fn refuse(error: &CheckError, flake: &str, json: bool) -> u8 {
    let status = match error {
        CheckError::UnknownHost { .. } | CheckError::Reference(_) | CheckError::Scratch { .. } => {
            USAGE
        }
        CheckError::Policy(_)
        | CheckError::PolicyFile { .. }
        | CheckError::Flake { .. }
        | CheckError::Stopped => BAD,
    };
    if json && status == BAD {
        print_document(&CheckDocument::refused(flake, error));
    }
    output::say(&format!("fleetcheck: {}", clean(&error.to_string())));
    status
}

fn print_document(document: &CheckDocument) {
    match serde_json::to_string_pretty(document) {
        Ok(text) => output::print(&text),
        Err(error) => output::say(&format!("fleetcheck: cannot write the document: {error}")),
    }
}
