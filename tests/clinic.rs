//! The clinic.
