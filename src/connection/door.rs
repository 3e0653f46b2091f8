//! A dialect's door, as somebody came to it: the rooms that it leads to, and whom its parameters name.
//! Hands both to admission. It must never be open to who may not join every room of it.

use crate::dialect::{Dialect, Entrance, Fields, PollDoor, SocketIoDoor, WebSocketDoor};
use serde_json::Value;
use std::sync::Arc;

/// Which door of its dialect.
#[derive(Clone, Debug)]
pub enum Which {
    WebSocket(Arc<WebSocketDoor>),
    Poll(Arc<PollDoor>),
    SocketIo(Arc<SocketIoDoor>),
}

/// A door, with the parameters of whoever came to it.
#[derive(Debug)]
pub struct Door {
    pub dialect: Arc<Dialect>,
    pub which: Which,
    pub fields: Fields,
    /// Joined besides the home rooms; all must be granted.
    pub rooms: Vec<String>,
    /// A parameter is missing, or not of its kind.
    pub misled: bool,
}

impl Door {
    /// The door that a path leads to, of all dialects; `query` has the parameters behind it.
    #[must_use]
    pub fn find(
        dialects: &[Arc<Dialect>],
        path: &str,
        query: impl Fn(&str) -> Option<String>,
    ) -> Option<Self> {
        dialects.iter().find_map(|dialect| {
            let websocket = dialect.websocket.clone().map(Which::WebSocket);
            let poll = dialect.poll.clone().map(Which::Poll);
            websocket.into_iter().chain(poll).find_map(|which| {
                let fields = which.entrance().parse(path)?;
                let query = |name: &str| query(name).map(Value::from);
                Some(Self::enter(dialect, which, fields, query))
            })
        })
    }

    /// A door by the parameters of its path, and by others: texts, or what was said in JSON.
    #[must_use]
    pub fn enter(
        dialect: &Arc<Dialect>,
        which: Which,
        mut fields: Fields,
        query: impl Fn(&str) -> Option<Value>,
    ) -> Self {
        let misled = !which.entrance().ask(&mut fields, query);
        Self {
            dialect: Arc::clone(dialect),
            rooms: which.entrance().rooms.fill(&fields),
            which,
            fields,
            misled,
        }
    }

    /// What a parameter is called at it that every door has, such as `token`.
    #[must_use]
    pub fn named<'a>(&'a self, own: &'a str) -> &'a str {
        self.which.entrance().named(own)
    }

    /// Whether its parameters name whoever has these claims (JSON text), where they name somebody.
    #[must_use]
    pub fn is_for(&self, claims: &str) -> bool {
        self.which.entrance().agrees(&self.fields, claims)
    }
}

impl Which {
    fn entrance(&self) -> &Entrance {
        match self {
            Self::WebSocket(door) => &door.entrance,
            Self::Poll(door) => &door.entrance,
            Self::SocketIo(door) => &door.entrance,
        }
    }
}
