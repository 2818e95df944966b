//! sendmail: hands a message from a program or a user to smtpd over its Unix socket.
#![forbid(unsafe_code)]

fn main() {}
