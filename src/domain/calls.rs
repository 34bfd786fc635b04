//! How few requests a run's checks may cost.
//!
//! A run of N hosts gets 4 + 2·⌈N/25⌉ requests (the gate and the status, each at the beginning and
//! at the end; every host's check twice, 25 to a request) and one more for every 15 seconds that it
//! lasts. Within that everything is shown at once; beyond it what has ended or is new waits for
//! others to share a request with, at most until the run's end or for 15 seconds. That keeps the
//! sum: whatever is due goes with every request, so that what waits so long became due after the
//! last one.
use crate::domain::Timestamp;

/// Checks in one request; GitHub's documents do not grow past what it answers within its ten
/// seconds.
pub const MOST_CHECKS: usize = 25;

/// Between two requests of a run that say nothing but how far it is.
pub const PROGRESS_MS: i64 = 15_000;

/// The gate and the status, each at the beginning and at the end.
const WITHOUT_HOSTS: usize = 4;

/// What a run's reports have cost, and what they will at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunCalls {
    /// Hosts that have a check of their own.
    pub hosts: usize,
    /// Checks, the gate's included, whose ending GitHub does not show.
    pub owed: usize,
    /// Hosts that are to have a check and have none yet.
    pub unshown: usize,
    /// Requests so far.
    pub spent: usize,
    /// When the first of them was sent; `None` before.
    pub since: Option<Timestamp>,
    /// When a request last said how far the run is.
    pub progress_at: Option<Timestamp>,
}

/// The run's checks that are behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DueChecks {
    /// Hosts that have ended.
    pub finals: usize,
    /// The gate has ended.
    pub verdict: bool,
    /// The gate is not shown yet.
    pub gate: bool,
    /// Hosts that are not shown yet.
    pub new: usize,
    /// Whatever else has moved.
    pub progress: usize,
    /// Since when the oldest of what has ended or is new is not shown.
    pub since: Option<Timestamp>,
}

impl DueChecks {
    fn endings(&self) -> usize {
        self.finals + usize::from(self.verdict)
    }
}

impl RunCalls {
    /// From when on these checks may have a request.
    #[must_use]
    pub fn not_before(&self, due: &DueChecks, now: Timestamp) -> Timestamp {
        let Some(since) = self.since else { return now };
        let endings = due.endings();
        let served = (endings + due.new).min(MOST_CHECKS);
        // A full request can cost no more later, and nothing comes after the last ones.
        if due.gate || due.verdict || served == MOST_CHECKS || (endings > 0 && endings >= self.owed)
        {
            return now;
        }
        let allowed = WITHOUT_HOSTS + 2 * self.hosts.div_ceil(MOST_CHECKS);
        // Whoever has no check yet may be shown before the end; the last status is a request of its own.
        let still = self.owed.saturating_sub(endings).div_ceil(MOST_CHECKS)
            + self.unshown.saturating_sub(served).div_ceil(MOST_CHECKS)
            + 1;
        let missing = (self.spent + 1 + still).saturating_sub(allowed);
        let at = since.plus(i64::try_from(missing).unwrap_or(i64::MAX).saturating_mul(PROGRESS_MS));
        if endings == 0 && due.new == 0 {
            return self.progress_at.map_or(at, |last| at.max(last.plus(PROGRESS_MS)));
        }
        // Whatever was spent before: what ended or began waits for company once, and not for long. Who
        // waits for it must read why it waits itself.
        due.since.map_or(at, |since| at.min(since.plus(PROGRESS_MS)))
    }

    /// The same where every check is a request: what ends or begins is shown at once.
    #[must_use]
    pub fn not_before_alone(&self, due: &DueChecks, now: Timestamp) -> Timestamp {
        if due.gate || due.new > 0 || due.endings() > 0 {
            return now;
        }
        self.progress_at.map_or(now, |last| last.plus(PROGRESS_MS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp(1_000_000);

    fn calls(hosts: usize, owed: usize, spent: usize) -> RunCalls {
        RunCalls { hosts, owed, unshown: 0, spent, since: Some(START), progress_at: None }
    }

    fn finals(finals: usize) -> DueChecks {
        DueChecks { finals, ..DueChecks::default() }
    }

    /// Seconds after the run's first request.
    fn waits(calls: RunCalls, due: DueChecks) -> i64 {
        calls.not_before(&due, START).since(START) / 1000
    }

    #[test]
    fn a_run_that_is_not_shown_begins_at_once() {
        let fresh = RunCalls { since: None, ..calls(0, 1, 0) };
        let due = DueChecks { gate: true, ..DueChecks::default() };
        assert_eq!(fresh.not_before(&due, START), START);
    }

    #[test]
    fn ten_hosts_that_end_one_by_one_share_requests() {
        // The gate and the status are shown: 6 are allowed, 2 spent, 2 needed at the end.
        assert_eq!(waits(calls(10, 11, 2), finals(1)), 0);
        assert_eq!(waits(calls(10, 10, 3), finals(1)), 0);
        assert_eq!(waits(calls(10, 9, 4), finals(1)), 15, "waits for company");
        let last = DueChecks { verdict: true, ..finals(8) };
        assert_eq!(waits(calls(10, 9, 4), last), 0, "the end waits for nothing");
        assert_eq!(waits(calls(10, 8, 5), finals(8)), 0, "nor do the last ones after the verdict");
    }

    #[test]
    fn what_hosts_without_a_check_will_need_is_not_spent_on_others() {
        let fresh = RunCalls { unshown: 499, ..calls(500, 500, 3) };
        assert_eq!(waits(fresh, finals(1)), 15);
        assert_eq!(waits(RunCalls { unshown: 0, ..fresh }, finals(1)), 0);
    }

    #[test]
    fn a_full_request_never_waits() {
        let new = DueChecks { new: 24, ..finals(1) };
        assert_eq!(waits(RunCalls { unshown: 499, ..calls(500, 501, 40) }, new), 0);
        assert_eq!(waits(calls(500, 400, 99), finals(25)), 0);
        assert_eq!(waits(calls(500, 400, 60), finals(24)), 15 * (60 + 1 + 16 + 1 - 44));
    }

    #[test]
    fn what_ended_or_is_new_is_not_held_for_long_by_what_was_spent_before() {
        let since = Some(START.plus(2_000));
        let new = DueChecks { new: 1, progress: 3, ..DueChecks::default() };
        for due in [finals(1), new, DueChecks { new: 1, ..finals(1) }] {
            assert_eq!(waits(calls(10, 9, 40), DueChecks { since, ..due }), 17, "{due:?}");
            assert_eq!(waits(calls(10, 9, 3), DueChecks { since, ..due }), 0, "{due:?}");
        }
        let progress = DueChecks { progress: 3, ..DueChecks::default() };
        assert_eq!(waits(calls(10, 9, 40), progress), 15 * (40 + 1 + 1 + 1 - 6));
    }

    #[test]
    fn every_fifteen_seconds_allow_one_more() {
        for (spent, seconds) in [(5, 30), (6, 45), (7, 60)] {
            assert_eq!(waits(calls(10, 9, spent), finals(1)), seconds);
        }
    }

    #[test]
    fn progress_is_shown_every_fifteen_seconds_at_most() {
        let shown = RunCalls { progress_at: Some(START.plus(20_000)), ..calls(10, 11, 2) };
        let due = DueChecks { progress: 3, ..DueChecks::default() };
        assert_eq!(waits(shown, due), 35);
        let new = DueChecks { new: 1, ..due };
        assert_eq!(waits(shown, new), 0, "what is new is more than progress");
    }

    /// Whatever order hosts end in, and however fast, the sum is kept.
    #[test]
    fn a_run_of_any_size_costs_what_it_may() {
        for (hosts, most) in [(1, 6), (10, 6), (25, 6), (26, 8), (100, 12), (500, 44)] {
            let mut run = calls(hosts, hosts + 1, 2);
            let (mut ended, mut shown) = (0, 0);
            while ended < hosts {
                ended += 1;
                let verdict = ended == hosts;
                let due = DueChecks { verdict, ..finals(ended - shown) };
                while run.owed > 0 && due.not_before_is_now(&run) {
                    let take = (hosts - shown).min(ended - shown).min(MOST_CHECKS);
                    shown += take;
                    run.spent += 1;
                    run.owed -= take;
                    if verdict && run.owed == 1 && (take < MOST_CHECKS || shown == hosts) {
                        run.owed = 0;
                    }
                    if shown == ended {
                        break;
                    }
                }
            }
            assert!(run.spent < most, "{hosts} hosts: {} and the last status", run.spent);
        }
    }

    /// A host of [`played`]: when it is there, when it ends, and what of that is shown.
    struct Played {
        new_at: i64,
        ended_at: i64,
        shown: bool,
        end_shown: bool,
    }

    /// Plays a run in steps of 50 ms: when each host is there, and when it ends, in milliseconds
    /// from the start. Gives the requests, how long it took in seconds, and after how many
    /// milliseconds a new host was shown at the latest.
    fn played(hosts: usize, times: impl Fn(i64) -> (i64, i64)) -> (usize, usize, i64) {
        let mut all: Vec<Played> = (0..hosts)
            .map(|it| times(i64::try_from(it).unwrap()))
            .map(|(new_at, ended_at)| Played { new_at, ended_at, shown: false, end_shown: false })
            .collect();
        // The gate and the status.
        let (mut spent, mut progress_at, mut latest) = (2, None, 0);
        for step in 1.. {
            let at = step * 50;
            let now = START.plus(at);
            let ended = all.iter().filter(|it| it.ended_at <= at && !it.end_shown);
            let new = all.iter().filter(|it| it.new_at <= at && at < it.ended_at && !it.shown);
            let since = ended.clone().map(|it| it.ended_at).chain(new.clone().map(|it| it.new_at));
            let verdict = all.iter().all(|it| it.ended_at <= at);
            let due = DueChecks {
                finals: ended.count(),
                verdict,
                new: new.count(),
                progress: 1,
                since: since.min().map(|it| START.plus(it)),
                ..DueChecks::default()
            };
            let owed = all.iter().filter(|it| !it.end_shown).count() + 1;
            let unshown = all.iter().filter(|it| !it.shown && !it.end_shown).count();
            let run = RunCalls { hosts, owed, unshown, spent, since: Some(START), progress_at };
            if run.not_before(&due, now) > now {
                continue;
            }
            spent += 1;
            progress_at = Some(now);
            let mut room = MOST_CHECKS - usize::from(verdict);
            for it in all.iter_mut().filter(|it| it.ended_at <= at && !it.end_shown).take(room) {
                room -= 1;
                it.end_shown = true;
            }
            let is_new = |it: &Played| it.new_at <= at && at < it.ended_at && !it.shown;
            for it in all.iter_mut().filter(|it| is_new(it)).take(room) {
                it.shown = true;
                latest = latest.max(at - it.new_at);
            }
            if verdict {
                // What does not fit beside the verdict, and the last status.
                let left = all.iter().filter(|it| !it.end_shown).count();
                let seconds = usize::try_from(at / 1000).unwrap();
                return (spent + left.div_ceil(MOST_CHECKS) + 1, seconds, latest);
            }
        }
        unreachable!("a run ends")
    }

    #[test]
    fn no_new_host_is_shown_late_and_the_sum_is_kept() {
        for hosts in [1, 2, 10, 25, 26, 60] {
            for gap in [0, 1, 4, 10, 40] {
                for lasts in [0, 1, 5, 20, 90] {
                    let times = |it: i64| (it * gap * 1000, (it * gap + lasts) * 1000);
                    let (spent, seconds, latest) = played(hosts, times);
                    let most = WITHOUT_HOSTS + 2 * hosts.div_ceil(MOST_CHECKS) + seconds / 15;
                    let what = format!("{hosts} hosts, one every {gap} s, each for {lasts} s");
                    assert!(spent <= most, "{what}: {spent} of {most}");
                    assert!(latest <= PROGRESS_MS, "{what}: after {latest} ms");
                }
            }
        }
    }

    /// All are listed at once, have no check for two seconds, and end one after another.
    #[test]
    fn hosts_that_end_one_by_one_cost_no_more_than_those_that_end_together() {
        for hosts in [10, 60, 100, 500] {
            for gap in [0, 20, 50, 200, 1_000, 5_000] {
                let (spent, seconds, latest) = played(hosts, |it| (2_000, it * gap));
                let most = WITHOUT_HOSTS + 2 * hosts.div_ceil(MOST_CHECKS) + seconds / 15;
                assert!(spent <= most, "{hosts} hosts, {gap} ms apart: {spent} of {most}");
                assert!(latest <= PROGRESS_MS, "{hosts} hosts, {gap} ms apart: {latest} ms");
            }
        }
    }

    impl DueChecks {
        fn not_before_is_now(&self, run: &RunCalls) -> bool {
            run.not_before(self, START) <= START
        }
    }
}
