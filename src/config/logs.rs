//! `[logs]`: the bucket that finished logs are kept in, for all instances.
use std::fmt;
use std::path::PathBuf;

use crate::config::reader::Reader;
use crate::config::value::{Given, Wrong, is_word};
use crate::config::{Sealed, secret, value};

/// `[logs]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Logs {
    /// Where finished logs are kept, if not in `store.directory` alone.
    pub bucket: Option<Bucket>,
}

/// A bucket that speaks S3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    pub bucket: String,
    /// What names of objects begin with: nothing, or words each followed by a slash.
    pub prefix: String,
    /// Without a slash at the end; Amazon's own where there is none.
    pub endpoint: Option<String>,
    pub region: Option<String>,
    /// Without them: those that the environment has, or the machine.
    pub keys: Option<BucketKeys>,
}

/// Who we are to the bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketKeys {
    pub access_key_id: String,
    pub secret_access_key: Sealed,
    /// Where the secret stands.
    pub file: PathBuf,
}

impl Bucket {
    /// As the settings say it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("s3://{}/{}", self.bucket, self.prefix).trim_end_matches('/').to_owned()
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url())?;
        match &self.endpoint {
            Some(endpoint) => write!(f, " at {endpoint}"),
            None => Ok(()),
        }
    }
}

/// What the section says, which need not be there.
pub(super) fn read(reader: &mut Reader<'_>) -> Option<Logs> {
    let is_given = reader.has("logs");
    let mut section = reader.section("logs");
    if !is_given {
        return Some(Logs::default());
    }
    let url = section.required("url", "\"s3://BUCKET/PREFIX\"", url);
    let endpoint = section.or("endpoint", None, |given| {
        value::private_url(given, "https://s3.example.org").map(Some)
    });
    let region = section.or("region", None, |given| region(given).map(Some));
    let keys = if section.has_any(&["access_key_id", "secret_access_key_file"]) {
        let id = section.required("access_key_id", "\"KEY\"", access_key_id);
        let file = "\"/run/credentials/fleetcheck.service/logs\"";
        let secret = section.required("secret_access_key_file", file, secret::one);
        id.zip(secret).map(|(access_key_id, (file, secret_access_key))| {
            Some(BucketKeys { access_key_id, secret_access_key, file })
        })
    } else {
        Some(None)
    };
    section.finish();
    let (bucket, prefix) = url?;
    let bucket = Some(Bucket { bucket, prefix, endpoint: endpoint?, region: region?, keys: keys? });
    Some(Logs { bucket })
}

/// `s3://BUCKET/PREFIX`. Whoever writes a secret into it does not find it repeated.
fn url(given: &Given<'_>) -> Result<(String, String), Wrong> {
    let wrong =
        || Wrong::wanted("a bucket and what its objects' names begin with, \"s3://BUCKET/PREFIX\"");
    let text = given.text().ok_or_else(wrong)?;
    if text.contains(['@', '?']) {
        return Err(wrong().found("an address with a user or parameters in it").remedy(
            "the key has settings of its own, `access_key_id` and `secret_access_key_file`",
        ));
    }
    let rest = text.strip_prefix("s3://").ok_or_else(wrong)?;
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let prefix = prefix.trim_end_matches('/');
    let is_bucket = (3..=63).contains(&bucket.len())
        && bucket
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-".contains(&b))
        && bucket.starts_with(|c: char| c.is_ascii_alphanumeric());
    if !is_bucket {
        return Err(
            wrong().remedy("a bucket's name has 3 to 63 lower-case letters, digits, `.` and `-`")
        );
    }
    match prefix {
        "" => Ok((bucket.to_owned(), String::new())),
        words if words.split('/').all(is_word) => Ok((bucket.to_owned(), format!("{words}/"))),
        _ => Err(wrong().remedy(
            "what is between two slashes has letters, digits, `.`, `_`, `-` and `+`, not beginning \
             with a sign",
        )),
    }
}

fn region(given: &Given<'_>) -> Result<String, Wrong> {
    let text = given.text().filter(|it| is_word(it));
    text.map(str::to_owned).ok_or_else(|| Wrong::wanted("a region like \"eu-central-1\""))
}

/// Not repeated when it is wrong: it may be the secret that belongs to it.
fn access_key_id(given: &Given<'_>) -> Result<String, Wrong> {
    let is_id =
        |it: &&str| (1..=128).contains(&it.len()) && it.bytes().all(|b| b.is_ascii_graphic());
    given.text().filter(is_id).map(str::to_owned).ok_or_else(|| {
        Wrong::wanted("the id of an access key, one word")
            .found("something else, not shown as it may be the secret itself")
    })
}
