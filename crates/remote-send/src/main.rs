//! remote-send: delivers to other hosts from one event loop.
#![forbid(unsafe_code)]

fn main() {}
