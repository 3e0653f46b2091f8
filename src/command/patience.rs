//! How long and how often to wait for locks, as the command line has it. Hands that to whoever runs
//! SQL on tables in use, which says here what it waits for. It must never wait itself.

use super::remark;
use crate::database::{LOCK_TIMEOUT_MS, Patience, TRIES};
use clap::value_parser;

#[derive(Clone, Debug, clap::Args)]
pub(super) struct PatienceArgs {
    /// Milliseconds that a statement waits for a lock, and makes the table's writers wait with it
    #[arg(long, value_name = "MS", default_value_t = LOCK_TIMEOUT_MS, value_parser = value_parser!(u32).range(1..=60_000))]
    lock_timeout: u32,
    /// How often it tries for the lock
    #[arg(long, value_name = "COUNT", default_value_t = TRIES, value_parser = value_parser!(u32).range(1..=10_000))]
    tries: u32,
}

impl From<PatienceArgs> for Patience {
    fn from(args: PatienceArgs) -> Self {
        Self {
            lock_timeout: args.lock_timeout,
            tries: args.tries,
            say: |line| remark(line),
        }
    }
}
