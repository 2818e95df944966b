//! What the daemons tell banwatch: one datagram an event.
#![forbid(unsafe_code)]
