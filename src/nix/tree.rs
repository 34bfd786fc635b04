//! The processes that one child has become: found, weighed and ended together.
//!
//! A process group is not enough: Nix puts every builder into a session of its own, and what a
//! builder starts may leave that session and outlive its parents. So each child gets a *mark*, an
//! odd soft limit on file locks: Linux ignores that limit since 2.4.25, every descendant inherits
//! it through `fork`, `exec` and `setsid`, and anybody may read it in `/proc`.
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use procfs::process::{Process, Stat};
use rustix::process::{Pid, PidfdFlags, Resource, Rlimit, Signal};
use tokio::process::{Child, Command};

/// A child and everything that it started. Dropping it kills them all.
#[derive(Debug)]
pub struct Tree {
    leader: i32,
    /// In clock ticks since boot. What started before cannot be a descendant.
    started: u64,
    /// `None` where the system refused it; then parents and the process group must do.
    mark: Option<String>,
    /// Nothing of it lived when it was looked at last, so nothing of it can be born any more.
    gone: AtomicBool,
}

/// One living process of a tree. The start time tells it from a later one with its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Member {
    pid: i32,
    started: u64,
}

impl Tree {
    /// Starts a child, marked before it runs, and takes hold of its tree.
    ///
    /// # Errors
    /// When it cannot be started, with the system's reason.
    pub fn spawn(command: &mut Command) -> std::io::Result<(Child, Self)> {
        static NEXT: Mutex<u32> = Mutex::new(1);
        let mut next = NEXT.lock().unwrap_or_else(PoisonError::into_inner);
        *next += 1;
        let mark = (owner_of_marks(std::process::id()) << 32) | u64::from(*next);
        // The child inherits the mark from us: set from outside it would come too late for a
        // program that forks at once. For ourselves the limit means nothing.
        let ours = rustix::process::getrlimit(Resource::Locks);
        let marked = rustix::process::setrlimit(
            Resource::Locks,
            Rlimit { current: Some(mark), maximum: ours.maximum },
        );
        let child = command.spawn();
        if let Err(error) = marked.and_then(|()| rustix::process::setrlimit(Resource::Locks, ours))
        {
            tracing::debug!(%error, "a child has no mark: its tree is known by parents alone");
        }
        drop(next);
        let child = child?;
        let gone = || std::io::Error::other("it ended at once and cannot be found");
        let leader = child.id().and_then(|it| i32::try_from(it).ok()).ok_or_else(gone)?;
        let started = stat(leader).ok_or_else(gone)?.starttime;
        let mark = marked.is_ok().then(|| mark.to_string());
        Ok((child, Self { leader, started, mark, gone: AtomicBool::new(false) }))
    }

    /// Lets everything else of this machine run first. What it has started already keeps its
    /// place; a program that was just begun has started nothing.
    pub fn step_back(&self) {
        let lowered = rustix::process::setpriority_process(Pid::from_raw(self.leader), 19);
        if let Err(error) = lowered {
            tracing::debug!(%error, "a child in the background runs like any other");
        }
    }

    /// Bytes of memory that the tree holds now; shared pages count in each process.
    pub fn memory(&self) -> u64 {
        let page = procfs::page_size();
        self.scan().values().map(|it| it.rss * page).sum()
    }

    /// Bytes of memory that the leader holds now and the most it ever held.
    pub fn leader_memory(&self) -> (u64, u64) {
        let status = Process::new(self.leader).and_then(|it| it.status());
        let kib = |field: Option<u64>| field.unwrap_or(0) * 1024;
        status.map_or((0, 0), |it| (kib(it.vmrss), kib(it.vmhwm)))
    }

    /// Asks every process of the tree to end.
    pub fn terminate(&self) {
        for member in self.scan().into_keys() {
            signal(member, Signal::TERM);
        }
    }

    /// Ends every process of the tree now, also those that are started while it does so.
    pub fn kill(&self) {
        // Looking at every process of the machine costs milliseconds.
        if !self.gone.load(Ordering::Relaxed) {
            let none = self.kill_those(|_| true) == 0;
            self.gone.store(none, Ordering::Relaxed);
        }
    }

    /// Whether the leader lives and none of its children does.
    pub fn is_childless(&self) -> bool {
        let Ok(leader) = Process::new(self.leader) else { return false };
        let Ok(threads) = leader.tasks() else { return false };
        let children = threads.flatten().map(|it| it.children());
        let Ok(children) = children.collect::<Result<Vec<_>, _>>() else { return false };
        let lives = |pid: u32| {
            let it = i32::try_from(pid).ok().and_then(stat);
            it.is_some_and(|it| !matches!(it.state, 'Z' | 'X'))
        };
        stat(self.leader).is_some_and(|it| it.starttime == self.started)
            && !children.into_iter().flatten().any(lives)
    }

    /// Ends what lives on although its parents inside the tree are gone: what a finished build
    /// left running. Gives their number.
    pub fn kill_orphans(&self) -> usize {
        self.kill_those(|it| !it.descends)
    }

    fn kill_those(&self, chosen: impl Fn(&Found) -> bool) -> usize {
        let mut killed = HashSet::new();
        // Each round finds what was forked during the one before; a fork bomb loses, because the
        // dead do not fork.
        for _ in 0..100 {
            let found = self.scan().into_iter().filter(|(_, it)| chosen(it));
            let new: Vec<Member> =
                found.map(|(it, _)| it).filter(|it| !killed.contains(it)).collect();
            if new.is_empty() {
                break;
            }
            for member in new {
                signal(member, Signal::KILL);
                killed.insert(member);
            }
        }
        killed.len()
    }

    /// Every living process of the tree.
    fn scan(&self) -> HashMap<Member, Found> {
        let Ok(processes) = procfs::process::all_processes() else { return HashMap::new() };
        let younger: Vec<Stat> = processes
            .flatten()
            .filter_map(|process| process.stat().ok())
            .filter(|stat| stat.starttime >= self.started && !matches!(stat.state, 'Z' | 'X'))
            .collect();
        let children = Children::of(&younger);
        let leads = |it: &Stat| it.pid == self.leader && it.starttime == self.started;
        let alive = younger.iter().any(leads);
        let descendants = if alive { children.below(self.leader) } else { HashSet::new() };
        let others = children.of_others(self.leader);
        younger
            .into_iter()
            .filter_map(|stat| {
                let descends = descendants.contains(&stat.pid);
                let belongs = descends || !others.contains(&stat.pid) && self.has_mark(&stat);
                let member = Member { pid: stat.pid, started: stat.starttime };
                belongs.then_some((member, Found { rss: stat.rss, descends }))
            })
            .collect()
    }

    fn has_mark(&self, stat: &Stat) -> bool {
        let Some(mark) = &self.mark else { return stat.pgrp == self.leader };
        mark_of(stat.pid).as_ref() == Some(mark)
    }
}

/// The upper half of the marks of one process of this program's.
fn owner_of_marks(process: u32) -> u64 {
    (1 << 30) | u64::from(process)
}

/// The soft limit on file locks, as text. By hand, because procfs reads all sixteen limits of each
/// process of the machine.
fn mark_of(pid: i32) -> Option<String> {
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max file locks"))?;
    line.split_ascii_whitespace().next().map(str::to_owned)
}

/// Ends what a process of this program's left running when it died too suddenly to do so itself,
/// and gives how many that were. Call it before anything is started, with the number that process
/// had; nothing is done when another living process has it by now.
pub fn end_left_by(dead: u32) -> usize {
    let is_taken = dead != std::process::id()
        && i32::try_from(dead)
            .is_ok_and(|pid| stat(pid).is_some_and(|it| !matches!(it.state, 'Z' | 'X')));
    if is_taken {
        return 0;
    }
    let is_left = |pid: i32| {
        let mark = mark_of(pid).and_then(|it| it.parse::<u64>().ok());
        mark.is_some_and(|it| it >> 32 == owner_of_marks(dead))
    };
    let mut ended = HashSet::new();
    for _ in 0..100 {
        let Ok(all) = procfs::process::all_processes() else { break };
        let all = all.flatten().filter(|it| is_left(it.pid)).filter_map(|it| it.stat().ok());
        let left: Vec<Member> = all
            .filter(|it| !matches!(it.state, 'Z' | 'X'))
            .map(|it| Member { pid: it.pid, started: it.starttime })
            .filter(|it| ended.insert(*it))
            .collect();
        if left.is_empty() {
            break;
        }
        for member in left {
            signal(member, Signal::KILL);
        }
    }
    ended.len()
}

impl Drop for Tree {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Who started whom.
struct Children(HashMap<i32, Vec<i32>>);

impl Children {
    fn of(stats: &[Stat]) -> Self {
        let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
        for stat in stats {
            children.entry(stat.ppid).or_default().push(stat.pid);
        }
        Self(children)
    }

    /// A process and all that descend from it.
    fn below(&self, pid: i32) -> HashSet<i32> {
        let mut found = HashSet::new();
        let mut open = vec![pid];
        while let Some(pid) = open.pop() {
            if found.insert(pid) {
                open.extend(self.0.get(&pid).into_iter().flatten());
            }
        }
        found
    }

    /// What descends from our other children. One that was started elsewhere in this program at
    /// the same moment may have inherited the mark by accident. As process 1 we are also the
    /// parent of every orphan, and nothing can be told.
    fn of_others(&self, leader: i32) -> HashSet<i32> {
        let ours = i32::try_from(std::process::id()).unwrap_or(1);
        if ours == 1 {
            return HashSet::new();
        }
        let others = self.0.get(&ours).into_iter().flatten().filter(|it| **it != leader);
        others.flat_map(|it| self.below(*it)).collect()
    }
}

/// What a scan says of one process.
#[derive(Clone, Copy)]
struct Found {
    /// In pages.
    rss: u64,
    /// Its parents lead to the leader.
    descends: bool,
}

fn stat(pid: i32) -> Option<Stat> {
    Process::new(pid).and_then(|it| it.stat()).ok()
}

/// Through a file descriptor of the process, so that a number that was given to another in the
/// meantime does not hit that one.
fn signal(member: Member, signal: Signal) {
    let Some(pid) = Pid::from_raw(member.pid) else { return };
    let Ok(process) = rustix::process::pidfd_open(pid, PidfdFlags::empty()) else { return };
    if stat(member.pid).is_some_and(|it| it.starttime == member.started) {
        // It may have ended by itself, or belong to another user who alone can end it.
        let _ = rustix::process::pidfd_send_signal(process, signal);
    }
}
