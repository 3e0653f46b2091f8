//! Sockets of the real socket.io-client in one process of Node.js, driven by `tests/driver/socketio.js`.
//! Hands over all that happens to each of them, in its order. It must never speak the protocol itself.

use super::driver::Node;
use super::within;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::VecDeque;

/// One process of Node.js with as many sockets as a test wants.
pub struct Clients(Node);

/// One socket of an application. What happened to it and was not looked at yet waits here.
pub struct Client<'a> {
    node: &'a Node,
    number: u64,
    /// How much of its log was fetched.
    fetched: usize,
    waiting: VecDeque<Heard>,
}

/// What happens to a socket.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Heard {
    /// It is connected, by this transport.
    Connected {
        transport: String,
    },
    /// `connect_error`: a word of the server's, or the library's own.
    Refused {
        message: String,
        #[serde(default)]
        data: Value,
    },
    /// `disconnect`, and whether the library will come back by itself.
    Disconnected {
        reason: String,
        active: bool,
    },
    Event {
        name: String,
        args: Vec<Value>,
    },
}

impl Clients {
    pub fn start() -> Self {
        Self(Node::start("socketio.js", &[]))
    }

    /// A socket as `io(url, options)` makes it, with short pauses before it comes back.
    pub async fn connect(&self, url: &str, options: Value) -> Client<'_> {
        self.open(json!({ "url": url, "options": options })).await
    }

    /// One in a namespace, such as `/staff`.
    pub async fn connect_to(&self, url: &str, namespace: &str, options: Value) -> Client<'_> {
        let open = json!({ "url": url, "namespace": namespace, "options": options });
        self.open(open).await
    }

    /// One that brings the last bookmark it heard as `auth.since` whenever it comes back.
    pub async fn resuming(&self, url: &str, options: Value) -> Client<'_> {
        let open = json!({ "url": url, "options": options, "resume": true });
        self.open(open).await
    }

    async fn open(&self, open: Value) -> Client<'_> {
        let number = self.0.ask("open", open).await;
        Client {
            node: &self.0,
            number: number.as_u64().expect("a number"),
            fetched: 0,
            waiting: VecDeque::new(),
        }
    }
}

impl<'a> Client<'a> {
    async fn order(&self, command: &str, mut rest: Value) -> Value {
        rest["socket"] = self.number.into();
        self.node.ask(command, rest).await
    }

    /// Another namespace over the same connection.
    pub async fn beside(&self, namespace: &str, options: Value) -> Client<'a> {
        let open = json!({ "share": self.number, "namespace": namespace, "options": options });
        let number = self.node.ask("open", open).await;
        Client {
            node: self.node,
            number: number.as_u64().expect("a number"),
            fetched: 0,
            waiting: VecDeque::new(),
        }
    }

    /// The next thing that happens to it.
    pub async fn next(&mut self) -> Heard {
        if let Some(heard) = self.waiting.pop_front() {
            return heard;
        }
        let next = self.order("next", json!({ "from": self.fetched })).await;
        let heard: Vec<Heard> = serde_json::from_value(next).expect("what socketio.js says");
        self.fetched += heard.len();
        self.waiting.extend(heard);
        self.waiting.pop_front().expect("at least one")
    }

    /// The next that is wanted; what comes before it is let go.
    async fn until<T>(&mut self, what: &str, wanted: impl Fn(&Heard) -> Option<T>) -> T {
        let mut before = Vec::new();
        let found = async {
            loop {
                let heard = self.next().await;
                if let Some(found) = wanted(&heard) {
                    return found;
                }
                before.push(heard);
            }
        };
        match tokio::time::timeout(super::PATIENCE, found).await {
            Ok(found) => found,
            Err(_) => panic!("not within {:?}: {what}; but {before:?}", super::PATIENCE),
        }
    }

    /// Waits until it is connected; the transport it came by. A refusal fails the test.
    pub async fn connected(&mut self) -> String {
        let connected = |heard: &Heard| match heard {
            Heard::Connected { transport } => Some(transport.clone()),
            Heard::Refused { message, .. } => panic!("connect_error: {message}"),
            _ => None,
        };
        self.until("connected", connected).await
    }

    /// The same for one that comes back, whose attempts may fail meanwhile.
    pub async fn reconnected(&mut self) -> String {
        let connected = |heard: &Heard| match heard {
            Heard::Connected { transport } => Some(transport.clone()),
            _ => None,
        };
        self.until("connected again", connected).await
    }

    /// Waits until it has gone over to WebSocket.
    pub async fn upgraded(&self) {
        self.order("upgraded", json!({})).await;
    }

    /// Waits until the request for what comes next has been sent, behind all that it has heard.
    pub async fn asks_for_more(&self) {
        self.order("asks", json!({})).await;
    }

    /// Waits for a `connect_error`; its message.
    pub async fn refused(&mut self) -> String {
        let refused = |heard: &Heard| match heard {
            Heard::Refused { message, .. } => Some(message.clone()),
            Heard::Connected { .. } => panic!("it was let in"),
            _ => None,
        };
        self.until("a connect_error", refused).await
    }

    /// The same for one that was in before.
    pub async fn refused_again(&mut self) -> String {
        let refused = |heard: &Heard| match heard {
            Heard::Refused { message, .. } => Some(message.clone()),
            _ => None,
        };
        self.until("a connect_error", refused).await
    }

    /// Waits until it is disconnected; the reason, as the library has it.
    pub async fn disconnected(&mut self) -> String {
        let disconnected = |heard: &Heard| match heard {
            Heard::Disconnected { reason, .. } => Some(reason.clone()),
            _ => None,
        };
        self.until("a disconnect", disconnected).await
    }

    /// All arguments of the next event of this name; what comes before it is let go.
    pub async fn until_event(&mut self, wanted: &str) -> Vec<Value> {
        let event = |heard: &Heard| match heard {
            Heard::Event { name, args } if name == wanted => Some(args.clone()),
            _ => None,
        };
        self.until(wanted, event).await
    }

    /// All events up to the next of this name, which is the last of them, with their arguments.
    pub async fn events_until(&mut self, last: &str) -> Vec<(String, Vec<Value>)> {
        let mut events = Vec::new();
        loop {
            let heard = within(last, self.next()).await;
            if let Heard::Event { name, args } = heard {
                let found = name == last;
                events.push((name, args));
                if found {
                    return events;
                }
            }
        }
    }

    /// The next event of the application's own, whatever it is called: name and arguments. Words
    /// of the service (`rowcast:…`) are let go.
    pub async fn next_event(&mut self) -> (String, Vec<Value>) {
        let event = |heard: &Heard| match heard {
            Heard::Event { name, args } if !name.starts_with("rowcast:") => {
                Some((name.clone(), args.clone()))
            }
            _ => None,
        };
        self.until("an event", event).await
    }

    /// `socket.emit(name, ...args)`.
    pub async fn emit(&self, name: &str, args: Value) {
        self.order("emit", json!({ "name": name, "args": args }))
            .await;
    }

    /// The same with a callback; what the callback is given.
    pub async fn ask(&self, name: &str, args: Value) -> Vec<Value> {
        let answer = self
            .order("ask", json!({ "name": name, "args": args }))
            .await;
        serde_json::from_value(answer).expect("a list")
    }

    /// `socket.disconnect()`.
    pub async fn disconnect(&self) {
        self.order("disconnect", json!({})).await;
    }

    /// `socket.connect()`.
    pub async fn connect(&self) {
        self.order("connect", json!({})).await;
    }

    /// Has it sign in with this from the next time on.
    pub async fn sign_in_with(&self, auth: Value) {
        self.order("auth", json!({ "auth": auth })).await;
    }

    /// The transport in use.
    pub async fn transport(&self) -> String {
        let transport = self.order("transport", json!({})).await;
        transport.as_str().unwrap_or("none").to_owned()
    }

    /// Reads nothing from its WebSocket any more.
    pub async fn stop_reading(&self) {
        self.order("pause", json!({})).await;
    }
}
