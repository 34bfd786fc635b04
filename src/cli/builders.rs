//! `fleetcheck builders`: how it stands with each, and taking one out of rotation by hand.
use clap::{Args, Subcommand};
use comfy_table::{ContentArrangement, Table, presets};

use crate::app;
use crate::cli::{BAD, GOOD, Settings, USAGE, output};
use crate::config::{Config, Environment};
use crate::domain::builder::Builder;
use crate::domain::page::bytes;
use crate::domain::text::clean;
use crate::store::{Store, StoreError};

/// What can be asked of `builders`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    /// Let no new build go to a builder; what runs there goes on to its end
    Drain {
        /// Its name in the settings
        name: String,
    },
    /// Let builds go to a builder again
    Undrain {
        /// Its name in the settings
        name: String,
    },
}

pub(super) async fn run(arguments: Arguments, env: &Environment) -> u8 {
    let config = match Config::load(arguments.settings.config.as_deref(), env) {
        Ok(config) => config,
        Err(errors) => {
            output::say(&format!("fleetcheck: {errors}"));
            return USAGE;
        }
    };
    match answer(&config, arguments.command).await {
        Ok(status) => status,
        Err(error) => {
            output::say(&format!("fleetcheck: store.url: {}", clean(&error.to_string())));
            BAD
        }
    }
}

async fn answer(config: &Config, command: Option<Command>) -> Result<u8, StoreError> {
    let store = Store::open(config.store.url.reveal()).await?;
    let (name, at) = match command {
        None => {
            output::print(&list(&store.builders().await?));
            return Ok(GOOD);
        }
        Some(Command::Drain { name }) => (name, Some(app::system_clock().now())),
        Some(Command::Undrain { name }) => (name, None),
    };
    if store.drain(&name, at).await? {
        output::print(&match at {
            Some(_) => format!(
                "{name}: no new build goes there until `fleetcheck builders undrain {name}`"
            ),
            None => format!("{name}: builds go there again"),
        });
        return Ok(GOOD);
    }
    let known: Vec<String> = store.builders().await?.into_iter().map(|it| it.name).collect();
    let known = if known.is_empty() {
        "none: the service learns them from its settings when it starts".to_owned()
    } else {
        known.join(", ")
    };
    output::say(&format!("fleetcheck: there is no builder `{}`; there are {known}", clean(&name)));
    Ok(USAGE)
}

fn list(builders: &[Builder]) -> String {
    if builders.is_empty() {
        return "No builder is known yet: the service learns them from its settings when it starts."
            .to_owned();
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(["BUILDER", "SYSTEMS", "SLOTS", "NIX", "FREE", "LOAD", "STATE"]);
    for it in builders {
        let or_dash = |it: &Option<String>| it.as_deref().map_or("-".to_owned(), clean);
        let state = std::iter::once(it.sentence()).chain(it.remarks()).collect::<Vec<_>>();
        table.add_row([
            it.name.clone(),
            it.capability.systems.join(", "),
            it.slots.to_string(),
            or_dash(&it.facts.version),
            it.facts.free.map_or("-".to_owned(), bytes),
            or_dash(&it.facts.load),
            clean(&state.join("; ")),
        ]);
    }
    table.trim_fmt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Timestamp;
    use crate::domain::builder::{Condition, Facts, Speed};
    use crate::domain::plan::Capability;

    #[test]
    fn each_builder_is_a_line_that_says_how_it_stands() {
        let builder = |name: &str, condition| Builder {
            name: name.into(),
            capability: Capability {
                systems: vec!["aarch64-linux".into()],
                features: vec![],
                mandatory: vec![],
            },
            slots: 4,
            speed: Speed::default(),
            busy: 0,
            condition,
            since: Timestamp(50_520_000),
            looked_at: Timestamp(50_520_000),
            suspect_at: None,
            drained_at: None,
            facts: Facts::default(),
        };
        let mut ready = builder("basestar", Condition::Ready);
        ready.facts = Facts {
            version: Some("2.34.8".into()),
            free: Some(21 << 30),
            load: Some("0.52".into()),
            ahead: Some(400),
            ..Facts::default()
        };
        let why = "ssh: connect to host pegasus port 22: Connection refused".to_owned();
        let away = builder("pegasus", Condition::Unreachable { why });
        insta::assert_snapshot!(list(&[ready, away]), @r"
        BUILDER   SYSTEMS        SLOTS  NIX     FREE      LOAD  STATE
        basestar  aarch64-linux  4      2.34.8  21.0 GiB  0.52  ready since 14:02 UTC; its clock is 400 s ahead
        pegasus   aarch64-linux  4      -       -         -     unreachable since 14:02 UTC: ssh: connect to host pegasus port 22: Connection refused
        ");
    }
}
