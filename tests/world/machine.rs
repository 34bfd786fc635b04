//! A second machine on this one: a real sshd and a real Nix store of its own, in namespaces.
#![expect(clippy::unwrap_used, reason = "a harness: it may panic")]
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fleetcheck::nix::Nix;
use procfs::process::{Process, all_processes};

use super::nix::TestNix;

/// What a machine is, besides its name.
pub struct Equipment {
    /// What it builds for, the system that it calls its own first. All of it runs as this
    /// machine's own.
    pub systems: Vec<String>,
    /// Its `system-features`.
    pub features: Vec<String>,
    /// The whole disk: store, logs, and where builds work.
    pub mebibytes: u32,
    /// The `nix` program found on it; `None` for the client's.
    pub program: Option<PathBuf>,
}

impl Equipment {
    pub fn of(systems: &[&str]) -> Self {
        let owned = |all: &[&str]| all.iter().map(|&it| it.to_owned()).collect();
        let features = owned(&["benchmark", "big-parallel", "nixos-test"]);
        Self { systems: owned(systems), features, mebibytes: 512, program: None }
    }
}

/// A machine that runs. It ends when this is dropped, and when the test's process is killed.
pub struct Machine {
    pub name: String,
    pub systems: Vec<String>,
    pub features: Vec<String>,
    /// Its only address, which no other machine has: `10.…`.
    pub address: String,
    /// Its keys, its sshd's settings and log, the client's settings for ssh.
    own: tempfile::TempDir,
    client: Nix,
    /// In its namespaces but for the processes'.
    gate: Child,
    orders: Mutex<Orders>,
}

/// The conversation with `machine.sh`. Its end is the machine's.
struct Orders {
    told: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Machine {
    /// A machine for the client's store, reached by this name, that builds for these systems.
    pub fn start(nix: &TestNix, name: &str, systems: &[&str]) -> Self {
        Self::equipped(nix, name, Equipment::of(systems))
    }

    pub fn equipped(nix: &TestNix, name: &str, equipment: Equipment) -> Self {
        let own = tempfile::Builder::new().prefix("fc-machine-").tempdir().unwrap();
        std::fs::write(own.path().join("nix.conf"), nix_conf(&equipment)).unwrap();
        let program = equipment.program.as_deref().unwrap_or(nix.program());
        let sshd = sshd_config(nix.directory(), own.path(), program);
        std::fs::write(own.path().join("sshd_config"), sshd).unwrap();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/world/machine.sh");
        let said = std::fs::File::create(own.path().join("machine.log")).unwrap();
        let mut gate = Command::new("bash")
            .args([Path::new(script), nix.directory(), own.path()])
            .arg(equipment.mebibytes.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(said)
            .spawn()
            .unwrap();
        let answers = BufReader::new(gate.stdout.take().unwrap());
        let orders = Orders { told: gate.stdin.take(), answers };
        let mut machine = Self {
            name: name.to_owned(),
            systems: equipment.systems,
            features: equipment.features,
            address: String::new(),
            own,
            client: nix.nix(),
            gate,
            orders: Mutex::new(orders),
        };
        let ready = machine.answer();
        ready.strip_prefix("ready ").unwrap().clone_into(&mut machine.address);
        std::fs::write(machine.own.path().join("config"), machine.ssh_config()).unwrap();
        machine
    }

    /// For `store` of a builder, and for `NIX_REMOTE`.
    pub fn store(&self) -> String {
        format!("ssh-ng://root@{}", self.name)
    }

    /// For `instance_store` of the service that runs here: all that ssh is told is in it.
    pub fn lent_store(&self) -> String {
        let own = self.own.path();
        let key = STANDARD.encode(std::fs::read(own.join("host_key.pub")).unwrap());
        let key = key.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
        let (address, own) = (&self.address, own.display());
        format!("ssh-ng://root@{address}?ssh-key={own}/key&base64-ssh-public-host-key={key}")
    }

    /// The process in whose mounts a service runs that is to have this machine's disk.
    pub fn gate(&self) -> u32 {
        self.gate.id()
    }

    /// For `ssh_options` of a builder.
    pub fn ssh_options(&self) -> Vec<String> {
        vec!["-F".to_owned(), self.own.path().join("config").display().to_string()]
    }

    /// For a file like `/etc/nix/machines`: all that ssh is told is in it.
    pub fn line(&self, jobs: u32) -> String {
        let own = self.own.path();
        let key = STANDARD.encode(std::fs::read(own.join("host_key.pub")).unwrap());
        let (address, systems) = (&self.address, self.systems.join(","));
        format!("root@{address} {systems} {}/key {jobs} 1 - - {key}\n", own.display())
    }

    /// The client's Nix whose programs work in this machine's store, with more options of ssh.
    pub fn remote(&self, more: &[&str]) -> Nix {
        let options = format!("{} {}", self.ssh_options().join(" "), more.join(" "));
        self.client.clone().with_env([
            ("NIX_REMOTE".into(), self.store().into()),
            ("NIX_SSHOPTS".into(), options.trim().into()),
        ])
    }

    /// `ssh … NAME WORDS…` of the client's.
    pub fn ssh(&self, words: &[&str]) -> Command {
        let mut command = Command::new("ssh");
        command.args(self.ssh_options()).arg(&self.name).args(words).stdin(Stdio::null());
        command
    }

    /// Where to find what this path means on the machine.
    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.gate.id()));
        root.join(path.as_ref().strip_prefix("/").unwrap())
    }

    /// A line about every living process on the machine but its first: the number that it has
    /// here, and its words.
    pub fn processes(&self) -> Vec<String> {
        let gate = Process::new(self.gate.id().cast_signed()).unwrap();
        let children = space(&gate, "pid_for_children");
        let all = all_processes().unwrap().filter_map(Result::ok);
        all.filter(|it| it.stat().is_ok_and(|it| it.state != 'Z' && it.ppid != gate.pid))
            .filter(|it| space(it, "pid") == children)
            .map(|it| format!("{} {}", it.pid, it.cmdline().unwrap_or_default().join(" ")))
            .collect()
    }

    /// Every packet from and to it is dropped, without a word.
    pub fn cut_network(&self) {
        self.order("cut");
    }

    pub fn mend_network(&self) {
        self.order("mend");
    }

    /// Its sshd and everything else on it are killed: connections are closed, new ones refused.
    pub fn stop(&self) {
        self.order("stop");
    }

    /// After [`Machine::stop`].
    pub fn start_again(&self) {
        self.order("start");
    }

    /// Everything on it stands still: connections stay and say nothing.
    pub fn hang(&self) {
        self.order("hang");
    }

    pub fn go_on(&self) {
        self.order("go-on");
    }

    /// It starts anew with a host key that the client was not told.
    pub fn new_host_key(&self) {
        self.order("new-key");
    }

    /// It takes the time for so many seconds later than it is.
    pub fn set_clock_ahead(&self, seconds: u32) {
        self.order(&format!("clock {seconds}"));
    }

    /// All of its disk but so many bytes is taken.
    pub fn fill_disk(&self, but: u64) {
        self.order(&format!("fill {but}"));
    }

    pub fn free_disk(&self) {
        self.order("free");
    }

    fn order(&self, words: &str) {
        writeln!(self.orders.lock().unwrap().told.as_ref().unwrap(), "{words}").unwrap();
        assert_eq!(self.answer(), "done");
    }

    fn answer(&self) -> String {
        let mut line = String::new();
        self.orders.lock().unwrap().answers.read_line(&mut line).unwrap();
        if line.is_empty() {
            let said = std::fs::read_to_string(self.own.path().join("machine.log")).unwrap();
            panic!("there is no second machine, and this test needs one:\n{said}");
        }
        line.trim_end().to_owned()
    }

    /// What the client's ssh is told; this machine's own settings are not read.
    fn ssh_config(&self) -> String {
        let (name, address, own) = (&self.name, &self.address, self.own.path().display());
        format!(
            "Host {name}\n\
             \tHostName {address}\n\
             \tPort 22\n\
             \tUser root\n\
             \tIdentityFile {own}/key\n\
             \tIdentitiesOnly yes\n\
             \tUserKnownHostsFile {own}/known_hosts\n\
             \tGlobalKnownHostsFile /dev/null\n\
             \tStrictHostKeyChecking yes\n\
             \tBatchMode yes\n"
        )
    }
}

impl Drop for Machine {
    /// The script reads the end of its orders and ends; the kernel ends what is left of the rest.
    fn drop(&mut self) {
        let orders = self.orders.get_mut();
        orders.unwrap_or_else(std::sync::PoisonError::into_inner).told = None;
        if let Err(error) = self.gate.wait() {
            eprintln!("the machine {} did not end: {error}", self.name);
        }
    }
}

/// The number of a namespace of a process; `None` when the process is gone.
fn space(process: &Process, kind: &str) -> Option<u64> {
    process.namespaces().ok()?.0.get(OsStr::new(kind)).map(|it| it.identifier)
}

fn nix_conf(equipment: &Equipment) -> String {
    let (system, others) = equipment.systems.split_first().unwrap();
    let (others, features) = (others.join(" "), equipment.features.join(" "));
    format!(
        "experimental-features = nix-command flakes\n\
         substituters =\n\
         sandbox = false\n\
         build-users-group =\n\
         flake-registry =\n\
         system = {system}\n\
         extra-platforms = {others}\n\
         system-features = {features}\n"
    )
}

/// Of several `SetEnv` only the first counts.
fn sshd_config(folder: &Path, own: &Path, program: &Path) -> String {
    let (folder, own) = (folder.display(), own.display());
    let programs = program.parent().unwrap().display();
    format!(
        "HostKey {own}/host_key\n\
         AuthorizedKeysFile {own}/key.pub\n\
         StrictModes no\n\
         PermitRootLogin prohibit-password\n\
         PasswordAuthentication no\n\
         UsePAM no\n\
         UseDNS no\n\
         PidFile none\n\
         MaxStartups 200\n\
         MaxSessions 200\n\
         SetEnv PATH={programs}:/usr/bin:/bin NIX_STORE_DIR={folder}/store \
         NIX_STATE_DIR={folder}/var NIX_LOG_DIR={folder}/log NIX_CONF_DIR={folder}/etc \
         TMPDIR={folder}/tmp XDG_CACHE_HOME={folder}/home/.cache\n"
    )
}
