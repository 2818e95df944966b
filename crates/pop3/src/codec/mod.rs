//! Octets to commands and messages to octets; nothing here knows a session's state.

pub mod body;
pub mod capa;
pub mod command;
pub mod line;
