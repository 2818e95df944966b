//! mail-start: binds, makes the pipes, starts and replaces every other program.
#![forbid(unsafe_code)]

fn main() {}
