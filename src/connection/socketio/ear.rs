//! What a client says, from its first moment on, kept until somebody listens.
//! Hands it to the conversation in its order. It must never hold more than a queue may.

use super::Host;
use crate::connection::Refusal;
use crate::connection::allowance::Allowance;
use crate::connection::conversation::Conversation;
use crate::dialect::Dialect;
use socketioxide::adapter::LocalAdapter;
use socketioxide::handler::{MessageHandler, Value as Packet};
use socketioxide::socket::Socket;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tokio::sync::mpsc;

/// What was said and not heard yet; nothing stands for more than can be heard.
pub(super) type Words = mpsc::UnboundedReceiver<Option<Said>>;

/// What a client said: `[acknowledgement, name, arguments…]`, of which the first may be null.
pub(super) struct Said {
    text: String,
    limited: bool,
    held: Held,
}

/// Bytes that wait to be heard.
struct Held(Arc<AtomicUsize>, usize);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.fetch_sub(self.1, Ordering::Relaxed);
    }
}

/// Takes what a client says in its order, bounded by rate and size; what nobody knows is let go.
pub(super) struct Ear {
    post: mpsc::UnboundedSender<Option<Said>>,
    held: Arc<AtomicUsize>,
    most: usize,
    allowance: Mutex<Allowance>,
    dialect: Arc<Dialect>,
}

impl Ear {
    pub fn new(host: &Host) -> (Self, Words) {
        let (post, said) = mpsc::unbounded_channel();
        let limits = &host.gate.settings.limits;
        let rate = limits.messages_per_second;
        let ear = Self {
            post,
            held: Arc::default(),
            most: limits.queue_bytes,
            allowance: Mutex::new(Allowance::new(rate, rate * 2, Instant::now())),
            dialect: Arc::clone(&host.dialect),
        };
        (ear, said)
    }

    fn hear(&self, packet: &str, acknowledgement: Option<i64>) {
        let allowed = {
            let mut allowance = self
                .allowance
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            allowance.take(Instant::now())
        };
        let Some(rest) = packet.trim_start().strip_prefix('[') else {
            return;
        };
        if !super::speech::is_known(&self.dialect, packet) {
            return;
        }
        let number = acknowledgement.map_or("null".to_owned(), |number| number.to_string());
        let weight = packet.len() + 64;
        let before = self.held.fetch_add(weight, Ordering::Relaxed);
        let held = Held(Arc::clone(&self.held), weight);
        let (text, limited) = (format!("[{number},{rest}"), !allowed);
        let said = Said {
            text,
            limited,
            held,
        };
        // If nobody listens any more, it is at its end.
        let _ = self.post.send((before <= self.most).then_some(said));
    }
}

impl MessageHandler<LocalAdapter, Ear> for Ear {
    fn call(&self, _: Arc<Socket>, packet: Packet, acknowledgement: Option<i64>) {
        if let Packet::Str(text, _) = packet {
            self.hear(text.as_str(), acknowledgement);
        }
    }
}

/// Has the conversation hear what is said, until nothing more is, or more than can be heard.
pub(super) async fn listen(conversation: &Conversation<'_>, words: &mut Words) -> Refusal {
    while let Some(said) = words.recv().await {
        let Some(Said {
            text,
            limited,
            held,
        }) = said
        else {
            return Refusal::Overloaded;
        };
        if limited {
            let rate = conversation.gate.settings.limits.messages_per_second;
            let most = format!("at most {rate} messages a second");
            let tag = conversation.speech.tag(&text);
            conversation.error(tag, "rate-limited", &most, None);
        } else {
            conversation.hear(&text).await;
        }
        drop(held);
    }
    Refusal::Gone
}
