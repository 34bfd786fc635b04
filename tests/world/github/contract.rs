//! GitHub's own description of its API, as one JSON Schema per operation.
//!
//! `tests/contract/github-contract.py` makes the file from npm's `@octokit/openapi`;
//! `tests/run.sh` runs it.
use std::collections::HashMap;
use std::path::PathBuf;

use serde_json::{Value, json};

/// What becomes of the description where it is not at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contract {
    /// The test fails: what is not checked is not known.
    Required,
    /// For the demo, which installs no npm.
    IfPresent,
}

pub(super) struct Operations(Option<HashMap<String, Option<jsonschema::Validator>>>);

impl Operations {
    pub(super) fn load(contract: Contract) -> Self {
        let file = std::env::var_os("FLEETCHECK_GITHUB_SCHEMA").map_or_else(
            || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/target/github-contract.json")),
            PathBuf::from,
        );
        let text = match (std::fs::read(&file), contract) {
            (Ok(text), _) => text,
            (Err(_), Contract::IfPresent) => return Self(None),
            (Err(error), Contract::Required) => panic!(
                "{}: {error}. GitHub's description is made by ./tests/run.sh; run that once, or \
                 name the file in FLEETCHECK_GITHUB_SCHEMA.",
                file.display()
            ),
        };
        let mut document: Value = serde_json::from_slice(&text).unwrap();
        let components = document["components"].take();
        let operations = document["ops"].as_object().unwrap().iter().map(|(name, schema)| {
            let schema = json!({ "components": components, "allOf": [schema] });
            // An operation without a body has `true` for a schema.
            let validator = (schema["allOf"][0] != true).then(|| jsonschema::draft7::new(&schema));
            (name.clone(), validator.map(Result::unwrap))
        });
        Self(Some(operations.collect()))
    }

    /// What is wrong with a body by GitHub's description of `POST /repos/{owner}/…`.
    pub(super) fn objection(&self, operation: &str, body: &Value) -> Option<String> {
        let Some(operations) = &self.0 else { return None };
        match operations.get(operation) {
            None => Some(format!("{operation} is not in GitHub's description")),
            Some(None) => None,
            Some(Some(validator)) => validator
                .iter_errors(body)
                .next()
                .map(|error| format!("{operation}: {} {error}", error.instance_path())),
        }
    }
}
