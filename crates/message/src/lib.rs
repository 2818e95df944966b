//! RFC 5322 and MIME: a zero-copy scanner, addresses, encoded words, and building of messages and reports.
#![forbid(unsafe_code)]
