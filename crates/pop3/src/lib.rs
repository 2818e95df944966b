//! POP3 server core: bytes and events in, bytes and actions out.
#![forbid(unsafe_code)]
