// deps: sender-auth
//! Fuzzes the verification of a whole message, in blocks of every length.
#![no_main]
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| sender_auth::exercise::dkim_message(data));
