//! Shows a `check` while it runs: a line per host that moves when standard error is a terminal,
//! a line per change when it is not.
use std::io::IsTerminal;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::Instant;

use crate::cli::board::Board;
use crate::cli::output;
use crate::flow::check::CheckEvent;

/// What a person sees of a running `check`.
pub(super) struct Progress {
    board: Board,
    screen: Screen,
}

enum Screen {
    Lines,
    Live(Live),
}

impl Progress {
    /// On standard error, as it allows.
    pub(super) fn on_stderr() -> Self {
        let screen = if std::io::stderr().is_terminal() {
            Screen::Live(Live::new(ProgressDrawTarget::stderr()))
        } else {
            Screen::Lines
        };
        Self { board: Board::default(), screen }
    }

    /// Takes an event in. A terminal is redrawn at the next tick, so that thousands of events a
    /// second cost nothing to draw.
    pub(super) fn observe(&mut self, event: CheckEvent, now: Instant) {
        let is_note = matches!(event, CheckEvent::Note(_));
        let line = self.board.observe(event, now);
        match (&self.screen, line) {
            (Screen::Lines, Some(line)) => output::say(&line),
            (Screen::Live(screen), Some(line)) if is_note => screen.say(&line),
            (Screen::Lines | Screen::Live(_), _) => {}
        }
    }

    /// Moves the clocks.
    pub(super) fn tick(&mut self, now: Instant) {
        match &mut self.screen {
            Screen::Lines => {}
            Screen::Live(screen) => screen.draw(&self.board.lines(room(), now)),
        }
    }

    /// A remark of its own line.
    pub(super) fn say(&self, line: &str) {
        match &self.screen {
            Screen::Lines => output::say(line),
            Screen::Live(screen) => screen.say(line),
        }
    }

    /// Takes the moving lines away: the result follows.
    pub(super) fn finish(self) {
        match self.screen {
            Screen::Lines => {}
            Screen::Live(mut screen) => screen.draw(&[]),
        }
    }
}

/// Lines that are overwritten.
struct Live {
    bars: MultiProgress,
    lines: Vec<ProgressBar>,
    style: ProgressStyle,
}

impl Live {
    fn new(target: ProgressDrawTarget) -> Self {
        // `wide_msg` cuts at the terminal's width; a line that wraps could not be overwritten.
        let style = ProgressStyle::with_template("{wide_msg}")
            .unwrap_or_else(|_| ProgressStyle::default_spinner());
        Self { bars: MultiProgress::with_draw_target(target), lines: Vec::new(), style }
    }

    fn draw(&mut self, lines: &[String]) {
        while self.lines.len() < lines.len() {
            let bar = ProgressBar::no_length().with_style(self.style.clone());
            self.lines.push(self.bars.add(bar));
        }
        for bar in self.lines.drain(lines.len()..) {
            bar.finish_and_clear();
            self.bars.remove(&bar);
        }
        for (bar, line) in self.lines.iter().zip(lines) {
            if bar.message() != *line {
                bar.set_message(line.clone());
                bar.tick();
            }
        }
    }

    fn say(&self, line: &str) {
        if let Err(error) = self.bars.println(line) {
            tracing::debug!(%error, "standard error is closed");
        }
    }
}

/// Lines of the terminal that may move: all but the one for the cursor.
fn room() -> usize {
    let rows = rustix::termios::tcgetwinsize(std::io::stderr()).map_or(24, |size| size.ws_row);
    usize::from(rows).saturating_sub(1).max(1)
}
