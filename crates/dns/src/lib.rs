//! The stub resolver core on hickory-proto, its cache, and the mio driver of it.
#![forbid(unsafe_code)]
