//! What each host of a `check` is doing: events in, lines out. It draws nothing.
use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::cli::words;
use crate::domain::build::{Ending, Required};
use crate::domain::id::AttrPath;
use crate::domain::text;
use crate::flow::check::CheckEvent;

/// A building host is mentioned again this often where lines cannot be overwritten.
const REMIND: Duration = Duration::from_secs(30);

/// Every host, in the order listed.
#[derive(Debug, Default)]
pub(super) struct Board {
    rows: Vec<Row>,
    places: HashMap<AttrPath, usize>,
}

#[derive(Debug)]
struct Row {
    name: String,
    required: Required,
    state: State,
    since: Instant,
    said: Instant,
}

/// Declared by how much a person wants to see it when there is no room for all.
#[derive(Debug)]
enum State {
    Building { done: u64, expected: u64 },
    Evaluating,
    Failed(Ending),
    Waiting(Option<String>),
    Good(Ending, i64),
}

impl Board {
    /// Takes an event in; what it gives is worth a line where nothing can be overwritten.
    pub(super) fn observe(&mut self, event: CheckEvent, now: Instant) -> Option<String> {
        match event {
            CheckEvent::Listed(hosts) => Some(self.list(hosts, now)),
            CheckEvent::Evaluating(attr) => self.change(&attr, State::Evaluating, now),
            CheckEvent::Evaluated(attr, _, milliseconds) => {
                let took = words::elapsed(milliseconds);
                let row = self.row(&attr)?;
                row.state = State::Waiting(None);
                row.since = now;
                Some(format!("{}: evaluated in {took}", row.name))
            }
            CheckEvent::Waiting(attr, for_what) => {
                self.change(&attr, State::Waiting(Some(words::waiting(&for_what))), now)
            }
            CheckEvent::Building(attr) => {
                self.change(&attr, State::Building { done: 0, expected: 0 }, now)
            }
            CheckEvent::Counts { attr, done, expected } => {
                let row = self.row(&attr)?;
                row.state = State::Building { done, expected };
                (now.duration_since(row.said) >= REMIND).then(|| {
                    row.said = now;
                    row.line(now)
                })
            }
            CheckEvent::Ended(attr, ending, milliseconds) => {
                let state = if ending.is_good() {
                    State::Good(ending, milliseconds)
                } else {
                    State::Failed(ending)
                };
                self.change(&attr, state, now)
            }
            CheckEvent::Note(note) => Some(text::clean(&note)),
        }
    }

    /// At most `room` lines for a terminal: every host, or the busiest and a summary of the rest.
    pub(super) fn lines(&self, room: usize, now: Instant) -> Vec<String> {
        let width = self.rows.iter().map(|row| row.name.chars().count()).max().unwrap_or(0).min(32);
        if self.rows.len() <= room {
            return self.rows.iter().map(|row| row.cells(width, now)).collect();
        }
        let mut order: Vec<usize> = (0..self.rows.len()).collect();
        order.sort_by_key(|at| self.rows[*at].state.rank());
        let (shown, hidden) = order.split_at(room.saturating_sub(1));
        let mut shown = shown.to_vec();
        shown.sort_unstable();
        let mut lines: Vec<String> =
            shown.iter().map(|at| self.rows[*at].cells(width, now)).collect();
        lines.push(self.summary(hidden));
        lines
    }

    fn summary(&self, hidden: &[usize]) -> String {
        const KINDS: [&str; 5] = ["building", "evaluating", "failed", "waiting", "good"];
        let mut counts = [0_usize; KINDS.len()];
        for at in hidden {
            counts[self.rows[*at].state.rank()] += 1;
        }
        let parts: Vec<String> = counts
            .iter()
            .zip(KINDS)
            .filter(|(count, _)| **count > 0)
            .map(|(count, kind)| format!("{count} {kind}"))
            .collect();
        format!("… and {} more: {}", hidden.len(), parts.join(", "))
    }

    fn list(&mut self, hosts: Vec<(AttrPath, Option<String>, Required)>, now: Instant) -> String {
        for (attr, label, required) in hosts {
            let name = words::name(&attr, label.as_deref());
            let state = State::Waiting(None);
            self.places.insert(attr, self.rows.len());
            self.rows.push(Row { name, required, state, since: now, said: now });
        }
        match self.rows.len() {
            1 => "1 host to check".to_owned(),
            many => format!("{many} hosts to check"),
        }
    }

    fn row(&mut self, attr: &AttrPath) -> Option<&mut Row> {
        self.places.get(attr).map(|at| &mut self.rows[*at])
    }

    fn change(&mut self, attr: &AttrPath, state: State, now: Instant) -> Option<String> {
        let row = self.row(attr)?;
        row.state = state;
        row.since = now;
        row.said = now;
        Some(row.line(now))
    }
}

impl Row {
    /// `raider: building 12/340 derivations, 2m 10s`.
    fn line(&self, now: Instant) -> String {
        format!("{}: {}", self.name, self.doing(now))
    }

    fn cells(&self, width: usize, now: Instant) -> String {
        format!("{:width$}  {}", self.name, self.doing(now))
    }

    fn doing(&self, now: Instant) -> String {
        let since = now.duration_since(self.since).as_millis();
        let since = words::elapsed(i64::try_from(since).unwrap_or(i64::MAX));
        let optional = match self.required {
            Required::Required => "",
            Required::Optional => " (optional)",
        };
        match &self.state {
            State::Waiting(None) => "waiting".to_owned(),
            State::Waiting(Some(for_what)) => format!("waiting for {for_what}"),
            State::Evaluating if since == "0.0s" => "evaluating".to_owned(),
            State::Evaluating => format!("evaluating, {since}"),
            State::Building { expected: 0, .. } if since == "0.0s" => "building".to_owned(),
            State::Building { expected: 0, .. } => format!("building, {since}"),
            State::Building { done, expected } => {
                format!("building {done}/{expected} derivations, {since}")
            }
            State::Good(ending @ Ending::Built { .. }, milliseconds) => {
                format!("{} in {}", words::result(Some(ending)), words::elapsed(*milliseconds))
            }
            State::Good(ending, _) => words::result(Some(ending)).to_owned(),
            State::Failed(ending) => {
                let why = words::headline(ending).unwrap_or_default();
                format!("{}{optional}: {why}", words::result(Some(ending)))
            }
        }
    }
}

impl State {
    fn rank(&self) -> usize {
        match self {
            Self::Building { .. } => 0,
            Self::Evaluating => 1,
            Self::Failed(_) => 2,
            Self::Waiting(_) => 3,
            Self::Good(..) => 4,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::build::{EvaluationFailure, Waiting};

    fn failed() -> Ending {
        Ending::EvaluationFailed(EvaluationFailure {
            headline: "attribute `services.nginx` missing\u{1b}[2J".into(),
            trace: String::new(),
            place: None,
            limit: None,
        })
    }

    fn board(hosts: &[&str], now: Instant) -> Board {
        let mut board = Board::default();
        let hosts = hosts
            .iter()
            .map(|it| (AttrPath::host(it), Some((*it).to_owned()), Required::Required))
            .collect();
        board.observe(CheckEvent::Listed(hosts), now);
        board
    }

    #[test]
    fn every_host_has_its_live_line() {
        let now = Instant::now();
        let mut board = board(&["atlas", "borealis", "ceres", "dione", "europa"], now);
        let host = AttrPath::host;
        board.observe(CheckEvent::Evaluating(host("atlas")), now);
        board.observe(CheckEvent::Building(host("borealis")), now);
        let counts = CheckEvent::Counts { attr: host("borealis"), done: 12, expected: 340 };
        assert_eq!(board.observe(counts, now), None, "counts alone are no news for a log");
        board.observe(CheckEvent::Ended(host("ceres"), Ending::Reused, 0), now);
        let waiting = Waiting::NoBuilder { system: "riscv64-linux".into() };
        board.observe(CheckEvent::Waiting(host("europa"), waiting), now);
        board.observe(CheckEvent::Ended(host("dione"), failed(), 10), now);
        insta::assert_snapshot!(board.lines(9, now + Duration::from_secs(130)).join("\n"), @r"
        atlas     evaluating, 2m 10s
        borealis  building 12/340 derivations, 2m 10s
        ceres     reused
        dione     evaluation failed: attribute `services.nginx` missing
        europa    waiting for a builder: none of the settings does riscv64-linux
        ");
    }

    #[test]
    fn hosts_without_room_are_counted_the_busiest_are_shown() {
        let now = Instant::now();
        let names: Vec<String> = (0..500).map(|n| format!("h{n:03}")).collect();
        let mut board = board(&names.iter().map(String::as_str).collect::<Vec<_>>(), now);
        let host = AttrPath::host;
        board.observe(CheckEvent::Building(host("h499")), now);
        board.observe(CheckEvent::Evaluating(host("h250")), now);
        board.observe(
            CheckEvent::Ended(host("h000"), Ending::Built { seconds: 3, without: vec![] }, 3000),
            now,
        );
        insta::assert_snapshot!(board.lines(4, now).join("\n"), @r"
        h001  waiting
        h250  evaluating
        h499  building
        … and 497 more: 496 waiting, 1 good
        ");
    }

    #[test]
    fn a_log_gets_a_line_for_each_change_and_a_reminder_now_and_then() {
        let start = Instant::now();
        let mut board = board(&["atlas"], start);
        let host = AttrPath::host("atlas");
        let mut said = Vec::new();
        said.extend(board.observe(CheckEvent::Evaluating(host.clone()), start));
        said.extend(board.observe(CheckEvent::Building(host.clone()), start));
        for second in 0..70 {
            let counts = CheckEvent::Counts { attr: host.clone(), done: second, expected: 70 };
            said.extend(board.observe(counts, start + Duration::from_secs(second)));
        }
        let built = CheckEvent::Ended(host, Ending::Built { seconds: 70, without: vec![] }, 70_000);
        said.extend(board.observe(built, start + Duration::from_secs(70)));
        insta::assert_snapshot!(said.join("\n"), @r"
        atlas: evaluating
        atlas: building
        atlas: building 30/70 derivations, 30s
        atlas: building 60/70 derivations, 1m 00s
        atlas: built in 1m 10s
        ");
    }
}
