//! A builder's Nix: this machine's, or another's that is reached through its store.
//!
//! A worker of another machine is `ssh MACHINE nix-daemon --stdio`: a remote build has the statuses,
//! log lines and limits of one here. An `ssh-ng` store of Nix's own would not do: it passes no limit
//! on, and from some version on it answers a lost connection like a failed build. What is no ssh
//! (another folder, a socket) is this machine's daemon with `NIX_REMOTE`.
mod facts;
mod ssh;

use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

use tempfile::NamedTempFile;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::config::{self, BuilderStore, CopyBack};
use crate::domain::Timestamp;
use crate::domain::builder::Facts;
use crate::domain::id::{DrvPath, StorePath};
use crate::nix::Nix;
use crate::nix::machine::facts::{QUESTIONS, facts};
use crate::nix::machine::ssh::{
    daemon_there, known_hosts, last_words, shell_there, ssh_arguments, ssh_env,
};
use crate::nix::process::{self, Finished, Invocation, Limits};
use crate::nix::reason;
use crate::nix::redact::clean_text;
use crate::nix::worker::{self, Worker, WorkerError};

/// The whole of one look.
const LOOK: Duration = Duration::from_secs(40);
/// Derivations and their sources, small as they are, over a slow line.
const COPY: Duration = Duration::from_mins(30);
/// A system with all that it refers to, gigabytes, over a slow line.
const BACK: Duration = Duration::from_hours(2);
/// A large store on a slow disk.
const COLLECT: Duration = Duration::from_hours(6);
/// Roots of hundreds of hosts, the first time.
const HOLD: Duration = Duration::from_mins(5);

/// Makes the GC roots of a machine those of the list that follows, as far as their paths are there.
/// Ours lie in a folder of the account's, so that it needs no rights of its own.
const ROOTS: &str = r#"
PATH=$PATH:/run/current-system/sw/bin:/nix/var/nix/profiles/default/bin
export PATH
set -e
directory=${XDG_STATE_HOME:-${HOME:?}/.local/state}/fleetcheck-$owner/gcroots
mkdir -p "$directory"
cd "$directory"
cat > .wanted
while read -r name path; do
  if [ -e "$path" ] && [ "$(readlink "$name")" != "$path" ]; then
    nix-store --realise "$path" --add-root "$directory/$name" --indirect > .said
  fi
done < .wanted
for name in *; do
  grep -q "^$name " .wanted || rm -f -- "$name"
done
"#;

/// A machine that realises derivations.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Whose daemons build there.
    nix: Nix,
    here: Nix,
    store: Option<BuilderStore>,
    copy_back: CopyBack,
    /// Of a host key of the settings; it goes with the last that uses it.
    _known_hosts: Option<Arc<NamedTempFile>>,
}

impl Machine {
    /// The machine of a builder of the settings.
    #[must_use]
    pub fn new(here: &Nix, builder: &config::Builder) -> Self {
        Self { copy_back: builder.copy_back, ..Self::at(here, builder.store.clone()) }
    }

    /// This machine.
    #[must_use]
    pub fn local(here: &Nix) -> Self {
        Self::at(here, None)
    }

    fn at(here: &Nix, mut store: Option<BuilderStore>) -> Self {
        let known_hosts = store.as_mut().and_then(known_hosts);
        let here = match &store {
            Some(BuilderStore { ssh: Some(_), ssh_options, .. }) => {
                here.clone().with_env([ssh_env(ssh_options)])
            }
            Some(BuilderStore { ssh: None, .. }) | None => here.clone(),
        };
        let nix = match &store {
            None => here.clone(),
            Some(BuilderStore { ssh: Some(ssh), ssh_options, .. }) => {
                let mut args = ssh_arguments(ssh, ssh_options);
                args.push(daemon_there(ssh));
                here.clone().with_daemon("ssh".as_ref(), args.into_iter().map(OsString::from))
            }
            Some(BuilderStore { ssh: None, uri, .. }) => {
                here.clone().with_env([("NIX_REMOTE".into(), OsString::from(uri))])
            }
        };
        Self { nix, here, store, copy_back: CopyBack::Never, _known_hosts: known_hosts }
    }

    /// Whether it is another machine: what it builds stays there.
    #[must_use]
    pub fn is_remote(&self) -> bool {
        self.store.is_some()
    }

    /// The kept worker if it still answers, or a new one.
    ///
    /// # Errors
    /// When the machine cannot be reached or has no Nix that we can use.
    pub async fn worker(&self, kept: &mut Option<Worker>) -> Result<Worker, WorkerError> {
        if self.is_remote()
            && let Some(mut worker) = kept.take()
        {
            // A connection may have died without a sound since the last build.
            match worker.valid_paths(&[]).await {
                Ok(_) => *kept = Some(worker),
                Err(_) => worker.stop().await,
            }
        }
        worker::kept_or_new(kept, &self.nix).await
    }

    /// Brings derivations, and all that they need to be built, to where they are built.
    ///
    /// # Errors
    /// In Nix's last words.
    pub async fn bring(
        &self,
        drvs: impl Iterator<Item = &DrvPath>,
        stop: &CancellationToken,
    ) -> Result<(), String> {
        let Some(store) = &self.store else { return Ok(()) };
        let limits = Limits { timeout: COPY, memory: None, output: 64 << 10 };
        let copy = self
            .here
            .command(["copy", "--derivation", "--no-check-sigs", "--to", &store.uri, "--"], limits)
            .args(drvs.map(DrvPath::as_str));
        output(copy, stop).await.map(drop)
    }

    /// Copies derivations, and all that they need to be built, from another machine's store to this
    /// machine's. A worker of this machine's is kept in `home`: while it lives, nothing of it is
    /// garbage here. What was built to evaluate them has no signature, and is not asked for one.
    ///
    /// # Errors
    /// In Nix's last words.
    pub async fn borrow(
        &self,
        from: &str,
        drvs: &[&DrvPath],
        home: &mut Option<Worker>,
        stop: &CancellationToken,
    ) -> Result<(), String> {
        let told = |error: WorkerError| clean_text(error.to_string());
        let mut worker = worker::kept_or_new(home, &self.here).await.map_err(told)?;
        for drv in drvs {
            worker.add_temp_root(drv.as_str()).await.map_err(told)?;
        }
        let paths: Vec<StorePath> = drvs.iter().filter_map(|it| it.as_str().parse().ok()).collect();
        let valid = worker.valid_paths(&paths).await.map_err(told)?;
        *home = Some(worker);
        if valid.len() == drvs.len() {
            // They were copied for an attempt before.
            return Ok(());
        }
        let limits = Limits { timeout: COPY, memory: None, output: 64 << 10 };
        // Without what the settings tell ssh about the builder: it is another machine.
        let here = self.here.clone().with_env([ssh_env(&[])]);
        let copy = here
            .command(["copy", "--derivation", "--no-check-sigs", "--from", from, "--"], limits)
            .args(drvs.iter().map(|it| it.as_str()));
        output(copy, stop).await.map(drop)
    }

    /// Brings what was built there to this machine, as far as the settings want it here. A worker
    /// of this machine's is kept in `home`: while it lives, nothing of it is garbage here.
    ///
    /// Its signatures are not asked for, as with Nix's own remote builders: the machine is trusted to
    /// build. A daemon here that does not trust us asks for them all the same.
    ///
    /// # Errors
    /// In Nix's last words.
    pub async fn take_back(
        &self,
        paths: &[StorePath],
        home: &mut Option<Worker>,
        stop: &CancellationToken,
    ) -> Result<(), String> {
        let more: &[&str] = match self.copy_back {
            CopyBack::Never => return Ok(()),
            CopyBack::Toplevel => &["--substitute-on-destination"],
            CopyBack::Closure => &[],
        };
        let Some(store) = self.store.as_ref().filter(|_| !paths.is_empty()) else { return Ok(()) };
        let told = |error: WorkerError| clean_text(error.to_string());
        let mut worker = worker::kept_or_new(home, &self.here).await.map_err(told)?;
        for path in paths {
            worker.add_temp_root(path.as_str()).await.map_err(told)?;
        }
        *home = Some(worker);
        let limits = Limits { timeout: BACK, memory: None, output: 64 << 10 };
        let copy = self
            .here
            .command(["copy", "--no-check-sigs", "--from", &store.uri], limits)
            .args(more)
            .arg("--")
            .args(paths.iter().map(StorePath::as_str));
        output(copy, stop).await.map(drop)
    }

    /// Looks at it: whether it answers, and what it says of itself.
    ///
    /// # Errors
    /// Why it cannot be reached, in a line for people.
    pub async fn look(&self, now: Timestamp, stop: &CancellationToken) -> Result<Facts, String> {
        let silent = |_| format!("no answer within {} s", LOOK.as_secs());
        timeout(LOOK, async {
            let worker = Worker::start(&self.nix).await.map_err(|it| self.told(&it))?;
            let version = Some(worker.version().to_owned());
            worker.stop().await;
            Ok(Facts { version, ..self.ask(now, stop).await? })
        })
        .await
        .map_err(silent)?
    }

    /// Keeps these store paths, each under its name, from the machine's garbage collector, and
    /// nothing else that was held before; those that it does not have it does not get.
    ///
    /// # Errors
    /// In the machine's last words.
    pub async fn hold(
        &self,
        owner: &str,
        roots: &[(String, String)],
        stop: &CancellationToken,
    ) -> Result<(), String> {
        let Some(BuilderStore { ssh: Some(ssh), ssh_options, .. }) = &self.store else {
            return Ok(());
        };
        let limits = Limits { timeout: HOLD, memory: None, output: 64 << 10 };
        let lines = roots.iter().map(|(name, path)| format!("{name} {path}\n"));
        let script = format!(
            "owner={owner}\nmain() {{{ROOTS}}}\nmain <<'END OF ROOTS'\n{}END OF ROOTS\n",
            lines.collect::<String>()
        );
        let shell = shell_there((ssh, ssh_options), limits).stdin(script.into_bytes());
        output(shell, stop).await.map(drop)
    }

    /// Collects garbage there until so many bytes are freed. Gives how many were.
    ///
    /// # Errors
    /// Why not, in a line for people.
    pub async fn collect(&self, bytes: u64, stop: &CancellationToken) -> Result<u64, String> {
        let mut worker = Worker::start(&self.nix).await.map_err(|it| self.told(&it))?;
        let collected = tokio::select! {
            collected = timeout(COLLECT, worker.collect_garbage(bytes)) => collected,
            () = stop.cancelled() => Ok(Ok(0)),
        };
        worker.stop().await;
        match collected {
            Ok(collected) => collected.map_err(|it| self.told(&it)),
            Err(_) => Err(format!("it was not done in {} h", COLLECT.as_secs() / 3600)),
        }
    }

    /// A line for people about what a worker of this machine said.
    #[must_use]
    pub fn told(&self, error: &WorkerError) -> String {
        if let WorkerError::Lost { words } = error
            && self.is_remote()
        {
            return last_words(words.as_bytes());
        }
        clean_text(error.to_string())
    }

    /// What everyone may know of the words of a copy that failed: `: no space is left there`, or
    /// nothing.
    #[must_use]
    pub fn outline(words: &str) -> String {
        reason::outline_of_copy(words).map(|it| format!(": {it}")).unwrap_or_default()
    }

    async fn ask(&self, now: Timestamp, stop: &CancellationToken) -> Result<Facts, String> {
        let limits = Limits { timeout: LOOK, memory: None, output: 64 << 10 };
        let shell = match &self.store {
            None => Invocation::new("/bin/sh".as_ref(), limits)
                .arg("-s")
                .envs(self.nix.env().iter().cloned()),
            Some(BuilderStore { ssh: Some(ssh), ssh_options, .. }) => {
                shell_there((ssh, ssh_options), limits)
            }
            // A socket or a folder: there is nobody to ask.
            Some(BuilderStore { ssh: None, .. }) => return Ok(Facts::default()),
        };
        let said = output(shell.stdin(QUESTIONS.as_bytes().to_vec()), stop).await?;
        Ok(facts(&String::from_utf8_lossy(&said), now))
    }
}

/// What a program printed, or its last words.
async fn output(program: Invocation, stop: &CancellationToken) -> Result<Vec<u8>, String> {
    match process::run(program, stop).await {
        Ok(Finished { success: true, stdout, .. }) => Ok(stdout),
        Ok(Finished { stderr, .. }) => Err(last_words(&stderr)),
        Err(error) => Err(error.to_string()),
    }
}
