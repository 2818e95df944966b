//! From an address to where it goes: local domains, users, remote routes.
#![forbid(unsafe_code)]
