//! SMTP server and client cores: bytes and events in, bytes and actions out.
#![forbid(unsafe_code)]
