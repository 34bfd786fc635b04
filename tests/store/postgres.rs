//! A `PostgreSQL` server of the tests' own, for as long as the tests run.
#![allow(dead_code, reason = "each test file uses its part")]
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

/// Stops the server and starts it again, a line for each. Ends when its standard input does, so the
/// server never outlives the tests, however they end.
const KEEPER: &str = r#"
    start() {
        "$0" -D "$1/data" -k "$1" -c listen_addresses='' -c fsync=off -c max_connections=300 \
            >>"$1/log" 2>&1 & server=$!
    }
    start "$1"
    while read -r _; do kill -QUIT $server; wait $server; echo; read -r _; start "$1"; done
    kill -INT $server; wait $server; rm -rf "$1"
"#;

pub(crate) struct Server {
    directory: PathBuf,
    keeper: Child,
}

impl Server {
    /// The one server of this test binary.
    pub(crate) fn get() -> &'static Self {
        static SERVER: OnceLock<Server> = OnceLock::new();
        SERVER.get_or_init(Self::start)
    }

    /// A URL whose tables are in a schema of their own.
    pub(crate) fn url(&self, schema: &str) -> String {
        let socket = self.directory.display().to_string().replace('/', "%2F");
        format!("postgres://fleet@{socket}/postgres?options=-c%20search_path%3D{schema}")
    }

    /// It is gone at once, with every connection, as after a crash.
    pub(crate) fn stop(&mut self) {
        self.order();
        let mut answer = [0];
        self.keeper.stdout.as_mut().unwrap().read_exact(&mut answer).unwrap();
    }

    /// After [`Server::stop`].
    pub(crate) fn start_again(&mut self) {
        self.order();
        self.ready();
    }

    fn order(&mut self) {
        self.keeper.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    }

    fn ready(&self) {
        let socket = self.directory.join(".s.PGSQL.5432");
        let ready = (0..1200).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(50));
            std::os::unix::net::UnixStream::connect(&socket).is_ok()
        });
        assert!(ready, "PostgreSQL did not start; see {}/log", self.directory.display());
    }

    /// A server of the caller's own.
    pub(crate) fn start() -> Self {
        let programs = programs();
        let directory = tempfile::Builder::new().prefix("fleet-pg-").tempdir().unwrap().keep();
        std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o700)).unwrap();
        // PostgreSQL refuses to be root.
        let user = is_root().then(|| own(&directory));
        let made = command(user, &programs.join("initdb"))
            .args(["--no-sync", "-A", "trust", "-U", "fleet", "-E", "UTF8", "--locale=C", "-D"])
            .arg(directory.join("data"))
            .output()
            .unwrap();
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let keeper = command(user, Path::new("sh"))
            .args(["-c", KEEPER])
            .arg(programs.join("postgres"))
            .arg(&directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let server = Self { directory, keeper };
        server.ready();
        server
    }
}

/// Where `initdb` and `postgres` are: on the PATH, or where Debian hides them.
fn programs() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let found = std::env::split_paths(&path)
        .chain(debian.map(|it| it.path().join("bin")))
        .map(|it| it.join("initdb").canonicalize().unwrap_or_default())
        .find(|it| it.is_file());
    let initdb = found.expect(
        "the store's contract runs on PostgreSQL too: install it (Debian: apt-get install \
         postgresql; or `nix develop`), so that `initdb` is found",
    );
    initdb.parent().unwrap().to_owned()
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}

/// Gives the directory to `nobody`.
fn own(directory: &Path) -> u32 {
    let nobody = 65_534;
    std::os::unix::fs::chown(directory, Some(nobody), Some(nobody)).unwrap();
    nobody
}

fn command(user: Option<u32>, program: &Path) -> Command {
    let Some(user) = user else { return Command::new(program) };
    let mut command = Command::new("setpriv");
    command.args([format!("--reuid={user}"), format!("--regid={user}"), "--clear-groups".into()]);
    command.arg(program).current_dir("/");
    command
}
