//! Values on their way into slots, and where they come from.
//! Hands them to the slots, which spell them. It must never own what it passes on.

use serde_json::Value;

/// A value on its way into a frame.
#[derive(Clone, Copy, Debug)]
pub enum Filling<'a> {
    Text(&'a str),
    /// JSON text, as it is.
    Json(&'a str),
    Value(&'a Value),
    Integer(i64),
    Truth(bool),
    /// Unix microseconds.
    Moment(i64),
}

/// Where the values of slots come from; nothing leaves the field out.
pub trait Source {
    fn filling(&self, name: &str) -> Option<Filling<'_>>;
}
