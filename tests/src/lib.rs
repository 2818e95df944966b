//! End-to-end tests of the whole system; see the files beside this one.
#![forbid(unsafe_code)]
