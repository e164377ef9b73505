//! A log of requests or connections: one file in the data folder that is set aside when it is full.
//! Written by a thread of its own: a slow disk loses lines, which are counted, and never holds up a
//! request.

use crate::limits::{LOG_FILE_BYTES_MAX, LOG_FILES_MAX, LOG_LINES_MAX};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

pub struct LogFile {
    name: &'static str,
    lines: SyncSender<String>,
    lost: AtomicU64,
}

impl LogFile {
    /// Writes into `folder`, which is made if it is not there.
    pub fn start(folder: PathBuf, name: &'static str) -> Self {
        let (lines, received) = sync_channel(LOG_LINES_MAX);
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || keep(&folder, name, &received))
            .expect("a thread can be started");
        Self { name, lines, lost: AtomicU64::new(0) }
    }

    pub fn write(&self, line: String) {
        if self.lines.try_send(line).is_err() {
            let lost = self.lost.fetch_add(1, Ordering::Relaxed) + 1;
            if lost.is_power_of_two() {
                tracing::warn!(lost, log = self.name, "lines of a log were lost");
            }
        }
    }
}

/// Until nobody can send any more.
fn keep(folder: &Path, name: &str, lines: &Receiver<String>) {
    let mut open: Option<(File, u64)> = None;
    while let Ok(first) = lines.recv() {
        let mut text = first;
        text.push('\n');
        for line in lines.try_iter().take(1000) {
            text.push_str(&line);
            text.push('\n');
        }
        if let Err(failure) = append(folder, name, &mut open, &text) {
            tracing::warn!(%failure, log = name, "a log can't be written");
            open = None;
        }
    }
}

fn append(folder: &Path, name: &str, open: &mut Option<(File, u64)>, text: &str) -> io::Result<()> {
    let path = folder.join(name);
    if open.as_ref().is_some_and(|(_, size)| *size >= LOG_FILE_BYTES_MAX) {
        *open = None;
        for number in (1..LOG_FILES_MAX).rev() {
            let older = folder.join(format!("{name}.{number}"));
            let newer = if number == 1 {
                path.clone()
            } else {
                folder.join(format!("{name}.{}", number - 1))
            };
            if newer.exists() {
                std::fs::rename(newer, older)?;
            }
        }
    }
    if open.is_none() {
        std::fs::create_dir_all(folder)?;
        let file = OpenOptions::new().create(true).append(true).open(&path)?;
        let size = file.metadata()?.len();
        *open = Some((file, size));
    }
    let (file, size) = open.as_mut().expect("it was opened just now");
    file.write_all(text.as_bytes())?;
    *size += text.len() as u64;
    Ok(())
}
