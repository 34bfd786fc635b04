//! The settings of the service in a world.
use std::fmt::Write as _;
use std::path::PathBuf;

use super::World;
use super::machine::Machine;
use super::s3::S3;

impl World {
    /// Builds the repositories of this account too.
    pub fn owner(mut self, name: &str) -> Self {
        self.owners.push(name.to_owned());
        self
    }

    /// With this store instead of `SQLite`.
    pub fn store(mut self, url: String) -> Self {
        self.store = Some(url);
        self
    }

    /// With these roles only.
    pub fn roles(mut self, roles: &str) -> Self {
        self.roles = Some(roles.to_owned());
        self
    }

    /// With more lines of `[nix]`.
    pub fn setting(mut self, line: &str) -> Self {
        writeln!(self.settings, "{line}").unwrap();
        self
    }

    /// With more lines of `[github]`.
    pub fn github_setting(mut self, line: &str) -> Self {
        writeln!(self.github_settings, "{line}").unwrap();
        self
    }

    /// Other instances are told where this one is.
    pub fn reachable(mut self) -> Self {
        writeln!(self.http_settings, "instance_url = {:?}", self.url("/")).unwrap();
        self
    }

    /// With finished logs in this bucket.
    pub fn bucket(mut self, bucket: &S3) -> Self {
        let secret = self.directory.path().join("bucket");
        self.logs = format!("[logs]\n{}", bucket.settings(&secret));
        self
    }

    /// With a builder on this machine, besides the local one.
    pub fn builder(self, machine: &Machine, slots: u32) -> Self {
        self.builder_with(machine, slots, "")
    }

    /// The same with more lines of its settings.
    pub fn builder_with(mut self, machine: &Machine, slots: u32, more: &str) -> Self {
        let Machine { name, systems, .. } = machine;
        write!(
            self.builders,
            "[[builder]]\nname = {name:?}\nstore = {store:?}\nsystems = {systems:?}\n\
             slots = {slots}\nssh_options = {options:?}\n{more}\n",
            store = machine.store(),
            options = machine.ssh_options(),
        )
        .unwrap();
        self
    }

    /// With another line for the builder that was given last.
    pub fn builder_setting(mut self, line: &str) -> Self {
        writeln!(self.builders, "{line}").unwrap();
        self
    }

    /// With the builders of Nix's own file alone, and with that.
    pub fn machines_file(mut self) -> (Self, PathBuf) {
        let file = self.directory.path().join("machines");
        self.builders = format!("[builders]\nfile = {:?}\n", file.display().to_string());
        (self, file)
    }

    pub fn write_settings(&self) -> PathBuf {
        let at = |name: &str| self.directory.path().join(name);
        std::fs::write(at("key.pem"), self.github.private_key_pem()).unwrap();
        std::fs::write(at("webhook"), self.github.secret()).unwrap();
        let local =
            format!("[[builder]]\nname = \"local\"\nsystems = [{:?}]\nslots = 2", self.system);
        let text = format!(
            r#"
[http]
listen = "127.0.0.1:{port}"
public_url = "http://127.0.0.1:{port}"
{http_settings}
[github]
app_id = {app}
private_key_files = {keys:?}
webhook_secret_files = ["{secret}"]
api_url = "{api}"
git_url = "{git}"
owners = {owners:?}
{github_settings}
[store]
url = "{store}"
directory = "{state}"
{logs}
[nix]
program = "{nix}"
{settings}
{local}
{builders}
"#,
            port = self.port,
            app = self.github.app_id(),
            keys = self.keys.clone().unwrap_or_else(|| vec![at("key.pem")]),
            secret = at("webhook").display(),
            api = self.github.api_url(),
            git = self.github.git_url(),
            store = self
                .store
                .clone()
                .unwrap_or_else(|| format!("sqlite:{}", at("fleetcheck.db").display())),
            state = at("state").display(),
            nix = self.nix.program().display(),
            logs = self.logs,
            settings = self.settings,
            github_settings = self.github_settings,
            http_settings = self.http_settings,
            owners = self.owners,
            builders = self.builders,
            local = if self.builders.starts_with("[builders]") { String::new() } else { local },
        );
        std::fs::write(at("fleetcheck.toml"), text).unwrap();
        at("fleetcheck.toml")
    }
}
