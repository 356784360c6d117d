//! Progress: a bar on a terminal, a plain line now and then elsewhere.

use std::{
    io::{self, IsTerminal},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::say;
use crate::{
    status::fetch::FetchReport,
    text::{Rate, Size, Time, escape},
};

/// How often there is a line where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Shows how something goes, on standard error.
pub struct Progress {
    bar: Option<ProgressBar>,
    lines: bool,
    last_line: Instant,
}

impl Progress {
    /// Nothing is shown before the first update; nothing at all when `quiet`.
    pub fn new(quiet: bool) -> Progress {
        let terminal = io::stderr().is_terminal();
        let bar = (terminal && !quiet).then(|| {
            let bar = ProgressBar::with_draw_target(Some(1), ProgressDrawTarget::stderr_with_hz(10));
            let style =
                ProgressStyle::with_template("{bar:30} {percent:>3} %  {msg}").expect("the template is well-formed");
            bar.set_style(style.progress_chars("█▉▊▋▌▍▎▏ "));
            bar
        });
        Progress { bar, lines: !terminal && !quiet, last_line: Instant::now() }
    }

    /// How a fetch goes; `note` is what a person should know besides.
    pub fn fetch(&mut self, report: &FetchReport, note: Option<&str>) {
        let left = report.time_left().map(|time| format!(", {} left", Time(time))).unwrap_or_default();
        let mut text = format!(
            "{}{left}, {} {}",
            Rate(report.down_rate),
            report.peers,
            if report.peers == 1 { "peer" } else { "peers" }
        );
        if report.up_rate >= 1.0 {
            text += &format!(", giving {}", Rate(report.up_rate));
        }
        if let Some(note) = note {
            text += &format!("; {note}");
        }
        self.show(report.verified, report.length, &text);
    }

    /// Bytes done of a number of bytes, and what is being done.
    pub fn show(&mut self, done: u64, total: u64, text: &str) {
        if let Some(bar) = &self.bar {
            bar.set_length(total.max(1));
            bar.set_position(done);
            bar.set_message(escape(text));
        } else if self.lines && self.last_line.elapsed() >= LINE_EVERY {
            self.last_line = Instant::now();
            let percent = done as f64 * 100.0 / total.max(1) as f64;
            say(format_args!("{percent:5.1} % of {}, {text}", Size(total)));
        }
    }

    /// Takes the bar away.
    pub fn clear(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
