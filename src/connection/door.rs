//! A dialect's door, as somebody came to it: the rooms that it leads to, and whom its parameters name.
//! Hands both to admission. It must never be open to who may not join every room of it.

use crate::dialect::{Dialect, Entrance, Fields};
use serde_json::Value;
use std::sync::Arc;

/// Which door of its dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    WebSocket,
    Poll,
    SocketIo,
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
        let doors = [Which::WebSocket, Which::Poll];
        dialects.iter().find_map(|dialect| {
            doors.into_iter().find_map(|which| {
                let fields = which.entrance(dialect)?.parse(path)?;
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
        let entrance = which.entrance(dialect);
        let misled = entrance.is_none_or(|entrance| entrance.ask(&mut fields, query).is_err());
        let rooms = entrance.map(|entrance| entrance.rooms.fill(&fields));
        Self {
            dialect: Arc::clone(dialect),
            which,
            fields,
            rooms: rooms.unwrap_or_default(),
            misled,
        }
    }

    /// What a parameter is called at it that every door has, such as `token`.
    #[must_use]
    pub fn named<'a>(&'a self, own: &'a str) -> &'a str {
        let entrance = self.which.entrance(&self.dialect);
        entrance.map_or(own, |entrance| entrance.named(own))
    }

    /// Whether its parameters name whoever has these claims (JSON text), where they name somebody.
    #[must_use]
    pub fn is_for(&self, claims: &str) -> bool {
        let entrance = self.which.entrance(&self.dialect);
        entrance.is_some_and(|entrance| entrance.agrees(&self.fields, claims))
    }
}

impl Which {
    fn entrance(self, dialect: &Dialect) -> Option<&Entrance> {
        match self {
            Self::WebSocket => dialect.websocket.as_ref().map(|door| &door.entrance),
            Self::Poll => dialect.poll.as_ref().map(|door| &door.entrance),
            Self::SocketIo => dialect.socketio.as_ref().map(|door| &door.entrance),
        }
    }
}
