//! How git is run: its settings and the token in the environment alone, nothing of the machine's.
use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio_util::sync::CancellationToken;

use crate::config::Sealed;
use crate::nix::git::failure::{GitError, Remedy, classify};
use crate::nix::process::{self, Finished, Invocation, Limits, ProcessError};

/// The longest that a fetch may take; one that stands still ends after a minute.
const PATIENCE: Duration = Duration::from_mins(10);
/// Of stdout and of stderr each. The largest file that is read has 1 MiB.
const OUTPUT: usize = 4 << 20;
/// The longest that a mirror is tidied up for. Nobody waits for it: who wants the mirror ends it.
const UPKEEP_PATIENCE: Duration = Duration::from_hours(2);
/// What is listed of a mirror by then: 80 bytes a ref, so the refs of 800,000 commits.
const UPKEEP_OUTPUT: usize = 64 << 20;

/// Settings that nothing overrides.
const SETTINGS: [(&str, &str); 18] = [
    ("core.hooksPath", "/dev/null"),
    ("credential.helper", ""),
    ("http.followRedirects", "false"),
    ("http.lowSpeedLimit", "1000"),
    ("http.lowSpeedTime", "60"),
    ("protocol.allow", "never"),
    ("protocol.https.allow", "always"),
    ("submodule.recurse", "false"),
    ("fetch.recurseSubmodules", "false"),
    ("fetch.fsckObjects", "true"),
    // Blemishes of old histories, harmless here, that GitHub serves every day.
    ("fetch.fsck.zeroPaddedFilemode", "warn"),
    ("fetch.fsck.badTimezone", "warn"),
    ("fetch.fsck.missingSpaceBeforeDate", "warn"),
    ("fetch.fsck.missingSpaceBeforeEmail", "warn"),
    ("fetch.fsck.badEmail", "warn"),
    ("fetch.fsck.missingEmail", "warn"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
];

/// Of whoever started us: it would point git elsewhere, loosen it or make it talk.
const FOREIGN: [&str; 16] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_NAMESPACE",
    "GIT_TEMPLATE_DIR",
    "GIT_CONFIG_PARAMETERS",
    "GIT_CONFIG_SYSTEM",
    "GIT_ALLOW_PROTOCOL",
    "GIT_SSL_NO_VERIFY",
    "GIT_TRACE",
    "GIT_TRACE_CURL",
    "GIT_CURL_VERBOSE",
    "GIT_EXEC_PATH",
];

/// A token and the base URL of the server that may see it.
#[derive(Clone, Debug)]
pub(super) struct Credential<'a> {
    pub(super) base: &'a str,
    pub(super) token: &'a Sealed,
}

/// A command about one repository, ready to run.
pub(super) struct Git<'a> {
    /// The bare repository; also the home directory, so that no `.netrc` is found.
    pub(super) directory: &'a Path,
    pub(super) credential: Option<Credential<'a>>,
    /// `protocol.http.allow`: for a server on this machine.
    pub(super) plain_http: PlainHttp,
}

/// Whether http without TLS is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PlainHttp {
    Never,
    Loopback,
}

impl PlainHttp {
    /// Only for a server on this machine.
    pub(super) fn of(url: &str) -> Self {
        let host = url.strip_prefix("http://").map(|it| {
            let authority = it.split('/').next().unwrap_or_default();
            match authority.strip_prefix('[') {
                Some(six) => six.split(']').next().unwrap_or_default(),
                None => authority.split(':').next().unwrap_or_default(),
            }
        });
        let loopback = host.is_some_and(|it| {
            it == "localhost"
                || it.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        });
        if loopback { Self::Loopback } else { Self::Never }
    }
}

impl Git<'_> {
    /// What it prints.
    ///
    /// # Errors
    /// By git's own words when it fails; they never hold the token.
    pub(super) async fn run(
        &self,
        args: &[&str],
        stdin: Option<Vec<u8>>,
        stop: &CancellationToken,
    ) -> Result<Vec<u8>, (GitError, Remedy)> {
        let mut invocation = self.invocation(args);
        if let Some(bytes) = stdin {
            invocation = invocation.stdin(bytes);
        }
        self.finish(invocation, &[0], stop).await.map(|(_, stdout)| stdout)
    }

    /// As [`Git::run`], of work that may take long and that everything else goes before.
    ///
    /// # Errors
    /// As [`Git::run`].
    pub(super) async fn in_background(
        &self,
        args: &[&str],
        stop: &CancellationToken,
    ) -> Result<Vec<u8>, GitError> {
        let limits = Limits { timeout: UPKEEP_PATIENCE, memory: None, output: UPKEEP_OUTPUT };
        let invocation = self.invocation(args).limits(limits).in_background();
        let finished = self.finish(invocation, &[0], stop).await;
        finished.map(|(_, stdout)| stdout).map_err(|(error, _)| error)
    }

    /// What it prints, with these variables besides.
    ///
    /// # Errors
    /// As [`Git::run`].
    pub(super) async fn with_env(
        &self,
        args: &[&str],
        env: &[(&str, &str)],
        stop: &CancellationToken,
    ) -> Result<Vec<u8>, (GitError, Remedy)> {
        let mut invocation = self.invocation(args);
        for (key, value) in env {
            invocation = invocation.env(key, value);
        }
        self.finish(invocation, &[0], stop).await.map(|(_, stdout)| stdout)
    }

    /// The exit status, one of `good`, and what it prints.
    ///
    /// # Errors
    /// As [`Git::run`].
    pub(super) async fn answer(
        &self,
        args: &[&str],
        good: &[i32],
        stop: &CancellationToken,
    ) -> Result<(i32, Vec<u8>), (GitError, Remedy)> {
        self.finish(self.invocation(args), good, stop).await
    }

    async fn finish(
        &self,
        invocation: Invocation,
        good: &[i32],
        stop: &CancellationToken,
    ) -> Result<(i32, Vec<u8>), (GitError, Remedy)> {
        match process::run(invocation, stop).await {
            Ok(Finished { code: Some(code), stdout, .. }) if good.contains(&code) => {
                Ok((code, stdout))
            }
            Ok(finished) => {
                Err(classify(&self.without_token(&String::from_utf8_lossy(&finished.stderr))))
            }
            Err(ProcessError::Cancelled) => Err((GitError::Cancelled, Remedy::None)),
            Err(ProcessError::TimedOut { after }) => {
                let text = format!("it took more than {} minutes", after.as_secs() / 60);
                Err((GitError::Weather(text), Remedy::None))
            }
            Err(
                error @ (ProcessError::Spawn { .. }
                | ProcessError::OutOfMemory { .. }
                | ProcessError::TooMuchOutput { .. }
                | ProcessError::Io(_)),
            ) => Err((GitError::Operator(error.to_string()), Remedy::None)),
        }
    }

    fn invocation(&self, args: &[&str]) -> Invocation {
        let limits = Limits { timeout: PATIENCE, memory: None, output: OUTPUT };
        let mut invocation = Invocation::new(Path::new("git"), limits)
            .arg("--git-dir")
            .arg(self.directory)
            .args(args)
            .env("LC_ALL", "C")
            .env("HOME", self.directory)
            .env("XDG_CONFIG_HOME", self.directory)
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_ASKPASS", "true")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_ATTR_NOSYSTEM", "1")
            .env("GIT_LITERAL_PATHSPECS", "1");
        for name in FOREIGN {
            invocation = invocation.env_remove(name);
        }
        let mut settings: Vec<(String, String)> =
            SETTINGS.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
        if self.plain_http == PlainHttp::Loopback {
            settings.push(("protocol.http.allow".into(), "always".into()));
        }
        if let Some(Credential { base, token }) = &self.credential {
            let value = format!("Authorization: Basic {}", basic(token));
            settings.push((format!("http.{base}/.extraHeader"), value));
        }
        invocation = invocation.env("GIT_CONFIG_COUNT", settings.len().to_string());
        for (at, (key, value)) in settings.into_iter().enumerate() {
            invocation = invocation
                .env(format!("GIT_CONFIG_KEY_{at}"), key)
                .env(format!("GIT_CONFIG_VALUE_{at}"), value);
        }
        invocation
    }

    /// Git is not known to print it; a server might.
    fn without_token(&self, said: &str) -> String {
        match &self.credential {
            Some(Credential { token, .. }) if !token.reveal().is_empty() => {
                said.replace(&basic(token), "(sealed)").replace(token.reveal(), "(sealed)")
            }
            Some(_) | None => said.to_owned(),
        }
    }
}

fn basic(token: &Sealed) -> String {
    STANDARD.encode(format!("x-access-token:{}", token.reveal()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_without_tls_is_for_this_machine_only() {
        for url in ["http://127.0.0.1:8080", "http://localhost/x", "http://[::1]:80"] {
            assert_eq!(PlainHttp::of(url), PlainHttp::Loopback, "{url}");
        }
        for url in ["http://github.com", "https://127.0.0.1", "http://127.0.0.1.evil.example"] {
            assert_eq!(PlainHttp::of(url), PlainHttp::Never, "{url}");
        }
    }
}
