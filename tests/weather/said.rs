//! One case: what was said, made comparable, and the file that it is compared with.
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use fleetcheck::nix::worker::{Observed, WorkerError};

use crate::lab::Lab;

/// The folder is the row of the table that it belongs to, the name is the derivation's.
#[derive(Clone, Copy)]
pub(crate) struct Case<'a> {
    pub(crate) row: &'a str,
    pub(crate) name: &'a str,
}

/// Builds a derivation and compares what Nix answers, and what the build printed.
pub(crate) async fn build(lab: &mut Lab, case: Case<'_>) {
    let drv = lab.drv(case.name).clone();
    let mut log = String::new();
    let mut observe = |it: Observed<'_>| {
        if let Observed::Line { text, .. } = it {
            log.push_str(&String::from_utf8_lossy(text));
            log.push('\n');
        }
    };
    let limits = lab.limits;
    let built = lab.worker.build(std::slice::from_ref(&drv), &limits, &mut observe).await;
    let mut said = String::new();
    match built {
        Ok(results) => {
            let (_, result) = &results[0];
            writeln!(said, "status: {:?}\n--- message\n{}", result.status, result.message).unwrap();
        }
        Err(WorkerError::Daemon(words)) => {
            writeln!(said, "status: refused\n--- message\n{words}").unwrap();
        }
        Err(error) => panic!("{}: {error}", case.name),
    }
    let fixed =
        std::fs::read_to_string(drv.as_str()).unwrap_or_default().contains("(\"outputHash\",");
    if fixed || case.row == "exit-code" {
        let kind = if fixed { "fixed-output" } else { "input-addressed" };
        write!(said, "--- log ({kind})\n{log}").unwrap();
    }
    let version = lab.worker.version();
    let version = version.rsplit_once('.').map_or(version, |it| it.0);
    compare(case, version, &comparable(&said, lab.nix.directory()));
}

/// Compares what Nix's own program says where the daemon would answer so.
pub(crate) fn refused(lab: &Lab, case: Case<'_>, words: &str) {
    let said = format!("status: TransientFailure\n--- message\n{words}\n");
    let version = lab.worker.version();
    let version = version.rsplit_once('.').map_or(version, |it| it.0);
    compare(case, version, &comparable(&said, lab.nix.directory()));
}

/// Compares what is known of a connection that there is none of, or none any more.
pub(crate) fn connection(case: Case<'_>, words: &str) {
    let words = comparable(words.trim(), Path::new("/nowhere"));
    compare(case, "ssh", &format!("status: connection\n--- message\n{words}\n"));
}

fn compare(case: Case<'_>, version: &str, said: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/weather").join(case.row);
    let path: PathBuf = folder.join(format!("{}-{version}.txt", case.name));
    if std::env::var_os("FLEETCHECK_RECORD").is_some() {
        std::fs::create_dir_all(folder).unwrap();
        return std::fs::write(&path, said).unwrap();
    }
    match std::fs::read_to_string(&path) {
        Ok(recorded) => assert_eq!(said, recorded, "{}", path.display()),
        // A version that nobody has recorded says what it says; the table's test is not its.
        Err(error) if version != "2.34" && version != "2.8" => println!("{error}: {version}"),
        Err(error) => panic!("{}: {error}; run with FLEETCHECK_RECORD=1", path.display()),
    }
}

/// Without what differs from run to run: places, hashes that follow from them, ports and times.
fn comparable(said: &str, directory: &Path) -> String {
    let said = said.replace(&*directory.to_string_lossy(), "/nix");
    let mut out = String::new();
    let mut rest = said.as_str();
    while let Some((before, after)) = rest.split_once("/nix/store/") {
        out.push_str(before);
        out.push_str("/nix/store/");
        let is_hash = after.as_bytes().get(32) == Some(&b'-');
        out.push_str(if is_hash { "783yqpnsx5xvpayk2bnrb6cmk0a7blys" } else { "" });
        rest = if is_hash { &after[32..] } else { after };
    }
    out.push_str(rest);
    let out = with_number(&out, "127.0.0.1:", |it| if it == "1" { "1" } else { "8080" });
    let out = with_number(&out, "127.0.0.1 port ", |it| if it == "1" { "1" } else { "8080" });
    with_number(&out, " after ", |it| if it.len() > 3 { "2000" } else { it })
        .replace(" after 1 ms", " after 0 ms")
        .replace(" after 2 ms", " after 0 ms")
}

fn with_number(text: &str, before: &str, number: impl Fn(&str) -> &str) -> String {
    let mut parts = text.split(before);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|it: char| !it.is_ascii_digit()).unwrap_or(part.len());
        out.push_str(before);
        out.push_str(number(&part[..end]));
        out.push_str(&part[end..]);
    }
    out
}
