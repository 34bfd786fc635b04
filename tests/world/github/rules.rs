//! What GitHub enforces and its description does not say, or says only in prose.
use octocrab::jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde_json::Value;

use super::answer::Answer;
use super::checks::Run;

/// The App whose JWT this is, if it is of this moment.
pub(super) fn app_of(
    jwt: &str,
    apps: &[(u64, Vec<&'static str>)],
    now: i64,
) -> Result<u64, Answer> {
    let mut validation = Validation::new(Algorithm::RS256);
    // Looked at below, by GitHub's clock and in GitHub's words.
    validation.validate_exp = false;
    validation.required_spec_claims.clear();
    let signed = |key: &&str| {
        let key = DecodingKey::from_rsa_pem(key.as_bytes()).unwrap();
        decode::<Value>(jwt, &key, &validation).ok().map(|it| it.claims)
    };
    let by_app = apps.iter().flat_map(|(app, keys)| keys.iter().map(move |key| (*app, key)));
    let signed: Vec<(u64, Value)> =
        by_app.filter_map(|(app, key)| signed(key).map(|claims| (app, claims))).collect();
    if signed.is_empty() {
        return Err(Answer::refused(401, "A JSON web token could not be decoded"));
    }
    let issuer = |claims: &Value| {
        claims["iss"].as_str().map_or_else(|| claims["iss"].to_string(), str::to_owned)
    };
    let named = signed.into_iter().find(|(app, claims)| issuer(claims) == app.to_string());
    let Some((app, claims)) = named else {
        return Err(Answer::refused(404, "Integration not found"));
    };
    let now = now / 1000;
    let refused = |message| Err(Answer::refused(401, message));
    match (claims["iat"].as_i64(), claims["exp"].as_i64()) {
        (_, Some(exp)) if exp <= now => refused(
            "'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires",
        ),
        (_, Some(exp)) if exp > now + 600 => {
            refused("'Expiration time' claim ('exp') is too far in the future")
        }
        (Some(iat), Some(_)) if iat <= now => Ok(app),
        _ => refused(
            "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued",
        ),
    }
}

/// What is wrong with the body of a check run, besides its shape.
pub(super) fn check_run(body: &Value) -> Option<String> {
    if body["status"] == "completed" && body["conclusion"].is_null() {
        return Some("a completed check run needs a conclusion".into());
    }
    if let Some(status) = body["status"].as_str()
        && !["queued", "in_progress", "completed"].contains(&status)
    {
        return Some(format!("only GitHub Actions may set status {status}"));
    }
    if body["conclusion"] == "stale" {
        return Some("only GitHub may set conclusion stale".into());
    }
    if let Some(url) = body["details_url"].as_str()
        && !url.starts_with("http://")
        && !url.starts_with("https://")
    {
        return Some(format!("details_url must use http or https: {url}"));
    }
    actions(&body["actions"]).or_else(|| output(&body["output"]))
}

fn actions(actions: &Value) -> Option<String> {
    let actions = actions.as_array()?;
    if actions.len() > 3 {
        return Some("actions exceeds a maximum quantity of 3".into());
    }
    let long = |it: &Value, key: &str, most: usize| {
        it[key].as_str().is_none_or(|text| text.is_empty() || text.chars().count() > most)
    };
    actions
        .iter()
        .any(|it| {
            long(it, "label", 20) || long(it, "description", 40) || long(it, "identifier", 20)
        })
        .then(|| "an action is too long, or lacks something".into())
}

fn output(output: &Value) -> Option<String> {
    for key in ["summary", "text"] {
        if output[key].as_str().is_some_and(|it| it.chars().count() > 65_535) {
            return Some(format!("{key}: Only 65535 characters are allowed"));
        }
    }
    let annotations = output["annotations"].as_array().map_or(&[][..], Vec::as_slice);
    if annotations.len() > 50 {
        return Some("annotations exceeds a maximum quantity of 50".into());
    }
    annotations.iter().find_map(|it| {
        let length = |key: &str| it[key].as_str().map_or(0, str::len);
        if it["start_line"].as_i64().is_none_or(|line| line < 1) {
            return Some("start_line counts from 1".into());
        }
        if it["title"].as_str().is_some_and(|title| title.chars().count() > 255) {
            return Some("title is too long (maximum is 255 characters)".into());
        }
        (length("message") > 65_536 || length("path") == 0)
            .then(|| "message is too long, or path is empty".into())
    })
}

/// A completed check run stays completed: a re-run is a new check run.
pub(super) fn update(run: &Run, body: &Value) -> Option<String> {
    let conclusion = run.conclusion.as_deref()?;
    let moves = |key: &str, is: &str| body[key].as_str().is_some_and(|it| it != is);
    (moves("status", "completed") || moves("conclusion", conclusion))
        .then(|| format!("a completed check run cannot be reopened: {}", run.line()))
}

/// What is wrong with the body of a commit status, besides its shape.
pub(super) fn status(body: &Value) -> Option<String> {
    let characters = body["description"].as_str().map_or(0, |it| it.chars().count());
    (characters > 140).then(|| "description is too long (maximum is 140 characters)".into())
}
