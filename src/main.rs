//! The binary: subcommands in, exit codes out.

fn main() {}
