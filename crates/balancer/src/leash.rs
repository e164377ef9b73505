//! How a connection is told from outside to come to its end: a flag of its own and a way to wake
//! it. One for each connection, so that a look at it is a lock nobody else holds.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};

#[derive(Default)]
pub struct Leash {
    pulled: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Leash {
    /// Whether to end; if not, the task is woken when it is.
    pub fn is_pulled(&self, context: &Context<'_>) -> bool {
        {
            let mut waker = self.waker.lock().expect("no panic while it is held");
            match &mut *waker {
                Some(waker) if waker.will_wake(context.waker()) => {}
                other => *other = Some(context.waker().clone()),
            }
        }
        self.pulled.load(Ordering::Acquire)
    }

    pub fn is_pulled_now(&self) -> bool {
        self.pulled.load(Ordering::Acquire)
    }

    fn pull(&self) {
        self.pulled.store(true, Ordering::Release);
        let waker = self.waker.lock().expect("no panic while it is held").take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Ends when it is pulled.
    pub async fn pulled(&self) {
        std::future::poll_fn(|context| match self.is_pulled(context) {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        })
        .await;
    }
}

/// The leashes of a listener's connections.
#[derive(Default)]
pub struct Leashes {
    next: AtomicU64,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    pulled: bool,
    leashes: BTreeMap<u64, Arc<Leash>>,
}

impl Leashes {
    /// A leash for a new connection; already pulled if all are.
    pub fn take(self: &Arc<Self>) -> Tied {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let leash = Arc::new(Leash::default());
        let mut held = self.held.lock().expect("no panic while it is held");
        if held.pulled {
            leash.pull();
        }
        held.leashes.insert(number, leash.clone());
        Tied { leash, number, all: self.clone() }
    }

    pub fn pull_all(&self) {
        let mut held = self.held.lock().expect("no panic while it is held");
        held.pulled = true;
        for leash in held.leashes.values() {
            leash.pull();
        }
    }

    pub fn count(&self) -> usize {
        self.held.lock().expect("no panic while it is held").leashes.len()
    }
}

/// A connection's hold on its leash; dropped with the connection.
pub struct Tied {
    pub leash: Arc<Leash>,
    number: u64,
    all: Arc<Leashes>,
}

impl Drop for Tied {
    fn drop(&mut self) {
        let mut held = self.all.held.lock().expect("no panic while it is held");
        held.leashes.remove(&self.number);
    }
}
