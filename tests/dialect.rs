//! Dialects.

/// Their WebSocket and poll doors.
mod doors;
