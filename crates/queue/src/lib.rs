//! The queue directory: write, scan, read, mark, expire.
#![forbid(unsafe_code)]
