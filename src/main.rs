//! The door: reads the command line and hands over to the subcommands.

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    rowcast::command::main(rowcast::command::Cli::parse())
}
