//! smtpd: receives mail by SMTP and hands whole messages to the queue.
#![forbid(unsafe_code)]

fn main() {}
