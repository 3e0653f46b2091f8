//! What a client says in a namespace, from its first moment on, kept until somebody listens.
//! Hands it to the conversation in its order. It must never hold more than a queue may, nor have
//! anything begun for whoever has left.

use crate::config::Limits;
use crate::connection::Refusal;
use crate::connection::allowance::{self, Allowance};
use crate::connection::conversation::Conversation;
use crate::connection::speech::{Act, Heard};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::time::Instant;
use tokio::sync::Notify;

/// Of a word, besides its text.
const AROUND: usize = 64;

/// What a client said: `[number of its callback, name, arguments…]`, of which the first may be null.
struct Word {
    text: String,
    wrong: Option<Wrong>,
}

/// Why a word is not looked at any further.
#[derive(Clone, Copy)]
enum Wrong {
    TooMany,
    Binary,
}

/// Takes what a client says in its order, bounded by rate and size. One task listens.
pub(super) struct Ear {
    inside: Mutex<Inside>,
    /// There is a word.
    wake: Notify,
    /// There will be none.
    end: Notify,
    /// Bytes that may wait.
    most: usize,
}

struct Inside {
    words: VecDeque<Word>,
    bytes: usize,
    allowance: Allowance,
    /// More was said than may wait.
    full: bool,
    closed: bool,
}

impl Ear {
    pub fn new(limits: &Limits) -> Self {
        Self {
            inside: Mutex::new(Inside {
                words: VecDeque::new(),
                bytes: 0,
                allowance: Allowance::of_messages(limits),
                full: false,
                closed: false,
            }),
            wake: Notify::new(),
            end: Notify::new(),
            most: limits.queue_bytes,
        }
    }

    /// Keeps an event, `["name", arguments…]`, if it is one that `is_known`: all count.
    pub fn hear(
        &self,
        list: &str,
        number: Option<u64>,
        binary: bool,
        is_known: impl FnOnce(&str) -> bool,
    ) {
        let mut inside = self.inside.lock();
        let allowed = inside.allowance.take(Instant::now());
        let rest = list.trim_start().strip_prefix('[');
        let Some(rest) = rest.filter(|_| is_known(list)) else {
            return;
        };
        let number = number.map_or("null".to_owned(), |number| number.to_string());
        let text = format!("[{number},{rest}");
        inside.full |= inside.bytes > self.most;
        if !inside.full {
            inside.bytes += text.len() + AROUND;
            let wrong = match (allowed, binary) {
                (false, _) => Some(Wrong::TooMany),
                (true, true) => Some(Wrong::Binary),
                (true, false) => None,
            };
            inside.words.push_back(Word { text, wrong });
        }
        drop(inside);
        self.wake.notify_one();
    }

    /// Nothing more is said.
    pub fn close(&self) {
        self.inside.lock().closed = true;
        self.end.notify_one();
    }

    /// Whether more may be said.
    pub fn is_open(&self) -> bool {
        !self.inside.lock().closed
    }

    /// Waits until nothing more is said.
    pub async fn closed(&self) {
        while self.is_open() {
            self.end.notified().await;
        }
    }

    async fn next(&self) -> Result<Word, Refusal> {
        loop {
            {
                let mut inside = self.inside.lock();
                if let Some(word) = inside.words.pop_front() {
                    inside.bytes -= word.text.len() + AROUND;
                    if inside.words.is_empty() {
                        inside.words = VecDeque::new();
                    }
                    return Ok(word);
                }
                if inside.full {
                    return Err(Refusal::Overloaded);
                }
            }
            self.wake.notified().await;
        }
    }

    /// Has the conversation hear what is said, until that is more than can be heard.
    pub async fn listen(&self, conversation: &Conversation<'_>) -> Refusal {
        loop {
            let Word { text, wrong } = match self.next().await {
                Ok(word) => word,
                Err(why) => return why,
            };
            let (code, message) = match wrong {
                // On the heap while it is answered: who says nothing needs no room for it.
                None => {
                    Box::pin(conversation.hear(&text)).await;
                    continue;
                }
                Some(Wrong::Binary) => ("bad-message", "arguments are JSON, not binary".to_owned()),
                Some(Wrong::TooMany) => {
                    let limits = &conversation.presence.gate.settings.limits;
                    ("rate-limited", allowance::exceeded(limits))
                }
            };
            let tag = conversation.speech.tag(&text);
            conversation.error(tag, code, &message, None);
        }
    }

    /// Notes how far a page had come when it left. Whatever else it said, and nobody has begun, would
    /// be done for nobody.
    pub fn finish(&self, conversation: &Conversation<'_>) {
        let said = std::mem::take(&mut self.inside.lock().words);
        for Word { text, .. } in said.into_iter().filter(|word| word.wrong.is_none()) {
            if let Ok(Heard { act, tag }) = conversation.speech.hear(&text)
                && let Act::Acknowledge { bookmark } = act
            {
                conversation.acknowledge(&bookmark, tag);
            }
        }
    }
}
