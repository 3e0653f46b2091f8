//! The spa.
