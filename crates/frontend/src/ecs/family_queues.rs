//! Registrations of one family wait for each other, because each takes the next number. If every
//! call tried on its own, all but one would lose each round of the store and try again; so those
//! that come while a commit is under way are committed together by the next one. Other families are
//! not held up, and other control planes are told apart by the store, as always.

use crate::context::Context;
use crate::fault::{Fault, client};
use crate::limits::{REGISTRATION_BATCH_BYTES_MAX, REGISTRATION_BATCH_MAX};
use model::task_definition::{TaskDefinition, TaskDefinitionFamily};
use model::{Family, TaskDefinitionRevision};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

type Answer = Result<Arc<TaskDefinition>, Fault>;

/// The registrations under way. A family is in it as long as somebody commits for it.
#[derive(Clone, Default)]
pub struct FamilyQueues {
    waiting: Arc<Mutex<BTreeMap<Family, Vec<Waiting>>>>,
}

struct Waiting {
    /// All but its revision.
    draft: TaskDefinition,
    answer: oneshot::Sender<Answer>,
}

impl FamilyQueues {
    /// Stores a definition under the next revision of its family.
    pub async fn register(&self, cx: &Context, draft: TaskDefinition) -> Answer {
        let (answer, wait) = oneshot::channel();
        let family = draft.family.clone();
        let leads = match self.lock().entry(family.clone()) {
            Entry::Vacant(place) => {
                place.insert(vec![Waiting { draft, answer }]);
                true
            }
            Entry::Occupied(mut place) => {
                place.get_mut().push(Waiting { draft, answer });
                false
            }
        };
        if leads {
            // A task of its own: should this client go away, the others are still served.
            let turn = Turn { queues: self.clone(), family, is_over: false };
            tokio::spawn(turn.take(cx.clone()));
        }
        let gone = || Fault::server("ServerException", "The registration was cut off.");
        wait.await.unwrap_or_else(|_| Err(gone()))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Family, Vec<Waiting>>> {
        // Every change under the lock is one step, so a panic elsewhere leaves nothing half done.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to commit for a family.
struct Turn {
    queues: FamilyQueues,
    family: Family,
    is_over: bool,
}

impl Drop for Turn {
    /// However the turn ends, nobody is left waiting for it. One that ended in good order has given
    /// its place up already, and it may be another's by now.
    fn drop(&mut self) {
        if !self.is_over {
            self.queues.lock().remove(&self.family);
        }
    }
}

impl Turn {
    async fn take(mut self, cx: Context) {
        while let Some(batch) = self.next() {
            let (drafts, answers): (Vec<_>, Vec<_>) =
                batch.into_iter().map(|waiting| (waiting.draft, waiting.answer)).unzip();
            let outcome = commit(&cx, &self.family, &drafts).await;
            for (n, answer) in answers.into_iter().enumerate() {
                let own = outcome.as_ref().map(|made| Arc::clone(&made[n])).map_err(Fault::clone);
                // A client that went away is answered by nobody.
                let _ = answer.send(own);
            }
        }
    }

    /// Those who wait, as many as one transaction takes; None ends the turn, and the next to come
    /// begins one.
    fn next(&mut self) -> Option<Vec<Waiting>> {
        let mut queues = self.queues.lock();
        let queue = queues.get_mut(&self.family)?;
        let mut bytes = 0;
        let mut fits = |waiting: &Waiting| {
            bytes += 2 * waiting.draft.document.as_str().len();
            bytes <= REGISTRATION_BATCH_BYTES_MAX
        };
        let count = queue.iter().take(REGISTRATION_BATCH_MAX).take_while(|w| fits(w)).count();
        if queue.is_empty() {
            queues.remove(&self.family);
            self.is_over = true;
            return None;
        }
        let rest = queue.split_off(count.max(1));
        Some(std::mem::replace(queue, rest))
    }
}

async fn commit(
    cx: &Context,
    family: &Family,
    drafts: &[TaskDefinition],
) -> Result<Vec<Arc<TaskDefinition>>, Fault> {
    cx.transact(|txn| {
        let known = txn.get::<TaskDefinitionFamily>(family.as_str());
        let mut newest = known.map_or(TaskDefinitionRevision(0), |known| known.newest);
        let mut made = Vec::with_capacity(drafts.len());
        for draft in drafts {
            let next = newest.0.checked_add(1);
            newest = next
                .map(TaskDefinitionRevision)
                .ok_or_else(|| client("The family has no revisions left."))?;
            let definition = Arc::new(TaskDefinition { revision: newest, ..draft.clone() });
            txn.put_arc(Arc::clone(&definition));
            made.push(definition);
        }
        txn.put(TaskDefinitionFamily { family: family.clone(), newest });
        Ok(made)
    })
    .await
}
