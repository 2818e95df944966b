//! hikyaku: the admin's command.
#![forbid(unsafe_code)]

fn main() {}
