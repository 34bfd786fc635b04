//! The server's settings: a file and the environment, validated into one value; secrets sealed.
//!
//! [`Config::load`] reads one TOML file, lets `FLEETCHECK__SECTION__KEY` in the environment
//! override it, and either gives a value that is right in every part or lists every mistake with
//! its file and line. Nothing else reads settings, and nothing below validates them again.
mod builders;
mod load;
mod logs;
mod machine;
mod machines;
mod mistake;
mod reader;
mod render;
mod secret;
mod source;
mod stores;
mod updater;
mod value;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::domain::builder::Speed;

pub use load::Loaded;
pub use logs::{Bucket, BucketKeys, Logs};
pub use machines::MachinesFile;
pub use mistake::{ConfigErrors, Mistake, Place};
pub use source::{DEFAULT_FILE, Environment, FILE_VARIABLE};
pub use updater::UpdaterApp;

/// A secret: it never shows in a log, an error or a settings dump.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed(String);

impl Sealed {
    /// Seals a secret.
    #[must_use]
    pub fn new(secret: String) -> Self {
        Self(secret)
    }

    /// The secret itself; to be called only where it leaves for its destination.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(sealed)")
    }
}

/// Everything that `serve` needs.
#[derive(Clone, Debug)]
pub struct Config {
    pub http: Http,
    pub github: Github,
    pub store: Store,
    pub logs: Logs,
    pub nix: Nix,
    pub builders: Vec<Builder>,
    /// Where the builders come from, if not from the settings themselves.
    pub machines: Option<MachinesFile>,
}

/// `[http]`.
#[derive(Clone, Debug)]
pub struct Http {
    pub listen: SocketAddr,
    /// Where GitHub and people reach us, without a slash at the end.
    pub public_url: String,
    /// Where other instances on the same store reach this one, without a slash at the end.
    pub instance_url: Option<String>,
}

/// `[github]`.
#[derive(Clone, Debug)]
pub struct Github {
    pub app_id: u64,
    /// The App's private keys as PEM, the newest first; the newest that GitHub accepts signs.
    pub private_keys: Vec<Sealed>,
    /// The newest first; every one is accepted.
    pub webhook_secrets: Vec<Sealed>,
    /// REST base without a slash at the end.
    pub api_url: String,
    /// Where repositories are fetched from, without a slash at the end.
    pub git_url: String,
    /// Accounts whose repositories are built, in lower case.
    pub owners: Vec<String>,
    /// The gate's name and the first word of every check: `fleet`.
    pub check_name: String,
    /// A run with more hosts shows a check only of those that are worth one.
    pub checks_limit: usize,
    /// Between two looks for deliveries that did not reach us.
    pub recover_interval: Duration,
    /// The App that writes updates, if not this one.
    pub updater: Option<UpdaterApp>,
}

/// `[store]`.
#[derive(Clone, Debug)]
pub struct Store {
    /// `sqlite:PATH` or `postgres://…`. Sealed: it may hold a password.
    pub url: Sealed,
    /// Mirrors, logs, GC roots.
    pub directory: PathBuf,
}

/// What `fleetcheck check` needs: no GitHub, no store.
#[derive(Clone, Debug)]
pub struct CheckConfig {
    pub nix: Nix,
    pub builders: Vec<Builder>,
    /// `fleetcheck` in the user's cache folder; never the service's own folder.
    pub scratch: PathBuf,
}

/// `[nix]`.
#[derive(Clone, Debug)]
pub struct Nix {
    /// The `nix` program, by its name on the PATH or its absolute path; `nix-daemon` and
    /// `nix-eval-jobs` are looked for beside it, then on the PATH.
    pub program: PathBuf,
    /// Evaluations at once.
    pub evaluations: usize,
    /// Bytes for all evaluations together.
    pub memory: u64,
    /// Bytes for one evaluation of unknown size beside others.
    pub evaluation_memory: u64,
    pub evaluation_timeout: Duration,
    /// For each derivation.
    pub build_timeout: Duration,
    /// Without a line of log.
    pub silence_timeout: Duration,
    /// Attempts after the first, when one ends as weather.
    pub retries: u32,
    /// For so long a derivation that failed is not built for another run; zero for not at all.
    pub failure_memory: Duration,
    /// For so long a build waits that no builder can take.
    pub unplaceable_after: Duration,
    /// Where other instances on the same store reach this machine's Nix store, as `nix copy --from`
    /// takes it.
    pub instance_store: Option<String>,
}

/// `[[builder]]`: this machine, or another one's Nix store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Builder {
    pub name: String,
    /// Where it builds; without it on this machine.
    pub store: Option<BuilderStore>,
    /// Nix's `system`s: `x86_64-linux`.
    pub systems: Vec<String>,
    /// What derivations may ask for by `requiredSystemFeatures`.
    pub features: Vec<String>,
    /// What a derivation must ask for to be built there.
    pub mandatory_features: Vec<String>,
    /// Operations at once.
    pub slots: usize,
    pub speed: Speed,
    /// In percent of its store's disk; with less free no new build goes there.
    pub min_free: u8,
    /// Whether a garbage collection is asked for then.
    pub collect: bool,
    pub copy_back: CopyBack,
}

/// What of a host that was built in a builder's store comes to this machine's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CopyBack {
    /// It stays there.
    #[default]
    Never,
    /// Its outputs, and what they refer to from a cache of this machine's where one has it: no
    /// store path is valid without its references.
    Toplevel,
    /// All of the same from the builder.
    Closure,
}

/// A store that builds, as `nix build --store` takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuilderStore {
    /// `ssh-ng://root@basestar`.
    pub uri: String,
    /// Whom ssh connects to, where it does.
    pub ssh: Option<SshDestination>,
    /// Options for ssh before ours: each without white space, since Nix splits them there.
    pub ssh_options: Vec<String>,
}

/// What a store's URI says to ssh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshDestination {
    /// `root@basestar`: a host, or a `Host` of ssh's own configuration.
    pub host: String,
    pub port: Option<u16>,
    /// The file of the private key (`?ssh-key=`).
    pub key: Option<String>,
    /// `nix-daemon` there, if that is not its name (`?remote-program=`).
    pub remote_program: Option<String>,
    /// Its public host key, where not ssh's own files say which it is.
    pub host_key: Option<String>,
    /// The store there that it builds in, if not its own (`?remote-store=`).
    pub remote_store: Option<String>,
}
