//! The shell all daemons share: given sockets, event loop, TLS, confinement, log, signals.
#![forbid(unsafe_code)]
