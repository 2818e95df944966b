//! The mailbox on disk: Maildir delivery and reading.
#![forbid(unsafe_code)]
