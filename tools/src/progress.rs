//! How far the work is: a bar on a terminal, plain lines elsewhere, JSON lines on request. All on standard error.

use std::io::IsTerminal;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use nearline::{Progress, Stage};
use serde::Serialize;

use crate::{interrupt, print, size};

/// Seconds between two plain lines of a stage.
const PLAIN_EVERY: Duration = Duration::from_secs(1);
/// Time between two JSON lines of a stage.
const JSON_EVERY: Duration = Duration::from_millis(200);

/// How progress is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// Bars on a terminal, plain lines otherwise
    #[default]
    Auto,
    /// Bars
    Bar,
    /// At most a line a second
    Plain,
    /// JSON lines: {"stage":"assign","done":1,"total":2}
    Json,
    /// Nothing
    None,
}

/// Shows the stages of one command, one after another.
pub(crate) struct Reporter {
    mode: Mode,
    running: Mutex<Option<Running>>,
}

struct Running {
    stage: &'static str,
    done: u64,
    total: u64,
    started: Instant,
    printed: Instant,
    bar: Option<ProgressBar>,
}

#[derive(Serialize)]
struct Line {
    stage: &'static str,
    done: u64,
    total: u64,
}

impl Reporter {
    pub(crate) fn new(mode: Mode) -> Self {
        let mode = match mode {
            Mode::Auto if std::io::stderr().is_terminal() => Mode::Bar,
            Mode::Auto => Mode::Plain,
            other => other,
        };
        Self { mode, running: Mutex::new(None) }
    }

    /// Ends the stage before, if any, and begins another, `done` of whose `total` units are done already.
    pub(crate) fn start(&self, stage: &'static str, done: u64, total: u64) {
        let mut running = self.lock();
        self.end(running.take());
        let now = Instant::now();
        let bar = (self.mode == Mode::Bar).then(|| bar(stage, done, total));
        let next = Running { stage, done, total, started: now, printed: now, bar };
        if self.mode == Mode::Json {
            next.json();
        }
        *running = Some(next);
    }

    /// So many units of the stage are done in all.
    pub(crate) fn set(&self, done: u64) {
        if let Some(running) = &mut *self.lock() {
            running.done = done;
            running.show(self.mode);
        }
    }

    /// So many units more are done.
    pub(crate) fn add(&self, units: u64) {
        if let Some(running) = &mut *self.lock() {
            running.done += units;
            running.show(self.mode);
        }
    }

    /// Ends the last stage, which is done.
    pub(crate) fn finish(&self) {
        let running = self.lock().take();
        self.end(running);
    }

    fn end(&self, running: Option<Running>) {
        let Some(mut running) = running else { return };
        if let Some(bar) = running.bar.take() {
            bar.finish_and_clear();
        }
        let took = size::seconds(running.started.elapsed().as_secs_f64());
        match self.mode {
            Mode::Json => {
                running.done = running.total;
                running.json();
            }
            Mode::Plain | Mode::Bar => print::note(format!("{:<12} done in {took}", running.stage)),
            Mode::Auto | Mode::None => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Running>> {
        // whoever panicked holding it left a whole value
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Work that failed leaves no bar behind.
impl Drop for Reporter {
    fn drop(&mut self) {
        if let Some(bar) = self.lock().take().and_then(|running| running.bar) {
            bar.finish_and_clear();
        }
    }
}

impl Running {
    fn show(&mut self, mode: Mode) {
        if let Some(bar) = &self.bar {
            return bar.set_position(self.done);
        }
        let every = if mode == Mode::Json { JSON_EVERY } else { PLAIN_EVERY };
        if mode == Mode::None || self.printed.elapsed() < every {
            return;
        }
        self.printed = Instant::now();
        if mode == Mode::Json {
            return self.json();
        }
        if self.total == 0 {
            // Nobody knows yet.
            return print::note(format!("{:<12} {}", self.stage, size::count(self.done)));
        }
        let percent = self.done as f64 * 100.0 / self.total.max(1) as f64;
        let (done, total) = (size::count(self.done), size::count(self.total));
        print::note(format!("{:<12} {percent:3.0} %  {done} of {total}", self.stage));
    }

    fn json(&self) {
        let line = Line { stage: self.stage, done: self.done, total: self.total };
        if let Ok(text) = serde_json::to_string(&line) {
            print::note(text);
        }
    }
}

fn bar(stage: &'static str, done: u64, total: u64) -> ProgressBar {
    let bar = ProgressBar::new(total).with_position(done).with_message(stage);
    let style = "{msg:12} {wide_bar} {percent:>3} %  {human_pos} of {human_len}  {eta} left";
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(500));
    bar
}

impl Progress for Reporter {
    fn stage(&self, stage: Stage, done: u64, total: u64) {
        self.start(stage.name(), done, total);
    }

    fn advance(&self, units: u64) {
        self.add(units);
    }

    fn cancelled(&self) -> bool {
        interrupt::requested()
    }
}
