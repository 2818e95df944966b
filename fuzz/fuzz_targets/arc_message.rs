// deps: sender-auth
//! Fuzzes the validation of chains, and sealing upon them.
#![no_main]
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| sender_auth::exercise::arc_message(data));
