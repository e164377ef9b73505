//! A worker: a thread with an event loop of its own. A connection stays on its worker, so that
//! nothing is handed from one thread to another while a request is carried.

use crate::core::Random;
use std::future::Future;
use std::sync::Mutex;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

pub struct Worker {
    pub handle: Handle,
    pub random: Random,
    end: Mutex<Option<oneshot::Sender<()>>>,
}

impl Worker {
    pub fn start(index: usize, seed: &[u8; 32]) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("an event loop takes three file descriptors");
        let handle = runtime.handle().clone();
        let (end, ended) = oneshot::channel::<()>();
        std::thread::Builder::new()
            .name(format!("balancer-{index}"))
            .spawn(move || {
                // It ends when it is told to or when nobody is left who could.
                let _told = runtime.block_on(ended);
                runtime.shutdown_background();
            })
            .expect("a thread can be started");
        let begin: [u8; 8] = seed[..8].try_into().expect("eight bytes");
        let random = Random::new(u64::from_le_bytes(begin) ^ (index as u64) << 32);
        Self { handle, random, end: Mutex::new(Some(end)) }
    }

    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.handle.spawn(task);
    }

    pub fn end(&self) {
        let end = self.end.lock().expect("no panic while it is held").take();
        if let Some(end) = end {
            // Gone already if the thread has ended.
            let _ = end.send(());
        }
    }
}
