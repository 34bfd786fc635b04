//! Finished logs in a bucket that speaks S3: what one instance has written, all of them read.
//!
//! The bucket has the files of [`LogStore`] under the same names, so `zstdcat` shows them. What the
//! bucket answers is told in our words: its own may quote a session's token.
use std::fmt;
use std::io::{self, Write as _};
use std::time::Duration;

use futures::StreamExt as _;
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::path::Path;
use object_store::{BackoffConfig, ClientConfigKey, ObjectStoreExt as _, RetryConfig};
use tokio::time::timeout;

use crate::config::Bucket;
use crate::domain::id::AttemptId;
use crate::nix::log::{LogStore, name};

/// No connection within this time is no answer.
const CONNECT: Duration = Duration::from_secs(5);
/// For one request with all that it brings: 64 MiB that did not get smaller, over a slow line.
const REQUEST: Duration = Duration::from_mins(3);
/// After this time a request that failed is not repeated.
const RETRY: Duration = Duration::from_secs(10);
const RETRIES: usize = 3;
/// A reader waits so long for the first bytes, and between two pieces.
const READER: Duration = Duration::from_secs(15);

/// The bucket, and the place of logs here.
pub struct Archive {
    bucket: AmazonS3,
    prefix: String,
    logs: LogStore,
    /// For people.
    name: String,
}

/// Without the client, which shows its key.
impl fmt::Debug for Archive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Archive").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Why a log is not carried. No text of it is the bucket's own.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error("{name}: {why}")]
    Bucket { name: String, why: String },
    /// The bucket answers, and does not have it.
    #[error("{name} does not have it")]
    Missing { name: String },
    #[error("the log here: {0}")]
    Here(#[from] io::Error),
}

impl Archive {
    /// Speaks with nobody yet.
    ///
    /// # Errors
    /// When what stands in `AWS_…` of the environment cannot be used.
    pub fn new(settings: &Bucket, logs: LogStore) -> Result<Self, ArchiveError> {
        let Bucket { bucket, prefix, endpoint, region, keys } = settings;
        let name = settings.to_string();
        let mut builder = match keys {
            Some(keys) => AmazonS3Builder::new()
                .with_access_key_id(&keys.access_key_id)
                .with_secret_access_key(keys.secret_access_key.reveal()),
            None => AmazonS3Builder::from_env(),
        };
        if let Some(region) = region {
            builder = builder.with_region(region);
        }
        if let Some(endpoint) = endpoint {
            builder = builder.with_endpoint(endpoint);
            builder = builder.with_allow_http(endpoint.starts_with("http://"));
        }
        for (key, limit) in
            [(ClientConfigKey::ConnectTimeout, CONNECT), (ClientConfigKey::Timeout, REQUEST)]
        {
            let limit = format!("{} s", limit.as_secs());
            builder = builder.with_config(AmazonS3ConfigKey::Client(key), limit);
        }
        let retry = RetryConfig {
            backoff: BackoffConfig { max_backoff: Duration::from_secs(2), ..Default::default() },
            max_retries: RETRIES,
            retry_timeout: RETRY,
        };
        let built = builder.with_bucket_name(bucket).with_retry(retry).build();
        let told = |error| ArchiveError::Bucket { name: name.clone(), why: why(&error) };
        Ok(Self { bucket: built.map_err(told)?, prefix: prefix.clone(), logs, name })
    }

    /// Puts a log into the bucket, over one of the same attempt; `false` when there is none here.
    ///
    /// # Errors
    /// When it is not there afterwards, or the log here cannot be read.
    pub async fn put(&self, attempt: &AttemptId) -> Result<bool, ArchiveError> {
        let (logs, id) = (self.logs.clone(), attempt.clone());
        let packed = tokio::task::spawn_blocking(move || logs.packed(&id)).await;
        let Some(packed) = packed.map_err(io::Error::other)?? else { return Ok(false) };
        let put = self.bucket.put(&self.key(attempt), packed.into()).await;
        put.map_err(|it| self.told(&it))?;
        Ok(true)
    }

    /// Brings a log here, over one of the same attempt. Whoever else does the same at that time
    /// brings another copy, and each is whole before it takes its place.
    ///
    /// # Errors
    /// [`ArchiveError::Missing`] when the bucket does not have it.
    pub async fn get(&self, attempt: &AttemptId) -> Result<(), ArchiveError> {
        let key = self.key(attempt);
        let found = timeout(READER, self.bucket.get(&key)).await.map_err(|_| self.silent())?;
        let mut pieces = found.map_err(|it| self.told(&it))?.into_stream();
        let mut arriving = self.logs.arriving(attempt)?;
        while let Some(piece) = timeout(READER, pieces.next()).await.map_err(|_| self.silent())? {
            arriving.file.write_all(&piece.map_err(|it| self.told(&it))?)?;
        }
        arriving.keep()?;
        Ok(())
    }

    /// Removes a log from the bucket. It need not be there.
    ///
    /// # Errors
    /// When it may still be there.
    pub async fn remove(&self, attempt: &AttemptId) -> Result<(), ArchiveError> {
        self.remove_key(&self.key(attempt)).await
    }

    /// Does everything once that is done with logs: for a person who wants to know whether it works.
    ///
    /// # Errors
    /// What does not.
    pub async fn try_out(&self) -> Result<(), ArchiveError> {
        let key = Path::from(format!("{}fleetcheck-doctor", self.prefix));
        let put = self.bucket.put(&key, "written, read and removed\n".into()).await;
        put.map_err(|it| self.told(&it))?;
        let found = self.bucket.get(&key).await.map_err(|it| self.told(&it))?;
        found.bytes().await.map_err(|it| self.told(&it))?;
        self.remove_key(&key).await
    }

    async fn remove_key(&self, key: &Path) -> Result<(), ArchiveError> {
        match self.bucket.delete(key).await.map_err(|it| self.told(&it)) {
            Err(ArchiveError::Missing { .. }) | Ok(()) => Ok(()),
            Err(error @ (ArchiveError::Bucket { .. } | ArchiveError::Here(_))) => Err(error),
        }
    }

    /// As [`LogStore`] names files.
    fn key(&self, attempt: &AttemptId) -> Path {
        Path::from(format!("{}{}", self.prefix, name(attempt)))
    }

    fn silent(&self) -> ArchiveError {
        let why = format!("no answer within {} s", READER.as_secs());
        ArchiveError::Bucket { name: self.name.clone(), why }
    }

    fn told(&self, error: &object_store::Error) -> ArchiveError {
        let (name, why) = (self.name.clone(), why(error));
        let missing = matches!(error, object_store::Error::NotFound { .. });
        if missing && !why.contains("NoSuchBucket") {
            return ArchiveError::Missing { name };
        }
        ArchiveError::Bucket { name, why }
    }
}

/// What is wrong, in words that hold nothing of the answer but S3's name for it.
fn why(error: &object_store::Error) -> String {
    let all = error.to_string();
    if all.contains("/latest/api/token") || all.contains("/latest/meta-data/") {
        // It is the machine that was asked, as Amazon's are, and not the bucket.
        return "there is no key for it, neither in `[logs]` nor in AWS_ACCESS_KEY_ID and \
                AWS_SECRET_ACCESS_KEY, and this machine has no role that gives one"
            .to_owned();
    }
    let innermost = innermost(error).to_string();
    let code = innermost
        .split_once("<Code>")
        .and_then(|(_, rest)| rest.split_once("</Code>"))
        .map(|(code, _)| code)
        .filter(|it| it.len() <= 60 && it.bytes().all(|b| b.is_ascii_alphanumeric()));
    match code {
        Some("NoSuchBucket") => {
            "there is no such bucket (NoSuchBucket); make it, or change `logs.url`".to_owned()
        }
        Some(code @ ("InvalidAccessKeyId" | "SignatureDoesNotMatch")) => format!(
            "the key is refused ({code}); `logs.access_key_id` and `logs.secret_access_key_file`, \
             or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, must be one of the bucket's"
        ),
        Some("AccessDenied") => "the key may not do this (AccessDenied); it needs to put, get and \
             delete objects below `logs.url`"
            .to_owned(),
        Some(code) => format!("it answers {code}"),
        None => match innermost.strip_prefix("Server returned non-2xx status code: ") {
            Some(status) => format!("it answers {}", status.split(':').next().unwrap_or_default()),
            None => innermost.lines().next().unwrap_or_default().chars().take(200).collect(),
        },
    }
}

/// What is around it quotes requests.
fn innermost(error: &dyn std::error::Error) -> &dyn std::error::Error {
    let mut reason = error;
    while let Some(source) = reason.source() {
        reason = source;
    }
    reason
}
