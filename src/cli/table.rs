//! The result of a `check` for a person: a table, then what is wrong with each host.
use std::collections::BTreeMap;

use comfy_table::{ContentArrangement, Table, presets};

use crate::cli::words;
use crate::domain::build::{Ending, Required, SourcePlace, Warning};
use crate::domain::cause::Reason;
use crate::domain::text;
use crate::domain::verdict::Verdict;
use crate::flow::check::{CheckReport, CheckedHost};

/// Lines shown of a failing derivation's log, as many as its check on GitHub has.
const LOG_LINES: usize = 40;
/// Lines shown of Nix's text about a failed evaluation: the last, where the error stands.
const TRACE_LINES: usize = 25;

/// Everything there is to say; several lines.
pub(super) fn result(report: &CheckReport) -> String {
    let mut parts = Vec::new();
    if !report.hosts.is_empty() {
        parts.push(table(&report.hosts));
    }
    parts.extend(failures(&report.hosts));
    parts.extend(warnings(&report.hosts));
    parts.push(conclusion(report));
    parts.join("\n\n")
}

fn table(hosts: &[CheckedHost]) -> String {
    let mut table = Table::new();
    // The derivation stands last: in a narrow terminal it alone runs over the edge, whole, so
    // that it can be copied.
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(["HOST", "SYSTEM", "RESULT", "TIME", "DERIVATION"]);
    for host in hosts {
        let optional = match host.required {
            Required::Required => "",
            Required::Optional => " (optional)",
        };
        table.add_row([
            words::name(&host.attr, host.label.as_deref()),
            host.system.as_deref().map_or_else(|| "-".to_owned(), text::clean),
            format!("{}{optional}", words::standing(host)),
            words::elapsed(host.elapsed_ms),
            host.derivation.as_ref().map_or("-", |it| it.path.as_str()).to_owned(),
        ]);
    }
    table.trim_fmt()
}

/// What is wrong with the hosts: one cause, one headline, its log once.
fn failures(hosts: &[CheckedHost]) -> Vec<String> {
    let mut causes: Vec<(Reason<'_>, Vec<&CheckedHost>)> = Vec::new();
    for host in hosts {
        let reason = Reason::of(host.ending.as_ref());
        match causes.iter_mut().find(|(other, _)| other.is_same(&reason)) {
            Some((_, hosts)) => hosts.push(host),
            None => causes.push((reason, vec![host])),
        }
    }
    let cause = |(reason, hosts): (Reason<'_>, Vec<&CheckedHost>)| match hosts.as_slice() {
        [] => None,
        [one] => failure(one),
        [first, ..] => {
            let names = hosts.iter().map(|it| words::name(&it.attr, it.label.as_deref()));
            let names = names.collect::<Vec<_>>().join(", ");
            let stops = text::clean(&reason.stops(&format!("{} hosts", hosts.len())));
            let mut lines = vec![format!("{stops}: {names}")];
            lines.extend(first.ending.as_ref().map(detail));
            Some(lines.join("\n"))
        }
    };
    causes.into_iter().filter_map(cause).collect()
}

/// What Nix warned of, each warning once.
fn warnings(hosts: &[CheckedHost]) -> Option<String> {
    let mut found: BTreeMap<&Warning, Vec<String>> = BTreeMap::new();
    for host in hosts {
        for warning in &host.warnings {
            let name = words::name(&host.attr, host.label.as_deref());
            found.entry(warning).or_default().push(name);
        }
    }
    let lines = found.into_iter().map(|(warning, names)| {
        let at = warning.place.as_ref().map(|it| format!("{}: ", place(it))).unwrap_or_default();
        let message = text::clean(&warning.message).replace('\n', " ");
        format!("warning: {at}{message} ({})", names.join(", "))
    });
    let text = lines.collect::<Vec<_>>().join("\n");
    (!text.is_empty()).then_some(text)
}

fn failure(host: &CheckedHost) -> Option<String> {
    let name = words::name(&host.attr, host.label.as_deref());
    if let Some(waiting) = &host.waiting {
        return Some(format!("{name}: waiting for {}", words::waiting(waiting)));
    }
    let ending = host.ending.as_ref()?;
    let headline = words::headline(ending)?;
    let headline = format!("{name}: {}: {headline}", words::result(Some(ending)));
    let detail = detail(ending);
    Some(if detail.is_empty() { headline } else { format!("{headline}\n{detail}") })
}

/// The place, the derivation and the text of a failure, as far as it has them.
fn detail(ending: &Ending) -> String {
    let mut lines = Vec::new();
    match ending {
        Ending::EvaluationFailed(failure) => {
            lines.extend(failure.place.as_ref().map(place));
            lines.extend(failure.limit.as_ref().map(|key| format!("setting: {key}")));
            let trace: Vec<String> = failure.trace.lines().map(str::to_owned).collect();
            lines.push(indent(&text::tail(&trace, TRACE_LINES)));
        }
        Ending::BuildFailed(failure) => {
            lines.push(format!("derivation: {}", failure.derivation));
            lines.push(indent(&text::tail(&failure.log_tail, LOG_LINES)));
        }
        Ending::TimedOut(late) => {
            lines.extend(late.derivation.as_ref().map(|drv| format!("derivation: {drv}")));
            lines.push(indent(&text::tail(&late.log_tail, LOG_LINES)));
        }
        Ending::Reused
        | Ending::Built { .. }
        | Ending::Superseded { .. }
        | Ending::Cancelled { .. }
        | Ending::Skipped { .. }
        | Ending::Transient { .. }
        | Ending::Internal { .. } => {}
    }
    lines.retain(|line| !line.trim().is_empty());
    lines.join("\n")
}

fn place(place: &SourcePlace) -> String {
    format!("at {}:{}", text::clean(&place.path).replace('\n', " "), place.line)
}

fn indent(text: &str) -> String {
    text.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

fn conclusion(report: &CheckReport) -> String {
    let good =
        report.hosts.iter().filter(|it| it.ending.as_ref().is_some_and(Ending::is_good)).count();
    let count = format!("{good} of {} hosts build", report.hosts.len());
    let said = match &report.verdict {
        Some(Verdict::Passed) => format!("The gate would pass: {count}."),
        Some(Verdict::Failed) => format!("The gate would fail: {count}."),
        Some(Verdict::TimedOut) => format!("The gate would be timed out: {count}."),
        Some(Verdict::Broken { problem }) => {
            let detail = indent(&text::clean(&problem.detail));
            let at = problem.place.as_ref().map(place).unwrap_or_default();
            let lines =
                [format!("The gate would fail: {}", text::clean(&problem.headline)), at, detail];
            lines.into_iter().filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
        }
        Some(Verdict::Superseded { by }) => format!("Superseded by {}: {count}.", by.short()),
        Some(Verdict::Cancelled { by }) => format!("Cancelled by {}: {count}.", text::clean(by)),
        Some(Verdict::Skipped { by }) => format!("Skipped by {}: {count}.", text::clean(by)),
        None if report.hosts.iter().any(|it| it.waiting.is_some()) && !report.interrupted => {
            format!("The gate would wait for a builder: {count}.")
        }
        None => format!("The gate has no answer: {count}."),
    };
    if report.interrupted { format!("{}\n{said}", not_done(report)) } else { said }
}

fn not_done(report: &CheckReport) -> String {
    let open: Vec<String> = report
        .hosts
        .iter()
        .filter(|host| host.ending.is_none() && host.waiting.is_none())
        .map(|host| words::name(&host.attr, host.label.as_deref()))
        .collect();
    match open.as_slice() {
        [] => "Interrupted.".to_owned(),
        open => format!("Interrupted. Not done: {}.", open.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::build::{BuildFailure, Derivation, EvaluationFailure};
    use crate::domain::id::AttrPath;

    const DRV: &str = "/nix/store/783yqpnsx5xvpayk2bnrb6cmk0a7blys-hello-1.0.drv";

    fn host(name: &str, ending: Option<Ending>, elapsed_ms: i64) -> CheckedHost {
        let evaluated = !matches!(ending, Some(Ending::EvaluationFailed(_)));
        let derivation = || Derivation {
            path: DRV.parse().unwrap(),
            outputs: [].into(),
            system: "x86_64-linux".into(),
            features: vec![],
        };
        let attr = AttrPath::host(name);
        CheckedHost {
            label: attr.label().ok(),
            attr,
            required: Required::Required,
            system: evaluated.then(|| "x86_64-linux".to_owned()),
            derivation: evaluated.then(derivation),
            ending,
            waiting: None,
            elapsed_ms,
            warnings: vec![],
        }
    }

    #[test]
    fn a_table_then_what_is_wrong_then_what_the_gate_would_say() {
        let thrown = Ending::EvaluationFailed(EvaluationFailure {
            headline: "gtk-engine-murrine was removed".into(),
            trace: "error:\n… while evaluating\n\u{1b}[31;1merror:\u{1b}[0m it was removed".into(),
            place: Some(SourcePlace { path: "hosts/raider.nix".into(), line: 12 }),
            limit: None,
        });
        let broken = Ending::BuildFailed(BuildFailure {
            derivation: DRV.parse().unwrap(),
            headline: "builder failed with exit code 3".into(),
            log_tail: vec!["cc\u{1b}]0;title\u{7} hello.c".into(), "boom".into()],
            before: None,
        });
        let report = CheckReport {
            flake: ".".into(),
            revision: None,
            verdict: Some(Verdict::Failed),
            interrupted: false,
            hosts: vec![
                host("atlas", Some(Ending::Built { seconds: 62, without: vec![] }), 63_000),
                host("borealis", Some(broken), 4_200),
                host("raider", Some(thrown), 900),
            ],
        };
        insta::assert_snapshot!(result(&report));
    }

    #[test]
    fn an_interrupted_check_says_what_was_not_done() {
        let report = CheckReport {
            flake: ".".into(),
            revision: None,
            verdict: None,
            interrupted: true,
            hosts: vec![
                host("atlas", Some(Ending::Reused), 10),
                host("borealis", None, 4_200),
                host("a b", None, 0),
            ],
        };
        let said = result(&report);
        let not_done = "Interrupted. Not done: borealis, nixosConfigurations.\"a b\".\n\
                        The gate has no answer: 1 of 3 hosts build.";
        assert!(said.ends_with(not_done), "{said}");
    }
}
