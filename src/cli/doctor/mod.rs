//! `fleetcheck doctor`: looks at everything that `serve` needs, one thing after the other, and says
//! for each what is wrong and what to do. No look takes longer than [`PATIENCE`].
mod github;
mod logs;
mod machine;
mod nix;
mod updates;

use std::path::Path;
use std::time::Duration;

use tokio::time::timeout;

use crate::cli::{BAD, GOOD, output};
use crate::config::{Builder, Config, ConfigErrors, Environment, Loaded, Nix};
use crate::domain::text;

/// What does not answer within this time is to be mended.
const PATIENCE: Duration = Duration::from_secs(15);

/// What one look found; the text is one line.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Finding {
    Good(String),
    /// Right in some houses: a person decides.
    Note(String),
    /// `serve` does not work, or not as it should; the text says what to do.
    Mend(String),
}

/// Looks, prints, and says with its exit status whether all is well.
pub(super) async fn run(path: Option<&Path>, env: &Environment) -> u8 {
    let mut doctor = Doctor { to_mend: 0 };
    match Loaded::load(path, env) {
        Ok(loaded) => {
            doctor.settings(&loaded);
            let Config { http, github, store, logs, nix, builders, machines: _ } = &loaded.config;
            doctor.look("github", github::look(github, &loaded.private_key_files)).await;
            if let Some(app) = &github.updater {
                doctor.look("updates", updates::look(app, github)).await;
            }
            doctor.look("nix", nix::look(nix)).await;
            doctor.look("nix-daemon", nix::look_at_daemon(nix)).await;
            doctor.look("builders", nix::look_at_builders(nix, builders)).await;
            doctor.look("git", machine::git()).await;
            doctor.look("directory", machine::directory(&store.directory)).await;
            doctor.look("store", machine::store(&store.url)).await;
            if let Some(bucket) = &logs.bucket {
                doctor.look("logs", logs::look(bucket, &store.directory)).await;
            }
            doctor.look("disk", machine::disks(&store.directory, env)).await;
            doctor.look("address", machine::address(&http.public_url)).await;
        }
        Err(errors) => {
            doctor.mistakes(&errors);
            if let Ok((nix, builders)) = without_github(path, env) {
                doctor.look("nix", nix::look(&nix)).await;
                doctor.look("nix-daemon", nix::look_at_daemon(&nix)).await;
                doctor.look("builders", nix::look_at_builders(&nix, &builders)).await;
            }
            doctor.look("git", machine::git()).await;
            doctor.say(
                "…",
                &Finding::Note("the rest is looked at once the settings are right".to_owned()),
            );
        }
    }
    doctor.conclude()
}

/// What can be looked at although the settings are wrong somewhere else.
fn without_github(
    path: Option<&Path>,
    env: &Environment,
) -> Result<(Nix, Vec<Builder>), ConfigErrors> {
    Config::for_check(path, env).map(|config| (config.nix, config.builders))
}

struct Doctor {
    to_mend: usize,
}

impl Doctor {
    fn settings(&mut self, loaded: &Loaded) {
        let given = loaded.origins.len();
        self.say("settings", &Finding::Good(format!("{given} given, the others are defaults")));
        for file in &loaded.private_key_files {
            self.say("key", &Finding::Good(format!("{} signs", file.display())));
        }
        for file in loaded.config.github.updater.iter().flat_map(|it| &it.files) {
            let said = format!("{} signs for the App of updates", file.display());
            self.say("key", &Finding::Good(said));
        }
    }

    fn mistakes(&mut self, errors: &ConfigErrors) {
        for mistake in &errors.0 {
            self.say("settings", &Finding::Mend(mistake.to_string()));
        }
    }

    async fn look(&mut self, what: &str, look: impl Future<Output = Vec<Finding>>) {
        let silent = || vec![Finding::Mend(format!("no answer within {} s", PATIENCE.as_secs()))];
        for finding in timeout(PATIENCE, look).await.unwrap_or_else(|_| silent()) {
            self.say(what, &finding);
        }
    }

    fn say(&mut self, what: &str, finding: &Finding) {
        let (mark, said) = match finding {
            Finding::Good(said) => ("ok", said),
            Finding::Note(said) => ("note", said),
            Finding::Mend(said) => {
                self.to_mend += 1;
                ("mend", said)
            }
        };
        let said = text::clean(said).trim().replace('\n', "\n                  ");
        output::print(&format!("{mark:<4}  {what:<10}  {said}"));
    }

    fn conclude(self) -> u8 {
        match self.to_mend {
            0 => {
                output::print("\nAll is well.");
                GOOD
            }
            1 => {
                output::print("\nOne thing to mend.");
                BAD
            }
            many => {
                output::print(&format!("\n{many} things to mend."));
                BAD
            }
        }
    }
}
