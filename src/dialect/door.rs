//! The doors of a dialect: paths, and what is said to whoever comes in.
//! Hands parameters and rooms to the transports. It must never let a parameter stand for somebody whom
//! the claims do not name.

use super::fields::{Field, Fields, at};
use super::filling::Source;
use super::framing::Framing;
use super::messages::Rooms;
use super::path::Path;
use super::template::Template;
use super::text::Text;
use serde_json::Value;
use std::collections::HashMap;

/// A WebSocket at a path of its own.
#[derive(Clone, Debug)]
pub struct WebSocketDoor {
    pub entrance: Entrance,
    /// The first frame.
    pub welcome: Option<Template>,
    /// What is sent after `websocket.heartbeat_s` of silence; without it, nothing is.
    pub heartbeat: Option<Template>,
    /// What tells of a gap; without it the connection is closed as `restart`.
    pub gap: Option<Template>,
    /// Names of events that the page does not know, and has to load anew for: the connection is closed
    /// as at a gap that there is no frame for.
    pub(super) reload: Vec<String>,
}

impl WebSocketDoor {
    #[must_use]
    pub fn reloads(&self, event: &str) -> bool {
        self.reload.iter().any(|name| name == event)
    }
}

/// A long poll at a path of its own.
#[derive(Clone, Debug)]
pub struct PollDoor {
    pub entrance: Entrance,
    pub answer: Template,
}

/// Socket.IO. Welcome and gap are lists: the event's name, and its arguments.
#[derive(Clone, Debug)]
pub struct SocketIoDoor {
    /// With a slash at its end, such as `/socket.io/`. The path of its entrance is the same.
    pub path: String,
    pub namespaces: Vec<String>,
    pub entrance: Entrance,
    pub welcome: Option<Template>,
    pub gap: Option<Template>,
    /// An event's arguments behind its name: a list.
    pub arguments: Framing,
    pub(super) refusals: HashMap<String, Text>,
}

impl SocketIoDoor {
    /// The message of a `connect_error`, by the word of the refusal: the word itself, if the file has
    /// no other.
    #[must_use]
    pub fn refusal(&self, word: &str, source: &dyn Source) -> String {
        let text = self.refusals.get(word).and_then(|text| text.fill(source));
        text.unwrap_or_else(|| word.to_owned())
    }
}

/// What says how the service does.
#[derive(Clone, Debug)]
pub struct Health {
    pub path: Path,
    pub answer: Template,
    /// The status while events do not get through.
    pub unready: u16,
}

/// The way in, the same for every transport.
#[derive(Clone, Debug)]
pub struct Entrance {
    pub path: Path,
    pub(super) query: Vec<Field>,
    /// Parameters that every door has, and what this one's are called instead.
    pub(super) names: Vec<(String, String)>,
    /// Joined besides the home rooms; all must be granted.
    pub rooms: Rooms,
    /// Parameters, and the claims that they must equal.
    pub(super) claims: Vec<(String, String)>,
}

impl Entrance {
    /// The parameters of a request's path; nothing if it leads elsewhere.
    #[must_use]
    pub fn parse(&self, path: &str) -> Option<Fields> {
        self.path.parse(path)
    }

    /// What a parameter is called here that every door has, such as `token`.
    #[must_use]
    pub fn named<'a>(&'a self, own: &'a str) -> &'a str {
        let mut names = self.names.iter();
        let found = names.find(|(known, _)| known == own);
        found.map_or(own, |(_, name)| name)
    }

    /// Adds the parameters of the query: texts, or what a client said in JSON. Empty means none. False if
    /// one is missing, or not of its kind.
    #[must_use]
    pub fn ask(&self, fields: &mut Fields, query: impl Fn(&str) -> Option<Value>) -> bool {
        self.query.iter().all(|field| {
            let Some(sent) = query(&field.path).filter(|sent| sent != "") else {
                return field.optional;
            };
            let value = field.kind.take(&sent);
            let is_right = value.is_some();
            value
                .into_iter()
                .for_each(|value| fields.set(&field.path, value));
            is_right
        })
    }

    /// Whether the parameters that name somebody name whoever has these claims (JSON text). Of a claim
    /// that is a list, one item has to agree.
    #[must_use]
    pub fn agrees(&self, fields: &Fields, claims: &str) -> bool {
        if self.claims.is_empty() {
            return true;
        }
        let claims: Value = serde_json::from_str(claims).unwrap_or_default();
        self.claims.iter().all(|(parameter, claim)| {
            // A parameter that may be missing names nobody then.
            let Some(said) = fields.get(parameter).map(plain) else {
                return true;
            };
            match at(&claims, claim) {
                Some(Value::Array(items)) => items.iter().any(|item| plain(item) == said),
                Some(claim @ (Value::String(_) | Value::Number(_) | Value::Bool(_))) => {
                    plain(claim) == said
                }
                _ => false,
            }
        })
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Dialect;
    use serde_json::Value;

    #[test]
    fn a_parameter_that_names_somebody_names_who_asks() {
        let text = "[poll]\npath = \"/{role}/{user:integer}\"\nquery = { org = \"id?\" }\nanswer = [\"{events}\", \"{bookmark}\"]\n\
            claims = { user = \"sub\", role = \"app.roles\", org = \"org\" }\n[event]\nframe = 1";
        let door = Dialect::parse("t.toml", text).unwrap().poll.unwrap();
        let entrance = &door.entrance;
        let agrees = |path: &str, org: Option<&str>, claims: &str| {
            let mut fields = entrance.parse(path).unwrap();
            let query = |name: &str| org.filter(|_| name == "org").map(Value::from);
            assert!(entrance.ask(&mut fields, query));
            entrance.agrees(&fields, claims)
        };
        let claims = r#"{"sub":"456","app":{"roles":["customer","staff"]},"org":7}"#;
        assert!(agrees("/staff/456", None, claims));
        assert!(agrees("/customer/456", Some("7"), claims));
        assert!(agrees("/staff/456", Some(""), claims), "empty means none");
        for (path, org, claims) in [
            ("/customer/457", None, claims),
            ("/admin/456", None, claims),
            ("/staff/456", Some("8"), claims),
            ("/staff/456", None, r#"{"sub":"456"}"#),
            (
                "/staff/456",
                None,
                r#"{"sub":{"456":1},"app":{"roles":"staff"}}"#,
            ),
            ("/staff/456", None, ""),
        ] {
            assert!(!agrees(path, org, claims), "{path} {claims}");
        }
        assert!(agrees(
            "/staff/456",
            None,
            r#"{"sub":456,"app":{"roles":"staff"}}"#
        ));
    }

    #[test]
    fn parameters_of_the_query_are_of_their_kind() {
        let text = "[websocket]\npath = \"/live\"\nquery = { lots = [\"integer\"], x = \"text?\" }\n\
            rooms = \"lot:{lots}\"\n[event]\nframe = 1";
        let door = Dialect::parse("t.toml", text).unwrap().websocket.unwrap();
        let entrance = &door.entrance;
        let rooms = |lots: Option<&str>| {
            let mut fields = entrance.parse("/live").unwrap();
            let query = |name: &str| lots.filter(|_| name == "lots").map(Value::from);
            let is_right = entrance.ask(&mut fields, query);
            is_right.then(|| entrance.rooms.fill(&fields))
        };
        assert_eq!(
            rooms(Some("1,2")),
            Some(vec!["lot:1".to_owned(), "lot:2".to_owned()])
        );
        for wrong in [Some("1,x"), None, Some("")] {
            assert_eq!(rooms(wrong), None, "{wrong:?}");
        }
    }
}
