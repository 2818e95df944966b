//! authd: alone reads password data, answers yes or no and who, starts sessions.
#![forbid(unsafe_code)]

fn main() {}
