//! banwatch: reads logs and events, decides who is banned, and has the firewall do it.
#![forbid(unsafe_code)]

fn main() {}
