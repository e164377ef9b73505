//! How far it is. On a terminal one line that is drawn again and again until its step is done; to a
//! file or a pipe one plain line for each step that is done, so that a log stays readable.

use anyhow::Result;
use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How often the line is drawn.
const DRAWN_EVERY: Duration = Duration::from_millis(100);
/// Characters between the brackets.
const BAR_CHARS: u64 = 24;
/// Characters of a step's name on a line that is drawn: the whole must fit in 80 columns.
const NAME_CHARS: usize = 28;

/// Bytes done, counted by whoever does them.
#[derive(Clone, Debug, Default)]
pub struct Counter(Arc<AtomicU64>);

impl Counter {
    pub fn add(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    Drawn,
    Lines,
    /// For callers who tell it themselves.
    Silent,
}

impl Progress {
    /// As fits standard error.
    pub fn to_stderr() -> Self {
        if std::io::stderr().is_terminal() { Self::Drawn } else { Self::Lines }
    }

    pub fn say(self, line: &str) {
        if self != Self::Silent {
            eprintln!("{line}");
        }
    }

    /// Shows a step until it is done. `total` is what the counter will come to, if that is known.
    pub async fn during<T>(
        self,
        what: &str,
        total: Option<u64>,
        counter: &Counter,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let began = Instant::now();
        let mut ticks = tokio::time::interval(DRAWN_EVERY);
        let mut work = std::pin::pin!(work);
        let done = loop {
            tokio::select! {
                done = &mut work => break done,
                _ = ticks.tick(), if self == Self::Drawn => {
                    draw(&line(what, counter.get(), total, began.elapsed()));
                }
            }
        };
        if self == Self::Drawn {
            draw("");
        }
        if done.is_ok() {
            self.say(&format!("{what}: {}", size(counter.get())));
        }
        done
    }
}

/// Over the line that is there. A terminal that has gone is nobody's concern.
fn draw(line: &str) {
    let mut out = std::io::stderr().lock();
    let _ = write!(out, "\r\x1b[K{line}").and_then(|()| out.flush());
}

fn line(what: &str, done: u64, total: Option<u64>, took: Duration) -> String {
    let name: String = what.chars().take(NAME_CHARS).collect();
    let rate = done as f64 / took.as_secs_f64().max(0.001);
    let rate = format!("{}/s", size(rate as u64));
    match total.filter(|total| *total > 0) {
        None => format!("{name:<NAME_CHARS$} {} {rate}", size(done)),
        Some(total) => {
            let full = (done.min(total) * BAR_CHARS / total) as usize;
            let bar = format!("{}{}", "#".repeat(full), "-".repeat(BAR_CHARS as usize - full));
            let percent = done.min(total) * 100 / total;
            format!("{name:<NAME_CHARS$} [{bar}] {percent:>3}% {rate}")
        }
    }
}

/// Bytes as people read them.
pub fn size(bytes: u64) -> String {
    let (mut value, mut unit) = (bytes as f64, "B");
    for next in ["KiB", "MiB", "GiB", "TiB"] {
        if value < 1024.0 {
            break;
        }
        (value, unit) = (value / 1024.0, next);
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_fits_its_terminal_and_says_how_far_it_is() {
        let second = Duration::from_secs(1);
        let half = line("push layer 1 of 3", 50 << 20, Some(100 << 20), second);
        assert!(half.contains("[############------------]  50% 50.0 MiB/s"), "{half}");
        for (done, total) in [(0, Some(7)), (9, Some(7)), (1 << 60, None), (0, Some(0))] {
            let line = line(&"x".repeat(100), done, total, Duration::ZERO);
            assert!(line.chars().count() <= 80, "{line}");
        }
        assert_eq!([size(999), size(1536), size(3 << 30)], ["999 B", "1.5 KiB", "3.0 GiB"]);
    }

    #[tokio::test]
    async fn a_step_gives_what_its_work_gives() {
        let counter = Counter::default();
        for progress in [Progress::Silent, Progress::Lines, Progress::Drawn] {
            let done = progress.during("step", None, &counter, async { Ok(7) }).await;
            assert_eq!(done.expect("done"), 7);
            let work = async { anyhow::bail!("no") };
            let failed: Result<()> = progress.during("step", Some(1), &counter, work).await;
            assert!(failed.is_err());
        }
    }
}
