//! Which slots each place of a file has.
//! Hands contexts to the reader of files. It must never promise a slot that its transport does not fill.

use super::slot::Shape::{self, Integer, Json, Moment, Random, Text, Truth};

type Slots = &'static [(&'static str, Shape)];

/// Rooms, arguments of calls, bookmarks: what a client said and nothing else.
pub const SAID: Slots = &[];

pub const WELCOME: Slots = &[
    ("connection", Text),
    ("user", Text),
    ("rooms", Json),
    ("bookmark", Text),
    ("expires", Moment),
    ("now", Moment),
    ("random", Random),
];

pub const EVENT: Slots = &[
    ("name", Text),
    ("data", Json),
    ("id", Text),
    ("bookmark", Text),
    ("channel", Text),
    ("at", Moment),
    ("now", Moment),
];

pub const ANSWER: Slots = &[
    ("room", Text),
    ("rooms", Json),
    ("result", Json),
    ("bookmark", Text),
    ("connection", Text),
    ("user", Text),
    ("now", Moment),
    ("random", Random),
];

pub const REFUSED: Slots = &[
    ("code", Text),
    ("message", Text),
    ("type", Text),
    ("room", Text),
    ("connection", Text),
    ("user", Text),
    ("now", Moment),
    ("random", Random),
];

pub const HEARTBEAT: Slots = &[("bookmark", Text), ("now", Moment)];

pub const GAP: Slots = &[
    ("rooms", Json),
    ("reason", Text),
    ("bookmark", Text),
    ("now", Moment),
];

pub const POLL: Slots = &[
    ("events", Json),
    ("bookmark", Text),
    ("more", Truth),
    ("outcome", Text),
    ("errors", Json),
    ("now", Moment),
];

pub const HEALTH: Slots = &[("connections", Integer), ("ready", Truth), ("now", Moment)];

pub const CLOSE: Slots = &[("message", Text), ("wait", Integer)];

/// All of them, by the keys that have them.
pub const ALL: &[(&str, Slots)] = &[
    ("rooms, join, leave, args, acknowledge", SAID),
    ("welcome", WELCOME),
    ("event.frame, socketio.arguments", EVENT),
    ("answer of a message", ANSWER),
    ("refused, errors.frame, errors.messages", REFUSED),
    ("heartbeat", HEARTBEAT),
    ("gap", GAP),
    ("answer of a poll", POLL),
    ("answer of a health door", HEALTH),
    ("close.*.reason, socketio.refusals", CLOSE),
];
