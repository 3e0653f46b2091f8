//! Calls of one WebSocket: they run beside everything else, and end with the connection.
//! Hands answers to the writer, past the queue of events: an answer has a place of its own, and a
//! large one must not look like a reader that fell behind.
//! It must never hold more answers than the connection may have calls.

use super::Connection;
use crate::connection::call::{CallRefusal, Caller};
use crate::event::to_json;
use crate::hub::Identity;
use crate::report;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// A frame `call`. The arguments stay the text they are: SQL reads it, with all its digits.
#[derive(Deserialize)]
struct Asked<'a> {
    function: String,
    #[serde(borrow)]
    args: Option<&'a RawValue>,
}

/// The calls of one connection. Dropped, it cancels those that run.
pub(super) struct Calls {
    slots: Arc<Semaphore>,
    running: Mutex<JoinSet<()>>,
    answers: Arc<Answers>,
}

#[derive(Default)]
struct Answers {
    ready: Mutex<VecDeque<Answer>>,
    wake: Notify,
}

/// A frame to write; the call counts until this is dropped.
pub(super) struct Answer {
    pub frame: Utf8Bytes,
    _slot: OwnedSemaphorePermit,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Calls {
    pub fn new(most: usize) -> Self {
        Self {
            slots: Arc::new(Semaphore::new(most)),
            running: Mutex::default(),
            answers: Arc::default(),
        }
    }

    /// Waits for an answer. May be dropped and asked again.
    pub async fn answered(&self) -> Answer {
        loop {
            if let Some(answer) = lock(&self.answers.ready).pop_front() {
                return answer;
            }
            self.answers.wake.notified().await;
        }
    }
}

impl Connection<'_> {
    /// Begins what a frame asks for, as whoever this connection is now.
    pub(super) fn call(&self, frame: &str, id: Option<Value>) {
        let Ok(asked) = serde_json::from_str::<Asked<'_>>(frame) else {
            return self.error(id, "bad-message", "call needs function, a name", None);
        };
        let Some((identity, version)) = self.gate.hub.standing(self.subscription) else {
            return;
        };
        let Ok(slot) = Arc::clone(&self.calls.slots).try_acquire_owned() else {
            let (refusal, shown) = (CallRefusal::TooMany, self.connection);
            report::call_refused("websocket", shown, None, refusal.row().1, "");
            return self.reply("error", id, &refused(&refusal));
        };
        // None is no arguments, as it is over HTTP.
        let args = asked.args.map_or("{}", RawValue::get);
        let args = if args == "null" { "{}" } else { args };
        let (name, args) = (asked.function, args.to_owned());
        let (gate, answers) = (Arc::clone(self.gate), Arc::clone(&self.calls.answers));
        let caller = caller(identity, version, self.connection);
        let mut running = lock(&self.calls.running);
        while running.try_join_next().is_some() {}
        running.spawn(async move {
            let frame = match gate.call("websocket", &caller, &name, &args).await {
                Ok(called) => {
                    let id = id.map_or(String::new(), |id| format!("\"id\":{id},"));
                    // JSON already, and not to be read only to be written again.
                    let (data, bookmark) = (called.data, called.bookmark);
                    format!(r#"{{"type":"result",{id}"data":{data},"bookmark":"{bookmark}"}}"#)
                }
                Err(refusal) => {
                    let mut frame = refused(&refusal);
                    frame["type"] = "error".into();
                    if let Some(id) = id {
                        frame["id"] = id;
                    }
                    to_json(&frame)
                }
            };
            let frame = frame.into();
            lock(&answers.ready).push_back(Answer { frame, _slot: slot });
            answers.wake.notify_one();
        });
    }
}

fn caller(identity: Identity, version: i64, connection: &str) -> Caller {
    let (version, shown) = (Some(version), connection.to_owned());
    Caller {
        identity,
        version,
        shown,
    }
}

fn refused(refusal: &CallRefusal) -> Value {
    json!({ "code": refusal.row().1, "message": refusal.to_string() })
}
