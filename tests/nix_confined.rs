//! Flakes that nobody here has written: what they give, and what they cannot reach.
#![expect(clippy::unwrap_used, reason = "a test: it may panic")]
#[path = "world/flakes.rs"]
mod flakes;
#[path = "world/forge.rs"]
mod forge;
#[path = "world/git_http.rs"]
mod git_http;
#[path = "world/nix.rs"]
mod nix;

use std::path::Path;
use std::sync::{Arc, Mutex};

use fleetcheck::domain::id::{AttrPath, CommitSha};
use fleetcheck::domain::lock::{Access, Lock};
use fleetcheck::nix::eval::{EvalError, Evaluator, Untrusted};
use fleetcheck::nix::flake::Pinned;
use fleetcheck::nix::git::{Mirror, Mirrors};
use tokio_util::sync::CancellationToken;

use crate::flakes::{Lab, SHARE, attr, evaluator};
use crate::forge::{Forge, Repository, TOKEN, git, source};
use crate::nix::TestNix;

/// A stranger's flake in our mirror, and a repository of this machine that is none of its business.
struct Stranger {
    nix: TestNix,
    repository: Repository,
    mirrors: Mirrors,
    evaluator: Evaluator,
    other: tempfile::TempDir,
    other_commit: String,
    stop: CancellationToken,
    _forge: Forge,
}

impl Stranger {
    async fn new(nix: TestNix) -> Self {
        let forge = Forge::start().await;
        let repository = forge.repository("fleet");
        let mirrors = Mirrors::new(&nix.directory().join("ours"), &forge.url);
        let other = tempfile::Builder::new().prefix("fc-other-").tempdir().unwrap();
        std::fs::write(other.path().join("flake.nix"), OTHER).unwrap();
        git(other.path(), &["init", "--quiet", "--initial-branch=main"]);
        git(other.path(), &["add", "."]);
        git(other.path(), &["commit", "--quiet", "-m", "x"]);
        let other_commit = git(other.path(), &["rev-parse", "HEAD"]);
        let evaluator = evaluator(&nix, |_| {});
        let stop = CancellationToken::new();
        Self { nix, repository, mirrors, evaluator, other, other_commit, stop, _forge: forge }
    }

    async fn commit(&self, flake: &str) -> (Mirror, CommitSha) {
        let flake = flake
            .replace("@OTHER@", &self.other.path().display().to_string())
            .replace("@REV@", &self.other_commit);
        self.repository.write("flake.nix", &flake);
        let commit = self.repository.commit("a stranger's");
        let from = source(&self.repository, Some(TOKEN));
        let mirror = self.mirrors.fetch(&from, &commit, &self.stop).await.unwrap();
        (mirror, commit)
    }

    /// With inputs as the lock file of that commit names them, all of which a trusted commit has.
    async fn confine(
        &self,
        mirror: &Mirror,
        commit: &CommitSha,
        lock: &Lock,
    ) -> Result<Pinned, EvalError> {
        let inputs = lock.admit(Some(lock)).unwrap();
        let untrusted = Untrusted { commit, dir: "", lock, inputs: &inputs };
        self.evaluator.confine(&mirror.flake(commit, ""), untrusted, &self.stop).await
    }
}

const OTHER: &str = "{ outputs = { self }: { value = \"the-secret\"; }; }\n";

const THEFTS: &str = r#"{
  outputs = { self }: let
    make = text: derivation { name = "x"; system = "x86_64-linux"; builder = "/bin/sh"; args = [ text ]; };
    steal = builtins.mapAttrs (_: it: make it);
    other = "/flake.nix";
  in {
    packages.x86_64-linux = steal {
      git = builtins.readFile ((builtins.fetchGit { url = "file://@OTHER@"; rev = "@REV@"; }) + other);
      folder = builtins.readFile ((builtins.fetchGit { url = "@OTHER@"; rev = "@REV@"; }) + other);
      flake = (builtins.getFlake "git+file://@OTHER@?rev=@REV@").value;
      tree = builtins.readFile ((builtins.fetchTree { type = "git"; url = "file://@OTHER@"; rev = "@REV@"; }) + other);
      url = builtins.readFile (builtins.fetchurl { url = "file://@OTHER@/flake.nix"; sha256 = "0000000000000000000000000000000000000000000000000000"; });
      tarball = builtins.readFile ((builtins.fetchTarball { url = "https://169.254.169.254/x.tar.gz"; sha256 = "0000000000000000000000000000000000000000000000000000"; }) + other);
      file = builtins.readFile (/. + "@OTHER@/flake.nix");
      import = import (/. + "@OTHER@/flake.nix");
      generated = builtins.readFile (make "echo generated > $out");
      environment = "${builtins.getEnv "HOME"}${toString (1 / (if builtins.getEnv "HOME" == "" then 0 else 1))}";
    };
    packages.x86_64-linux-good.own = make (builtins.readFile ./flake.nix);
  };
}
"#;

#[tokio::test]
async fn a_stranger_s_flake_reaches_nothing_but_its_own_files() {
    for nix in TestNix::all() {
        let lab = Stranger::new(nix).await;
        let (mirror, commit) = lab.commit(THEFTS).await;
        let flake = lab.confine(&mirror, &commit, &Lock::none()).await.unwrap();
        let evaluate = |name: &str| {
            let attrs = [attr(name)];
            let (evaluator, flake, stop) = (&lab.evaluator, &flake, &lab.stop);
            async move { evaluator.evaluate(flake, &attrs, SHARE, stop).await.map_err(|it| it.error) }
        };
        evaluate("packages.x86_64-linux-good.own").await.unwrap();
        for (name, reason) in [
            ("git", "a fork's commit may read its own files and inputs only"),
            ("folder", "a fork's commit may read its own files and inputs only"),
            ("flake", "builtins.getFlake and builtins.fetchTree are off for a fork's commit"),
            ("url", "a fork's commit may read its own files and inputs only"),
            ("tarball", "a fork's commit may read its own files and inputs only"),
            ("file", "a fork's commit may read its own files and inputs only"),
            ("import", "a fork's commit may read its own files and inputs only"),
            ("generated", "import from derivation is off for a fork's commit"),
            ("environment", "division by zero"),
            ("tree", "builtins.getFlake and builtins.fetchTree are off for a fork's commit"),
        ] {
            let ended = evaluate(&format!("packages.x86_64-linux.{name}")).await;
            let Err(EvalError::Flake(failure)) = ended else { panic!("{name}: {ended:?}") };
            assert!(failure.headline.starts_with(reason), "{name}: {}", failure.headline);
            assert!(!failure.trace.contains("the-secret"), "{name}: {}", failure.trace);
        }
        let text = std::fs::read_dir(lab.nix.directory().join("store")).unwrap();
        let built = text
            .filter_map(Result::ok)
            .filter(|it| it.file_name().to_string_lossy().ends_with("-x"));
        assert_eq!(built.count(), 0, "something was built while evaluating");
    }
}

#[tokio::test]
async fn a_confined_flake_gives_the_derivation_that_nix_build_gives() {
    for nix in TestNix::all() {
        let lab = Lab::within(nix, "identity", "nix", "ours").await;
        let hosts = [AttrPath::host("raider")];
        let wanted = lab.evaluate(&hosts).await.unwrap();
        let lock = Lock::none();
        let untrusted = Untrusted { commit: &lab.commit, dir: "nix", lock: &lock, inputs: &[] };
        let reference = lab.mirror.flake(&lab.commit, "nix");
        let flake = lab.evaluator.confine(&reference, untrusted, &lab.stop).await.unwrap();
        let found = lab.evaluator.evaluate(&flake, &hosts, SHARE, &lab.stop).await.unwrap();
        assert_eq!(found[0].derivation, wanted[0].derivation, "{:?}", lab.nix.program());
        let list = async |output: &str| {
            let outputs = [flakes::pattern(output)];
            lab.evaluator.list(&flake, &outputs, &[], &lab.stop).await.unwrap()
        };
        assert_eq!(list("nixosConfigurations.*").await, hosts);
        assert_eq!(list("homeConfigurations.*").await, []);
    }
}

const WITH_INPUT: &str = r#"{
  inputs.other.url = "git+file://@OTHER@";
  outputs = { self, other }: {
    packages.x86_64-linux.x = derivation {
      name = "x"; system = "x86_64-linux"; builder = "/bin/sh";
      args = [ "-c" "echo ${other.value} ${other} ${self} > $out" ];
    };
  };
}
"#;

/// The lock file that Nix makes of a folder's flake.
fn lock(nix: &TestNix, folder: &Path) -> Lock {
    git(folder, &["add", "--all"]);
    let flake = format!("git+file://{}", folder.display());
    nix.output("nix", ["flake", "metadata", "--json", &flake]);
    let output = nix.command("nix", ["flake", "lock"]).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Lock::parse(&std::fs::read(folder.join("flake.lock")).unwrap()).unwrap()
}

#[tokio::test]
async fn an_input_that_was_let_in_is_there_and_one_that_is_not_locked_is_named() {
    for nix in TestNix::all() {
        let lab = Stranger::new(nix).await;
        lab.commit(WITH_INPUT).await;
        let lock = lock(&lab.nix, lab.repository.folder());
        let commit = lab.repository.commit("locked");
        let from = source(&lab.repository, Some(TOKEN));
        let mirror = lab.mirrors.fetch(&from, &commit, &lab.stop).await.unwrap();
        let flake = lab.confine(&mirror, &commit, &lock).await.unwrap();
        let attrs = [attr("packages.x86_64-linux.x")];
        let found = lab.evaluator.evaluate(&flake, &attrs, SHARE, &lab.stop).await.unwrap();
        let reference = mirror.flake(&commit, "");
        let pinned = lab.evaluator.pin(&reference, Some(&commit), &lab.stop).await.unwrap();
        let wanted = lab.evaluator.evaluate(&pinned, &attrs, SHARE, &lab.stop).await.unwrap();
        assert_eq!(found[0].derivation, wanted[0].derivation, "{:?}", lab.nix.program());

        let flake = lab.confine(&mirror, &commit, &Lock::none()).await.unwrap();
        let ended =
            lab.evaluator.evaluate(&flake, &attrs, SHARE, &lab.stop).await.map_err(|it| it.error);
        let Err(EvalError::Flake(failure)) = ended else { panic!("{ended:?}") };
        assert_eq!(
            failure.headline,
            "flake.lock lacks the input other of flake.nix; run `nix flake lock` and commit the file"
        );
    }
}

#[tokio::test]
async fn a_stranger_s_mistake_is_told_with_its_file_and_line_like_anybody_s() {
    for nix in TestNix::all() {
        let lab = Lab::new(nix, "failing").await;
        let lock = Lock::none();
        let untrusted = Untrusted { commit: &lab.commit, dir: "", lock: &lock, inputs: &[] };
        let reference = lab.mirror.flake(&lab.commit, "");
        let flake = lab.evaluator.confine(&reference, untrusted, &lab.stop).await.unwrap();
        for host in ["throws", "missing", "undefined"] {
            let wanted = lab.failure(host).await;
            let ended = lab
                .evaluator
                .evaluate(&flake, &[AttrPath::host(host)], SHARE, &lab.stop)
                .await
                .map_err(|it| it.error);
            let Err(EvalError::Flake(found)) = ended else { panic!("{host}: {ended:?}") };
            assert_eq!((found.headline, found.place), (wanted.headline, wanted.place), "{host}");
            assert!(found.trace.len() < 30_000, "{host}: {} bytes", found.trace.len());
        }
    }
}

/// Serves a tarball to everyone, and remembers who said who they are.
async fn tarball_server(bytes: Vec<u8>) -> (String, Arc<Mutex<Vec<bool>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&seen);
    let serve = move |headers: axum::http::HeaderMap| async move {
        noted.lock().unwrap().push(headers.contains_key("authorization"));
        bytes
    };
    let router = axum::Router::new().route("/lib.tar", axum::routing::get(serve));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/lib.tar", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (url, seen)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_public_input_is_fetched_without_any_of_our_secrets() {
    for nix in TestNix::all() {
        let folder = nix.directory().join("tarball");
        std::fs::create_dir_all(folder.join("lib")).unwrap();
        std::fs::write(folder.join("lib/flake.nix"), OTHER).unwrap();
        let mut tar = std::process::Command::new("tar");
        let tar = tar.arg("-C").arg(&folder).args(["-c", "lib"]).output().unwrap();
        let (url, seen) = tarball_server(tar.stdout).await;
        let netrc = nix.directory().join("netrc");
        std::fs::write(&netrc, "machine 127.0.0.1 login us password secret\n").unwrap();
        let nix = nix.setting(&format!("netrc-file = {}", netrc.display()));
        let expression =
            format!("(builtins.fetchTree {{ type = \"tarball\"; url = \"{url}\"; }}).narHash");
        let hash = nix.output("nix", ["eval", "--impure", "--raw", "--expr", &expression]);
        assert!(seen.lock().unwrap().contains(&true), "trusted, the machine's netrc is used");
        seen.lock().unwrap().clear();

        // Another store and cache, in which it is not yet.
        let other = TestNix::new(nix.program());
        let other = other.setting(&format!("netrc-file = {}", netrc.display()));
        let lab = Stranger::new(other).await;
        let (mirror, commit) = lab.commit(&WITH_INPUT.replace("git+file://@OTHER@", &url)).await;
        let locked = serde_json::json!({ "type": "tarball", "url": url, "narHash": hash });
        let lock = serde_json::json!({ "version": 7, "root": "root", "nodes": {
            "root": { "inputs": { "other": "other" } }, "other": { "locked": locked },
        } });
        let lock = Lock::parse(lock.to_string().as_bytes()).unwrap();
        let mut inputs = lock.admit(Some(&lock)).unwrap();
        inputs[0].access = Access::Public;
        let untrusted = Untrusted { commit: &commit, dir: "", lock: &lock, inputs: &inputs };
        let reference = mirror.flake(&commit, "");
        let flake = lab.evaluator.confine(&reference, untrusted, &lab.stop).await.unwrap();
        let attrs = [attr("packages.x86_64-linux.x")];
        lab.evaluator.evaluate(&flake, &attrs, SHARE, &lab.stop).await.unwrap();
        assert_eq!(*seen.lock().unwrap(), [false], "{:?}", lab.nix.program());
    }
}
