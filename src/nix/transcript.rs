//! What an operation has told so far: which builds run, what they said, what Nix said of them.
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::domain::id::DrvPath;
use crate::nix::connection::plain;
use crate::nix::realise::{Progress, Wanted};
use crate::nix::reason::{self, Kind, Reason};
use crate::nix::recent::Recent;
use crate::nix::redact::{Clean, clean};
use crate::nix::worker::{BuildLimits, Observed};

/// Nix enforces the limits; when it has not by so much later, we do.
const MARGIN: Duration = Duration::from_secs(30);
/// The last bytes of all finished builds together that are kept.
const RECENT_OF_ALL: usize = 8 << 20;

/// An operation as it is observed.
pub(crate) struct Transcript<'a> {
    wanted: Vec<Heard>,
    running: HashMap<u64, Running>,
    ended: HashMap<DrvPath, Ended>,
    /// Those in `ended` whose last lines are kept, the oldest first, and their bytes.
    remembered: (VecDeque<DrvPath>, usize),
    reasons: HashMap<DrvPath, Reason>,
    unnamed: Vec<Reason>,
    /// Servers that Nix could not download from, at most ten.
    silent: BTreeSet<String>,
    limits: BuildLimits,
    /// When the daemon last said anything.
    heard: Instant,
    overdue: Option<Overdue>,
    /// Cancelled when the operation must be ended.
    enough: CancellationToken,
    on_progress: &'a mut (dyn FnMut(Progress<'_>) + Send + Sync),
    scratch: Vec<u8>,
}

/// A wanted derivation, and whose lines stand last in its log.
struct Heard {
    wanted: Wanted,
    speaker: u64,
    done: bool,
}

struct Running {
    drv: DrvPath,
    /// Its place among the wanted, if it is one.
    owner: Option<usize>,
    begun: Instant,
    spoke: Instant,
    recent: Recent,
}

/// A build that is over, well or not.
#[derive(Default)]
pub(crate) struct Ended {
    /// How long it ran.
    pub(crate) ran: Duration,
    /// How long it had been silent.
    pub(crate) quiet: Duration,
    recent: Recent,
}

/// A limit that Nix did not enforce.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Overdue {
    /// The derivation that runs too long.
    Runs(DrvPath),
    /// The derivation that says nothing.
    IsSilent(DrvPath),
    /// Nothing runs, and the daemon says nothing.
    Nothing,
}

impl<'a> Transcript<'a> {
    pub(crate) fn new(
        wanted: Vec<Wanted>,
        limits: BuildLimits,
        on_progress: &'a mut (dyn FnMut(Progress<'_>) + Send + Sync),
    ) -> Self {
        let heard = |wanted| Heard { wanted, speaker: 0, done: false };
        Self {
            wanted: wanted.into_iter().map(heard).collect(),
            running: HashMap::new(),
            ended: HashMap::new(),
            remembered: (VecDeque::new(), 0),
            reasons: HashMap::new(),
            unnamed: Vec::new(),
            silent: BTreeSet::new(),
            limits,
            heard: Instant::now(),
            overdue: None,
            enough: CancellationToken::new(),
            on_progress,
            scratch: Vec::new(),
        }
    }

    /// Each wanted derivation, in the order they were given.
    pub(crate) fn drvs(&self) -> Vec<DrvPath> {
        self.wanted.iter().map(|it| it.wanted.derivation.path.clone()).collect()
    }

    pub(crate) fn enough(&self) -> CancellationToken {
        self.enough.clone()
    }

    /// A limit that Nix did not enforce, if that is why there was enough.
    pub(crate) fn overdue(&self) -> Option<&Overdue> {
        self.overdue.as_ref()
    }

    pub(crate) fn ended(&self, drv: &DrvPath) -> Option<&Ended> {
        self.ended.get(drv)
    }

    /// The last lines of a build.
    pub(crate) fn tail(&self, drv: &DrvPath) -> Vec<String> {
        let running = self.running.values().find(|it| it.drv == *drv).map(|it| &it.recent);
        let recent = running.or_else(|| self.ended.get(drv).map(|it| &it.recent));
        recent.map(Recent::tail).unwrap_or_default()
    }

    /// What Nix said of derivations that failed, those that it stopped without naming included:
    /// 2.34 says no more than `timed out after 3 seconds` of a dependency.
    pub(crate) fn failures(&self) -> HashMap<DrvPath, Reason> {
        let mut failures = self.reasons.clone();
        if self.unnamed.iter().all(|it| it.kind != Kind::TimedOut) {
            return failures;
        }
        let slack = Duration::from_millis(500);
        for (drv, it) in &self.ended {
            let headline = if it.quiet + slack >= self.limits.silence {
                format!("timed out after {} seconds of silence", self.limits.silence.as_secs())
            } else if it.ran + slack >= self.limits.timeout {
                format!("timed out after {} seconds", self.limits.timeout.as_secs())
            } else {
                continue;
            };
            let reason = Reason { drv: Some(drv.clone()), kind: Kind::TimedOut, headline };
            failures.entry(drv.clone()).or_insert(reason);
        }
        failures
    }

    /// What Nix said without naming a derivation.
    pub(crate) fn unnamed(&self) -> &[Reason] {
        &self.unnamed
    }

    /// Substituters that did not answer.
    pub(crate) fn silent(&self) -> Vec<String> {
        self.silent.iter().cloned().collect()
    }

    /// Another operation for some of the same derivations begins.
    pub(crate) fn begin(&mut self) {
        self.running.clear();
        self.unnamed.clear();
        self.heard = Instant::now();
    }

    /// Writes a last line for a derivation and completes its log.
    pub(crate) fn finish(self, last: impl Fn(&DrvPath) -> Option<String>) {
        let mut scratch = self.scratch;
        for Heard { wanted: Wanted { derivation, mut log }, .. } in self.wanted {
            for server in &self.silent {
                let line = format!("{server} did not answer; built without it");
                log.line(clean(line.as_bytes(), &mut scratch));
            }
            if let Some(line) = last(&derivation.path) {
                log.line(clean(line.as_bytes(), &mut scratch));
            }
            if let Err(error) = log.finish() {
                let drv = &derivation.path;
                tracing::warn!(%drv, %error, "the log of {drv} is not complete");
            }
        }
    }

    pub(crate) fn observe(&mut self, observed: Observed<'_>) {
        let now = Instant::now();
        match observed {
            Observed::Tick => return self.tick(now),
            Observed::Building { activity, drv } => self.building(activity, drv, now),
            Observed::Line { activity, text } => self.line(activity, text, now),
            Observed::LongLine { activity, beginning, length } => {
                self.line(activity, beginning, now);
                let left_out = length.saturating_sub(beginning.len() as u64);
                let note = format!("… {left_out} bytes of this line left out …");
                self.line(activity, note.as_bytes(), now);
            }
            Observed::Stopped { activity } => self.stopped(activity, now),
            Observed::Counts { done, expected, running, failed } => {
                (self.on_progress)(Progress::Counts { done, expected, running, failed });
            }
            Observed::Substituting { path, from } => {
                let (path, from) = (plain(path), plain(from));
                let name = path.rsplit('/').next().and_then(|it| it.get(33..)).unwrap_or(&path);
                self.tell_all(0, &format!("fetching {name} from {from}"));
                (self.on_progress)(Progress::Substituting { path: &path });
            }
            Observed::Message(text) => self.message(text),
        }
        self.heard = now;
    }

    fn building(&mut self, activity: u64, drv: &[u8], now: Instant) {
        let Ok(drv) = String::from_utf8_lossy(drv).parse::<DrvPath>() else { return };
        let owner = self.wanted.iter().position(|it| it.wanted.derivation.path == drv);
        (self.on_progress)(Progress::Started { drv: &drv });
        let recent = Recent::default();
        self.running.insert(activity, Running { drv, owner, begun: now, spoke: now, recent });
    }

    fn line(&mut self, activity: u64, text: &[u8], now: Instant) {
        let Some(build) = self.running.get_mut(&activity) else { return };
        build.spoke = now;
        let line = clean(text, &mut self.scratch);
        build.recent.push(line.bytes());
        (self.on_progress)(Progress::Line { drv: &build.drv, text: line });
        let heard = match build.owner {
            Some(owner) => &mut self.wanted[owner..=owner],
            None => &mut self.wanted[..],
        };
        for it in heard.iter_mut().filter(|it| !it.done || build.owner.is_some()) {
            it.line(activity, &build.drv, line);
        }
    }

    fn stopped(&mut self, activity: u64, now: Instant) {
        let Some(build) = self.running.remove(&activity) else { return };
        let Running { drv, owner, begun, spoke, mut recent } = build;
        (self.on_progress)(Progress::Stopped { drv: &drv });
        if let Some(owner) = owner {
            self.wanted[owner].done = true;
        } else {
            recent.shrink();
            self.remembered.0.push_back(drv.clone());
            self.remembered.1 += recent.len();
        }
        let (ran, quiet) = (now.duration_since(begun), now.duration_since(spoke));
        self.ended.insert(drv, Ended { ran, quiet, recent });
        self.forget();
    }

    /// Lets go of the last lines of those that ended first and are not known to have failed.
    fn forget(&mut self) {
        let (order, bytes) = &mut self.remembered;
        while *bytes > RECENT_OF_ALL {
            let well = order.iter().position(|it| !self.reasons.contains_key(it)).unwrap_or(0);
            let Some(drv) = order.remove(well) else { return };
            if let Some(ended) = self.ended.get_mut(&drv) {
                *bytes -= ended.recent.len().min(*bytes);
                ended.recent = Recent::default();
            }
        }
    }

    fn message(&mut self, text: &[u8]) {
        let words = plain(text);
        // A warning cannot be told from what a build smuggles in; here it is a line in a log.
        if let Some(server) = reason::silent_server(&words)
            && self.silent.len() < 10
        {
            self.silent.insert(server);
        }
        // What a build smuggles in ends with a newline, and is shown but not believed.
        if text.ends_with(b"\n") || !words.starts_with("error:") {
            return self.tell_all(0, &words);
        }
        let reason = reason::read(&words);
        let line = match &reason.drv {
            Some(drv) => format!("error: {}: {}", drv.name(), reason.headline),
            None => format!("error: {}", reason.headline),
        };
        self.tell_all(0, &line);
        match &reason.drv {
            Some(drv) => drop(self.reasons.insert(drv.clone(), reason)),
            None if self.unnamed.len() < 100 => self.unnamed.push(reason),
            None => {}
        }
    }

    /// A line for everybody who still waits.
    fn tell_all(&mut self, speaker: u64, text: &str) {
        let line = clean(text.as_bytes(), &mut self.scratch);
        for it in self.wanted.iter_mut().filter(|it| !it.done) {
            it.speaker = speaker;
            it.wanted.log.line(line);
        }
    }

    fn tick(&mut self, now: Instant) {
        for it in &mut self.wanted {
            it.wanted.log.flush();
        }
        let over = |since: Instant, limit: Duration| now.duration_since(since) > limit + MARGIN;
        let limits = self.limits;
        let overdue = self.running.values().find_map(|it| {
            if over(it.begun, limits.timeout) {
                Some(Overdue::Runs(it.drv.clone()))
            } else if over(it.spoke, limits.silence) {
                Some(Overdue::IsSilent(it.drv.clone()))
            } else {
                None
            }
        });
        let longest = limits.timeout.max(limits.silence);
        let stalled = self.running.is_empty() && over(self.heard, longest);
        if let Some(overdue) = overdue.or(stalled.then_some(Overdue::Nothing)) {
            self.overdue = Some(overdue);
            self.enough.cancel();
        }
    }
}

impl Heard {
    fn line(&mut self, activity: u64, drv: &DrvPath, line: Clean<'_>) {
        if self.speaker != activity {
            self.speaker = activity;
            let header = format!("building {}…", drv.name());
            self.wanted.log.line(clean(header.as_bytes(), &mut Vec::new()));
        }
        self.wanted.log.line(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::build::Derivation;
    use crate::nix::log::LogStore;

    const DRV: &str = "/nix/store/783yqpnsx5xvpayk2bnrb6cmk0a7blys-raider.drv";

    /// Lets a transcript observe, with time standing still but for what `observe` asks.
    fn transcript(observe: impl FnOnce(&mut Transcript<'_>)) {
        let directory = tempfile::tempdir().unwrap();
        let id = "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap();
        let derivation = Derivation {
            path: DRV.parse().unwrap(),
            outputs: std::collections::BTreeMap::new(),
            system: "x86_64-linux".into(),
            features: vec![],
        };
        let log = LogStore::new(directory.path()).create(&id).unwrap();
        let limits = BuildLimits {
            timeout: Duration::from_secs(100),
            silence: Duration::from_secs(20),
            jobs: 1,
            mode: crate::nix::worker::Mode::Normal,
        };
        let mut ignore = |_: Progress<'_>| ();
        let mut it = Transcript::new(vec![Wanted { derivation, log }], limits, &mut ignore);
        it.observe(Observed::Building { activity: 1, drv: DRV.as_bytes() });
        observe(&mut it);
    }

    #[tokio::test(start_paused = true)]
    async fn a_build_that_nix_lets_run_over_its_limits_is_noticed() {
        let drv: DrvPath = DRV.parse().unwrap();
        let start = Instant::now();
        transcript(|it| {
            it.tick(start + Duration::from_secs(45));
            assert!(it.overdue().is_none() && !it.enough().is_cancelled(), "within the margin");
            it.tick(start + Duration::from_secs(51));
            assert_eq!(it.overdue(), Some(&Overdue::IsSilent(drv.clone())));
            assert!(it.enough().is_cancelled());
        });
        transcript(|it| {
            for second in 0..=130 {
                let now = start + Duration::from_secs(second);
                it.line(1, b"still here", now);
                it.tick(now);
                assert!(it.overdue().is_none(), "{second}");
            }
            it.tick(start + Duration::from_secs(131));
            assert_eq!(it.overdue(), Some(&Overdue::Runs(drv.clone())));
        });
        transcript(|it| {
            it.stopped(1, start);
            it.tick(start + Duration::from_secs(131));
            assert_eq!(it.overdue(), Some(&Overdue::Nothing));
        });
    }
}
