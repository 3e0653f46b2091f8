//! What was aimed at before anything was measured, for those who judge a run and those who draw it.
//! It must never follow what was measured.

/// Of the floor's CPU for each delivered message.
pub const OF_FLOOR: f64 = 1.25;

/// KiB of an idle connection with one subscription.
pub const IDLE_KIB: [(&str, f64); 3] = [
    ("rowcast-ws", 6.0),
    ("rowcast-sse", 8.0),
    ("rowcast-socketio", 14.0),
];

/// Subscribers, and the milliseconds of p50 and p99.
pub const LATENCY: [(&str, f64, f64); 2] = [("latency-100", 0.6, 1.5), ("latency-1000", 4.0, 12.0)];

/// The same as shares of the quickest peer's in the same run, which was at 0.58 and 1.2 ms, and at 5.5
/// and 17, on the machine of which those milliseconds are: another one has others.
pub const OF_QUICKEST: [(&str, f64, f64); 2] = [
    ("latency-100", 0.6 / 0.58, 1.5 / 1.2),
    ("latency-1000", 4.0 / 5.5, 12.0 / 17.0),
];

/// Events a second.
pub const SUSTAINED: f64 = 15_000.0;

/// The share of it that counts as all, for a run ends in the middle of something.
pub const IN_TIME: f64 = 0.98;

/// How many times later the end of a run may be than its beginning, if nothing piles up.
pub const STEADY: f64 = 2.0;

/// Database queries for each hundred clients that come back together.
pub const QUERIES: f64 = 10.0;

/// Milliseconds until whoever was away, or lost the server, has all it missed.
pub const LATE: f64 = 3_000.0;
