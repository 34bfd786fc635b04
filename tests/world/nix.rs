//! Real Nix in hermetic stores of its own.
#![expect(clippy::unwrap_used, reason = "a harness: it may panic")]
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use fleetcheck::config;
use fleetcheck::nix::Nix;

/// One Nix to test against, with a store of its own that goes with it.
pub struct TestNix {
    program: PathBuf,
    /// Shared with those of machines that have another disk there.
    directory: Arc<tempfile::TempDir>,
    extra: Vec<String>,
}

impl TestNix {
    /// One for every program that `FLEETCHECK_TEST_NIX` names, separated by colons.
    pub fn all() -> Vec<Self> {
        let programs = std::env::var("FLEETCHECK_TEST_NIX")
            .unwrap_or_else(|_| "/opt/nix-forky/usr/bin/nix".to_owned());
        programs.split(':').map(|it| Self::new(Path::new(it))).collect()
    }

    /// The first of [`TestNix::all`].
    pub fn one() -> Self {
        Self::all().swap_remove(0)
    }

    pub fn new(program: &Path) -> Self {
        assert!(
            program.is_file(),
            "{} is not there: these tests need a real Nix. Name one, or several separated by \
             colons, in FLEETCHECK_TEST_NIX.",
            program.display()
        );
        let directory = tempfile::Builder::new().prefix("fc-nix-").tempdir().unwrap();
        for name in ["store", "var", "log", "etc", "home", "tmp"] {
            std::fs::create_dir(directory.path().join(name)).unwrap();
        }
        Self { program: program.to_owned(), directory: Arc::new(directory), extra: Vec::new() }
    }

    /// The same, for a machine that sees another disk at this place.
    pub fn elsewhere(&self) -> Self {
        let (directory, extra) = (self.directory.clone(), self.extra.clone());
        Self { program: self.program.clone(), directory, extra }
    }

    /// With one more line of `nix.conf`.
    pub fn setting(mut self, line: &str) -> Self {
        self.extra.push(line.to_owned());
        self
    }

    /// With a `nix-eval-jobs` beside it.
    pub fn with_eval_jobs(mut self) -> Self {
        let beside = self.directory.path().join("bin");
        std::fs::create_dir(&beside).unwrap();
        for entry in std::fs::read_dir(self.program.parent().unwrap()).unwrap() {
            let program = entry.unwrap().path();
            let name = program.file_name().unwrap().to_str().unwrap();
            if name == "nix" || name.starts_with("nix-") && name != "nix-eval-jobs" {
                std::os::unix::fs::symlink(&program, beside.join(name)).unwrap();
            }
        }
        let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/world/nix-eval-jobs.py");
        std::os::unix::fs::symlink(ours, beside.join("nix-eval-jobs")).unwrap();
        self.program = beside.join("nix");
        self
    }

    /// Lets its `nix-eval-jobs` go wrong; `tests/world/nix-eval-jobs.py` says how.
    pub fn let_eval_jobs(&self, mode: &str) {
        std::fs::write(self.program.with_file_name("mode"), mode).unwrap();
    }

    /// The arguments of each run of its `nix-eval-jobs` with a flake.
    pub fn eval_jobs_ran(&self) -> Vec<Vec<String>> {
        let ran = std::fs::read_to_string(self.program.with_file_name("ran")).unwrap_or_default();
        let runs = ran.lines().map(|it| serde_json::from_str::<Vec<String>>(it).unwrap());
        runs.filter(|it| it.contains(&"--flake".to_owned())).collect()
    }

    pub fn program(&self) -> &Path {
        &self.program
    }

    /// A folder that goes with the store.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// What keeps Nix away from the machine's own store and settings.
    pub fn env(&self) -> Vec<(OsString, OsString)> {
        let at = |name: &str| self.directory.path().join(name).into_os_string();
        let mut settings = "experimental-features = nix-command flakes\nsubstituters =\n\
                            sandbox = false\nbuild-users-group =\nflake-registry =\n"
            .to_owned();
        for line in &self.extra {
            settings.push_str(line);
            settings.push('\n');
        }
        let pairs = [
            ("NIX_STORE_DIR", at("store")),
            ("NIX_STATE_DIR", at("var")),
            ("NIX_LOG_DIR", at("log")),
            ("NIX_CONF_DIR", at("etc")),
            ("HOME", at("home")),
            ("XDG_CACHE_HOME", at("home/.cache")),
            ("XDG_CONFIG_HOME", at("home/.config")),
            ("XDG_DATA_HOME", at("home/.local/share")),
            ("TMPDIR", at("tmp")),
            ("NIX_CONFIG", settings.into()),
        ];
        pairs.into_iter().map(|(key, value)| (key.into(), value)).collect()
    }

    /// The settings that name this Nix.
    pub fn config(&self) -> config::Nix {
        config::Nix {
            program: self.program.clone(),
            evaluations: 2,
            memory: 4 << 30,
            evaluation_memory: 2 << 30,
            evaluation_timeout: Duration::from_mins(1),
            build_timeout: Duration::from_mins(1),
            silence_timeout: Duration::from_mins(1),
            retries: 3,
            failure_memory: Duration::from_hours(1),
            unplaceable_after: Duration::from_hours(24),
            instance_store: None,
        }
    }

    pub fn nix(&self) -> Nix {
        Nix::new(&self.config()).with_env(self.env())
    }

    /// A program in this Nix's environment: `nix`, or anything on the PATH.
    pub fn command<A: AsRef<OsStr>>(
        &self,
        program: &str,
        args: impl IntoIterator<Item = A>,
    ) -> Command {
        let beside = self.program.with_file_name(program);
        let program = if program.starts_with("nix") { beside } else { program.into() };
        let mut command = Command::new(program);
        command.args(args).envs(self.env()).stdin(std::process::Stdio::null());
        command
    }

    /// What the program prints; it must succeed.
    pub fn output<A: AsRef<OsStr>>(
        &self,
        program: &str,
        args: impl IntoIterator<Item = A>,
    ) -> String {
        let output = self.command(program, args).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program}: {said}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

impl Drop for TestNix {
    /// Store paths are read-only, which is in the way of whoever is not root.
    fn drop(&mut self) {
        if Arc::strong_count(&self.directory) > 1 {
            return;
        }
        let _ = Command::new("chmod").args(["-R", "u+w"]).arg(self.directory.path()).status();
    }
}
