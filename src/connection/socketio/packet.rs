//! Packets of Socket.IO (its protocol 5) as text, inside the messages of Engine.IO (its protocol 4).
//! Hands over what was said, in which namespace. It must never look into arguments.

use crate::frame::Frame;
use serde_json::Value;

/// Between the packets of a request's body, or of its answer.
pub(super) const SEPARATOR: char = '\u{1e}';

/// The namespace that needs no name.
const ROOT: &str = "/";

/// Packets of Engine.IO that hold nothing else.
pub(super) const CLOSE: &str = "1";
pub(super) const PING: &str = "2";
pub(super) const UPGRADE: &str = "5";
pub(super) const NOTHING: &str = "6";
/// Of the WebSocket that is tried beside requests, and what answers it.
pub(super) const PROBE: &str = "2probe";
pub(super) const PROBED: &str = "3probe";

/// What a client sends.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Packet<'a> {
    Pong,
    /// The connection is closed.
    Close,
    /// Bytes that belong to a packet with binary arguments.
    Attachment,
    Said {
        what: PacketType,
        namespace: &'a str,
        /// By which the answer is told from others.
        number: Option<u64>,
        /// JSON text.
        data: &'a str,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PacketType {
    Connect,
    Disconnect,
    Event,
    /// An event that has bytes among its arguments.
    Binary,
    /// The answer to an event of ours. None asks for one.
    Acknowledgement,
}

impl<'a> Packet<'a> {
    /// Reads one; nothing if it is none.
    pub fn read(text: &'a str) -> Option<Self> {
        let (kind, rest) = text.split_at_checked(1)?;
        match kind {
            CLOSE => Some(Self::Close),
            "3" => Some(Self::Pong),
            "4" => read_message(rest),
            "b" => Some(Self::Attachment),
            _ => None,
        }
    }
}

fn read_message(text: &str) -> Option<Packet<'_>> {
    let (kind, mut rest) = text.split_at_checked(1)?;
    let what = match kind {
        "0" => PacketType::Connect,
        "1" => PacketType::Disconnect,
        "2" => PacketType::Event,
        "5" => PacketType::Binary,
        "3" | "6" => PacketType::Acknowledgement,
        _ => return None,
    };
    if matches!(kind, "5" | "6") {
        let (attachments, behind) = rest.split_once('-')?;
        attachments.parse::<u32>().ok()?;
        rest = behind;
    }
    let mut namespace = ROOT;
    if rest.starts_with(ROOT) {
        (namespace, rest) = rest.split_once(',').unwrap_or((rest, ""));
    }
    let digits = rest.find(|letter: char| !letter.is_ascii_digit());
    let (number, data) = rest.split_at(digits.unwrap_or(rest.len()));
    let number = match number {
        "" => None,
        number => Some(number.parse().ok()?),
    };
    Some(Packet::Said {
        what,
        namespace,
        number,
        data,
    })
}

/// How a namespace's own packets begin, behind their kind.
pub(super) fn prefix(namespace: &str) -> String {
    match namespace {
        ROOT => String::new(),
        other => format!("{other},"),
    }
}

/// Somebody is in.
pub(super) fn connected(prefix: &str, word: &str) -> Frame {
    Frame::websocket(&format!(r#"40{prefix}{{"sid":"{word}"}}"#))
}

/// Somebody is not let in.
pub(super) fn refused(prefix: &str, message: &str) -> Frame {
    let message = Value::from(message);
    Frame::websocket(&format!(r#"44{prefix}{{"message":{message}}}"#))
}

/// Somebody has to go.
pub(super) fn disconnected(prefix: &str) -> Frame {
    Frame::websocket(&format!("41{prefix}"))
}

/// An event: a list of its name and its arguments.
pub(super) fn event(prefix: &str, list: &str) -> String {
    format!("42{prefix}{list}")
}

/// What the callback of the event of this number is given.
pub(super) fn answer(prefix: &str, number: u64, given: &str) -> String {
    format!("43{prefix}{number}[{given}]")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said<'a>(
        what: PacketType,
        namespace: &'a str,
        number: Option<u64>,
        data: &'a str,
    ) -> Option<Packet<'a>> {
        Some(Packet::Said {
            what,
            namespace,
            number,
            data,
        })
    }

    #[test]
    fn packets_are_read_as_the_protocol_has_them() {
        use PacketType::{Acknowledgement, Binary, Connect, Disconnect, Event};
        for (text, expected) in [
            ("3", Some(Packet::Pong)),
            ("1", Some(Packet::Close)),
            ("bAQIDBA==", Some(Packet::Attachment)),
            ("40", said(Connect, "/", None, "")),
            (
                r#"40{"token":"x"}"#,
                said(Connect, "/", None, r#"{"token":"x"}"#),
            ),
            ("40/staff,", said(Connect, "/staff", None, "")),
            (
                r#"40/staff,{"a":1}"#,
                said(Connect, "/staff", None, r#"{"a":1}"#),
            ),
            ("41", said(Disconnect, "/", None, "")),
            ("41/staff", said(Disconnect, "/staff", None, "")),
            (r#"42["a"]"#, said(Event, "/", None, r#"["a"]"#)),
            (r#"4212["a",1]"#, said(Event, "/", Some(12), r#"["a",1]"#)),
            (
                r#"42/staff,0["a"]"#,
                said(Event, "/staff", Some(0), r#"["a"]"#),
            ),
            (r#"42["/a,b"]"#, said(Event, "/", None, r#"["/a,b"]"#)),
            (
                "43/staff,5[]",
                said(Acknowledgement, "/staff", Some(5), "[]"),
            ),
            (
                r#"451-7["a",{}]"#,
                said(Binary, "/", Some(7), r#"["a",{}]"#),
            ),
            (
                r#"451-/staff,["a"]"#,
                said(Binary, "/staff", None, r#"["a"]"#),
            ),
            ("461-3[]", said(Acknowledgement, "/", Some(3), "[]")),
        ] {
            assert_eq!(Packet::read(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_packet_is_nothing() {
        for text in [
            "",
            "0{}",
            "2",
            "2probe",
            "5",
            "6",
            "7",
            "ü",
            "4",
            "44{}",
            "47",
            "4ü",
            "45[\"a\"]",
            "45x-[\"a\"]",
            "42999999999999999999999[]",
        ] {
            assert_eq!(Packet::read(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_said_names_its_namespace_unless_it_is_the_root() {
        assert_eq!(
            (prefix("/").as_str(), prefix("/staff").as_str()),
            ("", "/staff,")
        );
        let staff = prefix("/staff");
        assert_eq!(connected(&staff, "ab").text(), r#"40/staff,{"sid":"ab"}"#);
        assert_eq!(refused("", "\"no\"").text(), r#"44{"message":"\"no\""}"#);
        assert_eq!(disconnected(&staff).text(), "41/staff,");
        assert_eq!(event(&staff, "[\"a\"]"), "42/staff,[\"a\"]");
        assert_eq!(answer("", 7, "{}"), "437[{}]");
    }
}
