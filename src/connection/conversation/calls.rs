//! Calls of one connection: they run beside everything else, and end with it.
//! Hands answers to the writer, past the queue of events: an answer has a place of its own, and a
//! large one must not look like a reader that fell behind.
//! It must never hold more answers than the connection may have calls.

use super::Conversation;
use crate::connection::call::{CallRefusal, Caller};
use crate::connection::speech::Told;
use crate::frame::Frame;
use crate::report::{self, Repeated};
use parking_lot::Mutex;
use serde_json::Value;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

/// The calls of one connection. Dropped, it cancels those that run.
pub struct Calls {
    slots: Arc<Semaphore>,
    running: Mutex<JoinSet<()>>,
    answers: Arc<Answers>,
    /// Of their own: what fails in SQL is not to go untold for other refusals.
    refusals: Arc<Repeated>,
}

type Answers = Mutex<VecDeque<Answer>>;

/// A frame to write; the call counts until this is dropped.
pub struct Answer {
    pub frame: Frame,
    _slot: OwnedSemaphorePermit,
}

impl Calls {
    /// At most so many at once, those included whose answer is not written yet.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self {
            slots: Arc::new(Semaphore::new(most)),
            running: Mutex::default(),
            answers: Arc::default(),
            refusals: Arc::default(),
        }
    }

    /// Takes an answer that is ready; the writer is woken for each.
    pub fn answered(&self) -> Option<Answer> {
        self.answers.lock().pop_front()
    }
}

impl Conversation<'_> {
    /// Begins a call, as whoever this connection is now.
    pub(super) fn call(&self, name: String, args: String, tag: Option<Value>) {
        let presence = self.presence;
        let Some((identity, version)) = presence.gate.hub.standing(&presence.subscription) else {
            return;
        };
        let (transport, shown) = (presence.caller.transport.word(), &presence.connection);
        let refusals = &self.calls.refusals;
        let Ok(slot) = Arc::clone(&self.calls.slots).try_acquire_owned() else {
            let refusal = CallRefusal::TooMany;
            report::call_refused(Some(refusals), transport, shown, None, refusal.row().1, "");
            let message = refusal.to_string();
            return self.answer(&Told::error(refusal.row().1, &message, None), tag.as_ref());
        };
        let (gate, answers) = (Arc::clone(&presence.gate), Arc::clone(&self.calls.answers));
        let subscription = Arc::clone(&presence.subscription);
        let speech = Arc::clone(&self.speech);
        let caller = Caller {
            identity,
            version: Some(version),
            shown: shown.to_owned(),
            refusals: Some(Arc::clone(refusals)),
        };
        let mut running = self.calls.running.lock();
        while running.try_join_next().is_some() {}
        running.spawn(async move {
            let spelled = match gate.call(transport, &caller, &name, &args).await {
                Ok(called) => {
                    let (data, bookmark) = (&called.data, &called.bookmark);
                    speech.spell(&Told::Result { data, bookmark }, tag.as_ref())
                }
                Err(refusal) => {
                    let message = refusal.to_string();
                    speech.spell(&Told::error(refusal.row().1, &message, None), tag.as_ref())
                }
            };
            if let Ok(Some(frame)) = spelled {
                answers.lock().push_back(Answer { frame, _slot: slot });
                subscription.wake();
            }
        });
    }
}
