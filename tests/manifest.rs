//! `app-manifest.json` asks for exactly what the code uses.
#![expect(clippy::unwrap_used, reason = "tests may panic")]
use std::collections::{BTreeMap, BTreeSet};

use fleetcheck::github::{EVENTS, PERMISSIONS};
use serde_json::Value;

fn manifest() -> Value {
    serde_json::from_str(include_str!("../app-manifest.json")).unwrap()
}

#[test]
fn the_manifest_asks_for_exactly_the_events_that_are_acted_on() {
    let manifest = manifest();
    let asked: BTreeSet<&str> = manifest["default_events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it.as_str().unwrap())
        .collect();
    assert_eq!(asked, BTreeSet::from(EVENTS));
}

#[test]
fn the_manifest_asks_for_exactly_the_permissions_that_are_used() {
    let manifest = manifest();
    let asked: BTreeSet<(&str, &str)> = manifest["default_permissions"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(permission, level)| (permission.as_str(), level.as_str().unwrap()))
        .collect();
    let used: BTreeSet<(&str, &str)> = PERMISSIONS.into_iter().flatten().copied().collect();
    assert_eq!(asked, used);
    let levels: BTreeMap<&str, &str> = used.iter().copied().collect();
    assert_eq!(levels.len(), used.len(), "a permission is used with one level only");
}

#[test]
fn the_manifest_has_what_github_requires_and_nothing_it_does_not_know() {
    let manifest = manifest();
    assert_eq!(manifest["public"], false, "one's own App is nobody else's to install");
    for required in [&manifest["url"], &manifest["hook_attributes"]["url"]] {
        assert!(required.as_str().unwrap().starts_with("https://"), "{required}");
    }
    let known = [
        "name",
        "url",
        "hook_attributes",
        "redirect_url",
        "callback_urls",
        "setup_url",
        "description",
        "public",
        "default_events",
        "default_permissions",
        "request_oauth_on_install",
        "setup_on_update",
    ];
    for key in manifest.as_object().unwrap().keys() {
        assert!(known.contains(&key.as_str()), "{key}");
    }
}
