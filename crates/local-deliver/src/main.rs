//! local-deliver: a small root parent that starts workers which deliver as the mailbox's owner.
#![forbid(unsafe_code)]

fn main() {}
