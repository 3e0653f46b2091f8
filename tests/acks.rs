//! Durable readers.
