//! What the first frame carries, the same on every transport.
//! Hands JSON over to the transports, which frame it. It must never tell more than the wire has.

use serde::Serialize;
use std::sync::Arc;

/// The first frame of a connection.
#[derive(Serialize)]
#[serde(tag = "type", rename = "welcome", rename_all = "camelCase")]
pub struct Welcome<'a> {
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
