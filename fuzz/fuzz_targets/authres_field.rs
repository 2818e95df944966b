// deps: sender-auth
//! Fuzzes Authentication-Results: reading, writing, removing forged ones.
#![no_main]
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| sender_auth::exercise::authres_field(data));
