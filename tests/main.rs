//! All tests that need a server or read the repository: one binary, in the order of the flow.
//! What they stand on is in `support`; unit tests without I/O sit in the files of src.

// clippy.toml allows both in functions marked as tests, and knows no other part of a test.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "in tests a panic is the message"
)]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the test harness reads both"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "a row that is not as expected fails the test"
)]

mod support;

/// The walls: who may import whom, and what every SQL function has.
mod architecture;
/// The schema: from empty to latest, its golden dump, who may do what.
mod migrate;

/// The boardrooms' system by its own front end: Socket.IO, joins and acknowledgements.
mod boardroom;
/// The clinic's system by its own front end: from check-in to call, over Socket.IO.
mod clinic;
/// The lab system, end to end: SQL in, frames out, at exactly the rooms of docs/systems.md.
mod lab;
/// The spa's system by its own front end: roles, payments first, and its own poll.
mod spa;
/// The ticket system by its own front end: the seats of an event.
mod tickets;

/// What becomes of an attachment when its table is renamed, dropped, split up or shared.
mod attachments;
/// The legacy application comes first: failing triggers, full disks, very large statements.
mod legacy;
/// What sessions and databases may be set to: no event changes with it, and nothing of theirs.
mod settings;
/// All the ways SQL has to write: bulk, upsert, COPY, cascade, partitions, overlapping transactions.
mod writes;

/// Much at a time: in parts, and over slow links.
mod catch_up;
/// From the log to the hub: lost connections, and bookmark arithmetic against PostgreSQL.
mod listener;

/// Who rings and who leads: nothing is missed while that changes.
mod doorbell;

/// Durable readers: what they acknowledged, on any node, after a loss of memory.
mod acks;
/// State and events without a seam, over a connection that stands elsewhere.
mod again;
/// What makes old bookmarks lie: failover, crash, restore, copies; and transactions prepared.
mod histories;
/// Whoever comes back with a bookmark receives exactly what it lacks.
mod resume;

/// The log stays within its bounds, nobody waits for that, and nobody misses it in silence.
mod retention;
/// Transactions that rang are read one by one: nothing more and nothing less than they wrote.
mod rings;

/// What a crowd costs the database.
mod avalanche;
/// Ways into the log and round it: notifications, announcements, pauses, attached triggers, states.
mod channel;
/// What a delivered message and an idle connection cost, counted.
mod cost;
/// Dialects: files that say how a front end speaks, and a sixth system made of such files alone.
mod dialect;
/// Databases in other encodings than UTF-8: what has no form in the other is a gap, or an error.
mod encodings;
/// Bad input and limits: an error to act on, and everything else lives on.
mod input;
/// Long poll: answer by answer, and as exact as a stream.
mod poll;
/// Readers that stop, crawl or vanish: cut within their bounds, at nobody else's cost.
mod readers;
/// Socket.IO: both its transports, resumes, refusals, and the same bounds as everywhere.
mod socketio;
/// A thousand who lose the server at once.
mod storm;
/// What lies between: poolers, TLS, Unix sockets, outages, restarts, metrics.
mod transport;

/// Asking: functions that the DBA lists, their limits, and the place that their answers are true at.
mod call;

/// What is taken while somebody listens: a user revoked, a rule withdrawn, a token that ends.
mod access;
/// Who gets in, and for how long.
mod token;

/// Faults, each alone and in random mixtures, reconciled exactly.
mod faults;

/// The documents for machines: what servers send is what they say, all of it; and `docs/sse.md`.
mod specification;

/// The page of measurements: of one run, and drawn by the program alone.
mod performance;

/// What operators look at: true numbers, for those who may.
mod console;

/// The subcommands as people type them.
mod commands;

/// What the bench of pushing counts by.
mod bench;

/// The throwaway PostgreSQL of the demo and of these tests: nothing of it outlives its owner.
mod cluster;

/// The demo's pages in a real browser.
mod browser;
/// The JavaScript client in browsers, workers and Node.js, through everything that networks do.
mod client;

/// The program itself: it starts, says where it serves, and stops gently.
mod serve;
