//! Files that hold secrets: the App's key, the webhook's secrets, a bucket's key. No message repeats
//! any of it.
use std::path::PathBuf;

use octocrab::jsonwebtoken::{Algorithm, EncodingKey, Header, encode};

use crate::config::Sealed;
use crate::config::source::read_limited;
use crate::config::value::{Given, Wrong, shorten};

/// The file named, with its content; a relative path is not repeated, as it may be the secret.
fn secret_file(text: &str) -> Result<(PathBuf, Vec<u8>), Wrong> {
    let path = PathBuf::from(text);
    if !path.is_absolute() {
        return Err(Wrong::wanted("the absolute path of a file")
            .found("other text, not shown as it may be the secret itself"));
    }
    match read_limited(&path) {
        Ok(bytes) => Ok((path, bytes)),
        Err(error) => Err(Wrong::wanted("a file that can be read")
            .found(format!("\"{}\", which cannot be read ({error})", shorten(text)))
            .remedy("write it there, readable by the user that runs fleetcheck")),
    }
}

/// The App's key, and the file it is in.
pub(super) fn private_key(given: &Given<'_>) -> Result<Vec<(PathBuf, Sealed)>, Wrong> {
    let text = given.text().ok_or_else(|| Wrong::wanted("the absolute path of a file"))?;
    key(text).map(|it| vec![it])
}

/// The App's keys and the files they are in, the newest first.
pub(super) fn private_keys(given: &Given<'_>) -> Result<Vec<(PathBuf, Sealed)>, Wrong> {
    let wrong = || Wrong::wanted("a list of absolute paths of files, each with a key of the App");
    let names = given.list().filter(|names| !names.is_empty()).ok_or_else(wrong)?;
    all(&names.iter().map(|name| key(name)).collect::<Vec<_>>()).map_err(|bad| {
        wrong().found(bad).remedy(
            "each must be an RSA key as PEM, readable for fleetcheck, as the App's settings page \
             makes them under \"Private keys\"",
        )
    })
}

/// What every one of them gave, or everything that is wrong with any.
fn all(read: &[Result<(PathBuf, Sealed), Wrong>]) -> Result<Vec<(PathBuf, Sealed)>, String> {
    let bad: Vec<&str> = read
        .iter()
        .filter_map(|it| it.as_ref().err())
        .map(|wrong| wrong.found.as_deref().unwrap_or("something else"))
        .collect();
    if bad.is_empty() {
        Ok(read.iter().filter_map(|it| it.as_ref().ok()).cloned().collect())
    } else {
        Err(bad.join(" and "))
    }
}

fn key(text: &str) -> Result<(PathBuf, Sealed), Wrong> {
    let (path, bytes) = secret_file(text)?;
    let not_a_key = |what: String| {
        Wrong::wanted("the App's private key, an RSA key as PEM")
            .found(format!("\"{}\", which holds {what}", shorten(text)))
            .remedy("make one on the App's settings page under \"Private keys\"")
    };
    let pem = String::from_utf8(bytes)
        .map_err(|error| not_a_key(format!("{} bytes that are no text", error.as_bytes().len())))?;
    if can_sign(&pem) { Ok((path, Sealed::new(pem))) } else { Err(not_a_key(contents(&pem))) }
}

/// A public key can be read as a key too; only a private one signs.
fn can_sign(pem: &str) -> bool {
    EncodingKey::from_rsa_pem(pem.as_bytes()).is_ok_and(|key| {
        encode(&Header::new(Algorithm::RS256), &serde_json::json!({}), &key).is_ok()
    })
}

/// What a file that is not a key holds, without repeating any of it but a PEM header.
fn contents(text: &str) -> String {
    if text.trim().is_empty() {
        return "nothing".to_owned();
    }
    text.lines()
        .find_map(|line| line.trim().strip_prefix("-----BEGIN ")?.strip_suffix("-----"))
        .map_or_else(
            || format!("{} bytes that are no PEM", text.len()),
            |label| format!("a PEM \"{}\" that cannot sign as RSA", shorten(label)),
        )
}

/// The webhook's secrets and the files they are in, the newest first.
pub(super) fn secrets(given: &Given<'_>) -> Result<Vec<(PathBuf, Sealed)>, Wrong> {
    let wrong = || Wrong::wanted("a list of absolute paths of files, each with a webhook secret");
    let names = given.list().filter(|names| !names.is_empty()).ok_or_else(wrong)?;
    all(&names.iter().map(|name| secret(name)).collect::<Vec<_>>()).map_err(|bad| {
        wrong()
            .found(bad)
            .remedy("write the secret of the App's webhook settings there, readable for fleetcheck")
    })
}

/// A secret, and the file it is in.
pub(super) fn one(given: &Given<'_>) -> Result<(PathBuf, Sealed), Wrong> {
    secret(given.text().ok_or_else(|| Wrong::wanted("the absolute path of a file"))?)
}

fn secret(name: &str) -> Result<(PathBuf, Sealed), Wrong> {
    let holds = |what| {
        Wrong::wanted("a secret").found(format!("\"{}\", which holds {what}", shorten(name)))
    };
    let (path, bytes) = secret_file(name)?;
    let text = String::from_utf8(bytes).map_err(|_| holds("bytes that are no text"))?;
    let secret = text.strip_suffix('\n').unwrap_or(&text);
    let secret = secret.strip_suffix('\r').unwrap_or(secret);
    if secret.is_empty() {
        return Err(holds("nothing"));
    }
    Ok((path, Sealed::new(secret.to_owned())))
}
