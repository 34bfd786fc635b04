mod compared;
mod gate;
mod host;
pub(crate) mod hostile;
mod insight;
mod open;
mod trust;

use std::collections::BTreeMap;
use std::fmt::Write;

use super::*;
use crate::domain::base::{Answer, Base, BaseHost, ExistingFailures, Tested};
use crate::domain::build::{
    BuildFailure, BuildState, Derivation, Ending, EvaluationFailure, Rebuild, Required, TimedOut,
    Waiting, Warning,
};
use crate::domain::id::AttrPath;
use crate::domain::incoming::Visibility;
use crate::domain::lock::stale::LastMove;
use crate::domain::run::{Approval, Reason, RunState, Skip, Trust};
use crate::domain::verdict::{Problem, Verdict};

pub(crate) const NOW: Timestamp = Timestamp(1_795_000_000_000);

fn derivation(name: &str) -> Derivation {
    Derivation {
        path: format!("/nix/store/783yqpnsx5xvpayk2bnrb6cmk0a7blys-{name}.drv").parse().unwrap(),
        outputs: BTreeMap::new(),
        system: "x86_64-linux".into(),
        features: vec!["kvm".into()],
    }
}

fn build(host: &str, state: BuildState) -> BuildView {
    let attempts = u32::from(!matches!(
        state,
        BuildState::Listed { .. }
            | BuildState::Waiting { .. }
            | BuildState::Ended { ending: Ending::Reused | Ending::EvaluationFailed(_), .. }
    ));
    BuildView {
        build: Build {
            id: "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap(),
            run: "01890a5d-ac96-774b-bcce-b302099a8058".parse().unwrap(),
            attr: AttrPath::host(host),
            required: Required::Required,
            attempts,
            rebuild: Rebuild::IfMissing,
            state,
        },
        evaluation: Some(EvaluationCost { elapsed_ms: 3200, peak_memory: 1_500_000_000 }),
        started_at: (attempts > 0).then_some(NOW),
        warnings: vec![],
        outlook: Outlook::default(),
        insight: None,
        history: History::default(),
        attempt: (attempts > 0).then(|| "01890a5d-ac96-774b-bcce-b302099a8059".parse().unwrap()),
        note: None,
    }
}

pub(crate) fn ended(host: &str, ending: Ending) -> BuildView {
    let derivation = (!matches!(ending, Ending::EvaluationFailed(_))).then(|| derivation(host));
    build(host, BuildState::Ended { derivation, ending, at: NOW.plus(60_000) })
}

pub(crate) fn built(host: &str) -> BuildView {
    ended(host, Ending::Built { seconds: 123, without: vec![] })
}

fn waiting(host: &str, for_what: Waiting) -> BuildView {
    build(host, BuildState::Waiting { derivation: derivation(host), since: NOW, for_what })
}

fn running(host: &str) -> BuildView {
    let attempt = "01890a5d-ac96-774b-bcce-b302099a8059".parse().unwrap();
    build(host, BuildState::Building { derivation: derivation(host), attempt, since: NOW })
}

fn no_builder() -> Waiting {
    Waiting::NoBuilder { system: "aarch64-linux".into() }
}

pub(crate) fn evaluation_failure() -> Ending {
    Ending::EvaluationFailed(EvaluationFailure {
        headline: "gtk-engine-murrine was removed".into(),
        trace: "error:\n  … while evaluating `@acme`\n  error: gtk-engine-murrine was removed"
            .into(),
        place: Some(SourcePlace { path: "hosts/raider.nix".into(), line: 12 }),
        limit: None,
    })
}

pub(crate) fn build_failure() -> Ending {
    Ending::BuildFailed(BuildFailure {
        derivation: derivation("gtk-engine-murrine-1.2").path,
        headline: "builder failed with exit code 3".into(),
        log_tail: vec!["\u{1b}[31mcc: no such file\u{1b}[0m".into(), "``` @everyone".into()],
        before: None,
    })
}

pub(crate) fn view(state: RunState, builds: Vec<BuildView>) -> RunView {
    let sha = "0123456789abcdef0123456789abcdef01234567".parse().unwrap();
    RunView {
        run: Run {
            id: "01890a5d-ac96-774b-bcce-b302099a8058".parse().unwrap(),
            repository: crate::domain::id::RepositoryId(7),
            sha,
            reason: Reason::Push("main".parse().unwrap()),
            base: None,
            occurred_at: NOW,
            created_at: NOW,
            problem: None,
            waits: None,
            trust: Trust::Trusted,
            approval: Approval::NotNeeded,
            base_branch: None,
            merge: None,
            skip: Skip::Heeded,
            lock: None,
            note: None,
            state,
        },
        repository: Repository {
            id: crate::domain::id::RepositoryId(7),
            node_id: None,
            owner: "acme".parse().unwrap(),
            name: "fleet".parse().unwrap(),
            default_branch: "main".parse().unwrap(),
            visibility: Visibility::Public,
            installation: crate::domain::id::InstallationId(9),
        },
        builds,
        against: Against::default(),
        turn: None,
    }
}

fn evaluating(builds: Vec<BuildView>) -> RunView {
    view(RunState::Evaluating { since: NOW }, builds)
}

fn building(builds: Vec<BuildView>) -> RunView {
    view(RunState::Building { since: NOW }, builds)
}

pub(crate) fn over(verdict: Verdict, builds: Vec<BuildView>) -> RunView {
    view(RunState::Ended { verdict, at: NOW.plus(90_000) }, builds)
}

fn optional(mut it: BuildView) -> BuildView {
    it.build.required = Required::Optional;
    it
}

/// A run whose base commit had these hosts.
fn with_base(mut view: RunView, tested: Tested, hosts: &[(&str, Answer)]) -> RunView {
    let host = |(name, answer): &(&str, Answer)| {
        (AttrPath::host(name), BaseHost { required: Required::Required, answer: *answer })
    };
    let sha = "ba5e0000ba5e0000ba5e0000ba5e0000ba5e0000".parse().unwrap();
    let hosts = hosts.iter().map(host).collect();
    view.against.base = Some(Base { sha, tested, hosts });
    view
}

fn ignoring(mut view: RunView) -> RunView {
    view.against.existing = ExistingFailures::Ignore;
    view
}

fn warning(message: &str, path: &str) -> Warning {
    let place = SourcePlace { path: path.into(), line: 3 };
    Warning { message: message.into(), place: Some(place) }
}

pub(crate) fn links() -> Links {
    Links::new("https://ci", &[7; 32])
}

fn shown(page: &CheckPage) -> String {
    let CheckPage { name, status, title, summary, text, annotations, actions, details_url: _ } =
        page;
    let mut out = format!("{name}: {status:?}\n{title}\n---\n{summary}\n---\n{text}");
    for it in annotations {
        let (level, at) = (it.level.as_str(), &it.path);
        let _ = write!(out, "\n---\n{level} {at}:{} {}: {}", it.line, it.title, it.message);
    }
    for it in actions {
        let _ = write!(out, "\n---\n[{}] {}", it.label, it.description);
    }
    let out = out.replace("01890a5d-ac96-774b-bcce-b302099a80", "ID-");
    out.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

fn gate(view: &RunView) -> String {
    shown(&gate_page(view, "fleet", &links()))
}

fn host(build: &BuildView) -> String {
    shown(&host_page(&building(vec![]), build, "fleet", &links()).unwrap())
}

#[test]
fn every_page_keeps_within_githubs_limits() {
    // Two hosts for each cause, so that the table and the causes are long.
    let flood = |n| {
        Ending::BuildFailed(BuildFailure {
            derivation: derivation(&format!("{n}-{}", "x".repeat(190))).path,
            headline: "@a ".repeat(500),
            log_tail: vec!["```@everyone ".repeat(100); 200],
            before: None,
        })
    };
    let trace = |n| {
        Ending::EvaluationFailed(EvaluationFailure {
            headline: format!("{n}{}", "x".repeat(1000)),
            trace: "`a\n\u{1b}[0m".repeat(8_000),
            place: None,
            limit: None,
        })
    };
    let hosts: Vec<BuildView> = (0..400)
        .flat_map(|n| {
            [ended(&format!("host-{n}"), flood(n / 2)), ended(&format!("h-{n}"), trace(n / 2))]
        })
        .collect();
    let run = building(hosts.clone());
    let pages = hosts[..2].iter().filter_map(|it| host_page(&run, it, "fleet", &links()));
    for page in pages.chain([gate_page(&run, "fleet", &links())]) {
        assert!(page.title.chars().count() <= 255);
        assert!(page.summary.len() <= 60_000 && page.text.len() <= 60_000, "{}", page.text.len());
    }
    assert!(
        gate_page(&run, "fleet", &links())
            .summary
            .ends_with("(https://ci/runs/01890a5d-ac96-774b-bcce-b302099a8058)")
    );
    assert!(status_page(&run, &links()).description.chars().count() <= 140);
}

#[test]
fn lengths_and_times_are_said_in_words() {
    let lengths = [0, 420, 12_000, 60_000, 123_000, 3_600_000, 3_900_000].map(duration);
    assert_eq!(lengths, ["0.0 s", "0.4 s", "12 s", "1 min", "2 min 3 s", "1 h", "1 h 5 min"]);
    assert_eq!([bytes(1), bytes(312 << 20), bytes(1_500_000_000)], ["1 MiB", "312 MiB", "1.4 GiB"]);
    assert_eq!(clock(Timestamp(-60_000)), "23:59 UTC");
}
