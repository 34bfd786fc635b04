//! A program and how it is to be run.
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::{Child, Command};

use crate::nix::process::{Limits, ProcessError};
use crate::nix::tree::Tree;

/// A program to run, with everything about how.
#[derive(Clone, Debug)]
pub struct Invocation {
    pub(super) program: PathBuf,
    pub(super) args: Vec<OsString>,
    pub(super) env: Vec<(OsString, OsString)>,
    pub(super) env_remove: Vec<OsString>,
    pub(super) cwd: Option<PathBuf>,
    pub(super) stdin: Option<Vec<u8>>,
    pub(super) limits: Limits,
    priority: Priority,
}

/// Whether a program waits for the others of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Priority {
    Normal,
    /// It and what it starts run when nobody else wants to: `nice` 19.
    Background,
}

impl Invocation {
    /// A program without arguments, in our directory and environment without our secrets, with
    /// nothing on its stdin.
    pub fn new(program: &Path, limits: Limits) -> Self {
        Self {
            program: program.to_owned(),
            args: Vec::new(),
            env: Vec::new(),
            env_remove: Vec::new(),
            cwd: None,
            stdin: None,
            limits,
            priority: Priority::Normal,
        }
    }

    /// Within other limits.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// When nobody else wants to run.
    #[must_use]
    pub fn in_background(mut self) -> Self {
        self.priority = Priority::Background;
        self
    }

    /// One more argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// More arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(|it| it.as_ref().to_owned()));
        self
    }

    /// One more variable of its environment.
    #[must_use]
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.push((key.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// More variables of its environment.
    #[must_use]
    pub fn envs(mut self, env: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        self.env.extend(env);
        self
    }

    /// A variable of ours that it does not get.
    #[must_use]
    pub fn env_remove(mut self, key: impl AsRef<OsStr>) -> Self {
        self.env_remove.push(key.as_ref().to_owned());
        self
    }

    /// Where it runs.
    #[must_use]
    pub fn cwd(mut self, directory: &Path) -> Self {
        self.cwd = Some(directory.to_owned());
        self
    }

    /// What it reads on its stdin.
    #[must_use]
    pub fn stdin(mut self, bytes: Vec<u8>) -> Self {
        self.stdin = Some(bytes);
        self
    }

    /// The child as leader of a group of its own, all three streams piped or null.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.args);
        for (key, _) in std::env::vars_os().filter(|(key, _)| is_secret(key)) {
            command.env_remove(key);
        }
        for key in &self.env_remove {
            command.env_remove(key);
        }
        command.envs(self.env.iter().map(|(key, value)| (key, value)));
        if let Some(directory) = &self.cwd {
            command.current_dir(directory);
        }
        let stdin = if self.stdin.is_some() { Stdio::piped() } else { Stdio::null() };
        command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.process_group(0).kill_on_drop(true);
        command
    }

    /// Starts it and takes hold of its tree.
    pub(crate) fn spawn(&self, command: &mut Command) -> Result<(Child, Tree), ProcessError> {
        let (child, tree) = Tree::spawn(command)
            .map_err(|source| ProcessError::Spawn { program: self.program.clone(), source })?;
        match self.priority {
            Priority::Normal => {}
            Priority::Background => tree.step_back(),
        }
        Ok((child, tree))
    }
}

/// Our settings, and what lets others act in our name: a repository's code must not see them.
fn is_secret(key: &OsStr) -> bool {
    let key = key.as_encoded_bytes();
    let prefixes: [&[u8]; 4] = [b"FLEETCHECK__", b"GITHUB_", b"GH_", b"AWS_"];
    let names: [&[u8]; 3] = [b"SSH_AUTH_SOCK", b"SSH_AGENT_PID", b"CREDENTIALS_DIRECTORY"];
    prefixes.iter().any(|it| key.starts_with(it)) || names.contains(&key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_stay_here() {
        for key in
            ["FLEETCHECK__GITHUB__APP_ID", "GITHUB_TOKEN", "GH_TOKEN", "AWS_SECRET_ACCESS_KEY"]
        {
            assert!(is_secret(OsStr::new(key)), "{key}");
        }
        assert!(!is_secret(OsStr::new("PATH")));
    }
}
