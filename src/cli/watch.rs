//! Runs an engine under a person's eyes and hands.
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::cli::progress::Progress;

/// How often the clock of a running host moves on the terminal.
const TICK: Duration = Duration::from_millis(250);

/// What an engine tells its events to, and where they are heard.
pub(super) fn events<E: Send>() -> (impl FnMut(E) + Send, UnboundedReceiver<E>) {
    let (sender, events) = mpsc::unbounded_channel();
    let observe = move |event| {
        // Nobody listens any more once a second signal came.
        drop(sender.send(event));
    };
    (observe, events)
}

/// Runs the engine and shows its events. The first signal asks it to end in order; at the second it
/// is dropped, which ends its processes, and there is no answer.
pub(super) async fn watch<E, T>(
    engine: impl Future<Output = T>,
    mut events: UnboundedReceiver<E>,
    mut show: impl FnMut(Progress, E) -> Progress,
    stop: &CancellationToken,
) -> std::io::Result<Option<T>> {
    let mut interrupts = Interrupts::new()?;
    tokio::pin!(engine);
    let mut progress = Progress::on_stderr();
    let mut clock = interval(TICK);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let answer = loop {
        tokio::select! {
            // Events first: the engine's end is shown after everything before it.
            biased;
            Some(event) = events.recv() => progress = show(progress, event),
            () = interrupts.next() => {
                if stop.is_cancelled() {
                    break None;
                }
                stop.cancel();
                progress.say("stopping: ending every process; again to stop at once");
            }
            answer = &mut engine => break Some(answer),
            _ = clock.tick() => progress.tick(Instant::now()),
        }
    };
    while let Ok(event) = events.try_recv() {
        progress = show(progress, event);
    }
    progress.finish();
    Ok(answer)
}

/// Ctrl-C, or what a supervisor sends.
struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupts {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
