//! One pull for all who want the same thing at the same time. The first to ask starts the work as
//! a task of its own, the others wait for its result; when the last one who waits goes away, so
//! does the work.

use futures_util::FutureExt;
use futures_util::future::{Map, Shared};
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tokio::task::{AbortHandle, JoinError, JoinHandle};

pub(crate) struct Flights<V> {
    open: Arc<Mutex<BTreeMap<String, Weak<Flight<V>>>>>,
}

type Landing<V> = Shared<Map<JoinHandle<V>, fn(Result<V, JoinError>) -> Option<V>>>;

struct Flight<V> {
    key: String,
    result: Landing<V>,
    work: AbortHandle,
    open: Arc<Mutex<BTreeMap<String, Weak<Flight<V>>>>>,
}

impl<V> Default for Flights<V> {
    fn default() -> Self {
        Self { open: Arc::default() }
    }
}

fn lock<V>(
    open: &Mutex<BTreeMap<String, Weak<Flight<V>>>>,
) -> MutexGuard<'_, BTreeMap<String, Weak<Flight<V>>>> {
    // The map is whole between any two of our statements, so a panic elsewhere can't have torn it.
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<V> Drop for Flight<V> {
    fn drop(&mut self) {
        self.work.abort();
        let mut open = lock(&self.open);
        // Someone may have begun anew under the same key since our last waiter left.
        if open.get(&self.key).is_some_and(|entry| std::ptr::eq(entry.as_ptr(), self)) {
            open.remove(&self.key);
        }
    }
}

impl<V: Clone + Send + Sync + 'static> Flights<V> {
    /// The result of the work under way for `key`, or of `start` if there is none. `None` if the
    /// work ended without one, which takes a panic or the end of the process. The work itself
    /// keeps no copy: what the value holds is held by those who got it, and by nobody else.
    pub async fn join<F>(&self, key: &str, start: impl FnOnce() -> F) -> Option<V>
    where
        F: Future<Output = V> + Send + 'static,
    {
        let flight = self.board(key, start);
        flight.result.clone().await
    }

    fn board<F>(&self, key: &str, start: impl FnOnce() -> F) -> Arc<Flight<V>>
    where
        F: Future<Output = V> + Send + 'static,
    {
        let mut open = lock(&self.open);
        if let Some(flight) = open.get(key).and_then(Weak::upgrade) {
            return flight;
        }
        let (work, map, own_key) = (start(), Arc::clone(&self.open), key.to_owned());
        let task = tokio::spawn(async move {
            let value = work.await;
            // Whoever asks from here on asks anew; the flight's own waiters have its result.
            lock(&map).remove(&own_key);
            value
        });
        let work = task.abort_handle();
        let result: fn(Result<V, JoinError>) -> Option<V> = Result::ok;
        let flight = Arc::new(Flight {
            key: key.to_owned(),
            result: task.map(result).shared(),
            work,
            open: Arc::clone(&self.open),
        });
        open.insert(key.to_owned(), Arc::downgrade(&flight));
        flight
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};
    use tokio::sync::{Notify, oneshot};

    #[tokio::test]
    async fn all_who_wait_share_one_run_and_the_next_starts_anew() {
        let flights = Flights::<u32>::default();
        let runs = Arc::new(AtomicU32::new(0));
        let gate = Arc::new(Notify::new());
        let start = || {
            let (runs, gate) = (Arc::clone(&runs), Arc::clone(&gate));
            async move {
                gate.notified().await;
                runs.fetch_add(1, Ordering::SeqCst) + 1
            }
        };
        let waiters = (0..20).map(|_| flights.join("layer", start));
        let all = futures_util::future::join_all(waiters);
        gate.notify_one();
        assert_eq!(all.await, vec![Some(1); 20]);
        gate.notify_one();
        assert_eq!(flights.join("layer", start).await, Some(2));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn nothing_of_the_value_stays_behind() {
        let flights = Flights::<Arc<()>>::default();
        for _ in 0..2000 {
            let value = flights.join("layer", || async { Arc::new(()) }).await;
            assert_eq!(Arc::strong_count(&value.unwrap()), 1);
        }
    }

    #[tokio::test]
    async fn work_nobody_waits_for_ends() {
        struct Tell(Option<oneshot::Sender<()>>);
        impl Drop for Tell {
            fn drop(&mut self) {
                let _ = self.0.take().expect("dropped once").send(());
            }
        }
        let flights = Flights::<u32>::default();
        let (told, ended) = oneshot::channel();
        let tell = Tell(Some(told));
        let waiter = flights.join("layer", || async move {
            let _tell = tell;
            std::future::pending().await
        });
        {
            let mut waiter = std::pin::pin!(waiter);
            let once = futures_util::future::poll_immediate(waiter.as_mut()).await;
            assert!(once.is_none());
        }
        ended.await.unwrap();
        assert_eq!(flights.join("layer", || async { 7 }).await, Some(7));
    }
}
