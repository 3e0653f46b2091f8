//! The boardrooms’ system.
