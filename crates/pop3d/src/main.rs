//! pop3d: POP3 before login in one loop, after login as the mailbox's owner.
#![forbid(unsafe_code)]

fn main() {}
