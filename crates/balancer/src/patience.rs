//! How long a connection may go without anything happening. The deadline moves with every byte, the
//! timer behind it does not: it is looked at when it goes off, and set again if the deadline has
//! moved on meanwhile. So a busy connection touches the timers about once a minute.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

pub struct Patience {
    sleep: Pin<Box<Sleep>>,
    deadline: Instant,
}

impl Patience {
    pub fn new(lasts: Duration) -> Self {
        let deadline = Instant::now() + lasts;
        Self { sleep: Box::pin(tokio::time::sleep_until(deadline)), deadline }
    }

    pub fn renew(&mut self, now: Instant, lasts: Duration) {
        self.deadline = now + lasts;
        if self.deadline < self.sleep.deadline() {
            self.sleep.as_mut().reset(self.deadline);
        }
    }

    /// Ready when the deadline has passed.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.sleep.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            if Instant::now() >= self.deadline {
                return Poll::Ready(());
            }
            self.sleep.as_mut().reset(self.deadline);
        }
    }
}
