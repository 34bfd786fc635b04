//! What evaluations cost: which attributes share a process, and what each process may hold.
//!
//! Memory is a budget of all evaluations of this machine, and every process is given a share of it
//! before it starts: what earlier runs have shown that it needs, with a margin, or a careful share
//! where nothing is known. The shares of what runs never add up to more than the budget; a process
//! that outgrows its share ends, and is tried again with the whole budget to itself.
mod alike;

use crate::domain::id::AttrPath;

pub use alike::Alike;

/// What was seen of an attribute's earlier evaluations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    pub evaluation_ms: i64,
    /// Bytes that a process of it alone holds.
    pub peak_memory: i64,
}

/// How many evaluations may run at once, and what they may hold.
#[derive(Clone, Copy, Debug)]
pub struct EvaluationLimits {
    pub at_once: usize,
    /// Bytes that one of unknown size may hold beside others.
    pub each: u64,
    /// Bytes that all of them may hold together.
    pub together: u64,
}

/// One process: what it evaluates, and its share of the budget in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    pub attrs: Vec<AttrPath>,
    pub memory: u64,
    pub size: Size,
}

/// Where the size of a process comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// What earlier runs have shown.
    Known,
    /// Nowhere: it is of attributes that nobody has evaluated.
    New,
}

/// Outputs with many small attributes; the entries of others are whole systems.
const MANY: [&str; 3] = ["checks", "packages", "hydraJobs"];
/// More than this at once makes a batch's failure expensive to split, and its first result late. Fewer
/// cost: 500 tiny hosts that are in the store already took 1.0 s by 64 and 0.3 s by 250.
const LARGEST_BATCH: usize = 250;
/// An attribute that took longer is evaluated alone: a process costs little beside it, and its
/// build need not wait for others.
const CHEAP_MS: i64 = 500;
/// A batch is filled up to this expected time.
const BATCH_MS: i64 = 5_000;
/// What Nix holds to evaluate next to nothing: 58 MiB of 2.8, 61 of 2.34.
const PROCESS: u64 = 64 << 20;
/// No share is smaller: below this Nix's garbage collector works more than its evaluator.
const SMALLEST: u64 = 256 << 20;

impl EvaluationLimits {
    /// The share of a process of which nothing is known: as many as may run at once find room.
    #[must_use]
    pub fn careful(&self) -> u64 {
        let even = self.together / u64::try_from(self.at_once.max(1)).unwrap_or(u64::MAX);
        even.min(self.each).max(SMALLEST).min(self.together)
    }

    /// The share of a process that is expected to hold so much: a quarter more, since a host grows
    /// from commit to commit.
    fn share(&self, expected: u64) -> u64 {
        (expected + expected / 4).max(SMALLEST).min(self.together)
    }

    /// Whether an attribute may share a process: it is soon done, and small beside a share.
    fn is_cheap(&self, it: &Known) -> bool {
        it.evaluation_ms <= CHEAP_MS && own(it) <= self.careful() / 4
    }
}

/// What an attribute adds to a process, in bytes.
fn own(known: &Known) -> u64 {
    u64::try_from(known.peak_memory).unwrap_or(0).saturating_sub(PROCESS)
}

/// What one of the attributes of a process would have held alone, by what they held together.
#[must_use]
pub fn alone(peak: u64, of: usize) -> u64 {
    let of = u64::try_from(of.max(1)).unwrap_or(u64::MAX);
    if of == 1 { peak } else { PROCESS + peak.saturating_sub(PROCESS) / of }
}

/// Whether an attribute is of an output that has many small ones.
#[must_use]
pub fn is_one_of_many(attr: &AttrPath) -> bool {
    MANY.contains(&attr.output())
}

/// Splits what must be evaluated into processes, the largest share first: alone what is known to be
/// heavy, many to a process what is known to be cheap, and alone what is new, until [`Alike`] knows
/// more of it.
pub fn batches(
    attrs: impl IntoIterator<Item = (AttrPath, Option<Known>)>,
    limits: EvaluationLimits,
) -> Vec<Batch> {
    let mut cheap: Vec<(AttrPath, Known)> = Vec::new();
    let mut batches: Vec<Batch> = Vec::new();
    for (attr, known) in attrs {
        match known {
            Some(known) if limits.is_cheap(&known) => cheap.push((attr, known)),
            Some(known) => {
                let memory = limits.share(PROCESS + own(&known));
                batches.push(Batch { attrs: vec![attr], memory, size: Size::Known });
            }
            None => {
                let memory = limits.careful();
                batches.push(Batch { attrs: vec![attr], memory, size: Size::New });
            }
        }
    }
    // Of one size the known go first: they are many, and soon done.
    batches.splice(..0, together(cheap, limits));
    batches.sort_by_key(|it| std::cmp::Reverse(it.memory));
    batches
}

/// Cheap attributes, many to a process.
fn together(mut cheap: Vec<(AttrPath, Known)>, limits: EvaluationLimits) -> Vec<Batch> {
    // Outputs do not share a process: a batch is one attribute set of the flake.
    cheap.sort_by(|a, b| a.0.output().cmp(b.0.output()));
    let most = cheap.len().div_ceil(limits.at_once.max(1)).clamp(1, LARGEST_BATCH);
    let mut batches: Vec<Batch> = Vec::new();
    let mut used = (0, PROCESS);
    for (attr, known) in cheap {
        let with = (used.0 + known.evaluation_ms, used.1 + own(&known));
        let fits = batches.last().is_some_and(|batch| {
            batch.attrs.len() < most
                && batch.attrs[0].output() == attr.output()
                && with.0 <= BATCH_MS
                && limits.share(with.1) <= limits.careful()
        });
        if let Some(batch) = batches.last_mut().filter(|_| fits) {
            batch.attrs.push(attr);
            used = with;
        } else {
            batches.push(Batch { attrs: vec![attr], memory: 0, size: Size::Known });
            used = (known.evaluation_ms, PROCESS + own(&known));
        }
        if let Some(batch) = batches.last_mut() {
            batch.memory = limits.share(used.1);
        }
    }
    batches
}

/// A batch in which something failed, as smaller ones: quarters while large, then each alone, so
/// that the guilty host stands alone soon and the others are not evaluated often. Nobody knows
/// which of them is large, so each part keeps the share.
#[must_use]
pub fn split(batch: &Batch) -> Vec<Batch> {
    let Batch { attrs, memory, size: _ } = batch;
    let most = if attrs.len() > 8 { attrs.len().div_ceil(4) } else { 1 };
    let part = |attrs: &[AttrPath]| Batch {
        attrs: attrs.to_vec(),
        memory: *memory,
        // They were together once, and are not put together again.
        size: Size::Known,
    };
    attrs.chunks(most).map(part).collect()
}

/// Which of the processes that are left starts next, when so much of the budget is free: the first
/// that fits, or else the first of all, which then waits for its share before anybody who comes
/// later.
pub fn next(shares: impl IntoIterator<Item = u64>, free: u64) -> usize {
    shares.into_iter().position(|it| it <= free).unwrap_or(0)
}

#[cfg(test)]
mod tests;
