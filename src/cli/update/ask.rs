//! `fleetcheck update --repo OWNER/NAME`: the service is asked for an update pull request.
use crate::app;
use crate::cli::{BAD, GOOD, Settings, USAGE, output};
use crate::config::{Config, Environment};
use crate::domain::id::{Owner, RepositoryName};
use crate::domain::text::clean;
use crate::domain::update::life::{Cause, Update};
use crate::flow::new_id;
use crate::store::updates::Asked;
use crate::store::{Store, StoreError};

/// A repository as a person types it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    owner: Owner,
    name: RepositoryName,
}

/// Reads `OWNER/NAME`.
pub(super) fn named(text: &str) -> Result<Named, String> {
    let (owner, name) = text.split_once('/').ok_or("must be OWNER/NAME, like acme/fleet")?;
    let owner = owner.parse::<Owner>().map_err(|error| error.to_string())?;
    let name = name.parse::<RepositoryName>().map_err(|error| error.to_string())?;
    Ok(Named { owner, name })
}

pub(super) async fn run(repository: &Named, settings: &Settings, env: &Environment) -> u8 {
    let config = match Config::load(settings.config.as_deref(), env) {
        Ok(config) => config,
        Err(errors) => {
            output::say(&format!("fleetcheck: {errors}"));
            return USAGE;
        }
    };
    match ask(repository, &config).await {
        Ok(status) => status,
        Err(error) => {
            output::say(&format!("fleetcheck: store.url: {}", clean(&error.to_string())));
            BAD
        }
    }
}

async fn ask(repository: &Named, config: &Config) -> Result<u8, StoreError> {
    let Named { owner, name } = repository;
    let store = Store::open(config.store.url.reveal()).await?;
    let Some(known) = store.repository_named(owner, name).await? else {
        output::say(&format!(
            "fleetcheck: no repository {owner}/{name} is known here, or the App cannot act in it; \
             the service knows a repository from its first push on, if github.owners has its owner"
        ));
        return Ok(USAGE);
    };
    let now = app::system_clock().now();
    let update = Update::new(new_id(), known.id, Cause::Command, now);
    let (asked, _) = store.ask_for_update(&update, now).await?;
    output::print(&match asked {
        Asked::Begun(id) => format!(
            "update {id} of {owner}/{name} is asked for: the service begins within seconds; its log \
             and its overview say how it goes"
        ),
        Asked::Already(id) => format!("update {id} of {owner}/{name} is on its way already"),
    });
    Ok(GOOD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_is_named_with_its_owner() {
        let found = named("acme/fleet").unwrap();
        assert_eq!((found.owner.as_str(), found.name.as_str()), ("acme", "fleet"));
        for text in ["fleet", "acme/", "/fleet", "acme/fleet/x", "a b/c"] {
            assert!(named(text).is_err(), "{text}");
        }
    }
}
