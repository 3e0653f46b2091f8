//! Rowcast pushes what happens in a Postgres database to browsers.
//!
//! `commit → NOTIFY → listener → hub ← connection`: the only circle passes through Postgres.
//!
//! The modules in reading order, which is that of their ranks: each knows only some of those above it.

// A module is a file of its name, beside a folder of its name if it has parts. Not in Cargo.toml: what
// benches and tests share by `#[path]` has to be a mod.rs, or its parts are not found.
#![deny(clippy::mod_module_files)]

/// Settings: as written, then as checked.
pub mod config;

/// The time of day, and spans of time as numbers.
pub mod clock;

/// How many there are of each, until they are gone.
pub mod counts;

/// Who was slow a moment ago.
pub mod slow;

/// Places in a database's history: snapshots, visibility, bookmark text.
pub mod bookmark;

/// TCP, TLS and Unix sockets as one type.
pub mod stream;

/// Text as it goes over a socket: encoded once, shared by reference count.
pub mod frame;

/// Events: read once, encoded once, shared by reference count.
pub mod event;

/// What operators can observe: one function a fact.
pub mod report;

/// Tokens: a JWT to claims; the clock is passed in.
pub mod token;

/// Notifications of triggers that were there before, mapped to rooms by templates.
pub mod notification;

/// The table in the middle: rooms to bounded queues, and the recent batches.
pub mod hub;

/// How front ends that were there before speak, as files say it.
pub mod dialect;

/// Everything that is said to Postgres.
pub mod database;

/// Brings a database to this binary's schema.
pub mod migrate;

/// From the log to the hub: doorbell, look, catch-up.
pub mod listener;

/// From the hub to a socket: admission, then one file a transport.
pub mod connection;

/// What operators look at: one page, its data once a second, and a tail of events.
pub mod console;

/// The paths.
pub mod routes;

/// The service as a whole: open, accept, stop.
pub mod app;

/// The subcommands.
pub mod command;
