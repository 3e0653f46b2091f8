//! What all benches measure by: the machine, and targets. Hands both to them.
//! It must never know what is measured.

pub mod machine;
pub mod verdict;
