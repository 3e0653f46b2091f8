//! Rowcast pushes what happens in a Postgres database to browsers.
//!
//! The modules, in the order in which an event passes them:

#![doc = "`commit → NOTIFY → listener → hub ← connection`: the only circle passes through Postgres."]

/// The service as a whole: open, accept, stop.
pub mod app;
/// Places in a database's history: snapshots, visibility, bookmark text.
pub mod bookmark;
/// The subcommands.
pub mod command;
/// Settings: as written, then as checked.
pub mod config;
/// From the hub to a socket: admission, then one file a transport.
pub mod connection;
/// What operators look at: one page, its data once a second, and a tail of events.
pub mod console;
/// Everything that is said to Postgres.
pub mod database;
/// How front ends that were there before speak, as files say it.
pub mod dialect;
/// Events: read once, encoded once, shared by reference count.
pub mod event;
/// Text as it goes over a socket: encoded once, shared by reference count.
pub mod frame;
/// The table in the middle: rooms to bounded queues, and the recent batches.
pub mod hub;
/// From the log to the hub: doorbell, look, catch-up.
pub mod listener;
/// Brings a database to this binary's schema.
pub mod migrate;
/// Notifications of triggers that were there before, mapped to rooms by templates.
pub mod notification;
/// What operators can observe: one function a fact.
pub mod report;
/// The paths.
pub mod routes;
/// TCP, TLS and Unix sockets as one type.
pub mod stream;
/// Tokens: a JWT to claims; the clock is passed in.
pub mod token;
