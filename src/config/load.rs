//! From raw settings to [`Config`]: a function per section, every mistake noted.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::builders;
use crate::config::mistake::{ConfigErrors, Mistake, Place};
use crate::config::reader::Reader;
use crate::config::source::{Environment, Sources};
use crate::config::stores;
use crate::config::{
    CheckConfig, Config, Github, Http, Nix, Sealed, Store, logs, machine, secret, updater, value,
};

const HOUR: u64 = 60 * 60;

/// Settings with what is needed to show them again: the files secrets came from, and where each
/// setting was given.
pub struct Loaded {
    pub config: Config,
    /// The newest first.
    pub private_key_files: Vec<PathBuf>,
    pub webhook_secret_files: Vec<PathBuf>,
    /// By key; a setting that is not in it has its default.
    pub origins: BTreeMap<String, Place>,
}

impl Loaded {
    /// Reads and validates everything that `serve` needs.
    ///
    /// # Errors
    /// Every mistake in the file, the environment and the files that they name.
    pub fn load(path: Option<&Path>, env: &Environment) -> Result<Self, ConfigErrors> {
        let sources = Sources::read(path, env).map_err(ConfigErrors)?;
        let mut reader = Reader::new(&sources);
        let http = read_http(&mut reader);
        let github = read_github(&mut reader);
        let store = read_store(&mut reader);
        let logs = logs::read(&mut reader);
        let nix = read_nix(&mut reader);
        let builders = builders::read(&mut reader);
        let (mistakes, origins) = reader.finish();
        match (http, github, store, logs, nix, builders) {
            (
                Some(http),
                Some((github, files)),
                Some(store),
                Some(logs),
                Some(nix),
                Some((builders, machines)),
            ) if mistakes.is_empty() => Ok(Self {
                config: Config { http, github, store, logs, nix, builders, machines },
                private_key_files: files.private_keys,
                webhook_secret_files: files.webhook_secrets,
                origins,
            }),
            _ => Err(ConfigErrors(mistakes)),
        }
    }
}

impl Config {
    /// Reads and validates everything that `serve` needs: the file at `path`, else the one that
    /// `FLEETCHECK_CONFIG` names, else `/etc/fleetcheck.toml` if it exists; over it the
    /// environment.
    ///
    /// # Errors
    /// Every mistake in the file, the environment and the files that they name.
    pub fn load(path: Option<&Path>, env: &Environment) -> Result<Self, ConfigErrors> {
        Loaded::load(path, env).map(|loaded| loaded.config)
    }

    /// Reads what `fleetcheck check` needs from the same places. The sections that it does not
    /// need may be absent; a key that does not exist is refused in them too.
    ///
    /// # Errors
    /// Every mistake in what was read.
    pub fn for_check(path: Option<&Path>, env: &Environment) -> Result<CheckConfig, ConfigErrors> {
        let sources = Sources::read(path, env).map_err(ConfigErrors)?;
        let mut reader = Reader::new(&sources);
        reader.skip("http");
        reader.skip("github");
        reader.skip("store");
        reader.skip("logs");
        let nix = read_nix(&mut reader);
        let builders = builders::read(&mut reader);
        let (mut mistakes, _) = reader.finish();
        let scratch = scratch(env);
        if scratch.is_none() {
            mistakes.push(no_scratch());
        }
        match (nix, builders, scratch) {
            (Some(nix), Some((builders, _)), Some(scratch)) if mistakes.is_empty() => {
                Ok(CheckConfig { nix, builders, scratch })
            }
            _ => Err(ConfigErrors(mistakes)),
        }
    }
}

/// `$XDG_CACHE_HOME/fleetcheck`, by the XDG Base Directory Specification.
fn scratch(env: &Environment) -> Option<PathBuf> {
    let absolute = |name| env.get(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_CACHE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
        .map(|cache| cache.join("fleetcheck"))
}

fn no_scratch() -> Mistake {
    Mistake {
        place: Place::Variable("XDG_CACHE_HOME".to_owned()),
        key: String::new(),
        found: "nothing, and nothing in HOME".to_owned(),
        wanted: "an absolute path".to_owned(),
        remedy: "set it to a folder where check may write".to_owned(),
    }
}

struct SecretFiles {
    private_keys: Vec<PathBuf>,
    webhook_secrets: Vec<PathBuf>,
}

fn read_http(reader: &mut Reader<'_>) -> Option<Http> {
    let mut section = reader.section("http");
    let listen = section.or("listen", ([127, 0, 0, 1], 8080).into(), value::address);
    let public_url =
        section.required("public_url", "\"https://fleet.example.org\"", value::public_url);
    let instance_url =
        section.or("instance_url", None, |given| value::instance_url(given).map(Some));
    section.finish();
    Some(Http { listen: listen?, public_url: public_url?, instance_url: instance_url? })
}

fn read_github(reader: &mut Reader<'_>) -> Option<(Github, SecretFiles)> {
    const API: &str = "https://api.github.com";
    const GIT: &str = "https://github.com";
    let mut section = reader.section("github");
    let app_id = section.required("app_id", "12345", value::app_id);
    let keys = section.either(
        ("private_key_file", "\"/run/credentials/fleetcheck.service/github-app.pem\""),
        secret::private_key,
        ("private_key_files", secret::private_keys),
    );
    let secrets = section.required(
        "webhook_secret_files",
        "[\"/run/credentials/fleetcheck.service/webhook\"]",
        secret::secrets,
    );
    let api_url = section.or("api_url", API.to_owned(), |given| value::private_url(given, API));
    let git_url = section.or("git_url", GIT.to_owned(), |given| value::private_url(given, GIT));
    let owners = section.required("owners", "[\"acme\"]", value::owners);
    let check_name = section.or("check_name", "fleet".to_owned(), value::word);
    let checks_limit = section.or("checks_limit", 60, value::checks);
    let recover_interval =
        section.or("recover_interval", Duration::from_secs(HOUR / 12), value::interval);
    let updater = updater::read(&mut section);
    section.finish();
    let (private_key_files, private_keys) = keys?.into_iter().unzip();
    let (webhook_secret_files, webhook_secrets) = secrets?.into_iter().unzip();
    let github = Github {
        app_id: app_id?,
        private_keys,
        webhook_secrets,
        api_url: api_url?,
        git_url: git_url?,
        owners: owners?,
        check_name: check_name?,
        checks_limit: checks_limit?,
        recover_interval: recover_interval?,
        updater: updater?,
    };
    let files =
        SecretFiles { private_keys: private_key_files, webhook_secrets: webhook_secret_files };
    Some((github, files))
}

fn read_store(reader: &mut Reader<'_>) -> Option<Store> {
    let mut section = reader.section("store");
    let directory = section.or("directory", PathBuf::from("/var/lib/fleetcheck"), value::directory);
    let beside = directory.clone().unwrap_or_default().join("fleetcheck.db");
    let default = Sealed::new(format!("sqlite:{}", beside.display()));
    let url = section.or("url", default, value::store_url);
    section.finish();
    Some(Store { url: url?, directory: directory? })
}

fn read_nix(reader: &mut Reader<'_>) -> Option<Nix> {
    let mut section = reader.section("nix");
    let program = section.or("program", PathBuf::from("nix"), value::program);
    let evaluations = section.or("evaluations", 2, value::count);
    let memory = section.or("memory", machine::evaluation_memory(), value::size);
    let evaluation_memory = section.or("evaluation_memory", 6 << 30, value::size);
    let mut time = |key, seconds| section.or(key, Duration::from_secs(seconds), value::duration);
    let evaluation_timeout = time("evaluation_timeout", HOUR / 4);
    let build_timeout = time("build_timeout", 2 * HOUR);
    let silence_timeout = time("silence_timeout", HOUR / 3);
    let unplaceable_after = time("unplaceable_after", 24 * HOUR);
    let retries = section.or("retries", 3, value::retries);
    let failure_memory =
        section.or("failure_memory", Duration::from_secs(HOUR), value::duration_or_zero);
    let instance_store =
        section.or("instance_store", None, |given| stores::instance_store(given).map(Some));
    section.finish();
    Some(Nix {
        program: program?,
        evaluations: evaluations?,
        memory: memory?,
        evaluation_memory: evaluation_memory?,
        evaluation_timeout: evaluation_timeout?,
        build_timeout: build_timeout?,
        silence_timeout: silence_timeout?,
        retries: retries?,
        failure_memory: failure_memory?,
        unplaceable_after: unplaceable_after?,
        instance_store: instance_store?,
    })
}
