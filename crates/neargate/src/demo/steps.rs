//! Steps told as they happen: a line that is completed when the step is, and where nobody is there
//! to watch it change, one line when it is over.

use anyhow::Result;
use std::io::{IsTerminal, Write};
use std::time::Instant;

pub struct Steps {
    rewrites: bool,
}

impl Steps {
    pub fn new() -> Self {
        Self { rewrites: std::io::stdout().is_terminal() }
    }

    pub async fn during<T>(&self, what: &str, doing: impl Future<Output = Result<T>>) -> Result<T> {
        if self.rewrites {
            print!("… {what}");
            std::io::stdout().flush()?;
        }
        let began = Instant::now();
        let done = doing.await;
        let ms = began.elapsed().as_millis();
        let start = if self.rewrites { "\r" } else { "" };
        match &done {
            Ok(_) => println!("{start}✓ {what} ({ms} ms)"),
            Err(_) => println!("{start}✗ {what} ({ms} ms)"),
        }
        done
    }

    /// Whether the line of a step under way stands unfinished.
    pub fn rewrites(&self) -> bool {
        self.rewrites
    }

    pub fn say(&self, line: &str) {
        println!("  {line}");
    }
}
