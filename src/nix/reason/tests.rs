//! What is read in Nix's errors, and every fixture with its row.
use super::*;

const DRV: &str = "/nix/store/hdvw8ij3z9a7dg5j0axx49an104isz9y-fail.drv";

fn said(text: &str) -> (Kind, String) {
    let reason = read(&text.replace("DRV", DRV));
    if reason.kind != Kind::Other {
        assert!(reason.drv.is_none_or(|it| it.as_str() == DRV), "{text}");
    }
    (reason.kind, reason.headline)
}

#[test]
fn an_exit_code_is_told_alike_by_old_and_new() {
    let old = "error: builder for 'DRV' failed with exit code 3;\n last 2 log lines:\n > a\n > b";
    let new = "error: Cannot build 'DRV'.\n  Reason: builder failed with exit code 3.\n  \
               Output paths:\n   /nix/store/x\n Last 2 log lines:\n > one";
    for text in [old, new] {
        assert_eq!(said(text), (Kind::Exited, "builder failed with exit code 3".to_owned()));
    }
    assert_eq!(read(&old.replace("DRV", DRV)).drv, DRV.parse().ok());
}

#[test]
fn what_a_build_printed_decides_nothing() {
    let text = "Cannot build 'DRV'.\nReason: builder failed with exit code 1.\nLast 3 log lines:\n\
                > No space left on device\n> failed due to signal 9 (Killed)\n\
                > note: build failure may have been caused by lack of free disk space";
    assert_eq!(said(text).0, Kind::Exited);
}

#[test]
fn the_weather_is_told_from_failures() {
    for text in [
        "builder for 'DRV' failed due to signal 9 (Killed)",
        "Cannot build 'DRV'.\nReason: builder failed due to signal 9 (Killed).",
        "writing to file: No space left on device",
        "some substitutes for the outputs of derivation 'DRV' failed (usually happens due to \
         networking issues); try '--fallback' to build derivation from source ",
        "unable to download 'https://cache.example.org/x.narinfo': HTTP error 504",
        "builder for 'DRV' failed with exit code 1;\nlast 1 log lines:\n> x\nFor full logs, \
         run 'nix log'.\nnote: build failure may have been caused by lack of free disk space",
    ] {
        assert_eq!(said(text).0, Kind::Weather, "{text}");
    }
}

#[test]
fn headlines_are_plain_words_without_hashes() {
    for (text, headline) in [
        (
            "hash mismatch in fixed-output derivation 'DRV':\n  specified: sha256-A=\n     got:    sha256-B=",
            "hash mismatch: specified sha256-A=, got sha256-B=",
        ),
        (
            "Cannot build 'DRV'.\nReason: platform mismatch\nRequired system: 'aarch64-linux'\n\
             Current system: 'x86_64-linux'",
            "platform mismatch: Required system: 'aarch64-linux', Current system: 'x86_64-linux'",
        ),
        (
            "builder for 'DRV' failed to produce output path for output 'out' at \
             '/nix/store/xfvv4pqqazk0px48a40qdp5cby2scvam-noout'",
            "builder failed to produce output path for output 'out' at 'noout'",
        ),
        (
            "a 'aarch64-linux' with features {} is required to build 'DRV', but I am a 'x86_64-linux'",
            "a 'aarch64-linux' with features {} is required to build 'fail', but I am a 'x86_64-linux'",
        ),
    ] {
        assert_eq!(said(text), (Kind::Failed, headline.to_owned()));
    }
}

#[test]
fn a_time_limit_is_read_whether_it_names_the_derivation_or_not() {
    let old = "building of 'DRV!out' from .drv file timed out after 3 seconds of silence";
    assert_eq!(said(old), (Kind::TimedOut, "timed out after 3 seconds of silence".to_owned()));
    assert_eq!(read(&old.replace("DRV", DRV)).drv, DRV.parse().ok());
    let new = read("timed out after 4 seconds");
    assert_eq!((new.kind, new.drv), (Kind::TimedOut, None));
}

/// A file of `fixtures/weather`.
struct Fixture {
    /// The row's folder.
    row: String,
    name: String,
    status: String,
    message: String,
    /// Of a fixed-output derivation alone.
    log: Option<Vec<String>>,
}

fn fixtures() -> Vec<Fixture> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/weather");
    let named = |it: &std::path::Path| it.file_name().unwrap().to_string_lossy().into_owned();
    let inside = |it: &std::path::Path| {
        let mut all: Vec<_> = std::fs::read_dir(it).unwrap().map(|it| it.unwrap().path()).collect();
        all.sort();
        all
    };
    let mut all = Vec::new();
    for row in inside(&folder) {
        for file in inside(&row) {
            let text = std::fs::read_to_string(&file).unwrap();
            let (status, rest) = text.split_once("\n--- message\n").unwrap();
            let (message, log) = match rest.split_once("--- log (") {
                Some((message, log)) => (message, Some(log)),
                None => (rest, None),
            };
            let log = log.and_then(|it| it.strip_prefix("fixed-output)\n"));
            all.push(Fixture {
                row: named(&row),
                name: named(&file),
                status: status.trim_start_matches("status: ").to_owned(),
                message: message.trim_end().to_owned(),
                log: log.map(|it| it.lines().map(str::to_owned).collect()),
            });
        }
    }
    all
}

/// The row that a fixture is read as, whose it is, and the headline.
fn judged(fixture: &Fixture) -> (String, Kind, String) {
    let Fixture { status, message, log, .. } = fixture;
    if status == "connection" {
        let row = table::connection(message);
        return (row.name.to_owned(), row.kind, of_connection(message));
    }
    let status = (0..32).map(Status::from_number).find(|it| format!("{it:?}") == *status);
    let reason = judge(status, message);
    let failed = log.as_ref().filter(|_| reason.kind == Kind::Exited).and_then(|it| download(it));
    if let Some(words) = failed {
        return (table::DOWNLOAD.name.to_owned(), table::DOWNLOAD.kind, words);
    }
    let lines: Vec<&str> =
        message.lines().map(str::trim).take_while(|line| !is_quote(line)).collect();
    let remark = message.contains(DISK_FULL_NOTE).then_some(Remark::DiskFull);
    let row = table::row(status, &lines.join("\n"), remark);
    (row.map_or("none", |it| it.name).to_owned(), reason.kind, reason.headline)
}

#[test]
fn every_row_has_a_fixture_and_every_fixture_is_of_its_row() {
    let fixtures = fixtures();
    let rows = table::TABLE.iter().chain(table::CONNECTION).chain([&table::DOWNLOAD]);
    for row in rows {
        assert!(fixtures.iter().any(|it| it.row == row.name), "no fixture for {}", row.name);
    }
    let lines = fixtures.iter().map(|it| {
        let (row, kind, headline) = judged(it);
        assert_eq!(row, it.row, "{}: {headline}", it.name);
        let headline = headline.replace("\r\n", " / ").replace(['\n', '\r'], " / ");
        format!("{}/{}: {kind:?}: {headline}", it.row, it.name.trim_end_matches(".txt"))
    });
    insta::assert_snapshot!(lines.collect::<Vec<_>>().join("\n"));
}

/// What the tests with a second machine kept: the kind of end in the first line, then the words.
#[test]
fn what_happens_to_another_machine_is_nobodys_fault() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/weather-over-ssh");
    let mut seen = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let file = file.unwrap().path();
        let text = std::fs::read_to_string(&file).unwrap();
        let (end, words) = text.split_once('\n').unwrap();
        let kind = match end {
            "Lost" => table::connection(words).kind,
            "Daemon" => read(words).kind,
            "TransientFailure" => judge(Some(Status::TransientFailure), words).kind,
            // `nix copy` failed: that is never an answer, whatever it says.
            _ => Kind::Weather,
        };
        assert!(matches!(kind, Kind::Weather | Kind::Other), "{}: {kind:?}", file.display());
        seen += 1;
    }
    assert!(seen > 20, "{seen} files");
}

#[test]
fn of_a_copy_that_failed_no_address_and_no_key_is_told() {
    for (case, told) in [
        ("cut-copy", Some("the machine could not be reached")),
        ("refused-copy", Some("the machine could not be reached")),
        ("disk-full-copy", Some("no space is left there")),
        ("host-key-copy", None),
    ] {
        for nix in ["2.34", "2.8"] {
            let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/weather-over-ssh");
            let words = std::fs::read_to_string(format!("{folder}/{case}.nix-{nix}.txt")).unwrap();
            assert_eq!(outline_of_copy(&words), told, "{case} {nix}");
        }
    }
}
