//! What frames carry that say the same on every transport: welcome, gap, error.
//! Hands JSON over to the transports, which frame it. It must never tell more than the wire has.

use crate::event::GapReason;
use serde::Serialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// The first frame of a connection.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Welcome<'a> {
    pub r#type: &'static str,
    pub connection_id: &'a str,
    pub user: Option<&'a str>,
    pub rooms: &'a [Arc<str>],
    /// So many of them, the first, nobody asked for.
    pub home: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bookmark: Option<&'a str>,
    /// Missing for those who do not expire.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<u64>,
    /// Seconds.
    pub heartbeat: u64,
}

/// Events of these rooms may be missing up to here.
#[must_use]
pub fn gap(rooms: &[Arc<str>], reason: GapReason, bookmark: &str) -> Value {
    json!({ "type": "gap", "rooms": rooms, "reason": reason, "bookmark": bookmark })
}

/// Something was refused, or taken away.
#[must_use]
pub fn error(code: &str, message: &str, room: Option<&str>) -> Value {
    let mut error = json!({ "type": "error", "code": code, "message": message });
    if let Some(room) = room {
        error["room"] = room.into();
    }
    error
}
