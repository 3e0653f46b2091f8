//! What benches measure by: a PostgreSQL, the machine, and targets. Hands them over to the benches.
//! It must never know what is measured.

pub mod cluster;
pub mod machine;
pub mod verdict;
