//! The process: how it begins, whom it can't take in, how it ends. Hands over to the log.
//! It must never be given what somebody sent.

use super::{FAILURES, add};
use std::fmt::Display;

/// Something is allowed but unwise, as of the settings.
pub fn unwise(warning: &str) {
    tracing::warn!("{warning}");
}

/// The service can't start, for this reason or for several.
pub fn not_started(why: &impl Display) {
    tracing::error!(%why, "not started");
}

/// The socket is bound, and the service open.
pub fn serving(address: &str) {
    tracing::info!(address, version = env!("CARGO_PKG_VERSION"), "serving");
}

/// Somebody wishes the process to end.
pub fn told_to_stop(signal: &'static str) {
    tracing::info!(signal, "told to stop");
}

/// The end begins: so many are told to come back.
pub fn stopping(connections: usize) {
    tracing::info!(connections, "stopping");
}

/// The end: how many were still here, and whether all was done within its time: the drain, the last
/// acknowledgements, the lead.
pub fn stopped(left: usize, in_time: bool) {
    tracing::info!(left, in_time, "stopped");
}

/// The service ended by itself.
pub fn ended(error: &dyn Display) {
    tracing::error!("{error}");
}

/// A JWKS was not to be had: at a start, all whose token it would prove are refused.
pub fn keys_not_refreshed(error: &dyn Display) {
    add(&FAILURES, 1);
    tracing::warn!(%error, "the keys could not be refreshed; the old ones stay");
}

/// A socket could not be taken in.
pub fn not_accepted(error: &dyn Display) {
    tracing::warn!(%error, "accept failed");
}

/// HTTP ended otherwise than it should.
pub fn http_ended(error: &dyn Display) {
    tracing::debug!(%error, "connection ended");
}

/// Somebody came without TLS, or with one of their own.
pub fn handshake_failed(error: &dyn Display) {
    tracing::debug!(%error, "TLS handshake failed");
}

/// A connection of our own to the database ended; whoever used it hears of it, too.
pub fn link_ended(whose: &'static str, error: &str) {
    tracing::debug!(whose, error, "connection to the database ended");
}

/// What the demo could not do for its visitors, and goes on without.
pub fn demo_failed(what: &'static str, error: &dyn Display) {
    tracing::warn!(what, %error, "the demo goes on without");
}
