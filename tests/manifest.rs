//! `app-manifest.json` asks for exactly what the code uses, and so does the App of updates' own.
#![expect(clippy::unwrap_used, reason = "tests may panic")]
use std::collections::{BTreeMap, BTreeSet};

use fleetcheck::github::{EVENTS, PERMISSIONS, UPDATE_PERMISSIONS};
use serde_json::Value;

fn manifest() -> Value {
    serde_json::from_str(include_str!("../app-manifest.json")).unwrap()
}

fn updater_manifest() -> Value {
    serde_json::from_str(include_str!("../deploy/app-manifest-updater.json")).unwrap()
}

fn permissions(manifest: &Value) -> BTreeSet<(&str, &str)> {
    manifest["default_permissions"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(permission, level)| (permission.as_str(), level.as_str().unwrap()))
        .collect()
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
    let asked = permissions(&manifest);
    let used: BTreeSet<(&str, &str)> = PERMISSIONS.into_iter().flatten().copied().collect();
    assert_eq!(asked, used);
    let levels: BTreeMap<&str, &str> = used.iter().copied().collect();
    assert_eq!(levels.len(), used.len(), "a permission is used with one level only");
}

#[test]
fn the_manifest_of_the_app_of_updates_asks_for_what_updates_use_and_hears_nothing() {
    let manifest = updater_manifest();
    assert_eq!(permissions(&manifest), UPDATE_PERMISSIONS.iter().copied().collect());
    assert_eq!(manifest["default_events"], serde_json::json!([]));
    assert_eq!(manifest["hook_attributes"]["active"], false);
}

#[test]
fn the_manifests_have_what_github_requires_and_nothing_it_does_not_know() {
    for manifest in [manifest(), updater_manifest()] {
        is_well_formed(&manifest);
    }
}

fn is_well_formed(manifest: &Value) {
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
