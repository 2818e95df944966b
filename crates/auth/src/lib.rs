//! Identities, the password check, SASL mechanisms and the protocol spoken with authd.
#![forbid(unsafe_code)]
